"""``Accuracy(task="multiclass", ...)``: the three tasks of a metric under one name.

Every ``__new__`` below is the list of arguments of such a name, in order; ``TaskMetric.of_task`` does the rest.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

from lit.metrics import areas, curves, scores, stat_scores, tables
from lit.metrics.base import Metric

TASKS = ("binary", "multiclass", "multilabel")
NEEDED = {"multiclass": "num_classes", "multilabel": "num_labels"}


class TaskMetric:
    """A name for the classes of several tasks: what it makes is one of those."""

    tasks: ClassVar[tuple[type[Metric], ...]]  # of binary, multiclass, multilabel

    @classmethod
    def of_task(cls, arguments: dict[str, Any]) -> Metric:
        """The class of a task, with those arguments that it takes.

        Args:
            arguments: ``locals()`` of ``__new__``: ``cls``, ``task``, what it names, and as ``kwargs`` what it does not,
                which the chosen class checks.
        """
        task, others = arguments["task"], arguments["kwargs"]
        names = TASKS[: len(cls.tasks)]
        if task not in names:
            raise ValueError(f"Invalid Classification: expected one of {list(names)}, but got {task}.")
        needed = NEEDED.get(task)
        if needed and not isinstance(arguments[needed], int):
            raise ValueError(
                f"Optional arg `{needed}` must be type `int` when task is {task}. Got {type(arguments[needed])}"
            )
        chosen = cls.tasks[names.index(task)]
        taken = arguments.keys() & set(inspect.signature(chosen).parameters) - {"kwargs"}
        return chosen(**{name: arguments[name] for name in taken}, **others)


class _CountTask(TaskMetric):
    def __new__(  # type: ignore[misc]
        cls, task: str, threshold: float = 0.5, num_classes: int | None = None, num_labels: int | None = None,
        average: str | None = "micro", multidim_average: str = "global", top_k: int | None = 1,
        ignore_index: int | None = None, validate_args: bool = True, zero_division: float = 0, **kwargs: Any,
    ) -> Metric:  # fmt: skip
        return cls.of_task(locals())


class StatScores(_CountTask):
    """``BinaryStatScores``, ``MulticlassStatScores`` or ``MultilabelStatScores``, by ``task``.

    Example:
        >>> from lit.metrics import StatScores
        >>> StatScores(task="binary")(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]))
        tensor([1, 1, 1, 0, 1])
    """

    tasks = (stat_scores.BinaryStatScores, stat_scores.MulticlassStatScores, stat_scores.MultilabelStatScores)


class Accuracy(_CountTask):
    """``BinaryAccuracy``, ``MulticlassAccuracy`` or ``MultilabelAccuracy``, by ``task``.

    Args:
        task: "binary", "multiclass" or "multilabel".
        threshold: for binary and multilabel: probabilities above it mean yes.
        num_classes, num_labels: needed for multiclass and multilabel.
        average: "micro" (the default here), "macro", "weighted", "none" or None.
        multidim_average, top_k, ignore_index, validate_args: as in the class of the task.

    Example:
        >>> from lit.metrics import Accuracy
        >>> accuracy = Accuracy(task="multiclass", num_classes=3)
        >>> accuracy(torch.tensor([0, 2, 1]), torch.tensor([0, 1, 1]))
        tensor(0.6667)
    """

    tasks = (scores.BinaryAccuracy, scores.MulticlassAccuracy, scores.MultilabelAccuracy)


class Precision(_CountTask):
    """``BinaryPrecision``, ``MulticlassPrecision`` or ``MultilabelPrecision``; arguments as ``Accuracy``."""

    tasks = (scores.BinaryPrecision, scores.MulticlassPrecision, scores.MultilabelPrecision)


class Recall(_CountTask):
    """``BinaryRecall``, ``MulticlassRecall`` or ``MultilabelRecall``; arguments as ``Accuracy``."""

    tasks = (scores.BinaryRecall, scores.MulticlassRecall, scores.MultilabelRecall)


class Specificity(_CountTask):
    """``BinarySpecificity``, ``MulticlassSpecificity`` or ``MultilabelSpecificity``; arguments as ``Accuracy``."""

    tasks = (scores.BinarySpecificity, scores.MulticlassSpecificity, scores.MultilabelSpecificity)


class F1Score(_CountTask):
    """``BinaryF1Score``, ``MulticlassF1Score`` or ``MultilabelF1Score``; arguments as ``Accuracy``."""

    tasks = (scores.BinaryF1Score, scores.MulticlassF1Score, scores.MultilabelF1Score)


class FBetaScore(TaskMetric):
    """``BinaryFBetaScore``, ``MulticlassFBetaScore`` or ``MultilabelFBetaScore``, by ``task``.

    Args:
        beta: how many times as much recall weighs as precision; the others as in ``Accuracy``.
    """

    tasks = (scores.BinaryFBetaScore, scores.MulticlassFBetaScore, scores.MultilabelFBetaScore)

    def __new__(  # type: ignore[misc]
        cls, task: str, beta: float = 1.0, threshold: float = 0.5, num_classes: int | None = None,
        num_labels: int | None = None, average: str | None = "micro", multidim_average: str = "global",
        top_k: int | None = 1, ignore_index: int | None = None, validate_args: bool = True, zero_division: float = 0,
        **kwargs: Any,
    ) -> Metric:  # fmt: skip
        return cls.of_task(locals())


class ConfusionMatrix(TaskMetric):
    """``BinaryConfusionMatrix``, ``MulticlassConfusionMatrix`` or ``MultilabelConfusionMatrix``, by ``task``.

    Example:
        >>> from lit.metrics import ConfusionMatrix
        >>> ConfusionMatrix(task="binary", normalize="all")(torch.tensor([0, 1, 1, 1]), torch.tensor([0, 1, 0, 1]))
        tensor([[0.2500, 0.2500],
                [0.0000, 0.5000]])
    """

    tasks = (tables.BinaryConfusionMatrix, tables.MulticlassConfusionMatrix, tables.MultilabelConfusionMatrix)

    def __new__(  # type: ignore[misc]
        cls, task: str, threshold: float = 0.5, num_classes: int | None = None, num_labels: int | None = None,
        normalize: str | None = None, ignore_index: int | None = None, validate_args: bool = True, **kwargs: Any,
    ) -> Metric:  # fmt: skip
        return cls.of_task(locals())


class CohenKappa(TaskMetric):
    """``BinaryCohenKappa`` or ``MulticlassCohenKappa``, by ``task``."""

    tasks = (tables.BinaryCohenKappa, tables.MulticlassCohenKappa)

    def __new__(  # type: ignore[misc]
        cls, task: str, threshold: float = 0.5, num_classes: int | None = None, weights: str | None = None,
        ignore_index: int | None = None, validate_args: bool = True, **kwargs: Any,
    ) -> Metric:  # fmt: skip
        return cls.of_task(locals())


class MatthewsCorrCoef(TaskMetric):
    """``BinaryMatthewsCorrCoef``, ``MulticlassMatthewsCorrCoef`` or ``MultilabelMatthewsCorrCoef``, by ``task``."""

    tasks = (tables.BinaryMatthewsCorrCoef, tables.MulticlassMatthewsCorrCoef, tables.MultilabelMatthewsCorrCoef)

    def __new__(  # type: ignore[misc]
        cls, task: str, threshold: float = 0.5, num_classes: int | None = None, num_labels: int | None = None,
        ignore_index: int | None = None, validate_args: bool = True, **kwargs: Any,
    ) -> Metric:  # fmt: skip
        return cls.of_task(locals())


class JaccardIndex(TaskMetric):
    """``BinaryJaccardIndex``, ``MulticlassJaccardIndex`` or ``MultilabelJaccardIndex``, by ``task``."""

    tasks = (tables.BinaryJaccardIndex, tables.MulticlassJaccardIndex, tables.MultilabelJaccardIndex)

    def __new__(  # type: ignore[misc]
        cls, task: str, threshold: float = 0.5, num_classes: int | None = None, num_labels: int | None = None,
        average: str | None = "macro", ignore_index: int | None = None, validate_args: bool = True,
        zero_division: float = 0, **kwargs: Any,
    ) -> Metric:  # fmt: skip
        return cls.of_task(locals())


class _CurveTask(TaskMetric):
    def __new__(  # type: ignore[misc]
        cls, task: str, thresholds: Any = None, num_classes: int | None = None, num_labels: int | None = None,
        ignore_index: int | None = None, validate_args: bool = True, **kwargs: Any,
    ) -> Metric:  # fmt: skip
        if task != "multiclass" and kwargs.get("average", "") is None:  # said, but there are no classes to average over
            del kwargs["average"]
        return cls.of_task(locals())


class ROC(_CurveTask):
    """``BinaryROC``, ``MulticlassROC`` or ``MultilabelROC``, by ``task``."""

    tasks = (curves.BinaryROC, curves.MulticlassROC, curves.MultilabelROC)


class PrecisionRecallCurve(_CurveTask):
    """``BinaryPrecisionRecallCurve``, ``MulticlassPrecisionRecallCurve`` or ``MultilabelPrecisionRecallCurve``."""

    tasks = (
        curves.BinaryPrecisionRecallCurve, curves.MulticlassPrecisionRecallCurve, curves.MultilabelPrecisionRecallCurve
    )  # fmt: skip


class AUROC(TaskMetric):
    """``BinaryAUROC``, ``MulticlassAUROC`` or ``MultilabelAUROC``, by ``task``.

    Example:
        >>> from lit.metrics import AUROC
        >>> AUROC(task="binary")(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1]))
        tensor(0.7500)
    """

    tasks = (areas.BinaryAUROC, areas.MulticlassAUROC, areas.MultilabelAUROC)

    def __new__(  # type: ignore[misc]
        cls, task: str, thresholds: Any = None, num_classes: int | None = None, num_labels: int | None = None,
        average: str | None = "macro", max_fpr: float | None = None, ignore_index: int | None = None,
        validate_args: bool = True, **kwargs: Any,
    ) -> Metric:  # fmt: skip
        return cls.of_task(locals())


class AveragePrecision(TaskMetric):
    """``BinaryAveragePrecision``, ``MulticlassAveragePrecision`` or ``MultilabelAveragePrecision``, by ``task``."""

    tasks = (areas.BinaryAveragePrecision, areas.MulticlassAveragePrecision, areas.MultilabelAveragePrecision)

    def __new__(  # type: ignore[misc]
        cls, task: str, thresholds: Any = None, num_classes: int | None = None, num_labels: int | None = None,
        average: str | None = "macro", ignore_index: int | None = None, validate_args: bool = True, **kwargs: Any,
    ) -> Metric:  # fmt: skip
        return cls.of_task(locals())
