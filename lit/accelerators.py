"""``lit.accelerators``: what ``trainer.accelerator`` is."""

from __future__ import annotations

from dataclasses import dataclass

import engine


@dataclass(frozen=True)
class Accelerator:
    """The kind of device a run is on."""

    @staticmethod
    def is_available() -> bool:
        """Whether there is one."""
        return True

    @staticmethod
    def auto_device_count() -> int:
        """How many there are."""
        return 1


@dataclass(frozen=True)
class CPUAccelerator(Accelerator):
    """The CPU."""


@dataclass(frozen=True)
class CUDAAccelerator(Accelerator):
    """A GPU.

    Example:
        >>> from lit.accelerators import CUDAAccelerator
        >>> CUDAAccelerator.is_available() == torch.cuda.is_available()
        True
    """

    @staticmethod
    def is_available() -> bool:
        return engine.cuda.is_available()

    @staticmethod
    def auto_device_count() -> int:
        return engine.cuda.device_count()


def accelerator_of(device: engine.device) -> Accelerator:
    """The accelerator of a device."""
    return CUDAAccelerator() if device.type == "cuda" else CPUAccelerator()
