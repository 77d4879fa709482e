"""`engine.accelerator`: the GPU, if there is one, without naming its kind."""

from __future__ import annotations

from typing import Any

from . import cpu, cuda
from .devices import as_device, device

__all__ = ["current_accelerator", "current_device_index", "device_count", "get_device_module", "is_available",
           "set_device_index", "synchronize"]


def is_available() -> bool:
    """Whether there is a GPU.

    >>> torch.accelerator.is_available() == torch.cuda.is_available()
    True
    """
    return cuda.is_available()


def current_accelerator(check_available: bool = False) -> device | None:
    """`device("cuda")` where there is a GPU, otherwise None (torch's CPU build answers the same)."""
    return device("cuda") if is_available() else None


def device_count() -> int:
    """The number of GPUs."""
    return cuda.device_count()


def current_device_index() -> int:
    """The index of the current GPU. RuntimeError without one."""
    return cuda.current_device()


def set_device_index(device: Any) -> None:
    """Make a GPU the current one. RuntimeError without one."""
    cuda.set_device(device)


def synchronize(device: Any = None) -> None:
    """Wait until the GPU has finished everything. RuntimeError without one."""
    cuda.synchronize(device)


def get_device_module(device: Any = None) -> Any:
    """`engine.cuda` or `engine.cpu`, by the device; without one, by whether there is a GPU.

    >>> torch.get_device_module("cpu").device_count()
    1
    """
    where = current_accelerator() if device is None else as_device(device)
    return cuda if where is not None and where.type == "cuda" else cpu
