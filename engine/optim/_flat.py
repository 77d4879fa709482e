"""FlatOptimizer: the shared step of the built-in optimizers, over flat storage.

What there is to do (which parameters have a gradient, where their arrays and state lie, how they are cut into blocks)
is worked out once, as a `_Plan` per parameter group. Every step checks that the plan still holds, which costs a few
comparisons per parameter, and makes a new one when a gradient appeared or vanished, an array was replaced, or the
state was exchanged. A subclass says which quantities it remembers (`_quantities`) and how an update is computed
(`_recipe`); see `adam.py` for an example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from engine import backend
from engine.autograd.modes import recording
from engine.coo import Coo
from engine.errors import not_supported
from engine.gpu import capture
from engine.optim._blocks import Constants, Member, Update, cut
from engine.optim._live import DeviceRecipe, Traced, follow
from engine.optim._storage import Arena, Slot, as_real, kind_of
from engine.optim.optimizer import Optimizer
from engine.pool import LARGE, parallel_for
from engine.tensor import Tensor

__all__ = ["FlatOptimizer", "check_not_negative", "check_switches", "number"]


class _Part:
    """Parameters of a plan that share an arena and a count of steps, so that one set of constants serves them all."""

    __slots__ = ("arena", "constants", "count_view", "first", "fresh", "lanes", "large", "recipe", "rows")

    def __init__(
        self, arena: Arena, rows: list[int], fresh: bool, lanes: list[list], constants: Constants, large: bool
    ) -> None:
        self.arena, self.fresh, self.lanes, self.constants = arena, fresh, lanes, constants
        self.large = large  # work for compiled kernels
        self.recipe: DeviceRecipe | None = None  # where the numbers of a step are in device memory
        self.first = rows[0]
        self.rows = np.array(rows)
        neighbours = rows == list(range(rows[0], rows[0] + len(rows)))
        self.count_view = arena.steps[rows[0] : rows[-1] + 1] if neighbours and arena.steps is not None else None

    def update(self, optimizer: FlatOptimizer, group: dict[str, Any]) -> Update:
        """What this step does."""
        if self.recipe is not None:
            return self.recipe.update(optimizer.found_inf)
        kernel, decay, shrink, values = optimizer._recipe(group, self.advance(), self.fresh)
        return Update(kernel, group["maximize"], decay, shrink, values, self.constants, self.large)

    def advance(self) -> float:
        """Count one more step; returns the count (0 for optimizers that keep none)."""
        steps, view = self.arena.steps, self.count_view
        if view is not None:
            view += 1
        elif steps is not None:
            steps[self.rows] += 1
        else:
            return 0.0
        return steps.item(self.first)  # type: ignore[union-attr]

    def run(self, update: Update, grads: list) -> None:
        """Update all blocks; of several lanes, as many at a time as there are threads."""
        lanes = self.lanes

        def run(i: int) -> None:
            for block in lanes[i]:
                block.run(update, grads)

        if self.arena.xp is not np:
            for block in lanes[0]:
                block.run_on_device(update, grads)
            return

        if len(lanes) == 1:
            run(0)
        else:
            parallel_for(run, len(lanes))


class _Plan:
    """How one parameter group is updated, as long as nothing about it changes."""

    __slots__ = ("arenas", "counts", "expected", "flat_grads", "fresh", "on_device", "parts", "quantities", "recipes",
                 "updated")

    def __init__(self, quantities: dict[str, float], parts: list[_Part], flat_grads: set[int]) -> None:
        self.quantities, self.parts, self.flat_grads = quantities, parts, flat_grads
        self.expected: list[tuple | None] = []  # per parameter of the group; None: it had no gradient
        self.updated: list[Tensor] = []
        self.fresh = any(part.fresh for part in parts)
        counted = {id(part.arena): part.arena for part in parts if part.arena.steps is not None and not part.arena.live}
        self.arenas = [*counted.values()]  # whose counts are on the host
        self.on_device = bool(parts) and all(part.arena.xp is not np for part in parts)
        self.recipes = [part.recipe for part in parts if part.recipe is not None]
        self.counts: list[list[float]] = []  # per arena, its steps when the plan was last used

    def expect(self, params: list[Tensor], state: dict) -> None:
        """Remember what the plan was made for."""
        for p in params:
            entry = state.get(p)
            known = (p._array, entry, [] if entry is None else [*map(id, entry.values())])
            self.expected.append(None if p._grad is None else known)
        self.updated = [p for p in params if p._grad is not None]
        self.remember_counts()

    def remember_counts(self) -> None:
        """Note the counts of steps, so that a change by anyone else is seen."""
        self.counts = [arena.steps.tolist() for arena in self.arenas]  # type: ignore[union-attr]

    def gradients(self, params: list[Tensor], state: dict, quantities: dict[str, float]) -> list[Any] | None:
        """The raw gradients of the parameters that have one, or None when the plan no longer holds."""
        if quantities.keys() != self.quantities.keys() or len(params) != len(self.expected):
            return None
        for arena, steps in zip(self.arenas, self.counts, strict=True):
            if arena.steps.tolist() != steps:  # type: ignore[union-attr]
                return None
        grads = []
        for p, known in zip(params, self.expected, strict=True):
            grad = p._grad
            if grad is None or known is None:
                if grad is not None or known is not None:
                    return None
                continue
            array, entry, values = known
            if p._array is not array or state.get(p) is not entry:
                return None
            if entry is not None and [*map(id, entry.values())] != values:
                return None
            grads.append(as_real(grad._array))
        return grads

    def follows_options(self, optimizer: FlatOptimizer, group: dict[str, Any]) -> bool:
        """Tell the device about options that changed; False if they ask for another way to step."""
        if self.on_device and bool(self.recipes) != optimizer._asked_for_device(group):
            return False
        good = [recipe.is_good(optimizer) for recipe in self.recipes]  # every one of them, for the others' sake
        return all(good)

    def run(self, optimizer: FlatOptimizer, group: dict[str, Any], grads: list[Any]) -> None:
        """One step of the group."""
        for index in self.flat_grads:
            grads[index] = grads[index].reshape(-1)
        for part in self.parts:
            part.run(part.update(optimizer, group), grads)
        self.remember_counts()
        self._bump_versions(optimizer._step_name)

    def _bump_versions(self, what: str) -> None:
        """Note the in-place change on every parameter; the user's line is looked up once for all of them."""
        site = None
        for p in self.updated:
            if site is None:
                p._bump(what)
                site = p._vc.site  # type: ignore[union-attr]
            else:
                version = p._vc or p._version_counter()
                version.count += 1
                version.site = site


