"""Array algorithms under `engine.rng`: Box and Muller's transformation, permutations, Poisson rejection.

Normal numbers come out as torch computes them on AVX2, to the last bit. For float32 torch's kernel evaluates Cephes'
polynomials for log, sin and cos (S. L. Moshier, Cephes Mathematical Library, single precision) with multiply-adds that
round once. NumPy has none; but a product of two float32 is exact in float64, so a float64 multiplication and
addition followed by rounding to float32 gives the same number. The arrays of those functions are therefore float64 that
hold float32 values.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .dtypes import F32, F64
from .rng_words import Words


def _constants(*values: float) -> tuple[float, ...]:
    """float32 roundings of the polynomial's coefficients, as Python floats."""
    return tuple(float(np.float32(value)) for value in values)


_LOG = _constants(
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
    -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
_LN2_LOW, _LN2_HIGH = _constants(-2.12194440e-4, 0.693359375)
_COS = _constants(2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
_SIN = _constants(-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_COS_SIN = np.array([_COS, _SIN]).T.reshape(3, 2, 1, 1)
_PI_4_PARTS = _constants(-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8)
_FOUR_OVER_PI, _TWO_PI = _constants(1.27323954473516, 2 * np.pi)
_UNIT24, _MASK24, _BITS53 = np.float32(2.0**-24), np.uint64((1 << 24) - 1), (1 << 53) - 1
_TWO_PI64 = 2.0 * math.pi
_cos, _sin, _sqrt, _log1p = math.cos, math.sin, math.sqrt, math.log1p
_SQRT_HALF = np.float32(0.707106781186547524)


def _fma(a: np.ndarray, b: Any, c: Any, low: np.ndarray) -> np.ndarray:
    """a * b + c with one rounding to float32, written over a; `low` is float32 memory of its shape."""
    np.multiply(a, b, a)
    np.add(a, c, a)
    np.copyto(low, a, "same_kind")
    np.copyto(a, low)
    return a


def _rounded(a: np.ndarray, low: np.ndarray) -> np.ndarray:
    """a rounded to float32, in place."""
    np.copyto(low, a, "same_kind")
    np.copyto(a, low)
    return a


def _polynomial(coefficients: Any, x: np.ndarray, y: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Horner's scheme, written over y, which holds the first coefficient."""
    for c in coefficients:
        _fma(y, x, c, low)
    return y


def _log(u: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Natural logarithm of float32 u in (0, 1]."""
    bits = u.view(np.int32)
    mantissa = ((bits & 0x7FFFFF) | 0x3F000000).view(F32)  # in [1/2, 1)
    small = mantissa < _SQRT_HALF
    exponent = ((bits >> 23) - 126 - small).astype(F64)
    x = mantissa * (small + 1.0)
    x -= 1.0
    square = _rounded(x * x, low)
    y = _polynomial(_LOG[1:], x, np.full(x.shape, _LOG[0]), low)
    y *= x
    y = _fma(_rounded(y, low), square, _rounded(exponent * _LN2_LOW, low), low)
    square *= 0.5
    y -= square
    x += _rounded(y, low)
    return _fma(exponent, _LN2_HIGH, _rounded(x, low), low)


def _sin_cos(angle: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Cosine and sine, one after the other, of float32 values in [0, 2 pi); `low` is of that shape."""
    one = low[0]
    octant = (_rounded(angle * _FOUR_OVER_PI, one).astype(np.int32) + 1) & ~1
    x = angle
    for part in _PI_4_PARTS:
        x = _rounded(x + octant * part, one)
    square = _rounded(x * x, one)
    both = np.empty(low.shape)
    both[...] = _COS_SIN[0]
    _polynomial(_COS_SIN[1:], square, both, low)
    cos, sin = both
    cos *= square
    half = square * -0.5
    _rounded(cos, one)
    cos = _fma(cos, square, half, one)
    cos += 1.0
    _rounded(cos, one)
    sin *= square
    sin = _fma(_rounded(sin, one), x, x, one)
    swap = (octant & 2) != 0
    both[0], both[1] = np.where(swap, sin, cos), np.where(swap, cos, sin)
    both[0] *= 1.0 - 0.5 * ((octant + 2) & 4)
    both[1] *= 1.0 - 0.5 * (octant & 4)
    return both


def float32_groups(words: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Normal float32 numbers from a multiple of 16 words (uint64)."""
    units = (words & _MASK24).astype(F32)
    units *= _UNIT24
    pairs = units.reshape(-1, 2, 8)
    half = (pairs.shape[0], 8)
    low = np.empty((2, *half), F32)
    radius = _log(np.float32(1) - pairs[:, 0], low[0])
    radius *= -2.0
    _rounded(np.sqrt(radius, radius), low[0])
    angle = pairs[:, 1].astype(F64)
    angle *= _TWO_PI
    waves = _sin_cos(_rounded(angle, low[0]), low)
    waves *= radius
    np.copyto(low, waves, "same_kind")
    return scaled(low.transpose(1, 0, 2).reshape(-1), mean, std)


def scaled(standard: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Standard normal float32 numbers with another mean and deviation."""
    if mean == 0:
        return standard if std == 1 else standard * np.float32(std)
    numbers = standard.astype(F64)
    numbers *= float(np.float32(std))
    numbers += float(np.float32(mean))
    return numbers.astype(F32)


FEW = 304  # numbers up to which those of the next calls are made as well; two calls' words are in one block


class Coming:
    """Normal float32 numbers of coming calls: programs draw the same number of them again and again.

    Making 16 numbers takes a hundred NumPy calls, and making 600 hardly longer. So when a call begins where the one before
    ended, what is left of the words that are ahead is made into numbers. They are used if nothing else was drawn meanwhile.
    """

    __slots__ = ("ahead", "at", "length", "n", "numbers", "steady")

    def __init__(self) -> None:
        self.ahead: Any = None  # the array of words that the numbers are of
        self.at = self.n = self.length = 0  # where the next call's words begin, its numbers and its words
        self.numbers: Any = iter(())  # an array for each coming call
        self.steady = False

    def take(self, words: Words, n: int) -> np.ndarray:
        """The next n standard normal numbers, 16 to FEW."""
        with words.lock:
            if n == self.n and words.at == self.at and words.ahead is self.ahead:
                made = next(self.numbers, None)
                if made is not None:
                    words.at = self.at = self.at + self.length
                    return made
            return self._make(words, n, n % 16)

    def _make(self, words: Words, n: int, tail: int) -> np.ndarray:
        length = n + 16 if tail else n
        ahead, at = words.window(length)
        if ahead is self.ahead:
            self.steady = at == self.at
        calls = (ahead.size - at) // length if self.steady else 1
        rows = ahead[at : at + calls * length].reshape(calls, length)
        if tail:
            rows = np.concatenate([rows[:, : n - tail], rows[:, n:]], 1)
        numbers = float32_groups(rows.reshape(-1), 0.0, 1.0).reshape(calls, -1)
        if tail:
            numbers[:, n - 16 : n] = numbers[:, -16:].copy()
        self.ahead, self.n, self.length, self.numbers = ahead, n, length, iter([row[:n].copy() for row in numbers])
        words.at = self.at = at + length
        return next(self.numbers)


def few_pairs(words: list[int]) -> list[float]:
    """Standard normal numbers as doubles, two of every four words, by the C library's functions as torch has them."""
    numbers = []
    following = iter(words)
    for a, b, c, d in zip(following, following, following, following):
        radius = _sqrt(-2.0 * _log1p(((c << 32 | d) & _BITS53) * -(2.0**-53)))
        angle = _TWO_PI64 * (((a << 32 | b) & _BITS53) * 2.0**-53)
        numbers.append(radius * _cos(angle))
        numbers.append(radius * _sin(angle))
    return numbers


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
    """words % span for uint64 words: NumPy's division by a scalar is vectorised, its `%` is not."""
    if span & (span - 1) == 0:
        return words & np.uint64(span - 1)
    return words - words // np.uint64(span) * np.uint64(span)


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
