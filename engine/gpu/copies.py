"""Copies between page-locked memory and a GPU, which go on while the host, or the GPU, does something else."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from .. import backend

_in_flight: deque[tuple[Any, Any]] = deque()  # (event after the copy, source): a source must stay until its copy is done


def put(gpu: Any, array: Any) -> Any:
    """A copy of a NumPy array in page-locked memory, put into the current stream."""
    while _in_flight and _in_flight[0][0].done:
        _in_flight.popleft()
    out = gpu.empty(array.shape, array.dtype)
    stream = gpu.cuda.get_current_stream()
    source = array if array.flags.c_contiguous else array.copy()
    out.set(source, stream=stream)
    _in_flight.append((stream.record(_event(gpu)), source))
    return out


class CopyStream:
    """Copies batches to a GPU in a stream of their own, while the current stream still works on the batch before.

    What a copy arrives in is ours, in two places that are used in turn; the current stream waits for it there and takes a copy
    within the GPU, which costs next to nothing. So the memory that a program gets belongs to its own stream, and it may keep it
    and let go of it when it likes.
    """

    def __init__(self) -> None:
        self._stream = backend.require_cuda().cuda.Stream(non_blocking=True)
        self._places: list[list[_Place | None]] = []  # for each array of a batch, its two places
        self._turn = self._next = 0

    def begin(self) -> None:
        """The arrays of another batch come now."""
        self._turn, self._next = 1 - self._turn, 0

    def put(self, array: np.ndarray) -> Any:
        """A copy of an array in page-locked memory, for use in the current stream. The host does not wait."""
        gpu = backend.gpu()
        if self._next == len(self._places):
            self._places.append([None, None])
        pair = self._places[self._next]
        self._next += 1
        place, current = pair[self._turn], gpu.cuda.get_current_stream()
        if place is None or place.memory.size < array.nbytes:  # the memory may come from what the current stream works on
            place = pair[self._turn] = _Place(gpu.empty(array.nbytes, np.uint8), current.record(_event(gpu)))
        self._stream.wait_event(place.free)
        here = place.memory[: array.nbytes].view(array.dtype).reshape(array.shape)
        source = array if array.flags.c_contiguous else array.copy()
        here.set(source, stream=self._stream)
        arrived = self._stream.record(_event(gpu))
        while _in_flight and _in_flight[0][0].done:
            _in_flight.popleft()
        _in_flight.append((arrived, source))
        current.wait_event(arrived)
        out = here.copy()
        place.free = current.record(_event(gpu))
        return out


class _Place:
    """Memory on the GPU, and the event after which it may be written to again."""

    def __init__(self, memory: Any, free: Any) -> None:
        self.memory, self.free = memory, free


def _event(gpu: Any) -> Any:
    return gpu.cuda.Event(disable_timing=True)


class LateRead:
    """An array on its way to the host, which does not wait for it."""

    def __init__(self, array: Any) -> None:
        gpu = backend.gpu()
        memory = gpu.cuda.alloc_pinned_memory(max(array.nbytes, 1))
        self._source = array
        self.array = np.frombuffer(memory, array.dtype, array.size)
        array.reshape(-1).get(out=self.array, blocking=False)
        self._arrived = gpu.cuda.get_current_stream().record(_event(gpu))

    def has_arrived(self) -> bool:
        """Whether `array` holds the elements."""
        return bool(self._arrived.done)
