"""How convolutions are computed: windows gathered as columns (im2col), and one matrix product per block of images.

One implementation serves all dimensions. A block is a few images, or some rows of one, so that its columns stay in
cache; blocks run side by side on the pool. Columns are stored as (channel, kernel position, output position, image):
what is copied in one piece is then as long as possible.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..pool import scratch
from . import _conv_products, _depthwise, _patches, _winograd, _winograd_plain
from ._blocked import LARGE_PRODUCT, product, run_blocks
from ._wide_products import wide_product
from ._windows import Windows, windows_of

LANES = 8  # blocks of images that may add to weight gradients at the same time, each into an array of its own
ONE_THREAD = 1 << 23  # multiplications of a convolution whose products one thread does before another has woken up
_APART = 16  # more elements between rows of columns
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
        self.tiles: Any = _winograd.tiles_of(self)  # where Winograd's algorithm applies
        self.planes: Any = _depthwise.planes_of(self)  # if every channel is on its own
        self.is_product = _conv_products.fits(self)
        self.is_whole = _conv_products.is_whole(self)
        self.is_dense = self.is_whole or (self.is_product and all(s == 1 for s in windows.stride))  # as BLAS likes it
        self.patches: Any = _patches.Patches(self)
        self.saves_columns = one_block and not self.tiles and self.depth * groups * self.widest <= SAVED_COLUMNS
        self.buffer_size = self.depth * groups * (self.widest + (0 if self.saves_columns else _APART))

    @functools.cached_property
    def turned(self) -> Plan | None:
        """The convolution that makes input gradients of output gradients, where that costs less than adding columns."""
        windows, reach = self.windows, [d * (k - 1) for k, d in zip(self.windows.kernel, self.windows.dilation)]
        lows = [r - low for r, (low, _) in zip(reach, windows.pads)]
        pads = tuple([(a, n + r - m - a) for a, n, r, m in zip(lows, windows.spatial, reach, windows.out)])
        if any(s > 1 for s in windows.stride) or min(map(min, pads)) < 0 or 2 * self.channels < self.outputs:
            return None
        turned = windows_of(windows.out, windows.kernel, windows.stride, pads, windows.dilation, windows.spatial)
        return Plan(self.out_shape, (self.channels, self.outputs // self.groups, *windows.kernel), self.groups, turned)

    def turn(self, xp: Any, w: Any) -> Any:
        """The weights of `turned`: inputs and outputs change places, and every kernel is turned around."""
        w = xp.flip(w, tuple(range(2, w.ndim)))
        w = w.reshape(self.groups, self.outputs // self.groups, *w.shape[1:]).swapaxes(1, 2)
        return w.reshape(self.channels, self.outputs // self.groups, *w.shape[3:])

    def on_pool(self, xp: Any) -> bool:
        """Whether the work is worth several threads."""
        return xp is np and self.work >= LARGE_PRODUCT

    def times(self, xp: Any, a: Any, b: Any, out: Any = None) -> Any:
        """The product of matrices as `matrix` gives them: of a single block, itself on several threads."""
        if xp is not np or self.groups > 1:
            return xp.matmul(a, b, out=out)
        if out is None and len(self.blocks) == 1 and self.work > ONE_THREAD:
            return product(a, b)
        return wide_product(a, b, out)

    def matrix(self, array: Any, rows: int) -> Any:
        """Weights, outputs or columns as one matrix per group, or as one matrix if there is one group."""
        return array.reshape(rows, -1) if self.groups == 1 else array.reshape(self.groups, rows // self.groups, -1)


def _buffer(xp: Any, size: int, dtype: Any, slot: int) -> Any:
    """Memory that blocks use one after the other: fresh memory of this size would cost page faults each time."""
    return scratch(size, dtype, slot) if xp is np else xp.empty(size, dtype)


def _gather(xp: Any, view: Any, rows: tuple, plan: Plan, buffer: Any) -> Any:
    """The columns of some output rows: a copy of their windows in `buffer` as a matrix (one per group)."""
    part = view[plan.windows.rows(*rows)]
    columns = _columns(buffer, plan, part.size // max(plan.depth * plan.groups, 1))
    xp.copyto(columns.reshape(part.shape), part)
    return plan.matrix(columns, plan.depth * plan.groups)


def _columns(buffer: Any, plan: Plan, count: int) -> Any:
    """`count` columns in `buffer`: a matrix whose rows are no power of two apart, which caches dislike."""
    rows, stride = plan.depth * plan.groups, count if plan.saves_columns else count + _APART
    return buffer[: rows * stride].reshape(rows, stride)[:, :count]


def convolve(xp: Any, x: Any, w: Any, b: Any, plan: Plan) -> tuple:
    """The convolution of raw arrays, and the gathered columns if they are few."""
    if plan.planes and xp is np:
        return _depthwise.convolve(x, w, b, plan.planes), None
    if plan.is_whole and xp is np:
        return _conv_products.of_wholes(x, w, b, plan), None
    kernels = _winograd.compiled(x, w, b) if plan.tiles else None
    if kernels:
        return _winograd.correlate(kernels, x, w, b, plan.tiles), None
    if _winograd_plain.fits(plan, x, w, b):
        return _winograd_plain.correlate(x, w, b, plan), None
    kernels = None if plan.is_dense else _patches.compiled(plan, x, w, b)
    if kernels:
        return _patches.convolve(kernels, x, w, b, plan), None
    if plan.is_product and plan.on_pool(xp):
        return _conv_products.convolve(x, w, b, plan), None
    return _from_columns(xp, x, w, b, plan)


def _from_columns(xp: Any, x: Any, w: Any, b: Any, plan: Plan) -> tuple:
    windows = plan.windows
    weights = plan.matrix(w, plan.outputs)
    bias = None if b is None else b.reshape(-1, *[1] * len(windows.out))
    out = xp.empty(plan.out_shape, x.dtype)
    size = plan.buffer_size
    kept: Any = xp.empty(size, x.dtype) if plan.saves_columns else None

    def run_rows(view: Any, first: int, last: int, rows: tuple) -> None:
        columns = _gather(xp, view, rows, plan, kept if plan.saves_columns else _buffer(xp, size, x.dtype, 0))
        target = out[first:last, :, rows[0] : rows[1]]
        if last - first == 1 and plan.groups == 1 and len(plan.blocks) > 1:
            plan.times(xp, weights, columns, target.reshape(plan.outputs, -1))
            if bias is not None:
                target += bias
            return
        result = windows.by_image(plan.times(xp, weights, columns).reshape(windows.by_channel(target).shape))
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


def spread(xp: Any, x: Any, w: Any, b: Any, plan: Plan) -> Any:
    """The transposed convolution of raw arrays: what `gradients` makes of an output gradient `x`, plus the bias."""
    kernels = None if plan.planes or plan.tiles or plan.is_dense else _patches.compiled(plan, x, w, b)
    if kernels:
        return _patches.input_gradient(kernels, x, w, b, plan)
    out = gradients(xp, x, None, w, plan)[0]
    if b is not None:
        out += b.reshape(-1, *[1] * len(plan.windows.out))
    return out


def gradients(xp: Any, g: Any, x: Any, w: Any, plan: Plan, columns: Any = None) -> tuple:
    """(input gradient, weight gradient) of raw arrays; the first if `w` is given, the second if `x` is."""
    if plan.planes and xp is np:
        return _depthwise.gradients(g, x, w, plan.planes)
    if plan.is_whole and xp is np:
        return _conv_products.gradients_of_wholes(g, x, w, plan)
    kernels = _winograd.compiled(g, x, w) if plan.tiles else None
    if kernels:
        return _winograd.gradients(kernels, g, x, w, plan.tiles)
    if _winograd_plain.fits(plan, g, x, w):
        gx = None if w is None else _winograd_plain.correlate(g, w, None, plan, True)
        return gx, None if x is None else _winograd_plain.weight_gradient(g, x, plan)
    kernels = None if plan.is_dense else _patches.compiled(plan, g, x, w)
    if kernels:
        gx = None if w is None else _patches.input_gradient(kernels, g, w, None, plan)
        return gx, None if x is None else _patches.weight_gradient(kernels, g, x, plan)
    if plan.is_product and plan.on_pool(xp):
        return _conv_products.gradients(g, x, w, plan)
    if w is None or plan.turned is None:
        return _through_columns(xp, g, x, w, plan, columns)
    gx = _from_columns(xp, g, plan.turn(xp, w), None, plan.turned)[0]
    return gx, None if x is None else _through_columns(xp, g, x, None, plan, columns)[1]


def _through_columns(xp: Any, g: Any, x: Any, w: Any, plan: Plan, columns: Any) -> tuple:
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
    if not sums:
        return gx, xp.zeros(plan.w_shape, g.dtype)
    for part in sums[1:]:
        sums[0] += part
    return gx, xp.ascontiguousarray(sums[0].swapaxes(-1, -2)).reshape(plan.w_shape)


def _block_gradients(
    xp: Any, g: Any, x: Any, weights: Any, plan: Plan, columns: Any, block: tuple, gx: Any, gw: Any
) -> Any:
    """Write a block's share of the input gradient into `gx`; returns `gw`, (columns, outputs), with its share added."""
    windows = plan.windows
    first, last, parts = block
    buffer = _buffer(xp, plan.buffer_size, g.dtype, 0)  # columns, and then their gradient
    view = spread = None
    if x is not None and columns is None:
        view = windows.view(xp, windows.load(xp, x[first:last]))
    if gx is not None:
        spread = windows.load(xp, xp.broadcast_to(xp.zeros((), g.dtype), (last - first, plan.channels, *windows.spatial)))
    for rows in parts:
        part = windows.by_channel(g[first:last, :, rows[0] : rows[1]])
        outputs = plan.matrix(part, plan.outputs)
        if x is not None:
            gathered = _gather(xp, view, rows, plan, buffer) if columns is None else columns
            share = xp.matmul(gathered, outputs.swapaxes(-1, -2))  # the other way round takes BLAS longer
            gw = share if gw is None else xp.add(gw, share, out=gw)
        if gx is not None:
            shape = (plan.channels, *windows.kernel, *part.shape[1:])
            found = _columns(buffer, plan, math.prod(part.shape[1:]))
            plan.times(xp, weights, outputs, plan.matrix(found, plan.depth * plan.groups))
            windows.add_back(spread, found.reshape(shape), *rows)
    if gx is not None:
        gx[first:last] = windows.crop(windows.by_image(spread))
    return gw
