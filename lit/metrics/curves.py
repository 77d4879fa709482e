"""Precision-recall and ROC curves, for the three tasks.

Without ``thresholds`` all scores are kept and the curve has a point per distinct score. With ``thresholds`` only counts
are kept: constant memory, one point per threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import engine
from engine import Tensor
from lit.metrics.base import Metric, together
from lit.metrics.inputs import (
    AVERAGES,
    as_probabilities,
    check_classes,
    check_ignored,
    check_labels,
    check_number,
    check_option,
    masked,
)
from lit.metrics.points import (
    Curve,
    count_at,
    macro_curve,
    of_counts,
    of_scores,
    precision_recall_of_scores,
    precision_recall_points,
    roc_points,
    roc_points_from_zero,
)


def as_thresholds(thresholds: Any) -> Tensor | None:
    """None, or a 1-d tensor from a number of thresholds, a list or a tensor.

    Raises:
        ValueError: something else, or values outside of 0 to 1.
    """
    if thresholds is None:
        return None
    if isinstance(thresholds, int) and thresholds >= 2:
        return engine.linspace(0, 1, thresholds)
    if isinstance(thresholds, list) and all(isinstance(t, float) and 0 <= t <= 1 for t in thresholds):
        return engine.tensor(thresholds)
    if isinstance(thresholds, Tensor) and thresholds.ndim == 1:
        return thresholds
    raise ValueError(
        "Expected argument `thresholds` to be an integer larger than 1, a list of floats in the [0,1] range, a 1-d tensor"
        f" or None, but got {thresholds}"
    )


class _Curve(Metric):
    """Gathers columns of scores (N, K) with targets, or their counts (T, K, 2, 2); draws precision and recall."""

    full_state_update = False
    descending = False  # whether the highest threshold comes first
    average: str | None = None
    normalization: str | None = None
    preds: list[Tensor]
    target: list[Tensor]
    confmat: Tensor

    def _set_up(self, columns: int, thresholds: Any, ignore_index: int | None, validate_args: bool) -> None:
        check_ignored(ignore_index)
        self.ignore_index, self.validate_args = ignore_index, validate_args
        self.thresholds = as_thresholds(thresholds)
        if self.thresholds is None:
            self.add_state("preds", [], dist_reduce_fx="cat")
            self.add_state("target", [], dist_reduce_fx="cat")
            key: Any = None
        else:
            shape = (len(self.thresholds), columns, 2, 2)
            self.add_state("confmat", engine.zeros(shape, dtype=engine.int64), dist_reduce_fx="sum")
            key = tuple(self.thresholds.tolist())
        self.update_key = (columns, key, ignore_index, self.normalization)

    def _gather(self, scores: Tensor, target: Tensor) -> None:
        """``target`` (N, K) holds 1, 0, and -1 for what counts nowhere."""
        if self.thresholds is None:
            self.preds.append(scores)
            self.target.append(target.to(engine.int8))
        else:
            self.confmat = self.confmat + count_at(scores, target, self.thresholds.to(scores.device))

    def _points(self) -> Callable[..., Curve]:
        """What makes a curve of counts."""
        return precision_recall_of_scores if self.thresholds is None else precision_recall_points

    def _curves(self) -> list[Curve]:
        """The curve of each column, or one of all of them for ``average="micro"``."""
        points, merged = self._points(), self.average == "micro"
        if self.thresholds is not None:
            tables = self.confmat.sum(1, keepdim=True) if merged else self.confmat
            return [points(*of_counts(table), self.thresholds) for table in tables.unbind(1)]
        scores, target = together(self.preds), together(self.target)
        if merged:
            scores, target = scores.reshape(-1, 1), target.reshape(-1, 1)
        columns = zip(scores.unbind(1), target.unbind(1), strict=True)
        return [points(*of_scores(*column)) for column in columns]

    def _support(self) -> Tensor:
        """How many targets of each column are 1."""
        if self.thresholds is not None:
            return self.confmat[0, :, 1].sum(-1).float()
        return together(self.target).eq(1).sum(0).float()

    def compute(self) -> Any:
        """The curve, or one of each class or label."""
        curves = self._curves()
        if len(curves) == 1:
            return curves[0]
        x, y, thresholds = (list(part) for part in zip(*curves, strict=True))
        if self.average == "macro":
            return macro_curve(x, y, thresholds, self.descending)
        return (x, y, thresholds) if self.thresholds is None else (engine.stack(x), engine.stack(y), thresholds[0])


class BinaryPrecisionRecallCurve(_Curve):
    """Precision and recall at every threshold, for a yes/no question.

    Args:
        thresholds: None (every score is one), how many between 0 and 1, or a list or tensor of them.
        ignore_index: a target that counts nowhere.
        validate_args: whether to check arguments and values.
        normalization: "sigmoid" turns scores outside of 0 to 1 into probabilities; None keeps them.

    Shape: preds and target (N, ...).

    Returns:
        precision (T + 1,), recall (T + 1,), thresholds (T,).

    Example:
        >>> from lit.metrics import BinaryPrecisionRecallCurve
        >>> metric = BinaryPrecisionRecallCurve()
        >>> precision, recall, thresholds = metric(torch.tensor([0.1, 0.4, 0.8]), torch.tensor([0, 1, 1]))
        >>> recall
        tensor([1.0000, 1.0000, 0.5000, 0.0000])
    """

    def __init__(
        self, thresholds: Any = None, ignore_index: int | None = None, validate_args: bool = True,
        normalization: str | None = "sigmoid", **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        check_option("normalization", normalization, ("sigmoid", "softmax", None))
        self.normalization = normalization
        self._set_up(1, thresholds, ignore_index, validate_args)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Take one batch."""
        if self.validate_args:
            _check_scores(preds)
            check_labels(preds, target, self.ignore_index)
        preds, target = preds.flatten(), target.flatten()
        if self.ignore_index is not None:
            keep = target != self.ignore_index
            preds, target = preds[keep], target[keep]
        if self.normalization:
            preds = as_probabilities(preds, classes=False)
        self._gather(preds.unsqueeze(1), target.unsqueeze(1))


