"""``seed_everything``: one number for every random stream."""

from __future__ import annotations

import os
import random
import warnings

import numpy as np

import engine
from lit.rng import isolate_rng

__all__ = ["isolate_rng", "seed_everything"]

MAX_SEED = 2**32 - 1  # NumPy's largest


def seed_everything(seed: int | None = None, workers: bool = False, verbose: bool = True) -> int:
    """Seed Python's, NumPy's and engine's global random generators; returns the seed.

    Args:
        seed: 0 to 2**32 - 1. If None, the environment variable ``PL_GLOBAL_SEED`` is used, else 0.
        workers: accepted as in Lightning; engine's DataLoader always seeds its workers' streams, each differently.
        verbose: print the seed.

    Raises:
        ValueError: the seed is out of range or not an integer.

    Example:
        >>> pl.seed_everything(42)
        Seed set to 42
        42
    """
    if seed is None:
        found = os.environ.get("PL_GLOBAL_SEED")
        if found is None:
            warnings.warn("[W113] seed_everything(): no seed given, so 0 is used. HINT: pass one.", stacklevel=2)
        seed = found or 0  # type: ignore[assignment]
    try:
        seed = int(seed)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f"seed_everything(seed={seed!r}): expected an integer.") from None
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed_everything(seed={seed}): expected 0 <= seed <= {MAX_SEED}.")
    if verbose:
        print(f"Seed set to {seed}")
    os.environ["PL_GLOBAL_SEED"] = str(seed)
    os.environ["PL_SEED_WORKERS"] = str(int(workers))
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the global stream is what users seed
    engine.manual_seed(seed)
    return seed
