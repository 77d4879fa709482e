"""`engine.cpu`: the CPU asked like a device of its own, as programs written for any device do."""

from __future__ import annotations

import contextlib
from typing import Any

__all__ = ["Event", "Stream", "StreamContext", "current_device", "current_stream", "device_count", "is_available",
           "is_initialized", "set_device", "stream", "synchronize"]


class Stream:
    """Stands in for a device's queue of work: on the CPU every call has finished when it returns."""

    def __init__(self, priority: int = -1) -> None:
        pass

    def wait_stream(self, stream: Any) -> None:
        """Nothing to wait for."""

    def record_event(self) -> Event:
        """An event that has happened."""
        return Event()

    def wait_event(self, event: Any) -> None:
        """Nothing to wait for."""


class Event:
    """A mark in a stream; on the CPU it has always been reached."""

    def query(self) -> bool:
        """Whether the mark has been reached."""
        return True

    def record(self, stream: Any = None) -> None:
        """Set the mark: reached at once."""

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def wait(self, stream: Any = None) -> None:
        """Nothing to wait for."""


_STREAM = Stream()


class StreamContext(contextlib.AbstractContextManager):
    """The context that `stream` gives: does nothing."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __exit__(self, *exc: object) -> None:
        pass


def stream(stream: Any) -> StreamContext:
    """A context for work on `stream`: does nothing on the CPU."""
    return StreamContext(stream)


def current_stream(device: Any = None) -> Stream:
    """The one stream of the CPU."""
    return _STREAM


def current_device() -> str:
    """The current CPU: always "cpu".

    >>> torch.cpu.current_device()
    'cpu'
    """
    return "cpu"


def set_device(device: Any) -> None:
    """Nothing to choose: there is one CPU."""


def device_count() -> int:
    """The number of CPUs as devices: always 1."""
    return 1


def is_available() -> bool:
    """Whether there is a CPU: always true."""
    return True


def is_initialized() -> bool:
    """Whether the CPU is ready: always true."""
    return True


def synchronize(device: Any = None) -> None:
    """Wait for the CPU's work: it has always finished."""


def __getattr__(name: str) -> Any:
    if name == "amp":
        from importlib import import_module

        return import_module("engine.cpu.amp")
    from engine.errors import no_attribute

    raise no_attribute(__name__, name, __all__)
