"""The areas under the curves: AUROC and average precision, for the three tasks.

An area is one formula over a curve (a mixin) in front of the class that draws the curve.
"""

from __future__ import annotations

import warnings
from typing import Any

import engine
from engine import Tensor
from lit.metrics.curves import (
    BinaryPrecisionRecallCurve,
    BinaryROC,
    MulticlassPrecisionRecallCurve,
    MultilabelPrecisionRecallCurve,
    _Curve,
    _RocFormula,
)
from lit.metrics.inputs import AVERAGES, check_option, safe_divide


class _Area(_Curve):
    """One number for each curve, and their average."""

    higher_is_better = True
    what: str  # its name in a warning

    def _area(self, x: Tensor, y: Tensor) -> Tensor:
        raise NotImplementedError

    def compute(self) -> Tensor:
        """The area: 0-d, or (C,) or (L,) without averaging over classes or labels."""
        areas = [self._area(x, y) for x, y, _ in self._curves()]
        return areas[0] if len(areas) == 1 else mean_of(engine.stack(areas), self._support(), self.average, self.what)


class _MulticlassArea(_Area, MulticlassPrecisionRecallCurve):
    def __init__(
        self, num_classes: int, average: str | None = "macro", thresholds: Any = None, ignore_index: int | None = None,
        validate_args: bool = True, **kwargs: Any,
    ) -> None:  # fmt: skip
        check_option("average", average, ("macro", "weighted", "none", None))
        super().__init__(num_classes, thresholds, average, ignore_index, validate_args, **kwargs)


class _MultilabelArea(_Area, MultilabelPrecisionRecallCurve):
    def __init__(
        self, num_labels: int, average: str | None = "macro", thresholds: Any = None, ignore_index: int | None = None,
        validate_args: bool = True, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(num_labels, thresholds, ignore_index, validate_args, **kwargs)
        check_option("average", average, AVERAGES)
        self.average = average


class _RocArea(_Area, _RocFormula):
    what = "AUROC"

    def _area(self, x: Tensor, y: Tensor) -> Tensor:
        return engine.trapezoid(y.double(), x.double()).float()


class BinaryAUROC(_RocArea, BinaryROC):
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

    def __init__(
        self, max_fpr: float | None = None, thresholds: Any = None, ignore_index: int | None = None,
        validate_args: bool = True, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(thresholds, ignore_index, validate_args, **kwargs)
        if max_fpr is not None and not (isinstance(max_fpr, float) and 0 < max_fpr <= 1):
            raise ValueError(f"Arguments `max_fpr` should be a float in range (0, 1], but got: {max_fpr}")
        self.max_fpr = max_fpr

    def _area(self, x: Tensor, y: Tensor) -> Tensor:
        limit = self.max_fpr
        if limit is None or limit == 1 or not x.any() or not y.any():
            return super()._area(x, y)
        x, y = x.double(), y.double()
        stop = int((x <= limit).sum())
        weight = (limit - x[stop - 1]) / (x[stop] - x[stop - 1])
        edge = y[stop - 1] + weight * (y[stop] - y[stop - 1])
        part = super()._area(engine.cat([x[:stop], x.new_full((1,), limit)]), engine.cat([y[:stop], edge.reshape(1)]))
        chance = 0.5 * limit**2
        return 0.5 * (1 + (part - chance) / (limit - chance))


class MulticlassAUROC(_RocArea, _MulticlassArea):
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


class MultilabelAUROC(_RocArea, _MultilabelArea):
    """The area under the ROC curve of each label.

    Args:
        num_labels: the number of labels.
        average: "micro" (all labels as one), "macro", "weighted", "none" or None.
        thresholds, ignore_index, validate_args: as in ``BinaryPrecisionRecallCurve``.
    """


class _AveragePrecisionFormula(_Area):
    what = "Average precision"

    def _area(self, x: Tensor, y: Tensor) -> Tensor:
        """The sum of precision (x) times the step in recall (y)."""
        unknown = float("nan") if self.thresholds is None else 0.0  # what a class without positive samples has
        precision, recall = (engine.where(part.isnan(), engine.full_like(part, unknown), part).double() for part in (x, y))
        return -((recall[1:] - recall[:-1]) * precision[:-1]).sum().float()


class BinaryAveragePrecision(_AveragePrecisionFormula, BinaryPrecisionRecallCurve):
    """The precision averaged over all steps in recall; arguments as ``BinaryPrecisionRecallCurve``.

    Example:
        >>> from lit.metrics import BinaryAveragePrecision
        >>> BinaryAveragePrecision()(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1]))
        tensor(0.8333)
    """


class MulticlassAveragePrecision(_AveragePrecisionFormula, _MulticlassArea):
    """The average precision of each class against the rest; arguments as ``MulticlassAUROC``."""


class MultilabelAveragePrecision(_AveragePrecisionFormula, _MultilabelArea):
    """The average precision of each label; arguments as ``MultilabelAUROC``."""


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
