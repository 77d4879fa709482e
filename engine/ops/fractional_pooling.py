"""Fractional max pooling: windows of one size whose starts lie at random steps (Graham 2014)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .. import backend
from ..tensor import Tensor, wrap
from .base import FUNCTIONS, expect_tensor, install
from .pooling import TakeFlat
from .samples import samples_for


def _starts(xp: Any, sample: Any, size: int, out: int, window: int) -> Any:
    """(planes, out): where the windows of each plane begin, from one number in [0, 1) a plane."""
    starts = xp.empty((len(sample), out), xp.int64)
    if out > 1:
        step = sample.dtype.type(size - window) / sample.dtype.type(out - 1)
        at = (xp.arange(out - 1, dtype=sample.dtype) + sample[:, None]) * step
        starts[:, :-1] = at.astype(xp.int64) - (sample * step).astype(xp.int64)[:, None]
    starts[:, -1:] = size - window
    return starts


def _places(x: Any, samples: Any, out: tuple, kernel: tuple) -> Any:
    """The flat positions of the maxima in the last dimensions, as an array of the output's shape."""
    xp, nd = backend.namespace(x), len(out)
    lead, spatial = x.shape[: x.ndim - nd], x.shape[x.ndim - nd :]
    planes = math.prod(lead)
    samples = samples.reshape(planes, nd)
    columns = samples[:, ::-1] if nd == 2 else samples  # torch draws (W, H) for images and (D, H, W) for volumes
    flat = xp.zeros((planes, *[1] * 2 * nd), xp.int64)
    for i in range(nd):
        where = _starts(xp, columns[:, i], spatial[i], out[i], kernel[i])[:, :, None] + xp.arange(kernel[i])
        shape = [planes, *[1] * 2 * nd]
        shape[1 + i], shape[1 + nd + i] = out[i], kernel[i]
        flat = flat + where.reshape(shape) * math.prod(spatial[i + 1 :])
    flat = flat.reshape(planes, math.prod(out), math.prod(kernel))
    values = x.reshape(planes, 1, -1)[xp.arange(planes)[:, None, None], 0, flat]
    best = values.argmax(-1)
    return xp.take_along_axis(flat, best[..., None], -1).reshape(*lead, *out)


def _sizes(function: str, nd: int, shape: tuple, kernel_size: Any, output_size: Any, output_ratio: Any) -> tuple[tuple, tuple]:
    """(kernel, output) of `nd` numbers each. Errors as torch's."""
    if len(shape) not in (nd + 1, nd + 2):
        raise RuntimeError(f"{function}(): Expected {nd + 1}D or {nd + 2}D tensor, but got: {list(shape)}")
    if output_size is None and output_ratio is None:
        raise ValueError(f"{function} requires specifying either an output_size or an output_ratio")
    spatial = shape[len(shape) - nd :]
    if output_size is None:
        ratio = _tuple(output_ratio, nd)
        output_size = [int(n * r) for n, r in zip(spatial, ratio)]
    kernel, out = _tuple(kernel_size, nd), _tuple(output_size, nd)
    for k, n, size in zip(kernel, out, spatial):
        if n + k - 1 > size:
            raise RuntimeError(f"{function}(): pool size ({k}) too large relative to input size ({size}) for {n} outputs")
    return kernel, out


def _tuple(value: Any, nd: int) -> tuple:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * nd


_DOC = """The maximum of windows of `kernel_size` at random places that cover the last {nd} dimensions (Graham 2014).

    Shapes: (N, C, {dims}) or (C, {dims}); the output has `output_size`, or `output_ratio` (below 1) times the input's.
    `return_indices` gives the flat int64 positions of the maxima too, for max_unpool{nd}d. `_random_samples` (N, C, {nd}) in
    [0, 1) take the place of random numbers. ValueError without a size; RuntimeError where windows do not fit.

    >>> nn.functional.fractional_max_pool{nd}d(torch.ones({ones}), 2, output_size=3).shape
    torch.Size([{shape}])
    """


def _pool_for(nd: int) -> Callable:
    name = f"fractional_max_pool{nd}d"

    def with_indices(input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None,
                     return_indices: bool = False, _random_samples: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = expect_tensor(input, name)
        kernel, out = _sizes(name, nd, tuple(x.shape), kernel_size, output_size, output_ratio)
        if _random_samples is None:
            batch = x.shape[0] if x.ndim == nd + 2 else 1
            _random_samples = FUNCTIONS["rand"](batch, x.shape[-nd - 1], nd, dtype=x.dtype, device=x.device)
        index = _places(x._array, _random_samples._array, out, kernel)
        return TakeFlat.apply(x, index, nd), wrap(index)

    return with_indices


def _install() -> None:
    for nd in (2, 3):
        with_indices = _pool_for(nd)

        def pool(input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None,
                 return_indices: bool = False, _random_samples: Tensor | None = None, *, _both: Callable = with_indices) -> Any:
            found = _both(input, kernel_size, output_size, output_ratio, True, _random_samples)
            return found if return_indices else found[0]

        words = {"nd": nd, "dims": ("H, W", "D, H, W")[nd - 2], "ones": ", ".join(["1", "2"] + ["6"] * nd),
                 "shape": ", ".join(["1", "2"] + ["3"] * nd)}
        pool.__doc__ = _DOC.format(**words)
        with_indices.__doc__ = (
            f"`fractional_max_pool{nd}d` with `return_indices=True`: (maxima, flat int64 positions).\n\n"
            f"    >>> values, index = nn.functional.fractional_max_pool{nd}d_with_indices(torch.ones({words['ones']}), 2, 3)\n"
            f"    >>> values.shape == index.shape\n    True\n    ")
        install(pool, f"fractional_max_pool{nd}d", function=False, method=False, functional=True)
        install(with_indices, f"fractional_max_pool{nd}d_with_indices", function=False, method=False, functional=True)


_install()


@samples_for("fractional_max_pool2d")
def _fractional_samples(make: Any) -> Any:
    def case(shape: tuple, *args: Any, **options: Any) -> Any:
        nd = len(shape) - 2
        drawn = make.uniform((*shape[:2], nd), 0, 1, grad=False)
        return make(f"fractional_max_pool{nd}d", make.distinct(shape), *args, _random_samples=drawn, _half=False,
                    _module="nn.functional", **options)

    yield case((2, 3, 9, 7), 2, output_size=(4, 3))
    yield case((2, 3, 9, 7), (3, 2), output_ratio=(0.5, 0.7))
    yield case((1, 2, 6, 5, 7), 2, output_size=(3, 2, 3))
    yield case((1, 2, 6, 5, 7), (2, 3, 1), output_ratio=0.5)
