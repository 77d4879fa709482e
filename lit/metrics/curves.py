"""ROC and precision-recall curves, the areas under them, for the three tasks.

Without ``thresholds`` all scores are kept and the curve has a point per distinct score. With ``thresholds`` only counts
are kept: constant memory, one point per threshold.
"""

from __future__ import annotations

import warnings
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
    safe_divide,
)

Curve = tuple[Any, Any, Any]


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
    """Gathers columns of scores (N, K) with targets, or their counts (T, K, 2, 2)."""

    full_state_update = False
    preds: list[Tensor]
    target: list[Tensor]
    confmat: Tensor
    columns: int

    def _set_up(self, columns: int, thresholds: Any, ignore_index: int | None, validate_args: bool) -> None:
        check_ignored(ignore_index)
        self.columns, self.ignore_index, self.validate_args = columns, ignore_index, validate_args
        self.thresholds = as_thresholds(thresholds)
        if self.thresholds is None:
            self.add_state("preds", [], dist_reduce_fx="cat")
            self.add_state("target", [], dist_reduce_fx="cat")
            key: Any = None
        else:
            shape = (len(self.thresholds), columns, 2, 2)
            self.add_state("confmat", engine.zeros(shape, dtype=engine.int64), dist_reduce_fx="sum")
            key = tuple(self.thresholds.tolist())
        self.update_key = (columns, key, ignore_index, getattr(self, "normalization", None))

    def _gather(self, scores: Tensor, target: Tensor) -> None:
        """``target`` (N, K) holds 1, 0, and -1 for what counts nowhere."""
        if self.thresholds is None:
            self.preds.append(scores)
            self.target.append(target.to(engine.int8))
        else:
            self.confmat = self.confmat + count_at(scores, target, self.thresholds.to(scores.device))

    def _state(self) -> tuple[Tensor, Tensor] | Tensor:
        if self.thresholds is None:
            return together(self.preds), together(self.target)
        return self.confmat

    def _per_column(self, curve: Any, state: Any) -> list[Curve]:
        """The curve of each column."""
        if isinstance(state, Tensor):
            return [curve(*_of_counts(state[:, column]), self.thresholds) for column in range(state.shape[1])]
        scores, target = state
        return [curve(*_of_scores(scores[:, column], target[:, column])) for column in range(scores.shape[1])]

    def _curves(self, of_scores: Any, of_counts: Any, micro: bool) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        state = self._state()
        curve = of_scores if self.thresholds is None else of_counts
        found = self._per_column(curve, self._merged(state) if micro else state)
        return [f[0] for f in found], [f[1] for f in found], [f[2] for f in found]

    def _merged(self, state: Any) -> Any:
        """All columns as one."""
        if isinstance(state, Tensor):
            return state.sum(1, keepdim=True)
        return state[0].reshape(-1, 1), state[1].reshape(-1, 1)

    def _support(self, state: Any) -> Tensor:
        """How many targets of each column are 1."""
        positives = state[0][:, 1].sum(-1) if isinstance(state, Tensor) else (state[1] == 1).sum(0)
        return positives.float()


def count_at(scores: Tensor, target: Tensor, thresholds: Tensor) -> Tensor:
    """Counts (T, K, 2, 2) of target (rows) and ``score >= threshold`` (columns) for scores and targets (N, K).

    One pass over the scores: each is put between two thresholds, and the counts are summed up from the top.
    """
    order = thresholds.argsort()
    count, columns = len(thresholds), scores.shape[1]
    scores = engine.where(scores.isnan(), engine.full_like(scores, float("-inf")), scores)
    place = engine.searchsorted(thresholds[order].contiguous(), scores.contiguous(), right=True)
    column = engine.arange(columns, device=scores.device).expand(scores.shape)
    keep = target >= 0
    joint = ((column * 2 + target.long()) * (count + 1) + place)[keep]
    bins = engine.bincount(joint, minlength=columns * 2 * (count + 1)).reshape(columns, 2, count + 1)
    above = bins.flip(-1).cumsum(-1).flip(-1)[..., 1:]
    table = engine.stack([bins.sum(-1, keepdim=True) - above, above], dim=-1).permute(2, 0, 1, 3)
    return table[order.argsort()]


