"""The switches of CUDA's matrix products (`allow_tf32` counts) and attention kernels (cuDNN's counts, others are kept).

>>> torch.backends.cuda.matmul.allow_tf32 = True
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from engine import backend
from engine.gpu import attention, gemm

__all__ = ["cudnn_sdp_enabled", "enable_cudnn_sdp", "enable_flash_sdp", "enable_math_sdp", "enable_mem_efficient_sdp",
           "flash_sdp_enabled", "is_built", "is_flash_attention_available", "math_sdp_enabled", "matmul",
           "mem_efficient_sdp_enabled", "preferred_linalg_library", "sdp_kernel"]

matmul = gemm.switches


def is_built() -> bool:
    """Whether CuPy and a GPU are there."""
    return backend.cuda_available()


_sdp = {"flash": True, "math": True, "mem_efficient": True}


def is_flash_attention_available() -> bool:
    """Always True: attention never holds all weights of a large batch at once."""
    return True


def flash_sdp_enabled() -> bool:
    """What `enable_flash_sdp` was told last."""
    return _sdp["flash"]


def enable_flash_sdp(enabled: bool) -> None:
    """Kept, and without effect: attention has one form beside cuDNN's."""
    _sdp["flash"] = enabled


def math_sdp_enabled() -> bool:
    """What `enable_math_sdp` was told last."""
    return _sdp["math"]


def enable_math_sdp(enabled: bool) -> None:
    """Kept, and without effect: attention has one form beside cuDNN's."""
    _sdp["math"] = enabled


def mem_efficient_sdp_enabled() -> bool:
    """What `enable_mem_efficient_sdp` was told last."""
    return _sdp["mem_efficient"]


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Kept, and without effect: attention has one form beside cuDNN's."""
    _sdp["mem_efficient"] = enabled


def cudnn_sdp_enabled() -> bool:
    """What `enable_cudnn_sdp` was told last."""
    return attention.switches.enabled


def enable_cudnn_sdp(enabled: bool) -> None:
    """Whether attention of half precision on a GPU may go through cuDNN."""
    attention.switches.enabled = enabled


@contextmanager
def sdp_kernel(enable_flash: bool = True, enable_math: bool = True, enable_mem_efficient: bool = True,
               enable_cudnn: bool = True) -> Iterator[dict]:
    """A context with these four settings.

    >>> with torch.backends.cuda.sdp_kernel(enable_flash=False):
    ...     torch.backends.cuda.flash_sdp_enabled()
    False
    """
    before, cudnn_before = dict(_sdp), attention.switches.enabled
    _sdp.update(flash=enable_flash, math=enable_math, mem_efficient=enable_mem_efficient)
    attention.switches.enabled = enable_cudnn
    try:
        yield {}
    finally:
        _sdp.update(before)
        attention.switches.enabled = cudnn_before


def preferred_linalg_library(backend: str | None = None) -> str:
    """"default": linear algebra has one library on each device."""
    return "default"
