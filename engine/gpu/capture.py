"""Which graph is being captured: for code whose numbers on the host replays must follow, or that refuses to be captured."""

from __future__ import annotations

import threading
from collections.abc import Callable

_here = threading.local()


class StaleGraph(RuntimeError):
    """A graph is replayed though what it was captured from is not there any more: it has to be captured again."""


class Capture:
    """A capture that goes on. `before_replay`: called on the host before each replay; may raise `StaleGraph`."""

    def __init__(self) -> None:
        self.before_replay: list[Callable[[], None]] = []
        self._outer = current()

    def __enter__(self) -> Capture:
        _here.capture = self
        return self

    def __exit__(self, *exc: object) -> None:
        _here.capture = self._outer


def current() -> Capture | None:
    """The capture that this thread's work goes into, if there is one."""
    return getattr(_here, "capture", None)


def refuse(what: str, hint: str) -> None:
    """RuntimeError if a graph is being captured: `what` can't be."""
    if current() is not None:
        raise RuntimeError(f"{what} can't be captured in a CUDA graph. HINT: {hint}")
