"""scatter_reduce: sums, products, means and extrema of what an index sends to the same place."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..tensor import Tensor
from .base import Op, op
from .inplace import with_out
from .scatter import index_key, scatter_add, source_part

__all__ = ["ScatterReduce"]

_REDUCERS = {"sum": "add", "prod": "multiply", "amax": "maximum", "amin": "minimum", "mean": "add"}


@op("scatter_reduce", inplace=True)
class ScatterReduce(Op):
    """As `scatter_add` with another reduction: "sum", "prod", "mean", "amax" or "amin".

    `include_self` says whether the input's own elements take part. The gradient of "amax" and "amin" goes to the winners
    in equal parts.

    >>> torch.scatter_reduce(torch.zeros(2), 0, torch.tensor([0, 0]), torch.tensor([1., 2.]), "amax")
    tensor([2., 0.])
    """

    n = 2
    keep = (0, 1)
    keep_output = True
    has_aux = True  # what the gradient of each element is divided by, where that does not depend on the elements

    @staticmethod
    def forward(xp: Any, x: Any, src: Any, key: tuple, reduce: str, include_self: bool) -> Any:
        out = x.copy()
        count = xp.ones(x.shape, x.dtype) if include_self else xp.zeros(x.shape, x.dtype)
        if not include_self:
            info = np.finfo(x.dtype) if x.dtype.kind == "f" else np.iinfo(x.dtype)
            lowest, highest = (-np.inf, np.inf) if x.dtype.kind == "f" else (info.min, info.max)
            out[key] = {"sum": 0, "mean": 0, "prod": 1, "amax": lowest, "amin": highest}[reduce]
        backend.combine_at(_REDUCERS[reduce], out, key, src)
        if reduce == "mean":
            backend.add_at(count, key, xp.ones_like(src, dtype=count.dtype))
            count = xp.maximum(count, 1)
            out = out / count if x.dtype.kind == "f" else out // count
        return out, count

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        (x, src), (key, reduce, include_self) = s.inputs, s.params
        if reduce in ("amax", "amin"):
            dx, dsrc = _winners_share(xp, g, x, src, s.output, key)
        elif reduce == "prod":
            dx, dsrc = _products_of_the_others(xp, g, x, src, s.output, key, include_self)
        else:
            dx = g if reduce == "sum" else g / s.aux
            dsrc = xp._gather_index(dx, key)
        if not include_self:
            left = backend.namespace(s.params[0][0]).ones(x.shape, bool)
            left[key] = False
            dx = xp.where(left, dx, 0 * dx)
        return dx, dsrc

    @staticmethod
    @with_out
    def call(input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True) -> Tensor:
        if reduce not in _REDUCERS:
            raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}.")
        if reduce == "sum" and include_self:
            return scatter_add(input, dim, index, src)
        whole, _, key = index_key(input, dim, index, "scatter_reduce")
        result = ScatterReduce.apply(whole, source_part(input, src, index), key, reduce, include_self)
        return result if result._array.shape == input._array.shape else result.reshape(input.shape)  # type: ignore[attr-defined]

    @staticmethod
    def samples(make: Any) -> Any:
        for reduce in ("prod", "amax", "amin", "mean", "sum"):
            for own in (True, False):
                yield make("scatter_reduce", make.uniform((3, 4)), 1, make.ints((3, 6), 0, 4), make.uniform((3, 6)), reduce,
                           include_self=own)
        zeros = make.uniform((2, 5))
        zeros.values[0, 1:3] = zeros.values[1, 4] = 0
        yield make("scatter_reduce", make.uniform((2, 3)), 1, make.ints((2, 5), 0, 3), zeros, "prod", _gradgrad=False)


def _winners_share(xp: Any, g: Any, x: Any, src: Any, out: Any, key: tuple) -> tuple:
    """Gradients of a maximum or minimum: to the elements that are it, in equal parts."""
    values, drawn, found = (getattr(t, "_array", t) for t in (x, src, out))
    own, theirs = values == found, drawn == found[key]
    count = own.astype(values.dtype)
    backend.add_at(count, key, theirs.astype(values.dtype))
    share = g / count
    return share * own.astype(values.dtype), xp._gather_index(share, key) * theirs.astype(values.dtype)


def _products_of_the_others(xp: Any, g: Any, x: Any, src: Any, out: Any, key: tuple, include_self: bool) -> tuple:
    """Gradients of a product: that of all the other factors, also where one of them is zero."""
    values, drawn = (getattr(t, "_array", t) for t in (x, src))
    safe = xp.where(values == 0, 0 * x + 1, x)
    dx = g * xp.scatter_reduce(safe, src, key, "prod", include_self) / safe
    zero = drawn == 0
    space = backend.namespace(values)
    zeros = space.zeros(values.shape, np.int64)
    backend.add_at(zeros, key, zero)
    single = zero & (zeros[key] == 1)
    whole = xp.scatter_reduce(x, xp.where(single, 0 * src + 1, src), key, "prod", include_self)
    through = xp._gather_index(g * out, key) / xp.where(zero, 0 * src + 1, src)
    return dx, xp.where(single, xp._gather_index(g * whole, key), through)

