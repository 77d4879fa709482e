"""Pointwise functions of two and three inputs: maximum, atan2, clamp, lerp, addcmul and their kin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..dtypes import as_dtype, complex128, float64, result_dtype
from ..tensor import Tensor, wrap
from ._blocked import elements, is_large, pointwise
from .base import CARDS, Op, apply, composite, expect_tensor, op, scalar_array
from .inplace import assign, check_inplace, write_out
from .pointwise import binary, explain_broadcast
from .samples import samples_for


def _without_numbers(*cards: Any) -> None:
    """Leave the sample with a number out for functions that take a number only here, not in torch."""
    for card in cards:
        samples = card.samples
        card.samples = lambda make, samples=samples: [s for s in samples(make) if not isinstance(s.args[1], float)]


def _zero(xp: Any, g: Any, a: Any, b: Any) -> Any:
    return xp._nothing(g)


binary("maximum", ufunc=np.maximum, keep=(0, 1), inplace=False,
       grads=(lambda xp, g, a, b: xp.where(a == b, g / 2, xp.where(a < b, 0, g)),
              lambda xp, g, a, b: xp.where(a == b, g / 2, xp.where(b < a, 0, g))), doc="""
The larger of two elements, with broadcasting; NaN if either is NaN. Equal elements share the gradient.

>>> torch.maximum(torch.tensor([1., 5.]), torch.tensor([3., 2.]))
tensor([3., 5.])
""")
binary("minimum", ufunc=np.minimum, keep=(0, 1), inplace=False,
       grads=(lambda xp, g, a, b: xp.where(a == b, g / 2, xp.where(a > b, 0, g)),
              lambda xp, g, a, b: xp.where(a == b, g / 2, xp.where(b > a, 0, g))), doc="""
The smaller of two elements, with broadcasting; NaN if either is NaN. Equal elements share the gradient.

>>> torch.minimum(torch.tensor([1., 5.]), torch.tensor([3., 2.]))
tensor([1., 2.])
""")
binary("fmax", ufunc=np.fmax, keep=(0, 1), inplace=False,
       grads=(lambda xp, g, a, b: xp.where((a >= b) | (b != b), g, 0),
              lambda xp, g, a, b: xp.where((a >= b) | (b != b), 0, g)), doc="""
The larger of two elements, with broadcasting; a NaN gives way to a number.

>>> torch.fmax(torch.tensor([1., float("nan")]), torch.tensor([3., 2.]))
tensor([3., 2.])
""")
binary("fmin", ufunc=np.fmin, keep=(0, 1), inplace=False,
       grads=(lambda xp, g, a, b: xp.where((a <= b) | (b != b), g, 0),
              lambda xp, g, a, b: xp.where((a <= b) | (b != b), 0, g)), doc="""
The smaller of two elements, with broadcasting; a NaN gives way to a number.

>>> torch.fmin(torch.tensor([1., float("nan")]), torch.tensor([3., 2.]))
tensor([1., 2.])
""")
def _square_of(xp: Any, a: Any, b: Any) -> Any:
    """a^2 + b^2, and 1 at the origin, where torch takes both gradients of the angle to be 0."""
    square = a * a + b * b
    return xp.where(square == 0, 1, square)


binary("atan2", "arctan2", ufunc=np.arctan2, keep=(0, 1), to_float=True,
       grads=(lambda xp, g, a, b: g * (b / _square_of(xp, a, b)), lambda xp, g, a, b: g * (-a / _square_of(xp, a, b))), doc="""
The angle of the point (other, input), in radians, in (-pi, pi].

>>> torch.atan2(torch.tensor([1., -1.]), torch.tensor([1., -1.]))
tensor([ 0.7854, -2.3562])
""")
binary("hypot", ufunc=np.hypot, keep=(0, 1), domain=(0.3, 2.0),
       grads=(lambda xp, g, a, b: g * (a / xp.hypot(a, b)), lambda xp, g, a, b: g * (b / xp.hypot(a, b))), doc="""
sqrt(input^2 + other^2) without overflow.

>>> torch.hypot(torch.tensor([3.]), torch.tensor([4.]))
tensor([5.])
""")
def logaddexp(a: Any, b: Any) -> Any:
    """log(exp(a) + exp(b)) on raw arrays; complex numbers by their real parts, as NumPy's has none."""
    if a.dtype.kind != "c":
        return np.logaddexp(a, b)
    swap = a.real < b.real
    high, low = np.where(swap, b, a), np.where(swap, a, b)
    return np.where((a == b) & np.isinf(a.real), a, high + np.log1p(np.exp(low - high)))


