"""Largest and smallest: max, min, amax, amin, aminmax, argmax, argmin, and the running cummax, cummin."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np

from ..tensor import Tensor, check_dim, wrap
from ._scatter import add_at
from .applying import row_major
from .base import CARDS, Op, apply, composite, expect_tensor, install, op
from .inplace import write_out
from .reductions import axes_of
from .samples import samples_for


def return_type(name: str, fields: str) -> Any:
    """A named tuple that prints as torch's `torch.return_types.<name>`."""

    def __repr__(self: Any) -> str:
        inside = ",\n".join(f"{field}={value!r}" for field, value in zip(self._fields, self))
        return f"torch.return_types.{name}(\n{inside})"

    return type(name, (namedtuple(name, fields),), {"__repr__": __repr__, "__slots__": ()})


# -- reading and writing along a dimension ----------------------------------------------------------------------------


def _along(xp: Any, index: Any, dim: int) -> tuple:
    """Open grids for all dimensions but `dim`, where `index` is: the key that `take_along_axis` builds."""
    key = []
    for i, n in enumerate(index.shape):
        key.append(index if i == dim else xp.arange(n).reshape([-1 if j == i else 1 for j in range(index.ndim)]))
    return tuple(key)


@op("_take_along", function=False, method=False, node="GatherBackward0")
class TakeAlong(Op):
    """`x` read at `index` along `dim`; all other sizes are equal."""

    n, moves, keep, has_aux = 2, True, (1,), True

    @staticmethod
    def forward(xp: Any, x: Any, index: Any, dim: int) -> Any:
        return row_major(xp, x[_along(xp, index, dim)]), x.shape

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return xp._put_along(g, s.inputs[1], s.aux, s.params[0]), None


@op("_put_along", function=False, method=False)
class PutAlong(Op):
    """Zeros of a shape with `x` added at `index` along `dim`: the adjoint of `_take_along`."""

    n, keep = 2, (1,)

    @staticmethod
    def forward(xp: Any, x: Any, index: Any, shape: tuple, dim: int) -> Any:
        out = xp.zeros(shape, x.dtype)
        key = _along(xp, index, dim)
        if index.shape[dim] == 1:
            out[key] = x
        else:
            add_at(xp, out, key, x)
        return out

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return xp._take_along(g, s.inputs[1], s.params[1]), None


# -- the value and its place along one dimension ----------------------------------------------------------------------


class Extreme(Op):
    """Base of max and min along a dimension: values and the index of the first of them."""

    outputs, has_aux = 0, True

    @staticmethod
    def find(x: Any, dim: int) -> Any:
        raise NotImplementedError

    @classmethod
    def forward(cls, xp: Any, x: Any, dim: int, keepdim: bool) -> Any:
        if not x.ndim:
            return [x.copy(), xp.zeros((), np.int64)], (xp.zeros((), np.int64), ())
        at = cls.find(x, dim)
        index = xp.expand_dims(at, dim)
        values = x[_along(xp, index, dim)]
        if not keepdim:
            values = values.reshape(at.shape)
        return [values, index if keepdim else at], (index, x.shape)

    @classmethod
    def backward(cls, xp: Any, s: Any, g: Any) -> tuple:
        (index, shape), (dim, _), g = s.aux, s.params, g[0]
        if not shape:
            return (g,)
        return (xp._put_along(g.reshape(index.shape), index, shape, dim),)


@op("_max_dim", function=False, method=False, node="MaxBackward0")
class MaxDim(Extreme):
    """Largest values along a dimension and their indices."""

    @staticmethod
    def find(x: Any, dim: int) -> Any:
        return x.argmax(dim)


@op("_min_dim", function=False, method=False, node="MinBackward0")
class MinDim(Extreme):
    """Smallest values along a dimension and their indices."""

    @staticmethod
    def find(x: Any, dim: int) -> Any:
        return x.argmin(dim)


def check_not_empty(input: Tensor, dim: int, name: str) -> int:
    """`dim` from the front; torch's IndexError if it has no elements to choose from."""
    d = check_dim(dim, input._array.ndim)
    if input._array.shape and not input._array.shape[d]:
        raise IndexError(f"{name}(): Expected reduction dim {dim} to have non-zero size.")
    return d


# -- the value over any dimensions ------------------------------------------------------------------------------------


