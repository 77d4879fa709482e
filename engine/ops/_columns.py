"""How convolutions are computed: windows gathered as columns (im2col), and one matrix product per block of images.

One implementation serves all dimensions. A block is a few images, or some rows of one, so that its columns stay in
cache; blocks run side by side on the pool. Columns are stored as (channel, kernel position, output position, image):
what is copied in one piece is then as long as possible.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..pool import scratch
from . import _conv_products, _depthwise, _winograd
from ._blocked import LARGE_PRODUCT, product, run_blocks
from ._windows import Windows

LANES = 8  # blocks of images that may add to weight gradients at the same time, each into an array of its own
SAVED_COLUMNS = 1 << 18  # columns of at most this many elements are kept for backward instead of gathered again


class Plan:
    """What a convolution of given shapes needs to know: channels, groups and the geometry of its windows."""

    def __init__(self, x_shape: tuple, w_shape: tuple, groups: int, windows: Windows) -> None:
        self.x_shape, self.w_shape, self.groups, self.windows = x_shape, w_shape, groups, windows
        self.n, self.channels, self.outputs = x_shape[0], x_shape[1], w_shape[0]
        self.depth = 1  # elements of one group's window
        for size in w_shape[1:]:
            self.depth *= size
        self.out_shape = (self.n, self.outputs, *windows.out)
        self.sum_axes = (0, *range(2, len(x_shape)))  # of the bias gradient
        self.blocks = windows.blocks(self.n, self.depth * groups)
        self.widest = max([(last - first) * (b - a) for first, last, rows in self.blocks for a, b in rows], default=0)
        self.widest *= windows.count // max(windows.out[0], 1)  # columns of the largest block
        one_block = len(self.blocks) == 1 and len(self.blocks[0][2]) == 1
        self.work = self.depth * self.outputs * windows.count * self.n  # multiplications
        self.tiles: Any = _winograd.tiles_of(self)  # of output and input, where Winograd's algorithm applies
        self.planes: Any = _depthwise.planes_of(self)  # if every channel is on its own
        self.is_product = _conv_products.fits(self)
        self.saves_columns = one_block and not self.tiles and self.depth * groups * self.widest <= SAVED_COLUMNS

    def on_pool(self, xp: Any) -> bool:
        """Whether the work is worth several threads."""
        return xp is np and self.work >= LARGE_PRODUCT

    def times(self, xp: Any, a: Any, b: Any) -> Any:
        """The product of matrices as `matrix` gives them: of a single block, itself on several threads."""
        return product(a, b) if xp is np and len(self.blocks) == 1 else xp.matmul(a, b)

    def matrix(self, array: Any, rows: int) -> Any:
        """Weights, outputs or columns as one matrix per group, or as one matrix if there is one group."""
        return array.reshape(rows, -1) if self.groups == 1 else array.reshape(self.groups, rows // self.groups, -1)


def _buffer(xp: Any, size: int, dtype: Any, slot: int) -> Any:
    """Memory that blocks use one after the other: fresh memory of this size would cost page faults each time."""
    return scratch(size, dtype, slot) if xp is np else xp.empty(size, dtype)


def _gather(xp: Any, view: Any, rows: tuple, plan: Plan, buffer: Any) -> Any:
    """The columns of some output rows: a copy of their windows in `buffer` as a matrix (one per group)."""
    every = slice(None)
    part = view[(every, *[every] * len(plan.windows.kernel), slice(*rows))]
    flat = buffer[: part.size]
    xp.copyto(flat.reshape(part.shape), part)
    return plan.matrix(flat, plan.depth * plan.groups)


def convolve(xp: Any, x: Any, w: Any, b: Any, plan: Plan) -> tuple:
    """The convolution of raw arrays, and the gathered columns if they are few."""
    if plan.planes and xp is np:
        return _depthwise.convolve(x, w, b, plan.planes), None
    if plan.is_product and plan.on_pool(xp):
        return _conv_products.convolve(x, w, b, plan), None
    kernels = _winograd.compiled(x, w, b) if plan.tiles else None
    if kernels:
        return _winograd.correlate(kernels, x, w, b, plan.tiles[0]), None
    windows, nd = plan.windows, len(plan.windows.out)
    weights = plan.matrix(w, plan.outputs)
    bias = None if b is None else b.reshape(-1, *[1] * nd)
    out = xp.empty(plan.out_shape, x.dtype)
    size = plan.depth * plan.groups * plan.widest
    kept: Any = xp.empty(size, x.dtype) if plan.saves_columns else None

    def run_rows(view: Any, first: int, last: int, rows: tuple) -> None:
        columns = _gather(xp, view, rows, plan, kept if plan.saves_columns else _buffer(xp, size, x.dtype, 0))
        result = plan.times(xp, weights, columns).reshape(plan.outputs, rows[1] - rows[0], *windows.out[1:], last - first)
        result = result.transpose(nd + 1, *range(nd + 1))
        target = out[first:last, :, rows[0] : rows[1]]
        if bias is None:
            target[...] = result
        else:
            xp.add(result, bias, out=target)

    def run_block(i: int) -> None:
        first, last, parts = plan.blocks[i]
        view = windows.view(xp, windows.load(xp, x[first:last]))
        if len(plan.blocks) == 1:
            run_blocks(lambda j: run_rows(view, first, last, parts[j]), len(parts), plan.on_pool(xp))
        else:
            for rows in parts:
                run_rows(view, first, last, rows)

    run_blocks(run_block, len(plan.blocks), plan.on_pool(xp) and len(plan.blocks) > 1)
    return out, plan.matrix(kept, plan.depth * plan.groups) if plan.saves_columns else None


def gradients(xp: Any, g: Any, x: Any, w: Any, plan: Plan, columns: Any = None) -> tuple:
    """(input gradient, weight gradient) of raw arrays; the first if `w` is given, the second if `x` is."""
    if plan.planes and xp is np:
        return _depthwise.gradients(g, x, w, plan.planes)
    if plan.is_product and plan.on_pool(xp):
        return _conv_products.gradients(g, x, w, plan)
    kernels = _winograd.compiled(g, x, w) if plan.tiles else None
    if kernels:
        gx = None if w is None else _winograd.correlate(kernels, g, w, None, plan.tiles[1], True)
        return gx, None if x is None else _winograd.weight_gradient(kernels, g, x, plan.tiles[0])
    weights = None if w is None else plan.matrix(w, plan.outputs).swapaxes(-1, -2)
    gx = None if w is None else xp.empty(plan.x_shape, g.dtype)

    def run(lane: int) -> Any:
        gw = None
        for block in plan.blocks[lane::LANES]:
            gw = _block_gradients(xp, g, x, weights, plan, columns, block, gx, gw)
        return gw

    sums = run_blocks(run, min(LANES, len(plan.blocks)), plan.on_pool(xp) and len(plan.blocks) > 1)
    if x is None:
        return gx, None
    gw: Any = xp.zeros(plan.w_shape, g.dtype) if not sums else sums[0]
    for part in sums[1:]:
        gw += part
    return gx, gw.reshape(plan.w_shape)


def _block_gradients(
    xp: Any, g: Any, x: Any, weights: Any, plan: Plan, columns: Any, block: tuple, gx: Any, gw: Any
) -> Any:
    """Write a block's share of the input gradient into `gx`; returns `gw` with its share of the weight gradient added."""
    windows, nd = plan.windows, len(plan.windows.out)
    first, last, parts = block
    buffer = _buffer(xp, plan.depth * plan.groups * plan.widest, g.dtype, 0)  # columns, and then their gradient
    view = spread = None
    if x is not None and columns is None:
        view = windows.view(xp, windows.load(xp, x[first:last]))
    if gx is not None:
        spread = xp.zeros((plan.channels, *windows.padded, last - first), g.dtype)
    for rows in parts:
        part = g[first:last, :, rows[0] : rows[1]].transpose(1, *range(2, nd + 2), 0)
        outputs = plan.matrix(part, plan.outputs)
        if x is not None:
            gathered = _gather(xp, view, rows, plan, buffer) if columns is None else columns
            share = plan.times(xp, outputs, gathered.swapaxes(-1, -2))
            gw = share if gw is None else xp.add(gw, share, out=gw)
        if gx is not None:
            shape = (plan.channels, *windows.kernel, rows[1] - rows[0], *windows.out[1:], last - first)
            flat = buffer[: math.prod(shape)]
            xp.matmul(weights, outputs, out=plan.matrix(flat, plan.depth * plan.groups))
            windows.add_back(spread, flat.reshape(shape), *rows)
    if gx is not None:
        gx[first:last] = windows.unload(spread)
    return gw
