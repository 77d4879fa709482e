"""MT19937 and what becomes of its words, to the last bit of `engine/rng.py` and `engine/rng_kernels.py` (which say why)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from .functions import INT, F, bits_of, float_of
from .jit import exact, exact_inline

_PERIOD, _SHIFTED = 624, 397
_U = np.uint32
_UPPER, _LOWER, _MATRIX = _U(0x80000000), _U(0x7FFFFFFF), _U(0x9908B0DF)
_MASK_B, _MASK_C, _MASK24 = _U(0x9D2C5680), _U(0xEFC60000), _U((1 << 24) - 1)
_ZERO, _ONE, _TWO = _U(0), _U(1), _U(2)


def _fused(typingctx, a, b, c):  # type: ignore[no-untyped-def]
    def number(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.fma(*args)

    return types.float32(types.float32, types.float32, types.float32), number


fma: Any = intrinsic(_fused)  # a * b + c with one rounding


@exact_inline
def _mixed(this, following, other):  # type: ignore[no-untyped-def]
    y = (this & _UPPER) | (following & _LOWER)
    return other ^ (y >> _ONE) ^ ((_ZERO - (y & _ONE)) & _MATRIX)


@exact
def words(key, position, out):  # type: ignore[no-untyped-def]
    """Fill `out`, going on at a position in the block `key`; the position after that (Matsumoto and Nishimura 1998)."""
    done = 0
    while done < len(out):
        if position == _PERIOD:
            for i in range(_PERIOD - _SHIFTED):
                key[i] = _mixed(key[i], key[i + 1], key[i + _SHIFTED])
            for i in range(_PERIOD - _SHIFTED, _PERIOD - 1):
                key[i] = _mixed(key[i], key[i + 1], key[i + _SHIFTED - _PERIOD])
            key[_PERIOD - 1] = _mixed(key[_PERIOD - 1], key[0], key[_SHIFTED - 1])
            position = 0
        count = min(_PERIOD - position, len(out) - done)
        source, target = key[position : position + count], out[done : done + count]
        for i in range(count):
            y = source[i]
            y ^= y >> _U(11)
            y ^= (y << _U(7)) & _MASK_B
            y ^= (y << _U(15)) & _MASK_C
            target[i] = y ^ (y >> _U(18))
        position += count
        done += count
    return position


@exact
def floats(words, out):  # type: ignore[no-untyped-def]
    """24 bits of each word as a float32 in [0, 1)."""
    for i in range(len(out)):
        out[i] = F(INT(words[i] & _MASK24)) * F(2.0**-24)


@exact
def scaled_floats(words, width, low, high, out):  # type: ignore[no-untyped-def]
    """The same in [low, high), with one rounding."""
    for i in range(len(out)):
        y = fma(F(INT(words[i] & _MASK24)) * F(2.0**-24), width, low)
        out[i] = low if y == high else y


@exact_inline
def _bits53(words, i):  # type: ignore[no-untyped-def]
    high, low = np.int64(words[2 * i]), np.int64(words[2 * i + 1])
    return ((high & np.int64((1 << 21) - 1)) << np.int64(32)) | low


@exact
def doubles(words, out):  # type: ignore[no-untyped-def]
    """53 bits of two words as a float64 in [0, 1)."""
    for i in range(len(out)):
        out[i] = np.float64(_bits53(words, i)) * 2.0**-53


@exact
def below(words, limit, out):  # type: ignore[no-untyped-def]
    """Whether the 53 bits of two words are less than an integer."""
    for i in range(len(out)):
        out[i] = _bits53(words, i) < limit


_HALF, _SQRT_HALF, _UNIT = F(0.5), F(0.707106781186547524), F(1)
_LN2_LOW, _LN2_HIGH = F(-2.12194440e-4), F(0.693359375)
_L0, _L1, _L2 = F(7.0376836292e-2), F(-1.1514610310e-1), F(1.1676998740e-1)
_L3, _L4, _L5 = F(-1.2420140846e-1), F(1.4249322787e-1), F(-1.6668057665e-1)
_L6, _L7, _L8 = F(2.0000714765e-1), F(-2.4999993993e-1), F(3.3333331174e-1)
_S0, _S1, _S2 = F(-1.9515295891e-4), F(8.3321608736e-3), F(-1.6666654611e-1)
_C0, _C1, _C2 = F(2.443315711809948e-5), F(-1.388731625493765e-3), F(4.166664568298827e-2)
_PI0, _PI1, _PI2 = F(-0.78515625), F(-2.4187564849853515625e-4), F(-3.77489497744594108e-8)
_FOUR_OVER_PI, _TWO_PI = F(1.27323954473516), F(2 * np.pi)


@exact_inline
def _log(u):  # type: ignore[no-untyped-def]
    bits = bits_of(u)
    mantissa = float_of((bits & INT(0x7FFFFF)) | INT(0x3F000000))
    low = INT(1) if mantissa < _SQRT_HALF else INT(0)
    exponent = F((bits >> INT(23)) - INT(126) - low)
    x = mantissa * F(low + INT(1)) - _UNIT
    square = x * x
    y = fma(fma(fma(fma(fma(fma(fma(fma(_L0, x, _L1), x, _L2), x, _L3), x, _L4), x, _L5), x, _L6), x, _L7), x, _L8) * x
    y = fma(y, square, exponent * _LN2_LOW) - _HALF * square
    return fma(exponent, _LN2_HIGH, x + y)


@exact
def normals(words, scale, shift, pairs, out):  # type: ignore[no-untyped-def]
    """Box and Muller's numbers of whole groups of 16 words; `pairs` is float32 memory of two rows for half of them."""
    groups = len(out) // 16
    first, second = pairs[0], pairs[1]
    for g in range(groups):
        for k in range(8):
            first[8 * g + k] = F(INT(words[16 * g + k] & _MASK24)) * F(2.0**-24)
            second[8 * g + k] = F(INT(words[16 * g + 8 + k] & _MASK24)) * F(2.0**-24)
    for i in range(8 * groups):
        radius = np.sqrt(F(-2) * _log(_UNIT - first[i]))
        angle = second[i] * _TWO_PI
        octant = (INT(angle * _FOUR_OVER_PI) + INT(1)) & INT(-2)
        n = F(octant)
        x = fma(n, _PI2, fma(n, _PI1, fma(n, _PI0, angle)))
        square = x * x
        cos = fma(fma(fma(_C0, square, _C1), square, _C2) * square, square, -_HALF * square) + _UNIT
        sin = fma(fma(fma(_S0, square, _S1), square, _S2) * square, x, x)
        swap = (octant & INT(2)) != INT(0)
        a, b = (cos, sin) if swap else (sin, cos)
        a = -a if (octant & INT(4)) != INT(0) else a
        b = -b if ((octant + INT(2)) & INT(4)) != INT(0) else b
        first[i] = fma(b * radius, scale, shift)
        second[i] = fma(a * radius, scale, shift)
    for g in range(groups):
        for k in range(8):
            out[16 * g + k] = first[8 * g + k]
            out[16 * g + 8 + k] = second[8 * g + k]


@exact
def permute(words, order, first):  # type: ignore[no-untyped-def]
    """Swap element i with i + word % (n - i), for as many i from `first` on as there are words."""
    n = len(order)
    for k in range(len(words)):
        i = first + k
        j = i + np.int64(words[k] % _U(n - i))
        order[i], order[j] = order[j], order[i]
