"""Confusion matrices, and the scores that are read off them.

``_Table`` keeps a matrix; three classes say how it is counted, one for each task. A score is a formula over the matrix (a
mixin) in front of one of the three.
"""

from __future__ import annotations

import warnings
from typing import Any

import engine
from engine import Tensor
from lit.metrics.base import Metric
from lit.metrics.inputs import (
    AVERAGES,
    as_labels,
    check_classes,
    check_ignored,
    check_labels,
    check_number,
    check_option,
    check_threshold,
    kept,
    safe_divide,
)
from lit.metrics.stat_scores import confusion

NORMALIZE = ("true", "pred", "all", "none", None)
WEIGHTS = ("linear", "quadratic", "none", None)


class _Table(Metric):
    """Gathers a confusion matrix (C, C), or (L, 2, 2) for several labels."""

    full_state_update = False
    confmat: Tensor
    normalize: str | None

    def _set_up(
        self, shape: tuple[int, ...], ignore_index: int | None, normalize: str | None, validate_args: bool
    ) -> None:
        check_option("normalize", normalize, NORMALIZE)
        check_ignored(ignore_index)
        self.ignore_index, self.normalize, self.validate_args = ignore_index, normalize, validate_args
        self.add_state("confmat", engine.zeros(shape, dtype=engine.int64), dist_reduce_fx="sum")

    def compute(self) -> Tensor:
        """The matrix, or one for each label."""
        if self.normalize in (None, "none"):
            return self.confmat
        dims = {"true": (-1,), "pred": (-2,), "all": (-2, -1)}[str(self.normalize)]
        sums = self.confmat.float().sum(dims, keepdim=True)
        if (sums == 0).any():
            warnings.warn(
                f"[W402] Confusion matrix: with normalize={self.normalize!r} some sums are 0; what they divide is set to 0."
                " HINT: normalize=None gives the counts.",
                stacklevel=2,
            )
        return safe_divide(self.confmat, sums)


class BinaryConfusionMatrix(_Table):
    """How often 0 and 1 (rows) were answered with 0 and 1 (columns).

    Args:
        threshold: probabilities above it mean 1; values outside of 0 to 1 are logits and get a sigmoid.
        ignore_index: a target that counts nowhere.
        normalize: divide by the sums over "true" (rows), "pred" (columns) or "all".
        validate_args: whether to check arguments and values.

    Shape: preds and target (N, ...); the result is (2, 2).

    Example:
        >>> from lit.metrics import BinaryConfusionMatrix
        >>> BinaryConfusionMatrix()(torch.tensor([0.1, 0.9, 0.8, 0.3]), torch.tensor([0, 1, 0, 1]))
        tensor([[1, 1],
                [1, 1]])
    """

    def __init__(
        self, threshold: float = 0.5, ignore_index: int | None = None, normalize: str | None = None,
        validate_args: bool = True, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        check_threshold(threshold)
        self.threshold = threshold
        self._set_up((2, 2), ignore_index, normalize, validate_args)
        self.update_key = (threshold, ignore_index)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count one batch."""
        if self.validate_args:
            check_labels(preds, target, self.ignore_index)
        keep = kept(target, self.ignore_index)
        self.confmat = self.confmat + confusion(as_labels(preds, self.threshold)[keep], target[keep], 2)


class MulticlassConfusionMatrix(_Table):
    """How often each class (rows) was taken for each class (columns).

    Args:
        num_classes: the number of classes.
        ignore_index, normalize, validate_args: as in ``BinaryConfusionMatrix``.

    Shape: preds (N, ...) labels or (N, C, ...) scores, target (N, ...); the result is (C, C).

    Example:
        >>> from lit.metrics import MulticlassConfusionMatrix
        >>> MulticlassConfusionMatrix(num_classes=2)(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]))
        tensor([[1, 1],
                [0, 1]])
    """

    def __init__(
        self, num_classes: int, ignore_index: int | None = None, normalize: str | None = None,
        validate_args: bool = True, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        check_number("num_classes", num_classes)
        self.num_classes = num_classes
        self._set_up((num_classes, num_classes), ignore_index, normalize, validate_args)
        self.update_key = (num_classes, ignore_index)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count one batch."""
        if self.validate_args:
            check_classes(preds, target, self.num_classes, self.ignore_index)
        labels = preds.argmax(1) if preds.ndim > target.ndim else preds
        keep = kept(target, self.ignore_index)
        self.confmat = self.confmat + confusion(labels[keep], target[keep], self.num_classes)


