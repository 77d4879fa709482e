"""Layer norm and RMS norm, and what all normalisations share (those by channel are in channel_norms.py).

All of them subtract a mean and divide by a standard deviation over some axes, then scale and shift. They share one
gradient: with x^ the normalised input, h the gradient times the scale, and means over the normalised axes,
d/dx = (h - mean(h) - x^ * mean(h * x^)) / std (Ioffe and Szegedy 2015, section 3).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes, fast
from ..gpu.rows import LayerNormRows, RMSNormRows
from ..pool import map_blocks, parallel_for
from ..tensor import Tensor
from ._blocked import is_large, row_blocks, run_blocks
from .applying import row_major
from .base import Op, expect_tensor, op

_FEW = 1 << 13  # elements up to which NumPy's calls take longer than its arithmetic
_ONE = np.float32(1)
_add_reduce: Any = np.add.reduce


def standardise(xp: Any, x: Any, axes: tuple, count: int, eps: float) -> tuple:
    """((x - mean) / std, 1 / std) of raw arrays over `axes` that hold `count` elements; biased variance plus `eps`."""
    centred = x - x.sum(axis=axes, keepdims=True) / x.dtype.type(count)
    variance = (centred * centred).sum(axis=axes, keepdims=True) / x.dtype.type(count)
    rstd = 1 / xp.sqrt(variance + x.dtype.type(eps))
    centred *= rstd
    return centred, rstd


def traced_standardise(xp: Any, x: Any, axes: tuple, count: int, eps: float) -> tuple:
    """`standardise` in the vocabulary of gradient formulas, for graphs of gradients."""
    centred = x - xp.sum(x, axes, True, None) / count
    rstd = 1 / xp.sqrt(xp.sum(centred * centred, axes, True, None) / count + eps)
    return centred * rstd, rstd


def input_gradient(xp: Any, h: Any, normal: Any, rstd: Any, axes: tuple, count: int) -> Any:
    """The shared formula at the top, in the vocabulary of gradient formulas."""
    return (h - xp.sum(h, axes, True, None) / count - normal * (xp.sum(h * normal, axes, True, None) / count)) * rstd


# -- rows: layer norm and RMS norm -------------------------------------------------------------------------------------


def rows_forward(xp: Any, x: Any, w: Any, b: Any, width: int, eps: float, centre: bool) -> tuple:
    """(normalised, scaled and shifted rows, means or None, 1 / std), each row the last `width` elements of `x`."""
    x = row_major(xp, x)
    made = _rows_compiled(x, w, b, width, eps, centre)
    if made is not None:
        return made
    if xp is np and width and x.size < _FEW:
        return _few_rows(x, w, b, width, eps, centre)
    rows = x.size // width if width else 0
    x2, out = x.reshape(rows, width), xp.empty((rows, width), x.dtype)
    mean: Any = xp.empty((rows, 1), x.dtype) if centre else None
    rstd = xp.empty((rows, 1), x.dtype)
    count, eps = x.dtype.type(width), x.dtype.type(eps)
    blocks = row_blocks(rows, width)

    def run(i: int) -> None:
        block = blocks[i]
        part, y = x2[block], out[block]
        if centre:
            part = xp.subtract(part, xp.divide(part.sum(axis=1, keepdims=True), count, out=mean[block]), out=y)
        square = xp.einsum("ij,ij->i", part, part)[:, None]
        xp.divide(1, xp.sqrt(square / count + eps), out=rstd[block])
        xp.multiply(part, rstd[block], out=y)
        if w is not None:
            y *= w
        if b is not None:
            y += b

    run_blocks(run, len(blocks), is_large(x))
    return out.reshape(x.shape), mean, rstd


def _few_rows(x: Any, w: Any, b: Any, width: int, eps: float, centre: bool) -> tuple:
    """`rows_forward` of a small array in as few NumPy calls as it takes."""
    y = (x if x.flags.c_contiguous else x.copy()).reshape(-1, width)
    mean, count = None, x.dtype.type(width)
    if centre:
        mean = _add_reduce(y, 1, None, None, True)
        mean /= count
        y = y - mean
    rstd = np.vecdot(y, y)[:, None]
    rstd /= count
    rstd += x.dtype.type(eps)
    np.sqrt(rstd, rstd)
    np.divide(_ONE, rstd, rstd)
    y = y * rstd if mean is None else np.multiply(y, rstd, y)
    if w is not None:
        y *= w
    if b is not None:
        y += b
    return y.reshape(x.shape), mean, rstd


def rows_backward(xp: Any, g: Any, x: Any, w: Any, width: int, mean: Any, rstd: Any, needs: tuple) -> list:
    """Gradients of x, w and b (flat), by the formula at the top; None where `needs` says so."""
    g, x = row_major(xp, g), row_major(xp, x)
    made = _rows_backward_compiled(g, x, w, width, mean, rstd, needs)
    if made is not None:
        return made
    if xp is np and width and 0 < g.size < _FEW:
        return _few_rows_backward(g.reshape(-1, width), x.reshape(-1, width), w, mean, rstd, needs)
    rows = g.size // width if width else 0
    g2, x2 = g.reshape(rows, width), x.reshape(rows, width)
    gx = xp.empty((rows, width), g.dtype) if needs[0] else None
    count = g.dtype.type(width)
    blocks = row_blocks(rows, width)

    def run(i: int) -> list:
        block = blocks[i]
        part = g2[block]
        normal = x2[block] * rstd[block] if mean is None else (x2[block] - mean[block]) * rstd[block]
        sums = [xp.einsum("ij,ij->j", part, normal) if needs[1] else None]
        sums += [part.sum(axis=0) if need else None for need in needs[2:]]
        if gx is not None:
            h = xp.multiply(part, 1 if w is None else w, out=gx[block])
            along = xp.einsum("ij,ij->i", h, normal)[:, None] / count
            if mean is not None:
                h -= h.sum(axis=1, keepdims=True) / count
            normal *= along
            h -= normal
            h *= rstd[block]
        return sums

    parts = run_blocks(run, len(blocks), is_large(g))
    return [gx, *[_sum_parts(xp, [p[i] for p in parts], width, g.dtype) if need else None
                  for i, need in enumerate(needs[1:])]]


def _few_rows_backward(g: Any, x: Any, w: Any, mean: Any, rstd: Any, needs: tuple) -> list:
    """`rows_backward` of small matrices in as few NumPy calls as it takes."""
    normal = x * rstd if mean is None else x - mean
    if mean is not None:
        normal *= rstd
    gx, gw = None, _add_reduce(g * normal, 0) if needs[1] else None
    if needs[0]:
        h, count = g if w is None else g * w, g.dtype.type(g.shape[1])
        along = np.vecdot(h, normal)[:, None]
        along /= count
        normal *= along
        if mean is not None:
            centre = _add_reduce(h, 1, None, None, True)
            centre /= count
            h = h - centre
        gx = h - normal
        gx *= rstd
    return [gx, gw, _add_reduce(g, 0) if needs[2] else None]


def _kernels(width: int, *arrays: Any) -> Any:
    """The compiled kernels for rows of large float32 arrays, or None. The first array is the large one."""
    given = [a for a in arrays if a is not None]
    return fast.kernels("rows") if width and is_large(given[0]) and fast.fits(*given) else None


def _rows_compiled(x: Any, w: Any, b: Any, width: int, eps: float, centre: bool) -> tuple | None:
    kernels = _kernels(width, x, w, b)
    if kernels is None:
        return None
    whole = np.empty_like(x)
    x2, out = x.reshape(-1, width), whole.reshape(-1, width)
    rstd = np.empty((len(x2), 1), x.dtype)
    mean = np.empty_like(rstd) if centre else None
    w, b = np.ones(width, x.dtype) if w is None else w, np.zeros(width, x.dtype) if b is None else b
    least, blocks = np.float32(eps), row_blocks(len(x2), width)

    def run(i: int) -> None:
        block = blocks[i]
        if mean is None:
            kernels.rms_norm(x2[block], w, least, out[block], rstd[block])
        else:
            kernels.layer_norm(x2[block], w, b, least, out[block], mean[block], rstd[block])

    parallel_for(run, len(blocks))
    return whole, mean, rstd


def _rows_backward_compiled(g: Any, x: Any, w: Any, width: int, mean: Any, rstd: Any, needs: tuple) -> list | None:
    kernels = _kernels(width, g, x, w)
    if kernels is None:
        return None
    g2, x2 = g.reshape(-1, width), x.reshape(-1, width)
    gx, w = np.empty_like(g2), np.ones(width, g.dtype) if w is None else w
    blocks = row_blocks(len(g2), width)

    def run(i: int) -> tuple:
        block = blocks[i]
        gw, gb = np.zeros(width, g.dtype), np.zeros(width, g.dtype)
        if mean is None:
            kernels.rms_norm_backward(g2[block], x2[block], w, rstd[block], gx[block], gw)
        else:
            kernels.layer_norm_backward(g2[block], x2[block], w, mean[block], rstd[block], gx[block], gw, gb)
        return gx, gw, gb

    parts = map_blocks(run, len(blocks))
    return [gx if needs[0] else None, *[_sum_parts(np, [p[i] for p in parts], width, g.dtype) if need else None
                                        for i, need in enumerate(needs[1:], 1)]]


def _sum_parts(xp: Any, parts: list, width: int, dtype: Any) -> Any:
    """The sum of the blocks' sums, in the order of the blocks."""
    total = xp.zeros(width, dtype)
    for part in parts:
        total += part
    return total


