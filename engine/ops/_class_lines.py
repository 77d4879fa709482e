"""Cross entropy of many scores as they lie in memory: lines of classes (lines, C), or (images, C, lines of an image).

Numbers per line, the target's class among them, have the same shape with a 1 for C.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import fast
from ..memory import empty
from ..pool import parallel_for
from . import _blocked
from ._blocked import by_panels, by_rows, chains, is_large, row_blocks
from ._exponentials import NEAR, exp_lines


def lines_of(x: Any) -> Any:
    """Scores (C), (N, C) or (N, C, d1, ...) as lines; None for few of them and for arrays that are not NumPy's."""
    if type(x) is not np.ndarray or x.size < _blocked.LINES:
        return None
    if x.ndim < 3:
        return np.ascontiguousarray(x.reshape(-1, x.shape[-1]))
    return np.ascontiguousarray(x.reshape(*x.shape[:2], math.prod(x.shape[2:])))


def losses_of(z: Any, t: Any) -> tuple:
    """(-log softmax(z)[t], log(sum(exp(z))) of every line, what `gradients_of` needs)."""
    t = t.reshape(len(z), 1, *z.shape[2:])
    losses, logs = np.empty(t.shape, z.dtype), np.empty(t.shape, z.dtype)
    if (kernels := _kernels(z)) is not None:
        t = np.array(t)
        _compiled(kernels, kernels.cross_entropy, z, (t, losses, logs))
        return losses.reshape(-1), logs.reshape(-1), (None, logs, t)
    e, sums = empty(z.shape, z.dtype), np.empty(t.shape, z.dtype)
    chains(_exponentials, (z, e, sums, logs))
    at = _places(z, t)
    # log(sum) - z[t] would cancel where the target is nearly certain, and could come out below zero; its probability does not
    np.log(sums / e.reshape(-1).take(at), out=losses)
    if not np.isfinite(np.add.reduce(losses, None)):  # a probability of zero
        np.copyto(losses, logs - z.reshape(-1).take(at), where=~np.isfinite(losses))
    return losses.reshape(-1), logs.reshape(-1), (e, sums, at)


def _exponentials(z: Any, e: Any, sums: Any, logs: Any) -> None:
    total, shift = exp_lines(z, e, NEAR)
    sums[...] = total
    np.log(total, out=logs)
    if shift is not None:
        logs += shift


def _places(z: Any, t: Any) -> Any:
    """Where the targets' scores lie in memory."""
    columns = math.prod(z.shape[2:])
    at = t * columns
    at += np.arange(0, z.size, z.size // len(z)).reshape(-1, *[1] * (z.ndim - 1))
    if columns > 1:
        at += np.arange(columns)
    return at


def gradients_of(z: Any, saved: tuple, g: Any, at_target: Any) -> Any:
    """softmax(z) * g - one-hot target * at_target, with numbers or one per line for both. Of `z` only the compiled form makes
    use."""
    e, sums, at = saved
    factors, off = np.empty_like(sums), np.empty_like(sums)
    for numbers, given in ((factors, g), (off, at_target)):
        numbers[...] = given if np.ndim(given) == 0 else given.reshape(sums.shape)
    if e is None:
        if (kernels := _kernels(z)) is not None:
            dx = empty(z.shape, z.dtype)
            _compiled(kernels, kernels.cross_entropy_backward, z, (at, sums, factors, off), dx)
            return dx
        e, sums, at = np.exp(z - sums), np.ones_like(sums), _places(z, at)  # kernels are switched off since forward
    shares = factors / sums
    dx = by_rows(np.multiply, (e, shares)) if is_large(e) else e * shares
    flat = dx.reshape(-1)
    flat[at] = flat.take(at) - off
    return dx


def _kernels(z: Any) -> Any:
    return fast.kernels("rows" if z.ndim == 2 else "panels") if is_large(z) and fast.fits(z) else None


def _compiled(kernels: Any, kernel: Any, z: Any, numbers: tuple, *out: Any) -> None:
    """The kernel, which takes numbers per line without the dimension of classes."""
    arrays = z, *[a.reshape(len(z), *z.shape[2:]) for a in numbers], *out
    if z.ndim == 3:
        by_panels(kernel, kernels.WIDTH, *arrays)
        return
    blocks = row_blocks(len(z), z.shape[1])
    parallel_for(lambda i: kernel(*[a[blocks[i]] for a in arrays]), len(blocks))
