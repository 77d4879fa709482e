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


@inline
def ordered(x):  # type: ignore[no-untyped-def]
    """An int32 that sorts as the float32 does: integer maxima become vector instructions, with NaN above infinity."""
    b = bits_of(x)
    return b ^ ((b >> INT(31)) & INT(0x7FFFFFFF))


@inline
def from_ordered(k):  # type: ignore[no-untyped-def]
    """The float32 of `ordered`'s number."""
    return float_of(k ^ ((k >> INT(31)) & INT(0x7FFFFFFF)))
