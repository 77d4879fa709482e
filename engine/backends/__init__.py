"""`engine.backends`: what `torch.backends` answers, and `fast`, which is ours. On the CPU torch's switches change nothing."""

from __future__ import annotations

from . import cuda, cudnn, fast, mkl, mkldnn, mps

__all__ = ["cuda", "cudnn", "fast", "mkl", "mkldnn", "mps"]
