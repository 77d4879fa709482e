"""ROC, and the areas under the curves: AUROC and average precision."""

from __future__ import annotations

from typing import Any

import engine
from engine import Tensor
from lit.metrics.curves import (
    BinaryPrecisionRecallCurve,
    MulticlassPrecisionRecallCurve,
    MultilabelPrecisionRecallCurve,
    _shaped,
    area,
    average_of_steps,
    mean_of,
    precision_recall_of_scores,
    precision_recall_points,
    roc_points,
    roc_points_from_zero,
)
from lit.metrics.inputs import check_option


class BinaryROC(BinaryPrecisionRecallCurve):
    """False and true positive rates at every threshold; arguments as ``BinaryPrecisionRecallCurve``.

    Returns:
        fpr (T + 1,), tpr (T + 1,), thresholds (T + 1,), the highest threshold first; (T,) with ``thresholds``.

    Example:
        >>> from lit.metrics import BinaryROC
        >>> fpr, tpr, thresholds = BinaryROC()(torch.tensor([0.1, 0.4, 0.8]), torch.tensor([0, 1, 1]))
        >>> tpr
        tensor([0.0000, 0.5000, 1.0000, 1.0000])
    """

    def compute(self) -> Any:
        """The curve."""
        curve = roc_points_from_zero if self.thresholds is None else roc_points
        return self._per_column(curve, self._state())[0]


class MulticlassROC(MulticlassPrecisionRecallCurve):
    """False and true positive rates of each class against the rest; arguments as ``MulticlassPrecisionRecallCurve``."""

    def compute(self) -> Any:
        """The curve, or curves."""
        found = self._curves(roc_points_from_zero, roc_points, self.average == "micro")
        return _shaped(found, self.average, self.thresholds is not None, descending=True)


class MultilabelROC(MultilabelPrecisionRecallCurve):
    """False and true positive rates of each label; arguments as ``MultilabelPrecisionRecallCurve``."""

    def compute(self) -> Any:
        """The curves."""
        found = self._curves(roc_points_from_zero, roc_points, micro=False)
        return _shaped(found, None, self.thresholds is not None, descending=True)


