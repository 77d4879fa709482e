"""Adaptive pooling: of m windows over n elements, number j reaches from floor(j n / m) to ceil((j + 1) n / m)."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ..gpu.images import AdaptiveAveragePool
from ..tensor import Tensor
from ._blocked import LARGE, by_rows, is_large
from ._windows import windows_of
from .average_pooling import AvgPool
from .base import FUNCTIONAL, Op, expect_tensor, install, op
from .pooling import TakeFlat
from .samples import samples_for


def _bounds(n: int, m: int) -> list[tuple[int, int]]:
    """Where each of m windows over n elements begins and ends."""
    return [(j * n // m, -(-(j + 1) * n // m)) for j in range(m)]


def _means(xp: Any, x: Any, out: tuple) -> Any:
    """Means over windows, to sizes `out`, one dimension after the other."""
    for i, m in enumerate(out):
        axis = x.ndim - len(out) + i
        means = xp.empty((*x.shape[:axis], m, *x.shape[axis + 1 :]), x.dtype)
        after = (slice(None),) * (len(out) - 1 - i)
        for j, (lo, hi) in enumerate(_bounds(x.shape[axis], m)):
            total = means[(..., j, *after)]
            xp.copyto(total, x[(..., lo, *after)])
            for k in range(lo + 1, hi):  # windows are short, and adding slices is faster than reducing them
                total += x[(..., k, *after)]
            total /= hi - lo
        x = means
    return x


def _spread(xp: Any, g: Any, spatial: tuple) -> Any:
    """The adjoint of `_means`, to sizes `spatial`."""
    nd = len(spatial)
    for i in reversed(range(nd)):
        axis = g.ndim - nd + i
        wide = xp.zeros((*g.shape[:axis], spatial[i], *g.shape[axis + 1 :]), g.dtype)
        for j, (lo, hi) in enumerate(_bounds(spatial[i], g.shape[axis])):
            after = (slice(None),) * (nd - 1 - i)
            region = wide[(..., slice(lo, hi), *after)]
            region += g[(..., slice(j, j + 1), *after)] / (hi - lo)
        g = wide
    return g


@op("_adaptive_avg_pool", function=False, method=False)
class AdaptiveAvgPool(Op):
    """Means over windows that differ in size, one dimension after the other, to sizes `out`."""

    has_aux = True
    gpu = AdaptiveAveragePool()

    @staticmethod
    def forward(xp: Any, x: Any, out: tuple) -> Any:
        spatial = x.shape[x.ndim - len(out) :]
        pooled = by_rows(lambda x: _means(xp, x, out), (x,)) if is_large(x) and x.ndim > len(out) else _means(xp, x, out)
        return pooled, spatial

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._adaptive_avg_pool_grad(g, s.aux),)


@op("_adaptive_avg_pool_grad", function=False, method=False)
class AdaptiveAvgPoolGrad(Op):
    """The adjoint of `_adaptive_avg_pool`, to an input of sizes `spatial`."""

    has_aux = True

    @staticmethod
    def forward(xp: Any, g: Any, spatial: tuple) -> Any:
        nd = len(spatial)
        large = type(g) is np.ndarray and g.size // max(math.prod(g.shape[-nd:]), 1) * math.prod(spatial) >= LARGE
        wide = by_rows(lambda g: _spread(xp, g, spatial), (g,)) if large and g.ndim > nd else _spread(xp, g, spatial)
        return wide, g.shape[g.ndim - nd :]

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._adaptive_avg_pool(g, s.aux),)


@op("_adaptive_max_indices", function=False, method=False)
class AdaptiveMaxIndices(Op):
    """Flat indices (over the last dimensions) of the maxima of adaptive windows: int64, the first of equals."""

    differentiable = False

    @staticmethod
    def forward(xp: Any, x: Any, out: tuple) -> Any:
        nd = len(out)
        spatial = x.shape[x.ndim - nd :]
        steps = [math.prod(spatial[i + 1 :]) for i in range(nd)]
        lead = x.shape[: x.ndim - nd]
        index = xp.empty((*lead, *out), xp.int64)
        for cell in itertools.product(*[enumerate(_bounds(n, m)) for n, m in zip(spatial, out)]):
            window = x[(..., *[slice(lo, hi) for _, (lo, hi) in cell])]
            local = window.reshape(*lead, -1).argmax(-1)
            flat = sum(lo * step for (_, (lo, _)), step in zip(cell, steps))
            for size, step in zip(reversed(window.shape[len(lead) :]), reversed(steps)):
                flat = flat + local % size * step
                local = local // size
            index[(..., *[j for j, _ in cell])] = flat
        return index


def _sizes(function: str, input: Any, output_size: Any) -> tuple:
    """The output's sizes; None keeps the input's. RuntimeError for wrong dimensions."""
    nd = int(function[-2])
    shape = expect_tensor(input, function)._array.shape
    if len(shape) not in (nd + 1, nd + 2) or 0 in shape[-nd:]:
        raise RuntimeError(
            f"{function}(): Expected {nd + 1}D or {nd + 2}D tensor with non-zero sizes of all non-batch dimensions, "
            f"but got {list(shape)}"
        )
    wanted = (output_size,) * nd if output_size is None or isinstance(output_size, int) else tuple(output_size)
    if len(wanted) == 1:
        wanted = wanted * nd
    if len(wanted) != nd:
        raise RuntimeError(f"{function}(): output_size must have {nd} elements, got {list(wanted)}")
    out = tuple([n if m is None else m for n, m in zip(shape[-nd:], wanted)])
    if any(m < 0 for m in out):
        raise RuntimeError(
            f"{function}(): elements of output_size must be greater than or equal to 0, but got {list(out)}"
        )
    return out


def _avg(function: str, input: Tensor, output_size: Any) -> Tensor:
    out = _sizes(function, input, output_size)
    spatial = input._array.shape[-len(out) :]
    if 0 in out or any(n % m for n, m in zip(spatial, out)):
        return AdaptiveAvgPool.apply(input, out)
    kernel = tuple([n // m for n, m in zip(spatial, out)])  # all windows are alike: ordinary pooling
    windows = windows_of(spatial, kernel, kernel, ((0, 0),) * len(out), (1,) * len(out))
    return AvgPool.apply(input, windows, math.prod(kernel))


def _max(function: str, input: Tensor, output_size: Any, return_indices: bool) -> Any:
    out = _sizes(function, input, output_size)
    spatial = input._array.shape[-len(out) :]
    if 0 not in out and not any(n % m for n, m in zip(spatial, out)):
        kernel = tuple([n // m for n, m in zip(spatial, out)])
        return FUNCTIONAL[function.replace("adaptive_", "")](input, kernel, return_indices=return_indices)
    index = AdaptiveMaxIndices.apply(input, out)
    best = TakeFlat.apply(input, index._array, len(out))
    return (best, index) if return_indices else best


_DOC = """The {what} of each of `output_size` windows that together cover the last {nd} dimension{s}.

    Shape (N, C, {dims}) or (C, {dims}); `output_size` an int or {nd} of them, None keeps a size.{more}
    RuntimeError for other shapes.

    >>> nn.functional.adaptive_{kind}_pool{nd}d(torch.arange({count}.).reshape({sizes}), 1).flatten()
    tensor([{result}])
    """


def _install() -> None:
    for nd in (1, 2, 3):

        def avg(input: Tensor, output_size: Any, *, _nd: int = nd) -> Tensor:
            return _avg(f"adaptive_avg_pool{_nd}d", input, output_size)

        def best(input: Tensor, output_size: Any, return_indices: bool = False, *, _nd: int = nd) -> Any:
            return _max(f"adaptive_max_pool{_nd}d", input, output_size, return_indices)

        def best_and_where(input: Tensor, output_size: Any, return_indices: bool = False, *, _nd: int = nd) -> Any:
            return _max(f"adaptive_max_pool{_nd}d", input, output_size, True)

        words = {
            "nd": nd,
            "s": "s" if nd > 1 else "",
            "dims": ("L", "H, W", "D, H, W")[nd - 1],
            "count": 2**nd,
            "sizes": ", ".join(["1", *["2"] * nd]),
        }
        avg.__doc__ = _DOC.format(
            **words, what="mean", kind="avg", more="", result=("0.5000", "1.5000", "3.5000")[nd - 1]
        )
        best.__doc__ = _DOC.format(
            **words,
            what="maximum",
            kind="max",
            result=f"{2**nd - 1}.",
            more=" `return_indices` gives (maxima, flat int64 indices).",
        )
        install(avg, f"adaptive_avg_pool{nd}d", function=nd == 1, method=False, functional=True)
        best_and_where.__doc__ = f"`adaptive_max_pool{nd}d` with indices: (maxima, flat int64 indices)."
        install(best, f"adaptive_max_pool{nd}d", function=False, method=False, functional=True)
        install(best_and_where, f"adaptive_max_pool{nd}d_with_indices", function=False, method=False, functional=True)


_install()


@samples_for("adaptive_avg_pool2d")
def _samples(make: Any) -> Any:
    def case(name: str, shape: tuple, size: Any, **options: Any) -> Any:
        return make(name, make.distinct(shape), size, _module="nn.functional", **options)

    yield case("adaptive_avg_pool1d", (2, 3, 7), 3)
    yield case("adaptive_avg_pool2d", (2, 2, 5, 6), (2, 4))
    yield case("adaptive_avg_pool2d", (2, 4, 6), 2)
    yield case("adaptive_avg_pool2d", (2, 2, 3, 3), (None, 1))
    yield case("adaptive_avg_pool3d", (1, 2, 3, 4, 5), 2)
    yield case("adaptive_max_pool1d", (2, 3, 7), 3)
    yield case("adaptive_max_pool2d", (2, 2, 5, 6), (2, 4), return_indices=True)
    yield case("adaptive_max_pool2d", (2, 4, 6), 2, return_indices=True)
    yield case("adaptive_max_pool3d", (1, 2, 3, 4, 5), 2)
