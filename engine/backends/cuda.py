"""The switches of CUDA's matrix products and attention kernels. Programs may set them; the engine does not read them.

>>> torch.backends.cuda.matmul.allow_tf32 = True
"""

from __future__ import annotations

from types import SimpleNamespace

from engine import backend

__all__ = ["is_built", "matmul"]

matmul = SimpleNamespace(allow_tf32=False, allow_fp16_reduced_precision_reduction=True,
                         allow_bf16_reduced_precision_reduction=True)


def is_built() -> bool:
    """Whether CuPy and a GPU are there."""
    return backend.cuda_available()
