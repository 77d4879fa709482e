"""Profilers: where the time of a run goes."""

from __future__ import annotations

from typing import Any

from engine.errors import not_supported
from lit.profilers.advanced import AdvancedProfiler
from lit.profilers.base import PassThroughProfiler, Profiler
from lit.profilers.operators import OperatorProfiler
from lit.profilers.simple import SimpleProfiler

PyTorchProfiler = OperatorProfiler  # under the name that Lightning users type

__all__ = [
    "AdvancedProfiler",
    "OperatorProfiler",
    "PassThroughProfiler",
    "Profiler",
    "PyTorchProfiler",
    "SimpleProfiler",
]


def choose_profiler(flag: Any) -> Profiler:
    """The profiler that ``Trainer(profiler=...)`` asks for.

    Raises:
        NotImplementedError: one that Lightning has and we do not.
        ValueError: another name.
        TypeError: not a Profiler.
    """
    if flag is None:
        return PassThroughProfiler()
    if isinstance(flag, Profiler):
        return flag
    if not isinstance(flag, str):
        raise TypeError(f"Trainer(profiler={flag!r}): expected 'simple', 'advanced', 'pytorch', a Profiler or None.")
    if flag == "xla":
        raise not_supported(f"Trainer(profiler={flag!r})", "use Trainer(profiler='simple'), 'advanced' or 'pytorch'.")
    kinds = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": OperatorProfiler}
    if flag.lower() not in kinds:
        raise ValueError(f"Trainer(profiler={flag!r}): expected 'simple', 'advanced', 'pytorch', a Profiler or None.")
    return kinds[flag.lower()]()
