"""Average pooling over sliding windows, and lp_pool, which is made of it."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..gpu.images import AveragePool
from ..tensor import Tensor
from ._blocked import by_rows, is_large
from ._windows import Windows, key, many
from .applying import row_major
from .base import CARDS, FUNCTIONAL, Op, composite, expect_tensor, install, op
from .pooling import along_axes, pool_windows, spread_axes
from .samples import samples_for


@functools.lru_cache(maxsize=1024)
def _divisor(windows: Windows, padding: tuple, include_pad: bool, override: int | None) -> Any:
    """What the sum of each window is divided by: a number, or an array of the output's spatial shape."""
    if override is not None:
        return override
    counts = []
    for n, k, s, p, out in zip(windows.spatial, windows.kernel, windows.stride, padding, windows.out):
        start = np.arange(out) * s - p
        end = np.minimum(start + k, n + p)
        counts.append(end - start if include_pad else np.minimum(end, n) - np.maximum(start, 0))
    total = functools.reduce(np.multiply.outer, counts)
    return int(total.flat[0]) if (total == total.flat[0]).all() else total


def _is_whole(windows: Windows) -> bool:
    """Whether there is one window, the whole image."""
    return windows.kernel == windows.spatial and windows.count == 1 and not windows.is_padded


def _sums(xp: Any, x: Any, windows: Windows) -> Any:
    """The sum of every window; always a new array."""
    if not _is_whole(windows):
        return along_axes(windows.pad(xp, x), windows, xp.add)
    lead = x.shape[: x.ndim - len(windows.out)]
    return x.reshape(*lead, -1).sum(axis=-1).reshape(*lead, *windows.out)


def _spread(xp: Any, g: Any, windows: Windows) -> Any:
    """The adjoint of `_sums`."""
    if not _is_whole(windows):
        return spread_axes(xp, g, windows)
    out = xp.empty((*g.shape[: g.ndim - len(windows.out)], *windows.spatial), g.dtype)
    out[...] = g
    return out


@op("_avg_pool", function=False, method=False, node="AvgPoolBackward0")
class AvgPool(Op):
    """The sum of every window over a divisor (a number or an array of the output's spatial shape)."""

    gpu = AveragePool()

    @staticmethod
    def forward(xp: Any, x: Any, windows: Windows, divisor: Any) -> Any:
        x = row_major(xp, x)
        by = divisor if isinstance(divisor, int) else xp.asarray(divisor, dtype=x.dtype)

        def images(x: Any) -> Any:
            out = _sums(xp, x, windows)
            if x.dtype.kind == "i":
                return xp.trunc(out / by).astype(x.dtype)
            out /= by
            return out

        return by_rows(images, (x,)) if is_large(x) else images(x)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._avg_pool_grad(g, *s.params),)


@op("_avg_pool_grad", function=False, method=False, node="AvgPoolBackwardBackward0")
class AvgPoolGrad(Op):
    """The adjoint of `_avg_pool`."""

    @staticmethod
    def forward(xp: Any, g: Any, windows: Windows, divisor: Any) -> Any:
        by = divisor if isinstance(divisor, int) else xp.asarray(divisor, dtype=g.dtype)

        def images(g: Any) -> Any:
            return _spread(xp, g / by, windows)

        return by_rows(images, (g,)) if is_large(g) or _is_whole(windows) else images(g)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._avg_pool(g, *s.params),)


def _avg_pool(
    function: str,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    include_pad: bool,
    override: int | None,
) -> Tensor:
    a = expect_tensor(input, function)._array
    if a.dtype.kind not in "fV" and a.dtype != np.int64:
        raise RuntimeError(f'"{function}" not implemented for {input.dtype}: expected a floating dtype')
    if override == 0:
        raise RuntimeError("divisor must be not zero")
    windows = pool_windows(function, a.shape, key(kernel_size), key(stride), key(padding), 1, bool(ceil_mode))
    pads = tuple([low for low, _ in windows.pads])
    return AvgPool.apply(input, windows, _divisor(windows, pads, bool(include_pad), override))


