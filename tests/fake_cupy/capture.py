"""Work captured from a stream: remembered as calls on the arrays' memory, and done again by every replay.

As on a GPU, capturing runs nothing: when it ends, memory that was there before holds what it held, and memory made meanwhile
holds NaN until the first replay. A replay whose graph reads memory that was freed since fails.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from . import state


class Recording:
    """What a stream that is being captured has been given so far."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], Any]] = []
        self.needed: list[tuple[Any, str]] = []  # (memory from outside as a weak reference, what it is)
        self._before: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._made: dict[int, np.ndarray] = {}

    def made(self, array: np.ndarray) -> None:
        """New memory of the graph's own."""
        self._made[id(array)] = array

    def touch(self, arrays: Iterable[Any]) -> None:
        """Work comes next that reads or writes these."""
        for array in arrays:
            root = array if array._root is None else array._root
            key = id(root._a)
            if key not in self._made and key not in self._before:
                self._before[key] = (root._a, root._a.copy())
                self.needed.append((weakref.ref(root._mem.mem), f"{root._a.dtype} {root._a.shape}"))

    def touch_address(self, address: int) -> None:
        """As `touch`, of the memory that an address points into."""
        for root in list(state.roots.values()):
            start = root._a.ctypes.data
            if start <= address < start + max(root._a.nbytes, 1):
                self.touch([root])
                return
        raise RuntimeError("cudaErrorIllegalAddress: no array has this memory")

    def end(self) -> Graph:
        """Nothing has happened yet."""
        for array, before in self._before.values():
            array[...] = before
        for array in self._made.values():
            if array.dtype.kind in "fcV":
                array[...] = np.nan
            elif array.dtype.kind in "iu":
                array[...] = 99
        return Graph(self)


class Graph:
    """`cupy.cuda.Graph`."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def launch(self, stream: Any = None) -> None:
        state.events["graph_launch"] += 1
        for memory, what in self._recording.needed:
            if memory() is None:
                raise RuntimeError(f"cudaErrorIllegalAddress: the graph uses memory that was freed: {what}")
        with np.errstate(all="ignore"):
            for call in self._recording.calls:
                call()

    def upload(self, stream: Any = None) -> None:
        state.events["graph_upload"] += 1


def current() -> Recording | None:
    """The recording of the current stream, if it is being captured."""
    stream = state.here.stream
    return stream.recording if stream is not None and stream.capturing else None


def about_to(arrays: Iterable[Any]) -> Recording | None:
    """Called before work on `arrays`: the recording that its call must be added to, if there is one."""
    recording = current()
    if recording is not None:
        recording.touch(arrays)
    return recording


def memory_of(made: Any, given: list) -> Any:
    """The memory that a call's results were put into, nested as they are; None for views of what it was given, and `out=`."""
    if isinstance(made, (list, tuple)):
        return [memory_of(m, given) for m in made]
    is_new = hasattr(made, "_root") and made._root is None and all(made is not g for g in given)
    return made._a if is_new else None


def refill(memory: Any, result: Any) -> None:
    """Put NumPy's `result` of the same call where its first results are."""
    if isinstance(memory, list):
        for m, r in zip(memory, result):
            refill(m, r)
    elif memory is not None:
        memory[...] = result
