"""Depthwise convolutions, in which every channel is on its own: groups == channels.

A channel's images are laid out with their padding, one row after the other. The element at a position of the kernel is
then, for all windows at once, the same run of numbers from another start, and a convolution is a sum of shifted runs. Runs
go over the ends of rows and images as well; what comes out there is not used. Strides take some of the results (or, in
gradients, leave zeros between the elements). Large arrays run on the pool, compiled (engine/fast/depthwise.py) where the
extra `fast` is installed; without it, narrow images are multiplied by banded matrices instead (_bands.py).
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from .. import fast
from ..dtypes import F32
from ..pool import scratch, spans
from . import _bands
from ._blocked import LARGE, run_blocks

LEAST = 16  # elements of images that are worked on without a padding of their own
BLOCK = 1 << 18  # elements laid out at a time; with fewer, threads wait for the interpreter


class Layout:
    """Planes of sizes `grid`: elements are at `first`, first + step, ...; windows are `offsets` from their start."""

    def __init__(self, grid: tuple, first: tuple, step: tuple, offsets: list) -> None:
        self.grid, self.first, self.step, self.offsets = grid, first, step, np.array(offsets)

    def lay(self, x: Any, slot: int) -> Any:
        """Images (C, N, *) as runs (C, N * grid and a tail of zeros)."""
        c, n = x.shape[:2]
        size = n * math.prod(self.grid)
        runs = scratch(c * (size + int(self.offsets[-1])), x.dtype, slot).reshape(c, -1)
        runs[...] = 0
        into: tuple = (...,)
        of: tuple = (...,)
        for length, first, step, count in zip(self.grid, self.first, self.step, x.shape[2:]):
            low, high = max(0, -(first // step)), min(count, -(-(length - first) // step))
            into += (slice(first + low * step, max(first + (high - 1) * step + 1, 0), step),)
            of += (slice(low, max(high, low)),)
        runs[:, :size].reshape(c, n, *self.grid)[into] = x[of]
        return runs


class Planes:
    """The layouts of a depthwise convolution."""

    def __init__(self, plan: Any) -> None:
        self.windows = windows = plan.windows
        self.times = plan.outputs // plan.channels  # outputs of one channel
        self.out, self.spatial, self.kernel, self.stride = windows.out, windows.spatial, windows.kernel, windows.stride
        reach = [d * (k - 1) for k, d in zip(windows.kernel, windows.dilation)]
        ones, none, lows = (1,) * len(reach), (0,) * len(reach), [low for low, _ in windows.pads]
        wide = tuple([n + r for n, r in zip(windows.spatial, reach)])  # of the input gradient's windows
        self.inputs = self._layout(windows, windows.padded, lows, ones)
        self.outputs = self._layout(windows, windows.padded, none, windows.stride)
        self.spread = self._layout(windows, wide, [r - low for r, low in zip(reach, lows)], windows.stride)
        self.blocks = spans(plan.outputs, max(1, BLOCK // max(1, plan.n * math.prod(windows.padded))))
        self.is_large = plan.n * plan.outputs * math.prod(windows.padded) >= LARGE
        square = windows.kernel == (3, 3) and windows.dilation == (1, 1) and windows.stride in ((1, 1), (2, 2))
        same = square and lows == [1, 1] and windows.out == tuple([-(-n // windows.stride[0]) for n in windows.spatial])
        self.is_same = same and math.prod(windows.spatial) >= LEAST

    @staticmethod
    def _layout(windows: Any, grid: tuple, first: Any, step: tuple) -> Layout:
        steps = [math.prod(grid[i + 1 :]) * d for i, d in enumerate(windows.dilation)]
        places = itertools.product(*[range(k) for k in windows.kernel])
        return Layout(grid, tuple(first), step, [sum(p * s for p, s in zip(place, steps)) for place in places])

    def run(self, fn: Any) -> None:
        """Call `fn` with slices of channels."""
        run_blocks(lambda i: fn(self.blocks[i]), len(self.blocks), self.is_large and len(self.blocks) > 1)


def planes_of(plan: Any) -> Planes | None:
    """The planes of a convolution if it is depthwise and has something in it."""
    if plan.groups == 1 or plan.groups != plan.channels or not plan.n:
        return None
    return Planes(plan)


def _compiled(planes: Planes, *arrays: Any) -> Any:
    if planes.is_large and len(planes.kernel) == 2 and all(a.dtype is F32 for a in arrays):
        return fast.kernels("windows" if planes.is_same else "depthwise")
    return None


def _narrow(planes: Planes, back: bool, *arrays: Any) -> Any:
    """The bands of large images, where they are narrow and without compiled kernels."""
    if not planes.is_large or _compiled(planes, *arrays) or not _bands.fits(*arrays):
        return None
    return _bands.bands_of(planes.windows, back)


def _filter(planes: Planes, x: Any, taps: Any, bias: Any, back: bool, out: Any) -> None:
    """Outputs (N, C, *) of images `x` and `taps` (C, kernel), or (`back`) input gradients of output gradients."""
    bands = _narrow(planes, back, x, out)
    if bands:
        _bands.filtered(x, taps, bias, bands, out)
        return
    layout, step = (planes.spread, (1,) * len(planes.kernel)) if back else (planes.inputs, planes.stride)
    taps = taps[:, ::-1] if back else taps
    kernels = _compiled(planes, x, taps)
    if kernels:
        x, taps = fast.ready(x), fast.ready(taps)
        bias = np.zeros(len(taps), F32) if bias is None else fast.ready(bias)
        if planes.is_same:
            spacing = (*planes.spatial, layout.step[0], step[0])
            planes.run(lambda b: kernels.filtered(x, taps, bias, *spacing, b.start, b.stop, out))
            return
        planes.run(lambda b: kernels.filtered(x, taps, bias, layout.grid, layout.first, layout.step, layout.offsets,
                                              step, b.start, b.stop, out))  # fmt: skip
        return

    def run(block: slice) -> None:
        part = x[:, block].swapaxes(0, 1)
        runs, weights = layout.lay(part, 0), taps[block]
        size = runs.shape[1] - int(layout.offsets[-1])
        total, share = (scratch(len(runs) * size, x.dtype, slot).reshape(-1, size) for slot in (1, 2))
        for i, offset in enumerate(layout.offsets):
            target = share if i else total
            np.multiply(runs[:, offset : offset + size], weights[:, i, None], out=target)
            if i:
                total += share
        if bias is not None:
            total += bias[block, None]
        ends: tuple = (..., *[slice(0, (n - 1) * s + 1, s) for n, s in zip(out.shape[2:], step)])
        out[:, block] = total.reshape(*part.shape[:2], *layout.grid)[ends].swapaxes(0, 1)

    planes.run(run)


def convolve(x: Any, w: Any, b: Any, planes: Planes) -> Any:
    """The convolution of NumPy arrays."""
    x = x if planes.times == 1 else np.repeat(x, planes.times, 1)
    out = np.empty((len(x), len(w), *planes.out), x.dtype)
    _filter(planes, x, w.reshape(len(w), -1), b, False, out)
    return out


def gradients(g: Any, x: Any, w: Any, planes: Planes) -> tuple:
    """(input gradient, weight gradient), the first if `w` is given, the second if `x` is."""
    gx = gw = None
    if w is not None:
        gx = np.empty((*g.shape[:2], *planes.spatial), g.dtype)
        _filter(planes, g, w.reshape(len(w), -1), None, True, gx)
        if planes.times > 1:
            gx = gx.reshape(len(gx), -1, planes.times, *planes.spatial).sum(axis=2)
    if x is not None:
        gw = _weight_gradient(g, x if planes.times == 1 else np.repeat(x, planes.times, 1), planes)
    return gx, gw


def _weight_gradient(g: Any, x: Any, planes: Planes) -> Any:
    gw = np.empty((g.shape[1], math.prod(planes.kernel)), g.dtype)
    kernels, offsets = _compiled(planes, g, x), planes.inputs.offsets
    bands = _narrow(planes, False, g, x)
    if bands and bands.widest <= _bands.WIDEST_OF_WEIGHTS * math.prod(planes.stride):
        _bands.correlated(g, x, bands, gw)
    elif kernels:
        g, x = fast.ready(g), fast.ready(x)
        if planes.is_same:
            planes.run(lambda b: kernels.correlated(g, planes.stride[0], x, b.start, b.stop, gw))
            return gw.reshape(g.shape[1], 1, *planes.kernel)
        planes.run(lambda b: kernels.correlated(g, planes.stride, x, planes.inputs.first, planes.inputs.grid, offsets,
                                                b.start, b.stop, gw))  # fmt: skip
    else:

        def run(block: slice) -> None:
            runs = planes.inputs.lay(x[:, block].swapaxes(0, 1), 0)
            size = runs.shape[1] - int(offsets[-1])
            weights = planes.outputs.lay(g[:, block].swapaxes(0, 1), 1)[:, :size]
            for i, offset in enumerate(offsets):
                np.vecdot(runs[:, offset : offset + size], weights, out=gw[block, i])

        planes.run(run)
    return gw.reshape(g.shape[1], 1, *planes.kernel)