def shared_evenly(xp: Any, g: Any, x: Any, value: Any, axes: Any, np_dtype: Any) -> Any:
    """The gradient of a `value` over axes of `x`, for all elements that are equal to it."""
    here = x == value
    return xp.where(here, g / xp.sum(here, axes, True, np_dtype), 0)


class Amount(Op):
    """Base of amax and amin: ties share the gradient evenly."""

    keep, keep_output, has_aux = (0,), True, True

    @classmethod
    def backward(cls, xp: Any, s: Any, g: Any) -> tuple:
        (x,), (axes, _), (np_dtype, kept) = s.inputs, s.params, s.aux
        return (shared_evenly(xp, g.reshape(kept), x, s.output.reshape(kept), axes, np_dtype),)

    @classmethod
    def samples(cls, make: Any) -> Any:
        yield make(cls.name, make.distinct((3, 4)), dim=1)
        yield make(cls.name, make.distinct((3, 4)), 0, keepdim=True)
        yield make(cls.name, make.distinct((2, 3, 4)), dim=(0, 2))
        yield make(cls.name, make.distinct((2, 3, 4)).t())
        yield make(cls.name, make.distinct(()))
        yield make(cls.name, make.ints((3, 4), 0, 9), -1)


def _kept_shape(shape: tuple, axes: tuple | None) -> tuple:
    return tuple([1 if axes is None or i in axes else n for i, n in enumerate(shape)])


def _amount(name: str, reduce: Callable, doc: str) -> Any:
    def forward(xp: Any, x: Any, axes: Any, keepdim: bool) -> Any:
        return reduce(x, axis=axes, keepdims=keepdim), (x.dtype, _kept_shape(x.shape, axes))

    def call(input: Tensor, dim: Any = (), keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
        expect_tensor(input, name)
        axes = axes_of(dim, input._array.ndim) if dim != () else None
        if not input._array.size:
            for d in axes or range(input._array.ndim):
                if axes is None:
                    raise IndexError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
                                     "reduction dim with the 'dim' argument.")
                check_not_empty(input, d, name)
        result = card.apply(input, axes, keepdim)
        return result if out is None else write_out(out, result)

    card: Any = op(name)(type(name.capitalize(), (Amount,), {"__doc__": doc, "forward": staticmethod(forward)}))
    card.call = call
    install(call, name, doc=doc)
    return card


AMAX = _amount("amax", np.max, """The largest element over `dim` (an int, several, or all); ties share the gradient.

    >>> torch.amax(torch.tensor([[1., 5.], [7., 2.]]), dim=1)
    tensor([5., 7.])
    """)
AMIN = _amount("amin", np.min, """The smallest element over `dim` (an int, several, or all); ties share the gradient.

    >>> torch.amin(torch.tensor([[1., 5.], [7., 2.]]), dim=1)
    tensor([1., 2.])
    """)


def _refuse_complex(input: Tensor, name: str) -> None:
    if input._array.dtype.kind == "c":
        raise NotImplementedError(f"{name}(): does not support complex input (\"{name}_all\" not implemented for "
                                  f"'{input.dtype.word}')")


def _both_forms(name: str, dim_card: Any, amount: Any, pairwise: str, doc: str) -> None:
    """`max`: of all elements, along a dimension (values and indices), or of two tensors."""
    kind = return_type(name, "values indices")

    def call(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None, out: Any = None) -> Any:
        expect_tensor(input, name)
        if isinstance(dim, Tensor) or other is not None:
            return CARDS[pairwise].call(input, dim if other is None else other, out=out)
        if dim is None:
            if not input._array.size:
                raise RuntimeError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
                                   "reduction dim with the 'dim' argument.")
            _refuse_complex(input, name)
            result = amount.apply(input, None, False)
            return result if out is None else write_out(out, result)
        _refuse_complex(input, name)
        pair = kind(*apply(dim_card, (input,), (check_not_empty(input, dim, name), keepdim)))
        return pair if out is None else kind(*[write_out(o, r) for o, r in zip(out, pair)])

    install(call, name, doc=doc)

    @samples_for(name)
    def samples(make: Any) -> Any:
        yield make(name, make.distinct((3, 4)))
        yield make(name, make.distinct((3, 4)), 1)
        yield make(name, make.distinct((2, 3, 4)).t(), dim=-2, keepdim=True)
        yield make(name, make.distinct((4,)), 0)
        yield make(name, make.distinct(()), 0)
        yield make(name, make.uniform((3, 4)), make.uniform((4,)))
        yield make(name, make.ints((3, 4), 0, 99), 1)


