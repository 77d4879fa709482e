"""SimpleProfiler: seconds per action."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from lit.profilers.base import Profiler


@dataclass
class Record:
    """What is known of one action, in seconds."""

    calls: int = 0
    total: float = 0.0  # from start to stop
    own: float = 0.0  # of it, while no other action ran inside


class SimpleProfiler(Profiler):
    """Measure how long every action takes, with what runs inside it (``total``) and without (``self``).

    Every moment counts for the innermost action, so ``self`` adds up to the time from the first start to the last stop.

    Args:
        dirpath, filename: as in ``Profiler``.
        extended: whether the report has calls, percent and ``self`` as well.

    Raises:
        ValueError: an action is started that runs, or stopped that does not.

    Example:
        >>> from lit.profilers import SimpleProfiler
        >>> profiler = SimpleProfiler()
        >>> with profiler.profile("outside"), profiler.profile("inside"):
        ...     pass
        >>> records = profiler.records
        >>> abs(sum(record.own for record in records.values()) - records["outside"].total) < 1e-9
        True
    """

    def __init__(
        self, dirpath: str | os.PathLike[str] | None = None, filename: str | None = None, extended: bool = True
    ) -> None:
        super().__init__(dirpath, filename)
        self.extended = extended
        self.reset()

    def reset(self) -> None:
        """Forget what was measured."""
        self.records: dict[str, Record] = {}
        self.current_actions: dict[str, float] = {}  # start by name, the innermost last
        self._last = 0.0

    @property
    def calls(self) -> dict[str, int]:
        """Finished calls by action."""
        return {name: record.calls for name, record in self.records.items()}

    def _charge(self) -> float:
        """Charge the time since the last event to the innermost action; returns now."""
        now = time.perf_counter()
        if self.current_actions:
            self.records[next(reversed(self.current_actions))].own += now - self._last
        self._last = now
        return now

    def start(self, action_name: str) -> None:
        """The action begins."""
        if action_name in self.current_actions:
            raise ValueError(f"Attempted to start {action_name} which has already started.")
        now = self._charge()
        self.records.setdefault(action_name, Record())
        self.current_actions[action_name] = now

    def stop(self, action_name: str) -> None:
        """The action ends."""
        if action_name not in self.current_actions:
            raise ValueError(f"Attempting to stop recording an action ({action_name}) which was never started.")
        now = self._charge()
        record = self.records[action_name]
        record.total += now - self.current_actions.pop(action_name)
        record.calls += 1

    def summary(self) -> str:
        """A table of all actions, the longest first."""
        rows = sorted(self.records.items(), key=lambda item: -item[1].total)
        if not rows:
            return ""
        wall = sum(record.own for _, record in rows) or 1e-12
        width = max(len(name) for name, _ in rows)
        head = f"{'action':<{width}}  {'mean s':>10}"
        if self.extended:
            head += f"  {'calls':>8}  {'total s':>10}  {'%':>6}  {'self s':>10}  {'self %':>6}"
        lines = [f"Profile of {self._stage}" if self._stage else "Profile", head]
        for name, record in rows:
            line = f"{name:<{width}}  {record.total / max(record.calls, 1):>10.5f}"
            if self.extended:
                line += f"  {record.calls:>8}"
                for seconds in (record.total, record.own):
                    line += f"  {seconds:>10.4f}  {100 * seconds / wall:>6.2f}"
            lines.append(line)
        if self.extended:
            lines.append(f"{'sum':<{width}}  {'':>10}  {'':>8}  {'':>10}  {'':>6}  {wall:>10.4f}  {100:>6.2f}")
        return "\n".join(lines) + "\n"
