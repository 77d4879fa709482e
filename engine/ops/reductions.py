"""Sums and means over dimensions, and what follows from them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend, dtypes
from ..gpu.reductions import Average, Total, total
from ..pool import LARGE
from ..tensor import Tensor, check_dim
from ._blocked import sum_over
from .applying import row_major
from .base import Op, expect_tensor, op
from .casting import casting, in_full
from .inplace import write_out


def axes_of(dim: Any, ndim: int) -> tuple | None:
    """`dim` (None, an int or several) as a tuple of axes; None for all. RuntimeError on repeats."""
    if dim is None:
        return None
    if isinstance(dim, int):
        axis = check_dim(dim, ndim)
        return (axis,) if ndim else None
    axes = tuple([check_dim(d, ndim) for d in dim])
    if len(set(axes)) != len(axes):
        raise RuntimeError(f"dim {next(a for a in axes if axes.count(a) > 1)} appears multiple times in the list of dims")
    return (axes or None) if ndim else None


def keep_dims(shape: tuple, axes: tuple | None) -> tuple:
    """A reduced shape with 1 in the reduced places, for broadcasting back."""
    return tuple([1 if axes is None or i in axes else n for i, n in enumerate(shape)])


def count_of(shape: tuple, axes: tuple | None) -> int:
    """The number of elements that go into each result."""
    n = 1
    for i, size in enumerate(shape):
        if axes is None or i in axes:
            n *= size
    return n


@op("_spread", function=False, method=False)
class Spread(Op):
    """A reduced array repeated along the reduced dimensions: the adjoint of a sum. Small results are written out, since
    NumPy's `broadcast_to` costs more than the copy; large ones are views."""

    moves = True

    @staticmethod
    def forward(xp: Any, x: Any, shape: tuple, axes: tuple | None, keepdim: bool) -> Any:
        if not keepdim and axes is not None:
            x = x.reshape(keep_dims(shape, axes))
        if x.size and xp is np and math.prod(shape) <= _SMALL:
            out = np.empty(shape, x.dtype)
            out[...] = x
            return out
        return xp.broadcast_to(x, shape)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        _, axes, keepdim = s.params
        return (xp.sum(g, axes, keepdim, None),)


_SMALL = 1 << 15
_add_reduce: Any = np.add.reduce


def add_up(xp: Any, x: Any, axes: Any, keepdim: bool, np_dtype: Any = None) -> Any:
    """The sum; NumPy's ufunc is called directly because `ndarray.sum` spends longer on its way there than on small arrays."""
    if xp is np:
        if x.size >= LARGE and np_dtype is None:
            return sum_over(x, axes if axes is None or type(axes) is tuple else (axes,), keepdim)
        return _add_reduce(x, axes, np_dtype, None, keepdim)
    if np_dtype is None and backend.is_on_device(x) and (fused := total(x, axes, keepdim)) is not NotImplemented:
        return fused
    return x.sum(axis=axes, keepdims=keepdim, dtype=np_dtype)


@op("sum")
class Sum(Op):
    """The sum over all elements or over `dim`. Integers and bools are summed in int64; `dtype` casts first.

    >>> torch.sum(torch.tensor([[1., 2.], [3., 4.]]), dim=0)
    tensor([4., 6.])
    """

    has_aux = True
    gpu = Total()

    @staticmethod
    def forward(xp: Any, x: Any, axes: Any, keepdim: bool, np_dtype: Any) -> Any:
        return row_major(xp, add_up(xp, x, axes, keepdim, np_dtype)), x.shape

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        axes, keepdim, _ = s.params
        return (xp._spread(g, s.aux, axes, keepdim),)

    @staticmethod
    def call(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Tensor | None = None,
             axis: Any = None, keepdims: bool = False) -> Tensor:
        expect_tensor(input, "sum")
        d = None
        if dtype is not None:
            input = input.to(dtypes.as_dtype(dtype))  # type: ignore[attr-defined]
        elif casting.on:
            input = in_full(input)
        if input._array.dtype.kind in "iub":
            d = dtypes.int64.np if dtype is None else input._array.dtype
        dim = axis if dim is None else dim
        axes = None if dim is None else axes_of(dim, input._array.ndim)
        result = Sum.apply(input, axes, keepdim or keepdims, d)
        return result if out is None else write_out(out, result)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("sum", make.uniform((3, 4), -1, 1))
        yield make("sum", make.uniform((3, 4), -1, 1), dim=1)
        yield make("sum", make.uniform((2, 3, 4), -1, 1), dim=(0, -1), keepdim=True)
        yield make("sum", make.uniform((2, 3, 4), -1, 1).t(), 1)
        yield make("sum", make.uniform((0, 3), -1, 1), dim=0)
        yield make("sum", make.uniform((3, 4), -1, 1), dim=())
        yield make("sum", make.uniform((), -1, 1))
        yield make("sum", make.ints((3,), 0, 9))
        yield make("sum", make.bools((3, 4)), 0)
        yield make("sum", make.uniform((3,), -9, 9), dtype=dtypes.float64)


def check_mean_dtype(input: Tensor, name: str) -> None:
    """torch's refusal of integers without `dtype=`."""
    kind = input._array.dtype.kind
    if kind in "iub":
        raise RuntimeError(f"{name}(): could not infer output dtype. Input dtype must be either a floating point or complex "
                           f"dtype. Got: {input.dtype.word}")


@op("mean")
class Mean(Op):
    """The mean over all elements or over `dim`; `dtype` casts first. RuntimeError for integers without `dtype`.

    >>> torch.mean(torch.tensor([[1., 2.], [3., 4.]]), dim=0)
    tensor([2., 3.])
    """

    has_aux = True  # (input shape, elements per result)
    gpu = Average()

    @staticmethod
    def forward(xp: Any, x: Any, axes: Any, keepdim: bool) -> Any:
        n = x.size if axes is None else count_of(x.shape, axes)
        total = add_up(xp, x, axes, keepdim)
        return row_major(xp, total / n), (x.shape, n)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        shape, n = s.aux
        return (xp._spread(g / (n or 1), shape, *s.params),)

    @staticmethod
    def call(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Tensor | None = None,
             axis: Any = None, keepdims: bool = False) -> Tensor:
        expect_tensor(input, "mean")
        if dtype is not None:
            input = input.to(dtypes.as_dtype(dtype))  # type: ignore[attr-defined]
        if input._array.dtype.kind in "iub":
            check_mean_dtype(input, "mean")
        dim = axis if dim is None else dim
        axes = None if dim is None else axes_of(dim, input._array.ndim)
        result = Mean.apply(input, axes, keepdim or keepdims)
        return result if out is None else write_out(out, result)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("mean", make.uniform((3, 4), -1, 1))
        yield make("mean", make.uniform((3, 4), -1, 1), dim=1)
        yield make("mean", make.uniform((2, 3, 4), -1, 1), dim=(0, -1), keepdim=True)
        yield make("mean", make.uniform((2, 3, 4), -1, 1).t(), -1)
        yield make("mean", make.uniform((0, 3), -1, 1), dim=1)
        yield make("mean", make.uniform((), -1, 1))
        yield make("mean", make.ints((3,), 0, 9), dtype=dtypes.float64)
