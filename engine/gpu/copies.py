"""Copies from page-locked memory to a GPU, which go on while the host does something else."""

from __future__ import annotations

from collections import deque
from typing import Any

_in_flight: deque[tuple[Any, Any]] = deque()  # (event after the copy, source): a source must stay until its copy is done


def put(gpu: Any, array: Any) -> Any:
    """A copy of a NumPy array in page-locked memory, put into the current stream."""
    while _in_flight and _in_flight[0][0].done:
        _in_flight.popleft()
    out = gpu.empty(array.shape, array.dtype)
    stream = gpu.cuda.get_current_stream()
    source = array if array.flags.c_contiguous else array.copy()
    out.set(source, stream=stream)
    _in_flight.append((stream.record(gpu.cuda.Event(disable_timing=True)), source))
    return out
