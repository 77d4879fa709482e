"""The table of one-input pointwise functions: a row is an operator.

Gradients are written as in torch's derivatives.yaml: from the input `x` or the output `y`, whichever is cheaper.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..dtypes import finfo
from ..tensor import Tensor, wrap
from .base import CARDS, Op, composite, expect_tensor, op
from .extrema import return_type
from .inplace import write_out
from .pointwise import unary
from .samples import samples_for

LN2, LN10 = math.log(2.0), math.log(10.0)


def _sigmoid(x: Any) -> Any:
    y = np.exp(-x)
    y += 1
    return np.reciprocal(y)


def _sign(x: Any) -> Any:
    """-1, 0 or 1; 0 for NaN, as in torch."""
    if x.dtype.kind == "b":
        return x.copy()
    return np.subtract(x > 0, x < 0, dtype=x.dtype) if x.dtype.kind == "f" else np.sign(x)


def _flat(xp: Any, g: Any, x: Any, y: Any) -> Any:
    """The gradient of a step function: zeros."""
    return xp._nothing(g)


def _sinc_grad(xp: Any, g: Any, x: Any, y: Any) -> Any:
    zero = x * x == 0  # also where the square is too small for the type
    px = xp.where(zero, 1, x * math.pi)
    return g * xp.where(zero, 0, (px * xp.cos(px) - xp.sin(px)) / (px * px) * math.pi)


def _log10(x: Any) -> Any:
    """float32 by way of float64: single precision in NumPy does not even give powers of ten exactly on every machine."""
    return np.log10(x.astype(np.float64)).astype(x.dtype) if x.dtype == np.float32 else np.log10(x)


def _sgn_grad(xp: Any, g: Any, x: Any, y: Any) -> Any:
    if x.dtype.kind != "c":
        return xp._nothing(g)
    size = xp.abs(x)
    zero = size == 0
    along = xp.real(g * xp.conj(y)) if hasattr(g, "_array") else (g * y.conj()).real
    return xp.where(zero, 0, (g - along * y) / xp.where(zero, 1, size))


# -- exponentials, logarithms, powers ----------------------------------------------------------------------------------

unary("exp", gpu=True, ufunc=np.exp, keep="y", grad=lambda xp, g, x, y: g * xp.conj(y), doc="""
e to the power of each element.

>>> torch.exp(torch.tensor([0., 1.]))
tensor([1.0000, 2.7183])
""")
unary("exp2", ufunc=np.exp2, keep="y", grad=lambda xp, g, x, y: g * xp.conj(y) * LN2, doc="""
2 to the power of each element.

>>> torch.exp2(torch.tensor([0., 3.]))
tensor([1., 8.])
""")
unary("expm1", ufunc=np.expm1, keep="y", grad=lambda xp, g, x, y: g * (xp.conj(y) + 1), doc="""
exp(x) - 1 of each element, accurate near 0.

>>> torch.expm1(torch.tensor([0., 1.]))
tensor([0.0000, 1.7183])
""")
unary("log", gpu=True, ufunc=np.log, keep="x", domain=(0.2, 3.0), grad=lambda xp, g, x, y: g / xp.conj(x), doc="""
The natural logarithm of each element.

>>> torch.log(torch.tensor([1., 2.]))
tensor([0.0000, 0.6931])
""")
unary("log2", ufunc=np.log2, keep="x", domain=(0.2, 3.0), grad=lambda xp, g, x, y: g / (xp.conj(x) * LN2), doc="""
The logarithm to base 2 of each element.

>>> torch.log2(torch.tensor([1., 8.]))
tensor([0., 3.])
""")
unary("log10", ufunc=_log10, keep="x", domain=(0.2, 3.0), grad=lambda xp, g, x, y: g / (xp.conj(x) * LN10), doc="""
The logarithm to base 10 of each element.

>>> torch.log10(torch.tensor([1., 100.]))
tensor([0., 2.])
""")
unary("log1p", ufunc=np.log1p, keep="x", domain=(-0.7, 3.0), grad=lambda xp, g, x, y: g / (xp.conj(x) + 1), doc="""
log(1 + x) of each element, accurate near 0.

>>> torch.log1p(torch.tensor([0., 1.]))
tensor([0.0000, 0.6931])
""")
unary("sqrt", gpu=True, ufunc=np.sqrt, keep="y", domain=(0.2, 3.0), grad=lambda xp, g, x, y: g / xp.conj(2 * y), doc="""
The square root of each element.

>>> torch.sqrt(torch.tensor([4., 9.]))
tensor([2., 3.])
""")
unary("rsqrt", gpu=True, ufunc=lambda x: np.reciprocal(np.sqrt(x)), keep="y", domain=(0.2, 3.0),
      grad=lambda xp, g, x, y: g * xp.conj(y * y * y) * -0.5, doc="""
