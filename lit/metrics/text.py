"""Perplexity: how surprised a language model is by each token."""

from __future__ import annotations

from typing import Any

import engine
from engine import Tensor
from lit.metrics.base import Metric
from lit.metrics.inputs import check_ignored


class Perplexity(Metric):
    """exp of the mean negative log-likelihood per token.

    Args:
        ignore_index: a target that does not count, for example padding.

    Shape: preds (B, T, V) logits, target (B, T).

    Raises:
        ValueError: the shapes do not fit.
        TypeError: preds are not floating point, or targets not int64.

    Example:
        >>> from lit.metrics import Perplexity
        >>> Perplexity()(torch.zeros(1, 3, 5), torch.tensor([[0, 1, 4]]))
        tensor(5.)
    """

    full_state_update = False
    is_differentiable = True
    higher_is_better = False
    total_log_probs: Tensor
    count: Tensor

    def __init__(self, ignore_index: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_ignored(ignore_index)
        self.ignore_index = ignore_index
        self.add_state("total_log_probs", engine.tensor(0.0, dtype=engine.float64), dist_reduce_fx="sum")
        self.add_state("count", engine.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Take one batch."""
        if preds.ndim != 3 or target.ndim != 2 or preds.shape[:2] != target.shape:
            raise ValueError(
                "Input tensors `preds` and `target` are expected to have shapes (batch_size, seq_len, vocab_size) and"
                f" (batch_size, seq_len), got {tuple(preds.shape)} and {tuple(target.shape)}."
            )
        if not preds.is_floating_point():
            raise TypeError(f"Input tensor `preds` is expected to be of floating point type but got {preds.dtype}.")
        if target.dtype != engine.int64:
            raise TypeError(f"Input tensor `target` is expected to be of type torch.int64 but got {target.dtype}.")
        scores, target = preds.reshape(-1, preds.shape[-1]), target.reshape(-1)
        if self.ignore_index is not None:
            keep = target != self.ignore_index
            scores, target = scores[keep], target[keep]
        chosen = scores.double().log_softmax(-1).gather(1, target.unsqueeze(1))
        self.total_log_probs = self.total_log_probs - chosen.sum()
        self.count = self.count + len(target)

    def compute(self) -> Tensor:
        """The perplexity, 0-d."""
        return (self.total_log_probs / self.count).exp().float()