class MultilabelConfusionMatrix(_Table):
    """A ``BinaryConfusionMatrix`` for each of several labels.

    Args:
        num_labels: the number of labels.
        threshold, ignore_index, normalize, validate_args: as in ``BinaryConfusionMatrix``.

    Shape: preds and target (N, L, ...); the result is (L, 2, 2).

    Example:
        >>> from lit.metrics import MultilabelConfusionMatrix
        >>> metric = MultilabelConfusionMatrix(num_labels=2)
        >>> metric(torch.tensor([[1, 0], [1, 1]]), torch.tensor([[1, 0], [0, 1]]))
        tensor([[[0, 1],
                 [0, 1]],
        <BLANKLINE>
                [[1, 0],
                 [0, 1]]])
    """

    def __init__(
        self, num_labels: int, threshold: float = 0.5, ignore_index: int | None = None, normalize: str | None = None,
        validate_args: bool = True, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        check_number("num_labels", num_labels)
        check_threshold(threshold)
        self.num_labels, self.threshold = num_labels, threshold
        self._set_up((num_labels, 2, 2), ignore_index, normalize, validate_args)
        self.update_key = (num_labels, threshold, ignore_index)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count one batch."""
        if self.validate_args:
            check_labels(preds, target, self.ignore_index, self.num_labels)
        keep = kept(target, self.ignore_index)
        shape = (1, -1, *[1] * (target.ndim - 2))
        label = engine.arange(self.num_labels, device=target.device).reshape(shape).expand(target.shape)
        joint = label[keep] * 4 + target[keep].long() * 2 + as_labels(preds, self.threshold)[keep]
        counts = engine.bincount(joint, minlength=4 * self.num_labels)
        self.confmat = self.confmat + counts.reshape(self.num_labels, 2, 2)


# ---------------------------------------------------------------------- scores


class _KappaFormula(_Table):
    higher_is_better = True
    weights: str | None

    def _weigh(self, weights: str | None) -> None:
        check_option("weights", weights, WEIGHTS)
        self.weights = weights

    def compute(self) -> Tensor:
        """The score, 0-d."""
        table = self.confmat.double()
        expected = table.sum(1, keepdim=True) * table.sum(0, keepdim=True) / table.sum()
        index = engine.arange(table.shape[0], device=table.device)
        distance = (index.unsqueeze(0) - index.unsqueeze(1)).abs().double()
        cost = {"linear": distance, "quadratic": distance**2}.get(str(self.weights), (distance > 0).double())
        return (1 - (cost * table).sum() / (cost * expected).sum()).float()


class BinaryCohenKappa(_KappaFormula, BinaryConfusionMatrix):
    """Agreement beyond chance (Cohen, 1960); arguments as ``BinaryConfusionMatrix``, and ``weights``.

    Args:
        weights: how much a disagreement counts by its distance: "linear", "quadratic", "none" or None (all alike).

    Example:
        >>> from lit.metrics import BinaryCohenKappa
        >>> BinaryCohenKappa()(torch.tensor([1, 0, 1, 0]), torch.tensor([1, 0, 0, 0]))
        tensor(0.5000)
    """

    def __init__(
        self, threshold: float = 0.5, ignore_index: int | None = None, weights: str | None = None,
        validate_args: bool = True, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(threshold, ignore_index, None, validate_args, **kwargs)
        self._weigh(weights)


class MulticlassCohenKappa(_KappaFormula, MulticlassConfusionMatrix):
    """Agreement beyond chance (Cohen, 1960); arguments as ``MulticlassConfusionMatrix``, and ``weights``."""

    def __init__(
        self, num_classes: int, ignore_index: int | None = None, weights: str | None = None,
        validate_args: bool = True, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(num_classes, ignore_index, None, validate_args, **kwargs)
        self._weigh(weights)


class _MatthewsFormula(_Table):
    higher_is_better = True

    def compute(self) -> Tensor:
        """The coefficient, 0-d; 0 where one of the two never changes, as in scikit-learn."""
        counts = (self.confmat.sum(0) if self.confmat.ndim == 3 else self.confmat).double()
        true, predicted, total = counts.sum(1), counts.sum(0), counts.sum()
        covariance = counts.trace() * total - (true * predicted).sum()
        spread = (total**2 - (predicted**2).sum()) * (total**2 - (true**2).sum())
        return safe_divide(covariance, spread.sqrt()).float()


class BinaryMatthewsCorrCoef(_MatthewsFormula, BinaryConfusionMatrix):
    """The correlation of answers and truth (Matthews, 1975); arguments as ``BinaryConfusionMatrix``.

    Example:
        >>> from lit.metrics import BinaryMatthewsCorrCoef
        >>> BinaryMatthewsCorrCoef()(torch.tensor([0, 1, 0, 0]), torch.tensor([1, 1, 0, 0]))
        tensor(0.5774)
    """

    def __init__(
        self, threshold: float = 0.5, ignore_index: int | None = None, validate_args: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(threshold, ignore_index, None, validate_args, **kwargs)


class MulticlassMatthewsCorrCoef(_MatthewsFormula, MulticlassConfusionMatrix):
    """The correlation of choices and truth (Gorodkin, 2004); arguments as ``MulticlassConfusionMatrix``."""

    def __init__(
        self, num_classes: int, ignore_index: int | None = None, validate_args: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(num_classes, ignore_index, None, validate_args, **kwargs)


class MultilabelMatthewsCorrCoef(_MatthewsFormula, MultilabelConfusionMatrix):
    """The correlation of answers and truth over all labels; arguments as ``MultilabelConfusionMatrix``."""

    def __init__(
        self, num_labels: int, threshold: float = 0.5, ignore_index: int | None = None, validate_args: bool = True,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(num_labels, threshold, ignore_index, None, validate_args, **kwargs)


class _JaccardFormula(_Table):
    higher_is_better = True
    average: str | None = "none"
    zero_division: float

    def _counts(self) -> tuple[Tensor, Tensor, Tensor]:
        """How often each label was answered and true, true, and answered with yes."""
        return self.confmat[..., 1, 1], self.confmat[..., 1, :].sum(-1), self.confmat[..., :, 1].sum(-1)

    def _averaged(self, either: Tensor) -> Tensor:
        """Which labels an average is over: all."""
        return engine.ones_like(either)

    def compute(self) -> Tensor:
        """The index: 0-d, or one of each class or label without averaging."""
        both, true, predicted = self._counts()
        either = true + predicted - both
        if self.average == "micro":
            return safe_divide(both.sum(), (either * self._averaged(either)).sum(), self.zero_division)
        index = safe_divide(both, either, self.zero_division)
        if self.average in (None, "none"):
            return index
        weights = (true if self.average == "weighted" else self._averaged(either)).float()
        return safe_divide((weights * index).sum(), weights.sum())


class BinaryJaccardIndex(_JaccardFormula, BinaryConfusionMatrix):
    """Intersection over union of answers and truth; arguments as ``BinaryConfusionMatrix``.

    Args:
        zero_division: the result where both are empty.

    Example:
        >>> from lit.metrics import BinaryJaccardIndex
        >>> BinaryJaccardIndex()(torch.tensor([1, 1, 0, 0]), torch.tensor([1, 0, 0, 0]))
        tensor(0.5000)
    """

    def __init__(
        self, threshold: float = 0.5, ignore_index: int | None = None, validate_args: bool = True,
        zero_division: float = 0, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(threshold, ignore_index, None, validate_args, **kwargs)
        self.zero_division = zero_division


class MulticlassJaccardIndex(_JaccardFormula, MulticlassConfusionMatrix):
    """Intersection over union of each class; arguments as ``MulticlassConfusionMatrix``.

    Args:
        average: "micro", "macro", "weighted", "none" or None: how classes become one number.
        zero_division: the result of a class of which nothing is there.
    """

    def __init__(
        self, num_classes: int, average: str | None = "macro", ignore_index: int | None = None,
        validate_args: bool = True, zero_division: float = 0, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(num_classes, ignore_index, None, validate_args, **kwargs)
        check_option("average", average, AVERAGES)
        self.average, self.zero_division = average, zero_division

    def _counts(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.confmat.diagonal(), self.confmat.sum(1), self.confmat.sum(0)

    def _averaged(self, either: Tensor) -> Tensor:
        """Which classes an average is over: those that were seen and are not ignored."""
        index = engine.arange(self.num_classes, device=either.device)
        return (either > 0) & (index != (-1 if self.ignore_index is None else self.ignore_index))


class MultilabelJaccardIndex(_JaccardFormula, MultilabelConfusionMatrix):
    """Intersection over union of each label; arguments as ``MultilabelConfusionMatrix``.

    Args:
        average, zero_division: as in ``MulticlassJaccardIndex``.
    """

    def __init__(
        self, num_labels: int, threshold: float = 0.5, average: str | None = "macro", ignore_index: int | None = None,
        validate_args: bool = True, zero_division: float = 0, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(num_labels, threshold, ignore_index, None, validate_args, **kwargs)
        check_option("average", average, AVERAGES)
        self.average, self.zero_division = average, zero_division