1 / sqrt(x) of each element.

>>> torch.rsqrt(torch.tensor([4., 16.]))
tensor([0.5000, 0.2500])
""")
unary("square", gpu=True, ufunc=lambda x: np.square(x) if x.dtype.kind != "b" else x.astype(np.int64), keep="x", to_float=False,
      grad=lambda xp, g, x, y: g * (xp.conj(x) * 2), node="PowBackward0", doc="""
The square of each element.

>>> torch.square(torch.tensor([-2., 3.]))
tensor([4., 9.])
""")
unary("reciprocal", gpu=True, ufunc=np.reciprocal, keep="y", domain=(0.4, 2.0),
      grad=lambda xp, g, x, y: -g * xp.conj(y * y), doc="""
1 / x of each element.

>>> torch.reciprocal(torch.tensor([2., 4.]))
tensor([0.5000, 0.2500])
""")
unary("sigmoid", ufunc=_sigmoid, keep="y", functional=True, compiled="both", gpu=True,
      grad=lambda xp, g, x, y: g * xp.conj((1 - y) * y), doc="""
1 / (1 + exp(-x)) of each element.

>>> torch.sigmoid(torch.tensor([0., 2.]))
tensor([0.5000, 0.8808])
""")

# -- trigonometric and hyperbolic functions ----------------------------------------------------------------------------

unary("sin", gpu=True, ufunc=np.sin, keep="x", grad=lambda xp, g, x, y: g * xp.conj(xp.cos(x)), doc="""
The sine of each element, in radians.

>>> torch.sin(torch.tensor([0., 1.]))
tensor([0.0000, 0.8415])
""")
unary("cos", gpu=True, ufunc=np.cos, keep="x", grad=lambda xp, g, x, y: -g * xp.conj(xp.sin(x)), doc="""
The cosine of each element, in radians.

>>> torch.cos(torch.tensor([0., 1.]))
tensor([1.0000, 0.5403])
""")
unary("tan", ufunc=np.tan, keep="y", domain=(-1.2, 1.2), grad=lambda xp, g, x, y: g * xp.conj(1 + y * y), doc="""
The tangent of each element, in radians.

>>> torch.tan(torch.tensor([0., 1.]))
tensor([0.0000, 1.5574])
""")
unary("asin", "arcsin", ufunc=np.arcsin, keep="x", domain=(-0.9, 0.9),
      grad=lambda xp, g, x, y: g * xp.conj(xp.rsqrt(1 - x * x)), doc="""
The inverse sine of each element, in radians.

>>> torch.asin(torch.tensor([0., 1.]))
tensor([0.0000, 1.5708])
""")
unary("acos", "arccos", ufunc=np.arccos, keep="x", domain=(-0.9, 0.9),
      grad=lambda xp, g, x, y: -g * xp.conj(xp.rsqrt(1 - x * x)), doc="""
The inverse cosine of each element, in radians.

>>> torch.acos(torch.tensor([0., 1.]))
tensor([1.5708, 0.0000])
""")
unary("atan", "arctan", ufunc=np.arctan, keep="x", grad=lambda xp, g, x, y: g / xp.conj(x * x + 1), doc="""
The inverse tangent of each element, in radians.

>>> torch.atan(torch.tensor([0., 1.]))
tensor([0.0000, 0.7854])
""")
unary("sinh", ufunc=np.sinh, keep="x", grad=lambda xp, g, x, y: g * xp.conj(xp.cosh(x)), doc="""
The hyperbolic sine of each element.

>>> torch.sinh(torch.tensor([0., 1.]))
tensor([0.0000, 1.1752])
""")
unary("cosh", ufunc=np.cosh, keep="x", grad=lambda xp, g, x, y: g * xp.conj(xp.sinh(x)), doc="""
The hyperbolic cosine of each element.

>>> torch.cosh(torch.tensor([0., 1.]))
tensor([1.0000, 1.5431])
""")
unary("tanh", ufunc=np.tanh, keep="y", functional=True, compiled="backward", gpu=True,
      grad=lambda xp, g, x, y: g * xp.conj(1 - y * y), doc="""
The hyperbolic tangent of each element.

>>> torch.tanh(torch.tensor([0., 1.]))
tensor([0.0000, 0.7616])
""")
unary("asinh", "arcsinh", ufunc=np.arcsinh, keep="x",
      grad=lambda xp, g, x, y: g * xp.conj(xp.rsqrt(x * x + 1)), doc="""
The inverse hyperbolic sine of each element.

