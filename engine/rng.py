"""The CPU random generator: MT19937 and the transformations that give torch's numbers for the same seed.

`w` below is the generator's next 32-bit word and `ww` its next two, the first one high. A distribution is a method of
`Generator` that takes a shape and returns a fresh C-ordered NumPy array; element order alone decides the numbers, not
the shape. An array that is not contiguous is filled in memory order: see `assign_in_memory_order`.

Every number is checked against torch 2.13 on a CPU with AVX2 (`tests/engine/test_rng.py`). On other CPUs torch itself
gives other numbers: `normal` may differ in the last bit, and Intel CPUs draw `bernoulli_` from another generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import rng_kernels as kernels
from . import rng_rejection as rejection
from .copying import axes_in_memory
from .devices import as_device
from .dtypes import BF16, F16, F32, F64
from .pool import scratch
from .rng_checks import check_multinomial, check_normal, check_uniform
from .rng_source import Shape, Source, cast
from .rng_words import BLOCK

BOOL, INT64 = np.dtype(np.bool_), np.dtype(np.int64)

_WORD_LIMIT = 1 << 28  # ranges below this use one word per integer, larger ones two (at most 5 % skew from the modulo)
_SMALL_PERMUTATION = 512

# What `random_()` without bounds draws: (words per element, modulus), by dtype.
_WHOLE_RANGE = {
    np.dtype(np.bool_): (1, 2),
    np.dtype(np.uint8): (1, 1 << 8),
    np.dtype(np.int8): (1, 1 << 7),
    np.dtype(np.int16): (1, 1 << 15),
    np.dtype(np.int32): (1, 1 << 31),
    np.dtype(np.int64): (2, 1 << 63),
    F16: (1, (1 << 11) + 1),
    BF16: (1, (1 << 8) + 1),
    F32: (1, (1 << 24) + 1),
    F64: (2, (1 << 53) + 1),
}


def assign_in_memory_order(target: np.ndarray, values: np.ndarray) -> None:
    """Write `values` (any shape, same number of elements) into `target` in the order its elements lie in memory.

    That is the order in which torch's generator kernels fill a transposed or sliced tensor.
    """
    view = target.transpose(axes_in_memory(target))
    view[...] = values.reshape(view.shape)


class Generator(Source):
    """A source of random numbers: MT19937, with torch's seeding, state layout and transformations.

    `Generator("cuda")` draws on a GPU (`rng_device.py`): reproducible by seed, but not torch's CUDA numbers.

    >>> g = torch.Generator().manual_seed(0)
    >>> torch.rand(2, generator=g)
    tensor([0.4963, 0.7682])
    >>> g.initial_seed()
    0
    """

    __slots__ = ()

    def __new__(cls, device: Any = "cpu") -> Generator:
        if cls is Generator and device != "cpu" and as_device(device).type == "cuda":
            from .rng_device import DeviceGenerator

            return object.__new__(DeviceGenerator)
        return object.__new__(cls)

    # ---- continuous distributions ------------------------------------------------------------------------------

    def uniform(self, shape: Shape, dtype: np.dtype, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """Uniform on [low, high): 24-bit fractions for float32 and the half types, 53-bit ones for float64.

        Raises RuntimeError when low > high, or a bound or their distance does not fit the dtype.
        """
        n, plain = math.prod(shape), low == 0.0 and high == 1.0
        if plain and dtype is F32:
            out = self._unit_floats(n)
            return out if len(shape) == 1 else out.reshape(shape)
        if not plain:
            check_uniform(dtype, low, high)
        if dtype == F32 and not plain and (compiled := self._compiled(n)):
            out = np.empty(n, F32)
            for span, words in self._words.blocks(compiled, n):
                compiled.scaled_floats(words, F32.type(high) - F32.type(low), F32.type(low), F32.type(high), out[span])
            return out.reshape(shape)
        out = self._unit_doubles(n) if dtype == F64 else self._unit_floats(n)
        if plain:
            if dtype in (F16, BF16):
                out = out.astype(dtype)
                out[out == 1] = 0  # rounded up to the bound that does not belong to the range
            return out.reshape(shape)
        if dtype == F64:
            out = kernels.fma64(out, high - low, low)
        else:
            first, width = np.float32(low), np.float32(high) - np.float32(low)
            for start in range(0, n, BLOCK):
                part = out[start : start + BLOCK]
                # torch's compiler fuses the multiplication and addition: one rounding, here through float64
                part[...] = part.astype(F64) * float(width) + float(first)
            out = out.astype(dtype, copy=False)
        out[out == dtype.type(high)] = dtype.type(low)
        return out.reshape(shape)

    def normal(
        self, shape: Shape, dtype: np.dtype, mean: float = 0.0, std: float = 1.0, contiguous: bool = True
    ) -> np.ndarray:
        """Normal numbers by Box and Muller's transformation.

        16 or more contiguous elements: unit uniforms in groups of 16, the first eight of a group with the last eight; a
        ragged tail draws its last 16 anew. Otherwise pairs of doubles, the second one kept for the next call.
        Raises RuntimeError when std < 0.
        """
        check_normal(std)
        n = math.prod(shape)
        if n < 16:
            few = self._few_normals(n)
            if mean or std != 1:
                few = [kernels.fma64(x, float(std), float(mean)) for x in few]
            out = np.array(few, dtype) if dtype is F32 else cast(np.array(few, F64), dtype)
            return out if len(shape) == 1 else out.reshape(shape)
        if not contiguous:
            return cast(kernels.fma64(self._serial_normals(n), std, mean), dtype).reshape(shape)
        out = self._float64_normals(n, mean, std) if dtype == F64 else self._float32_normals(n, mean, std, dtype == F32)
        return out.astype(dtype, copy=False).reshape(shape)

    def _float64_normals(self, n: int, mean: float, std: float) -> np.ndarray:
        out, tail = np.empty(n, F64), n % 16
        for start in range(0, n - tail, BLOCK):
            part = out[start : min(start + BLOCK, n - tail)]
            part[...] = kernels.float64_groups(self._unit_doubles(part.size), mean, std)
        if tail:
            self._unit_doubles(tail)  # torch draws for the ragged tail as well, before it draws the last 16 anew
            out[n - 16 :] = kernels.float64_groups(self._unit_doubles(16), mean, std)
        return out

    def _float32_normals(self, n: int, mean: float, std: float, skips: bool) -> np.ndarray:
        """n >= 16 numbers; `skips`: words for the ragged tail are drawn before its 16 (torch's half types do not)."""
        tail = n % 16
        if n <= kernels.FEW and skips:
            return kernels.scaled(self._coming.take(self._words, n), mean, std)
        out = np.empty(n, F32)
        if compiled := self._compiled(n):
            pairs, scale, shift = scratch(BLOCK, F32, slot=7).reshape(2, -1), F32.type(std), F32.type(mean)
            for span, words in self._words.blocks(compiled, n - tail):
                compiled.normals(words, scale, shift, pairs, out[span])
        else:
            for start in range(0, n - tail, BLOCK):
                part = out[start : min(start + BLOCK, n - tail)]
                part[...] = kernels.float32_groups(self._words.take(part.size), mean, std)
        if tail:
            if skips:
                self._words.take(tail)
            out[n - 16 :] = kernels.float32_groups(self._words.take(16), mean, std)
        return out

    def _few_normals(self, n: int) -> list[float]:
        """n standard normals from pairs of doubles: cosine first, sine next (or kept for the next call)."""
        first = []
        if self._normal is not None and n:
            first, self._normal = [self._normal], None
            n -= 1
        if not n:
            return first
        drawn = kernels.few_pairs(self._words.integers(n + n % 2 << 1))
        if n % 2:
            self._normal = drawn.pop()
        return first + drawn if first else drawn

    def _serial_normals(self, n: int) -> np.ndarray:
        """The same as an array, float64."""
        if n < 64:
            return np.array(self._few_normals(n), F64)
        out = np.empty(n + 1, F64)
        first = 0
        if self._normal is not None:
            out[0], self._normal, first = self._normal, None, 1
        for start in range(first, n, BLOCK):
            wanted = min(BLOCK, n - start)
            u = self._unit_doubles(wanted + wanted % 2)
            radius, angle = np.sqrt(-2.0 * np.log1p(-u[1::2])), (2.0 * math.pi) * u[0::2]
            np.multiply(radius, np.cos(angle), out=out[start : start + u.size : 2])
            np.multiply(radius, np.sin(angle), out=out[start + 1 : start + u.size : 2])
            if wanted % 2:
                self._normal = float(out[n])
        return out[:n]

    def log_normal(self, shape: Shape, dtype: np.dtype, mean: float = 1.0, std: float = 2.0) -> np.ndarray:
        """exp of normal numbers; mean and std are the underlying normal's. RuntimeError when std <= 0."""
        if not std > 0:
            raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
        with np.errstate(over="ignore"):
            numbers = np.exp(kernels.fma64(self._serial_normals(math.prod(shape)), std, mean))
            return cast(numbers, dtype).reshape(shape)

    def exponential(self, shape: Shape, dtype: np.dtype, lambd: float = 1.0) -> np.ndarray:
        """-log1p(-u) / lambd. Raises RuntimeError when lambd <= 0."""
        if not lambd > 0:
            raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
        return self._from_doubles(shape, dtype, lambda u: (-1.0 / lambd) * np.log1p(-u))

    def cauchy(self, shape: Shape, dtype: np.dtype, median: float = 0.0, sigma: float = 1.0) -> np.ndarray:
        """median + sigma * tan(pi * (u - 1/2)). Raises RuntimeError when sigma <= 0."""
        if not sigma > 0:
            raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
        return self._from_doubles(shape, dtype, lambda u: kernels.fma64(np.tan(math.pi * (u - 0.5)), sigma, median))

    # ---- integers ----------------------------------------------------------------------------------------------

    def randint(self, shape: Shape, low: int, high: int, dtype: np.dtype = INT64) -> np.ndarray:
        """Integers on [low, high): low + w % (high - low), with `ww` for ranges of 2**28 and more.

        Raises RuntimeError when low >= high.
        """
        if low >= high:
            raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
        span, n = high - low, math.prod(shape)
        draw = self._words.take if span < _WORD_LIMIT else self._double_words
        return self._integers(n, draw, span, low, dtype).reshape(shape)

    def random(self, shape: Shape, dtype: np.dtype) -> np.ndarray:
        """`random_()` without bounds: an integer type's whole non-negative range, a floating one's [0, 2**mantissa].

        Raises NotImplementedError for other dtypes.
        """
        if dtype not in _WHOLE_RANGE:
            raise NotImplementedError(f'"random_kernel_cpu" not implemented for dtype {dtype}')
        words, modulus = _WHOLE_RANGE[dtype]
        draw = self._words.take if words == 1 else self._double_words
        return self._integers(math.prod(shape), draw, modulus, 0, dtype).reshape(shape)

    def random_bits64(self, shape: Shape, dtype: np.dtype) -> np.ndarray:
        """All 2**64 values, as int64 and then `dtype`: `random_(-2**63, None)`."""
        return self._double_words(math.prod(shape)).view(np.int64).astype(dtype, copy=False).reshape(shape)

    def _integers(self, n: int, draw: Callable[[int], np.ndarray], span: int, low: int, dtype: np.dtype) -> np.ndarray:
        out = np.empty(n, dtype)
        for start in range(0, n, BLOCK):
            part = out[start : start + BLOCK]
            numbers = kernels.modulo(draw(part.size), span).view(np.int64)
            if low:
                numbers += low
            part[...] = cast(numbers, dtype)
        return out

    def randperm(self, n: int) -> np.ndarray:
        """A permutation of 0 .. n-1, int64: for i upwards, swap i with i + w % (n - i). RuntimeError when n < 0."""
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
        steps = max(n - 1, 0)
        if n < (1 << 32) // 20 and (compiled := self._compiled(n)):
            swapped = np.arange(n)
            for span, drawn in self._words.blocks(compiled, steps):
                compiled.permute(drawn, swapped, span.start)
            return swapped
        words = self._words.take(steps) if n < (1 << 32) // 20 else self._double_words(steps)
        index = np.arange(steps, dtype=np.int64)
        partner = (words % np.arange(n, 1, -1, dtype=np.uint64)).view(np.int64)
        partner += index
        if n > _SMALL_PERMUTATION:
            return kernels.apply_swaps(n, index, partner)
        order = list(range(n))
        for i, j in enumerate(partner.tolist()):
            order[i], order[j] = order[j], order[i]
        return np.array(order, dtype=np.int64)

    # ---- discrete distributions --------------------------------------------------------------------------------

    def bernoulli_scalar(self, p: float, shape: Shape, dtype: np.dtype = BOOL) -> np.ndarray:
        """1 with probability p: one 53-bit double per element, below p. RuntimeError unless 0 <= p <= 1."""
        if not 0 <= p <= 1:
            raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
        out = np.empty(math.prod(shape), dtype)
        limit = math.ceil(p * 2.0**53)  # k * 2**-53 < p, in integers
        if compiled := self._compiled(out.size):
            mask = out if dtype == BOOL else np.empty(out.size, BOOL)
            for span, words in self._words.blocks(compiled, out.size, 2):
                compiled.below(words, limit, mask[span])
            return mask.astype(dtype, copy=False).reshape(shape)
        for start in range(0, out.size, BLOCK):
            part = out[start : start + BLOCK]
            part[...] = self._bits53(part.size) < np.uint64(limit)
        return out.reshape(shape)

    def bernoulli_array(self, p: np.ndarray, dtype: np.dtype | None = None) -> np.ndarray:
        """1 with the probabilities p (same shape): a 53-bit double per element for float64, a 24-bit float otherwise.

        The result has p's dtype unless `dtype` is given. Raises RuntimeError unless 0 <= p <= 1 everywhere.
        """
        if not ((p >= 0) & (p <= 1)).all():
            raise RuntimeError("bernoulli expects all elements of p to be in [0, 1]")
        flat = np.ascontiguousarray(p).reshape(-1)
        units = self._unit_doubles(flat.size) if p.dtype == F64 else self._unit_floats(flat.size)
        return (units < flat.astype(units.dtype, copy=False)).astype(dtype or p.dtype).reshape(p.shape)

    def geometric(self, shape: Shape, dtype: np.dtype, p: float) -> np.ndarray:
        """Trials up to the first success: ceil(log(u) / log1p(-p)). RuntimeError unless 0 < p < 1."""
        if not 0 < p < 1:
            raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
        return self._from_doubles(shape, dtype, lambda u: np.ceil(np.log(u) / math.log1p(-p)))

    def poisson(self, rate: np.ndarray) -> np.ndarray:
        """Poisson counts for each rate, in rate's shape and dtype. Raises RuntimeError for a negative rate."""
        if not (rate >= 0).all():
            raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
        return self._one_by_one(lambda r: rejection.poisson(r, self._unit_double), rate.dtype, rate)

    def binomial(self, count: np.ndarray, prob: np.ndarray) -> np.ndarray:
        """Successes in `count` trials of probability `prob`; the two have one shape, the result has count's dtype."""
        kind = count.dtype.type
        return self._one_by_one(lambda n, p: rejection.binomial(n, p, self._unit_double, kind), count.dtype, count, prob)

    def gamma(self, shape: np.ndarray) -> np.ndarray:
        """Gamma variables of rate 1 with these shapes, float64; what depends on the shape is computed in its dtype."""
        small = shape < 1
        with np.errstate(divide="ignore"):
            power = np.where(small, 1 / shape, 0)
        d = np.where(small, shape + 1, shape) - F32.type(1 / 3).astype(shape.dtype)
        return self._one_by_one(lambda d, u: rejection.gamma(d, u, self._unit_double, self._normal_double), F64, d, power)

    def _one_by_one(self, draw: Callable[..., float], dtype: np.dtype, *parameters: np.ndarray) -> np.ndarray:
        # Each number takes as many draws as it needs, so there is no vector form (about 5 us each).
        columns = [p.astype(F64).reshape(-1).tolist() for p in parameters]
        return np.array([draw(*row) for row in zip(*columns)], F64).astype(dtype).reshape(parameters[0].shape)

    def _unit_double(self) -> float:
        high, low = self._words.integers(2)
        return (((high << 32) | low) % (1 << 53)) * 2.0**-53

    def _normal_double(self) -> float:
        return self._few_normals(1)[0]

    def multinomial(self, probabilities: np.ndarray, num_samples: int, replacement: bool = False) -> np.ndarray:
        """Indices drawn by weight, int64 [.., num_samples], from weights [categories] or [rows, categories].

        Without replacement (or for one sample): the largest weight / exponential. With: the inverse cumulative sum.
        Raises RuntimeError for a bad shape, dtype, count, or weights that are negative, not finite or sum to zero.
        """
        check_multinomial(probabilities, num_samples, replacement)
        if probabilities.size == 0:
            return np.zeros((*probabilities.shape[:-1], num_samples), np.int64)
        if num_samples > 1 and replacement:
            rows = [self._invert(row, num_samples) for row in np.atleast_2d(probabilities)]
            return np.stack(rows).reshape(*probabilities.shape[:-1], num_samples)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            score = probabilities / self.exponential(probabilities.shape, probabilities.dtype)
        if num_samples == 1:
            return score.argmax(-1, keepdims=True)
        return np.argsort(-score, axis=-1, kind="stable")[..., :num_samples]

    def _invert(self, weights: np.ndarray, num_samples: int) -> np.ndarray:
        # cumulated in the weights' own type, as torch does (float32 for the half types)
        cumulative = np.cumsum(weights, dtype=weights.dtype if weights.dtype.itemsize >= 4 else F32)
        cumulative /= cumulative[-1]
        cumulative[-1] = 1
        return cumulative.astype(F64).searchsorted(self._unit_doubles(num_samples), side="left")
