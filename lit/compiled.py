"""``Trainer(compile=True)``: on a GPU, a whole training step as one CUDA graph for each shape of batch.

A graph repeats what was done on the GPU while it was captured: training_step, backward, clipping, the optimizer's step, the
scaler. The Python in between ran once. So whatever would make a replay another step than the eager one is looked for here, and
ends in eager training with a warning that says what it was: never in other numbers.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import engine
from engine import Tensor
from engine.errors import failing_line
from engine.gpu.capture import StaleGraph
from lit.hooks import is_overridden
from lit.metric_state import is_metric
from lit.module import LightningModule
from lit.outputs import LOSS_WEIGHT
from lit.transfer import map_tensors

if TYPE_CHECKING:
    from lit.loop import FitLoop

WARM_UP = 3  # eager steps with a shape before it is captured: they compile kernels, make plans and the optimizer's state
MOST_GRAPHS = 16  # each keeps its inputs and what it computes
MOST_SHAPES = 256
INSIDE = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")
CONTAINERS = (list, dict, set)
MODE = operator.attrgetter("training")


class Uncapturable(RuntimeError):
    """The step is not what a graph can repeat."""


def refuse_to_tell(name: str) -> NoReturn:
    """During a capture: something that a captured step does not see change."""
    raise Uncapturable(f"training_step looks at {name}, which a captured step does not see change. HINT: do that in"
                       " on_train_batch_start or on_train_batch_end, and give the step a tensor that you write to there.")


def choose_step(loop: FitLoop) -> Callable[[Any, int], Any]:
    """What trains on one batch: eager, or captured where the Trainer's flag asks for it and it can be."""
    step = loop._automatic_step if loop.automatic else loop._manual_step
    if loop.trainer.compile:
        reason = _why_not(loop)
        if reason is None:
            step = CompiledStep(loop, step)
        else:
            _say(reason)
    if loop.trainer.detect_sync and loop.trainer.strategy.root_device.type == "cuda":
        return _watched(step)
    return step


def _watched(step: Callable[[Any, int], Any]) -> Callable[[Any, int], Any]:
    """The step, with a warning for each line that makes the host wait for the GPU."""

    def watched(batch: Any, batch_idx: int) -> Any:
        with engine.cuda.detect_sync("warn"):
            return step(batch, batch_idx)

    return watched


def _say(message: str) -> None:
    warnings.warn(f"[W127] Trainer(compile=True) trains eagerly: {message}", stacklevel=2)


def _why_not(loop: FitLoop) -> str | None:
    """Why no step of this run can be captured, with what to do about it; None if nothing is known against it."""
    trainer, module = loop.trainer, loop.module
    device = trainer.strategy.root_device
    if device.type != "cuda":
        return "steps are captured as CUDA graphs, and this run is on the CPU. HINT: accelerator='gpu'."
    if device.index not in (None, engine.cuda.current_device()):
        return f"the run is on {device}, which is not the current GPU. HINT: torch.cuda.set_device({device.index}) before."
    if not loop.automatic:
        return "optimization is manual. HINT: capture the step yourself, with engine.cuda.graph."
    if loop.by_iterator:
        return "training_step takes the loader's iterator. HINT: training_step(self, batch, batch_idx)."
    if trainer.detect_anomaly:
        return "detect_anomaly=True looks at every loss."
    listening = [name for name in INSIDE if name in loop.active]
    if listening:
        return (f"`{listening[0]}` runs inside of the step, where a graph would run it once. HINT: use on_train_batch_start or"
                " on_train_batch_end.")
    if is_overridden("optimizer_step", module, LightningModule):
        return ("`optimizer_step` is overridden, which a graph would run once. HINT: a scheduler, or on_train_batch_start, may"
                " change the learning rate.")
    optimizer = loop.bare_optimizer
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        return "the optimizer has step hooks, which a graph would run once."
    try:
        optimizer.make_capturable()
    except NotImplementedError as error:
        return f"{error}"
    return None


class _Index(int):
    """The batch_idx that training_step gets while it is captured: looking at it is refused, since it would not change."""


def _refusing(name: str) -> Callable[..., Any]:
    def method(self: _Index, *args: Any) -> Any:
        refuse_to_tell("batch_idx")

    return method


