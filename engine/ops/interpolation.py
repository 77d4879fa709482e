"""Resizing by interpolate and upsample (nearest, linear, cubic, area).

Resizing is separable, so it is done one dimension after the other: every output is a weighted sum of a few inputs
("taps") of its line.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from .. import backend
from ..errors import did_you_mean
from ..gpu.images import Resampled
from ..tensor import Tensor
from .base import FUNCTIONAL, Op, composite, expect_tensor, op
from .casting import casting, in_full
from .padding import TakeAxes
from .samples import samples_for

_MODES = {
    "nearest": None,
    "nearest-exact": None,
    "area": None,
    "linear": 3,
    "bilinear": 4,
    "bicubic": 4,
    "trilinear": 5,
}
_CUBIC = -0.75  # the free parameter of Keys' cubic convolution kernel (1981), as torch and OpenCV set it


def _beside(x: Any, steps: tuple) -> Any:
    """The taps where `x` is."""
    if not backend.is_on_device(x):
        return steps
    xp = backend.gpu()
    return [(axis, xp.asarray(index), xp.asarray(weight), size) for axis, index, weight, size in steps]


@op("_resample", function=False, method=False, node="UpsampleBackward0")
class Resample(Op):
    """Weighted sums of taps along several axes; `steps`: (axis, indices (out, taps), weights (out, taps), size)."""

    gpu = Resampled()

    @staticmethod
    def forward(xp: Any, x: Any, steps: tuple) -> Any:
        for axis, index, weight, _ in _beside(x, steps):
            column = (-1, *[1] * (x.ndim - 1 - axis))
            out = None
            for t in range(index.shape[1]):
                part = x.take(index[:, t], axis=axis)
                part *= weight[:, t].reshape(column).astype(x.dtype)
                out = part if out is None else xp.add(out, part, out=out)
            x = out
        return x

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._resample_grad(g, s.params[0]),)


@op("_resample_grad", function=False, method=False, node="UpsampleBackwardBackward0")
class ResampleGrad(Op):
    """The adjoint of `_resample`: along each axis one product with the matrix that the taps make."""

    @staticmethod
    def forward(xp: Any, g: Any, steps: tuple) -> Any:
        for axis, index, weight, size in reversed(_beside(g, steps)):
            matrix = xp.zeros((index.shape[0], size), g.dtype)
            xp.add.at(matrix, (xp.arange(index.shape[0])[:, None], index), weight.astype(g.dtype))
            g = xp.moveaxis(xp.matmul(xp.moveaxis(g, axis, -1), matrix), -1, axis)
        return xp.ascontiguousarray(g)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._resample(g, s.params[0]),)


# -- where the taps are -----------------------------------------------------------------------------------------------


def _places(size: int, out: int, scale: float | None, align_corners: bool, dtype: Any) -> np.ndarray:
    """The input coordinate of every output; pixels have their value at their centre unless corners are aligned."""
    at = np.arange(out, dtype=dtype)
    if align_corners:
        return at * dtype.type((size - 1) / (out - 1) if out > 1 else 0)
    step = dtype.type(1 / scale if scale else size / out)
    return (at + dtype.type(0.5)) * step - dtype.type(0.5)


def _linear_taps(size: int, out: int, scale: float | None, align_corners: bool, dtype: Any) -> tuple:
    same = out == size  # whatever the scale factor says, as in torch
    place = np.maximum(np.arange(out, dtype=dtype) if same else _places(size, out, scale, align_corners, dtype), 0)
    low = np.minimum(place.astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    part = np.clip(place - low, 0, 1)
    return np.stack([low, high], 1), np.stack([1 - part, part], 1)


def cubic_weights(t: Any) -> list:
    """The weights of the four neighbours of a point `t` past the second of them (Keys 1981); of arrays or Tensors."""
    a = _CUBIC

    def near(x: Any) -> Any:  # |x| <= 1
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Any) -> Any:  # 1 < |x| < 2
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def _cubic_taps(size: int, out: int, scale: float | None, align_corners: bool, dtype: Any) -> tuple:
    place = _places(size, out, scale, align_corners, dtype)
    low = np.floor(place)
    t = place - low
    index = low.astype(np.int64)[:, None] + np.arange(-1, 3)
    return index.clip(0, size - 1), np.stack(cubic_weights(t), 1)


def _antialiased_taps(size: int, out: int, scale: float | None, align_corners: bool, dtype: Any, cubic: bool) -> tuple:
    """Taps of a kernel as wide as an output pixel, so that shrinking averages instead of skipping inputs (as in Pillow)."""
    step = (size - 1) / (out - 1) if align_corners and out > 1 else 1 / scale if scale else size / out
    wide = max(step, 1.0)
    reach = (2 if cubic else 1) * wide
    centre = step * (np.arange(out) + 0.5)
    first = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + reach + 0.5).astype(np.int64), size)
    index = first[:, None] + np.arange(int((last - first).max()))
    x = abs((index - centre[:, None] + 0.5) / wide)
    near = (1.5 * x - 2.5) * x * x + 1 if cubic else 1 - x  # Keys' kernel with -0.5; a triangle
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2 if cubic else 0 * x
    weight = np.where(x < 1, near, np.where(x < 2, far, 0)) * (index < last[:, None])
    return index.clip(0, size - 1), (weight / weight.sum(1, keepdims=True)).astype(dtype)


def _nearest_index(size: int, out: int, scale: float | None, exact: bool) -> np.ndarray:
    if not exact and out in (size, 2 * size):  # whatever the scale factor says, as in torch
        return np.arange(out) * size // out
    step = np.float32(1 / scale if scale else size / out)
    at = np.arange(out, dtype=np.float32)
    return np.minimum(np.floor((at + np.float32(0.5 if exact else 0)) * step).astype(np.int64), size - 1)


# -- interpolate ------------------------------------------------------------------------------------------------------


def _wanted(shape: tuple, size: Any, scale_factor: Any, recompute: bool | None) -> tuple[tuple, tuple]:
    """(output sizes, scale per dimension or None); ValueError for contradictions."""
    nd = len(shape) - 2
    spatial = shape[2:]
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is None and scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    given = size if size is not None else scale_factor
    values = tuple(given) if isinstance(given, (list, tuple)) else (given,) * nd
    if len(values) != nd:
        what = f"output size of {list(values)}" if size is not None else f"scale_factor of {list(values)}"
        raise ValueError(
            f"Input and output must have the same number of spatial dimensions, but got input with spatial "
            f"dimensions of {list(spatial)} and {what}. Please provide input tensor in (N, C, d1, d2, ...,dK) format "
            "and output size in (o1, o2, ...,oK) format."
        )
    if size is not None:
        if recompute:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        return tuple([int(v) for v in values]), (None,) * nd
    out = tuple([math.floor(n * float(v)) for n, v in zip(spatial, values)])
    return out, (None,) * nd if recompute else tuple([float(v) for v in values])


def _check_mode(mode: str, align_corners: bool | None, ndim: int) -> None:
    if mode not in _MODES:
        raise NotImplementedError(
            f"interpolate(): unknown mode {mode!r}, expected one of {', '.join(_MODES)}." + did_you_mean(mode, _MODES)
        )
    needs = _MODES[mode]
    if needs is None and align_corners is not None:
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | "
            f"trilinear (got mode={mode!r})"
        )
    if needs is not None and needs != ndim:
        raise NotImplementedError(f"Got {ndim}D input, but {mode} mode needs {needs}D input")
    if not 3 <= ndim <= 5:
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {ndim}D) for the modes: "
            f"{' | '.join(_MODES)} (got {mode})"
        )


@composite("interpolate", function=False, method=False, functional=True)
def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resize the spatial dimensions of (N, C, L), (N, C, H, W) or (N, C, D, H, W) to `size`, or by `scale_factor`.

    `mode`: "nearest", "nearest-exact", "area"; "linear" (3-D input), "bilinear" and "bicubic" (4-D), "trilinear"
    (5-D), for which `align_corners` keeps the corner pixels' values. ValueError for contradicting arguments,
    NotImplementedError for a mode that does not fit the input's dimensions. `antialias` (bilinear and bicubic only)
    averages over an output pixel's width when shrinking.

    >>> nn.functional.interpolate(torch.tensor([[[1., 3.]]]), scale_factor=2)
    tensor([[[1., 1., 3., 3.]]])
    >>> nn.functional.interpolate(torch.tensor([[[1., 3.]]]), size=3, mode="linear", align_corners=True)
    tensor([[[1., 2., 3.]]])
    """
    a = expect_tensor(input, "interpolate")._array
    _check_mode(mode, align_corners, a.ndim)
    if antialias and not (mode in ("bilinear", "bicubic") and a.ndim == 4):
        raise ValueError("Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor as input")
    out, scales = _wanted(a.shape, size, scale_factor, recompute_scale_factor)
    if 0 in a.shape[1:] or any(n < 1 for n in out):
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input {list(a.shape[2:])} and output "
            f"{list(out)} (shape={list(a.shape)})"
        )
    if mode == "area":
        return FUNCTIONAL[f"adaptive_avg_pool{a.ndim - 2}d"](input, out)
    if casting.on:
        input = in_full(input)
    device = backend.is_on_device(a)  # the taps of a GPU's form stay NumPy's, and nearest pixels are taps as well
    xp = np if device else backend.namespace(a)
    steps: list = []
    for axis, (n, m, scale) in enumerate(zip(a.shape[2:], out, scales), 2):
        if _MODES[mode] is None:
            index = _nearest_index(n, m, scale, mode == "nearest-exact")
            steps.append((axis, index[:, None], np.ones((m, 1), np.float32), n) if device else (axis, xp.asarray(index), n))
            continue
        cubic = mode == "bicubic"
        taps: Any = _cubic_taps if cubic else _linear_taps
        if antialias:
            taps = functools.partial(_antialiased_taps, cubic=cubic)
        index, weight = taps(
            n, m, scale, bool(align_corners), np.dtype(np.float64 if a.dtype == np.float64 else np.float32)
        )
        steps.append((axis, xp.asarray(index), xp.asarray(weight), n))
    return (TakeAxes if _MODES[mode] is None and not device else Resample).apply(input, tuple(steps))


