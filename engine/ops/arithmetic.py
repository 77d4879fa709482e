"""The arithmetic operators of Python: + - * / // % ** and unary -, with their functions and in-place forms."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import HALVES
from ..tensor import Tensor
from .base import CARDS, Op, apply, install, op
from .inplace import write_out
from .pointwise import _NUMBERS, Times, binary, inplace_function, unary

ADD = binary("add", ufunc=np.add, gpu="add", quiet=False, public=False, grads=(lambda xp, g, a, b: g, lambda xp, g, a, b: g),
             doc="Elementwise sum of two broadcastable tensors or numbers.")
SUB = binary("sub", ufunc=np.subtract, gpu="sub", quiet=False, public=False,
             grads=(lambda xp, g, a, b: g, lambda xp, g, a, b: -g), doc="Elementwise difference `input - other`.")
MUL = binary("mul", "multiply", ufunc=np.multiply, gpu="mul", quiet=False, wide_numbers=True, keep={0: (1,), 1: (0,)},
             grads=(Times(1), Times(0)), doc="""
Elementwise product of two broadcastable tensors or numbers.

>>> torch.mul(torch.tensor([1., 2.]), 3)
tensor([3., 6.])
""")
DIV = binary("true_divide", ufunc=np.true_divide, gpu="div", to_float=True, wide_numbers=True, keep={0: (1,), 1: (0, 1)},
             node="DivBackward0", domain_b=(0.5, 2.0), public=False,
             grads=(lambda xp, g, a, b: g / xp.conj(b), lambda xp, g, a, b: -g * xp.conj(a / b / b)),
             doc="Elementwise quotient; integers divide to the default floating dtype.")
NEG = unary("neg", "negative", ufunc=np.negative, grad=lambda xp, g, x, y: -g, to_float=False, doc="""
Each element with its sign changed.

