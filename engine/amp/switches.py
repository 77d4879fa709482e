"""Autocast's switches, one by one, under torch's names. They hold for the calling thread until they are set again."""

from __future__ import annotations

from engine.dtypes import dtype
from engine.ops.casting import enable, state

__all__ = [
    "autocast_decrement_nesting", "autocast_increment_nesting", "clear_autocast_cache", "get_autocast_cpu_dtype",
    "get_autocast_dtype", "get_autocast_gpu_dtype", "is_autocast_cache_enabled", "is_autocast_cpu_enabled",
    "is_autocast_enabled", "set_autocast_cache_enabled", "set_autocast_cpu_dtype", "set_autocast_cpu_enabled",
    "set_autocast_dtype", "set_autocast_enabled", "set_autocast_gpu_dtype",
]  # fmt: skip


def _known(device_type: str) -> str:
    if device_type not in state.dtypes:
        raise RuntimeError(f"unknown device type for autocast: '{device_type}'. HINT: one of {tuple(state.dtypes)}.")
    return device_type


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Whether autocast is on for that type of device in this thread; without an argument, for "cuda"."""
    return _known("cuda" if device_type is None else device_type) in state.enabled


def set_autocast_enabled(device_type: str | bool, enabled: bool | None = None) -> None:
    """Switch autocast on or off for a type of device; with one argument, for "cuda"."""
    if enabled is None:
        device_type, enabled = "cuda", bool(device_type)
    enable(_known(str(device_type)), enabled)


def get_autocast_dtype(device_type: str) -> dtype:
    """The dtype that autocast uses on that type of device.

    >>> torch.get_autocast_dtype("cpu")
    torch.bfloat16
    """
    return state.dtypes[_known(device_type)]


def set_autocast_dtype(device_type: str, dtype: dtype) -> None:
    """Set the dtype that autocast uses on that type of device."""
    state.dtypes[_known(device_type)] = dtype


def is_autocast_cache_enabled() -> bool:
    """Whether the casts of parameters are kept until the outermost autocast context ends."""
    return state.cache_enabled


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Keep the casts of parameters, or make them anew each time."""
    state.cache_enabled = enabled


def clear_autocast_cache() -> None:
    """Forget the casts of parameters."""
    state.cache.clear()


def autocast_increment_nesting() -> int:
    """One autocast context more; returns how many are open."""
    state.nesting += 1
    return state.nesting


def autocast_decrement_nesting() -> int:
    """One autocast context less; returns how many are open."""
    state.nesting -= 1
    return state.nesting


def is_autocast_cpu_enabled() -> bool:
    """`is_autocast_enabled("cpu")`."""
    return is_autocast_enabled("cpu")


def set_autocast_cpu_enabled(enabled: bool) -> None:
    """`set_autocast_enabled("cpu", enabled)`."""
    enable("cpu", enabled)


def get_autocast_cpu_dtype() -> dtype:
    """`get_autocast_dtype("cpu")`."""
    return state.dtypes["cpu"]


def set_autocast_cpu_dtype(dtype: dtype) -> None:
    """`set_autocast_dtype("cpu", dtype)`."""
    state.dtypes["cpu"] = dtype


def get_autocast_gpu_dtype() -> dtype:
    """`get_autocast_dtype("cuda")`."""
    return state.dtypes["cuda"]


def set_autocast_gpu_dtype(dtype: dtype) -> None:
    """`set_autocast_dtype("cuda", dtype)`."""
    state.dtypes["cuda"] = dtype
