"""How a batch travels from a worker to its parent: arrays lie in a memory block, only its descriptor is sent.

The block is anonymous (`memfd_create`, elsewhere a temporary file that is already deleted): it has no name in /dev/shm
that could be left behind, and the system frees it when the last process that maps it lets go, or is killed.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import tempfile
import weakref
from collections.abc import Callable
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from ...tensor import Tensor, wrap

_LARGE = 4096  # bytes from which an array or message goes into the block; below, a copy through the pipe is cheaper
_ALIGN = 64
# Python's mmap keeps a file descriptor open, and a process has about a thousand of them. When this many batches are in
# use (someone keeps them all in a list), further ones are copied into ordinary memory.
_MAX_LIVE_BLOCKS = 128
_live_blocks: weakref.WeakSet = weakref.WeakSet()


def _array_of_bytes(buffer: Any, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(buffer, dtype).reshape(shape)


def _tensor_of_array(array: np.ndarray, requires_grad: bool) -> Tensor:
    tensor = wrap(array)
    return tensor.requires_grad_() if requires_grad else tensor


class _Pickler(pickle.Pickler):
    """Protocol 5, with the bytes of large arrays left out for the block (`buffers`)."""

    def __init__(self, file: io.BytesIO, buffers: list[pickle.PickleBuffer]) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffers.append)

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is Tensor and isinstance(obj._array, np.ndarray):
            if obj.grad_fn is not None:
                raise RuntimeError(
                    "a DataLoader worker cannot send a tensor that has a graph behind it "
                    f"(shape={list(obj.shape)}). HINT: .detach() it in the dataset or collate_fn"
                )
            return _tensor_of_array, (obj._array, obj.requires_grad)
        if kind is np.ndarray and obj.nbytes >= _LARGE and not obj.dtype.hasobject:
            data: Any = np.ascontiguousarray(obj).reshape(-1).view(np.uint8)
            return _array_of_bytes, (pickle.PickleBuffer(data), obj.dtype, obj.shape)
        return NotImplemented


def _new_block(size: int) -> int:
    """The descriptor of `size` bytes of anonymous shared memory."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("litengine-batch", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        os.ftruncate(descriptor, size)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def send(connection: Connection, value: Any) -> None:
    """Send any picklable value; tensors and arrays of 4 KB and more travel through shared memory.

    What goes over the pipe itself stays small, so that neither side waits for the other to read.
    """
    buffers: list[pickle.PickleBuffer] = []
    file = io.BytesIO()
    _Pickler(file, buffers).dump(value)
    message = file.getbuffer()
    views = [buffer.raw() for buffer in buffers]
    in_block = len(message) >= _LARGE
    if in_block:
        views.append(message)
    header = pickle.dumps(([view.nbytes for view in views], None if in_block else bytes(message)))
    if not views:
        connection.send_bytes(header)
        return
    descriptor = _filled_block(views)  # before anything is sent: a failure here must leave the pipe between messages
    try:
        connection.send_bytes(header)
        reduction.send_handle(connection, descriptor, None)
    finally:
        os.close(descriptor)


def _filled_block(views: list[memoryview]) -> int:
    """The descriptor of a new block that holds the bytes of `views`."""
    starts, total = _layout([view.nbytes for view in views])
    descriptor = _new_block(total)
    try:
        with mmap.mmap(descriptor, total) as block:
            target = np.frombuffer(block, np.uint8)
            for start, view in zip(starts, views, strict=True):
                target[start : start + view.nbytes] = np.frombuffer(view, np.uint8)
            del target  # the block cannot be unmapped while an array looks at it
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _layout(sizes: list[int]) -> tuple[list[int], int]:
    """Where parts of these sizes begin in a block, and the block's size."""
    starts, total = [], 0
    for size in sizes:
        starts.append(total)
        total += -(-size // _ALIGN) * _ALIGN
    return starts, total


def receive(connection: Connection) -> Callable[[], Any]:
    """Take one value off the pipe; the function returned rebuilds it. Raises EOFError when the other side is gone.

    Arrays of the value look at the shared block, which lives as long as they do.
    """
    sizes, message = pickle.loads(connection.recv_bytes())  # noqa: S301 (our own worker process wrote it)
    if not sizes:
        return lambda: pickle.loads(message)  # noqa: S301
    starts, total = _layout(sizes)
    descriptor = reduction.recv_handle(connection)
    try:
        block = mmap.mmap(descriptor, total)
    finally:
        os.close(descriptor)
    views = [memoryview(block)[start : start + size] for start, size in zip(starts, sizes, strict=True)]
    if len(_live_blocks) >= _MAX_LIVE_BLOCKS:
        views = [memoryview(bytearray(view)) for view in views]
    else:
        _live_blocks.add(block)
    if message is None:
        message = views.pop()
    return lambda: pickle.loads(message, buffers=views)  # noqa: S301
