"""What the stand-in device remembers: which device is current, what is allocated, and what made the host wait."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from typing import Any

DEVICES = 2
MEMORY = 1 << 30  # bytes of each device


class State(threading.local):
    """Of one thread: the current device and stream."""

    device = 0
    stream: Any = None
    allocator: Any = None  # of `using_allocator`


here = State()
roots: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()  # all arrays that own their memory
events: Counter[str] = Counter()  # "synchronize", "to_host", "to_device", "launch", "free", ... since `reset`


def note(what: str) -> None:
    """Count one event. During a stream capture, what CUDA refuses there is refused."""
    events[what] += 1
    if here.stream is not None and here.stream.capturing and what in ("synchronize", "to_host", "to_device", "blas"):
        raise RuntimeError(f"cudaErrorStreamCaptureUnsupported: {what} while a stream is being captured")


class Block:
    """Allocated bytes; they are free again when the last array on them is gone."""

    def __init__(self, pool: Any, size: int) -> None:
        self.pool, self.size, self.device_id = pool, size, here.device
        pool.used[self.device_id] += size

    def __del__(self) -> None:
        self.pool.used[self.device_id] -= self.size


class Pointer:
    """`cupy.cuda.MemoryPointer`."""

    def __init__(self, mem: Any, ptr: int = 0) -> None:
        self.mem, self.ptr, self.device_id = mem, ptr, mem.device_id

    @property
    def device(self) -> Any:
        from .cuda import Device

        return Device(self.device_id)


class OutOfMemoryError(MemoryError):
    """`cupy.cuda.memory.OutOfMemoryError`."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes).")


class MemoryPool:
    """`cupy.cuda.MemoryPool`, with 512-byte rounding and a limit."""

    def __init__(self, allocator: Any = None) -> None:
        self.used: Counter[int] = Counter()
        self.held: Counter[int] = Counter()
        self.limit = MEMORY

    def malloc(self, size: int) -> Pointer:
        size = -(-size // 512) * 512
        now = self.used[here.device]
        if now + size > self.limit:
            raise OutOfMemoryError(size, self.held[here.device], self.limit)
        self.held[here.device] = max(self.held[here.device], now + size)
        events["malloc"] += 1
        return Pointer(Block(self, size))

    def used_bytes(self) -> int:
        return self.used[here.device]

    def total_bytes(self) -> int:
        return self.held[here.device]

    def free_bytes(self) -> int:
        return self.total_bytes() - self.used_bytes()

    def free_all_blocks(self, stream: Any = None) -> None:
        self.held[here.device] = self.used[here.device]

    def set_limit(self, size: Any = None, fraction: Any = None) -> None:
        self.limit = size or MEMORY

    def get_limit(self) -> int:
        return self.limit


default_pool = MemoryPool()
current_allocator: Any = default_pool.malloc


def allocate(size: int) -> Pointer:
    """Memory from whatever allocator is set."""
    return (here.allocator or current_allocator)(size)


def reset() -> None:
    """Forget what was counted, and go back to the first device."""
    events.clear()
    here.device = 0
    here.stream = None
