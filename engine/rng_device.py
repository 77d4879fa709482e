"""Random numbers drawn on a GPU: Philox, by our kernels. Reproducible by seed; not torch's CUDA numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import backend
from .devices import device
from .dtypes import BF16, F16, F64
from .gpu.kernels import launch, over_elements, suffix
from .rng import BOOL, INT64, Generator
from .rng_checks import check_normal, check_uniform
from .rng_source import DEFAULT_SEED, Shape

_STATE_BYTES = 16  # seed and number of draws, as torch saves a CUDA generator


class DeviceGenerator(Generator):
    """A generator of numbers on a GPU. Its state is a seed and how often it was drawn from.

    Both lie in device memory, and each draw adds its number to what lies there: so a captured graph, whose kernels keep their
    arguments, still draws new numbers in every replay (a graph ends by moving the count on).
    Distributions without a kernel are drawn on the CPU from a stream that this one seeds.
    """

    __slots__ = ("_array", "_base", "_drawn", "_replayed")

    def __init__(self, device: Any = "cuda") -> None:
        self._array = None
        self._replayed = False  # a graph moves the count on: it is then kept on the device alone
        super().__init__(device)

    def manual_seed(self, seed: int) -> DeviceGenerator:
        """Start the stream of `seed`. Returns self."""
        super().manual_seed(seed)
        self._continue(self._seed, 0)
        return self

    def _continue(self, seed: int, draws: int) -> None:
        self._seed, self._base, self._drawn = seed, draws, 0
        if self._array is not None:  # in place: graphs that were captured read it there
            with self._place():
                self._array.set(np.array([seed, draws], np.uint64))

    def _state(self) -> Any:
        """The device's (seed, draws), made when the first number is drawn."""
        if self._array is None:
            self._array = backend.require_cuda().asarray(np.array([self._seed, self._base], np.uint64))
        return self._array

    def _draw(self, kernel: str, shape: Shape, dtype: Any, *parameters: Any) -> Any:
        with self._place():
            out, count = backend.gpu().empty(tuple(shape), dtype), math.prod(shape)
            step = np.uint64(self._drawn)
            self._drawn += 1
            over_elements(kernel, count, out, np.int64(count), *parameters, self._state(), step, per_thread=4)
            if self._replayed:
                self.advance(self._drawn)
                self._drawn = 0
        return out

    def _place(self) -> Any:
        return backend.require_cuda().cuda.Device(self.device.index)

    def _twin(self) -> Generator:
        """A CPU stream for one draw of a distribution without a kernel."""
        words = np.random.SeedSequence([self._seed, self._base + self._drawn]).generate_state(2)
        self._drawn += 1
        return Generator().manual_seed(int(words[0]) << 31 | int(words[1]))

    # -- state --------------------------------------------------------------------------------------------------------

    def draws(self) -> int:
        """How many draws came before the next one. Waits for the device if graphs were replayed."""
        if self._replayed:
            self._base = int(backend.to_numpy(self._array)[1])
        return self._base + self._drawn

    def state_array(self) -> np.ndarray:
        """Seed and number of draws, as uint8 of shape [16]."""
        return np.array([self._seed, self.draws()], np.uint64).view(np.uint8)

    def set_state_array(self, array: np.ndarray) -> None:
        """Continue where `state_array()` was taken. RuntimeError for a wrong size."""
        if array.size != _STATE_BYTES:
            raise RuntimeError(f"RNG state is wrong size: expected {_STATE_BYTES} bytes for a CUDA generator, got {array.size}")
        seed, draws = np.ascontiguousarray(array).reshape(-1).view(np.uint64)
        self._continue(int(seed), int(draws))

    def begin_capture(self) -> None:
        """From here on a graph is captured: its draws count from what lies on the device."""
        self._continue(self._seed, self.draws())
        self._state()

    def end_capture(self) -> int:
        """How often the captured graph draws; the count on the device is to move by that after every replay."""
        drawn, self._drawn, self._replayed = self._drawn, 0, True
        return drawn

    def advance(self, draws: int) -> None:
        """Put into the current stream: the next draws come after so many more."""
        with self._place():
            launch("advance", (1,), (1,), self._state(), np.uint64(draws))

    # -- distributions ------------------------------------------------------------------------------------------------

    def uniform(self, shape: Shape, dtype: Any, low: float = 0.0, high: float = 1.0) -> Any:
        """Uniform on [low, high)."""
        check_uniform(dtype, low, high)
        out = self._draw(f"uniform_{suffix(dtype)}", shape, dtype, np.float64(low), np.float64(high - low))
        if dtype is F16 or dtype is BF16:
            out[out == dtype.type(high)] = dtype.type(low)  # rounded up to the bound that does not belong to the range
        return out

    def normal(self, shape: Shape, dtype: Any, mean: float = 0.0, std: float = 1.0, contiguous: bool = True) -> Any:
        """Normal numbers by Box and Muller's transformation. RuntimeError for std < 0."""
        check_normal(std)
        return self._draw(f"normal_{suffix(dtype)}", shape, dtype, np.float64(mean), np.float64(std))

    def bernoulli_scalar(self, p: float, shape: Shape, dtype: Any = BOOL) -> Any:
        """True with probability p."""
        out = self._draw("bernoulli", shape, BOOL, np.float64(p))
        return out if dtype == BOOL else out.astype(dtype)

    def bernoulli_array(self, p: np.ndarray, dtype: Any = None) -> Any:
        """1 with the probability in each element of `p` (of NumPy)."""
        with self._place():
            return (self.uniform(p.shape, F64) < backend.gpu().asarray(p.astype(F64))).astype(dtype or p.dtype)

    def randint(self, shape: Shape, low: int, high: int, dtype: Any = INT64) -> Any:
        """Integers in [low, high)."""
        out = self._draw("integers", shape, INT64, np.int64(low), np.uint64((high - low) % (1 << 64)))
        return out if dtype == INT64 else out.astype(dtype)

    def random(self, shape: Shape, dtype: Any) -> Any:
        """Integers of the whole range of a dtype, as the CPU's generator has it."""
        return self._twin().random(shape, dtype)

    def randperm(self, n: int) -> Any:
        """A permutation of 0 ... n-1."""
        with self._place():
            return backend.gpu().argsort(self.uniform((n,), F64)).astype(INT64)

    def multinomial(self, probabilities: np.ndarray, num_samples: int, replacement: bool = False) -> np.ndarray:
        """Indices drawn by weights."""
        return self._twin().multinomial(probabilities, num_samples, replacement)


def _on_the_cpu(name: str) -> None:
    def method(self: DeviceGenerator, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._twin(), name)(*args, **kwargs)

    method.__name__, method.__doc__ = name, f"As the CPU generator's `{name}`, drawn there."
    setattr(DeviceGenerator, name, method)


for _name in ("log_normal", "exponential", "cauchy", "geometric", "poisson", "binomial", "gamma", "random_bits64"):
    _on_the_cpu(_name)


def generator_on(index: int) -> DeviceGenerator:
    """A new generator for a GPU, with the default seed."""
    return DeviceGenerator(device("cuda", index)).manual_seed(DEFAULT_SEED)
