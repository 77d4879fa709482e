"""Device memory: CuPy's caching pool, with the peak recorded and an error that says what is left."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from ..errors import OutOfMemoryError

_peaks: dict[str, dict[int, int]] = {"allocated": defaultdict(int), "reserved": defaultdict(int)}  # name -> bytes by device
_since: dict[int, int] = defaultdict(int)  # by device: what was in use when we last looked, and what was asked for since
_lock = threading.Lock()


def install(gpu: Any) -> None:
    """Let CuPy allocate through us."""
    gpu.cuda.set_allocator(allocator(gpu, gpu.get_default_memory_pool()))


def allocator(gpu: Any, pool: Any) -> Callable[[int], Any]:
    """`pool.malloc`, watched."""

    def allocate(size: int) -> Any:
        try:
            memory = pool.malloc(size)
        except gpu.cuda.memory.OutOfMemoryError:
            raise out_of_memory(gpu, pool, size) from None
        watch(gpu, pool, size)
        return memory

    return allocate


def watch(gpu: Any, pool: Any, size: int) -> None:
    """Keep the peak. The pool counts only by going through its blocks, so it is asked only when the peak may have moved."""
    index = gpu.cuda.Device().id
    with _lock:
        _since[index] += size
        if _since[index] > _peaks["allocated"][index]:
            _look(pool, index)


def _look(pool: Any, index: int) -> None:
    _since[index] = used = pool.used_bytes()
    _peaks["allocated"][index] = max(_peaks["allocated"][index], used)
    _peaks["reserved"][index] = max(_peaks["reserved"][index], pool.total_bytes())


def peak(gpu: Any, index: int, kind: str) -> int:
    """The most bytes "allocated" or "reserved" so far."""
    pool = gpu.get_default_memory_pool()
    with _lock, gpu.cuda.Device(index):
        return max(_peaks[kind][index], pool.used_bytes() if kind == "allocated" else pool.total_bytes())


def reset_peak(gpu: Any, index: int) -> None:
    """Start the peaks anew from what is in use now."""
    with _lock, gpu.cuda.Device(index):
        for peaks in _peaks.values():
            peaks[index] = 0
        _look(gpu.get_default_memory_pool(), index)


def amount(size: float) -> str:
    """Bytes as people read them: "1.50 GiB"."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"


def out_of_memory(gpu: Any, pool: Any, size: int) -> OutOfMemoryError:
    """The error for memory that is not there, with what was asked for, used and free."""
    index = gpu.cuda.Device().id
    free, total = gpu.cuda.runtime.memGetInfo()
    used, held = pool.used_bytes(), pool.total_bytes()
    return OutOfMemoryError(
        f"CUDA out of memory. Tried to allocate {amount(size)}. GPU {index} has a total capacity of {amount(total)} of which "
        f"{amount(free)} is free. {amount(used)} is allocated by tensors, and {amount(held - used)} is reserved and not "
        "allocated. HINT: smaller batches, torch.utils.checkpoint, bfloat16, or torch.cuda.empty_cache() if much is reserved.")
