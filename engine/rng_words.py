"""The words of MT19937, the stream under `engine.rng.Generator`.

NumPy's generator makes them, a block of 624 at a time. A call of it costs more than the few words of a small tensor, so
words of the present block are fetched ahead and handed out from there. Kernels of `engine/fast/random.py` go on with the
same state for large arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import Any

import numpy as np

from .pool import scratch

PERIOD = 624  # words that MT19937 makes at a time
BLOCK = 1 << 14  # elements made at a time: their words and temporaries stay in cache
_EMPTY = np.empty(0, np.uint64)
_UINT32 = np.dtype(np.uint32)


class Words:
    """A stream of 32-bit words."""

    __slots__ = ("_bits", "_legacy", "_position", "ahead", "at", "lock")

    def __init__(self) -> None:
        self._bits = np.random.MT19937(0)
        self._legacy = np.random.RandomState(self._bits)  # only for its seeding, which is torch's too
        self.lock = Lock()  # held while words are taken: several threads of a program may draw from one generator
        self.seed(0)

    def seed(self, seed: int) -> None:
        """Start the stream of a 32-bit seed."""
        self._legacy.seed(seed)
        self._begin(PERIOD)

    def _begin(self, position: int) -> None:
        self._position = position  # NumPy's, in its block
        self.ahead, self.at = _EMPTY, 0  # words that were fetched, as uint64, and how many of them are used up

    @property
    def state(self) -> tuple[np.ndarray, int]:
        """(the block as 624 uint32, how many of its words are used up)."""
        return self._bits.state["state"]["key"], self._position - (self.ahead.size - self.at)

    @state.setter
    def state(self, found: tuple[np.ndarray, int]) -> None:
        key, position = found
        self._bits.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": position}}
        self._begin(position)

    def take(self, n: int) -> np.ndarray:
        """The next n words, as uint64. They are not to be changed."""
        with self.lock:
            if n <= PERIOD:
                at = self.at
                if at + n > self.ahead.size:
                    at = self.window(n)[1]
                self.at = end = at + n
                return self.ahead[at:end]
            out = np.empty(n, np.uint64)
            rest = self.ahead.size - self.at
            out[:rest] = self.ahead[self.at :]
            out[rest:] = self._bits.random_raw(n - rest)
            self._begin((self._position + n - rest - 1) % PERIOD + 1)
            return out

    def integers(self, n: int) -> list[int]:
        """The next n words as ints. n is at most 624."""
        with self.lock:
            at = self.at
            if at + n > self.ahead.size:
                at = self.window(n)[1]
            self.at = end = at + n
            return self.ahead[at:end].tolist()

    def window(self, n: int) -> tuple[np.ndarray, int]:
        """(ahead, at), after seeing to it that the next n words, at most 624, are ahead[at:]. They stay in the stream.

        The caller holds the lock, and then takes n words by moving `at`: words of a block that nobody has begun are no
        part of a state.
        """
        if self.at + n > self.ahead.size:
            found = [self.ahead[self.at :]]
            missing = n - found[0].size
            while missing > 0:
                found.append(self._bits.random_raw(PERIOD - self._position or PERIOD))
                self._position = PERIOD
                missing -= found[-1].size
            self.ahead, self.at = np.concatenate(found), 0
        return self.ahead, self.at

    def blocks(self, kernels: Any, n: int, per_element: int = 1) -> Iterator[tuple[slice, np.ndarray]]:
        """The words of n elements, block by block: (which elements, their words as uint32), by a compiled generator."""
        with self.lock:
            key, position = self.state
            for start in range(0, n, BLOCK):
                stop = min(start + BLOCK, n)
                words = scratch((stop - start) * per_element, _UINT32, slot=7)
                position = kernels.words(key, position, words)
                yield slice(start, stop), words
            self.state = key, position
