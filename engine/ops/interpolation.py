"""Resizing by interpolate and upsample (nearest, linear, cubic, area), and sampling by grid_sample and affine_grid.

Resizing is separable, so it is done one dimension after the other: every output is a weighted sum of a few inputs
("taps") of its line.
"""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any

import numpy as np

from .. import backend
from ..errors import did_you_mean
from ..tensor import Tensor, wrap
from ._spacing import linspace_values
from .base import FUNCTIONAL, Op, composite, expect_tensor, op
from .padding import TakeAxes
from .pooling import TakeFlat
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


@op("_resample", function=False, method=False, node="UpsampleBackward0")
class Resample(Op):
    """Weighted sums of taps along several axes; `steps`: (axis, indices (out, taps), weights (out, taps), size)."""

    @staticmethod
    def forward(xp: Any, x: Any, steps: tuple) -> Any:
        for axis, index, weight, _ in steps:
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
        for axis, index, weight, size in reversed(steps):
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


def _cubic_taps(size: int, out: int, scale: float | None, align_corners: bool, dtype: Any) -> tuple:
    place = _places(size, out, scale, align_corners, dtype)
    low = np.floor(place)
    t = place - low
    index = low.astype(np.int64)[:, None] + np.arange(-1, 3)
    a = _CUBIC

    def near(x: Any) -> Any:  # |x| <= 1
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Any) -> Any:  # 1 < |x| < 2
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return index.clip(0, size - 1), np.stack([far(t + 1), near(t), near(1 - t), far(2 - t)], 1)


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
    xp = backend.namespace(a)
    steps: list = []
    for axis, (n, m, scale) in enumerate(zip(a.shape[2:], out, scales), 2):
        if _MODES[mode] is None:
            steps.append((axis, xp.asarray(_nearest_index(n, m, scale, mode == "nearest-exact")), n))
            continue
        cubic = mode == "bicubic"
        taps: Any = _cubic_taps if cubic else _linear_taps
        if antialias:
            taps = functools.partial(_antialiased_taps, cubic=cubic)
        index, weight = taps(
            n, m, scale, bool(align_corners), np.dtype(np.float64 if a.dtype == np.float64 else np.float32)
        )
        steps.append((axis, xp.asarray(index), xp.asarray(weight), n))
    return (TakeAxes if _MODES[mode] is None else Resample).apply(input, tuple(steps))


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


# -- sampling at given places -----------------------------------------------------------------------------------------


@composite("affine_grid", function=False, method=False, functional=True)
def affine_grid(theta: Tensor, size: Any, align_corners: bool | None = None) -> Tensor:
    """The grid of sampling places that affine maps `theta` (N, 2, 3) or (N, 3, 4) make, for `grid_sample`.

    `size`: (N, C, H, W) or (N, C, D, H, W) of the sampled output. Returns (N, H, W, 2) or (N, D, H, W, 3), x first,
    with -1 and 1 at the borders (at the centres of the corner pixels if `align_corners`). RuntimeError for shapes
    that do not fit.

    >>> nn.functional.affine_grid(torch.tensor([[[1., 0., 0.], [0., 1., 0.]]]), (1, 1, 1, 2), align_corners=True)
    tensor([[[[-1.,  0.],
              [ 1.,  0.]]]])
    """
    n, _, *spatial = size
    nd = len(spatial)
    if expect_tensor(theta, "affine_grid", "theta")._array.shape != (n, nd, nd + 1) or nd not in (2, 3):
        raise RuntimeError(
            f"Expected a batch of {nd}D affine matrices of shape {n}x{nd}x{nd + 1} for size {list(size)}. "
            f"Got {list(theta.shape)}."
        )
    xp, dtype = backend.namespace(theta._array), theta._array.dtype
    work, axes = dtype if dtype.itemsize >= 4 else np.dtype(np.float32), []
    for m in spatial:
        ends = linspace_values(np, -1, 1, m, work) if m > 1 else np.zeros(1, work)
        axes.append(ends if align_corners else ends * work.type(m - 1) / work.type(m))
    mesh = np.meshgrid(*axes, indexing="ij")
    base = np.stack([*reversed(mesh), np.ones(tuple(spatial), work)], -1).reshape(1, -1, nd + 1)
    grid = wrap(xp.asarray(base.astype(dtype)))
    return (grid @ theta.transpose(1, 2)).reshape(n, *spatial, nd)  # type: ignore[attr-defined, operator]


