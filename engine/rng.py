"""The CPU random generator: MT19937 and the transformations that give torch's numbers for the same seed.

`w` below is the generator's next 32-bit word and `ww` its next two, the first one high. A distribution is a method of
`Generator` that takes a shape and returns a fresh C-ordered NumPy array; element order alone decides the numbers, not
the shape. An array that is not contiguous is filled in memory order: see `assign_in_memory_order`.

Every number is checked against torch 2.13 on a CPU with AVX2 (`tests/engine/test_rng.py`). On other CPUs torch itself
gives other numbers: `normal` may differ in the last bit, and Intel CPUs draw `bernoulli_` from another generator.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import rng_kernels as kernels
from . import rng_rejection as rejection
from .devices import as_device
from .dtypes import BF16, F16, F32, F64

Shape = Sequence[int]
BOOL, INT64 = np.dtype(np.bool_), np.dtype(np.int64)

DEFAULT_SEED = 67280421310721
BLOCK = 1 << 14  # words drawn at a time: the block and its temporaries stay in cache
_MASK24, _MASK53, _HALF_WORD = np.uint64((1 << 24) - 1), np.uint64((1 << 53) - 1), np.uint64(32)
_UNIT24 = np.float32(2.0**-24)
_WORD_LIMIT = 1 << 28  # ranges below this use one word per integer, larger ones two (at most 5 % skew from the modulo)
_SMALL_PERMUTATION = 512

# torch's layout of a saved CPU generator, so that states travel between the two libraries.
_STATE = np.dtype(
    [
        ("seed", "<u8"), ("left", "<i4"), ("seeded", "<i4"), ("next", "<u8"), ("words", "<u8", 624),
        ("unused_x", "<f8"), ("normal", "<f8"), ("unused_rho", "<f8"), ("has_normal", "<i4"), ("pad", "<i4"),
        ("unused_float", "<f4"), ("unused_flag", "<i4"),
    ]
)  # fmt: skip
STATE_BYTES = _STATE.itemsize

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

_LARGEST = {F16: 65504.0, BF16: 3.3895313892515355e38, F32: float(np.finfo(F32).max), F64: float(np.finfo(F64).max)}


def assign_in_memory_order(target: np.ndarray, values: np.ndarray) -> None:
    """Write `values` (any shape, same number of elements) into `target` in the order its elements lie in memory.

    That is the order in which torch's generator kernels fill a transposed or sliced tensor.
    """
    order = sorted(range(target.ndim), key=lambda axis: -abs(target.strides[axis]))
    view = target.transpose(order)
    view[...] = values.reshape(view.shape)


class Generator:
    """A source of random numbers: MT19937, with torch's seeding, state layout and transformations.

    On CUDA tensors the numbers come from the same stream (they are reproducible, but not torch's CUDA numbers).

    >>> g = torch.Generator().manual_seed(0)
    >>> torch.rand(2, generator=g)
    tensor([0.4963, 0.7682])
    >>> g.initial_seed()
    0
    """

    __slots__ = ("device", "_bits", "_legacy", "_seed", "_normal", "__weakref__")

    def __init__(self, device: Any = "cpu") -> None:
        self.device = as_device(device)
        self._bits = np.random.MT19937(0)
        self._legacy = np.random.RandomState(self._bits)  # only for its seeding, which is torch's too
        self._normal: float | None = None  # the second number of a Box-Muller pair, kept for the next call
        self.manual_seed(DEFAULT_SEED)

    # ---- seeding and state -------------------------------------------------------------------------------------

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of `seed` (an int in [-2**63, 2**64); negative ones stand for 2**64 + seed). Returns self.

        Raises RuntimeError for anything but an int, ValueError for an int out of range.
        """
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
            raise RuntimeError(f"manual_seed expected a long, but got {type(seed).__name__}")
        seed = int(seed)
        if not -(1 << 63) <= seed < 1 << 64:
            raise ValueError(f"Overflow when unpacking long long: expected -2**63 <= seed < 2**64, got {seed}")
        self._seed = seed % (1 << 64)
        self._legacy.seed(self._seed & 0xFFFFFFFF)
        self._normal = None
        return self

    def seed(self) -> int:
        """Seed from the operating system's entropy; returns the seed (53 bits)."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little") >> 11)
        return self._seed

    def initial_seed(self) -> int:
        """The seed the stream was started with."""
        return self._seed

    def state_array(self) -> np.ndarray:
        """Everything the next numbers depend on, as uint8 of shape [5056] in torch's layout."""
        inner = self._bits.state["state"]
        state = np.zeros((), _STATE)
        state["seed"], state["seeded"] = self._seed, 1
        state["next"], state["left"] = inner["pos"], 625 - max(inner["pos"], 1)
        state["words"] = inner["key"]
        if self._normal is not None:
            state["normal"], state["has_normal"] = self._normal, 1
        return state.reshape(1).view(np.uint8)

    def set_state_array(self, array: np.ndarray) -> None:
        """Continue where `state_array()` was taken, here or in torch. RuntimeError for a wrong size or content."""
        if array.size != STATE_BYTES:
            raise RuntimeError(
                f"Expected a generator state of size {STATE_BYTES} but found the input RNG state size {array.size}"
            )
        state = np.ascontiguousarray(array).reshape(-1).view(_STATE)[0]
        left, position = int(state["left"]), int(state["next"])
        if state["seeded"] != 1 or not 0 < left <= 624 or position > 624:
            raise RuntimeError("Invalid mt19937 state")
        words = state["words"].astype(np.uint32)
        # A generator that has drawn nothing says left=1, next=0 in torch, which means: mix the words before the next.
        position = 624 if left == 1 else position
        self._bits.state = {"bit_generator": "MT19937", "state": {"key": words, "pos": position}}
        self._seed = int(state["seed"])
        self._normal = float(state["normal"]) if state["has_normal"] else None

    def get_state(self) -> Any:
        """The state as a ByteTensor of shape [5056], for `set_state`.

        >>> g = torch.Generator()
        >>> state = g.get_state()
        >>> numbers = torch.rand(3, generator=g).tolist()
        >>> torch.rand(3, generator=g.set_state(state)).tolist() == numbers
        True
        """
        from .tensor import wrap

        return wrap(self.state_array())

    def set_state(self, new_state: Any) -> Generator:
        """Take over a state from `get_state` (a ByteTensor, or uint8 NumPy array). Returns self.

        Raises TypeError for another type or dtype, RuntimeError for a wrong size or content.
        """
        array = getattr(new_state, "_array", new_state)
        if not hasattr(array, "dtype"):
            raise TypeError(f"expected a torch.ByteTensor, but got {type(new_state).__name__}")
        if array.dtype != np.uint8:
            raise TypeError(f"RNG state must be a torch.ByteTensor, got dtype {array.dtype}")
        self.set_state_array(np.asarray(array))
        return self

    def clone_state(self) -> Generator:
        """A new generator that continues as this one would."""
        return _rebuild(str(self.device), self.state_array())

    def __reduce__(self) -> tuple:
        return _rebuild, (str(self.device), self.state_array())

    # ---- words and unit uniforms -------------------------------------------------------------------------------

    def _words(self, n: int) -> np.ndarray:
        """n words `w`, as uint64."""
        return self._bits.random_raw(n)

    def _double_words(self, n: int) -> np.ndarray:
        """n double words `ww`, as uint64."""
        words = self._bits.random_raw(2 * n)
        high = words[0::2] << _HALF_WORD
        high |= words[1::2]
        return high

    def _bits53(self, n: int) -> np.ndarray:
        """n integers `ww & (2**53 - 1)`, as uint64."""
        bits = self._double_words(n)
        bits &= _MASK53
        return bits

    def _unit_doubles(self, n: int) -> np.ndarray:
        """n float64 in [0, 1), multiples of 2**-53."""
        out = np.empty(n, F64)
        for start in range(0, n, BLOCK):
            part = out[start : start + BLOCK]
            part[...] = self._bits53(part.size)
            part *= 2.0**-53
        return out

    def _unit_floats(self, n: int) -> np.ndarray:
        """n float32 in [0, 1), multiples of 2**-24."""
        out = np.empty(n, F32)
        for start in range(0, n, BLOCK):
            part = out[start : start + BLOCK]
            words = self._words(part.size)
            words &= _MASK24
            part[...] = words
            part *= _UNIT24
        return out

    def _from_doubles(self, shape: Shape, dtype: np.dtype, formula: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """`formula` of one unit double per element, computed in float64 and cast to `dtype`."""
        out = np.empty(math.prod(shape), dtype)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            for start in range(0, out.size, BLOCK):
                part = out[start : start + BLOCK]
                part[...] = _cast(formula(self._unit_doubles(part.size)), dtype)
        return out.reshape(shape)

    # ---- continuous distributions ------------------------------------------------------------------------------

    def uniform(self, shape: Shape, dtype: np.dtype, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """Uniform on [low, high): 24-bit fractions for float32 and the half types, 53-bit ones for float64.

        Raises RuntimeError when low > high, or a bound or their distance does not fit the dtype.
        """
        n, plain = math.prod(shape), low == 0.0 and high == 1.0
        if not plain:
            _check_uniform(dtype, low, high)
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
        if not std >= 0:
            raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
        n = math.prod(shape)
        if n < 16 or not contiguous:
            return _cast(kernels.fma64(self._serial_normals(n), std, mean), dtype).reshape(shape)
        if dtype == F64:
            units, transform = self._unit_doubles, kernels.float64_groups
        else:
            units, transform = self._unit_floats, kernels.float32_groups
        out = np.empty(n, F64 if dtype == F64 else F32)
        whole = n - n % 16
        for start in range(0, whole, BLOCK):
            part = out[start : min(start + BLOCK, whole)]
            part[...] = transform(units(part.size), mean, std)
        if n != whole:
            if dtype in (F32, F64):
                units(n - whole)  # torch draws for the ragged tail as well, before it draws the last 16 anew
            out[n - 16 :] = transform(units(16), mean, std)
        return out.astype(dtype, copy=False).reshape(shape)

    def _serial_normals(self, n: int) -> np.ndarray:
        """n standard normals, float64, from pairs of doubles: cosine first, sine next (or kept for the next call)."""
        out = np.empty(n + 1, F64)
        first = 0
        if n and self._normal is not None:
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
            return _cast(numbers, dtype).reshape(shape)

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
        draw = self._words if span < _WORD_LIMIT else self._double_words
        return self._integers(n, draw, span, low, dtype).reshape(shape)

    def random(self, shape: Shape, dtype: np.dtype) -> np.ndarray:
        """`random_()` without bounds: an integer type's whole non-negative range, a floating one's [0, 2**mantissa].

        Raises NotImplementedError for other dtypes.
        """
        if dtype not in _WHOLE_RANGE:
            raise NotImplementedError(f'"random_kernel_cpu" not implemented for dtype {dtype}')
        words, modulus = _WHOLE_RANGE[dtype]
        draw = self._words if words == 1 else self._double_words
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
            part[...] = _cast(numbers, dtype)
        return out

    def randperm(self, n: int) -> np.ndarray:
        """A permutation of 0 .. n-1, int64: for i upwards, swap i with i + w % (n - i). RuntimeError when n < 0."""
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
        steps = max(n - 1, 0)
        words = self._words(steps) if n < (1 << 32) // 20 else self._double_words(steps)
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
        limit = np.uint64(math.ceil(p * 2.0**53))  # k * 2**-53 < p, in integers
        for start in range(0, out.size, BLOCK):
            part = out[start : start + BLOCK]
            part[...] = self._bits53(part.size) < limit
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
        return self._one_by_one(lambda n, p: rejection.binomial(n, p, self._unit_double), count.dtype, count, prob)

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
        raw = self._bits.random_raw
        return (((raw() << 32) | raw()) % (1 << 53)) * 2.0**-53

    def _normal_double(self) -> float:
        return float(self._serial_normals(1)[0])

    def multinomial(self, probabilities: np.ndarray, num_samples: int, replacement: bool = False) -> np.ndarray:
        """Indices drawn by weight, int64 [.., num_samples], from weights [categories] or [rows, categories].

        Without replacement (or for one sample): the largest weight / exponential. With: the inverse cumulative sum.
        Raises RuntimeError for a bad shape, dtype, count, or weights that are negative, not finite or sum to zero.
        """
        _check_multinomial(probabilities, num_samples, replacement)
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


def _cast(numbers: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """To `dtype`; to the half types through float32, as torch's own half types convert."""
    return numbers.astype(F32).astype(dtype) if dtype in (F16, BF16) else numbers.astype(dtype, copy=False)


def _rebuild(device: str, state: np.ndarray) -> Generator:
    generator = Generator(device)
    generator.set_state_array(state)
    return generator


def _check_uniform(dtype: np.dtype, low: float, high: float) -> None:
    limit = _LARGEST[dtype]
    for name, bound in (("from", low), ("to", high)):
        if not -limit <= bound <= limit:
            raise RuntimeError(f"{name} is out of bounds for {dtype}")
    if low > high:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={low} > to={high}")
    if high - low > limit:
        raise RuntimeError(
            f"uniform_ expects to-from <= the largest {dtype}, but found to={high} and from={low} "
            "which result in to-from to exceed the limit"
        )


def _check_multinomial(p: np.ndarray, num_samples: int, replacement: bool) -> None:
    if p.ndim not in (1, 2):
        raise RuntimeError(f"prob_dist must be 1 or 2 dim, got shape {list(p.shape)}")
    if p.dtype not in (F16, BF16, F32, F64):
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {p.dtype}")
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > p.shape[-1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    if not ((p >= 0) & (p < np.inf)).all():
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if not (p > 0).any(-1).all():
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