for _name in ("eq", "ne", "lt", "le", "gt", "ge", "bool", "int", "float", "index", "add", "radd", "sub", "rsub", "mul", "rmul",
              "mod", "rmod", "floordiv", "rfloordiv", "truediv", "rtruediv", "pow", "divmod", "neg", "format", "str", "repr"):
    setattr(_Index, f"__{_name}__", _refusing(_name))


class _Log:
    """What self.log writes to during a capture: the values are the graph's, and are logged anew after every replay."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def log(self, hook: Any, name: str, value: Any, arguments: tuple[Any, ...], batch_size: int | None = None) -> None:
        if is_metric(value):
            raise Uncapturable(f"self.log({name!r}, metric): a metric gathers on the host. HINT: log it in on_train_batch_end.")
        if not isinstance(value, Tensor):
            raise Uncapturable(f"self.log({name!r}, {value}) in training_step logs a number of the host, which a captured step"
                               " would repeat. HINT: log it in on_train_batch_end, or as a tensor of the GPU.")
        self.calls.append((hook, name, value.detach(), arguments, batch_size))

    def metrics(self, on_step: bool) -> Any:
        raise Uncapturable("training_step looks at the logged metrics. HINT: do that in on_train_batch_end.")


@dataclass
class _Captured:
    """One graph, and the tensors that are written before its replays and read after them."""

    graph: Any
    inputs: list[Tensor]
    outputs: dict[str, Any] = field(default_factory=dict)
    logged: list[tuple[Any, ...]] = field(default_factory=list)
    gradients: list[tuple[Any, Any]] = field(default_factory=list)  # (parameter, what its .grad is after a replay)


class _Surroundings:
    """What has to be as it was when a step was captured: where parameters and buffers lie, which learn, and modules' modes."""

    def __init__(self, module: Any) -> None:
        from engine.cuda.graphs import Addresses

        self._module = module
        self._modules = [*module.modules()]
        self._addresses = Addresses(self._tensors())
        self._modes = [*map(MODE, self._modules)]

    def _tensors(self) -> list[Tensor]:
        return [*self._module.parameters(), *self._module.buffers()]

    def hold(self) -> bool:
        return self._addresses.hold() and self._modes == [*map(MODE, self._modules)]

    def are_complete(self) -> bool:
        """Whether the module has got no others; takes longer."""
        modules = [*self._module.modules()]
        same = len(modules) == len(self._modules) and all(map(operator.is_, modules, self._modules))
        return same and self._addresses.are_of(self._tensors())


class _Before:
    """The Python side of a module before a capture, to see what the step changed and to put it back."""

    def __init__(self, loop: FitLoop) -> None:
        self._loop = loop
        self._modules = [(name, m, dict(vars(m))) for name, m in loop.module.named_modules()]
        attributes = [value for *_, kept in self._modules for value in kept.values()]
        self._held = [(value, value.copy()) for value in attributes if type(value) in CONTAINERS]
        self._gradients = [(p, p.grad) for p in loop.module.parameters()]
        self._steps = loop.state.global_step
        window = loop.window
        self._window = (window, window.state_dict())

    def changed(self) -> str | None:
        """The name of an attribute that is another by now."""
        for name, module, kept in self._modules:
            now = vars(module)
            for attribute in {**kept, **now}:
                if now.get(attribute, self) is not kept.get(attribute, self):
                    return ".".join(filter(None, ("self", name, attribute)))
        for value, kept in self._held:
            if len(value) != len(kept):
                owner = next((m, a) for m in self._modules for a, v in m[2].items() if v is value)
                return ".".join(filter(None, ("self", owner[0][0], owner[1])))
        return None

    def put_back(self) -> None:
        """Everything that a step changes on the host, but for gradients."""
        for _, module, kept in self._modules:
            vars(module).clear()
            vars(module).update(kept)
        for value, kept in self._held:
            value.clear()
            (value.extend if type(value) is list else value.update)(kept)
        self._loop.state.global_step = self._steps
        window, state = self._window
        vars(window).update(state)

    def put_gradients_back(self) -> None:
        for parameter, gradient in self._gradients:
            parameter.grad = gradient