class FlatOptimizer(Optimizer):
    """Base class of the built-in optimizers: one step over flat storage. See the head of this file."""

    _counted = True  # whether the state has "step"
    _traceable = True  # whether `_recipe` takes one way whatever the count of steps is
    _step_supports_amp_scaling = True  # GradScaler gives `found_inf`, and need not look at it itself
    found_inf: Any = None  # a float32 of the device: where it is not 0, a step changes nothing

    def _quantities(self, group: dict[str, Any]) -> dict[str, float]:
        """What is remembered per element: name -> initial value, in the order in which kernels get the arrays."""
        raise NotImplementedError

    def _recipe(self, group: dict[str, Any], count: float, fresh: bool) -> tuple[Callable, float, float, tuple]:
        """How to update at step `count`: (kernel, weight decay on the gradient, factor on the parameter, constants).

        `fresh` is true when nothing was remembered about the parameters before.
        """
        raise NotImplementedError

    def _prepare(self) -> None:
        super()._prepare()
        self._plans: dict[int, _Plan] = {}
        self._slots: dict[int, Slot] = {}  # by id of the parameter, which param_groups keeps alive
        self.__dict__.setdefault("_stays_on_device", False)  # asked for by `make_capturable`, or by a scaler
        self._step_name = f"{type(self).__name__}.step"

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # files of other versions may lack options
            for name, default in self.defaults.items():
                group.setdefault(name, default)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient, in place.

        Args:
            closure: computes the loss (and its gradients) anew; called with gradients enabled.

        Returns: what `closure` returned, or None without one.
        """
        loss = None
        if closure is not None:
            loss = recording(closure)
        before = backend.hush()  # infinities and NaN pass silently, as in every operator
        try:
            for index, group in enumerate(self.param_groups):
                self._step_group(index, group)
        finally:
            backend.unhush(before)
        return loss

    def _update_sparse(self, p: Tensor, grad: Coo, group: dict[str, Any]) -> None:
        """Update a parameter whose gradient is sparse; optimizers that can override it."""
        name = type(self).__name__
        raise RuntimeError(f"{name} does not support sparse gradients, please consider SparseAdam instead")

    def _without_sparse(self, params: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        """Update the parameters whose gradients are sparse; the others are returned."""
        sparse = [p for p in params if p._grad is not None and type(p._grad._array) is Coo]
        for p in sparse:
            self._update_sparse(p, p._grad._array, group)  # type: ignore[union-attr]
            p._bump(self._step_name)
        return [p for p in params if p._grad is None or type(p._grad._array) is not Coo] if sparse else params

    def make_capturable(self) -> None:
        """Keep the numbers of a step (counts, learning rate) in device memory from here on, as `capturable=True` does.

        A step can then be captured in a CUDA graph, and its replays follow the options of `param_groups`.
        """
        if not self._traceable:
            super().make_capturable()
        self._stays_on_device = True

    def _on_device(self, group: dict[str, Any]) -> bool:
        """Whether the numbers of the group's steps stay on the device."""
        return self._asked_for_device(group) and all(backend.is_on_device(p._array) for p in group["params"])

    def _asked_for_device(self, group: dict[str, Any]) -> bool:
        asked = self._stays_on_device or self.found_inf is not None or group.get("capturable", True) or group.get("fused")
        return bool(asked) and self._traceable

    def _step_group(self, index: int, group: dict[str, Any]) -> None:
        params, quantities = group["params"], self._quantities(group)
        plan = self._plans.get(index)
        if backend.devices_in_use and plan is not None and not plan.follows_options(self, group):
            plan = None
        if self.found_inf is not None and (plan is None or not plan.recipes or Coo.in_use):
            self._stays_on_device = True
            if self.found_inf.item():
                return  # what is remembered begins with the first step that is taken
        if Coo.in_use:
            params = self._without_sparse(params, group)
        grads = None if plan is None else plan.gradients(params, self.state, quantities)
        if grads is None:
            capture.refuse(f"The first steps of {type(self).__name__}, in which its state is made,", "run the step three times"
                           " before it is captured.")
            live = backend.devices_in_use and self._on_device(group)
            plan = self._plans[index] = self._make_plan(params, quantities, group if live else None)
            grads = [as_real(p._grad._array) for p in plan.updated]  # type: ignore[union-attr]
        if backend.devices_in_use and capture.current() is not None:
            self._check_capture(index, group, plan)  # type: ignore[arg-type]
        plan.run(self, group, grads)  # type: ignore[union-attr]
        if plan.fresh:  # type: ignore[union-attr]
            del self._plans[index]

    def _check_capture(self, index: int, group: dict[str, Any], plan: _Plan) -> None:
        """During a capture: refuse numbers that lie on the host; let replays look at the options."""
        name = type(self).__name__
        if not self._traceable:
            raise RuntimeError(f"{name}.step() can't be captured in a CUDA graph: the host has to know the count of steps."
                               " HINT: Adam, AdamW, SGD, RMSprop, Adagrad, Adadelta, Adamax and Rprop can be.")
        if not plan.recipes:
            raise RuntimeError(f"Attempting CUDA graph capture of step() for an instance of {name} but param_groups' capturable"
                               f" is False. HINT: {name}(..., capturable=True).")
        follow(lambda: self._plans.get(index) is plan and plan.follows_options(self, group), f"step of {name}")

    def _make_plan(self, params: list[Tensor], quantities: dict[str, float],
                   device_group: dict[str, Any] | None = None) -> _Plan:
        """A plan; with `device_group`, that group's numbers are on the device."""
        live = [p for p in params if p._grad is not None]
        fresh = {id(p) for p in live if quantities and not self._remembers(p, quantities)}
        self._house(live, params, quantities, device_group is not None)
        cohorts: dict[tuple, list[tuple[int, Tensor]]] = {}
        mentions: dict[int, int] = {}
        counts: dict[int, np.ndarray] = {}
        for index, p in enumerate(live):
            arena = self._slots[id(p)].arena
            if id(arena) not in counts and arena.steps is not None:
                counts[id(arena)] = backend.to_numpy(arena.steps)
            count = 0.0 if arena.steps is None else counts[id(arena)].item(self._slots[id(p)].row)
            mention = mentions[id(p)] = mentions.get(id(p), -1) + 1  # a parameter listed twice is updated twice
            cohorts.setdefault((id(arena), count, id(p) in fresh, mention), []).append((index, p))
        parts: list[_Part] = []
        flat_grads: set[int] = set()
        for (_, _, is_fresh, _), members in cohorts.items():
            part, flat = self._make_part(members, is_fresh)
            if device_group is not None:
                steps, dtype = part.arena.steps, part.constants.dtype
                part.recipe = DeviceRecipe(self, device_group, steps, part.rows, is_fresh, dtype)
            parts.append(part)
            flat_grads |= flat
        plan = _Plan(quantities, parts, flat_grads)
        plan.expect(params, self.state)
        return plan

    def _make_part(self, members: list[tuple[int, Tensor]], fresh: bool) -> tuple[_Part, set[int]]:
        members = sorted(members, key=lambda member: self._slots[id(member[1])].start)
        slots = [self._slots[id(p)] for _, p in members]
        arena, arrays = slots[0].arena, [as_real(p._array) for _, p in members]
        dtype, parts = arrays[0].dtype, 1 + members[0][1].is_complex()  # type: ignore[attr-defined]
        places = [Member(i, a, slot.start * parts) for (i, _), a, slot in zip(members, arrays, slots, strict=True)]
        flats = [as_real(flat).reshape(-1) for flat in arena.flats.values()]
        lanes, flat_grads = cut(arena.xp, flats, places, dtype)
        computing = np.dtype(np.float32) if dtype.itemsize < 4 else dtype
        large = sum(a.size for a in arrays) >= LARGE
        part = _Part(arena, [slot.row for slot in slots], fresh, lanes, Constants(arena.xp, computing), large)
        return part, flat_grads

    def _remembers(self, p: Tensor, quantities: dict[str, float]) -> bool:
        entry = self.state.get(p)
        return entry is not None and all(entry.get(name) is not None for name in quantities)

    def _house(self, live: list[Tensor], params: Iterable[Tensor], quantities: dict[str, float],
               on_device: bool = False) -> None:
        """See to it that each of `live` has a slot in flat storage, and its state is there."""
        homeless: dict[tuple, dict[int, Tensor]] = {}
        for p in live:
            slot = self._slots.get(id(p))
            if slot is None or not slot.fits(p._array, quantities, on_device):
                homeless.setdefault(kind_of(p._array), {})[id(p)] = p
        for kind, lodgers in homeless.items():
            # Room as well for the group's parameters that will have a gradient only later: neighbours share blocks.
            for p in params:
                if p.requires_grad and id(p) not in self._slots and kind_of(p._array) == kind:
                    lodgers[id(p)] = p
            arrays = [p._array for p in lodgers.values()]
            slots = Arena(arrays, quantities, self._counted, on_device).slots(arrays)
            self._slots.update(zip(lodgers, slots, strict=True))
        if quantities:
            for p in live:
                self._slots[id(p)].take_over(self.state[p])


def number(value: Any) -> float:
    """A hyperparameter as a Python float: a number, or a Tensor of one element."""
    return value if type(value) is float or type(value) is Traced else float(value)


def check_not_negative(what: str, value: Any) -> None:
    """ValueError unless a hyperparameter (number, or Tensor of one element) is at least 0; NaN is refused as well."""
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ValueError(f"Tensor {what} must be 1-element, got shape {tuple(value.shape)}")
    if not number(value) >= 0.0:
        raise ValueError(f"Invalid {what}: {value}")


def check_switches(name: str, differentiable: bool, foreach: bool | None = None, fused: bool | None = None) -> None:
    """The switches that choose between torch's implementations: ours has one, and only contradictions are refused."""
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
    if differentiable:
        raise not_supported(
            f"{name}(differentiable=True)",
            "write the update with Tensor operations, w_new = w - lr * grad, to differentiate through it.",
        )
