"""3 x 3 convolutions with stride 1 by Winograd's minimal filtering, F(2 x 2, 3 x 3) of Lavin and Gray 2015.

The output is cut into tiles of 2 x 2. Input tiles (4 x 4, overlapping) and kernels are transformed into 16 numbers each;
at each of the 16 positions what is left is a product of matrices over the channels, with 16 multiplications where the
definition has 36. All factors of the transforms are 0, 1 and 1/2, so that rounding errors stay those of the definition.

Tiles are worked on in blocks of a few images by some rows, which stay near the core that has them. The transforms are
compiled (engine/fast/winograd.py): as calls of NumPy they cost about what the multiplications save, so that without the
extra `fast` these convolutions are computed like all others, in _columns.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import fast
from ..dtypes import F32
from ..pool import scratch, spans
from ._blocked import LARGE, LARGE_PRODUCT, run_blocks

TILES = 512  # of a block: enough columns for BLAS, and 16 matrices of them stay near the cores
RUN = 128  # images x tile columns of one contiguous run, at least, where there are so many images
IMAGES = 8  # innermost; more of them make the copies that bring them there slower
PARTS = 8  # of the channels of a single block
SUMS = 1 << 23  # elements of all lanes' weight gradients
LANES = 8  # blocks that may add to weight gradients at the same time, each into an array of its own
FEWEST_TILES, FEWEST_CHANNELS = 64, 8  # below, transforming costs more than is won


class Tiles:
    """Where the tiles of an output of sizes `out` are, for `n` images padded by `pads` before their first row and column."""

    def __init__(self, n: int, pads: tuple, out: tuple) -> None:
        self.n, self.pads, self.out = n, pads, out
        self.high, self.wide = -(-out[0] // 2), -(-out[1] // 2)
        images = min(n, max(IMAGES, RUN // self.wide))
        rows = max(1, TILES // (images * self.wide))
        self.blocks = [(i, r) for i in spans(n, images) for r in spans(self.high, rows)]
        self.stride = max([self.count(block) for block in self.blocks]) + 16  # no power of two, which caches dislike

    def count(self, block: tuple) -> int:
        """The tiles of a block."""
        images, rows = block
        return (images.stop - images.start) * (rows.stop - rows.start) * self.wide

    def matrices(self, channels: int, slot: int) -> Any:
        """This thread's memory for (16, channels, tiles)."""
        return scratch(16 * channels * self.stride, F32, slot).reshape(16, channels, self.stride)

    def over(self, count: int, kernel: Any) -> None:
        """Call `kernel` with the ends of ranges that make up `count`: one range if blocks run side by side already."""
        parts = spans(count, -(-count // PARTS) if len(self.blocks) == 1 else count)
        run_blocks(lambda i: kernel(parts[i].start, parts[i].stop), len(parts), len(parts) > 1)

    def transform(self, kernel: Any, block: tuple, channels: int, *arrays: Any) -> None:
        """Call a kernel of engine/fast/winograd.py on a block; the last of `arrays` is what it writes."""
        (i, r), (*given, out) = block, arrays
        self.over(channels, lambda a, b: kernel(*given, i.start, i.stop, r.start, r.stop, a, b, self.wide, out))

    def multiply(self, left: Any, right: Any, out: Any) -> None:
        """The 16 products of matrices."""
        self.over(16, lambda a, b: np.matmul(left[a:b], right[a:b], out=out[a:b]))


def tiles_of(plan: Any) -> tuple[Tiles, Tiles] | None:
    """The tiles of a convolution's output and of its input, if this is a convolution that can be computed here."""
    windows = plan.windows
    if windows.kernel != (3, 3) or windows.stride != (1, 1) or windows.dilation != (1, 1) or plan.groups != 1:
        return None
    few = plan.n * windows.count < 4 * FEWEST_TILES or min(plan.channels, plan.outputs) < FEWEST_CHANNELS
    if few or plan.work < LARGE_PRODUCT or any(max(ends) > 2 for ends in windows.pads):
        return None
    before = tuple([low for low, _ in windows.pads])
    return Tiles(plan.n, before, windows.out), Tiles(plan.n, tuple([2 - low for low in before]), windows.spatial)


def compiled(*arrays: Any) -> Any:
    """The kernels, if these arrays (None among them) are what they are compiled for."""
    if all(a is None or (type(a) is np.ndarray and a.dtype is F32) for a in arrays):
        return fast.kernels("winograd")
    return None


def correlate(kernels: Any, x: Any, w: Any, bias: Any, tiles: Tiles, turned: bool = False) -> Any:
    """The convolution of (N, C, H, W) with (O, C, 3, 3), plus a bias (O) or None.

    `turned`: with (C, O, 3, 3) turned by 180 degrees, which makes an input gradient of an output gradient.
    """
    x, w = fast.ready(x), fast.ready(w)
    u = np.empty((16, *w.shape[:2]), F32)
    rows = spans(len(w), max(1, LARGE // w.shape[1]))
    run_blocks(lambda i: kernels.kernels(w, turned, rows[i].start, rows[i].stop, u), len(rows), len(rows) > 1)
    u = u.swapaxes(1, 2) if turned else u
    _, outputs, channels = u.shape
    out = np.empty((tiles.n, outputs, *tiles.out), F32)
    shift = np.zeros(outputs, F32) if bias is None else fast.ready(bias)

    def run(i: int) -> None:
        block = tiles.blocks[i]
        v, m, count = tiles.matrices(channels, 0), tiles.matrices(outputs, 1), tiles.count(block)
        tiles.transform(kernels.input_tiles, block, channels, x, *tiles.pads, v)
        tiles.multiply(u, v[..., :count], m[..., :count])
        tiles.transform(kernels.output_tiles, block, outputs, m, shift, out)

    run_blocks(run, len(tiles.blocks), len(tiles.blocks) > 1)
    return out


def weight_gradient(kernels: Any, g: Any, x: Any, tiles: Tiles) -> Any:
    """The gradient (O, C, 3, 3) of the kernels from the output's gradient and the input."""
    g, x = fast.ready(g), fast.ready(x)
    outputs, channels = g.shape[1], x.shape[1]
    lanes = max(1, min(LANES, len(tiles.blocks), SUMS // (16 * outputs * channels)))

    def run(lane: int) -> Any:
        total = np.empty((16, outputs, channels), F32)
        for block in tiles.blocks[lane::lanes]:
            v, z, count = tiles.matrices(channels, 0), tiles.matrices(outputs, 1), tiles.count(block)
            tiles.transform(kernels.input_tiles, block, channels, x, *tiles.pads, v)
            tiles.transform(kernels.gradient_tiles, block, outputs, g, z)
            v, z = v[:, :, :count].swapaxes(1, 2), z[:, :, :count]
            if block is tiles.blocks[lane]:
                tiles.multiply(z, v, total)
            else:
                total += np.matmul(z, v)
        return total

    sums = run_blocks(run, lanes, lanes > 1)
    total = sums[0]
    for part in sums[1:]:
        total += part
    gw = np.empty((outputs, channels, 3, 3), F32)
    rows = spans(outputs, max(1, LARGE // channels))
    run_blocks(lambda i: kernels.kernel_gradients(total, rows[i].start, rows[i].stop, gw), len(rows), len(rows) > 1)
    return gw