def _unnormalised(x: Tensor, n: int, align_corners: bool) -> Tensor:
    """From [-1, 1] to pixels."""
    return (x + 1) * ((n - 1) / 2) if align_corners else ((x + 1) * n - 1) / 2  # type: ignore[operator]


def _reflected(x: Tensor, n: int, align_corners: bool) -> Tensor:
    """Coordinates folded back at the borders until they are inside."""
    low, span = (0.0, float(n - 1)) if align_corners else (-0.5, float(n))
    if span == 0:
        return x * 0  # type: ignore[operator]
    x = (x - low).abs()  # type: ignore[operator]
    turns = (x.detach() / span).floor()
    rest = x - turns * span
    odd = turns.remainder(2)
    return (rest * (1 - 2 * odd) + odd * span) + low


def _pixel(x: Tensor, n: int, padding_mode: str, align_corners: bool) -> Tensor:
    x = _unnormalised(x, n, align_corners)
    if padding_mode == "reflection":
        x = _reflected(x, n, align_corners)
    return x if padding_mode == "zeros" else x.clamp(0, n - 1)  # type: ignore[attr-defined]


@composite("grid_sample", function=False, method=False, functional=True)
def grid_sample(
    input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None
) -> Tensor:
    """Sample images at the places of a grid (Jaderberg et al. 2015).

    Shapes: input (N, C, H, W) and grid (N, Ho, Wo, 2) give (N, C, Ho, Wo); input (N, C, D, H, W) and grid (N, Do, Ho,
    Wo, 3) give (N, C, Do, Ho, Wo). Grid coordinates are x first, in [-1, 1]. `mode`: "bilinear", "nearest" or "bicubic" (4-D);
    `padding_mode`: "zeros", "border" or "reflection". Differentiable in both. RuntimeError for shapes that do not
    fit, ValueError for unknown modes.

    >>> image = torch.tensor([[[[0., 1.], [2., 3.]]]])
    >>> nn.functional.grid_sample(image, torch.zeros(1, 1, 1, 2), align_corners=True)
    tensor([[[[1.5000]]]])
    """
    a, places = expect_tensor(input, "grid_sample")._array, expect_tensor(grid, "grid_sample", "grid", 2)._array
    _check_grid(a, places, mode, padding_mode)
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please "
            "specify align_corners=True if the old behavior is desired.",
            stacklevel=2,
        )
    xp, spatial = backend.namespace(a), a.shape[2:]
    nd = len(spatial)
    if mode == "bicubic":
        return _bicubic_sample(xp, input, grid, padding_mode, bool(align_corners))
    pixels = [
        _pixel(grid[..., nd - 1 - i], n, padding_mode, bool(align_corners))  # type: ignore[index]
        for i, n in enumerate(spatial)
    ]
    lows = [xp.rint(p._array) if mode == "nearest" else xp.floor(p._array) for p in pixels]
    parts = [None if mode == "nearest" else p - wrap(low) for p, low in zip(pixels, lows)]  # type: ignore[operator]
    total = None
    for corner in range(1 if mode == "nearest" else 2**nd):
        bits = [corner >> i & 1 for i in range(nd)]
        index, inside = _flat_index(xp, [low + bit for low, bit in zip(lows, bits)], spatial)
        index = xp.broadcast_to(index[:, None], (*a.shape[:2], *places.shape[1:-1]))
        term = TakeFlat.apply(input, index, nd) * wrap(inside[:, None].astype(a.dtype))
        for part, bit in zip(parts, bits):
            if part is not None:
                term = term * (part if bit else 1 - part).unsqueeze(1)
        total = term if total is None else total + term
    return total  # type: ignore[return-value]


