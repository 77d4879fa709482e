"""Windows that slide over the last dimensions of an array: what convolution, pooling and unfold have in common.

A `Windows` is the geometry alone (sizes, strides, paddings), computed once per combination of shapes and remembered.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np

from ..pool import spans

ONE_BLOCK = 1 << 18  # elements of columns up to which one block takes them all
SHARES = 4  # blocks that larger ones are cut into at least; of more and shorter ones, threads wait for the interpreter
SHORT_ROW = 16  # elements; copies of shorter rows are slow, so that images lie innermost there instead
BLOCK = 1 << 20  # elements of gathered columns worked on at a time: 4 MB of float32 stay in the second-level cache


def many(value: Any, count: int, name: str, function: str) -> tuple:
    """An int, or a sequence of one or `count` ints, as a tuple of `count` ints. RuntimeError for another length."""
    if isinstance(value, int):
        return (value,) * count
    values = tuple([v if type(v) is int else v.__index__() for v in value])
    if len(values) == 1:
        return values * count
    if len(values) != count:
        raise RuntimeError(
            f"{function}(): expected {name} to be a single integer value or a list of {count} values, "
            f"but got {name}={list(values)}"
        )
    return values


def key(value: Any) -> Any:
    """An argument that may be a list, as something hashable."""
    return value if isinstance(value, (int, str, tuple)) else None if value is None else tuple(value)


def by_x(sizes: Any) -> str:
    """Sizes as torch writes them in messages: `3 x 3`."""
    return " x ".join(str(n) for n in sizes)


class Windows:
    """Windows of `kernel` elements, `dilation` apart, at every `stride` elements of `spatial` padded by `pads`.

    `pads` are (low, high) per dimension; `out` is the number of windows per dimension, `padded` the padded sizes,
    `interior` the slices of the unpadded part.
    """

    def __init__(
        self, spatial: tuple, kernel: tuple, stride: tuple, pads: tuple, dilation: tuple, out: tuple | None = None
    ) -> None:
        self.spatial, self.kernel, self.stride, self.pads, self.dilation = spatial, kernel, stride, pads, dilation
        self.padded = tuple([n + lo + hi for n, (lo, hi) in zip(spatial, pads)])
        self.out = out or tuple(
            [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(self.padded, kernel, stride, dilation)]
        )
        self.count = _product(self.out)
        short = self.out[-1] < SHORT_ROW or (self.out[-1] == SHORT_ROW and stride[-1] == 1)  # without a stride, rows join
        self.inner = short  # images lie innermost in arrays by channel
        self.is_padded = any(lo or hi for lo, hi in pads)
        self.interior = (..., *[slice(lo, lo + n) for n, (lo, _) in zip(spatial, pads)])

    @functools.cached_property
    def offsets(self) -> list:
        """Every position in the kernel, with the slices of a padded array that all windows have there."""
        return [(p, self.at(p, 0, self.out[0])) for p in itertools.product(*[range(k) for k in self.kernel])]

    def at(self, position: tuple, first: int, last: int) -> tuple:
        """Slices of a padded array: the element at `position` of every window in rows `first` to `last` of `out`."""
        slices = [
            slice(p * d, p * d + s * (n - 1) + 1, s)
            for p, d, s, n in zip(position, self.dilation, self.stride, self.out)
        ]
        p, d, s = position[0], self.dilation[0], self.stride[0]
        slices[0] = slice(p * d + s * first, p * d + s * (last - 1) + 1, s)
        return (..., *slices)

    def pad(self, xp: Any, x: Any, value: Any = 0) -> Any:
        """The last dimensions of `x` padded with `value`; `x` itself if there is nothing to pad."""
        if not self.is_padded:
            return x
        shape = (*x.shape[: x.ndim - len(self.spatial)], *self.padded)
        out = xp.zeros(shape, x.dtype) if value == 0 else xp.full(shape, value, x.dtype)
        out[self.interior] = x
        return out

    def crop(self, x: Any) -> Any:
        """The inverse of `pad`: a view without the padding."""
        return x[self.interior] if self.is_padded else x

    def by_channel(self, x: Any) -> Any:
        """A view of (N, C, *) as (C, N, *), or as (C, *, N) if images are `inner`."""
        return x.transpose(1, *range(2, x.ndim), 0) if self.inner else x.swapaxes(0, 1)

    def by_image(self, x: Any) -> Any:
        """The inverse of `by_channel`."""
        return x.transpose(x.ndim - 1, *range(x.ndim - 1)) if self.inner else x.swapaxes(0, 1)

    def load(self, xp: Any, x: Any) -> Any:
        """(N, C, *spatial) as a padded contiguous array by channel; the array itself if it is that already."""
        lone = x.shape[0] == 1 and x.flags.c_contiguous and not self.is_padded
        shape = (*x.shape[:2], *(x.shape[2:] if lone else self.padded))
        shape = (shape[1], *shape[2:], shape[0]) if self.inner else (shape[1], shape[0], *shape[2:])
        if lone:
            return x.reshape(shape)
        out = (xp.zeros if self.is_padded else xp.empty)(shape, x.dtype)
        self.crop(self.by_image(out))[...] = x
        return out

    def view(self, xp: Any, loaded: Any) -> Any:
        """All windows of a padded array by channel as a view (C, *kernel, and N and *out in the array's order)."""
        shape, strides = loaded.shape, loaded.strides
        images, at = (-1, slice(1, -1)) if self.inner else (1, slice(2, None))
        apart = [t * d for t, d in zip(strides[at], self.dilation)]
        moves = [t * s for t, s in zip(strides[at], self.stride)]
        n, sn = shape[images], strides[images]
        tail, steps = ((*self.out, n), (*moves, sn)) if self.inner else ((n, *self.out), (sn, *moves))
        shape, strides = (shape[0], *self.kernel, *tail), (strides[0], *apart, *steps)
        if xp is np and loaded.size:
            return np.ndarray(shape, loaded.dtype, loaded, 0, strides)  # as_strided without its Python overhead
        return xp.lib.stride_tricks.as_strided(loaded, shape, strides)

    def rows(self, first: int, last: int) -> tuple:
        """What cuts rows `first` to `last` of `out` from arrays by channel that have `out` in them."""
        every, nd = slice(None), len(self.out) - 1
        return (..., slice(first, last), *[every] * (nd + self.inner))

    def add_back(self, target: Any, columns: Any, first: int, last: int) -> None:
        """The adjoint of `view`: add rows `first` to `last` of columns into a padded array by channel, in place."""
        whole = first == 0 and last == self.out[0]
        offsets = self.offsets if whole else [(p, self.at(p, first, last)) for p, _ in self.offsets]
        for position, slices in offsets:
            region = target[(slice(None), *slices[1:]) if self.inner else slices]
            region += columns[(slice(None), *position)]

    def blocks(self, n: int, columns: int) -> list[tuple[int, int, list]]:
        """(image0, image1, [(row0, row1), ...]): parts whose `columns` elements per window stay in cache."""
        per_image = max(columns * self.count, 1)
        total = n * per_image
        longest = total if total <= ONE_BLOCK else min(BLOCK, max(total // SHARES, ONE_BLOCK // 4))
        rows = spans(self.out[0], max(1, longest * self.out[0] // max(per_image, longest)))
        parts = [(r.start, r.stop) for r in rows]
        return [(i.start, i.stop, parts) for i in spans(n, max(1, longest // per_image))] if n else []


def _product(sizes: Any) -> int:
    return functools.reduce(lambda a, b: a * b, sizes, 1)


@functools.lru_cache(maxsize=2048)
def windows_of(
    spatial: tuple, kernel: tuple, stride: tuple, pads: tuple, dilation: tuple, out: tuple | None = None
) -> Windows:
    """The remembered `Windows` of these sizes."""
    return Windows(spatial, kernel, stride, pads, dilation, out)
