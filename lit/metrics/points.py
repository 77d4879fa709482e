"""From counts of right and wrong answers at every threshold to the points of a curve."""

from __future__ import annotations

import warnings
from typing import Any

import engine
from engine import Tensor
from lit.metrics.inputs import safe_divide

Curve = tuple[Any, Any, Any]  # x, y, thresholds


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


def of_counts(table: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """tp, fp, fn, tn at each threshold, from counts (T, 2, 2)."""
    return table[:, 1, 1], table[:, 0, 1], table[:, 1, 0], table[:, 0, 0]


def of_scores(scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
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