_AVG_DOC = """The mean of every window of the last {nd} dimension{s}; `stride` defaults to `kernel_size`.

    Shape (N, C, {dims}) or (C, {dims}). Zeros of the `padding` count as elements with `count_include_pad`; with
    `ceil_mode` a last window may reach over the end{override}. RuntimeError for sizes that do not fit.

    >>> x = torch.arange({count}.).reshape(1, 1, {sizes})
    >>> nn.functional.avg_pool{nd}d(x, 2).flatten()
    tensor([{mean}])
    """


def _install_avg_pools() -> None:
    def avg_pool1d(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> Tensor:
        return _avg_pool("avg_pool1d", input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)

    def avg_pool2d(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Tensor:
        return _avg_pool(
            "avg_pool2d", input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        )

    def avg_pool3d(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Tensor:
        return _avg_pool(
            "avg_pool3d", input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        )

    for nd, fn in ((1, avg_pool1d), (2, avg_pool2d), (3, avg_pool3d)):
        fn.__doc__ = _AVG_DOC.format(
            nd=nd,
            s="s" if nd > 1 else "",
            dims=("L", "H, W", "D, H, W")[nd - 1],
            count=2**nd,
            mean=("0.5000", "1.5000", "3.5000")[nd - 1],
            sizes=", ".join(["2"] * nd),
            override="; `divisor_override` replaces the divisor" if nd > 1 else "",
        )
        install(fn, f"avg_pool{nd}d", function=nd == 1, method=False, functional=True)


def _lp_pool(pool: str, input: Tensor, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool) -> Tensor:
    count = math.prod(many(kernel_size, int(pool[-2]), "kernel_size", pool))
    mean = FUNCTIONAL[pool](input.pow(norm_type), kernel_size, stride, 0, ceil_mode)  # type: ignore[attr-defined]
    size = CARDS["relu"].call(mean.abs())  # its gradient at 0 is 0, where that of the root is infinite
    return (mean.sign() * size * count).pow(1.0 / norm_type)


@composite("lp_pool1d", function=False, method=False, functional=True)
def lp_pool1d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """The p-norm of every window: the p-th root of the sum of p-th powers, p = `norm_type`. Shape (N, C, L) or (C, L).

    >>> nn.functional.lp_pool1d(torch.tensor([[3., 4.]]), 2, 2)
    tensor([[5.]])
    """
    return _lp_pool("avg_pool1d", input, norm_type, kernel_size, stride, ceil_mode)


@composite("lp_pool2d", function=False, method=False, functional=True)
def lp_pool2d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """The p-norm of every window: the p-th root of the sum of p-th powers, p = `norm_type`. Shape (N, C, H, W).

    >>> nn.functional.lp_pool2d(torch.tensor([[[3., 4.]]]), 2, (1, 2))
    tensor([[[5.]]])
    """
    return _lp_pool("avg_pool2d", input, norm_type, kernel_size, stride, ceil_mode)


@composite("lp_pool3d", function=False, method=False, functional=True)
def lp_pool3d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """The p-norm of every window: the p-th root of the sum of p-th powers, p = `norm_type`. Shape (N, C, D, H, W).

    >>> nn.functional.lp_pool3d(torch.tensor([[[[3., 4.]]]]), 2, (1, 1, 2))
    tensor([[[[5.]]]])
    """
    return _lp_pool("avg_pool3d", input, norm_type, kernel_size, stride, ceil_mode)


_install_avg_pools()


@samples_for("avg_pool2d")
def _samples(make: Any) -> Any:
    def case(name: str, shape: tuple, *args: Any, **options: Any) -> Any:
        return make(name, make.uniform(shape, 0.2, 2), *args, _module="nn.functional", **options)

    yield case("avg_pool1d", (2, 2, 5), 2)
    yield case("avg_pool1d", (2, 6), 3, 2, 1, count_include_pad=False)
    yield case("avg_pool2d", (2, 2, 5, 6), 2)
    yield case("avg_pool2d", (2, 5, 6), (3, 2), (2, 1), (1, 0), ceil_mode=True)
    yield case("avg_pool2d", (2, 5, 6), 3, 2, 1, True, False)
    yield case("avg_pool2d", (1, 2, 5, 6), 2, divisor_override=3)
    yield case("avg_pool3d", (1, 2, 4, 3, 5), 2, ceil_mode=True, padding=1)
    yield case("lp_pool1d", (2, 2, 5), 2, 2)
    yield case("lp_pool2d", (2, 2, 5, 4), 3.0, 2, 1)
