"""Convolutions that are products of matrices as their arrays lie, without columns.

With a kernel of one element, over the channels: an image is a matrix (C, positions). Where images are small, some are brought
side by side into one. With a kernel as large as the image, over all of it: images are the rows of a matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..pool import map_blocks, parallel_for, scratch, spans
from ._blocked import product, products
from ._wide_products import wide_product

LEAST, ENOUGH = 64, 512  # columns of a product
SHARES = 8  # blocks of images, if they are wide enough
LANES = 8  # blocks that may add to weight gradients at the same time


def fits(plan: Any) -> bool:
    """Whether a convolution is such a product."""
    windows = plan.windows
    return plan.groups == 1 and not windows.is_padded and all(k == 1 for k in windows.kernel)


def is_whole(plan: Any) -> bool:
    """Whether the kernel is as large as the image."""
    windows = plan.windows
    return plan.groups == 1 and not windows.is_padded and windows.count == 1 and windows.kernel == windows.spatial


def of_wholes(x: Any, w: Any, b: Any, plan: Any) -> Any:
    """The convolution of NumPy arrays, if the kernel `is_whole`."""
    return product(x.reshape(plan.n, -1), w.reshape(plan.outputs, -1).T, b).reshape(plan.out_shape)


def gradients_of_wholes(g: Any, x: Any, w: Any, plan: Any) -> tuple:
    """(input gradient, weight gradient), as in `gradients`."""
    g = g.reshape(plan.n, plan.outputs)
    pairs = [] if w is None else [(g, w.reshape(plan.outputs, -1))]
    found = products(*pairs, *[] if x is None else [(g.T, x.reshape(plan.n, -1))])
    gx = None if w is None else found[0].reshape(plan.x_shape)
    return gx, None if x is None else found[-1].reshape(plan.w_shape)


def _blocks(plan: Any) -> list[slice]:
    count = plan.windows.count
    return spans(plan.n, max(1, min(ENOUGH, max(LEAST, plan.n * count // SHARES)) // count))


def _taken(x: Any, plan: Any) -> Any:
    """The elements of (N, C, *) that the windows see."""
    return x[(..., *[slice(0, s * (n - 1) + 1, s) for s, n in zip(plan.windows.stride, plan.windows.out)])]


def _matrix(x: Any, slot: int) -> Any:
    """Images (N, C, *) as one matrix (C, N * positions): themselves where they lie so, else a copy."""
    n, c = x.shape[:2]
    if n == 1 and x.flags.c_contiguous:
        return x.reshape(c, -1)
    out = scratch(x.size, x.dtype, slot).reshape(c, n, *x.shape[2:])
    np.copyto(out, x.swapaxes(0, 1))
    return out.reshape(c, -1)


def _multiply(w: Any, x: Any, bias: Any, out: Any) -> None:
    """`w` times each position's channels of the images `x`, plus the bias, into the images `out`."""
    n, c = out.shape[:2]
    whole = n == 1 and out.flags.c_contiguous
    result = out.reshape(c, -1) if whole else scratch(out.size, out.dtype, 1).reshape(c, -1)
    wide_product(w, _matrix(x, 0), result)
    if bias is not None:
        result += bias[:, None]
    if not whole:
        np.copyto(out.swapaxes(0, 1), result.reshape(c, n, *out.shape[2:]))


def convolve(x: Any, w: Any, b: Any, plan: Any) -> Any:
    """The convolution of NumPy arrays, on the pool."""
    out = np.empty(plan.out_shape, x.dtype)
    w, x, blocks = w.reshape(w.shape[:2]), _taken(x, plan), _blocks(plan)
    parallel_for(lambda i: _multiply(w, x[blocks[i]], b, out[blocks[i]]), len(blocks))
    return out


def gradients(g: Any, x: Any, w: Any, plan: Any) -> tuple:
    """(input gradient, weight gradient), the first if `w` is given, the second if `x` is."""
    blocks = _blocks(plan)
    gx = gw = None
    if w is not None:
        gx = (np.empty if all(s == 1 for s in plan.windows.stride) else np.zeros)(plan.x_shape, g.dtype)
        turned, inner = w.reshape(w.shape[:2]).T, _taken(gx, plan)
        parallel_for(lambda i: _multiply(turned, g[blocks[i]], None, inner[blocks[i]]), len(blocks))
    if x is not None:
        seen = _taken(x, plan)

        def run(lane: int) -> Any:
            total = None
            for block in blocks[lane::LANES]:
                share = _matrix(g[block], 0) @ _matrix(seen[block], 1).T
                total = share if total is None else np.add(total, share, out=total)
            return total

        sums = map_blocks(run, min(LANES, len(blocks)))
        for part in sums[1:]:
            sums[0] += part
        gw = (sums[0] if sums else np.zeros(plan.w_shape, g.dtype)).reshape(plan.w_shape)
    return gx, gw
