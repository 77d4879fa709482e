"""Streams and events of `engine.cuda`: order and time of work on a GPU."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

from engine import backend
from engine.devices import device

from .devices import index_of

_current = threading.local()  # the stream that this thread has made current, by device


class Stream:
    """A queue of work on a GPU; queues run beside each other. RuntimeError without a GPU.

    `priority`: negative numbers run first.
    """

    def __init__(self, device: Any = None, priority: int = 0, *, raw: Any = None) -> None:
        gpu = backend.require_cuda()
        self._index = index_of(device)
        if raw is None:
            with gpu.cuda.Device(self._index):
                raw = gpu.cuda.Stream(non_blocking=True, priority=priority)
        self.raw, self.priority = raw, priority

    @property
    def device(self) -> device:
        """The stream's GPU."""
        return device("cuda", self._index)

    @property
    def cuda_stream(self) -> int:
        """The address of the CUDA stream, for other libraries."""
        return self.raw.ptr

    def synchronize(self) -> None:
        """Wait until everything in the stream is done."""
        self.raw.synchronize()

    def query(self) -> bool:
        """Whether everything in the stream is done."""
        return bool(self.raw.done)

    def record_event(self, event: Event | None = None) -> Event:
        """Put an event into the stream, and return it."""
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Let later work of this stream wait for an event. The host does not wait."""
        self.raw.wait_event(event.recorded())

    def wait_stream(self, stream: Stream) -> None:
        """Let later work of this stream wait for what is in another one now. The host does not wait."""
        self.wait_event(stream.record_event())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and (other._index, other.raw.ptr) == (self._index, self.raw.ptr)

    def __hash__(self) -> int:
        return hash((self._index, self.raw.ptr))

    def __repr__(self) -> str:
        return f"<engine.cuda.Stream device=cuda:{self._index} cuda_stream={self.raw.ptr:#x}>"

    def __enter__(self) -> Stream:
        self._context = stream(self)
        self._context.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._context.__exit__(*exc)


class Event:
    """A mark in a stream: whether and, with `enable_timing`, when the work before it was done."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        self._options = (blocking, not enable_timing, interprocess)
        self._raw: Any = None

    def recorded(self) -> Any:
        """CuPy's event. RuntimeError before `record`."""
        if self._raw is None:
            raise RuntimeError("Event was not recorded yet. HINT: event.record() first.")
        return self._raw

    def record(self, stream: Stream | None = None) -> None:
        """Put the event into a stream (the current one)."""
        if self._raw is None:
            self._raw = backend.require_cuda().cuda.Event(*self._options)
        self._raw.record((stream or current_stream()).raw)

    def wait(self, stream: Stream | None = None) -> None:
        """Let later work of a stream (the current one) wait for the event."""
        (stream or current_stream()).wait_event(self)

    def query(self) -> bool:
        """Whether the work before the event is done; True before it was recorded."""
        return self._raw is None or bool(self._raw.done)

    def synchronize(self) -> None:
        """Wait until the work before the event is done."""
        if self._raw is not None:
            self._raw.synchronize()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to another. RuntimeError without `enable_timing` or before both are recorded."""
        if self._options[1] or end_event._options[1]:
            raise RuntimeError("Both events must be created with argument 'enable_timing=True'.")
        return float(backend.gpu().cuda.get_elapsed_time(self.recorded(), end_event.recorded()))


def default_stream(device: Any = None) -> Stream:
    """The stream in which everything runs that was put into no other."""
    return Stream(device, raw=backend.require_cuda().cuda.Stream.null)


def current_stream(device: Any = None) -> Stream:
    """The stream in which the next work of this thread runs."""
    index = index_of(device)
    found = getattr(_current, "streams", {}).get(index)
    return found or default_stream(index)


def set_stream(stream: Stream) -> None:
    """Make a stream the current one of this thread."""
    _current.__dict__.setdefault("streams", {})[stream._index] = stream
    stream.raw.use()


class StreamContext:
    """`with torch.cuda.stream(s):` work inside goes into stream `s`; None changes nothing."""

    def __init__(self, stream: Stream | None) -> None:
        self._stream = stream

    def __enter__(self) -> None:
        if self._stream is not None:
            self._before = current_stream(self._stream._index)
            self._device = backend.gpu().cuda.Device(self._stream._index)
            self._device.__enter__()
            set_stream(self._stream)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._stream is not None:
            set_stream(self._before)
            self._device.__exit__(kind, error, trace)


def stream(stream: Stream | None) -> StreamContext:
    """Context manager: work inside goes into this stream."""
    return StreamContext(stream)
