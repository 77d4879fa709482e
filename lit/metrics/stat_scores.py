"""True and false positives and negatives, for the three tasks."""

from __future__ import annotations

from typing import Any

import engine
from engine import Tensor
from lit.metrics.base import Metric, together
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
    masked,
)

COUNTS = ("tp", "fp", "tn", "fn")


class _Counts(Metric):
    """Gathers the four counts: sums over the data, or one row per sample (``multidim_average="samplewise"``)."""

    full_state_update = False

    def _set_up(
        self, size: int, multidim_average: str, ignore_index: int | None, validate_args: bool, zero_division: float
    ) -> None:
        check_option("multidim_average", multidim_average, ("global", "samplewise"))
        check_ignored(ignore_index)
        if zero_division not in (0, 1):
            raise ValueError(f"Expected argument `zero_division` to be 0 or 1, but got {zero_division}.")
        self.multidim_average, self.ignore_index, self.validate_args = multidim_average, ignore_index, validate_args
        self.zero_division = zero_division
        shape = () if size == 1 else (size,)
        for name in COUNTS:
            if multidim_average == "global":
                self.add_state(name, engine.zeros(shape, dtype=engine.int64), dist_reduce_fx="sum")
            else:
                self.add_state(name, [], dist_reduce_fx="cat")

    def _gather(self, counts: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
        for name, count in zip(COUNTS, counts, strict=True):
            state = getattr(self, name)
            if isinstance(state, list):
                state.append(count)
            else:
                setattr(self, name, state + count)

    def _counted(self) -> tuple[Tensor, ...]:
        return tuple(together(getattr(self, name)) for name in COUNTS)


def _compare(preds: Tensor, target: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The counts of 0/1 predictions; a target of -1 counts nowhere."""
    hit, positive, negative = preds.eq(target), target.eq(1), target.eq(0)
    pairs = (hit & positive, ~hit & negative, hit & negative, ~hit & positive)
    tp, fp, tn, fn = (pair.sum(dims) for pair in pairs)
    return tp, fp, tn, fn


class BinaryStatScores(_Counts):
    """``[tp, fp, tn, fn, support]`` of a yes/no question.

    Args:
        threshold: probabilities above it mean yes; values outside of 0 to 1 are logits and get a sigmoid.
        multidim_average: "global" counts everything together, "samplewise" gives a row per sample (N, ...).
        ignore_index: a target that counts nowhere.
        validate_args: whether to check arguments and values.
        zero_division: what a score that divides by these counts is where they are 0.

    Shape: preds (N, ...) probabilities, logits or labels; target (N, ...) of 0 and 1.

    Example:
        >>> from lit.metrics import BinaryStatScores
        >>> BinaryStatScores()(torch.tensor([0.1, 0.9, 0.8, 0.3]), torch.tensor([0, 1, 0, 1]))
        tensor([1, 1, 1, 1, 2])
    """

    average: Any = "binary"

    def __init__(
        self, threshold: float = 0.5, multidim_average: str = "global", ignore_index: int | None = None,
        validate_args: bool = True, zero_division: float = 0, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        check_threshold(threshold)
        self.threshold = threshold
        self._set_up(1, multidim_average, ignore_index, validate_args, zero_division)
        self.update_key = (threshold, multidim_average, ignore_index)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count one batch."""
        if self.validate_args:
            check_labels(preds, target, self.ignore_index)
            _check_samplewise(self.multidim_average, preds, 2)
        labels = as_labels(preds, self.threshold).reshape(preds.shape[0], -1)
        target = masked(target, self.ignore_index).reshape(target.shape[0], -1)
        self._gather(_compare(labels, target, (0, 1) if self.multidim_average == "global" else (1,)))

    def compute(self) -> Tensor:
        """The counts: (5,), or (N, 5)."""
        tp, fp, tn, fn = self._counted()
        return engine.stack([tp, fp, tn, fn, tp + fn], dim=-1)


class MultilabelStatScores(_Counts):
    """``[tp, fp, tn, fn, support]`` of several yes/no questions about each sample.

    Args:
        num_labels: the number of questions.
        threshold, multidim_average, ignore_index, validate_args, zero_division: as in ``BinaryStatScores``.
        average: "micro" (all labels together), "macro" (mean over labels), "weighted" (by support), "none" or None.

    Shape: preds and target (N, L, ...).

    Example:
        >>> from lit.metrics import MultilabelStatScores
        >>> metric = MultilabelStatScores(num_labels=2, average="none")
        >>> metric(torch.tensor([[1, 0], [1, 1]]), torch.tensor([[1, 0], [0, 1]]))
        tensor([[1, 1, 0, 0, 1],
                [1, 0, 1, 0, 1]])
    """

    def __init__(
        self, num_labels: int, threshold: float = 0.5, average: str | None = "macro", multidim_average: str = "global",
        ignore_index: int | None = None, validate_args: bool = True, zero_division: float = 0, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        check_number("num_labels", num_labels)
        check_threshold(threshold)
        check_option("average", average, AVERAGES)
        self.num_labels, self.threshold, self.average = num_labels, threshold, average
        self._set_up(num_labels, multidim_average, ignore_index, validate_args, zero_division)
        self.update_key = (num_labels, threshold, multidim_average, ignore_index)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count one batch."""
        if self.validate_args:
            check_labels(preds, target, self.ignore_index, self.num_labels)
            _check_samplewise(self.multidim_average, preds, 3)
        labels = as_labels(preds, self.threshold).reshape(*preds.shape[:2], -1)
        target = masked(target, self.ignore_index).reshape(*target.shape[:2], -1)
        self._gather(_compare(labels, target, (0, 2) if self.multidim_average == "global" else (2,)))

    def compute(self) -> Tensor:
        """The counts: (..., 5) after averaging over labels."""
        return _averaged_counts(self._counted(), self.average)


class MulticlassStatScores(_Counts):
    """``[tp, fp, tn, fn, support]`` of a choice among several classes.

    Args:
        num_classes: the number of classes; may be None for ``average="micro"``.
        top_k: a prediction is right when the target is among the k highest scores.
        average: "micro" (all classes together), "macro" (mean over classes), "weighted" (by support), "none" or None.
        multidim_average, ignore_index, validate_args, zero_division: as in ``BinaryStatScores``.

    Shape: preds (N, ...) labels or (N, C, ...) scores; target (N, ...).

    Example:
        >>> from lit.metrics import MulticlassStatScores
        >>> metric = MulticlassStatScores(num_classes=3, average="micro")
        >>> metric(torch.tensor([0, 2, 1]), torch.tensor([0, 1, 1]))
        tensor([2, 1, 5, 1, 3])
    """

    def __init__(
        self, num_classes: int | None = None, top_k: int = 1, average: str | None = "macro",
        multidim_average: str = "global", ignore_index: int | None = None, validate_args: bool = True,
        zero_division: float = 0, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        check_option("average", average, AVERAGES)
        if num_classes is None and average != "micro":
            raise ValueError(
                f"Argument `num_classes` can only be `None` for `average='micro'`, but got `average={average}`."
            )
        if num_classes is not None:
            check_number("num_classes", num_classes)
        check_number("top_k", top_k, least=1)
        if top_k > (num_classes or 1):
            raise ValueError(
                f"Expected argument `top_k` to be smaller or equal to `num_classes` but got {top_k} and {num_classes}"
            )
        self.num_classes, self.top_k, self.average = num_classes, top_k, average
        self._set_up(num_classes or 1, multidim_average, ignore_index, validate_args, zero_division)
        self.update_key = (num_classes, top_k, multidim_average, ignore_index)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count one batch."""
        if self.validate_args:
            check_classes(preds, target, self.num_classes, self.ignore_index)
            _check_samplewise(self.multidim_average, target, 2)
        chosen = self._chosen(preds, target)
        if self.num_classes is None:
            self._gather(self._count_hits(chosen, target))
        elif self.multidim_average == "global":
            keep = kept(target, self.ignore_index)
            self._gather(_counts_of(confusion(chosen[keep], target[keep], self.num_classes)))
        else:
            samples, classes = target.shape[0], self.num_classes
            keep = kept(target, self.ignore_index)
            rows = engine.arange(samples, device=target.device).reshape(-1, *[1] * (target.ndim - 1)).expand(target.shape)
            joint = (rows[keep] * classes + target[keep]) * classes + chosen[keep]
            tables = engine.bincount(joint, minlength=samples * classes**2).reshape(samples, classes, classes)
            self._gather(_counts_of(tables))

    def _chosen(self, preds: Tensor, target: Tensor) -> Tensor:
        """The class that each prediction counts as: the target where it is among the first ``top_k``."""
        if preds.ndim == target.ndim:
            return preds.long()
        if self.top_k == 1:
            return preds.argmax(1)
        best = preds.topk(self.top_k, 1).indices
        found = (best == target.unsqueeze(1)).any(1)
        return engine.where(found, target, best[:, 0])

    def _count_hits(self, chosen: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Counts that need no number of classes; the true negatives are unknown."""
        keep = kept(target, self.ignore_index)
        hit = (chosen == target) & keep
        dims = tuple(range(target.ndim)) if self.multidim_average == "global" else tuple(range(1, target.ndim))
        tp = hit.sum(dims)
        wrong = keep.sum(dims) - tp
        return tp, wrong, engine.zeros_like(tp), wrong

    def compute(self) -> Tensor:
        """The counts: (..., 5) after averaging over classes."""
        return _averaged_counts(self._counted(), self.average if self.num_classes else "none")


def confusion(labels: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """How often target i got label j: a (C, C) table of counts."""
    joint = target.long() * num_classes + labels.long()
    return engine.bincount(joint.flatten(), minlength=num_classes**2).reshape(num_classes, num_classes)


def _counts_of(tables: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    tp = tables.diagonal(dim1=-2, dim2=-1)
    fp, fn = tables.sum(-2) - tp, tables.sum(-1) - tp
    return tp, fp, tables.sum((-2, -1)).unsqueeze(-1) - tp - fp - fn, fn


def _averaged_counts(counts: tuple[Tensor, ...], average: str | None) -> Tensor:
    tp, fp, tn, fn = counts
    stacked = engine.stack([tp, fp, tn, fn, tp + fn], dim=-1)
    if average == "micro":
        return stacked.sum(-2)
    if average == "macro":
        return stacked.float().mean(-2)
    if average == "weighted":
        weight = (tp + fn).float()
        return (stacked * (weight / weight.sum(-1, keepdim=True)).unsqueeze(-1)).sum(-2)
    return stacked


def _check_samplewise(multidim_average: str, values: Tensor, dims: int) -> None:
    if multidim_average == "samplewise" and values.ndim < dims:
        raise ValueError(
            f"Expected input to be at least {dims}D when multidim_average is set to `samplewise`, got {values.ndim}D."
        )
