"""The generator of the meta device: it draws nothing, and leaves every stream where it is."""

from __future__ import annotations

from typing import Any

from .dtypes import F32
from .meta import empty
from .rng import BOOL, INT64, Generator
from .rng_source import Shape


class MetaGenerator(Generator):
    """Gives arrays of the right shape and dtype, without numbers."""

    __slots__ = ()

    def uniform(self, shape: Shape, dtype: Any = F32, *args: Any, **kwargs: Any) -> Any:
        """An array of that shape and dtype."""
        return empty(shape, dtype)

    normal = log_normal = exponential = cauchy = geometric = random = random_bits64 = uniform

    def randint(self, shape: Shape, low: int, high: int, dtype: Any = INT64) -> Any:
        """An array of that shape and dtype."""
        return empty(shape, dtype)

    def randperm(self, n: int) -> Any:
        """An array of n integers."""
        return empty((n,), INT64)

    def bernoulli_scalar(self, p: float, shape: Shape, dtype: Any = BOOL) -> Any:
        """An array of that shape and dtype."""
        return empty(shape, dtype)

    def bernoulli_array(self, p: Any, dtype: Any = None) -> Any:
        """An array like the probabilities."""
        return empty(p.shape, p.dtype if dtype is None else dtype)


GENERATOR = MetaGenerator()
