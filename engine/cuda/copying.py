"""The way of batches to a GPU, in a stream of its own."""

from __future__ import annotations

from typing import Any

from engine import backend
from engine.gpu.copies import CopyStream
from engine.tensor import Tensor, wrap


class BatchCopies:
    """Copies the tensors of one batch after the other to a GPU, beside the work on the batch before.

    Tensors in page-locked memory (`DataLoader(pin_memory=True)`) are copied in a stream of their own, and later work waits for
    them on the GPU; others by `.to`.
    """

    def __init__(self, device: Any) -> None:
        self._device = device
        with backend.require_cuda().cuda.Device(device.index):
            self._stream = CopyStream()

    def begin(self) -> None:
        """Another batch comes."""
        self._stream.begin()

    def put(self, tensor: Tensor) -> Tensor:
        """The tensor on the GPU."""
        if tensor.requires_grad or not tensor.ndim or not tensor.numel() or not tensor.is_pinned():  # type: ignore[attr-defined]
            return tensor.to(self._device, non_blocking=True)  # type: ignore[attr-defined]
        with backend.gpu().cuda.Device(self._device.index):
            return wrap(self._stream.put(tensor._array))
