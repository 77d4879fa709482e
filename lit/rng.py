"""The random streams of a process: read them, set them, leave them untouched.

Random numbers on a GPU come from engine's one generator too, so its state is all there is to keep.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import engine


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
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - the global stream is what users seed
    return {
        "engine": engine.get_rng_state(),
        "python": {"version": version, "words": engine.tensor(np.asarray(words, dtype=np.int64)), "gauss": gauss},
        "numpy": {
            "name": str(name),
            "keys": engine.tensor(np.asarray(keys, dtype=np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        },
    }


def set_rng_states(states: dict[str, Any]) -> None:
    """Set the generators to what ``collect_rng_states`` returned."""
    engine.set_rng_state(states["engine"])
    python, numpy = states["python"], states["numpy"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    keys = np.array(numpy["keys"].tolist(), dtype=np.uint32)
    np.random.set_state((numpy["name"], keys, numpy["position"], numpy["has_gauss"], numpy["cached"]))


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
    states = collect_rng_states()
    try:
        yield
    finally:
        set_rng_states(states)
