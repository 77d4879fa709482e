"""Where optimizers keep what they remember: one flat array per quantity for many parameters.

`state[p]["exp_avg"]` and its like are views of such flat arrays. An update of many small parameters is then one pass
over one array instead of a pass over each; to the user, and in `state_dict()`, nothing shows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine import backend
from engine.devices import device_of, place
from engine.tensor import Tensor, wrap

__all__ = ["Arena", "Slot", "as_real", "kind_of"]

# Counts of steps are float32, as torch keeps them: exact up to 16,777,216 steps. They stay on the CPU, unless a step is to be
# captured in a CUDA graph or skipped without the host's knowing.
_COUNT_TYPE = np.float32


def kind_of(array: Any) -> tuple:
    """What arrays must have in common to share flat storage: device and dtype."""
    return str(device_of(array)), array.dtype


def as_real(array: Any) -> Any:
    """A complex array as a view of its real and imaginary parts, along a new last dimension; others as they are."""
    return array[..., None].view(array.real.dtype) if array.dtype.kind == "c" else array


class Arena:
    """Flat storage for some parameters of one kind: `flats[name]` per quantity, and `steps` (one count per row)."""

    __slots__ = ("fills", "flats", "live", "steps", "xp")

    def __init__(self, arrays: list[Any], fills: dict[str, float], counted: bool, live: bool = False) -> None:
        self.live = live  # counts are on the device
        self.xp = backend.namespace(arrays[0])
        total = sum(array.size for array in arrays)
        self.fills = fills
        # zeros, not full, where it can be: the system hands out zero pages only when they are first touched.
        self.flats = {name: self._filled(total, fill, arrays[0].dtype) for name, fill in fills.items()}
        self.steps = (self.xp if live else np).zeros(len(arrays), _COUNT_TYPE) if counted else None

    def _filled(self, total: int, fill: float, dtype: Any) -> Any:
        return self.xp.zeros(total, dtype) if fill == 0 else self.xp.full(total, self._both(fill, dtype), dtype)

    @staticmethod
    def _both(fill: float, dtype: Any) -> Any:
        """A value for an array; of complex ones, both parts get it."""
        return complex(fill, fill) if dtype.kind == "c" else fill

    def initial(self, name: str, dtype: Any) -> Any:
        """What a quantity is at the start."""
        return self._both(self.fills.get(name, 0), dtype)

    def slots(self, arrays: list[Any]) -> list[Slot]:
        """One slot per array, in order."""
        made, start = [], 0
        for row, array in enumerate(arrays):
            made.append(Slot(self, row, start, array))
            start += array.size
        return made


class Slot:
    """One parameter's share of an arena: rows `start:stop` of its flat arrays, and the tensors that view them."""

    __slots__ = ("arena", "kind", "row", "shape", "start", "stop", "tensors")

    def __init__(self, arena: Arena, row: int, start: int, array: Any) -> None:
        self.arena, self.row = arena, row
        self.start, self.stop = start, start + array.size
        self.kind, self.shape = kind_of(array), array.shape
        self.tensors: dict[str, Tensor] = {}
        if arena.steps is not None:
            self.tensors["step"] = wrap(arena.steps[row, ...])
        for name, flat in arena.flats.items():
            self.tensors[name] = wrap(flat[start : self.stop].reshape(array.shape))

    def fits(self, array: Any, fills: dict[str, float], live: bool) -> bool:
        """Whether the slot can still hold the state of a parameter with this array, and its count where it is wanted."""
        arena = self.arena
        return self.shape == array.shape and arena.fills == fills and arena.live == live and self.kind == kind_of(array)

    def take_over(self, entry: dict[str, Any]) -> None:
        """Move the values of a state entry in here, and put our views into the entry; missing values start anew."""
        for name, tensor in self.tensors.items():
            given = entry.get(name)
            if given is tensor:
                continue
            array = tensor._array
            if given is None:
                array[...] = self.arena.initial(name, array.dtype)
            elif isinstance(given, Tensor):
                if given._array.shape != array.shape:
                    raise RuntimeError(
                        f"optimizer state {name!r} has shape {list(given.shape)}, "
                        f"its parameter needs {list(array.shape)}"
                    )
                array[...] = place(given._array, device_of(array))
            else:  # a plain number, in files of old versions
                array.fill(given)
            entry[name] = tensor
