"""Profilers: where the time of a run goes."""

from __future__ import annotations

from typing import Any

from engine.errors import not_supported
from lit.profilers.advanced import AdvancedProfiler
from lit.profilers.base import PassThroughProfiler, Profiler
from lit.profilers.simple import SimpleProfiler

__all__ = ["AdvancedProfiler", "PassThroughProfiler", "Profiler", "SimpleProfiler"]


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
        raise TypeError(f"Trainer(profiler={flag!r}): expected 'simple', 'advanced', a Profiler or None.")
    if flag in ("pytorch", "xla"):
        raise not_supported(f"Trainer(profiler={flag!r})", "use Trainer(profiler='simple') or 'advanced'.")
    if flag.lower() not in ("simple", "advanced"):
        raise ValueError(f"Trainer(profiler={flag!r}): expected 'simple', 'advanced', a Profiler or None.")
    return SimpleProfiler() if flag.lower() == "simple" else AdvancedProfiler()