>>> torch.asinh(torch.tensor([0., 1.]))
tensor([0.0000, 0.8814])
""")
unary("acosh", "arccosh", ufunc=np.arccosh, keep="x", domain=(1.2, 3.0),
      grad=lambda xp, g, x, y: g * xp.conj(xp.rsqrt(x * x - 1)), doc="""
The inverse hyperbolic cosine of each element.

>>> torch.acosh(torch.tensor([1., 2.]))
tensor([0.0000, 1.3170])
""")
unary("atanh", "arctanh", ufunc=np.arctanh, keep="x", domain=(-0.8, 0.8),
      grad=lambda xp, g, x, y: g / xp.conj(1 - x * x), doc="""
The inverse hyperbolic tangent of each element.

>>> torch.atanh(torch.tensor([0., 0.5]))
tensor([0.0000, 0.5493])
""")
unary("deg2rad", ufunc=np.deg2rad, grad=lambda xp, g, x, y: g * (math.pi / 180), doc="""
Degrees to radians.

>>> torch.deg2rad(torch.tensor([180., 90.]))
tensor([3.1416, 1.5708])
""")
unary("rad2deg", ufunc=np.rad2deg, grad=lambda xp, g, x, y: g * (180 / math.pi), doc="""
Radians to degrees.

>>> torch.rad2deg(torch.tensor([0., 1.]))
tensor([ 0.0000, 57.2958])
""")
unary("sinc", ufunc=np.sinc, keep="x", grad=_sinc_grad, doc="""
sin(pi x) / (pi x) of each element, 1 at 0.

>>> torch.sinc(torch.tensor([0., 0.5]))
tensor([1.0000, 0.6366])
""")

# -- signs and rounding ------------------------------------------------------------------------------------------------

unary("abs", "absolute", gpu=True, ufunc=np.abs, keep="x", to_float=False, compiled="backward",
      grad=lambda xp, g, x, y: g * xp.sgn(x), doc="""
The absolute value of each element; the modulus of complex ones.

>>> torch.abs(torch.tensor([-1., 2.]))
tensor([1., 2.])
""")
unary("sgn", ufunc=_sign, keep="xy", to_float=False, grad=_sgn_grad, doc="""
The sign of each element; x / |x| for complex ones.

>>> torch.sgn(torch.tensor([-3., 0., 2.]))
tensor([-1.,  0.,  1.])
""")
unary("sign", ufunc=_sign, to_float=False, grad=_flat, doc="""
The sign of each element: -1, 0 or 1.

>>> torch.sign(torch.tensor([-3., 0., 2.]))
tensor([-1.,  0.,  1.])
""")
unary("floor", ufunc=np.floor, to_float=False, grad=_flat, doc="""
Each element rounded down.

>>> torch.floor(torch.tensor([-1.5, 1.5]))
tensor([-2.,  1.])
""")
unary("ceil", ufunc=np.ceil, to_float=False, grad=_flat, doc="""
Each element rounded up.

>>> torch.ceil(torch.tensor([-1.5, 1.5]))
tensor([-1.,  2.])
""")
unary("trunc", "fix", ufunc=np.trunc, to_float=False, grad=_flat, doc="""
Each element rounded towards zero.

>>> torch.trunc(torch.tensor([-1.5, 1.5]))
tensor([-1.,  1.])
""")
unary("frac", ufunc=lambda x: x - np.trunc(x), to_float=False, grad=lambda xp, g, x, y: g, doc="""
The fractional part x - trunc(x) of each element.

