"""exp, log, tanh, sigmoid and erf of float32 numbers as polynomials, which the compiler turns into vector instructions.

numba's own go through the C library one number at a time. Worst errors, in units of the last place, are in
tests/engine/test_fast.py, which measures them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .jit import inline


def _cast(typingctx, x):  # type: ignore[no-untyped-def]
    def bits(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.bitcast(args[0], ir.IntType(32))

    return types.int32(types.float32), bits


def _cast_back(typingctx, x):  # type: ignore[no-untyped-def]
    def number(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), number


bits_of: Any = intrinsic(_cast)  # the bits of a float32 as an int32
float_of: Any = intrinsic(_cast_back)  # and back

F, INT = np.float32, np.int32
ZERO, HALF, ONE, TWO = F(0), F(0.5), F(1), F(2)

_ROUND = F(12582912.0)  # 1.5 * 2**23: adding it leaves a number's nearest integer in the lowest bits
_LOG2E, _LN2_HIGH, _LN2_LOW = F(1.44269504088896341), F(0.693359375), F(-2.12194440e-4)
# exp(r) - 1 - r over r**2 for |r| < ln(2) / 2 (Cephes' expf)
_E0, _E1, _E2 = F(1.9875691500e-4), F(1.3981999507e-3), F(8.3334519073e-3)
_E3, _E4, _E5 = F(4.1665795894e-2), F(1.6666665459e-1), F(5.0000001201e-1)
_EXP_LOW, _EXP_HIGH = F(-104.0), F(89.0)  # below: 0; above: infinity
_EXPM1_LOW = F(-26.0)  # below: -1
_SHIFT, _BIAS = INT(23), INT(127)


@inline
def exp(x):  # type: ignore[no-untyped-def]
    """e**x: 2**n * e**r with r = x - n * ln(2); 2**n in two factors, so that denormal results come out."""
    x = _EXP_LOW if x < _EXP_LOW else x
    x = _EXP_HIGH if x > _EXP_HIGH else x
    shifted = x * _LOG2E + _ROUND
    n = shifted - _ROUND
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    p = ((((_E0 * r + _E1) * r + _E2) * r + _E3) * r + _E4) * r + _E5
    y = p * (r * r) + r + ONE
    power = bits_of(shifted) - bits_of(_ROUND)
    half = power >> INT(1)
    return y * float_of((half + _BIAS) << _SHIFT) * float_of((power - half + _BIAS) << _SHIFT)


# (2**r - 1) / r for |r| < 1/2 (Cephes' exp2f)
_T0, _T1, _T2 = F(1.535336188319500e-4), F(1.339887440266574e-3), F(9.618437357674640e-3)
_T3, _T4, _T5 = F(5.550332471162809e-2), F(2.402264791363012e-1), F(6.931472028550421e-1)
_LEAST_POWER = F(-126.0)


@inline
def exp_down(x):  # type: ignore[no-untyped-def]
    """e**x for x up to 0, or above it by a rounding error: to 2e-7 + 1e-7 * |x| of itself, and 0 for denormal results.

    Takes half of `exp`'s time. A softmax asks for no more: what the error of x does to it is as small as the number.
    """
    power = x * _LOG2E
    kept = _LEAST_POWER if power < _LEAST_POWER else power
    shifted = kept + _ROUND
    r = kept - (shifted - _ROUND)
    y = (((((_T0 * r + _T1) * r + _T2) * r + _T3) * r + _T4) * r + _T5) * r + ONE
    y *= float_of((bits_of(shifted) - bits_of(_ROUND) + _BIAS) << _SHIFT)
    return ZERO if power < _LEAST_POWER else y


@inline
def expm1(x):  # type: ignore[no-untyped-def]
    """exp(x) - 1 for x up to 0 and a little above: with 2**n taken off at the end, so that small x keep their digits."""
    x = _EXPM1_LOW if x < _EXPM1_LOW else x
    shifted = x * _LOG2E + _ROUND
    n = shifted - _ROUND
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    p = ((((_E0 * r + _E1) * r + _E2) * r + _E3) * r + _E4) * r + _E5
    power = float_of((bits_of(shifted) - bits_of(_ROUND) + _BIAS) << _SHIFT)
    return (p * (r * r) + r) * power + (power - ONE)


@inline
def less(x, a, b):  # type: ignore[no-untyped-def]
    """(x - a) - b. Kernels may take it as x - (a + b), which loses digits where x and a are near each other."""
    return (x - a) - b


@inline
def ordered(x):  # type: ignore[no-untyped-def]
    """An int32 that sorts as the float32 does: integer maxima become vector instructions, with NaN above infinity."""
    b = bits_of(x)
    return b ^ ((b >> INT(31)) & INT(0x7FFFFFFF))


@inline
def from_ordered(k):  # type: ignore[no-untyped-def]
    """The float32 of `ordered`'s number."""
    return float_of(k ^ ((k >> INT(31)) & INT(0x7FFFFFFF)))


