"""Winograd's F(2 x 2, 3 x 3) with NumPy alone: the convolutions of _winograd.py where the extra `fast` is missing.

The transforms are sums of shifted planes. An image is laid out, padded, as four planes, one for each phase of the tiles' step
of two; the element (i, j) of every tile is then the same run of a plane from another start, and a transform is six calls
over runs of thousands of numbers. Positions are kept in the order 0, 3, 1, 2, in which differences come first and two of them
take one call.

Two threads that both need the interpreter between their calls wait for each other, and being woken takes longer than most
calls. So blocks are large, and all of a block's calls are prepared first, views and all, and then made one after the other.
"""

from __future__ import annotations

import functools
import itertools
from functools import partial
from typing import Any

import numpy as np

from ..dtypes import F32
from ..pool import parallel_for, scratch, spans
from ._blocked import LARGE, run_blocks
from ._wide_products import wide_product_calls

Calls = list[Any]  # of functions without arguments

LEAST_WORK = 1 << 29  # multiplications of the definition; below, a block's thirty calls cost more than is won
FEWEST_PAIRS = 1 << 11  # of channels and outputs, likewise
LARGEST = 1 << 20  # transformed numbers of a block
SHARES = 4  # blocks, if there are so many
ENOUGH = 64  # tiles of a block at least
SHORT_ROW = 8  # tiles; where rows are shorter, images lie innermost
APART = 16  # more elements between rows of kernels: caches dislike rows that are a power of two apart
LANES, SUMS = 8, 1 << 20  # arrays that weight gradients are added up in, and their elements

# The kernels' transform, in the order 0, 3, 1, 2, with the sign of 3 changed.
_G = np.array([[1, 0, 0], [0, 0, -1], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5]], np.float32)
_KERNEL = np.kron(_G, _G)
_TURNED = np.ascontiguousarray(_KERNEL[:, ::-1])


def fits(plan: Any, *arrays: Any) -> bool:
    """Whether a convolution is computed here, by sizes and arrays (None among them)."""
    tiles = plan.tiles
    if not tiles or tiles.halves or plan.work < LEAST_WORK or plan.channels * plan.outputs < FEWEST_PAIRS:
        return False
    return all(a is None or (type(a) is np.ndarray and a.dtype is F32) for a in arrays)


