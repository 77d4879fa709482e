"""Helpers around training: `data` loads data, `checkpoint` trades time for memory, `dlpack` shares memory."""

from __future__ import annotations

from . import checkpoint, data, dlpack

__all__ = ["checkpoint", "data", "dlpack"]