class MulticlassPrecisionRecallCurve(_Curve):
    """Precision and recall at every threshold, of each class against the rest.

    Args:
        num_classes: the number of classes.
        thresholds, ignore_index, validate_args: as in ``BinaryPrecisionRecallCurve``.
        average: None (a curve per class), "macro" (their mean) or "micro" (all classes as one question).

    Shape: preds (N, C, ...), target (N, ...).

    Returns:
        precision, recall, thresholds: tensors (C, T + 1) and (T,) with ``thresholds``, lists of C tensors without.
    """

    def __init__(
        self, num_classes: int, thresholds: Any = None, average: str | None = None, ignore_index: int | None = None,
        validate_args: bool = True, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        check_number("num_classes", num_classes)
        check_option("average", average, AVERAGES)
        self.num_classes, self.average = num_classes, average
        self._set_up(num_classes, thresholds, ignore_index, validate_args)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Take one batch."""
        if self.validate_args:
            _check_scores(preds)
            check_classes(preds, target, self.num_classes, self.ignore_index)
        preds = preds.transpose(0, 1).reshape(self.num_classes, -1).T
        target = target.flatten()
        if self.ignore_index is not None:
            keep = target != self.ignore_index
            preds, target = preds[keep], target[keep]
        classes = engine.arange(self.num_classes, device=target.device)
        self._gather(as_probabilities(preds, classes=True), (target.unsqueeze(1) == classes).long())

    def _points(self) -> Callable[..., Curve]:
        # Without positive samples the recall of one class among several is unknown: NaN, and no warning.
        return super()._points() if self.average == "micro" else precision_recall_points


class MultilabelPrecisionRecallCurve(_Curve):
    """Precision and recall at every threshold, of each of several labels.

    Args:
        num_labels: the number of labels.
        thresholds, ignore_index, validate_args: as in ``BinaryPrecisionRecallCurve``.

    Shape: preds and target (N, L, ...).

    Returns:
        as ``MulticlassPrecisionRecallCurve``, with a curve per label.
    """

    def __init__(
        self, num_labels: int, thresholds: Any = None, ignore_index: int | None = None, validate_args: bool = True,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        check_number("num_labels", num_labels)
        self.num_labels = num_labels
        self._set_up(num_labels, thresholds, ignore_index, validate_args)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Take one batch."""
        if self.validate_args:
            _check_scores(preds)
            check_labels(preds, target, self.ignore_index, self.num_labels)
        preds, target = (x.transpose(0, 1).reshape(self.num_labels, -1).T for x in (preds, target))
        self._gather(as_probabilities(preds, classes=False), masked(target, self.ignore_index))


def _check_scores(preds: Tensor) -> None:
    if not preds.is_floating_point():
        raise ValueError(
            f"Expected argument `preds` to be a floating tensor with probability/logits scores, but got {preds.dtype}"
        )


class _RocFormula(_Curve):
    descending = True

    def _points(self) -> Callable[..., Curve]:
        return roc_points_from_zero if self.thresholds is None else roc_points


class BinaryROC(_RocFormula, BinaryPrecisionRecallCurve):
    """False and true positive rates at every threshold; arguments as ``BinaryPrecisionRecallCurve``.

    Returns:
        fpr (T + 1,), tpr (T + 1,), thresholds (T + 1,), the highest threshold first; (T,) with ``thresholds``.

    Example:
        >>> from lit.metrics import BinaryROC
        >>> fpr, tpr, thresholds = BinaryROC()(torch.tensor([0.1, 0.4, 0.8]), torch.tensor([0, 1, 1]))
        >>> tpr
        tensor([0.0000, 0.5000, 1.0000, 1.0000])
    """


class MulticlassROC(_RocFormula, MulticlassPrecisionRecallCurve):
    """False and true positive rates of each class against the rest; arguments as ``MulticlassPrecisionRecallCurve``."""


class MultilabelROC(_RocFormula, MultilabelPrecisionRecallCurve):
    """False and true positive rates of each label; arguments as ``MultilabelPrecisionRecallCurve``."""