class Block:
    """Some images, or tile rows of them: the sizes of their planes, (channels, rows, images, columns) or with images last."""

    def __init__(self, images: slice, rows: slice, sizes: tuple, lows: tuple) -> None:
        self.images, self.rows = images, rows
        self.n, self.high, self.wide = images.stop - images.start, rows.stop - rows.start, -(-sizes[1] // 2)
        self.inner = self.wide < SHORT_ROW and self.n > 1
        self.row = self.n * (self.wide + 1)  # of a plane
        self.shift = self.n if self.inner else 1  # from a column to the next
        self.count = self.high * (self.n * self.wide if self.inner else self.row)  # tiles, with those behind the ends of rows
        self.lows = (lows[0] - 2 * rows.start, lows[1])

    def split(self, planes: Any, columns: int) -> Any:
        """A view of planes (2, 2, channels, elements) as (2, 2, channels, rows, columns, images)."""
        parts = planes.reshape(*planes.shape[:3], -1, *((columns, self.n) if self.inner else (self.n, columns)))
        return parts if self.inner else parts.swapaxes(-1, -2)

    def lay(self, planes: Any, x: Any, lows: tuple, columns: int) -> Calls:
        """Copy images into planes of zeros, so that the element `lows` before the image's first comes first."""
        parts, x = self.split(planes, columns), x[self.images].transpose(1, 2, 3, 0)
        along = [list(_phases(low, size, n)) for low, size, n in zip(lows, x.shape[1:3], parts.shape[3:5])]
        return [partial(np.copyto, parts[a, b, :, to_row, to_column], x[:, of_row, of_column])
                for (a, to_row, of_row), (b, to_column, of_column) in itertools.product(*along)]  # fmt: skip

    def transform(self, x: Any) -> tuple[Any, Calls]:
        """Input tiles (16, channels, count) of images, and the calls that make them."""
        channels, size = x.shape[1], self.high * self.row
        whole = scratch(4 * channels * (size + self.row), x.dtype, 0)
        planes = whole.reshape(2, 2, channels, -1)
        calls: Calls = [partial(whole.fill, 0), *self.lay(planes, x, self.lows, self.wide + 1)]
        half = scratch(8 * channels * size, x.dtype, 1).reshape(4, 2, channels, size)
        calls += _differences(planes[..., :size], planes[..., self.row :], half, 0)
        shape = (channels * self.high, self.row) if self.inner else (1, channels * size)
        rows = half.reshape(4, 2, *shape)
        kept = self.n * self.wide if self.inner else shape[1]
        tiles = scratch(16 * shape[0] * kept, x.dtype, 2).reshape(4, 4, shape[0], kept)
        ends = shape[1] - self.shift
        if ends < kept:
            calls.append(partial(np.copyto, tiles[..., ends:], 0))  # behind the end of the last row
        calls += _differences(rows[..., :ends], rows[..., self.shift :], tiles[..., :ends], 1)
        return tiles.reshape(16, channels, self.count), calls

    def restore(self, tiles: Any, bias: Any, out: Any) -> Calls:
        """Write the outputs that output tiles (16, outputs, count) stand for, plus a bias."""
        outputs = tiles.shape[1]
        half = scratch(tiles.size // 2, tiles.dtype, 1).reshape(2, 4, -1)
        pixels = scratch(tiles.size // 4, tiles.dtype, 0).reshape(2, 2, outputs, self.count)
        calls = _sums(tiles.reshape(4, 4, -1), half, 0) + _sums(half, pixels.reshape(2, 2, -1), 1)
        if bias is not None:
            calls.append(partial(np.add, pixels, bias[:, None], pixels))
        parts = self.split(pixels, self.wide + (not self.inner))
        target = out[self.images].transpose(1, 2, 3, 0)[:, 2 * self.rows.start : 2 * self.rows.stop]
        for a, b in itertools.product(range(2), range(2)):
            inside = target[:, a::2, b::2]
            calls.append(partial(np.copyto, inside, parts[a, b, :, : inside.shape[1], : inside.shape[2]]))
        return calls

    def transform_gradient(self, g: Any) -> tuple[Any, Calls]:
        """Tiles (4, 4, outputs, count) of the output's gradient, and the calls that make them."""
        outputs = g.shape[1]
        tiles = scratch(16 * outputs * self.count, g.dtype, 3).reshape(4, 4, outputs, self.count)
        planes, rows = tiles[:2, :2], tiles[:2]
        calls: Calls = [partial(planes.fill, 0)] if not self.inner or g.shape[2] % 2 or g.shape[3] % 2 else []
        calls += self.lay(planes.swapaxes(0, 1), g, (-2 * self.rows.start, 0), self.wide + (not self.inner))
        calls += [partial(np.add, rows[:, 0], rows[:, 1], rows[:, 2]), partial(np.subtract, rows[:, 0], rows[:, 1], rows[:, 3]),
                  partial(np.add, *tiles[:3]), partial(np.subtract, *tiles[:2], tiles[3])]  # fmt: skip
        return tiles.swapaxes(0, 1), calls


def _phases(low: int, size: int, n: int) -> Any:
    """(phase, elements of its plane, elements of the image) along one dimension, of planes with `n` elements."""
    for a in range(2):
        first, last = max(0, -((a - low) // 2)), min(n, (size - 1 + low - a) // 2 + 1)
        if last > first:
            yield a, slice(first, last), slice(2 * first + a - low, 2 * last - 1 + a - low, 2)


def _differences(a: Any, b: Any, out: Any, axis: int) -> Calls:
    """The transform of four elements along an axis of two phases, `b` the same one step further on."""
    at = (slice(None),) * axis
    first, second = a[(*at, 1)], b[(*at, 0)]
    return [partial(np.subtract, a, b, out[(*at, slice(2))]), partial(np.add, first, second, out[(*at, 2)]),
            partial(np.subtract, second, first, out[(*at, 3)])]  # fmt: skip


def _sums(a: Any, out: Any, axis: int) -> Calls:
    """The transform of four numbers to two along an axis."""
    at = (slice(None),) * axis
    first, second = a[(*at, 2)], a[(*at, 3)]
    return [partial(np.add, first, second, out[(*at, 0)]), partial(np.subtract, first, second, out[(*at, 1)]),
            partial(np.add, out, a[(*at, slice(2))], out)]  # fmt: skip


def _shares(total: int, longest: int) -> list[slice]:
    """`range(total)` in an even number of slices of at most `longest`, or in one."""
    count = -(-total // longest)
    count += count % 2 if count > 1 else 0
    edges = [total * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges) if b > a]


@functools.lru_cache(maxsize=256)
def blocks_of(n: int, channels: int, sizes: tuple, lows: tuple) -> list[Block]:
    """The blocks of a convolution with outputs of `sizes` and at most so many channels on either side."""
    high, wide = [-(-size // 2) for size in sizes]
    row = 16 * channels * (wide + 1)
    images = min(LARGEST // (row * high), max(-(-n // SHARES), -(-ENOUGH // (high * wide))))
    if images > 1 or n >= SHARES:
        parts, rows = _shares(n, max(1, images)), max(1, LARGEST // row)
    else:
        parts = [slice(i, i + 1) for i in range(n)]
        rows = max(1, min(LARGEST // row, max(-(-high * n // SHARES), -(-ENOUGH // wide))))
    return [Block(part, some, sizes, lows) for part in parts for some in _shares(high, min(rows, high))]


def _kernels(w: Any, back: bool) -> Any:
    """The transformed kernels (16, outputs, channels), or (16, channels, outputs) of kernels that are turned around."""
    outputs, channels = w.shape[:2]
    w = w.reshape(outputs, channels, 9)
    matrix, w = (_TURNED, w.transpose(1, 2, 0)) if back else (_KERNEL, w.swapaxes(1, 2))
    size = 16 * w.shape[2]
    u = np.empty((len(w), size + APART), w.dtype)[:, :size].reshape(len(w), 16, -1)
    rows = spans(len(w), max(1, LARGE // w.shape[2]))
    run_blocks(lambda i: np.matmul(matrix, w[rows[i]], out=u[rows[i]]), len(rows), len(rows) > 1)
    return u.swapaxes(0, 1)


def correlate(x: Any, w: Any, bias: Any, plan: Any, back: bool = False) -> Any:
    """The convolution of (N, C, H, W) with `w`, plus a bias by output or None.

    `back`: the gradient of the convolution's input from that of its output `x`, plus a bias by channel.
    """
    windows = plan.windows
    lows = tuple([2 - low if back else low for low, _ in windows.pads])
    u = _kernels(w, back)
    out = np.empty(plan.x_shape if back else plan.out_shape, x.dtype)
    blocks = blocks_of(plan.n, max(u.shape[1:]), windows.spatial if back else windows.out, lows)

    def run(i: int) -> None:
        tiles, calls = blocks[i].transform(x)
        found = scratch(16 * len(u[0]) * blocks[i].count, x.dtype, 3).reshape(16, len(u[0]), -1)
        for call in calls + wide_product_calls(u, tiles, found) + blocks[i].restore(found, bias, out):
            call()

    parallel_for(run, len(blocks))
    return out


def weight_gradient(g: Any, x: Any, plan: Any) -> Any:
    """The gradient of the kernels from the output's gradient and the input."""
    outputs, channels = plan.w_shape[:2]
    lows = tuple([low for low, _ in plan.windows.pads])
    blocks = blocks_of(plan.n, max(outputs, channels), plan.windows.out, lows)
    lanes = min(LANES, len(blocks), max(1, SUMS // (16 * outputs * channels)))
    parts = spans(channels, -(-channels * lanes // SHARES) if lanes < SHARES else channels)
    totals = np.empty((lanes, 16, outputs, channels), g.dtype)

    def run(i: int) -> None:
        part, lane = parts[i // lanes], i % lanes
        for number, block in enumerate(blocks[lane::lanes]):
            total = totals[lane, ..., part].reshape(4, 4, outputs, -1)
            tiles, calls = block.transform(x[:, part])
            gradients, others = block.transform_gradient(g)
            share = scratch(total.size, g.dtype, 1).reshape(total.shape) if number else total
            calls += [*others, partial(np.matmul, gradients, tiles.reshape(4, 4, -1, block.count).swapaxes(2, 3), share)]
            for call in [*calls, partial(np.add, total, share, total)] if number else calls:
                call()

    parallel_for(run, len(parts) * lanes)
    gw = np.empty((outputs, channels, 9), g.dtype)
    rows = spans(outputs, max(1, LARGE // channels))

    def finish(i: int) -> None:
        whole = totals[0, :, rows[i]]
        for other in totals[1:]:
            whole += other[:, rows[i]]
        np.matmul(whole.transpose(1, 2, 0), _KERNEL, out=gw[rows[i]])

    run_blocks(finish, len(rows), len(rows) > 1)
    return gw.reshape(plan.w_shape)
