"""The memory of a GPU: what tensors hold, what the pool holds, and how much there is."""

from __future__ import annotations

from typing import Any

from engine import backend
from engine.errors import OutOfMemoryError as OutOfMemoryError
from engine.gpu import memory

from .devices import index_of, is_available


def _ask(device: Any, what: str) -> int:
    if not is_available():
        return 0
    gpu = backend.gpu()
    with gpu.cuda.Device(index_of(device)):
        return int(getattr(gpu.get_default_memory_pool(), what)())


def empty_cache() -> None:
    """Give unused cached memory back to the driver; nothing without a GPU."""
    if is_available():
        backend.gpu().get_default_memory_pool().free_all_blocks()
        backend.gpu().get_default_pinned_memory_pool().free_all_blocks()


def memory_allocated(device: Any = None) -> int:
    """Bytes in use by tensors on a GPU (the current one); 0 without one."""
    return _ask(device, "used_bytes")


def memory_reserved(device: Any = None) -> int:
    """Bytes held by the memory pool of a GPU; 0 without one."""
    return _ask(device, "total_bytes")


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes in use so far, or since `reset_peak_memory_stats`; 0 without a GPU."""
    return memory.peak(backend.require_cuda(), index_of(device), "allocated") if is_available() else 0


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes held by the pool so far, or since `reset_peak_memory_stats`; 0 without a GPU."""
    return memory.peak(backend.require_cuda(), index_of(device), "reserved") if is_available() else 0


def reset_peak_memory_stats(device: Any = None) -> None:
    """Start `max_memory_allocated` and `max_memory_reserved` anew."""
    if is_available():
        memory.reset_peak(backend.require_cuda(), index_of(device))


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """(free, total) bytes of a GPU, by the driver."""
    gpu = backend.require_cuda()
    with gpu.cuda.Device(index_of(device)):
        free, total = gpu.cuda.runtime.memGetInfo()
    return int(free), int(total)


def memory_stats(device: Any = None) -> dict[str, int]:
    """What the functions here say, in one dictionary, under torch's keys; empty without a GPU."""
    if not is_available():
        return {}
    return {"allocated_bytes.all.current": memory_allocated(device), "allocated_bytes.all.peak": max_memory_allocated(device),
            "reserved_bytes.all.current": memory_reserved(device), "reserved_bytes.all.peak": max_memory_reserved(device)}


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """A table of `memory_stats`."""
    return "\n".join(f"{name:32} {memory.amount(size):>12}" for name, size in memory_stats(device).items())


def set_per_process_memory_fraction(fraction: float, device: Any = None) -> None:
    """Let the pool hold at most this part of a GPU's memory. ValueError unless 0 <= fraction <= 1."""
    if not 0 <= fraction <= 1:
        raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0-1")
    gpu = backend.require_cuda()
    with gpu.cuda.Device(index_of(device)):
        gpu.get_default_memory_pool().set_limit(size=int(fraction * mem_get_info(device)[1]))
