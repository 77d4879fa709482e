"""Sums and means over dimensions, and what follows from them."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..tensor import Tensor, check_dim
from .base import Op, expect_tensor, op, write_out


def axes_of(dim: Any, ndim: int) -> tuple | None:
    """`dim` (None, an int or several) as a tuple of axes; None for all. RuntimeError on repeats."""
    if dim is None:
        return None
    if isinstance(dim, int):
        return (check_dim(dim, ndim),) if ndim else None
    axes = tuple([check_dim(d, ndim) for d in dim])
    if len(set(axes)) != len(axes):
        raise RuntimeError(f"dim {next(a for a in axes if axes.count(a) > 1)} appears multiple times in the list of dims")
    return (axes or None) if ndim else None


def keep_dims(shape: tuple, axes: tuple | None) -> tuple:
    """A reduced shape with 1 in the reduced places, for broadcasting back."""
    return tuple([1 if axes is None or i in axes else n for i, n in enumerate(shape)])


@op("sum")
class Sum(Op):
    """The sum over all elements or over `dim`. Integers and bools are summed in int64; `dtype` casts first.

    >>> torch.sum(torch.tensor([[1., 2.], [3., 4.]]), dim=0)
    tensor([4., 6.])
    """

    has_aux = True

    @staticmethod
    def forward(xp: Any, x: Any, axes: Any, keepdim: bool, np_dtype: Any) -> Any:
        return x.sum(axis=axes, keepdims=keepdim, dtype=np_dtype), x.shape

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        axes, keepdim, _ = s.params
        return (xp.expand(g if keepdim else xp._reshape(g, keep_dims(s.aux, axes)), s.aux),)

    @staticmethod
    def call(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Tensor | None = None,
             axis: Any = None, keepdims: bool = False) -> Tensor:
        expect_tensor(input, "sum")
        d = None
        if dtype is not None:
            input, d = input.to(dtypes.as_dtype(dtype)), None  # type: ignore[attr-defined]
        if input._array.dtype.kind in "iub":
            d = dtypes.int64.np if dtype is None else input._array.dtype
        dim = axis if dim is None else dim
        result = Sum.apply(input, axes_of(dim, input._array.ndim), keepdim or keepdims, d)
        return result if out is None else write_out(out, result)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("sum", make.uniform((3, 4), -1, 1))
        yield make("sum", make.uniform((3, 4), -1, 1), dim=1)
        yield make("sum", make.uniform((2, 3, 4), -1, 1), dim=(0, -1), keepdim=True)
        yield make("sum", make.uniform((0, 3), -1, 1), dim=0)
        yield make("sum", make.uniform((), -1, 1))
        yield make("sum", make.ints((3,), 0, 9))
