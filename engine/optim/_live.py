"""The numbers of a step in device memory, so that the host never needs them and a captured step follows a schedule.

An optimizer's `_recipe` is run once with numbers that write down what is done to them (`Traced`). What comes out, a few dozen
instructions on the group's options and the count of steps, is followed by one small kernel at every step.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from engine import backend
from engine.gpu import capture
from engine.gpu.kernels import NULL, launch
from engine.gpu.steps import RECIPE_SIZE
from engine.optim._blocks import Update
from engine.tensor import Tensor

__all__ = ["DeviceRecipe", "Traced"]

_CODES: dict[str, tuple[int, Callable]] = {"add": (0, operator.add), "sub": (1, operator.sub), "mul": (2, operator.mul),
                                           "truediv": (3, operator.truediv), "pow": (4, operator.pow)}
_MOST_RESULTS = 16


class Traced(float):
    """A number that knows how it came about. Where it depends on what only the device knows, it has no value to look at."""

    __slots__ = ("on_device", "place", "tape")

    tape: Tape
    place: tuple[str, int]  # "count", "leaf" or "made", and which
    on_device: bool

    @classmethod
    def make(cls, value: float, tape: Tape, place: tuple[str, int], on_device: bool) -> Traced:
        made = cls(value)
        made.tape, made.place, made.on_device = tape, place, on_device
        return made

    def host(self) -> float:
        """The value now; that of the first step where it depends on the count."""
        return float.__add__(self, 0.0)

    def _look(self) -> None:
        if self.on_device:
            raise NotImplementedError("the count of steps, or an option that is a tensor of the device, is not known here")

    def __neg__(self) -> Any:
        return self * -1.0

    def __bool__(self) -> bool:
        self._look()
        return self.host() != 0

    def __float__(self) -> float:
        raise NotImplementedError("a number of the device is not a float of Python")

    __hash__ = float.__hash__


def _arithmetic(name: str, swapped: bool) -> Callable:
    code, compute = _CODES[name]

    def apply(self: Traced, other: Any) -> Any:
        a, b = (other, self) if swapped else (self, other)
        return self.tape.made(code, compute, a, b) if isinstance(other, (int, float)) else NotImplemented

    return apply


def _comparison(name: str) -> Callable:
    compare = getattr(float, name)

    def apply(self: Traced, other: Any) -> Any:
        self._look()
        return compare(self, other)

    return apply


for _name in _CODES:
    setattr(Traced, f"__{_name}__", _arithmetic(_name, swapped=False))
    setattr(Traced, f"__r{_name}__", _arithmetic(_name, swapped=True))
for _name in ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"):
    setattr(Traced, _name, _comparison(_name))


class Tape:
    """What was done to traced numbers, and the numbers it begins with."""

    def __init__(self) -> None:
        self.leaves: list[float] = []
        self.options: list[tuple[int, Any]] = []  # leaves that are options of the group: (index, float or Tensor of the device)
        self.code: list[tuple[int, tuple, tuple]] = []
        self._literals: dict[float, tuple[str, int]] = {}

    def count(self) -> Traced:
        return Traced.make(1.0, self, ("count", 0), True)

    def option(self, value: Any) -> Any:
        """An option of a group, traced if it is a number, or numbers in a tuple."""
        if isinstance(value, tuple):
            return tuple(self.option(v) for v in value)
        is_number = type(value) in (float, int) or isinstance(value, np.floating)
        if not is_number and not (isinstance(value, Tensor) and value.numel() == 1):
            return value
        on_device = not is_number and backend.is_on_device(value._array)
        if not on_device:
            value = float(value)
        self.options.append((len(self.leaves), value))
        self.leaves.append(1.0 if on_device else value)
        return Traced.make(self.leaves[-1], self, ("leaf", len(self.leaves) - 1), on_device)

    def place_of(self, number: Any) -> tuple[str, int]:
        """Where a number comes from; one that is not traced is a leaf that stays."""
        if isinstance(number, Traced):
            return number.place
        number = float(number)
        if number not in self._literals:
            self._literals[number] = ("leaf", len(self.leaves))
            self.leaves.append(number)
        return self._literals[number]

    def made(self, code: int, compute: Callable, a: Any, b: Any) -> Traced:
        plain = [x.host() if isinstance(x, Traced) else float(x) for x in (a, b)]
        self.code.append((code, self.place_of(a), self.place_of(b)))
        on_device = any(isinstance(x, Traced) and x.on_device for x in (a, b))
        return Traced.make(compute(*plain), self, ("made", len(self.code) - 1), on_device)

    def register(self, place: tuple[str, int]) -> int:
        """Where the kernel keeps a number."""
        kind, index = place
        return {"count": 0, "leaf": 1, "made": 1 + len(self.leaves)}[kind] + index


def _present(number: Any, neutral: float) -> bool:
    """Whether a number has an effect."""
    if isinstance(number, Traced) and number.on_device:
        return True
    return (number.host() if isinstance(number, Traced) else number) != neutral


def _plain(value: Any) -> Any:
    """An option in a form that can be compared; a tensor of the device changes behind the host's back."""
    if isinstance(value, Tensor):
        return ("on the device", id(value)) if backend.is_on_device(value._array) else value.item()
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value