def _trailing(shape: Any, normalized_shape: Any, function: str, weight: Any, bias: Any) -> tuple:
    """`normalized_shape` as a tuple. RuntimeError unless input, weight and bias end in, or are of, that shape."""
    sizes = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not sizes:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, "
            f"but got normalized_shape = {list(sizes)} ({function})"
        )
    for name, t in (("weight", weight), ("bias", bias)):
        if t is not None and t._array.shape != sizes:
            raise RuntimeError(
                f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape "
                f"{list(t.shape)} and normalized_shape = {list(sizes)}"
            )
    if shape[len(shape) - len(sizes) :] != sizes or len(shape) < len(sizes):
        stars = ", ".join(["*", *[str(n) for n in sizes]])
        raise RuntimeError(
            f"Given normalized_shape={list(sizes)}, expected input with shape [{stars}], but got input of "
            f"size{list(shape)}"
        )
    return sizes


def _shaped(array: Any, shape: tuple) -> Any:
    return None if array is None else array.reshape(shape)


def _last_axes(ndim: int, sizes: tuple) -> tuple[tuple, int]:
    count = 1
    for n in sizes:
        count *= n
    return tuple(range(ndim - len(sizes), ndim)), count


@op("layer_norm", method=False, functional=True, node="NativeLayerNormBackward0")
class LayerNorm(Op):
    """Normalise over the last dimensions, those of `normalized_shape`; then scale by `weight` and shift by `bias`.

    Shapes: input (*, *normalized_shape), weight and bias normalized_shape; floating dtypes. Biased variance.
    RuntimeError if the shapes do not fit. Ba, Kiros and Hinton 2016.

    >>> nn.functional.layer_norm(torch.tensor([[1., 3.], [0., 4.]]), (2,))
    tensor([[-1.0000,  1.0000],
            [-1.0000,  1.0000]])
    """

    n = 3
    keep = {0: (0, 1), 1: (0,)}
    has_aux = True
    gpu = LayerNormRows()

    @staticmethod
    def forward(xp: Any, x: Any, w: Any, b: Any, sizes: tuple, eps: float) -> Any:
        w, b = [None if t is None else t.reshape(-1) for t in (w, b)]
        out, mean, rstd = rows_forward(xp, x, w, b, math.prod(sizes), eps, centre=True)
        return row_major(xp, out), (mean, rstd)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        (x, w, _), sizes = s.inputs, s.params[0]
        if x is None:  # only the bias gets a gradient
            return LayerNorm.gradients(xp, s, g, None, None)
        flat = None if w is None else w.reshape(-1)
        mean, rstd = s.aux
        gx, gw, gb = rows_backward(xp.np, g, x, flat, math.prod(sizes), mean, rstd, s.needs)
        return _shaped(gx, x.shape), _shaped(gw, sizes), _shaped(gb, sizes)

    @classmethod
    def backward_traced(cls, xp: Any, s: Any, g: Any) -> tuple:
        x = s.inputs[0]
        if x is None:  # only the bias gets a gradient
            return cls.gradients(xp, s, g, None, None)
        sizes, eps = s.params
        return cls.gradients(xp, s, g, *traced_standardise(xp, x, *_last_axes(len(x.shape), sizes), eps))

    @staticmethod
    def gradients(xp: Any, s: Any, g: Any, normal: Any, rstd: Any) -> tuple:
        need_x, need_w, need_b = s.needs
        sizes, _ = s.params
        lead = tuple(range(len(g.shape) - len(sizes)))
        gx = None
        if need_x:
            w = s.inputs[1]
            gx = input_gradient(xp, g if w is None else g * w, normal, rstd, *_last_axes(len(g.shape), sizes))
        gw = (xp.sum(g * normal, lead, False, None) if lead else g * normal) if need_w else None
        return gx, gw, (xp.sum(g, lead, False, None) if lead else g) if need_b else None

    @staticmethod
    def call(
        input: Tensor,
        normalized_shape: Any,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
        cudnn_enable: bool = True,
    ) -> Tensor:
        shape = expect_tensor(input, "layer_norm")._array.shape
        return LayerNorm.apply(input, weight, bias, _trailing(shape, normalized_shape, "layer_norm", weight, bias), eps)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("layer_norm", make.uniform((3, 5)), (5,), make.uniform((5,)), make.uniform((5,)))
        yield make("layer_norm", make.uniform((2, 3, 4)), [3, 4], make.uniform((3, 4)), make.uniform((3, 4)), 1e-3)
        yield make("layer_norm", make.uniform((2, 3, 4)), (4,))
        yield make("layer_norm", make.uniform((4, 3)).t(), (4,), make.uniform((4,)))
        yield make("layer_norm", make.uniform((5,)), (5,), make.uniform((5,)), make.uniform((5,)))
        yield make("layer_norm", make.uniform((0, 4)), (4,), make.uniform((4,)), make.uniform((4,)))


