"""`engine.backends`: what `torch.backends` answers. The switches are kept and change nothing here."""

from __future__ import annotations

from . import cuda, cudnn, mkl, mps

__all__ = ["cuda", "cudnn", "mkl", "mps"]