binary("logaddexp", ufunc=logaddexp, keep=(0, 1), inplace=False,
       grads=(lambda xp, g, a, b: g / xp.conj(1 + xp.exp(b - a)), lambda xp, g, a, b: g / xp.conj(1 + xp.exp(a - b))),
       doc="""
log(exp(input) + exp(other)) without overflow.

>>> torch.logaddexp(torch.tensor([0.]), torch.tensor([0.]))
tensor([0.6931])
""")
binary("logaddexp2", ufunc=np.logaddexp2, keep=(0, 1), inplace=False,
       grads=(lambda xp, g, a, b: g / (1 + xp.exp2(b - a)), lambda xp, g, a, b: g / (1 + xp.exp2(a - b))), doc="""
log2(2^input + 2^other) without overflow.

>>> torch.logaddexp2(torch.tensor([0.]), torch.tensor([0.]))
tensor([1.])
""")


def _xlogy(a: Any, b: Any) -> Any:
    b = b if hasattr(b, "dtype") else np.asarray(b, a.dtype)
    product = a * np.log(b)
    return np.where(np.isnan(b), b, np.where(a == 0, a * 0, product)).astype(product.dtype)


def _xlogy_by_input(xp: Any, g: Any, a: Any, b: Any) -> Any:
    return xp.where(((a == 0) | (g == 0)) & ~(b > 0), 0, g * xp.log(b))  # 0 times the log of what has none is 0, as in torch


binary("xlogy", ufunc=_xlogy, keep=(0, 1), to_float=True, domain=(0.3, 2.0),
       grads=(_xlogy_by_input, lambda xp, g, a, b: g * a / b), doc="""
input * log(other), and 0 where input is 0.

>>> torch.xlogy(torch.tensor([0., 2.]), torch.tensor([0., 1.]))
tensor([0., 0.])
""")
binary("copysign", ufunc=np.copysign, keep=(0, 1), to_float=True,
       grads=(lambda xp, g, a, b: xp.where(a == 0, 0, g * xp.sign(a) * xp.copysign(1 + a * 0, b)), _zero), doc="""
The magnitude of `input` with the sign of `other`.

>>> torch.copysign(torch.tensor([1., -2.]), -1)
tensor([-1., -2.])
""")
binary("nextafter", ufunc=np.nextafter, doc="""
The next floating number after `input` in the direction of `other`.

>>> torch.nextafter(torch.tensor([1.]), torch.tensor([2.])) > 1
tensor([True])
""")


def _heaviside(x: Any, values: Any) -> Any:
    if x.dtype.kind == "c":
        raise RuntimeError("heaviside is not yet implemented for complex tensors.")
    return np.where(x == 0, values, x > 0).astype(x.dtype)


binary("heaviside", ufunc=_heaviside, doc="""
0 for negative, `values` for zero and 1 for positive elements of `input`.

>>> torch.heaviside(torch.tensor([-1., 0., 2.]), torch.tensor(0.5))
tensor([0.0000, 0.5000, 1.0000])
""")


_without_numbers(*[CARDS[name] for name in ("maximum", "minimum", "fmax", "fmin", "atan2", "hypot", "logaddexp", "logaddexp2",
                                            "nextafter", "heaviside")])


class _Integers(Op):
    """Base of gcd and lcm."""

    n, promote, differentiable = 2, True, False

    @classmethod
    def explain(cls, error: Exception, tensors: Any, params: Any) -> Exception:
        if "broadcast" in str(error):
            return explain_broadcast(tensors)
        return RuntimeError(f"{cls.name}(): not implemented for {tensors[0].dtype}; expected integer tensors")

    @classmethod
    def samples(cls, make: Any) -> Any:
        yield make(cls.name, make.ints((3, 4), -20, 20), make.ints((4,), -20, 20))


