"""The default random generator and the functions that seed it, save it and put it back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from .rng import Generator

__all__ = ["default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"]

default_generator = Generator()


def manual_seed(seed: Any) -> Generator:
    """Seed the default generator, and return it. `seed` is anything `int()` takes, in [-2**63, 2**64).

    Raises ValueError for a seed out of that range.

    >>> _ = torch.manual_seed(0)
    >>> torch.rand(2)
    tensor([0.4963, 0.7682])
    """
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Seed the default generator from the operating system's entropy; returns the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator.

    >>> _ = torch.manual_seed(7)
    >>> torch.initial_seed()
    7
    """
    return default_generator.initial_seed()


def get_rng_state() -> Any:
    """The default generator's state, a ByteTensor of shape [5056] in torch's layout."""
    return default_generator.get_state()


def set_rng_state(new_state: Any) -> None:
    """Put back a state from `get_rng_state`. TypeError for another type, RuntimeError for a wrong size or content.

    >>> state = torch.get_rng_state()
    >>> numbers = torch.rand(3).tolist()
    >>> torch.set_rng_state(state)
    >>> torch.rand(3).tolist() == numbers
    True
    """
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(devices: Any = None, enabled: bool = True, device_type: str | None = None) -> Iterator[None]:
    """A context after which the default generator continues as if nothing had been drawn inside.

    One generator serves the CPU and all CUDA devices here, so `devices` and `device_type` are accepted and not needed.

    >>> with torch.random.fork_rng():
    ...     _ = torch.manual_seed(1)
    >>> torch.initial_seed() == 1
    False
    """
    if not enabled:
        yield
        return
    state = default_generator.state_array()
    try:
        yield
    finally:
        default_generator.set_state_array(state)
