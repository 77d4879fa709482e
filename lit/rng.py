"""The random streams of a process, those of its GPUs included: read them, set them, leave them untouched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from engine import random as engine_random
from engine.utils.data.streams import Streams


def collect_rng_states() -> dict[str, Any]:
    """The state of Python's, NumPy's and engine's global generators, as tensors and plain numbers.

    Example:
        >>> from lit.rng import collect_rng_states, set_rng_states
        >>> states = collect_rng_states()
        >>> first = torch.rand(2)
        >>> set_rng_states(states)
        >>> bool((torch.rand(2) == first).all())
        True
    """
    return {**Streams().state_dict(), "devices": engine_random.device_states()}


def set_rng_states(states: dict[str, Any]) -> None:
    """Set the generators to what ``collect_rng_states`` returned."""
    Streams.from_state_dict(states).restore()
    engine_random.set_device_states(states.get("devices", {}))


@contextmanager
def isolate_rng() -> Iterator[None]:
    """Whatever is drawn inside the block, the random streams go on after it as if nothing had been drawn.

    Example:
        >>> from lit.rng import isolate_rng
        >>> pl.seed_everything(1, verbose=False)
        1
        >>> with isolate_rng():
        ...     inside = torch.rand(2)
        >>> bool((torch.rand(2) == inside).all())
        True
    """
    streams, devices = Streams(), engine_random.device_states()
    try:
        yield
    finally:
        streams.restore()
        engine_random.set_device_states(devices)
