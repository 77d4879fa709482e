"""Convolutions that are products of matrices as their arrays lie, without columns.

With a kernel of one element, over the channels: an image is a matrix (C, positions), and one call of `matmul` does those of
some images. With a kernel as large as the image, over all of it: images are the rows of a matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..pool import map_blocks, scratch, spans
from ._blocked import LARGE_PRODUCT, product, products, run_blocks
from ._wide_products import wide_product

LEAST, ENOUGH = 64, 512  # columns of a product for a weight gradient
LONG = 128  # positions of an image, from which on its share of a weight gradient is a product of its own
SHARES = 8  # blocks, if there is enough to do
SUMS = 1 << 20  # elements of a block's shares of a weight gradient
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


def _multiply(w: Any, x: Any, bias: Any, out: Any, plan: Any) -> None:
    """`w` times each position's channels of images, plus the bias, into the images `out`."""
    (n, outputs), count = out.shape[:2], plan.windows.count
    blocks, some = spans(n, -(-n // SHARES)), spans(outputs, -(-outputs * n // SHARES) if n < SHARES else outputs)
    whole = out.flags.c_contiguous

    def run(i: int) -> None:
        block, rows = blocks[i // len(some)], some[i % len(some)]
        images, target = np.ascontiguousarray(x[block]), out[block, rows]
        shape = (*target.shape[:2], count)
        result = target.reshape(shape) if whole else scratch(target.size, out.dtype).reshape(shape)
        wide_product(w[rows], images.reshape(len(images), -1, count), result)
        if bias is not None:
            result += bias[rows, None]
        if not whole:
            np.copyto(target, result.reshape(target.shape))

    run_blocks(run, len(blocks) * len(some), plan.work >= LARGE_PRODUCT)


def convolve(x: Any, w: Any, b: Any, plan: Any) -> Any:
    """The convolution of NumPy arrays, on the pool."""
    out = np.empty(plan.out_shape, x.dtype)
    _multiply(w.reshape(w.shape[:2]), _taken(x, plan), b, out, plan)
    return out


def gradients(g: Any, x: Any, w: Any, plan: Any) -> tuple:
    """(input gradient, weight gradient), the first if `w` is given, the second if `x` is."""
    gx = None
    if w is not None:
        gx = (np.empty if all(s == 1 for s in plan.windows.stride) else np.zeros)(plan.x_shape, g.dtype)
        _multiply(np.ascontiguousarray(w.reshape(w.shape[:2]).T), g, None, _taken(gx, plan), plan)
    return gx, None if x is None else _weight_gradient(g, _taken(x, plan), plan)


def _weight_gradient(g: Any, x: Any, plan: Any) -> Any:
    n, count = plan.n, plan.windows.count
    if count >= LONG:
        blocks = spans(n, max(1, min(-(-n // SHARES), SUMS // (plan.outputs * plan.channels))))
    else:
        blocks = spans(n, max(1, min(ENOUGH, max(LEAST, n * count // SHARES)) // count))

    def share(block: slice) -> Any:
        if count < LONG:
            return _matrix(g[block], 0) @ _matrix(x[block], 1).T
        outputs, inputs = [np.ascontiguousarray(a[block]).reshape(-1, a.shape[1], count) for a in (g, x)]
        return np.matmul(outputs, inputs.swapaxes(1, 2)).sum(axis=0)

    def run(lane: int) -> Any:
        total = None
        for block in blocks[lane::LANES]:
            total = share(block) if total is None else np.add(total, share(block), out=total)
        return total

    sums = map_blocks(run, min(LANES, len(blocks)))
    for part in sums[1:]:
        sums[0] += part
    return (sums[0] if sums else np.zeros((), g.dtype)).reshape(plan.w_shape)