class CompiledStep:
    """Trains on one batch, by a graph where there is one for its shape."""

    def __init__(self, loop: FitLoop, eager: Callable[[Any, int], dict[str, Any]]) -> None:
        self.loop, self.eager = loop, eager
        self.graphs: dict[Any, _Captured] = {}  # least recently used first
        self._seen: dict[Any, int] = {}
        self._pool: Any = None
        self._accumulated: dict[Any, Tensor] = {}  # by parameter: its gradient between the steps of the optimizer
        self._given_up = False
        self._surroundings: _Surroundings | None = None  # of all graphs there are
        self._looked_in_epoch = -1

    def __call__(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        if self._given_up:
            return self.eager(batch, batch_idx)
        try:
            tensors: list[Tensor] = []
            key = (_frozen(map_tensors(batch, lambda t: _described(t, tensors))), *self._situation(batch_idx))
            captured = self._captured(key, batch, batch_idx)
        except Exception as error:  # eager training goes on; what is wrong with the step itself shows there again
            self._give_up(error)
            captured = None
        if captured is not None:
            try:
                return self._replay(captured, tensors)
            except StaleGraph:
                self._begin_anew()
        return self.eager(batch, batch_idx)

    def _give_up(self, error: Exception) -> None:
        self._given_up = True
        self.graphs.clear()
        known = isinstance(error, Uncapturable) or "can't be captured" in str(error)
        place = failing_line(error.__traceback__)
        _say(str(error) if known else f"capturing a step failed with {type(error).__name__}: {error} (at {place}).")

    def _begin_anew(self) -> None:
        """What was captured does not fit any more; eager steps make what the next capture needs."""
        self.graphs.clear()
        self._seen.clear()

    # ------------------------------------------------------------------ which graph

    def _situation(self, batch_idx: int) -> tuple[Any, ...]:
        """What besides the batch decides what a step does."""
        loop = self.loop
        if loop.accumulate == 1:
            return (loop.stepping,)
        window = loop.window
        first = batch_idx % loop.accumulate == 0
        present = () if first else tuple(p.grad is not None for p in loop.module.parameters())
        weight = window.weight if loop.stepping else bool(window.weight)  # the optimizer's step corrects by the number
        return loop.stepping, first, present, window.size, weight, window.weighted

    def _captured(self, key: Any, batch: Any, batch_idx: int) -> _Captured | None:
        if self.graphs and not self._are_as_captured():
            self._begin_anew()
        captured = self.graphs.pop(key, None)
        if captured is not None:
            self.graphs[key] = captured
            return captured
        seen = self._seen[key] = self._seen.get(key, 0) + 1
        if len(self._seen) > MOST_SHAPES:
            raise Uncapturable(f"batches have more than {MOST_SHAPES} shapes. HINT: pad them to a few.")
        if seen <= WARM_UP:
            return None
        captured = self._capture(batch, batch_idx)
        if len(self.graphs) == MOST_GRAPHS:
            del self.graphs[next(iter(self.graphs))]
        self.graphs[key] = captured
        return captured

    def _are_as_captured(self) -> bool:
        surroundings, epoch = self._surroundings, self.loop.state.current_epoch
        assert surroundings is not None
        if epoch != self._looked_in_epoch:
            self._looked_in_epoch = epoch
            if not surroundings.are_complete():
                return False
        return surroundings.hold()

    # ------------------------------------------------------------------ capture

    def _capture(self, batch: Any, batch_idx: int) -> _Captured:
        loop, reporting = self.loop, self.loop.reporting
        if self._pool is None:
            self._pool = engine.cuda.graph_pool_handle()
        inputs: list[Tensor] = []
        held = map_tensors(batch, lambda t: _kept(t, inputs))
        made = _Captured(engine.cuda.CUDAGraph(), inputs)
        if not self.graphs:
            self._surroundings = _Surroundings(loop.module)
        before, log, store = _Before(loop), _Log(), reporting.active
        call_step, hook = loop.call_step, loop.hooks.current
        loop.call_step = lambda given, *index: call_step(given, *map(_Index, index))
        loop.trainer.capturing = True
        reporting.active = log  # type: ignore[assignment]
        try:
            self._hold_gradients(batch_idx)
            with engine.cuda.graph(made.graph, pool=self._pool):
                made.outputs = self.eager(held, batch_idx)
                self._accumulate()
            _check(made.outputs, before)
            made.logged, made.gradients = log.calls, [(p, p.grad) for p in loop.module.parameters()]
        except BaseException:
            before.put_gradients_back()
            raise
        finally:
            loop.call_step, loop.hooks.current, reporting.active = call_step, hook, store
            loop.trainer.capturing = False
            loop._outputs, loop._batch = {}, None
            before.put_back()
        return made

    def _hold_gradients(self, batch_idx: int) -> None:
        """Gradients that a window has gathered so far go where the graphs look for them."""
        if self.loop.accumulate == 1 or batch_idx % self.loop.accumulate == 0:
            return
        for parameter in self.loop.module.parameters():
            gradient, place = parameter.grad, self._accumulated.get(parameter)
            if gradient is None or gradient is place:
                continue
            if place is None or place.shape != gradient.shape or place.dtype != gradient.dtype:
                place = self._accumulated[parameter] = gradient.detach().clone()
            else:
                place.copy_(gradient)
            parameter.grad = place

    def _accumulate(self) -> None:
        """At the end of a captured step that the optimizer does not follow: leave the gradients in their place."""
        if self.loop.stepping:
            return
        for parameter in self.loop.module.parameters():
            gradient = parameter.grad
            if gradient is None:
                continue
            place = self._accumulated.get(parameter)
            if place is None:
                place = self._accumulated[parameter] = engine.empty_like(gradient)
            if gradient is not place:
                place.copy_(gradient)
                parameter.grad = place

    # ------------------------------------------------------------------ replay

    def _replay(self, captured: _Captured, tensors: list[Tensor]) -> dict[str, Any]:
        loop = self.loop
        self._hold_gradients(loop.state.batches_done)
        with engine.no_grad():
            for place, value in zip(captured.inputs, tensors, strict=True):
                place.copy_(value)
        captured.graph.replay()
        for parameter, gradient in captured.gradients:
            if parameter.grad is not gradient:
                parameter.grad = gradient
        if loop.stepping:
            loop.state.global_step += 1
        if loop.accumulate != 1:
            loop.window.weight += 1
        for hook, name, value, arguments, batch_size in captured.logged:
            loop.reporting.train.log(hook, name, value, arguments, batch_size)
        if "on_train_batch_end" not in loop.active:
            return captured.outputs
        return {name: map_tensors(value, engine.clone) for name, value in captured.outputs.items()}  # theirs to keep


def _described(tensor: Any, found: list[Tensor]) -> Any:
    if not isinstance(tensor, Tensor):
        raise Uncapturable(f"the batch holds a {type(tensor).__name__}. HINT: tensors in dicts, lists and tuples can be"
                           " captured.")
    found.append(tensor)
    return tuple(tensor.shape), tensor.dtype


def _kept(tensor: Tensor, found: list[Tensor]) -> Tensor:
    copy = tensor.detach().clone()
    found.append(copy)
    return copy


def _frozen(structure: Any) -> Any:
    """A hashable form of a batch's structure."""
    if isinstance(structure, Mapping):
        return tuple((key, _frozen(value)) for key, value in structure.items())
    if isinstance(structure, (list, tuple)):
        return type(structure).__name__, *map(_frozen, structure)
    try:
        hash(structure)
    except TypeError:
        raise Uncapturable(f"the batch holds a {type(structure).__name__}, whose value a captured step would repeat. HINT:"
                           " tensors in dicts, lists and tuples can be captured.") from None
    return structure


def _check(outputs: dict[str, Any], before: _Before) -> None:
    """Refuse what a replay would not do."""
    if not outputs:
        raise Uncapturable("training_step returned None.")
    if LOSS_WEIGHT in outputs:
        raise Uncapturable(f"training_step returned '{LOSS_WEIGHT}'.")
    changed = before.changed()
    if changed is not None:
        raise Uncapturable(f"training_step changes {changed}, which a captured step would do once. HINT: return the value and"
                           " use it in on_train_batch_end, or change a tensor in place (copy_, add_).")