class DeviceRecipe:
    """How to update the parameters of a part, with its numbers in device memory."""

    def __init__(self, optimizer: Any, group: dict[str, Any], steps: Any, rows: Any, fresh: bool, dtype: Any) -> None:
        gpu = backend.gpu()
        self._group, self._fresh = group, fresh
        self.signature, self._options = self._traced(optimizer)
        self._names = [name for name, value in group.items() if isinstance(value, (float, tuple, Tensor, int))]
        self._seen = self._look()
        kernel, has_decay, has_shrink, leaves, code, results = self.signature
        if 1 + len(leaves) + len(code) > RECIPE_SIZE or len(results) > _MOST_RESULTS:
            raise NotImplementedError(f"{type(optimizer).__name__}: its numbers are too many for the device")
        self._steps: Any = NULL if steps is None else steps
        self._rows: Any = NULL if steps is None else gpu.asarray(np.asarray(rows, np.int64))
        self._row_count = np.int64(0 if steps is None else len(rows))
        first = np.array(leaves, np.float64)
        for index, value in self._options:
            first[index] = 0.0 if isinstance(value, Tensor) else value
        self._leaves = gpu.asarray(first)
        self._code, self._results = (gpu.asarray(np.array(a, np.int32).reshape(-1)) for a in (code or [(0, 0, 0)], results))
        self._code_count = np.int32(len(code))
        self.live, narrow = gpu.zeros(_MOST_RESULTS, np.float64), gpu.zeros(_MOST_RESULTS, np.float32)
        self._narrow = narrow
        cells = [(self.live if dtype == np.float64 else narrow)[i, ...] for i in range(len(results))]
        self._update = Update.on_device(kernel, bool(group["maximize"]), cells[0] if has_decay else None,
                                        cells[1] if has_shrink else None, tuple(cells[2:]), self.live)

    def _traced(self, optimizer: Any) -> tuple[tuple, list]:
        tape = Tape()
        options = {name: tape.option(value) if name != "params" else value for name, value in self._group.items()}
        kernel, decay, shrink, values = optimizer._recipe(options, tape.count(), self._fresh)
        results = [tape.place_of(number) for number in (decay, shrink, *values)]
        code = tuple((what, tape.register(a), tape.register(b)) for what, a, b in tape.code)
        # of the leaves, those that stay belong to the recipe
        changing = {index for index, _ in tape.options}
        leaves = tuple(0.0 if i in changing else leaf for i, leaf in enumerate(tape.leaves))
        registers = tuple(map(tape.register, results))
        return (kernel, _present(decay, 0.0), _present(shrink, 1.0), leaves, code, registers), tape.options

    def _look(self) -> list:
        return [_plain(self._group.get(name)) for name in self._names]

    def is_good(self, optimizer: Any) -> bool:
        """Write options that changed to the device, without waiting. False if the group asks for another recipe by now."""
        seen = self._look()
        if seen == self._seen:
            return True
        signature, options = self._traced(optimizer)
        if signature != self.signature:
            return False
        if capture.current() is not None:
            return True  # not into the graph, whose replays would write the numbers of today: each looks for itself
        for (index, value), (_, before) in zip(options, self._options, strict=True):
            if isinstance(value, Tensor):
                if value is not before:
                    return False
            elif value != before:
                self._leaves[index, ...].fill(value)
        self._options, self._seen = options, seen
        return True

    def update(self, found: Any) -> Update:
        """Count a step and work out its numbers, all in the current stream."""
        for index, value in self._options:
            if isinstance(value, Tensor):
                self._leaves[index, ...] = value._array.reshape(()).astype(np.float64)
        launch("recipe", (1,), (32,), self._steps, self._rows, self._row_count, NULL if found is None else found,
               self._leaves, np.int32(self._leaves.size), self._code, self._code_count,
               self._results, np.int32(self._results.size), self.live, self._narrow)
        self._update.found = found
        return self._update


def follow(still_good: Callable[[], bool], name: str) -> None:
    """During a capture: let replays look on the host whether the options changed, or the state is another."""
    recording = capture.current()
    if recording is None:
        return

    def check() -> None:
        if not still_good():
            raise capture.StaleGraph(f"The captured {name} does not fit the optimizer any more: its state was exchanged, or an"
                                     " option became zero or ceased to be. HINT: capture the step again.")

    recording.before_replay.append(check)
