"""Attention of large inputs in blocks of queries and keys: memory grows with the length of a sequence, not with its square.

The softmax over the keys is put together block by block with a running maximum and sum (Milakov and Gimelshein 2018), and
backward computes the weights anew from each row's log of that sum (Dao et al. 2022). Blocks that a causal mask hides
altogether are skipped. Several heads go through together, so that every NumPy call has enough to do.

Here queries, keys and values have four dimensions: (batch, heads, positions, features).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import fast
from ..pool import parallel_for, scratch, spans
from . import _blocked
from ._exponentials import NEAR, exp, line_sums

QUERIES, CAUSAL_QUERIES, KEYS = 256, 128, 1024  # positions in a block; shorter with a causal mask, which then hides more
SCORES = 1 << 18  # elements of scores worked on at a time


def four(x: Any) -> Any:
    """An array with dimensions before the last two as one with exactly two of them."""
    if x.ndim == 4:
        return x
    return x[:, None] if x.ndim == 3 else x.reshape(-1, *x.shape[-3:])


def groups(batch: int, heads: int, rows: int, columns: int) -> list[tuple[slice, slice]]:
    """Batches and heads in groups with about SCORES scores, and at least one group for each processor."""
    count = min(SCORES // max(rows * columns, 1), -(-batch * heads // _blocked._PROCESSORS))
    if count >= heads:
        return [(block, slice(None)) for block in spans(batch, count // heads)]
    return [(slice(b, b + 1), block) for b in range(batch) for block in spans(heads, max(count, 1))]


class Blocks:
    """How scores are computed and masked: what forward and backward share."""

    def __init__(self, q: Any, k: Any, mask: Any, scale: float, causal: bool, kept: Any, keep_scale: float) -> None:
        self.q, self.k, self.causal = q, k, causal
        self.scale, self.keep_scale = q.dtype.type(scale), q.dtype.type(keep_scale)
        self.mask, self.kept = mask, kept
        self.rows = spans(q.shape[2], CAUSAL_QUERIES if causal else QUERIES)
        self.groups = groups(q.shape[0], q.shape[1], self.rows[0].stop, min(k.shape[2], KEYS))
        self.kernels = fast.kernels("attention") if q.dtype == np.float32 else None

    def columns(self, rows: slice) -> list[slice]:
        """The blocks of keys that some of these queries see."""
        return spans(min(self.k.shape[2], rows.stop) if self.causal else self.k.shape[2], KEYS)

    def scaled(self, group: tuple, rows: slice) -> Any:
        """A block of queries times the scale."""
        q = self.q[group][:, :, rows]
        return np.multiply(q, self.scale, out=_piece(q.shape, q.dtype, 0))

    def scores(self, q: Any, group: tuple, rows: slice, columns: slice) -> Any:
        """Scores of scaled queries in memory that is used again; minus infinity where a mask says so."""
        k = self.k[group][:, :, columns]
        scores = np.matmul(q, k.swapaxes(-1, -2), out=_piece((*q.shape[:3], k.shape[2]), q.dtype, 1))
        if self.mask is not None:
            mask = self.mask[group][:, :, rows, columns]
            if mask.dtype.kind == "b":
                np.copyto(scores, scores.dtype.type(-math.inf), where=~mask)
            else:
                scores += mask
        if self.causal and columns.stop > rows.start + 1:
            future = ~np.tri(rows.stop - rows.start, columns.stop - columns.start, rows.start - columns.start, dtype=bool)
            np.copyto(scores, scores.dtype.type(-math.inf), where=future)
        return scores

    def dropout(self, group: tuple, rows: slice, columns: slice) -> Any:
        """The factors of dropout for a block of weights, or None."""
        return None if self.kept is None else self.kept[group][:, :, rows, columns] * self.keep_scale

    def over(self, fn: Callable) -> None:
        """Run `fn(group)` for all groups on the pool."""
        parallel_for(lambda i: fn(self.groups[i]), len(self.groups))


def _piece(shape: tuple, dtype: Any, slot: int) -> Any:
    return scratch(math.prod(shape), dtype, slot).reshape(shape)


def _beside(x: Any, features: int) -> Any:
    """An empty array (batch, heads, positions, features) in the memory order (batch, positions, heads, features), which is how
    the heads are put side by side afterwards."""
    b, h, n, _ = x.shape
    return np.empty((b, n, h, features), x.dtype).transpose(0, 2, 1, 3)


def _take_in(scores: Any, top: Any, total: Any) -> tuple:
    """(exp(scores - base), the factor for what was before or None); brings the running base and sum up to date.

    The base is the running maximum, or zero as long as no sum is too large or too small for that (`exp_lines` says why).
    """
    first = top.flat[0]
    if first in (0, -math.inf) and (top == first).all():
        made = _piece(scores.shape, scores.dtype, 4)
        exp(scores, made)
        sums = line_sums(made.reshape(-1, scores.shape[-1])).reshape(total.shape)
        if sums.min() > NEAR[0] and sums.max() < NEAR[1]:
            total += sums
            top.fill(0)
            return made, None
    new = np.maximum(top, np.maximum.reduce(scores, axis=-1))
    base = np.where(new == -math.inf, 0, new)
    scores -= base[..., None]
    exp(scores, scores)
    factor = np.exp(top - base)
    total *= factor
    total += np.add.reduce(scores, axis=-1)
    top[...] = new
    return scores, factor


def forward(blocks: Blocks, v: Any) -> tuple:
    """(attention's output, log(sum(exp(scores))) of every query, plus infinity where it sees nothing)."""
    q = blocks.q
    out, logs = _beside(q, v.shape[-1]), np.empty(q.shape[:3], q.dtype)

    def take_in(scores: Any, top: Any, total: Any) -> tuple:
        return (scores, blocks.kernels.take_in(scores, top, total)) if blocks.kernels else _take_in(scores, top, total)

    def run(group: tuple) -> None:
        for rows in blocks.rows:
            queries = blocks.scaled(group, rows)
            top, total = np.full(queries.shape[:3], -math.inf, q.dtype), np.zeros(queries.shape[:3], q.dtype)
            sums = _piece((*queries.shape[:3], v.shape[-1]), q.dtype, 2)
            for columns in blocks.columns(rows):
                scores = blocks.scores(queries, group, rows, columns)
                scores, factor = take_in(scores, top, total)
                drop = blocks.dropout(group, rows, columns)
                if drop is not None:
                    scores *= drop
                if columns.start == 0:
                    np.matmul(scores, v[group][:, :, columns], out=sums)
                else:
                    if factor is not None:
                        sums *= factor[..., None]
                    sums += np.matmul(scores, v[group][:, :, columns])
            seen = total > 0
            logs[group][:, :, rows] = np.where(seen, top + np.log(np.where(seen, total, 1)), math.inf)
            np.divide(sums, np.where(seen, total, 1)[..., None], out=out[group][:, :, rows])

    blocks.over(run)
    return out, logs


def _gradient(weights: Any, logs: Any, along: Any, h: Any, drop: Any) -> None:
    """Scores become weights, and `h`, the gradient of the (dropped) weights, that of the scores; both in place."""
    weights -= logs[..., None]
    exp(weights, weights)
    if drop is not None:
        h *= drop
    h -= along[..., None]
    h *= weights


def backward(blocks: Blocks, v: Any, out: Any, logs: Any, g: Any, needs: tuple) -> list:
    """Gradients of queries, keys and values; None where `needs` says so."""
    q, k = blocks.q, blocks.k
    gradients = [_beside(x, x.shape[-1]) if need else None for x, need in zip((q, k, v), needs)]
    gq, gk, gv = gradients

    def run(group: tuple) -> None:
        for rows in blocks.rows:
            queries, part, log = blocks.scaled(group, rows), g[group][:, :, rows], logs[group][:, :, rows]
            along = np.einsum("bhij,bhij->bhi", part, out[group][:, :, rows])
            for columns in blocks.columns(rows):
                weights = blocks.scores(queries, group, rows, columns)
                h = np.matmul(part, v[group][:, :, columns].swapaxes(-1, -2), out=_piece(weights.shape, g.dtype, 3))
                drop = blocks.dropout(group, rows, columns)
                if blocks.kernels and drop is None:
                    blocks.kernels.gradient(weights, log, along, h)
                else:
                    _gradient(weights, log, along, h, drop)
                    weights = weights if drop is None else weights * drop
                if gv is not None:
                    _add(gv[group][:, :, columns], weights.swapaxes(-1, -2), part, rows.start == 0 and not blocks.causal)
                if gq is not None:
                    _add(gq[group][:, :, rows], h, k[group][:, :, columns], columns.start == 0)
                if gk is not None:
                    _add(gk[group][:, :, columns], h.swapaxes(-1, -2), queries, rows.start == 0 and not blocks.causal)
            if gq is not None:
                gq[group][:, :, rows] *= blocks.scale

    for x in (gk, gv):
        if x is not None and blocks.causal:  # where the first block of queries does not see all keys
            x.fill(0)
    blocks.over(run)
    return gradients


def _add(total: Any, a: Any, b: Any, first: bool) -> None:
    if first:
        np.matmul(a, b, out=total)
    else:
        total += np.matmul(a, b)