def _of_counts(table: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return table[:, 1, 1], table[:, 0, 1], table[:, 1, 0], table[:, 0, 0]


def _of_scores(scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """tp, fp, fn, tn and the threshold at each distinct score, the lowest first."""
    keep = target >= 0
    scores, target = scores[keep], target[keep].long()
    order = scores.argsort(descending=True)
    scores, target = scores[order], target[order]
    last = engine.ones_like(scores, dtype=engine.bool)  # the last of each run of equal scores
    last[:-1] = scores[1:] != scores[:-1]
    tp = target.cumsum(0)[last].flip(0)
    seen = engine.arange(1, len(scores) + 1, device=scores.device)[last].flip(0)
    positives, negatives = target.sum(), len(target) - target.sum()
    return tp, seen - tp, positives - tp, negatives - (seen - tp), scores[last].flip(0)


def roc_points(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor, thresholds: Tensor | None) -> Curve:
    """False and true positive rates, the highest threshold first."""
    assert thresholds is not None
    return safe_divide(fp, fp + tn).flip(0), safe_divide(tp, tp + fn).flip(0), thresholds.flip(0)


def roc_points_from_zero(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor, thresholds: Tensor) -> Curve:
    """``roc_points`` of all distinct scores, with a first point (0, 0)."""
    for what, count, name in (("negative", fp + tn, "false"), ("positive", tp + fn, "true")):
        if not count.any():
            warnings.warn(
                f"[W404] ROC: there are no {what} samples in the targets; the {name} positive rate is set to 0."
                " HINT: compute over more data.",
                stacklevel=2,
            )
    fpr, tpr, thresholds = roc_points(tp, fp, fn, tn, thresholds)
    zero, one = fpr.new_zeros(1), thresholds.new_ones(1)
    return engine.cat([zero, fpr]), engine.cat([zero, tpr]), engine.cat([one, thresholds])


def precision_recall_points(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor, thresholds: Tensor) -> Curve:
    """Precision and recall, the lowest threshold first, with a last point (1, 0)."""
    precision, recall = safe_divide(tp, tp + fp, float("nan")), safe_divide(tp, tp + fn, float("nan"))
    one = precision.new_ones(1)
    return engine.cat([precision, one]), engine.cat([recall, engine.zeros_like(one)]), thresholds


def precision_recall_of_scores(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor, thresholds: Tensor) -> Curve:
    """``precision_recall_points`` of all distinct scores; without positive samples recall is 1."""
    precision, recall, thresholds = precision_recall_points(tp, fp, fn, tn, thresholds)
    if not (tp + fn).any():
        warnings.warn(
            "[W405] Precision-recall curve: there are no positive samples; recall is set to 1. HINT: compute over more data.",
            stacklevel=2,
        )
        recall = engine.cat([engine.ones_like(recall[:-1]), recall[-1:]])
    return precision, recall, thresholds


def area(x: Tensor, y: Tensor) -> Tensor:
    """The area under a curve by the trapezoidal rule."""
    return engine.trapezoid(y.double(), x.double()).float()


def average_of_steps(precision: Tensor, recall: Tensor, unknown: float = 0.0) -> Tensor:
    """The sum of precision times the step in recall; ``unknown`` stands for what is NaN."""
    precision, recall = (engine.where(x.isnan(), engine.full_like(x, unknown), x).double() for x in (precision, recall))
    return -((recall[1:] - recall[:-1]) * precision[:-1]).sum().float()


def mean_of(values: Tensor, support: Tensor, average: str | None, what: str) -> Tensor:
    """One number from the areas of all columns, leaving out those that are NaN."""
    if average in (None, "none"):
        return values
    known = ~values.isnan()
    if not known.all():
        warnings.warn(
            f"[W406] {what}: one or more classes have none; they are left out of the {average} average."
            " HINT: average=None shows which.",
            stacklevel=2,
        )
    if average == "macro":
        return values[known].mean()
    weights = safe_divide(support[known], support[known].sum())
    return (values[known] * weights).sum()


def macro_curve(x: list[Tensor], y: list[Tensor], thresholds: list[Tensor], descending: bool) -> Curve:
    """The mean of several curves, drawn over all their x values."""
    grid = engine.cat(x).sort().values
    total = engine.zeros_like(grid)
    for xs, ys in zip(x, y, strict=True):
        total = total + _interpolate(grid, xs, ys)
    return grid, total / len(x), engine.cat(thresholds).sort(descending=descending).values


def _interpolate(at: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """``y`` at the points ``at``, along the straight lines between (x, y)."""
    slope = safe_divide(y[1:] - y[:-1], x[1:] - x[:-1])
    offset = y[:-1] - slope * x[:-1]
    # Precision may rise and fall: what counts is how many x are no larger.
    place = engine.searchsorted(x.sort().values, at.contiguous(), right=True)
    place = (engine.where(at.isnan(), engine.zeros_like(place), place) - 1).clamp(0, len(slope) - 1)
    return slope[place] * at + offset[place]


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
        self,
        thresholds: Any = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        normalization: str | None = "sigmoid",
        **kwargs: Any,
    ) -> None:
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

    def compute(self) -> Any:
        """The curve."""
        curve = precision_recall_of_scores if self.thresholds is None else precision_recall_points
        return self._per_column(curve, self._state())[0]


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

    average: str | None = None

    def __init__(
        self,
        num_classes: int,
        thresholds: Any = None,
        average: str | None = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> None:
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

    def compute(self) -> Any:
        """The curve, or curves."""
        micro = self.average == "micro"
        found = self._curves(precision_recall_of_scores if micro else precision_recall_points, precision_recall_points, micro)
        return _shaped(found, self.average, self.thresholds is not None, descending=False)


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
        self,
        num_labels: int,
        thresholds: Any = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> None:
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
        if self.ignore_index is not None:
            target = engine.where(target == self.ignore_index, engine.full_like(target, -1), target)
        self._gather(as_probabilities(preds, classes=False), target)

    def compute(self) -> Any:
        """The curves."""
        found = self._curves(precision_recall_of_scores, precision_recall_points, micro=False)
        return _shaped(found, None, self.thresholds is not None, descending=False)


def _check_scores(preds: Tensor) -> None:
    if not preds.is_floating_point():
        raise ValueError(
            f"Expected argument `preds` to be a floating tensor with probability/logits scores, but got {preds.dtype}"
        )


def _shaped(found: tuple[list[Tensor], list[Tensor], list[Tensor]], average: str | None, binned: bool, descending: bool) -> Any:
    x, y, thresholds = found
    if average == "micro":
        return x[0], y[0], thresholds[0]
    if average == "macro":
        return macro_curve(x, y, thresholds, descending)
    return (engine.stack(x), engine.stack(y), thresholds[0]) if binned else (x, y, thresholds)
