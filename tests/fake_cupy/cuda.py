"""The stand-in's `cupy.cuda`: devices, streams, events, memory, graphs."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator
from typing import Any

from . import capture, state


class CUDARuntimeError(RuntimeError):
    """`cupy.cuda.runtime.CUDARuntimeError`."""


class Device:
    """`cupy.cuda.Device`."""

    def __init__(self, device: Any = None) -> None:
        self.id = state.here.device if device is None else int(getattr(device, "id", device))
        self._before: list[int] = []

    def use(self) -> None:
        if not 0 <= self.id < state.DEVICES:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        state.here.device = self.id

    def __enter__(self) -> Device:
        self._before.append(state.here.device)
        self.use()
        return self

    def __exit__(self, *exc: object) -> None:
        state.here.device = self._before.pop()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __int__(self) -> int:
        return self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def synchronize(self) -> None:
        state.note("synchronize")

    compute_capability = "90"

    @property
    def mem_info(self) -> tuple[int, int]:
        with self:
            return memory_info()


def memory_info() -> tuple[int, int]:
    return state.MEMORY - state.default_pool.total_bytes(), state.MEMORY


class Stream:
    """`cupy.cuda.Stream`."""

    null: Any = None

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False, *, priority: Any = None) -> None:
        self.ptr = 0 if null else id(self)
        self.non_blocking, self.capturing, self._before = non_blocking, False, []
        self.device_id = state.here.device
        self.done = True

    def use(self) -> Stream:
        state.here.stream = self
        return self

    def __enter__(self) -> Stream:
        self._before.append(state.here.stream)
        return self.use()

    def __exit__(self, *exc: object) -> None:
        state.here.stream = self._before.pop()

    def synchronize(self) -> None:
        state.note("synchronize")

    def wait_event(self, event: Any) -> None:
        state.events["wait_event"] += 1

    def record(self, event: Any = None) -> Any:
        event = event or Event()
        event.record(self)
        return event

    def launch_host_func(self, callback: Any, arg: Any) -> None:
        callback(arg)

    def begin_capture(self, mode: Any = None) -> None:
        if self.ptr == 0:
            raise CUDARuntimeError("cudaErrorStreamCaptureUnsupported: operation not permitted on the legacy stream")
        self.capturing, self.recording = True, capture.Recording()
        state.events["capture"] += 1

    def end_capture(self) -> capture.Graph:
        self.capturing = False
        return self.recording.end()

    def is_capturing(self) -> bool:
        return self.capturing


Stream.null = Stream(null=True)


class Event:
    """`cupy.cuda.Event`."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self.disable_timing, self.time, self.done = disable_timing, None, True
        self.ptr = id(self)

    def record(self, stream: Any = None) -> None:
        state.events["record"] += 1
        self.time = state.events["launch"]

    def synchronize(self) -> None:
        state.note("synchronize")


def get_elapsed_time(start: Event, end: Event) -> float:
    if start.time is None or end.time is None or start.disable_timing or end.disable_timing:
        raise CUDARuntimeError("cudaErrorInvalidResourceHandle: invalid resource handle")
    return float(end.time - start.time)


@contextlib.contextmanager
def using_allocator(allocator: Any = None) -> Iterator[None]:
    before, state.here.allocator = state.here.allocator, allocator
    try:
        yield
    finally:
        state.here.allocator = before


def set_allocator(allocator: Any = None) -> None:
    state.current_allocator = allocator or state.default_pool.malloc


class PinnedMemory:
    """`cupy.cuda.PinnedMemoryPointer`: host memory through the buffer protocol."""

    def __new__(cls, size: int) -> Any:
        state.events["pinned"] += 1
        return memoryview(bytearray(size))


class PinnedMemoryPool:
    """`cupy.cuda.PinnedMemoryPool`."""

    def free_all_blocks(self) -> None:
        state.events["free"] += 1

    def n_free_blocks(self) -> int:
        return 0


def properties(device: int) -> dict:
    return {"name": b"stand-in", "totalGlobalMem": state.MEMORY, "major": 9, "minor": 0, "multiProcessorCount": 132,
            "warpSize": 32, "maxThreadsPerMultiProcessor": 2048, "sharedMemPerBlockOptin": 232448, "l2CacheSize": 52428800}


def module(name: str) -> types.ModuleType:
    """The module `cupy.cuda`."""
    made: Any = types.ModuleType(name)
    made.runtime = types.SimpleNamespace(
        getDeviceCount=lambda: state.DEVICES, getDeviceProperties=properties, memGetInfo=memory_info,
        deviceSynchronize=lambda: state.note("synchronize"), CUDARuntimeError=CUDARuntimeError,
        streamSynchronize=lambda ptr: state.note("synchronize"), runtimeGetVersion=lambda: 13000,
        driverGetVersion=lambda: 13000, streamCaptureModeRelaxed=2, deviceCanAccessPeer=lambda a, b: 0)
    made.memory = types.SimpleNamespace(OutOfMemoryError=state.OutOfMemoryError, MemoryPool=state.MemoryPool)
    made.stream = types.SimpleNamespace(Stream=Stream, Event=Event)
    made.Device, made.Stream, made.Event, made.Graph = Device, Stream, Event, capture.Graph
    made.MemoryPool, made.MemoryPointer = state.MemoryPool, state.Pointer
    made.PinnedMemoryPool = PinnedMemoryPool
    made.get_elapsed_time, made.using_allocator, made.set_allocator = get_elapsed_time, using_allocator, set_allocator
    made.get_current_stream = lambda device_id=-1: state.here.stream or Stream.null
    made.alloc, made.alloc_pinned_memory = state.allocate, PinnedMemory
    made.is_available = lambda: True
    return made
