"""Kernels over blocks of attention scores: (batch, heads, queries, keys), with numbers per query in (batch, heads, queries)."""

from __future__ import annotations

import numpy as np

from .functions import ZERO, exp_down, from_ordered, ordered
from .jit import kernel

_LOWEST = np.int32(-(2**31))
_NOTHING = np.float32(-np.inf)


@kernel
def take_in(scores, top, total):  # type: ignore[no-untyped-def]
    """exp(scores - new maximum) in place; brings the running maximum and sum up to date. The factor for what was before."""
    factors = np.empty_like(top)
    n = scores.shape[3]
    for b in range(scores.shape[0]):
        for h in range(scores.shape[1]):
            for i in range(scores.shape[2]):
                row = scores[b, h, i]
                highest = ordered(top[b, h, i])
                for j in range(n):
                    highest = max(highest, ordered(row[j]))
                new = from_ordered(highest)
                base = ZERO if new == _NOTHING else new
                added = ZERO
                for j in range(n):
                    e = exp_down(row[j] - base)
                    row[j] = e
                    added += e
                factor = exp_down(top[b, h, i] - base)
                factors[b, h, i] = factor
                total[b, h, i] = total[b, h, i] * factor + added
                top[b, h, i] = new
    return factors


@kernel
def gradient(weights, logs, along, h):  # type: ignore[no-untyped-def]
    """Scores become weights exp(scores - logs), and `h`, the gradient of the weights, that of the scores; both in place."""
    n = weights.shape[3]
    for b in range(weights.shape[0]):
        for head in range(weights.shape[1]):
            for i in range(weights.shape[2]):
                row, out = weights[b, head, i], h[b, head, i]
                log_sum, sub = logs[b, head, i], along[b, head, i]
                for j in range(n):
                    w = exp_down(row[j] - log_sum)
                    row[j] = w
                    out[j] = (out[j] - sub) * w