_both_forms("max", MaxDim, AMAX, "maximum", """The largest element; with `dim` the largest along it and their indices; with
    a second tensor `maximum`.

    Several equal elements share the gradient in the first form; the second form picks one index. RuntimeError (IndexError
    with `dim`) for an empty input.

    >>> values, indices = torch.max(torch.tensor([[1., 5.], [7., 2.]]), dim=1)
    >>> values, indices
    (tensor([5., 7.]), tensor([1, 0]))
    """)
_both_forms("min", MinDim, AMIN, "minimum", """The smallest element; with `dim` the smallest along it and their indices; with
    a second tensor `minimum`.

    Several equal elements share the gradient in the first form; the second form picks one index. RuntimeError (IndexError
    with `dim`) for an empty input.

    >>> values, indices = torch.min(torch.tensor([[1., 5.], [7., 2.]]), dim=1)
    >>> values, indices
    (tensor([1., 2.]), tensor([0, 1]))
    """)


# -- places only ------------------------------------------------------------------------------------------------------


def _place(name: str, doc: str) -> None:
    def forward(xp: Any, x: Any, dim: int | None, keepdim: bool) -> Any:
        return getattr(x, name)(axis=dim, keepdims=keepdim)

    def call(input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
        a = expect_tensor(input, name)._array
        if a.dtype.kind in "bc":
            raise RuntimeError(f"{name}(): does not support {'bool' if a.dtype.kind == 'b' else 'complex'} input")
        if dim is not None:
            dim = check_not_empty(input, dim, name) if a.ndim else check_dim(dim, 0) and None
        elif not a.size:
            raise IndexError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction "
                             "dim with the 'dim' argument.")
        result = wrap(getattr(a, name)(dim) if not keepdim else getattr(a, name)(dim, keepdims=True))
        return result if out is None else write_out(out, result)

    def samples(make: Any) -> Any:
        yield make(name, make.distinct((3, 4)))
        yield make(name, make.distinct((3, 4)), dim=1)
        yield make(name, make.distinct((3, 4)).t(), -2, keepdim=True)
        yield make(name, make.distinct((3, 4)), keepdim=True)
        yield make(name, make.distinct(()), 0)
        yield make(name, make.ints((7,), 0, 3))

    body = {"__doc__": doc, "forward": staticmethod(forward), "differentiable": False, "samples": staticmethod(samples)}
    card: Any = op(name)(type(name.capitalize(), (Op,), body))
    card.call = call
    install(call, name, doc=doc)


_place("argmax", """The index of the largest element (of the flattened tensor), or of the largest along `dim`; the first of
    equal ones.

    >>> torch.argmax(torch.tensor([[1., 5.], [7., 2.]]), dim=1)
    tensor([1, 0])
    """)
_place("argmin", """The index of the smallest element (of the flattened tensor), or of the smallest along `dim`; the first of
    equal ones.

    >>> torch.argmin(torch.tensor([[1., 5.], [7., 2.]]), dim=1)
    tensor([0, 1])
    """)

_AMINMAX = return_type("aminmax", "min max")


@composite("aminmax")
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False, out: Any = None) -> Any:
    """The smallest and the largest element, of all or along `dim`.

    >>> torch.aminmax(torch.tensor([3., 1., 2.]))
    torch.return_types.aminmax(
    min=tensor(1.),
    max=tensor(3.))
    """
    axes = None if dim is None else axes_of(dim, input._array.ndim)
    if not input._array.size:
        raise RuntimeError("aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity.")
    pair = _AMINMAX(apply(AMIN, (input,), (axes, keepdim)), apply(AMAX, (input,), (axes, keepdim)))
    return pair if out is None else _AMINMAX(*[write_out(o, r) for o, r in zip(out, pair)])


@samples_for("aminmax")
def _aminmax_samples(make: Any) -> Any:
    yield make("aminmax", make.distinct((3, 4)))
    yield make("aminmax", make.distinct((3, 4)), dim=1, keepdim=True)