>>> torch.frac(torch.tensor([-1.5, 1.25]))
tensor([-0.5000,  0.2500])
""")


# -- rows with arguments ----------------------------------------------------------------------------------------------


@op("round", inplace=True)
class Round(Op):
    """Each element rounded to the nearest integer, halves to even; to `decimals` places if given.

    >>> torch.round(torch.tensor([0.5, 1.5, 2.6]))
    tensor([0., 2., 3.])
    """

    @staticmethod
    def forward(xp: Any, x: Any, decimals: int) -> Any:
        if not decimals:
            return xp.rint(x) if x.dtype.kind in "fc" else x.copy()
        ten = x.dtype.type(10.0 ** abs(decimals))
        return xp.rint(x * ten) / ten if decimals > 0 else xp.rint(x / ten) * ten

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._nothing(g),)

    @staticmethod
    def call(input: Tensor, *, decimals: int = 0, out: Tensor | None = None) -> Tensor:
        result = Round.apply(expect_tensor(input, "round"), decimals)
        return result if out is None else write_out(out, result)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("round", make.uniform((3, 4), -3, 3))
        yield make("round", make.uniform((3, 4), -3, 3), decimals=1)
        yield make("round", make.uniform((3, 4), -300, 300), decimals=-1)
        yield make("round", make.ints((3,), -3, 3))


@op("nan_to_num", inplace=True)
class NanToNum(Op):
    """NaN replaced by `nan`, infinities by `posinf` and `neginf` (by default the dtype's largest and smallest numbers).

    >>> torch.nan_to_num(torch.tensor([float("nan"), 2.]), nan=0.5)
    tensor([0.5000, 2.0000])
    """

    keep = (0,)

    @staticmethod
    def forward(xp: Any, x: Any, nan: float, posinf: float, neginf: float) -> Any:
        if x.dtype.kind not in "fc":
            return x.copy()
        return xp.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp.where(xp.isfinite(s.inputs[0]), g, 0),)

    @staticmethod
    def call(input: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None, *,
             out: Tensor | None = None) -> Tensor:
        d = expect_tensor(input, "nan_to_num").dtype
        if d.is_floating_point:
            limit = finfo(d).max
            posinf, neginf = limit if posinf is None else posinf, -limit if neginf is None else neginf
        result = NanToNum.apply(input, 0.0 if nan is None else nan, posinf, neginf)
        return result if out is None else write_out(out, result)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("nan_to_num", make.uniform((3, 4)))
        yield make("nan_to_num", make.uniform((3, 4)), nan=1.0, posinf=2.0, neginf=-2.0)
        yield make("nan_to_num", make.ints((3,), 0, 5))


@op("logit", inplace=True)
class Logit(Op):
    """log(x / (1 - x)), the inverse of sigmoid; with `eps` x is limited to [eps, 1 - eps] first.

    >>> torch.logit(torch.tensor([0.5, 0.9]))
    tensor([0.0000, 2.1972])
    """

    keep, to_float = (0,), True

    @staticmethod
    def forward(xp: Any, x: Any, eps: float | None) -> Any:
        if eps is not None:
            x = xp.minimum(xp.maximum(x, eps), 1 - eps)
        return xp.log(x / (1 - x))

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        x, eps = s.inputs[0], s.params[0]
        lo, hi = (0.0, 1.0) if eps is None else (eps, 1 - eps)
        inside = (x >= lo) & (x <= hi)
        return (xp.where(inside, g / (x * (1 - x)), 0 if eps is not None else math.nan),)

    @staticmethod
    def call(input: Tensor, eps: float | None = None, *, out: Tensor | None = None) -> Tensor:
        result = Logit.apply(expect_tensor(input, "logit"), None if eps is None else float(eps))
        return result if out is None else write_out(out, result)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("logit", make.uniform((3, 4), 0.1, 0.9))
        yield make("logit", make.uniform((3, 4), 0.01, 0.99), 0.2)


@composite("angle")
def angle(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The angle of each complex element, in radians; 0 or pi for real ones.

    >>> torch.angle(torch.tensor([1.+1.j]))
    tensor([0.7854])
    """
    if input.is_complex():
        result = CARDS["atan2"].call(input.imag, input.real)  # type: ignore[attr-defined]
    else:
        x = input if input.is_floating_point() else input.float()  # type: ignore[attr-defined]
        result = CARDS["where"].call(x.isnan(), x, (x < 0).to(x.dtype) * math.pi)  # type: ignore[attr-defined]
    return result if out is None else write_out(out, result)


@composite("positive")
def positive(input: Tensor) -> Tensor:
    """The tensor itself. RuntimeError for bool.

    >>> torch.positive(torch.tensor([-1.]))
    tensor([-1.])
    """
    if input._array.dtype.kind == "b":
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


_FREXP = return_type("frexp", "mantissa exponent")


@composite("frexp")
def frexp(input: Tensor, *, out: Any = None) -> Any:
    """(mantissa, exponent) with input = mantissa * 2**exponent and 0.5 <= |mantissa| < 1.

    >>> torch.frexp(torch.tensor([8.])).exponent
    tensor([4], dtype=torch.int32)
    """
    if not input.is_floating_point():
        raise RuntimeError(f"torch.frexp() only supports floating-point dtypes, got {input.dtype}")
    exponent = wrap(np.frexp(input.detach().float()._array if input.dtype.half else input._array)[1])  # type: ignore[attr-defined]
    mantissa = CARDS["mul"].call(input, CARDS["pow"].call(2.0, -exponent.to(input.dtype)))
    result = _FREXP(mantissa, exponent)
    return result if out is None else write_out(out, result)


@samples_for("angle")
def _angle_samples(make: Any) -> Any:
    yield make("angle", make.uniform((3, 4)), _grad=False)
    yield make("positive", make.uniform((3, 4)))
    yield make("frexp", make.uniform((3, 4), -40, 40))


Tensor.__abs__ = CARDS["abs"].call  # type: ignore[attr-defined]
