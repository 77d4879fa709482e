"""What a watched program did: every operator with its time, as totals and as a Chrome trace."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from engine.profiler.watching import clock, watched_operators

running: list[Recording] = []  # those that are watching now


@dataclass
class Total:
    """What is known of one operator, in seconds."""

    calls: int = 0
    total: float = 0.0
    own: float = 0.0  # of it, while no other operator ran inside


class Recording:
    """Totals by (name, shapes), and the events themselves up to `max_events` operators."""

    def __init__(self, record_shapes: bool = True, max_events: int = 200_000) -> None:
        self.record_shapes, self.max_events = record_shapes, max_events
        self.totals: dict[tuple[str, str], Total] = {}
        self.events: list[tuple[str, str, float, float, str]] = []  # name, kind, start, end, shapes
        self._finished: list[tuple[float, float]] = []  # operators that have ended, and whose caller has not
        self._seen = 0  # operators
        self._origin = clock()

    @contextmanager
    def watch(self) -> Iterator[Recording]:
        """Measure the operators of a ``with`` block."""
        running.append(self)
        try:
            with watched_operators(self.note):
                yield self
        finally:
            running.remove(self)

    def note(self, name: str, backward: bool, start: float, end: float, shapes: list[Any]) -> None:
        """An operator has ended. Those that ended before it and began after it ran inside it."""
        inside = 0.0
        while self._finished and self._finished[-1][0] >= start:
            begun, ended = self._finished.pop()
            inside += ended - begun
        self._finished.append((start, end))
        if len(self._finished) > 10_000:  # none of them has a caller among the operators
            del self._finished[:-100]
        text = " ".join("x".join(map(str, shape)) or "()" for shape in shapes) if self.record_shapes else ""
        entry = self.totals.get((name, text))
        if entry is None:
            entry = self.totals[name, text] = Total()
        entry.calls += 1
        entry.total += end - start
        entry.own += end - start - inside
        self._seen += 1
        if self._seen <= self.max_events:
            self.events.append((name, "backward" if backward else "forward", start, end, text))

    def chrome_trace(self) -> dict[str, Any]:
        """The events in Chrome's trace format: times in microseconds since the start."""
        process = os.getpid()
        return {
            "displayTimeUnit": "ms",
            "traceEvents": [
                {
                    "name": name, "cat": kind, "ph": "X", "pid": process, "tid": 1,
                    "ts": (start - self._origin) * 1e6, "dur": (end - start) * 1e6,
                    **({"args": {"shapes": shapes}} if shapes else {}),
                }
                for name, kind, start, end, shapes in sorted(self.events, key=lambda event: (event[2], -event[3]))
            ],
        }  # fmt: skip
