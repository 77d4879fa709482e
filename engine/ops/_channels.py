"""Batch and group normalisation of raw arrays in few passes: sums by channel, then one multiple and shift by channel.

Blocks of channels run on the pool where arrays are large, compiled (engine/fast/channels.py) with the extra `fast`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import fast
from ..pool import scratch, spans
from . import _few_channels
from ._blocked import COMPILED, WORTH, is_large, ndarray, row_blocks, run_blocks

BLOCK = 1 << 17  # elements of the channels worked on at a time
SHORT = 64  # elements of an image's channel; of fewer, squares and a product with ones are summed up faster than dot products
PLAIN = 1 << 19  # the same without kernels: of 1 << 17, two threads were slower than one, because they wait for the interpreter


class Channels:
    """Arrays (N, C, *) in blocks of channels, as (N, C, L)."""

    def __init__(self, xp: Any, *arrays: Any) -> None:
        self.xp, first = xp, arrays[0]
        n, channels = first.shape[:2]
        self.count = first.size // max(channels, 1)  # elements of a channel
        self.shape = (n, channels, self.count // max(n, 1))
        self.arrays = [a.reshape(self.shape) for a in arrays]
        self.large = is_large(first)
        compiled = first.size >= COMPILED and fast.fits(*self.arrays)
        self.kernels = fast.kernels("channels") if compiled else None
        if self.kernels:
            self.blocks = spans(channels, max(1, BLOCK // max(self.count, 1)))
        else:
            self.blocks = row_blocks(channels, self.count, PLAIN, WORTH)

    def run(self, kernel: str, plain: Any, *arrays: Any, slope: Any = None) -> None:
        """Call the compiled `kernel` on blocks of channels of arrays (N, C, L) and (C), or `plain` on their parts.

        `slope` is that of a leaky ReLU that comes after; `plain` leaves it out.
        """
        last = () if slope is None else (arrays[0].dtype.type(slope),)

        def compiled(i: int) -> None:
            getattr(self.kernels, kernel)(self.blocks[i].start, self.blocks[i].stop, *arrays, *last)

        def composed(i: int) -> None:
            block = self.blocks[i]
            plain(self.xp, *[a[:, block] if a.ndim == 3 else a[block] for a in arrays])

        run_blocks(compiled if self.kernels else composed, len(self.blocks), self.large and len(self.blocks) > 1)

    def by_channel(self, number: int) -> Any:
        """New arrays (number, C)."""
        return self.xp.empty((number, self.shape[1]), self.arrays[0].dtype)

    def like(self) -> Any:
        """A new array (N, C, L)."""
        return self.xp.empty(self.shape, self.arrays[0].dtype)


def _temporary(x: Any, xp: Any) -> Any:
    return scratch(x.size, x.dtype).reshape(x.shape) if type(x) is ndarray else xp.empty(x.shape, x.dtype)


def _along(xp: Any, values: Any, x: Any) -> Any:
    """Values by channel for all of an image (C, L): NumPy is slow where an operand stands still within a row."""
    return xp.repeat(values, x.shape[2]).reshape(x.shape[1:])


def _sum(xp: Any, x: Any) -> Any:
    """The sums of (N, C, L) by channel: a product with ones, which BLAS sums faster than `sum` does.

    Not on a GPU, where CuPy lets no product of its own into a graph.
    """
    if type(x) is not ndarray:
        return x.sum(axis=(0, 2))
    return xp.matmul(x, xp.ones(x.shape[2], x.dtype)).sum(axis=0)


def _sum_of_products(xp: Any, x: Any, y: Any) -> Any:
    """The sums of x * y by channel; changes `x`."""
    if type(x) is ndarray and x.shape[2] >= SHORT:
        return np.vecdot(x, y).sum(axis=0)
    x *= y
    return _sum(xp, x)


def _moments(xp: Any, x: Any, mean: Any, square: Any) -> None:
    mean[...] = _sum(xp, x) / x.dtype.type(x.shape[0] * x.shape[2])
    apart = xp.subtract(x, _along(xp, mean, x), out=_temporary(x, xp))
    square[...] = _sum_of_products(xp, apart, apart)


def _scale(xp: Any, x: Any, factor: Any, shift: Any, y: Any) -> None:
    xp.multiply(x, _along(xp, factor, x), out=y)
    y += _along(xp, shift, x)


def _gradient_sums(xp: Any, g: Any, x: Any, mean: Any, total: Any, product: Any) -> None:
    total[...] = _sum(xp, g)
    product[...] = _sum_of_products(xp, xp.subtract(x, _along(xp, mean, x), out=_temporary(x, xp)), g)


def _combine(xp: Any, g: Any, x: Any, factor: Any, slope: Any, shift: Any, gx: Any) -> None:
    xp.multiply(g, _along(xp, factor, x), out=gx)
    part = xp.multiply(x, _along(xp, slope, x), out=_temporary(x, xp))
    part += _along(xp, shift, x)
    gx += part


def moments(xp: Any, x: Any) -> tuple:
    """(mean, sum of squared deviations from it, number of elements) of every channel of (N, C, *)."""
    channels = Channels(xp, x)
    found = channels.by_channel(2)
    channels.run("moments", _moments, *channels.arrays, *found)
    return (*found, channels.count)


def standardise(xp: Any, x: Any, w: Any, b: Any, eps: float, slope: float = 1.0) -> tuple:
    """(normalised by its own moments, scaled and shifted; mean, sum of squared deviations, 1 / std, number of elements).

    `slope` is that of a leaky ReLU of the first.
    """
    if slope == 1 and _few_channels.fits(x):
        return _few_channels.standardise(x, w, b, eps)
    channels = Channels(xp, x)
    if channels.kernels:
        found, y = channels.by_channel(3), channels.like()
        ones, zeros = xp.ones(len(found[0]), x.dtype), xp.zeros(len(found[0]), x.dtype)
        given = (ones if w is None else fast.ready(w), zeros if b is None else fast.ready(b), x.dtype.type(eps))
        channels.run("normalise", None, *channels.arrays, *given, *found, y, slope=slope)
        return y.reshape(x.shape), *found, channels.count
    mean, square, count = moments(xp, x)
    rstd = 1 / xp.sqrt(square / x.dtype.type(max(count, 1)) + x.dtype.type(eps))
    return normalise(xp, x, w, b, mean, rstd, slope), mean, square, rstd, count


def factors(w: Any, b: Any, mean: Any, rstd: Any) -> tuple:
    """(factor, shift) by channel: (x - mean) * rstd * w + b is x * factor + shift. w and b may be None."""
    factor = rstd if w is None else rstd * w
    return factor, -mean * factor if b is None else b - mean * factor


def normalise(xp: Any, x: Any, w: Any, b: Any, mean: Any, rstd: Any, slope: float = 1.0) -> Any:
    """(x - mean) * rstd * w + b by channel; w and b may be None. `slope` is that of a leaky ReLU of it."""
    factor, shift = factors(w, b, mean, rstd)
    if slope == 1 and _few_channels.fits(x):
        return _few_channels.scale(x, factor, shift)
    channels = Channels(xp, x)
    y = channels.like()
    channels.run("scale", _scale, *channels.arrays, factor, shift, y, slope=slope)
    y = y.reshape(x.shape)
    if channels.kernels or slope == 1:
        return y
    return xp.maximum(y, y.dtype.type(0)) if slope == 0 else xp.where(y > 0, y, y * y.dtype.type(slope))


def before_activation(xp: Any, g: Any, x: Any, factor: Any, shift: Any, slope: float) -> Any:
    """The gradient of x * factor + shift, both by channel, from that of its leaky ReLU."""
    channels = Channels(xp, g, x)
    out = channels.like()
    if channels.kernels:
        channels.run("before_activation", None, *channels.arrays, factor, shift, out, slope=slope)
        return out.reshape(g.shape)
    channels.run("scale", _scale, channels.arrays[1], factor, shift, out)
    return xp.where(out.reshape(g.shape) <= 0, g * g.dtype.type(slope) if slope else g.dtype.type(0), g)


def gradients(xp: Any, g: Any, x: Any, w: Any, mean: Any, rstd: Any, training: bool, needs: tuple,
              shift: Any = None, slope: float = 1.0) -> tuple:  # fmt: skip
    """Gradients of input, weight and bias of a batch norm; `mean` and `rstd` depend on the input in `training`.

    The formula is that of normalization.py; the means in it are those of the weight's and the bias's gradients here.
    `slope` is that of a leaky ReLU after it, where `shift` is what `factors` gave.
    """
    if x is None:
        return None, None, g.sum(axis=(0, *range(2, g.ndim))) if needs[2] else None
    if training and slope == 1 and _few_channels.fits(g):
        return _few_channels.gradients(g, x, w, mean, rstd, needs)
    channels = Channels(xp, g, x)
    factor = rstd if w is None else rstd * w
    gx = None
    total, product = found = channels.by_channel(2)
    if training and needs[0] and channels.kernels:
        gx = channels.like()
        numbers = (factor, factor if shift is None else shift, fast.ready(mean), rstd)
        channels.run("gradients", None, *channels.arrays, *numbers, total, product, gx, slope=slope)
        return gx.reshape(g.shape), product if needs[1] else None, total if needs[2] else None
    if slope != 1:
        g = before_activation(xp, g, x, factor, shift, slope)
        return gradients(xp, g, x, w, mean, rstd, training, needs)
    if training or needs[1] or needs[2]:
        channels.run("gradient_sums", _gradient_sums, *channels.arrays, mean, *found)
        product *= rstd
    if needs[0]:
        gx = channels.like()
        if training:
            slope = -factor * rstd * product / g.dtype.type(channels.count)
            shift = -factor * total / g.dtype.type(channels.count) - slope * mean
            channels.run("combine", _combine, *channels.arrays, factor, slope, shift, gx)
        else:
            channels.run("scale", _scale, channels.arrays[0], factor, xp.zeros_like(factor), gx, slope=1)
        gx = gx.reshape(g.shape)
    return gx, product if needs[1] else None, total if needs[2] else None


class Groups:
    """Arrays (N, C, *) as (1, N * C, L), whose channels are normalised in groups, and values by group as values by channel."""

    def __init__(self, xp: Any, x: Any, groups: int) -> None:
        self.xp, self.n, self.channels = xp, x.shape[0], x.shape[1]
        self.total, self.each = self.n * groups, self.channels // groups
        self.length = x.size // max(self.n * self.channels, 1)
        self.count = self.each * self.length  # elements of a group

    def by_channel(self, x: Any) -> Any:
        """`x` as (1, N * C, L)."""
        return x.reshape(1, self.n * self.channels, self.length)

    def by_group(self, x: Any) -> Any:
        """`x` as (1, N * groups, L)."""
        return x.reshape(1, self.total, self.count)

    def spread(self, values: Any) -> Any:
        """Values by group, for every channel."""
        return self.xp.repeat(values, self.each)

    def tile(self, values: Any) -> Any:
        """Weights or biases (C) or None, for every image."""
        return None if values is None else self.xp.tile(values, self.n)

    def means(self, values: Any) -> Any:
        """The sums of values by channel over a group, divided by its number of elements; for every channel."""
        return self.spread(values.reshape(self.total, self.each).sum(axis=1) / values.dtype.type(max(self.count, 1)))


def normalise_groups(xp: Any, x: Any, w: Any, b: Any, groups: int, eps: float) -> tuple:
    """(normalised, scaled and shifted; mean and 1 / std by image and group)."""
    if _few_channels.fits(x):
        return _few_channels.normalise_groups(x, w, b, groups, eps)
    parts = Groups(xp, x, groups)
    mean, square, count = moments(xp, parts.by_group(x))
    rstd = 1 / xp.sqrt(square / x.dtype.type(max(count, 1)) + x.dtype.type(eps))
    out = normalise(xp, parts.by_channel(x), parts.tile(w), parts.tile(b), parts.spread(mean), parts.spread(rstd))
    return out.reshape(x.shape), (mean, rstd)


def group_gradients(xp: Any, g: Any, x: Any, w: Any, mean: Any, rstd: Any, groups: int, needs: tuple) -> tuple:
    """Gradients of input, weight and bias of a group norm."""
    if x is None:
        return None, None, g.sum(axis=(0, *range(2, g.ndim))) if needs[2] else None
    if _few_channels.fits(g):
        return _few_channels.group_gradients(g, x, w, mean, rstd, groups, needs)
    parts = Groups(xp, x, groups)
    channels = Channels(xp, parts.by_channel(g), parts.by_channel(x))
    mean, rstd, weights = parts.spread(mean), parts.spread(rstd), parts.tile(w)
    total, product = found = channels.by_channel(2)
    channels.run("gradient_sums", _gradient_sums, *channels.arrays, mean, *found)
    product *= rstd
    gx = None
    if needs[0]:
        gx, factor = channels.like(), rstd if weights is None else rstd * weights
        slope = -rstd * rstd * parts.means(product if weights is None else product * weights)
        shift = -rstd * parts.means(total if weights is None else total * weights) - slope * mean
        channels.run("combine", _combine, *channels.arrays, factor, slope, shift, gx)
        gx = gx.reshape(g.shape)
    gb, gw = found.reshape(2, parts.n, parts.channels).sum(axis=1)
    return gx, gw if needs[1] else None, gb if needs[2] else None
