"""Array algorithms under `engine.rng`: Box and Muller's transformation, permutations, Poisson rejection.

Normal numbers come out as torch computes them on AVX2, to the last bit. For float32 torch's kernel evaluates Cephes'
polynomials for log, sin and cos (S. L. Moshier, Cephes Mathematical Library, single precision) with multiply-adds that
round once. NumPy has none; but a product of two float32 is exact in float64, so a float64 multiplication and
addition followed by rounding to float32 gives the same number. The arrays of those functions are therefore float64 that
hold float32 values.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .dtypes import F32, F64


def _constants(*values: float) -> tuple[float, ...]:
    """float32 roundings of the polynomial's coefficients, as Python floats."""
    return tuple(float(np.float32(value)) for value in values)


_LOG = _constants(
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
    -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
_LN2_LOW, _LN2_HIGH = _constants(-2.12194440e-4, 0.693359375)
_SIN = _constants(-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_COS = _constants(2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
_PI_4_PARTS = _constants(-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8)
_FOUR_OVER_PI, _TWO_PI = _constants(1.27323954473516, 2 * np.pi)
_SQRT_HALF = np.float32(0.707106781186547524)


def _rounded(x: np.ndarray) -> np.ndarray:
    """Round float64 values to float32, in place."""
    x[...] = x.astype(F32)
    return x


def _times(a: np.ndarray, b: Any) -> np.ndarray:
    return _rounded(a * b)


def _fma(a: np.ndarray, b: Any, c: Any) -> np.ndarray:
    """a * b + c with one rounding to float32, written over a."""
    a *= b
    a += c
    return _rounded(a)


def _polynomial(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    y = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        _fma(y, x, c)
    return y


def _log(u: np.ndarray) -> np.ndarray:
    """Natural logarithm of float32 u in (0, 1]."""
    bits = u.view(np.int32)
    mantissa = ((bits & 0x7FFFFF) | 0x3F000000).view(F32)  # in [1/2, 1)
    low = mantissa < _SQRT_HALF
    exponent = ((bits >> 23) - 126 - low).astype(F64)
    x = mantissa * (low + 1.0) - 1.0
    square = _times(x, x)
    y = _times(_polynomial(_LOG, x), x)
    y = _fma(y, square, _times(exponent, _LN2_LOW))
    y = _rounded(y - 0.5 * square)
    return _fma(exponent, _LN2_HIGH, _rounded(x + y))


def _sin_cos(angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine of float32 values in [0, 2 pi)."""
    octant = (_times(angle, _FOUR_OVER_PI).astype(np.int32) + 1) & ~1
    x = angle.copy()
    for part in _PI_4_PARTS:
        x = _rounded(x + octant * part)
    square = _times(x, x)
    cos = _times(_polynomial(_COS, square), square)
    cos = _rounded(_fma(cos, square, -0.5 * square) + 1.0)
    sin = _times(_polynomial(_SIN, square), square)
    sin = _fma(sin, x, x)
    swap = (octant & 2) != 0
    sin, cos = np.where(swap, cos, sin), np.where(swap, sin, cos)
    sin *= 1.0 - 0.5 * (octant & 4)
    cos *= 1.0 - 0.5 * ((octant + 2) & 4)
    return sin, cos


def float32_groups(units: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Normal float32 numbers from float32 unit uniforms, a multiple of 16 of them."""
    pairs = units.reshape(-1, 2, 8)
    radius = _log(np.float32(1) - pairs[:, 0])
    radius *= -2.0
    radius = _rounded(np.sqrt(radius, out=radius))
    sin, cos = _sin_cos(_times(pairs[:, 1].astype(F64), _TWO_PI))
    out = np.empty_like(pairs)
    scale, shift = float(np.float32(std)), float(np.float32(mean))
    for half, wave in enumerate((cos, sin)):
        wave *= radius
        out[:, half] = _fma(_rounded(wave), scale, shift)
    return out.reshape(-1)


def float64_groups(units: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Normal float64 numbers from float64 unit uniforms, a multiple of 16 of them."""
    pairs = units.reshape(-1, 2, 8)
    radius, angle = np.sqrt(-2.0 * np.log(1.0 - pairs[:, 0])), (2.0 * np.pi) * pairs[:, 1]
    out = np.empty_like(pairs)
    np.multiply(radius, np.cos(angle), out=out[:, 0])
    np.multiply(radius, np.sin(angle), out=out[:, 1])
    return fma64(out, std, mean).reshape(-1)


def fma64(a: Any, b: float, c: float) -> Any:
    """a * b + c with (almost always) one rounding in float64, by Dekker's exact product and Knuth's exact sum.

    >>> from engine.rng_kernels import fma64
    >>> fma64(0.1, 10.0, -1.0)
    5.551115123125783e-17
    """
    if c == 0:
        return a * b
    if b == 1:
        return a + c
    product = a * b
    a_high, a_low = _split(a)
    b_high, b_low = _split(b)
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    total = product + c
    part = total - product
    return total + (error + ((product - (total - part)) + (c - part)))


def _split(x: Any) -> tuple[Any, Any]:
    big = x * 134217729.0  # 2**27 + 1
    high = big - (big - x)
    return high, x - high


def modulo(words: np.ndarray, span: int) -> np.ndarray:
    """words % span for uint64 words, in place: NumPy's division by a scalar is vectorised, its `%` is not."""
    if span & (span - 1) == 0:
        words &= np.uint64(span - 1)
    else:
        words -= words // np.uint64(span) * np.uint64(span)
    return words


def apply_swaps(n: int, index: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """The permutation that the swaps (i, partner[i] >= i), i upwards, make of 0 .. n-1, without a loop over i.

    Swap i puts at i, for good, what lies at partner[i], and leaves there what lay at i. What lay at i is what the last
    earlier swap with partner i left there, so it is found by following those swaps to their beginning; what lies at
    partner[i] was left by the last earlier swap with the same partner, if there was one.
    """
    moves = partner != index
    origin = np.arange(n, dtype=np.int64)
    origin[partner[moves]] = index[moves]  # the last swap wins where several have the same partner
    while True:  # pointer doubling: as many rounds as the logarithm of the longest chain
        further = origin[origin]
        if np.array_equal(further, origin):
            break
        origin = further
    last = origin.copy()
    shift = np.uint64(n.bit_length())
    keys = np.sort((partner.view(np.uint64) << shift) | index.view(np.uint64))
    when = (keys & ((np.uint64(1) << shift) - np.uint64(1))).view(np.int64)
    where = (keys >> shift).view(np.int64)
    again = where[1:] == where[:-1]
    value = where.copy()
    value[1:][again] = origin[when[:-1][again]]
    stays = ~moves[when]
    value[stays] = origin[when[stays]]
    last[when] = value
    return last
