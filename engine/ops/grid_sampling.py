"""Sampling images at given places: grid_sample, and affine_grid, which makes the places.

A sample is a weighted sum of a few elements of the image (1, 2**dimensions or 16), so the card is that sum: `Sampled`, linear
in the image and in the weights. The weights come from the grid by ordinary operators, on arrays without channels.
"""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import numpy as np

from .. import backend
from ..pool import LARGE
from ..tensor import Tensor, wrap
from ._blocked import run_blocks
from ._scatter import add_rows
from ._spacing import linspace_values
from .base import CARDS, Op, composite, expect_tensor, op
from .interpolation import cubic_weights
from .samples import samples_for


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
        raise ValueError(
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


# -- weighted sums of elements ----------------------------------------------------------------------------------------


def _images(xp: Any, fn: Any, n: int, work: int) -> list:
    """`fn(i)` for every image, large work on the pool."""
    return run_blocks(fn, n, work >= LARGE) if xp is np else [fn(i) for i in range(n)]


def _pixels(xp: Any, image: Any) -> Any:
    """(places, channels) of a (channels, ...) image: what is taken together lies together."""
    return xp.ascontiguousarray(image.reshape(len(image), -1).T)


@op("_sampled", function=False, method=False, node="GridSampler2DBackward0")
class Sampled(Op):
    """Sums over k of `weight[n, k, p] * image[n, :, index[n, k, p]]`, as (N, C, P); `index` is flat in the image."""

    n, keep, has_aux = 2, (0, 1), True

    @staticmethod
    def forward(xp: Any, x: Any, weight: Any, index: Any) -> Any:
        out = xp.empty((*x.shape[:2], weight.shape[2]), x.dtype)

        def run(i: int) -> None:
            pixels = _pixels(xp, x[i])
            total: Any = None
            for w, places in zip(weight[i], index[i]):
                part = pixels.take(places, 0)
                part *= w[:, None]
                total = part if total is None else xp.add(total, part, out=total)
            out[i] = total.T

        _images(xp, run, len(x), out.size)
        return out, x.shape

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        (x, weight), index = s.inputs, s.params[0]
        return (xp._sampled_image(g, weight, index, s.aux) if s.needs[0] else None,
                xp._sampled_weight(g, x, index) if s.needs[1] else None)


@op("_sampled_image", function=False, method=False, node="GridSampler2DBackwardBackward0")
class SampledImage(Op):
    """The adjoint of `_sampled` in the image: `g` (N, C, P) times the weights, added where it was taken."""

    n, keep = 2, (0, 1)

    @staticmethod
    def forward(xp: Any, g: Any, weight: Any, index: Any, shape: tuple) -> Any:
        out = xp.empty(shape, g.dtype)

        def run(i: int) -> None:
            values, pixels = _pixels(xp, g[i]), xp.zeros((math.prod(shape[2:]), shape[1]), g.dtype)
            for w, places in zip(weight[i], index[i]):
                add_rows(xp, pixels, places, values * w[:, None])
            out[i] = pixels.T.reshape(shape[1:])

        _images(xp, run, len(g), g.size)
        return out

    @staticmethod
    def backward(xp: Any, s: Any, gg: Any) -> tuple:
        (g, weight), index = s.inputs, s.params[0]
        return (xp._sampled(gg, weight, index) if s.needs[0] else None,
                xp._sampled_weight(g, gg, index) if s.needs[1] else None)


@op("_sampled_weight", function=False, method=False, node="GridSampler2DBackwardBackward0")
class SampledWeight(Op):
    """The adjoint of `_sampled` in the weights: sums over the channels of `g` times what was taken."""

    n, keep, has_aux = 2, (0, 1), True

    @staticmethod
    def forward(xp: Any, g: Any, x: Any, index: Any) -> Any:
        out = xp.empty(index.shape, g.dtype)

        def run(i: int) -> None:
            values, pixels = _pixels(xp, g[i]), _pixels(xp, x[i])
            for k, places in enumerate(index[i]):
                out[i, k] = xp.einsum("pc,pc->p", values, pixels.take(places, 0))

        _images(xp, run, len(g), g.size)
        return out, x.shape

    @staticmethod
    def backward(xp: Any, s: Any, gw: Any) -> tuple:
        (g, x), index = s.inputs, s.params[0]
        return (xp._sampled(x, gw, index) if s.needs[0] else None,
                xp._sampled_image(g, gw, index, s.aux) if s.needs[1] else None)


# -- where the elements are -------------------------------------------------------------------------------------------


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
    spatial = a.shape[2:]
    taps = {"nearest": _nearest_taps, "bilinear": _linear_taps, "bicubic": _cubic_taps}[mode]
    index, weights = taps(grid, spatial, padding_mode, bool(align_corners))
    n, samples = len(a), math.prod(places.shape[1:-1])
    stack = [w.reshape(n, 1, samples) for w in weights]
    weight = stack[0] if len(stack) == 1 else CARDS["_join"].apply(stack, 1)
    xp = backend.namespace(a)
    flat = xp.stack([i.reshape(n, samples) for i in index], 1)
    out = Sampled.apply(input, weight.to(input.dtype), flat)
    return out.reshape(*a.shape[:2], *places.shape[1:-1])  # type: ignore[attr-defined]


def _nearest_taps(grid: Tensor, spatial: tuple, padding_mode: str, align_corners: bool) -> tuple[list, list]:
    """(flat indices, weights) of the samples of every place: the nearest element, 0 if it is outside."""
    xp, nd = backend.namespace(grid._array), len(spatial)
    axes = [_pixel(grid[..., nd - 1 - i], n, padding_mode, align_corners) for i, n in enumerate(spatial)]  # type: ignore[index]
    index, inside = _flat_index(xp, [xp.rint(p._array) for p in axes], spatial)
    return [index], [wrap(inside.astype(grid._array.dtype))]


def _linear_taps(grid: Tensor, spatial: tuple, padding_mode: str, align_corners: bool) -> tuple[list, list]:
    """(flat indices, weights) of the corners of the cell around every place."""
    xp, nd = backend.namespace(grid._array), len(spatial)
    axes = [_pixel(grid[..., nd - 1 - i], n, padding_mode, align_corners) for i, n in enumerate(spatial)]  # type: ignore[index]
    lows = [xp.floor(p._array) for p in axes]
    parts = [p - wrap(low) for p, low in zip(axes, lows)]  # type: ignore[operator]
    indices, weights = [], []
    for bits in itertools.product((0, 1), repeat=nd):
        index, inside = _flat_index(xp, [low + bit for low, bit in zip(lows, bits)], spatial)
        weight: Any = wrap(inside.astype(grid._array.dtype))
        for part, bit in zip(parts, bits):
            weight = weight * (part if bit else 1 - part)
        indices.append(index)
        weights.append(weight)
    return indices, weights


def _cubic_taps(grid: Tensor, spatial: tuple, padding_mode: str, align_corners: bool) -> tuple[list, list]:
    """(flat indices, weights) of the 4 x 4 neighbours; those outside of the image are padded one by one."""
    xp = backend.namespace(grid._array)
    axes = [_unnormalised(grid[..., 1 - i], n, align_corners) for i, n in enumerate(spatial)]  # type: ignore[index]
    lows = [xp.floor(p._array) for p in axes]
    factors = [cubic_weights(p - wrap(low)) for p, low in zip(axes, lows)]  # type: ignore[operator]
    indices, weights = [], []
    for steps in itertools.product(range(4), repeat=2):
        places = [low + step - 1 for low, step in zip(lows, steps)]
        if padding_mode != "zeros":
            fold = padding_mode == "reflection"
            places = [xp.clip(_reflected(wrap(c), n, align_corners)._array if fold else c, 0, n - 1)
                      for c, n in zip(places, spatial)]
        index, inside = _flat_index(xp, places, spatial)
        indices.append(index)
        weights.append(factors[0][steps[0]] * factors[1][steps[1]] * wrap(inside.astype(grid._array.dtype)))
    return indices, weights


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
