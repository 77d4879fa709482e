"""`engine.cuda`: what torch.cuda offers, on CuPy. Everything answers honestly where there is no GPU."""

from __future__ import annotations

import importlib
from typing import Any

from engine import backend, random
from engine.devices import as_device
from engine.errors import no_attribute

__all__ = ["current_device", "device", "device_count", "empty_cache", "get_device_capability", "get_device_name",
           "get_device_properties", "get_rng_state_all", "init",
           "is_available", "is_bf16_supported", "is_initialized", "manual_seed", "manual_seed_all",
           "max_memory_allocated", "mem_get_info", "memory_allocated", "memory_reserved", "reset_peak_memory_stats",
           "set_device", "set_rng_state_all", "synchronize"]


_initialized = False  # that torch's own lazy start has happened, which libraries look at before they save random states


def is_available() -> bool:
    """Whether CuPy is installed and sees a GPU.

    >>> isinstance(torch.cuda.is_available(), bool)
    True
    """
    return backend.cuda_available()


def is_initialized() -> bool:
    """Whether a GPU is in use; there is no separate initialisation here."""
    return is_available()


def init() -> None:
    """Nothing to do: CuPy initialises on first use. RuntimeError without a GPU."""
    backend.require_cuda()


def device_count() -> int:
    """The number of visible GPUs; 0 without any."""
    return int(backend.gpu().cuda.runtime.getDeviceCount()) if is_available() else 0


def _index(device: Any) -> int:
    if device is None:
        return current_device()
    found = as_device(device)
    return current_device() if found.index is None else found.index


def current_device() -> int:
    """The index of the current GPU. RuntimeError without one."""
    return int(backend.require_cuda().cuda.Device().id)


def set_device(device: Any) -> None:
    """Make a GPU the current one."""
    backend.require_cuda().cuda.Device(_index(device)).use()


class device:
    """Context manager that makes a GPU current inside."""

    def __init__(self, device: Any) -> None:
        self._device = backend.require_cuda().cuda.Device(_index(device))

    def __enter__(self) -> None:
        self._device.__enter__()

    def __exit__(self, *exc: object) -> None:
        self._device.__exit__(*exc)


def _properties(device: Any) -> dict:
    return backend.require_cuda().cuda.runtime.getDeviceProperties(_index(device))


def get_device_name(device: Any = None) -> str:
    """The GPU's name."""
    return _properties(device)["name"].decode()


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The GPU's compute capability."""
    found = _properties(device)
    return found["major"], found["minor"]


def get_device_properties(device: Any = None) -> Any:
    """Name, memory and multiprocessors of a GPU."""
    from types import SimpleNamespace

    found = _properties(device)
    return SimpleNamespace(name=found["name"].decode(), total_memory=found["totalGlobalMem"], major=found["major"],
                           minor=found["minor"], multi_processor_count=found["multiProcessorCount"])


def synchronize(device: Any = None) -> None:
    """Wait until the GPU has finished everything. RuntimeError without one."""
    backend.require_cuda().cuda.Device(_index(device)).synchronize()


def empty_cache() -> None:
    """Give unused cached memory back to the driver; nothing without a GPU."""
    if is_available():
        backend.gpu().get_default_memory_pool().free_all_blocks()
        backend.gpu().get_default_pinned_memory_pool().free_all_blocks()


def memory_allocated(device: Any = None) -> int:
    """Bytes in use by tensors on the current GPU; 0 without one."""
    return int(backend.gpu().get_default_memory_pool().used_bytes()) if is_available() else 0


def memory_reserved(device: Any = None) -> int:
    """Bytes held by the memory pool; 0 without a GPU."""
    return int(backend.gpu().get_default_memory_pool().total_bytes()) if is_available() else 0


def max_memory_allocated(device: Any = None) -> int:
    """The pool's size so far, an upper bound of the peak: CuPy's pool does not record the peak itself."""
    return memory_reserved(device)


def reset_peak_memory_stats(device: Any = None) -> None:
    """Shrink the pool to what is in use, so that `max_memory_allocated` starts anew."""
    empty_cache()


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """(free, total) bytes of a GPU."""
    gpu = backend.require_cuda()
    with gpu.cuda.Device(_index(device)):
        free, total = gpu.cuda.runtime.memGetInfo()
    return int(free), int(total)


def manual_seed(seed: int) -> None:
    """Seed the GPU's random numbers. They are drawn on the CPU's default generator here, so this seeds that one.

    Without a GPU nothing happens, as in torch.
    """
    if is_available():
        random.manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """As `manual_seed`."""
    manual_seed(seed)


def get_rng_state_all() -> list[Any]:
    """The random state that a GPU's draws come from, the CPU's, once per GPU; empty without one."""
    return [random.get_rng_state() for _ in range(device_count())]


def set_rng_state_all(new_states: Any) -> None:
    """Take up what `get_rng_state_all` gave; nothing for an empty list."""
    for state in new_states:
        random.set_rng_state(state)


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether there is a GPU: bfloat16 tensors work on every one, by way of float32."""
    return is_available()


def __getattr__(name: str) -> Any:
    if name == "amp":  # the old names of engine.amp, loaded when they are used
        return importlib.import_module(f"{__name__}.amp")
    raise no_attribute(__name__, name, __all__)
