"""Samples: the calls of an operator that the registry-driven tests run. Written beside each card, drawn from a seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .base import CARDS

SAMPLES: dict[str, Callable] = {}  # samples of compositions, by public name


@dataclasses.dataclass(frozen=True)
class Array:
    """A drawn input, turned into a tensor of the library and dtype under test. `transposed`: a non-contiguous view."""

    values: np.ndarray
    transposed: bool = False
    grad: bool = True

    def t(self) -> Array:
        """The same transposed (first and last dimension exchanged): a non-contiguous view."""
        return dataclasses.replace(self, transposed=True)


@dataclasses.dataclass(frozen=True)
class Sample:
    """One call: public name, arguments (with `Array`s in the places of tensors, also inside lists), and what to skip."""

    name: str
    args: tuple
    kwargs: dict
    grad: bool = True  # False: values only (integer results, points where the derivative jumps)
    gradgrad: bool = True
    oracle: bool = True  # False: torch has no such call or differs for a documented reason
    half: bool = True  # False: torch has no half-precision form
    module: str = ""  # where the function is: "" for engine, else e.g. "nn.functional", "Tensor"


class Make:
    """Builds samples: `make(name, *args, **kwargs)`, with inputs drawn by `make.uniform` and the like."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)

    def __call__(self, name: str, *args: Any, _grad: bool = True, _gradgrad: bool = True, _oracle: bool = True,
                 _half: bool = True, _module: str = "", **kwargs: Any) -> Sample:
        return Sample(name, args, kwargs, _grad, _gradgrad, _oracle, _half, _module)

    def uniform(self, shape: tuple, low: float = -2.0, high: float = 2.0, grad: bool = True) -> Array:
        """Floats in [low, high)."""
        return Array(self.rng.uniform(low, high, shape), grad=grad)

    def complex(self, shape: tuple) -> Array:
        """Complex numbers with normal parts."""
        return Array(self.rng.normal(size=shape) + 1j * self.rng.normal(size=shape))

    def distinct(self, shape: tuple, low: float = -2.0, high: float = 2.0) -> Array:
        """Floats that all differ clearly, shuffled: for max, sort and median."""
        n = int(np.prod(shape))
        return Array(self.rng.permutation(np.linspace(low, high, n)).reshape(shape))

    def ints(self, shape: tuple, low: int, high: int) -> Array:
        """int64 in [low, high)."""
        return Array(self.rng.integers(low, high, shape), grad=False)

    def bools(self, shape: tuple) -> Array:
        """Booleans."""
        return Array(self.rng.integers(0, 2, shape).astype(bool), grad=False)


def samples_for(name: str) -> Callable[[Callable], Callable]:
    """Give a composition (a public function without a card of its own) its samples: `@samples_for("dropout")`."""

    def register(fn: Callable) -> Callable:
        SAMPLES[name] = fn
        return fn

    return register


def all_samples() -> Iterator[tuple[str, int, Sample]]:
    """Every sample of every card and composition, as (card or function name, index, sample)."""
    for name, card in CARDS.items():
        for i, sample in enumerate(card.samples(Make(len(name)))):
            yield name, i, sample
    for name, fn in SAMPLES.items():
        for i, sample in enumerate(fn(Make(len(name)))):
            yield f"{name}()", i, sample
