"""Batches in page-locked memory: `DataLoader(pin_memory=True)` on a machine with a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...tensor import Tensor


def pinned(batch: Any) -> Any:
    """`batch` with its tensors in page-locked memory; objects with a `pin_memory()` of their own do it themselves."""
    if isinstance(batch, Tensor):
        return batch if batch.is_cuda else batch.pin_memory()
    if isinstance(batch, (str, bytes)):
        return batch
    if isinstance(batch, Mapping):
        return {key: pinned(value) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        parts = [pinned(value) for value in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    return batch.pin_memory() if hasattr(batch, "pin_memory") else batch