@composite("upsample", function=False, method=False, functional=True)
def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """The old name of `interpolate`.

    >>> nn.functional.upsample(torch.tensor([[[1., 3.]]]), scale_factor=2)
    tensor([[[1., 1., 3., 3.]]])
    """
    return interpolate(input, size, scale_factor, mode, align_corners)


@composite("upsample_nearest", function=False, method=False, functional=True)
def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` with mode "nearest".

    >>> nn.functional.upsample_nearest(torch.tensor([[[1., 3.]]]), 3)
    tensor([[[1., 1., 3.]]])
    """
    return interpolate(input, size, scale_factor)


@composite("upsample_bilinear", function=False, method=False, functional=True)
def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` of (N, C, H, W) with mode "bilinear" and aligned corners.

    >>> nn.functional.upsample_bilinear(torch.tensor([[[[1., 3.]]]]), (1, 3))
    tensor([[[[1., 2., 3.]]]])
    """
    return interpolate(input, size, scale_factor, "bilinear", True)


@samples_for("interpolate")
def _samples(make: Any) -> Any:
    def case(shape: tuple, *args: Any, **options: Any) -> Any:
        return make("interpolate", make.uniform(shape), *args, _module="nn.functional", **options)

    yield case((2, 3, 4), 7)
    yield case((1, 2, 4, 5), (3, 8), mode="nearest-exact")
    yield case((1, 2, 4, 5), None, (1.5, 0.7))
    yield case((1, 2, 3, 2, 3), None, 2)
    yield case((1, 2, 5, 6), (2, 4), mode="area")
    yield case((2, 3, 4), 7, mode="linear")
    yield case((1, 2, 4, 5), (7, 3), mode="bilinear", align_corners=True)
    yield case((1, 2, 4, 5), None, 1.7, "bilinear", False)
    yield case((1, 2, 4, 5), None, 1.7, "bilinear", recompute_scale_factor=True)
    yield case((1, 2, 4, 5), (7, 3), mode="bicubic")
    yield case((1, 2, 4, 5), (7, 9), mode="bicubic", align_corners=True)
    yield case((1, 1, 3, 2, 3), (4, 4, 2), mode="trilinear")
    for mode in ("bilinear", "bicubic"):
        yield case((1, 2, 9, 7), (4, 10), mode=mode, antialias=True, _half=False)
        yield case((1, 1, 9, 7), None, 0.4, mode, True, antialias=True, _half=False)