def _integers(name: str, ufunc: Any, doc: str) -> None:
    def call(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
        result = apply(card, (input, other))
        return result if out is None else write_out(out, result)

    body = {"__doc__": doc, "forward": staticmethod(lambda xp, a, b: ufunc(a, b)), "call": staticmethod(call)}
    card: Any = op(name, inplace=True)(type(name.capitalize(), (_Integers,), body))


_integers("gcd", np.gcd, """The greatest common divisor of integers.

    >>> torch.gcd(torch.tensor([12, 7]), torch.tensor([8, 21]))
    tensor([4, 7])
    """)
_integers("lcm", np.lcm, """The least common multiple of integers.

    >>> torch.lcm(torch.tensor([4, 7]), torch.tensor([6, 21]))
    tensor([12, 21])
    """)


@op("fmod", inplace=True)
class Fmod(Op):
    """The remainder of division with the dividend's sign, as C's fmod. Integer division by zero raises RuntimeError.

    >>> torch.fmod(torch.tensor([-3., 3.]), 2)
    tensor([-1.,  1.])
    """

    n, promote = 2, True
    keep = {0: (1,), 1: (1,)}

    @staticmethod
    def forward(xp: Any, a: Any, b: Any) -> Any:
        if a.dtype.kind in "iu" and bool((xp.asarray(b) == 0).any()):
            raise RuntimeError("ZeroDivisionError")
        return xp.fmod(a, b)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        a, b = s.inputs
        return g, (-g * xp.trunc(a / b) if s.needs[1] else None)

    @staticmethod
    def call(input: Tensor, other: Any, *, out: Tensor | None = None) -> Tensor:
        result = apply(Fmod, (input, other))
        return result if out is None else write_out(out, result)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("fmod", make.uniform((3, 4), -5, 5), make.uniform((4,), 0.6, 2.0))
        yield make("fmod", make.uniform((5,), -3, 3), 0.7)
        yield make("fmod", make.ints((5,), -9, 9), 4)


# -- clamp ------------------------------------------------------------------------------------------------------------


@op("_clamp_scalar", function=False, method=False, node="ClampBackward1")
class ClampScalar(Op):
    """`x` limited to [lo, hi]; either limit may be None."""

    keep = (0,)

    @staticmethod
    def forward(xp: Any, x: Any, lo: Any, hi: Any) -> Any:
        if x.dtype.kind == "u":  # negative limits wrap around, as in torch
            lo, hi = (v if v is None else scalar_array(v, x.dtype) for v in (lo, hi))
        if is_large(x) and x.dtype.kind == "f" and not any(type(v) is np.ndarray for v in (lo, hi)):
            # NumPy's `maximum` with one number is three times slower than its `clip`
            edges = [x.dtype.type(v) for v in (-math.inf if lo is None else lo, math.inf if hi is None else hi)]
            return pointwise(lambda x: np.clip(x, *edges), x)
        if lo is not None:
            x = xp.maximum(x, lo)
        return x if hi is None else xp.minimum(x, hi)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        x, (lo, hi) = s.inputs[0], s.params
        if type(g) is np.ndarray:
            gx = elements("clamp_backward", g, x, params=(-math.inf if lo is None else lo, math.inf if hi is None else hi))
            if gx is not None:
                return (gx,)
        if lo is None:
            return (xp.where(x <= hi, g, 0),)
        return (xp.where(x >= lo if hi is None else (x >= lo) & (x <= hi), g, 0),)


@op("clamp", "clip", inplace=True, node="ClampBackward0")
class Clamp(Op):
    """Each element limited to [min, max]; either may be left out, both may be numbers or broadcastable tensors.

    The gradient is 1 inside the limits (and on them) and 0 outside. RuntimeError if both limits are missing.

    >>> torch.clamp(torch.tensor([-1., 0.5, 3.]), min=0, max=1)
    tensor([0.0000, 0.5000, 1.0000])
    """

    n, promote = 3, True
    keep = (0, 1, 2)

    @staticmethod
    def forward(xp: Any, x: Any, lo: Any, hi: Any) -> Any:
        return ClampScalar.forward(xp, x, lo, hi)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        (x, lo, hi), needs = s.inputs, s.needs
        dx = d_lo = d_hi = None
        if needs[0]:
            dx = g if lo is None else xp.where(x >= lo, g, 0)
            dx = dx if hi is None else xp.where(x <= hi, dx, 0)
        if needs[1]:
            d_lo = xp.where(x < lo, g, 0)
            d_lo = d_lo if hi is None else xp.where(lo < hi, d_lo, 0)
        if needs[2]:
            above = x > hi
            d_hi = xp.where(above if lo is None else above | (hi < lo), g, 0)
        return dx, d_lo, d_hi

    @staticmethod
    def call(input: Tensor, min: Any = None, max: Any = None, *, out: Tensor | None = None) -> Tensor:
        expect_tensor(input, "clamp")
        if min is None and max is None:
            raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
        if input.is_complex():
            raise NotImplementedError("clamp is not supported for complex types")
        if isinstance(min, Tensor) or isinstance(max, Tensor):
            result = Clamp.apply(input, min, max)
        else:
            kind = input._array.dtype.kind
            if kind in "iub" and (type(min) is float or type(max) is float or kind == "b"):
                input = input.to(result_dtype([v for v in (input._array, min, max) if v is not None]))  # type: ignore[attr-defined]
            result = ClampScalar.apply(input, min, max)
        return result if out is None else write_out(out, result)

    @classmethod
    def explain(cls, error: Exception, tensors: Any, params: Any) -> Exception:
        return explain_broadcast([t for t in tensors if isinstance(t, Tensor)])

    @staticmethod
    def samples(make: Any) -> Any:
        for limits in ({"min": -0.5, "max": 0.5}, {"min": 0.1}, {"max": 0.1}, {"min": 1.0, "max": -1.0}, {"min": -1, "max": 1}):
            yield make("clamp", make.uniform((3, 4)), **limits)
        yield make("clamp", make.uniform((3, 4)), make.uniform((4,), -1, 0), make.uniform((3, 1), 0, 1))
        yield make("clamp", make.uniform((3, 4)).t(), min=make.uniform((3,)))
        yield make("clamp", make.uniform((3, 4)), max=make.uniform((4,)))
        yield make("clamp", make.ints((5,), -9, 9), -2, 2)
        yield make("clamp", make.ints((5,), -9, 9), -2.5)
        yield make("clamp", make.uniform(()), 0.0)


@composite("clamp_min", inplace=True)
def clamp_min(input: Tensor, min: Any, *, out: Tensor | None = None) -> Tensor:
    """Each element, at least `min`.

    >>> torch.clamp_min(torch.tensor([-1., 2.]), 0)
    tensor([0., 2.])
    """
    return Clamp.call(input, min=min, out=out)


@composite("clamp_max", inplace=True)
def clamp_max(input: Tensor, max: Any, *, out: Tensor | None = None) -> Tensor:
    """Each element, at most `max`.

    >>> torch.clamp_max(torch.tensor([-1., 2.]), 0)
    tensor([-1.,  0.])
    """
    return Clamp.call(input, max=max, out=out)


@samples_for("clamp_min")
def _clamp_samples(make: Any) -> Any:
    yield make("clamp_min", make.uniform((5,)), 0.25)
    yield make("clamp_max", make.uniform((5,)), 0.25)


# -- blends -----------------------------------------------------------------------------------------------------------


@op("lerp", inplace=True)
class Lerp(Op):
    """`input + weight * (end - input)`; `weight` is a number or a tensor.

    >>> torch.lerp(torch.tensor([0., 10.]), torch.tensor([10., 20.]), 0.25)
    tensor([ 2.5000, 12.5000])
    """

    n, promote, wide_numbers, scalars = 3, True, True, True
    keep = {0: (2,), 1: (2,), 2: (0, 1)}

    @staticmethod
    def forward(xp: Any, a: Any, b: Any, w: Any) -> Any:
        d = b - a
        if w.ndim == 0 and not backend.is_on_device(w):  # from the nearer end, so that weight 1 gives `end` exactly
            return a + w * d if abs(w) < 0.5 else b - d * (1 - w)
        return xp.where(abs(w) < 0.5, a + w * d, b - d * (1 - w))

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        (a, b, w), needs = s.inputs, s.needs
        return (g * (1 - w) if needs[0] else None), (g * w if needs[1] else None), (g * (b - a) if needs[2] else None)

    @staticmethod
    def call(input: Tensor, end: Tensor, weight: Any, *, out: Tensor | None = None) -> Tensor:
        d = expect_tensor(input, "lerp")._array.dtype
        expect_tensor(end, "lerp", "end", 2)
        for label, t in (("end", end), ("weight", weight)):
            if isinstance(t, Tensor) and (t is end or t._array.ndim) and t._array.dtype != d:
                raise RuntimeError(f"lerp(): expected dtype {input.dtype} for `{label}` but got dtype {t.dtype}")
        result = apply(Lerp, (input, end, weight))
        return result if out is None else write_out(out, result)

    @classmethod
    def explain(cls, error: Exception, tensors: Any, params: Any) -> Exception:
        return explain_broadcast(tensors)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("lerp", make.uniform((3, 4)), make.uniform((4,)), 0.3)
        yield make("lerp", make.uniform((3, 4)), make.uniform((3, 4)), 0.9)
        yield make("lerp", make.uniform((3, 4)), make.uniform((3, 4)), make.uniform((3, 1), 0, 1))


def _fused(name: str, sign: str, forward: Any, grads: Any, example: str) -> None:
    """addcmul and addcdiv: `input + value * (tensor1 <sign> tensor2)`."""
    doc = f"""`input + value * tensor1 {sign} tensor2`, with broadcasting.

    >>> torch.{name}(torch.tensor([1.]), torch.tensor([6.]), torch.tensor([2.]), value=0.5)
    {example}
    """

    def backward(xp: Any, s: Any, g: Any) -> tuple:
        (_, t1, t2), value, needs = s.inputs, s.params[0], s.needs
        d1, d2 = grads(g if value == 1 else g * value, t1, t2, needs)
        return g, d1, d2

    def call(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1, out: Tensor | None = None) -> Tensor:
        result = apply(card, (expect_tensor(input, name), tensor1, tensor2), (value,))
        return result if out is None else write_out(out, result)

    def samples(make: Any) -> Any:
        yield make(name, make.uniform((3, 4)), make.uniform((4,)), make.uniform((3, 1), 0.5, 2))
        yield make(name, make.uniform((3, 4)), make.uniform((3, 4)), make.uniform((3, 4), 0.5, 2), value=0.5)

    body = {"__doc__": doc, "n": 3, "promote": True, "keep": {1: (2,), 2: (1, 2) if sign == "/" else (1,)},
            "forward": staticmethod(forward), "backward": staticmethod(backward), "call": staticmethod(call),
            "samples": staticmethod(samples),
            "explain": classmethod(lambda cls, error, tensors, params: explain_broadcast(tensors))}
    card: Any = op(name, inplace=True)(type(name.capitalize(), (Op,), body))


_fused("addcmul", "*", lambda xp, x, a, b, value: x + (a * b if value == 1 else value * a * b),
       lambda g, a, b, needs: (g * b if needs[1] else None, g * a if needs[2] else None), "tensor([7.])")
_fused("addcdiv", "/", lambda xp, x, a, b, value: x + (a / b if value == 1 else value * (a / b)),
       lambda g, a, b, needs: (g / b if needs[1] else None, -g * (a / (b * b)) if needs[2] else None), "tensor([2.5000])")


# -- compositions -----------------------------------------------------------------------------------------------------


@composite("ldexp", inplace=True)
def ldexp(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """`input * 2**other`.

    >>> torch.ldexp(torch.tensor([1.5]), torch.tensor([3]))
    tensor([12.])
    """
    if input.is_floating_point() and not other.is_floating_point():
        other = other.to(input.dtype)  # type: ignore[attr-defined]
    result = input * CARDS["pow"].call(2.0, other)  # type: ignore[operator]
    return result if out is None else write_out(out, result)


@samples_for("ldexp")
def _ldexp_samples(make: Any) -> Any:
    yield make("ldexp", make.uniform((3, 4)), make.ints((4,), 0, 3))
    yield make("ldexp", make.uniform((3, 4)), make.ints((4,), -3, 3), _grad=False)


@composite("float_power")
def float_power(input: Any, exponent: Any, *, out: Tensor | None = None) -> Tensor:
    """`input ** exponent` in float64 (complex128 for complex numbers).

    >>> torch.float_power(torch.tensor([2, 3]), 2)
    tensor([4., 9.], dtype=torch.float64)
    """
    found = result_dtype([v._array if isinstance(v, Tensor) else v for v in (input, exponent)])
    wide = as_dtype(complex128 if found.is_complex else float64)
    pair = [v.to(wide) if isinstance(v, Tensor) else wrap(np.asarray(v, wide.np)) for v in (input, exponent)]
    result = CARDS["pow"].call(*pair)
    return result if out is None else write_out(out, result)


@composite("float_power_", function=False)
def float_power_(input: Tensor, exponent: Any) -> Tensor:
    """In-place form of `float_power`, for tensors that have its dtype already.

    >>> torch.tensor([2.], dtype=torch.float64).float_power_(2)
    tensor([4.], dtype=torch.float64)
    """
    check_inplace(input)
    result = float_power(input, exponent)
    if result.dtype is not input.dtype:
        raise RuntimeError(f"the base given to float_power_ has dtype {input.dtype.word} but the operation's result requires "
                           f"dtype {result.dtype.word}")
    return assign(input, result, "float_power_")


@samples_for("float_power")
def _float_power_samples(make: Any) -> Any:
    yield make("float_power", make.uniform((3, 4), 0.3, 2), 1.5, _gradgrad=False)
    yield make("float_power", make.ints((3,), 1, 5), make.uniform((3,)))