def _cubic_weights(t: Tensor) -> list:
    """The weights of the four neighbours of a point `t` past the second of them, differentiable in `t`."""
    a = _CUBIC

    def near(x: Any) -> Any:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Any) -> Any:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]  # type: ignore[operator]


def _bicubic_sample(xp: Any, input: Tensor, grid: Tensor, padding_mode: str, align_corners: bool) -> Tensor:
    """Sums of 4 x 4 neighbours; those outside of the image are padded one by one."""
    a, spatial = input._array, input._array.shape[2:]
    pixels = [_unnormalised(grid[..., 1 - i], n, align_corners) for i, n in enumerate(spatial)]  # type: ignore[index]
    lows = [xp.floor(p._array) for p in pixels]
    weights = [_cubic_weights(p - wrap(low)) for p, low in zip(pixels, lows)]  # type: ignore[operator]
    total: Any = None
    for i in range(4):
        for j in range(4):
            places = [low + step - 1 for low, step in zip(lows, (i, j))]
            if padding_mode != "zeros":
                fold = padding_mode == "reflection"
                places = [xp.clip(_reflected(wrap(c), n, align_corners)._array if fold else c, 0, n - 1)
                          for c, n in zip(places, spatial)]
            index, inside = _flat_index(xp, places, spatial)
            index = xp.broadcast_to(index[:, None], (*a.shape[:2], *index.shape[1:]))
            weight = weights[0][i] * weights[1][j] * wrap(inside.astype(a.dtype))
            term = TakeFlat.apply(input, index, 2) * weight.unsqueeze(1)
            total = term if total is None else total + term
    return total


def _flat_index(xp: Any, coordinates: list, spatial: tuple) -> tuple[Any, Any]:
    """(flat index clipped to the image, whether the coordinates were inside)."""
    index, inside = 0, True
    for c, n in zip(coordinates, spatial):
        inside = inside & (c >= 0) & (c <= n - 1)
        index = index * n + xp.clip(xp.nan_to_num(c), 0, n - 1).astype(xp.int64)
    return index, inside


def _check_grid(a: Any, places: Any, mode: str, padding_mode: str) -> None:
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: "
            f"'{padding_mode}'"
        )
    if a.ndim not in (4, 5) or a.ndim != places.ndim:
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but got input with "
            f"sizes {list(a.shape)} and grid with sizes {list(places.shape)}"
        )
    if mode == "bicubic" and a.ndim != 4:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    if a.shape[0] != places.shape[0] or places.shape[-1] != a.ndim - 2:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {a.ndim - 2} in last dimension and input's batch size "
            f"{a.shape[0]}, but got grid with sizes {list(places.shape)}"
        )


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


@samples_for("grid_sample")
def _grid_samples(make: Any) -> Any:
    for mode in ("bilinear", "nearest", "bicubic"):
        for padding_mode in ("zeros", "border", "reflection"):
            for corners in (False, True):
                yield make(
                    "grid_sample",
                    make.uniform((2, 2, 3, 4)),
                    make.uniform((2, 3, 2, 2), -1.4, 1.4),
                    mode,
                    padding_mode,
                    corners,
                    _module="nn.functional",
                )
    yield make(
        "grid_sample",
        make.uniform((1, 2, 3, 2, 4)),
        make.uniform((1, 2, 2, 3, 3), -1.2, 1.2),
        "bilinear",
        "zeros",
        False,
        _module="nn.functional",
    )
    for corners in (False, True):
        yield make("affine_grid", make.uniform((2, 2, 3)), (2, 3, 4, 5), corners, _module="nn.functional")
    yield make("affine_grid", make.uniform((1, 3, 4)), (1, 3, 2, 4, 5), False, _module="nn.functional")
