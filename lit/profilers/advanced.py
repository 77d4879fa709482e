"""AdvancedProfiler: cProfile per action."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from lit.profilers.base import Profiler

if TYPE_CHECKING:
    from cProfile import Profile


class AdvancedProfiler(Profiler):
    """Run every action under ``cProfile`` and report its functions.

    Python can run one profile at a time, so an outer action's profile rests while an inner one runs: each function
    call is counted once, under the innermost action. Profiling slows small functions down.

    Args:
        dirpath, filename: as in ``Profiler``.
        line_count_restriction: how many functions to list per action: an int, or a share as a float up to 1.0.
        dump_stats: whether to write each action's statistics to a ``.prof`` file too, for tools that read them.

    Raises:
        ValueError: an action is started that runs, or stopped that does not.

    Example:
        >>> from lit.profilers import AdvancedProfiler
        >>> profiler = AdvancedProfiler()
        >>> with profiler.profile("sort"):
        ...     ordered = sorted([3, 1, 2])
        >>> "sorted" in profiler.summary()
        True
    """

    def __init__(
        self,
        dirpath: str | os.PathLike[str] | None = None,
        filename: str | None = None,
        line_count_restriction: float = 1.0,
        dump_stats: bool = False,
    ) -> None:
        super().__init__(dirpath, filename)
        self.line_count_restriction = line_count_restriction
        self.dump_stats = dump_stats
        self.reset()

    def reset(self) -> None:
        """Forget what was measured."""
        self.profiled_actions: dict[str, Profile] = {}
        self._running: list[str] = []

    def start(self, action_name: str) -> None:
        """The action begins."""
        from cProfile import Profile

        if action_name in self._running:
            raise ValueError(f"Attempted to start {action_name} which has already started.")
        if self._running:
            self.profiled_actions[self._running[-1]].disable()
        self._running.append(action_name)
        self.profiled_actions.setdefault(action_name, Profile()).enable()

    def stop(self, action_name: str) -> None:
        """The action ends."""
        if action_name not in self._running:
            raise ValueError(f"Attempting to stop recording an action ({action_name}) which was never started.")
        self.profiled_actions[self._running[-1]].disable()
        self._running.remove(action_name)
        if self._running:
            self.profiled_actions[self._running[-1]].enable()

    def summary(self) -> str:
        """A table of functions for every action, those with the longest cumulative time first."""
        import pstats

        texts = []
        for name, profile in self.profiled_actions.items():
            stream = io.StringIO()
            stats = pstats.Stats(profile, stream=stream).strip_dirs().sort_stats("cumulative")
            stats.print_stats(self.line_count_restriction)
            texts.append(f"Profile of {name}\n{stream.getvalue().strip()}\n")
        return "\n".join(texts)

    def teardown(self, stage: str | None) -> None:
        """Write the ``.prof`` files."""
        if not self.dump_stats:
            return
        for name, profile in self.profiled_actions.items():
            path = self.path_of(".prof", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
            profile.dump_stats(temporary)
            os.replace(temporary, path)
