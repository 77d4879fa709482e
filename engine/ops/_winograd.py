"""3 x 3 convolutions with stride 1 by Winograd's minimal filtering, F(2 x 2, 3 x 3) of Lavin and Gray 2015.

The output is cut into tiles of 2 x 2. Input tiles (4 x 4, overlapping) and kernels are transformed into 16 numbers each;
at each of the 16 positions what is left is a product of matrices over the channels, with 16 multiplications where the
definition has 36. All factors of the transforms are 0, 1 and 1/2, so that rounding errors stay those of the definition.

Tiles are worked on in panels that stay in cache, from the layout of _patches.py. The transforms are compiled
(engine/fast/winograd.py): as calls of NumPy they cost about what the multiplications save, so that without the extra `fast`
these convolutions are computed like all others, in _columns.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import fast
from ..dtypes import F32
from ..pool import parallel_for, spans
from ._blocked import LARGE, LARGE_PRODUCT, run_blocks
from ._patches import LANES, PARTS, SUMS, Correlation, sgemm, spatial

FEWEST_TILES, FEWEST_CHANNELS = 128, 8  # below, transforming costs more than is won

_TAPS = [(a % 2 * 2 + b % 2, 0, a // 2, b // 2) for a in range(4) for b in range(4)]


def tiles_of(plan: Any) -> tuple[Correlation, Correlation] | None:
    """The tiles of a convolution's output and of its input, if this is a convolution that can be computed here."""
    windows = plan.windows
    if windows.kernel != (3, 3) or windows.stride != (1, 1) or windows.dilation != (1, 1) or plan.groups != 1:
        return None
    few = plan.n * windows.count < 4 * FEWEST_TILES or min(plan.channels, plan.outputs) < FEWEST_CHANNELS
    if few or plan.work < LARGE_PRODUCT or any(max(ends) > 2 for ends in windows.pads):
        return None
    before = tuple([low for low, _ in windows.pads])
    inputs, outputs = (plan.channels, 1, *windows.spatial), (plan.outputs, 1, *windows.out)
    return _tiles(plan, inputs, outputs, before), _tiles(plan, outputs, inputs, tuple([2 - low for low in before]))


def _tiles(plan: Any, source: tuple, target: tuple, before: tuple) -> Correlation:
    """The tiles of a `target` of (channels, 1, H, W), which see a `source` after so many rows and columns of zeros."""
    extents = ((0, 1), *[(0, -(-n // 2)) for n in target[2:]])
    return Correlation(plan, _TAPS, [], low=(0, *before), step=(1, 2, 2), planes=(1, 2, 2), reach=(0, 1, 1),
                       out_step=(1, 2, 2), extents=extents, source=source, target=target)  # fmt: skip


def compiled(*arrays: Any) -> Any:
    """The kernels, if these arrays (None among them) are what they are compiled for."""
    if all(a is None or (type(a) is np.ndarray and a.dtype is F32) for a in arrays) and fast.kernels("blas") and sgemm():
        return fast.kernels("winograd")
    return None


def correlate(kernels: Any, x: Any, w: Any, bias: Any, tiles: Correlation, mirrored: bool = False) -> Any:
    """The convolution of (N, C, H, W) with (O, C, 3, 3), plus a bias (O) or None.

    `mirrored`: with (C, O, 3, 3) turned by 180 degrees, which makes an input gradient of an output gradient.
    """
    w, where = fast.ready(w), sgemm()
    outputs, channels = w.shape[:2][::-1] if mirrored else w.shape[:2]
    u = np.empty((16, outputs, channels), F32)
    rows = spans(outputs, max(1, LARGE // channels))
    run_blocks(lambda i: kernels.transform_kernels(w, mirrored, rows[i].start, rows[i].stop, u), len(rows), len(rows) > 1)
    out = np.empty((len(x), outputs, *tiles.target[2:]), F32)
    x, target = spatial(x), spatial(out)
    shift = np.zeros(outputs, F32) if bias is None else fast.ready(bias)
    boxes = tiles.boxes(max(1, PARTS // len(tiles.places)), outputs)
    parallel_for(lambda i: kernels.correlate(where, x, u, shift, target, boxes[i], *tiles.tables), len(boxes))
    return out


def weight_gradient(kernels: Any, g: Any, x: Any, tiles: Correlation) -> Any:
    """The gradient (O, C, 3, 3) of the kernels from the output's gradient and the input."""
    g, x, where = spatial(g), spatial(x), sgemm()
    outputs, channels, each = g.shape[1], x.shape[1], len(tiles.places)
    lanes = min(LANES, each, max(1, SUMS // (16 * outputs * channels)))
    boxes = tiles.boxes(-(-PARTS // lanes), channels)
    totals = np.zeros((lanes, 16, channels, outputs), F32)

    def run(i: int) -> None:
        part, lane = divmod(i, lanes)
        for box in boxes[part * each : (part + 1) * each][lane::lanes]:
            kernels.add_weight_gradient(where, g, x, totals[lane], box, *tiles.tables)

    parallel_for(run, lanes * (len(boxes) // each))
    gw = np.empty((outputs, channels, 3, 3), F32)
    rows = spans(channels, max(1, LARGE // outputs))
    run_blocks(lambda i: kernels.finish_kernels(totals, rows[i].start, rows[i].stop, gw), len(rows), len(rows) > 1)
    return gw
