"""Depthwise convolutions of narrow images with NumPy, as products of matrices.

Some rows of a channel's output are a linear map of some rows of its input: a banded matrix made of the kernel, the same for all
images. Most of its elements are zeros, but one product of matrices takes the place of two passes over the images for every
element of the kernel, and of their padded copies: while rows are narrow, that is far less. Rows of the input that several
rows of the output see are read where they lie.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..dtypes import F32, F64
from ..pool import spans
from ._blocked import run_blocks

WIDEST = 112  # elements of the input that outputs are made of: a few rows
LEAST = 16  # elements of the output that are made at once
FEWEST = 8  # images: rows of the products
WIDEST_OF_WEIGHTS = 48  # the same in gradients of weights, for every output of a stride
BLOCK = 1 << 18  # elements of the images of a block of channels


class Run:
    """Bands of one form, at equal distances: where in an image they begin, how far apart they are, and their matrix's places.

    `bands` are (first row of the source, first row of the target), `form` what `_form` gives.
    """

    def __init__(self, bands: list, form: tuple, across: list, widths: tuple, columns: int) -> None:
        down, *rows = form
        self.count, self.sizes = len(bands), [n * width for n, width in zip(rows, widths)]
        self.starts = [first * width for first, width in zip(bands[0], widths)]
        self.steps = [(b - a) * width for a, b, width in zip(bands[0], bands[min(1, len(bands) - 1)], widths)]
        every = [(i * columns + j, (a * widths[0] + c) * self.sizes[1] + b * widths[1] + d)
                 for i, a, b in down for j, c, d in across]  # fmt: skip
        self.taps, self.places = np.array(every, np.intp).reshape(-1, 2).T

    def matrices(self, taps: Any) -> Any:
        """The banded matrices (channels, 1, source, target) of kernels (channels, elements)."""
        made = np.zeros((len(taps), math.prod(self.sizes)), taps.dtype)
        made[:, self.places] = taps[:, self.taps]
        return made.reshape(len(taps), 1, *self.sizes)

    def cut(self, images: Any, which: int) -> Any:
        """The bands of images (N, C, elements) of the source (0) or target (1) as matrices (C, bands, N, elements), a view."""
        by_image, by_channel, one = images.strides
        sizes = (images.shape[1], self.count, len(images), self.sizes[which])
        return np.lib.stride_tricks.as_strided(images[..., self.starts[which] :], sizes,
                                               (by_channel, self.steps[which] * one, by_image, one))  # fmt: skip


class Bands:
    """A linear map of images by channel, to outputs or (`back`) to input gradients, in bands of rows."""

    def __init__(self, windows: Any, back: bool) -> None:
        (_, wide), (height, width) = (windows.out, windows.spatial) if back else (windows.spatial, windows.out)
        stride = windows.stride[0]
        rows = -(-LEAST // (width * (stride if back else 1))) * (stride if back else 1)
        apart = rows // stride if back else rows * stride  # rows of the source between two bands
        down, across = [_pairs(windows, dim, back) for dim in range(2)]
        found: dict = {}
        for i, start in enumerate(range(0, height, rows)):
            first, form = _form(down, start, min(start + rows, height))
            found.setdefault((form, first - i * apart), []).append((first, start))
        self.runs = [Run(bands, form, across, (wide, width), windows.kernel[1]) for (form, _), bands in found.items()]
        self.widest = max(run.sizes[0] for run in self.runs)


def _form(down: list, start: int, stop: int) -> tuple:
    """(first source row of target rows `start` to `stop`, (what _pairs gives counted from both, source rows, target rows))."""
    pairs = [p for p in down if start <= p[2] < stop]
    first = min((p[1] for p in pairs), default=0)
    rows = max((p[1] + 1 - first for p in pairs), default=0)
    return first, (tuple([(k, a - first, b - start) for k, a, b in pairs]), rows, stop - start)


def _pairs(windows: Any, dim: int, back: bool) -> list[tuple]:
    """(element of the kernel, source element, target element) along one dimension."""
    k, s, d = windows.kernel[dim], windows.stride[dim], windows.dilation[dim]
    low, size = windows.pads[dim][0], windows.spatial[dim]
    every = [(i, y * s + i * d - low, y) for i in range(k) for y in range(windows.out[dim])]
    return [(i, b, a) if back else (i, a, b) for i, a, b in every if 0 <= a < size]


@functools.lru_cache(maxsize=256)
def bands_of(windows: Any, back: bool) -> Bands | None:
    """The bands of a convolution in two dimensions if its images are narrow enough."""
    if len(windows.out) != 2 or max(windows.spatial[1], windows.out[1]) > WIDEST:
        return None
    made = Bands(windows, back)
    return made if made.widest <= WIDEST else None


def fits(*arrays: Any) -> bool:
    """Whether there are images enough, and what BLAS multiplies."""
    return len(arrays[0]) >= FEWEST and all(a.dtype in (F32, F64) and a.flags.c_contiguous for a in arrays)


def _each(fn: Any, *arrays: Any) -> None:
    """Call `fn` with blocks of channels of images, as slices."""
    longest = max(a.size for a in arrays) // arrays[0].shape[1]
    blocks = spans(arrays[0].shape[1], max(1, BLOCK // longest))
    run_blocks(lambda i: fn(blocks[i]), len(blocks), len(blocks) > 1)


def filtered(x: Any, taps: Any, bias: Any, bands: Bands, out: Any) -> None:
    """Write what the map makes of images (N, C, *) into `out` (N, C, *), plus a bias by channel or None."""
    source, target = [a.reshape(*a.shape[:2], -1) for a in (x, out)]

    def run(block: slice) -> None:
        for part in bands.runs:
            np.matmul(part.cut(source[:, block], 0), part.matrices(taps[block]), out=part.cut(target[:, block], 1))
        if bias is not None:
            target[:, block] += bias[block, None]

    _each(run, source, target)


def correlated(g: Any, x: Any, bands: Bands, gw: Any) -> None:
    """Write the gradient of the kernels (C, elements) of such a map to outputs into `gw`."""
    source, target = [a.reshape(*a.shape[:2], -1) for a in (x, g)]

    def run(block: slice) -> None:
        gw[block] = 0
        for part in bands.runs:
            found = np.matmul(part.cut(source[:, block], 0).swapaxes(2, 3), part.cut(target[:, block], 1)).sum(axis=1)
            found = found.reshape(len(found), -1)[:, part.places]
            gw[block] += found @ np.equal(part.taps[:, None], np.arange(gw.shape[1])).astype(gw.dtype)

    _each(run, source, target)