# log(1 + r) - r + r**2 / 2 over r**3 for 1 + r in [sqrt(1/2), sqrt(2)] (Cephes' logf)
_L0, _L1, _L2 = F(7.0376836292e-2), F(-1.1514610310e-1), F(1.1676998740e-1)
_L3, _L4, _L5 = F(-1.2420140846e-1), F(1.4249322787e-1), F(-1.6668057665e-1)
_L6, _L7, _L8 = F(2.0000714765e-1), F(-2.4999993993e-1), F(3.3333331174e-1)
_ROOT_HALF_BITS, _ONE_BITS, _MANTISSA = INT(0x3F3504F3), INT(0x3F800000), INT(0x007FFFFF)


@inline
def log(x):  # type: ignore[no-untyped-def]
    """The natural logarithm of positive normal numbers, which is all that kernels ask for; infinity and NaN give 88.7."""
    b = bits_of(x) + (_ONE_BITS - _ROOT_HALF_BITS)
    n = F((b >> _SHIFT) - _BIAS)
    r = float_of((b & _MANTISSA) + _ROOT_HALF_BITS) - ONE
    square = r * r
    p = ((((((((_L0 * r + _L1) * r + _L2) * r + _L3) * r + _L4) * r + _L5) * r + _L6) * r + _L7) * r + _L8) * r * square
    return r + (p - HALF * square + n * _LN2_LOW) + n * _LN2_HIGH


@inline
def log1p_exp(x):  # type: ignore[no-untyped-def]
    """log(1 + exp(x)) for any x: max(x, 0) + log(1 + exp(-|x|)), with what 1 + e lost put back."""
    e = exp(-abs(x))
    u = ONE + e
    return max(x, ZERO) + log(u) + (e - (u - ONE)) / u


@inline
def sigmoid(x):  # type: ignore[no-untyped-def]
    """1 / (1 + exp(-x))."""
    return ONE / (ONE + exp(-x))


@inline
def tanh(x):  # type: ignore[no-untyped-def]
    """To about 1e-7 of 1, which is enough under `1 + tanh`."""
    return TWO / (ONE + exp(-TWO * x)) - ONE


# The rational form of engine/ops/special_values.py.
_P0, _P1, _P2, _P3 = F(-2.72614225801306e-10), F(2.77068142495902e-08), F(-2.10102402082508e-06), F(-5.69250639462346e-05)
_P4, _P5, _P6 = F(-7.34990630326855e-04), F(-2.95459980854025e-03), F(-1.60960333262415e-02)
_Q0, _Q1, _Q2 = F(-1.45660718464996e-05), F(-2.13374055278905e-04), F(-1.68282697438203e-03)
_Q3, _Q4 = F(-7.37332916720468e-03), F(-1.42647390514189e-02)
_FOUR = F(4)


@inline
def erf(x):  # type: ignore[no-untyped-def]
    """The error function."""
    x = -_FOUR if x < -_FOUR else x
    x = _FOUR if x > _FOUR else x
    s = x * x
    p = ((((((_P0 * s + _P1) * s + _P2) * s + _P3) * s + _P4) * s + _P5) * s + _P6) * x
    return p / ((((_Q0 * s + _Q1) * s + _Q2) * s + _Q3) * s + _Q4)
