"""What every distribution of `engine.rng` draws from: seeding, the state in torch's layout, and unit uniforms."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import fast
from . import rng_kernels as kernels
from .devices import as_device
from .dtypes import BF16, F16, F32, F64
from .pool import LARGE
from .rng_words import BLOCK, PERIOD, Words

if TYPE_CHECKING:
    from typing_extensions import Self

Shape = Sequence[int]

DEFAULT_SEED = 67280421310721
WORTH = 1 << 8  # elements from which kernels are used that are there already; LARGE is worth waiting for them
MIDDLING = 1 << 12  # and this, where other kernels have been waited for
_MASK24, _MASK53, _HALF_WORD = np.uint64((1 << 24) - 1), np.uint64((1 << 53) - 1), np.uint64(32)
_UNIT24 = np.float32(2.0**-24)

# torch's layout of a saved CPU generator, so that states travel between the two libraries.
_STATE = np.dtype(
    [
        ("seed", "<u8"), ("left", "<i4"), ("seeded", "<i4"), ("next", "<u8"), ("words", "<u8", 624),
        ("unused_x", "<f8"), ("normal", "<f8"), ("unused_rho", "<f8"), ("has_normal", "<i4"), ("pad", "<i4"),
        ("unused_float", "<f4"), ("unused_flag", "<i4"),
    ]
)  # fmt: skip
STATE_BYTES = _STATE.itemsize


class Source:
    """A seeded stream of words, with what of it is kept between calls. `w` is its next word, `ww` its next two."""

    __slots__ = ("device", "_words", "_seed", "_normal", "_coming", "__weakref__")

    def __init__(self, device: Any = "cpu") -> None:
        self.device = as_device(device)
        self._words = Words()
        self._coming = kernels.Coming()
        self._normal: float | None = None  # the second number of a Box-Muller pair, kept for the next call
        self.manual_seed(DEFAULT_SEED)

    # ---- seeding and state -------------------------------------------------------------------------------------

    def manual_seed(self, seed: int) -> Self:
        """Start the stream of `seed` (an int in [-2**63, 2**64); negative ones stand for 2**64 + seed). Returns self.

        Raises RuntimeError for anything but an int, ValueError for an int out of range.
        """
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
            raise RuntimeError(f"manual_seed expected a long, but got {type(seed).__name__}")
        seed = int(seed)
        if not -(1 << 63) <= seed < 1 << 64:
            raise ValueError(f"Overflow when unpacking long long: expected -2**63 <= seed < 2**64, got {seed}")
        self._seed = seed % (1 << 64)
        self._words.seed(self._seed & 0xFFFFFFFF)
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
        key, position = self._words.state
        state = np.zeros((), _STATE)
        state["seed"], state["seeded"] = self._seed, 1
        state["next"], state["left"] = position, 625 - max(position, 1)
        state["words"] = key
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
        self._words.state = words, PERIOD if left == 1 else position
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

    def set_state(self, new_state: Any) -> Self:
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

    def clone_state(self) -> Self:
        """A new generator that continues as this one would."""
        return _rebuild(type(self), str(self.device), self.state_array())

    def __reduce__(self) -> tuple:
        return _rebuild, (type(self), str(self.device), self.state_array())

    # ---- words and unit uniforms -------------------------------------------------------------------------------

    @staticmethod
    def _compiled(n: int) -> Any:
        """The kernels to make n elements with; None for few."""
        if n >= LARGE or (n >= MIDDLING and fast.in_use()):
            return fast.kernels("random")
        return fast.loaded("random") if n >= WORTH else None

    def _double_words(self, n: int) -> np.ndarray:
        """n double words `ww`, as uint64."""
        words = self._words.take(2 * n)
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
        if compiled := self._compiled(n):
            for span, words in self._words.blocks(compiled, n, 2):
                compiled.doubles(words, out[span])
            return out
        for start in range(0, n, BLOCK):
            part = out[start : start + BLOCK]
            part[...] = self._bits53(part.size)
            part *= 2.0**-53
        return out

    def _unit_floats(self, n: int) -> np.ndarray:
        """n float32 in [0, 1), multiples of 2**-24."""
        if n <= PERIOD:
            out = (self._words.take(n) & _MASK24).astype(F32)
            out *= _UNIT24
            return out
        out = np.empty(n, F32)
        if compiled := self._compiled(n):
            for span, words in self._words.blocks(compiled, n):
                compiled.floats(words, out[span])
            return out
        for start in range(0, n, BLOCK):
            part = out[start : start + BLOCK]
            part[...] = self._words.take(part.size) & _MASK24
            part *= _UNIT24
        return out

    def _from_doubles(self, shape: Shape, dtype: np.dtype, formula: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """`formula` of one unit double per element, computed in float64 and cast to `dtype`."""
        out = np.empty(math.prod(shape), dtype)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            for start in range(0, out.size, BLOCK):
                part = out[start : start + BLOCK]
                part[...] = cast(formula(self._unit_doubles(part.size)), dtype)
        return out.reshape(shape)


def cast(numbers: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """To `dtype`; to the half types through float32, as torch's own half types convert."""
    return numbers.astype(F32).astype(dtype) if dtype in (F16, BF16) else numbers.astype(dtype, copy=False)


def _rebuild(kind: type, device: str, state: np.ndarray) -> Any:
    generator = kind(device)
    generator.set_state_array(state)
    return generator