class BinaryAUROC(BinaryROC):
    """The area under the ROC curve: how likely a positive sample scores higher than a negative one.

    Args:
        max_fpr: only the part of the curve up to this false positive rate, scaled so that chance is 0.5 and
            perfection 1 (McClish, 1989).
        thresholds, ignore_index, validate_args: as in ``BinaryPrecisionRecallCurve``.

    Example:
        >>> from lit.metrics import BinaryAUROC
        >>> BinaryAUROC()(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1]))
        tensor(0.7500)
    """

    higher_is_better = True

    def __init__(
        self,
        max_fpr: float | None = None,
        thresholds: Any = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(thresholds, ignore_index, validate_args, **kwargs)
        if max_fpr is not None and not (isinstance(max_fpr, float) and 0 < max_fpr <= 1):
            raise ValueError(f"Arguments `max_fpr` should be a float in range (0, 1], but got: {max_fpr}")
        self.max_fpr = max_fpr

    def compute(self) -> Tensor:
        """The area, 0-d."""
        curve = roc_points_from_zero if self.thresholds is None else roc_points
        fpr, tpr, _ = self._per_column(curve, self._state())[0]
        if self.max_fpr in (None, 1.0) or not fpr.any() or not tpr.any():
            return area(fpr, tpr)
        return _partial_area(fpr, tpr, float(self.max_fpr or 1.0))


def _partial_area(fpr: Tensor, tpr: Tensor, limit: float) -> Tensor:
    fpr, tpr = fpr.double(), tpr.double()
    stop = int((fpr <= limit).sum())
    weight = (limit - fpr[stop - 1]) / (fpr[stop] - fpr[stop - 1])
    edge = tpr[stop - 1] + weight * (tpr[stop] - tpr[stop - 1])
    part = area(engine.cat([fpr[:stop], fpr.new_full((1,), limit)]), engine.cat([tpr[:stop], edge.reshape(1)]))
    chance = 0.5 * limit**2
    return 0.5 * (1 + (part - chance) / (limit - chance))


class MulticlassAUROC(MulticlassROC):
    """The area under the ROC curve of each class against the rest.

    Args:
        num_classes: the number of classes.
        average: "macro" (mean over classes), "weighted" (by support), "none" or None.
        thresholds, ignore_index, validate_args: as in ``BinaryPrecisionRecallCurve``.

    Example:
        >>> from lit.metrics import MulticlassAUROC
        >>> scores = torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.2, 0.8]])
        >>> MulticlassAUROC(num_classes=2)(scores, torch.tensor([0, 1, 1]))
        tensor(1.)
    """

    higher_is_better = True

    def __init__(
        self,
        num_classes: int,
        average: str | None = "macro",
        thresholds: Any = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> None:
        check_option("average", average, ("macro", "weighted", "none", None))
        super().__init__(num_classes, thresholds, average, ignore_index, validate_args, **kwargs)

    def compute(self) -> Tensor:
        """The area: 0-d, or (C,) without averaging."""
        x, y, _ = self._curves(roc_points_from_zero, roc_points, micro=False)
        areas = engine.stack([area(fpr, tpr) for fpr, tpr in zip(x, y, strict=True)])
        return mean_of(areas, self._support(self._state()), self.average, "AUROC")


class MultilabelAUROC(MultilabelROC):
    """The area under the ROC curve of each label.

    Args:
        num_labels: the number of labels.
        average: "micro" (all labels as one), "macro", "weighted", "none" or None.
        thresholds, ignore_index, validate_args: as in ``BinaryPrecisionRecallCurve``.
    """

    higher_is_better = True

    def __init__(
        self,
        num_labels: int,
        average: str | None = "macro",
        thresholds: Any = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_labels, thresholds, ignore_index, validate_args, **kwargs)
        check_option("average", average, ("micro", "macro", "weighted", "none", None))
        self.average = average

    def compute(self) -> Tensor:
        """The area: 0-d, or (L,) without averaging."""
        micro = self.average == "micro"
        x, y, _ = self._curves(roc_points_from_zero, roc_points, micro)
        areas = engine.stack([area(fpr, tpr) for fpr, tpr in zip(x, y, strict=True)])
        return areas[0] if micro else mean_of(areas, self._support(self._state()), self.average, "AUROC")


class BinaryAveragePrecision(BinaryPrecisionRecallCurve):
    """The precision averaged over all steps in recall; arguments as ``BinaryPrecisionRecallCurve``.

    Example:
        >>> from lit.metrics import BinaryAveragePrecision
        >>> BinaryAveragePrecision()(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1]))
        tensor(0.8333)
    """

    higher_is_better = True

    def compute(self) -> Tensor:
        """The average, 0-d."""
        curve = precision_recall_of_scores if self.thresholds is None else precision_recall_points
        precision, recall, _ = self._per_column(curve, self._state())[0]
        return average_of_steps(precision, recall)


class MulticlassAveragePrecision(MulticlassPrecisionRecallCurve):
    """The average precision of each class against the rest; arguments as ``MulticlassAUROC``."""

    higher_is_better = True

    def __init__(
        self,
        num_classes: int,
        average: str | None = "macro",
        thresholds: Any = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> None:
        check_option("average", average, ("macro", "weighted", "none", None))
        super().__init__(num_classes, thresholds, average, ignore_index, validate_args, **kwargs)

    def compute(self) -> Tensor:
        """The average: 0-d, or (C,) without averaging."""
        x, y, _ = self._curves(precision_recall_points, precision_recall_points, micro=False)
        unknown = float("nan") if self.thresholds is None else 0.0  # of a class without positive samples
        found = engine.stack([average_of_steps(precision, recall, unknown) for precision, recall in zip(x, y, strict=True)])
        return mean_of(found, self._support(self._state()), self.average, "Average precision")


class MultilabelAveragePrecision(MultilabelPrecisionRecallCurve):
    """The average precision of each label; arguments as ``MultilabelAUROC``."""

    higher_is_better = True

    def __init__(
        self,
        num_labels: int,
        average: str | None = "macro",
        thresholds: Any = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_labels, thresholds, ignore_index, validate_args, **kwargs)
        check_option("average", average, ("micro", "macro", "weighted", "none", None))
        self.average = average

    def compute(self) -> Tensor:
        """The average: 0-d, or (L,) without averaging."""
        micro = self.average == "micro"
        x, y, _ = self._curves(precision_recall_of_scores, precision_recall_points, micro)
        found = engine.stack([average_of_steps(precision, recall) for precision, recall in zip(x, y, strict=True)])
        return found[0] if micro else mean_of(found, self._support(self._state()), self.average, "Average precision")
