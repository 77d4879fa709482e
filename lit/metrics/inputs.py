"""From what models and data sets give to what classification metrics count: labels and scores, checked."""

from __future__ import annotations

from typing import Any

import engine
from engine import Tensor

AVERAGES = ("micro", "macro", "weighted", "none", None)


def check_option(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    """Raise ValueError unless ``value`` is one of ``allowed``."""
    if value not in allowed:
        raise ValueError(f"Expected argument `{name}` to be one of {allowed}, but got {value}")


def check_threshold(threshold: Any) -> None:
    """Raise ValueError unless ``threshold`` is a float from 0 to 1."""
    if not (isinstance(threshold, float) and 0 <= threshold <= 1):
        raise ValueError(f"Expected argument `threshold` to be a float in the [0,1] range, but got {threshold}.")


def check_number(name: str, value: Any, least: int = 2) -> None:
    """Raise ValueError unless ``value`` is an integer of at least ``least``."""
    if not isinstance(value, int) or value < least:
        raise ValueError(f"Expected argument `{name}` to be an integer larger than {least - 1}, but got {value}")


def check_ignored(ignore_index: Any) -> None:
    """Raise ValueError unless ``ignore_index`` is None or an integer."""
    if ignore_index is not None and not isinstance(ignore_index, int):
        raise ValueError(f"Expected argument `ignore_index` to either be `None` or an integer, but got {ignore_index}")


def check_same_shape(preds: Tensor, target: Tensor) -> None:
    """Raise RuntimeError unless both have the same shape."""
    if preds.shape != target.shape:
        raise RuntimeError(
            "Predictions and targets are expected to have the same shape, but got"
            f" {tuple(preds.shape)} and {tuple(target.shape)}."
        )


def check_values(name: str, values: Tensor, highest: int, ignore_index: int | None = None) -> None:
    """Raise RuntimeError if ``values`` holds something else than 0 ... ``highest`` and ``ignore_index``."""
    if values.numel() == 0:
        return
    wrong = (values < 0) | (values > highest)
    if ignore_index is not None:
        wrong = wrong & (values != ignore_index)
    if wrong.any():
        found = engine.unique(values).tolist()
        expected = f"0 to {highest}" + (f" and {ignore_index}" if ignore_index is not None else "")
        raise RuntimeError(f"Detected the following values in `{name}`: {found} but expected only {expected}.")


def check_labels(preds: Tensor, target: Tensor, ignore_index: int | None, num_labels: int | None = None) -> None:
    """What binary and multilabel input must be: equal shapes, targets (and label predictions) of 0 and 1."""
    check_same_shape(preds, target)
    if target.is_floating_point():
        raise ValueError(f"Expected argument `target` to be an int or long tensor with labels, but got {target.dtype}")
    if num_labels is not None and (preds.ndim < 2 or preds.shape[1] != num_labels):
        raise ValueError(
            "Expected both `target.shape[1]` and `preds.shape[1]` to be equal to the number of labels"
            f" but got {tuple(preds.shape)} and expected {num_labels}"
        )
    check_values("target", target, 1, ignore_index)
    if not preds.is_floating_point():
        check_values("preds", preds, 1)


def check_classes(preds: Tensor, target: Tensor, num_classes: int | None, ignore_index: int | None) -> None:
    """What multiclass input must be: labels (N, ...), or scores (N, C, ...), and targets (N, ...)."""
    if preds.ndim == target.ndim + 1:
        if not preds.is_floating_point():
            raise ValueError("If `preds` have one dimension more than `target`, `preds` should be a float tensor.")
        if num_classes is not None and preds.shape[1] != num_classes:
            raise ValueError(
                "If `preds` have one dimension more than `target`, `preds.shape[1]` should be equal to number of"
                f" classes, got {preds.shape[1]} and {num_classes}."
            )
        if preds.shape[2:] != target.shape[1:] or preds.shape[0] != target.shape[0]:
            raise ValueError(
                "If `preds` have one dimension more than `target`, the shape of `preds` should be (N, C, ...), and the"
                f" shape of `target` should be (N, ...), got {tuple(preds.shape)} and {tuple(target.shape)}."
            )
    elif preds.shape != target.shape:
        raise ValueError(
            "Either `preds` and `target` both should have the (same) shape (N, ...), or `target` should be (N, ...) and"
            f" `preds` should be (N, C, ...), got {tuple(preds.shape)} and {tuple(target.shape)}."
        )
    if num_classes is not None:
        check_values("target", target, num_classes - 1, ignore_index)
        if preds.ndim == target.ndim and not preds.is_floating_point():
            check_values("preds", preds, num_classes - 1, ignore_index)


def kept(target: Tensor, ignore_index: int | None) -> Tensor:
    """Which targets count: a mask."""
    if ignore_index is None:
        return engine.ones_like(target, dtype=engine.bool)
    return target.ne(ignore_index)


def masked(target: Tensor, ignore_index: int | None) -> Tensor:
    """``target`` with -1 for what counts nowhere."""
    if ignore_index is None:
        return target
    return engine.where(target == ignore_index, engine.full_like(target, -1), target)


def as_probabilities(scores: Tensor, classes: bool) -> Tensor:
    """``scores`` if all are from 0 to 1; otherwise they are logits: their sigmoid, or softmax over dimension 1."""
    if scores.numel() == 0 or bool(((scores >= 0) & (scores <= 1)).all()):
        return scores
    return scores.softmax(1) if classes else scores.sigmoid()


def as_labels(preds: Tensor, threshold: float) -> Tensor:
    """0 and 1 from probabilities, logits or labels."""
    if preds.is_floating_point():
        preds = as_probabilities(preds, classes=False) > threshold
    return preds.long()


def safe_divide(numerator: Tensor, denominator: Tensor, zero_division: float = 0.0) -> Tensor:
    """The quotient in floating point, ``zero_division`` where the denominator is 0.

    Example:
        >>> from lit.metrics.inputs import safe_divide
        >>> safe_divide(torch.tensor([1, 2]), torch.tensor([4, 0]))
        tensor([0.2500, 0.0000])
    """
    numerator = numerator if numerator.is_floating_point() else numerator.float()
    denominator = denominator if denominator.is_floating_point() else denominator.float()
    empty = denominator == 0
    quotient = numerator / engine.where(empty, engine.ones_like(denominator), denominator)
    return engine.where(empty, engine.full_like(quotient, zero_division), quotient)
