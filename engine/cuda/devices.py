"""Which GPUs there are, and which is the current one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from engine import backend
from engine.devices import as_device


def is_available() -> bool:
    """Whether CuPy is installed and sees a GPU. Without CuPy the answer comes at once.

    >>> isinstance(torch.cuda.is_available(), bool)
    True
    """
    return backend.cuda_available()


def device_count() -> int:
    """The number of visible GPUs; 0 without any."""
    return int(backend.gpu().cuda.runtime.getDeviceCount()) if is_available() else 0


def current_device() -> int:
    """The index of the current GPU. RuntimeError without one."""
    return int(backend.require_cuda().cuda.Device().id)


def index_of(device: Any) -> int:
    """The index of a GPU given as index, string, device or None (the current one). ValueError for the CPU."""
    if device is None:
        return current_device()
    found = as_device(device)
    if found.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {found}")
    return current_device() if found.index is None else found.index


def set_device(device: Any) -> None:
    """Make a GPU the current one; a negative index changes nothing. RuntimeError for one that is not there."""
    if isinstance(device, int) and device < 0:
        return
    index, count = index_of(device), device_count()
    if index >= count:
        raise RuntimeError(f"CUDA error: invalid device ordinal (asked for cuda:{index}, there are {count} GPUs)")
    backend.require_cuda().cuda.Device(index).use()


class device:
    """Context manager that makes a GPU current inside; None or a negative index changes nothing."""

    def __init__(self, device: Any) -> None:
        gpu = backend.require_cuda()
        unchanged = device is None or (isinstance(device, int) and device < 0)
        self.idx = -1 if unchanged else index_of(device)
        self._device = None if unchanged else gpu.cuda.Device(self.idx)

    def __enter__(self) -> None:
        if self._device is not None:
            self._device.__enter__()

    def __exit__(self, *exc: object) -> None:
        if self._device is not None:
            self._device.__exit__(*exc)


class device_of(device):
    """Context manager that makes a tensor's GPU current inside; for CPU tensors nothing changes."""

    def __init__(self, obj: Any) -> None:
        super().__init__(obj.get_device() if obj.is_cuda else -1)


def _properties(device: Any) -> dict:
    return backend.require_cuda().cuda.runtime.getDeviceProperties(index_of(device))


def get_device_name(device: Any = None) -> str:
    """The GPU's name."""
    return _properties(device)["name"].decode()


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The GPU's compute capability."""
    found = _properties(device)
    return found["major"], found["minor"]


def get_device_properties(device: Any = None) -> Any:
    """Name, memory and multiprocessors of a GPU."""
    found = _properties(device)
    return SimpleNamespace(name=found["name"].decode(), total_memory=found["totalGlobalMem"], major=found["major"],
                           minor=found["minor"], multi_processor_count=found["multiProcessorCount"],
                           warp_size=found["warpSize"], L2_cache_size=found["l2CacheSize"])


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """Whether one GPU can read the other's memory."""
    runtime = backend.require_cuda().cuda.runtime
    return bool(runtime.deviceCanAccessPeer(index_of(device), index_of(peer_device)))


def synchronize(device: Any = None) -> None:
    """Wait until the GPU has finished everything. RuntimeError without one."""
    backend.require_cuda().cuda.Device(index_of(device)).synchronize()


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the GPU computes in bfloat16 (compute capability 8.0); every one does by way of float32."""
    return is_available() and (including_emulation or get_device_capability() >= (8, 0))


def get_arch_list() -> list[str]:
    """The architectures kernels are compiled for: that of the GPUs there are."""
    return sorted({"sm_{}{}".format(*get_device_capability(i)) for i in range(device_count())})