@op("rms_norm", method=False, functional=True)
class RMSNorm(Op):
    """Divide by the root mean square over the last dimensions, those of `normalized_shape`; then scale by `weight`.

    `eps` defaults to the machine epsilon of the dtype, of float32 for 16-bit floats. RuntimeError if the shapes do not
    fit. Zhang and Sennrich 2019.

    >>> nn.functional.rms_norm(torch.tensor([3., 4.]), (2,))
    tensor([0.8485, 1.1314])
    """

    n = 2
    keep = {0: (0, 1), 1: (0,)}
    has_aux = True
    gpu = RMSNormRows()

    @staticmethod
    def forward(xp: Any, x: Any, w: Any, sizes: tuple, eps: float) -> Any:
        flat = None if w is None else w.reshape(-1)
        out, _, rstd = rows_forward(xp, x, flat, None, math.prod(sizes), eps, centre=False)
        return out, rstd

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        (x, w), sizes = s.inputs, s.params[0]
        flat = None if w is None else w.reshape(-1)
        gx, gw, _ = rows_backward(xp.np, g, x, flat, math.prod(sizes), None, s.aux, (*s.needs, False))
        return _shaped(gx, x.shape), _shaped(gw, sizes)

    @classmethod
    def backward_traced(cls, xp: Any, s: Any, g: Any) -> tuple:
        (sizes, eps), x = s.params, s.inputs[0]
        axes, count = _last_axes(len(x.shape), sizes)
        rstd = 1 / xp.sqrt(xp.sum(x * x, axes, True, None) / count + eps)
        return cls.gradients(xp, s, g, x * rstd, rstd)

    @staticmethod
    def gradients(xp: Any, s: Any, g: Any, normal: Any, rstd: Any) -> tuple:
        sizes, w = s.params[0], s.inputs[1]
        lead = tuple(range(len(g.shape) - len(sizes)))
        gx = gw = None
        if s.needs[0]:
            h = g if w is None else g * w
            axes, count = _last_axes(len(g.shape), sizes)
            gx = (h - normal * (xp.sum(h * normal, axes, True, None) / count)) * rstd
        if s.needs[1]:
            gw = xp.sum(g * normal, lead, False, None) if lead else g * normal
        return gx, gw

    @staticmethod
    def call(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
        shape = expect_tensor(input, "rms_norm")._array.shape
        sizes = _trailing(shape, normalized_shape, "rms_norm", weight, None)
        if eps is None:  # of the arithmetic, which is float32 for shorter floats
            eps = dtypes.finfo(dtypes.float64 if input.dtype is dtypes.float64 else dtypes.float32).eps
        return RMSNorm.apply(input, weight, sizes, eps)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("rms_norm", make.uniform((3, 5)), (5,), make.uniform((5,)))
        yield make("rms_norm", make.uniform((2, 3, 4)), (3, 4), None, 1e-3)
