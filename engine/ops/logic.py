"""Boolean and bitwise logic: logical_*, bitwise_*, the operators & | ^ ~ << >>, all and any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import backend
from ..tensor import Tensor
from .base import Op, apply, expect_tensor, op
from .inplace import write_out
from .pointwise import _binary_slow, explain_broadcast
from .reductions import axes_of


class Logic(Op):
    """Base of two-input logic: broadcasting, no gradient."""

    n, promote, differentiable = 2, True, False

    @classmethod
    def explain(cls, error: Exception, tensors: Any, params: Any) -> Exception:
        if isinstance(error, TypeError):
            return NotImplementedError(f"{cls.name}(): not implemented for {_dtype_of(tensors)}; expected integer or bool "
                                       "tensors")
        return explain_broadcast(tensors)

    @classmethod
    def samples(cls, make: Any) -> Any:
        low = 0 if "shift" in cls.name else -5
        yield make(cls.name, make.ints((3, 4), low, 5), make.ints((4,), low, 5))
        yield make(cls.name, make.ints((3, 4), 0, 5).t(), make.ints((3,), 0, 5))
        if "shift" not in cls.name:
            yield make(cls.name, make.bools((3, 4)), make.bools((4,)))
        if cls.name.startswith("logical"):
            yield make(cls.name, make.ints((4,), 0, 2), make.uniform((4,)))
        else:
            yield make(cls.name, make.ints((4,), 0, 9), 3)


def _dtype_of(tensors: Any) -> str:
    return " and ".join(str(t.dtype) for t in tensors if isinstance(t, Tensor) and t._array.dtype.kind not in "iub")


def _pair(name: str, alias: str, ufunc: Any, doc: str, swapped: str = "", inplace: str = "") -> None:
    def call(input: Any, other: Any, *, out: Tensor | None = None) -> Tensor:
        return _binary_slow(card, input, other, out, False)

    def method(input: Tensor, other: Any) -> Any:
        return _binary_slow(card, input, other, None, True)

    body = {"__doc__": doc, "forward": staticmethod(lambda xp, a, b: ufunc(a, b)), "call": staticmethod(call)}
    card: Any = op(name, inplace=True)(type(name.title().replace("_", ""), (Logic,), body))
    if alias:
        setattr(Tensor, alias, method)
        setattr(Tensor, alias.replace("__", "__r", 1), lambda self, other: _binary_slow(card, other, self, None, True))
        setattr(Tensor, alias.replace("__", "__i", 1), getattr(Tensor, name + "_"))


_pair("logical_and", "", np.logical_and, """Whether both elements are non-zero, with broadcasting.

    >>> torch.logical_and(torch.tensor([True, True]), torch.tensor([True, False]))
    tensor([ True, False])
    """)
_pair("logical_or", "", np.logical_or, """Whether at least one of two elements is non-zero, with broadcasting.

    >>> torch.logical_or(torch.tensor([True, False]), torch.tensor([False, False]))
    tensor([ True, False])
    """)
_pair("logical_xor", "", np.logical_xor, """Whether exactly one of two elements is non-zero, with broadcasting.

    >>> torch.logical_xor(torch.tensor([True, False]), torch.tensor([True, True]))
    tensor([False,  True])
    """)
_pair("bitwise_and", "__and__", np.bitwise_and, """Bitwise and of integers or bools, with broadcasting; the operator `&`.

    >>> torch.bitwise_and(torch.tensor([6, 5]), 3)
    tensor([2, 1])
    """)
_pair("bitwise_or", "__or__", np.bitwise_or, """Bitwise or of integers or bools, with broadcasting; the operator `|`.

    >>> torch.bitwise_or(torch.tensor([6, 5]), 3)
    tensor([7, 7])
    """)
_pair("bitwise_xor", "__xor__", np.bitwise_xor, """Bitwise exclusive or of integers or bools; the operator `^`.

    >>> torch.bitwise_xor(torch.tensor([6, 5]), 3)
    tensor([5, 6])
    """)
_pair("bitwise_left_shift", "__lshift__", np.left_shift, """Integers shifted left by `other` bits; the operator `<<`.

    >>> torch.bitwise_left_shift(torch.tensor([1, 3]), 2)
    tensor([ 4, 12])
    """)
_pair("bitwise_right_shift", "__rshift__", np.right_shift, """Integers shifted right by `other` bits; the operator `>>`.

    >>> torch.bitwise_right_shift(torch.tensor([4, 13]), 2)
    tensor([1, 3])
    """)


def _single(name: str, ufunc: Any, doc: str) -> Callable:
    def call(input: Tensor, *, out: Tensor | None = None) -> Tensor:
        expect_tensor(input, name)
        if name == "bitwise_not" and input._array.dtype.kind not in "iub":
            raise TypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors, got "
                               f"{input.dtype}")
        result = apply(card, (input,))
        return result if out is None else write_out(out, result)

    def samples(make: Any) -> Any:
        yield make(name, make.bools((3, 4)))
        yield make(name, make.ints((5,), -2, 3))

    body = {"__doc__": doc, "differentiable": False, "forward": staticmethod(lambda xp, x: ufunc(x)),
            "call": staticmethod(call), "samples": staticmethod(samples)}
    card: Any = op(name, inplace=True)(type(name.title().replace("_", ""), (Op,), body))
    return call


_single("logical_not", np.logical_not, """Whether each element is zero.

    >>> torch.logical_not(torch.tensor([True, False]))
    tensor([False,  True])
    """)
Tensor.__invert__ = _single("bitwise_not", np.invert, """Integers with all bits flipped, bools negated; the operator `~`.

    >>> torch.bitwise_not(torch.tensor([True, False]))
    tensor([False,  True])
    """)  # type: ignore[attr-defined]


# -- all and any ------------------------------------------------------------------------------------------------------


def _test(name: str, reduce: Any, doc: str) -> None:
    def forward(xp: Any, x: Any, axes: Any, keepdim: bool) -> Any:
        reduced = getattr(xp, name) if backend.is_on_device(x) else reduce  # CuPy's ufuncs reduce by sum and product only
        found = reduced(x, axis=axes, keepdims=keepdim)
        return found.astype(x.dtype) if x.dtype == np.uint8 else found

    def call(input: Tensor, dim: Any = None, keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
        axes = None if dim is None else axes_of(dim, expect_tensor(input, name)._array.ndim)
        result = apply(card, (input,), (axes, keepdim))
        return result if out is None else write_out(out, result)

    def samples(make: Any) -> Any:
        yield make(name, make.bools((3, 4)))
        yield make(name, make.bools((3, 4)), 1)
        yield make(name, make.ints((2, 3, 4), 0, 2), dim=(0, 2), keepdim=True)
        yield make(name, make.uniform((0, 3)), dim=0)
        yield make(name, make.uniform(()))

    body = {"__doc__": doc, "differentiable": False, "forward": staticmethod(forward), "call": staticmethod(call),
            "samples": staticmethod(samples)}
    card: Any = op(name)(type(name.title(), (Op,), body))


_test("all", np.logical_and.reduce, """Whether all elements are non-zero, of all or along `dim`; True for none.

    uint8 gives uint8.

    >>> torch.all(torch.tensor([[True, False], [True, True]]), dim=1)
    tensor([False,  True])
    """)
_test("any", np.logical_or.reduce, """Whether any element is non-zero, of all or along `dim`; False for none.

    uint8 gives uint8.

    >>> torch.any(torch.tensor([[False, False], [True, False]]), dim=1)
    tensor([False,  True])
    """)
