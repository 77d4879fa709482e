"""Convolutions by Winograd's minimal filtering (Lavin and Gray 2015): 3 x 3 with stride 1, and 4 x 4 with stride 2.

The output is cut into tiles of 2 x 2. Input tiles (4 x 4, overlapping) and kernels of 3 x 3 are transformed into 16 numbers
each; at each of the 16 positions what is left is a product of matrices over the channels, with 16 multiplications where the
definition has 36: F(2 x 2, 3 x 3). A 4 x 4 kernel with stride 2 is four kernels of 2 x 2 with stride 1, each on the elements
of one phase of the stride; F(2 x 2, 2 x 2) needs 9 multiplications for 16. In both all factors of the transforms are 0, 1 and
1/2, so that rounding errors stay those of the definition.

Tiles are worked on in panels that stay in cache, from the layout of _patches.py. The transforms are compiled
(engine/fast/winograd.py); without the extra `fast` convolutions of many channels are computed by _winograd_plain.py, others
like all, in _columns.py.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np

from .. import fast
from ..dtypes import F32
from ..pool import parallel_for, spans
from ._blocked import LARGE, LARGE_PRODUCT, run_blocks
from ._patches import LANES, PARTS, SUMS, Correlation, laid_out, sgemm, spatial

PIXELS = (1, 2, 2)  # stride and planes of the pixels of tiles
FEWEST_TILES, FEWEST_CHANNELS = 128, 8  # below, transforming costs more than is won



class Tiles:
    """How a convolution is computed in tiles: tables of both directions, and `halves` if it is 4 x 4 with stride 2."""

    def __init__(self, plan: Any, halves: bool) -> None:
        self.plan, self.halves = plan, halves
        self.lows = [low for low, _ in plan.windows.pads]
        self.inputs = (plan.channels, 1, *plan.windows.spatial)
        self.outputs = (plan.outputs, 1, *plan.windows.out)
        self.parts, self.numbers = (4, 9) if halves else (1, 16)

    def _tables(self, taps: list, phases: list, tiles: list, step: int, low: list, out_step: int, back: bool) -> Correlation:
        source, target = (self.outputs, self.inputs) if back else (self.inputs, self.outputs)
        steps, extents = (1, step, step), ((0, 1), *[(0, n) for n in tiles])
        return Correlation(self.plan, taps, phases, low=(0, *low), step=steps, planes=steps, reach=(0, 1, 1),
                           out_step=(1, out_step, out_step), extents=extents, source=source, target=target)  # fmt: skip

    @functools.cached_property
    def forward(self) -> Correlation:
        """Outputs of inputs."""
        step, side = (4, 3) if self.halves else (2, 4)
        taps = []
        for a, b in [(0, 0), (0, 1), (1, 0), (1, 1)][: self.parts]:
            apart = 2 if self.halves else 1
            taps += _tile([a + apart * i for i in range(side)], [b + apart * j for j in range(side)], step)
        return self._tables(taps, [(0, 0)], [-(-n // 2) for n in self.outputs[2:]], step, self.lows, 1, False)

    @functools.cached_property
    def backward(self) -> Correlation:
        """Input gradients of output gradients."""
        sizes = self.inputs[2:]
        if not self.halves:
            taps = _tile(range(4), range(4), 2)
            return self._tables(taps, [(0, 0)], [-(-n // 2) for n in sizes], 2, [2 - low for low in self.lows], 1, True)
        first = [[max(0, -((rest - low) // 2)) for rest in range(2)] for low in self.lows]  # positions of the phases
        start = [min(values) for values in first]
        taps, phases = [], []
        for a, b in itertools.product(range(2), range(2)):
            down, right = first[0][a] - start[0], first[1][b] - start[1]
            taps += _tile(range(down, down + 3), range(right, right + 3), 2)
            phases.append((a - self.lows[0] + 2 * first[0][a], b - self.lows[1] + 2 * first[1][b]))
        tiles = [-(-n // 4) for n in sizes]
        return self._tables(taps, phases, tiles, 2, [1 - s for s in start], 2, True)


def _tile(rows: Any, columns: Any, step: int) -> list:
    """The taps (plane, shifts) of a tile's elements in a layout of that stride."""
    return [(i % step * step + j % step, 0, i // step, j // step) for i in rows for j in columns]


def tiles_of(plan: Any) -> Tiles | None:
    """The tiles of a convolution that can be computed here, and is worth it."""
    windows = plan.windows
    kind = (windows.kernel, windows.stride)
    halves = kind == ((4, 4), (2, 2))
    if not (halves or kind == ((3, 3), (1, 1))) or windows.dilation != (1, 1) or plan.groups != 1:
        return None
    few = plan.n * windows.count < 4 * FEWEST_TILES or min(plan.channels, plan.outputs) < (16 if halves else FEWEST_CHANNELS)
    if few or plan.work < LARGE_PRODUCT or any(max(ends) > 2 for ends in windows.pads):
        return None
    return Tiles(plan, halves)


def compiled(*arrays: Any) -> Any:
    """The kernels, if these arrays (None among them) are what they are compiled for."""
    if all(a is None or (type(a) is np.ndarray and a.dtype is F32) for a in arrays) and fast.kernels("blas") and sgemm():
        return fast.kernels("winograd")
    return None


def _kernels(kernels: Any, w: Any, tiles: Tiles, back: bool) -> Any:
    """The transformed kernels, (phases, numbers, outputs, rows)."""
    w = fast.ready(w)
    outputs, channels = w.shape[:2][::-1] if back else w.shape[:2]
    rows = spans(outputs, max(1, LARGE // channels))
    phases, parts = (4, 1) if tiles.halves and back else (1, tiles.parts)
    u = np.empty((phases, tiles.numbers, outputs, parts * channels), F32)

    def run(i: int) -> None:
        first, last = rows[i].start, rows[i].stop
        if not tiles.halves:
            kernels.transform_kernels(w, back, first, last, u[0])
        elif back:
            kernels.transform_mirrored_halves(w, first, last, u)
        else:
            kernels.transform_halves(w, first, last, u[0])

    run_blocks(run, len(rows), len(rows) > 1)
    return u


def correlate(kernels: Any, x: Any, w: Any, bias: Any, tiles: Tiles, back: bool = False) -> Any:
    """The convolution of (N, C, H, W) with `w`, plus a bias by output or None.

    `back`: the gradient of the convolution's input from that of its output `x`, plus a bias by channel.
    """
    out, run, count = _correlating(kernels, x, w, bias, tiles, back)
    parallel_for(run, count)
    return out


def gradients(kernels: Any, g: Any, x: Any, w: Any, tiles: Tiles) -> tuple:
    """(input gradient, weight gradient), the first if `w` is given, the second if `x` is; both at the same time."""
    gx, spread, first = (None, None, 0) if w is None else _correlating(kernels, g, w, None, tiles, True)
    totals, add, count = (None, None, 0) if x is None else _adding(kernels, g, x, tiles)
    parallel_for(lambda i: spread(i) if i < first else add(i - first), first + count)  # type: ignore[misc]
    return gx, None if x is None else _finished(kernels, totals, tiles)


def _correlating(kernels: Any, x: Any, w: Any, bias: Any, tiles: Tiles, back: bool) -> tuple:
    """What `correlate` returns, the function of a part's number that computes it, and how many parts there are."""
    made, where = tiles.backward if back else tiles.forward, sgemm()
    u = _kernels(kernels, w, tiles, back)
    outputs = made.target[0]
    out = np.empty((len(x), outputs, *made.target[2:]), F32)
    x, target = spatial(x), spatial(out)
    shift = np.zeros(outputs, F32) if bias is None else fast.ready(bias)
    boxes, step = made.boxes(max(1, PARTS // len(made.places)), outputs), made.out_step[2]

    channels = x.shape[1]

    def run(i: int) -> None:
        laid = made.lay(x, boxes[i], 0, channels)
        kernels.correlate(where, *laid, channels, u, shift, target, boxes[i], made.taps, made.phases, step)

    return out, run, len(boxes)


def _adding(kernels: Any, g: Any, x: Any, tiles: Tiles) -> tuple:
    """Zeros for the gradient of the transformed kernels, the function that adds a part to them, how many parts there are."""
    g, x, where, made = spatial(g), spatial(x), sgemm(), tiles.forward
    outputs, channels, each = g.shape[1], x.shape[1], len(made.places)
    shape = (tiles.numbers, tiles.parts * channels, outputs)
    lanes = min(LANES, each, max(1, SUMS // math.prod(shape)))
    boxes = made.boxes(-(-PARTS // lanes), channels)
    totals = np.zeros((lanes, *shape), F32)

    def run(i: int) -> None:
        part, lane = divmod(i, lanes)
        for box in boxes[part * each : (part + 1) * each][lane::lanes]:
            laid = made.lay(x, box, box[10], box[11])
            plain = box[3:8:2] - box[2:8:2]
            pixels = laid_out(g, box, 0, outputs, (0, 0, 0), PIXELS, PIXELS, plain, 1)
            kernels.add_weight_gradient(where, *laid, channels, pixels, plain, outputs, totals[lane], box, made.taps)

    return totals, run, lanes * (len(boxes) // each)


def _finished(kernels: Any, totals: Any, tiles: Tiles) -> Any:
    """The gradient of the kernels from those of the transformed ones."""
    gw, (outputs, channels) = np.empty(tiles.plan.w_shape, F32), tiles.plan.w_shape[:2]
    rows, finish = spans(channels, max(1, LARGE // outputs)), kernels.finish_halves if tiles.halves else kernels.finish_kernels
    run_blocks(lambda i: finish(totals, rows[i].start, rows[i].stop, gw), len(rows), len(rows) > 1)
    return gw