>>> torch.neg(torch.tensor([1, -2]))
tensor([-1,  2])
""")


def _check_sub(a: Any, b: Any) -> None:
    import numpy

    for x in (a, b):
        if (isinstance(x, Tensor) and x._array.dtype == numpy.bool_) or isinstance(x, bool):
            raise RuntimeError("Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to "
                               "invert a mask, use the `~` or `logical_not()` operator instead.")


def _with_multiple(card: Any, input: Any, other: Any, alpha: Any, out: Tensor | None) -> Tensor:
    """`card` of `input` and `alpha * other`. For 16-bit inputs `alpha` is rounded first, the result once, as in torch."""
    kinds = [t._array.dtype for t in (input, other) if isinstance(t, Tensor)]
    if kinds[0] not in HALVES or kinds[0] != kinds[-1]:
        return card.call(input, MUL.call(other, alpha), out=out)
    wide = [t.float() if isinstance(t, Tensor) else t for t in (input, other)]  # type: ignore[attr-defined]
    result = card.call(wide[0], MUL.call(wide[1], float(kinds[0].type(alpha)))).to(kinds[0])
    return result if out is None else write_out(out, result)


def add(input: Any, other: Any, *, alpha: Any = 1, out: Tensor | None = None) -> Tensor:
    """`input + alpha * other`, elementwise with broadcasting.

    >>> torch.add(torch.tensor([1., 2.]), torch.tensor([10., 20.]), alpha=2)
    tensor([21., 42.])
    """
    return ADD.call(input, other, out=out) if alpha == 1 else _with_multiple(ADD, input, other, alpha, out)


def sub(input: Any, other: Any, *, alpha: Any = 1, out: Tensor | None = None) -> Tensor:
    """`input - alpha * other`, elementwise with broadcasting. RuntimeError on bool tensors.

    >>> torch.sub(torch.tensor([1., 2.]), 1)
    tensor([0., 1.])
    """
    _check_sub(input, other)
    return SUB.call(input, other, out=out) if alpha == 1 else _with_multiple(SUB, input, other, alpha, out)


def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """`other - alpha * input`.

    >>> torch.rsub(torch.tensor([1., 2.]), 5)
    tensor([4., 3.])
    """
    return sub(other, input, alpha=alpha)


@op("floor_divide", node="FloorDivideBackward0", inplace=True)
class FloorDivide(Op):
    """The quotient rounded down, as Python's `//`. Integer division by zero raises RuntimeError.

    >>> torch.floor_divide(torch.tensor([7, -7]), 2)
    tensor([ 3, -4])
    """

    n, promote, differentiable = 2, True, False

    @staticmethod
    def forward(xp: Any, a: Any, b: Any) -> Any:
        if a.dtype.kind in "iu" and a.size and bool((xp.asarray(b) == 0).any()):
            raise RuntimeError("ZeroDivisionError")
        if a.dtype.kind in "iu":
            return xp.floor_divide(a, b)
        quotient = xp.floor(a / b)  # an infinite dividend has no remainder, so torch gives NaN
        return xp.where(xp.isinf(a) & (b != 0), xp.nan, quotient).astype(quotient.dtype)

    @staticmethod
    def call(input: Any, other: Any, *, out: Tensor | None = None) -> Tensor:
        result = apply(FloorDivide, (input, other))
        return result if out is None else write_out(out, result)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("floor_divide", make.ints((3, 4), -9, 9), make.ints((4,), 1, 4))
        yield make("floor_divide", make.uniform((5,), -3, 3), 0.7)


@op("_trunc_divide", function=False, method=False)
class TruncDivide(Op):
    """The quotient rounded towards zero (`div(rounding_mode="trunc")`)."""

    n, promote, differentiable = 2, True, False

    @staticmethod
    def forward(xp: Any, a: Any, b: Any) -> Any:
        if a.dtype.kind not in "iu":
            return xp.trunc(a / b)
        if bool((xp.asarray(b) == 0).any()):
            raise RuntimeError("ZeroDivisionError")
        return (xp.sign(a) * xp.sign(b) * (abs(a) // abs(b))).astype(a.dtype)


def div(input: Any, other: Any, *, rounding_mode: str | None = None, out: Tensor | None = None) -> Tensor:
    """`input / other`; `rounding_mode` may be None (true division), "floor" or "trunc".

    >>> torch.div(torch.tensor([7, -7]), 2, rounding_mode="trunc")
    tensor([ 3, -3])
    """
    if rounding_mode is None:
        return DIV.call(input, other, out=out)
    if rounding_mode not in ("floor", "trunc"):
        raise RuntimeError(f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'")
    result = apply(FloorDivide if rounding_mode == "floor" else TruncDivide, (input, other))
    return result if out is None else write_out(out, result)


@op("remainder", inplace=True)
class Remainder(Op):
    """The remainder of division with the divisor's sign, as Python's `%`.

    >>> torch.remainder(torch.tensor([-3., 3.]), 2)
    tensor([1., 1.])
    """

    n, promote = 2, True
    keep = {0: (1,), 1: (1,)}

    @staticmethod
    def forward(xp: Any, a: Any, b: Any) -> Any:
        if a.dtype.kind in "iu" and a.size and bool((xp.asarray(b) == 0).any()):
            raise RuntimeError("ZeroDivisionError")
        return xp.remainder(a, b)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        if not s.needs[1]:
            return g, None
        a, b = s.inputs
        return g, -g * xp.floor(a / b)

    @staticmethod
    def call(input: Any, other: Any, *, out: Tensor | None = None) -> Tensor:
        result = apply(Remainder, (input, other))
        return result if out is None else write_out(out, result)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("remainder", make.uniform((3, 4), -5, 5), make.uniform((4,), 0.6, 2.0))
        yield make("remainder", make.uniform((5,), -3, 3), 0.7)
        yield make("remainder", make.ints((5,), -9, 9), 4)


def _pow_forward(xp: Any, x: Any, exponent: Any) -> Any:
    if exponent == 2:
        return x * x
    if exponent == 0.5:
        return xp.sqrt(x)
    if exponent == -1 and x.dtype.kind in "fc":
        return 1 / x
    if exponent == 3:
        return x * x * x
    return x**exponent


@op("_pow_scalar", function=False, method=False, node="PowBackward0")
class PowScalar(Op):
    """Powers with a constant exponent; squares, cubes, roots and reciprocals take the short way."""

    keep = (0,)

    @staticmethod
    def forward(xp: Any, x: Any, exponent: Any) -> Any:
        return _pow_forward(xp, x, exponent)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        (x,), exponent = s.inputs, s.params[0]
        if exponent == 0:
            return (xp._nothing(g),)
        if exponent == 1:
            return (g,)
        if exponent == 2:
            return (g * xp.conj(x) * 2,)
        return (g * xp.conj(xp._pow_scalar(x, exponent - 1)) * exponent,)


def _log_where_positive(xp: Any, a: Any, g: Any) -> Any:
    """log(a) with 0 where a is 0, so that 0**b has gradient 0 and not NaN with respect to b > 0."""
    zero = a == 0
    return xp.where(zero, a * 0, xp.log(xp.where(zero, a * 0 + 1, a)))


@op("pow", inplace=True, node="PowBackward1")
class Pow(Op):
    """`input ** exponent`, elementwise with broadcasting; either may be a number.

    Integers to a negative integer as exponent raise RuntimeError; to a tensor of them give 0, except for 1 and -1.

    >>> torch.pow(torch.tensor([1., 2., 3.]), 2)
    tensor([1., 4., 9.])
    """

    n, promote = 2, True
    keep = (0, 1)

    @staticmethod
    def forward(xp: Any, a: Any, b: Any) -> Any:
        if b.dtype.kind == "i" and bool((b < 0).any()):  # 1 and -1 have inverses among the integers; torch gives 0 for others
            inverse = xp.where(xp.abs(a) == 1, xp.where((a == -1) & (b % 2 == 1), -1, 1), 0)
            return xp.where(b < 0, inverse, xp.power(a, xp.maximum(b, 0))).astype(a.dtype)
        return xp.power(a, b)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        a, b = s.inputs
        da = db = None
        if s.needs[0]:
            zero = b == 0
            da = g * xp.conj(xp.where(zero, b * 0, b * xp.pow(a, xp.where(zero, b * 0 + 1, b) - 1)))
        if s.needs[1]:
            db = g * xp.conj(xp.pow(a, b) * _log_where_positive(xp, a, g))
        return da, db

    @staticmethod
    def call(input: Any, exponent: Any, *, out: Tensor | None = None) -> Tensor:
        if not isinstance(exponent, Tensor) and isinstance(input, Tensor):
            result = _power_of(input, exponent)
        else:
            result = apply(Pow, (input, exponent))
        return result if out is None else write_out(out, result)

    @staticmethod
    def samples(make: Any) -> Any:
        for exponent in (2, 3, 0.5, -1, 1.7, 0, 1):
            yield make("pow", make.uniform((3, 4), 0.3, 2.0), exponent)
        yield make("pow", make.uniform((3, 4), 0.3, 2.0), make.uniform((4,), -1.5, 1.5))
        yield make("pow", 2.0, make.uniform((4,), -1.5, 1.5))
        yield make("pow", make.ints((5,), -4, 4), 3)


def _power_of(input: Tensor, exponent: Any) -> Tensor:
    kind = input._array.dtype.kind
    if kind in "iub":
        if isinstance(exponent, int) and not isinstance(exponent, bool) and exponent < 0:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
        if isinstance(exponent, (float, complex)) or kind == "b":
            from ..dtypes import result_dtype

            input = CARDS["_to_dtype"].apply(input, result_dtype((input._array, exponent)).np)
    elif isinstance(exponent, complex):
        return apply(Pow, (input, exponent))
    return PowScalar.apply(input, exponent)


for _name, _fn in (("add", add), ("sub", sub), ("div", div)):
    _aliases = {"sub": ("subtract",), "div": ("divide",)}.get(_name, ())
    install(_fn, _name, *_aliases, inplace=True)
install(rsub, "rsub")
install(DIV.call, "true_divide", inplace=True, doc=DIV.__doc__)
for _card, _fn, _names in ((ADD, add, ("add_", "__iadd__")), (SUB, sub, ("sub_", "subtract_", "__isub__")),
                           (MUL, MUL.call, ("mul_", "__imul__")), (DIV, div, ("div_", "divide_", "__itruediv__"))):
    _changed = inplace_function(_card, _names[0], _fn)
    for _name in _names:
        setattr(Tensor, _name, _changed)


def _dunder(call: Any, swap: bool = False) -> Any:
    """An operator method: NotImplemented for operands that are neither tensors, numbers nor arrays."""

    def method(self: Tensor, other: Any) -> Any:
        if not isinstance(other, (Tensor, *_NUMBERS)):
            if not isinstance(other, np.ndarray):
                return NotImplemented
            from .creation import from_numpy

            other = from_numpy(other)
        return call(other, self) if swap else call(self, other)

    return method


def _inverse_times(self: Tensor, number: Any) -> Tensor:
    """`number / self` as torch computes it: the reciprocal, times the number."""
    inverse = CARDS["reciprocal"].call(self)
    return inverse if isinstance(number, int) and number == 1 else MUL.call(inverse, number)


def _sub_dunder(self: Tensor, other: Any) -> Any:
    if self._array.dtype.kind == "b":
        _check_sub(self, other)
    return SUB.dunder(self, other)


_METHODS = {
    "__add__": ADD.dunder, "__radd__": ADD.dunder, "__sub__": _sub_dunder, "__rsub__": _dunder(sub, swap=True),
    "__mul__": MUL.dunder, "__rmul__": MUL.dunder, "__truediv__": DIV.dunder, "__rtruediv__": _dunder(_inverse_times),
    "__floordiv__": _dunder(FloorDivide.call), "__rfloordiv__": _dunder(FloorDivide.call, swap=True),
    "__mod__": _dunder(Remainder.call), "__rmod__": _dunder(Remainder.call, swap=True),
    "__pow__": _dunder(Pow.call), "__rpow__": _dunder(Pow.call, swap=True),
    "__neg__": NEG.call, "__pos__": lambda self: self,
}
for _name, _fn in _METHODS.items():
    setattr(Tensor, _name, _fn)
for _name, _of in (("__ifloordiv__", "floor_divide_"), ("__imod__", "remainder_"), ("__ipow__", "pow_")):
    setattr(Tensor, _name, getattr(Tensor, _of))
