"""Module hooks: what can be registered, and the slow path of ``Module.__call__`` that runs them.

A Module without hooks has ``_hooks = None`` and never comes here. Hooks for all modules of the process live in
`GLOBAL_HOOKS`, which stays empty until one is registered.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import engine
from engine.autograd.graph import Handle
from engine.tensor import Tensor

__all__ = ["GLOBAL_HOOKS", "HookMethods", "Hooks"]


class Hooks:
    """All hooks of one module, by kind; the values are tuples (function, flag, ...)."""

    __slots__ = (
        "backward",
        "backward_last",
        "backward_pre",
        "forward",
        "forward_pre",
        "load_post",
        "load_pre",
        "state_post",
        "state_pre",
    )
    backward: OrderedDict
    backward_last: OrderedDict
    backward_pre: OrderedDict
    forward: OrderedDict
    forward_pre: OrderedDict
    load_post: OrderedDict
    load_pre: OrderedDict
    state_post: OrderedDict
    state_pre: OrderedDict

    def __init__(self) -> None:
        for kind in self.__slots__:
            setattr(self, kind, OrderedDict())

    def add(self, kind: str, entry: tuple, prepend: bool = False) -> Handle:
        """Register `entry` under `kind`, last or (with `prepend`) first."""
        hooks = getattr(self, kind)
        handle = Handle(hooks, entry)
        if prepend:
            hooks.move_to_end(handle.id, last=False)
        return handle

    def __bool__(self) -> bool:
        return any(getattr(self, kind) for kind in self.__slots__)


GLOBAL_HOOKS: list[Hooks] = []


class _GlobalHandle(Handle):
    """Of a hook for all modules: when the last one goes, calls take the short way again."""

    def remove(self) -> None:
        super().remove()
        if GLOBAL_HOOKS and not GLOBAL_HOOKS[0]:
            GLOBAL_HOOKS.clear()


def _add_global(kind: str, entry: tuple) -> Handle:
    if not GLOBAL_HOOKS:
        GLOBAL_HOOKS.append(Hooks())
    return _GlobalHandle(getattr(GLOBAL_HOOKS[0], kind), entry)


def register_module_forward_hook(hook: Callable, *, with_kwargs: bool = False, always_call: bool = False) -> Handle:
    """`Module.register_forward_hook` for every module of the process; runs before the modules' own hooks."""
    return _add_global("forward", (hook, with_kwargs, always_call))


def register_module_forward_pre_hook(hook: Callable) -> Handle:
    """`Module.register_forward_pre_hook` for every module of the process; runs before the modules' own hooks."""
    return _add_global("forward_pre", (hook, False))


def register_module_full_backward_hook(hook: Callable) -> Handle:
    """`Module.register_full_backward_hook` for every module of the process."""
    return _add_global("backward", (hook,))


def register_module_full_backward_pre_hook(hook: Callable) -> Handle:
    """`Module.register_full_backward_pre_hook` for every module of the process."""
    return _add_global("backward_pre", (hook,))


class HookMethods:
    """The ``register_*_hook`` methods of Module."""

    _hooks: Hooks | None

    def _own_hooks(self) -> Hooks:
        hooks = self._hooks
        if hooks is None:
            hooks = self.__dict__["_hooks"] = Hooks()
        return hooks

    def _drop_empty_hooks(self) -> None:
        """Take the short way through ``__call__`` again, after the last hook was removed."""
        if self._hooks is not None and not self._hooks:
            self.__dict__["_hooks"] = None

    @property
    def _forward_hooks(self) -> OrderedDict:
        """The registered forward hooks by handle id (programs clear or count them)."""
        return self._own_hooks().forward

    @property
    def _forward_pre_hooks(self) -> OrderedDict:
        """The registered forward pre-hooks by handle id."""
        return self._own_hooks().forward_pre

    def register_forward_pre_hook(self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False) -> Handle:
        """Call ``hook(module, args)`` before each ``forward``; a result that is not None replaces the arguments.

        With `with_kwargs` the hook is called as ``hook(module, args, kwargs)`` and may return ``(args, kwargs)``.

        Example::

            >>> layer = nn.Identity()
            >>> handle = layer.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
            >>> layer(torch.tensor(1))
            tensor(2)
            >>> handle.remove()
        """
        return self._own_hooks().add("forward_pre", (hook, with_kwargs), prepend)

    def register_forward_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> Handle:
        """Call ``hook(module, args, output)`` after each ``forward``; a result that is not None replaces the output.

        With `with_kwargs` it is called as ``hook(module, args, kwargs, output)``. With `always_call` it also runs
        when ``forward`` raised (output None), before the exception goes on.
        """
        return self._own_hooks().add("forward", (hook, with_kwargs, always_call), prepend)

    def register_full_backward_pre_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call ``hook(module, grad_output)`` before gradients flow back through the module; it may return new ones."""
        return self._own_hooks().add("backward_pre", (hook,), prepend)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call ``hook(module, grad_input, grad_output)`` when the gradients of the module's inputs are known.

        A result that is not None replaces `grad_input`. Inputs that need no gradient, or are not tensors,
        appear as None.
        """
        return self._own_hooks().add("backward", (hook,), prepend)

    def register_backward_hook(self, hook: Callable) -> Handle:
        """Call ``hook(module, grad_input, grad_output)`` at the last operator of ``forward``: the deprecated form.

        `grad_output` is the output's gradient; `grad_input` are those of that operator's inputs, in our order, and not
        of the module's. Use `register_full_backward_hook`.

        Raises:
            RuntimeError: if the module has a full backward hook.
        """
        if self._own_hooks().backward:
            raise RuntimeError("Cannot use both regular backward hooks and full backward hooks on a single Module. Please use "
                               "only one of them.")
        return self._own_hooks().add("backward_last", (hook,))

    def register_state_dict_pre_hook(self, hook: Callable) -> Handle:
        """Call ``hook(module, prefix, keep_vars)`` before ``state_dict()`` collects the module."""
        return self._own_hooks().add("state_pre", (hook,))

    def register_state_dict_post_hook(self, hook: Callable) -> Handle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` after the module is collected; edit in place."""
        return self._own_hooks().add("state_post", (hook, True))

    def _register_state_dict_hook(self, hook: Callable) -> Handle:
        # The older private form, used by published programs: its result, if any, replaces the state dict.
        return self._own_hooks().add("state_post", (hook, False))

    def register_load_state_dict_pre_hook(self, hook: Callable) -> Handle:
        """Call ``hook(module, state_dict, prefix, local_metadata, strict, missing, unexpected, errors)``."""
        return self._own_hooks().add("load_pre", (hook, True))

    def _register_load_state_dict_pre_hook(self, hook: Callable, with_module: bool = False) -> Handle:
        return self._own_hooks().add("load_pre", (hook, with_module))

    def register_load_state_dict_post_hook(self, hook: Callable) -> Handle:
        """Call ``hook(module, incompatible_keys)`` after loading; edit ``incompatible_keys`` in place, return None."""
        return self._own_hooks().add("load_post", (hook,))


def call_with_hooks(module: Any, args: tuple, kwargs: dict) -> Any:
    """``module(*args, **kwargs)`` with all hooks in torch's order: pre, forward, post; backward ones via the graph."""
    groups = [*GLOBAL_HOOKS] if module._hooks is None else [*GLOBAL_HOOKS, module._hooks]
    pending = [entry for hooks in groups for entry in hooks.forward.values()]
    output = None
    try:
        for hooks in groups:
            for hook, with_kwargs in tuple(hooks.forward_pre.values()):
                args, kwargs = _run_pre_hook(module, hook, with_kwargs, args, kwargs)
        probe = _backward_probe(module, groups)
        if probe is not None:
            args = probe.watch_inputs(args)
        output = module.forward(*args, **kwargs)
        while pending:
            hook, with_kwargs, _ = pending.pop(0)
            result = hook(module, args, kwargs, output) if with_kwargs else hook(module, args, output)
            if result is not None:
                output = result
        if module._hooks is not None and module._hooks.backward_last:
            _watch_last_operator(module, output)
        return output if probe is None else probe.watch_outputs(output)
    except Exception:
        for hook, with_kwargs, always_call in pending:
            if always_call:
                hook(module, args, kwargs, output) if with_kwargs else hook(module, args, output)
        raise


def _watch_last_operator(module: Any, output: Any) -> None:
    """Have the deprecated backward hooks called by the operator that made the (first) output."""
    while not isinstance(output, Tensor):
        if not isinstance(output, (dict, list, tuple)) or not output:
            return
        output = next(iter(output.values())) if isinstance(output, dict) else output[0]
    if output.grad_fn is not None:
        for (hook,) in module._hooks.backward_last.values():
            output.grad_fn.register_hook(lambda inputs, outputs, hook=hook: hook(module, inputs, outputs))


def _run_pre_hook(module: Any, hook: Callable, with_kwargs: bool, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    if not with_kwargs:
        result = hook(module, args)
        if result is None:
            return args, kwargs
        return (result if isinstance(result, tuple) else (result,)), kwargs
    result = hook(module, args, kwargs)
    if result is None:
        return args, kwargs
    if not isinstance(result, tuple) or len(result) != 2:
        raise RuntimeError(
            f"forward pre-hook of {type(module).__name__}: expected None or a tuple (args, kwargs), got {result!r}"
        )
    return result


def _backward_probe(module: Any, groups: list[Hooks]) -> _BackwardProbe | None:
    before = [hook for hooks in groups for (hook,) in hooks.backward_pre.values()]
    after = [hook for hooks in groups for (hook,) in hooks.backward.values()]
    if not (before or after) or not engine.is_grad_enabled():
        return None
    return _BackwardProbe(module, before, after)


class _BackwardProbe:
    """Two identity nodes around one call of a module: the outer one sees grad_output, the inner one grad_input."""

    def __init__(self, module: Any, before: list[Callable], after: list[Callable]) -> None:
        self.module, self.before, self.after = module, before, after
        self.input_slots: list[int] = []
        self.input_count = 0
        self.output_slots: list[int] = []
        self.output_count = 0
        self.grad_output: tuple | None = None

    def watch_inputs(self, args: tuple) -> tuple:
        self.input_count = len(args)
        self.input_slots = _gradient_slots(args)
        return _through_identity(self._on_grad_input, args, self.input_slots)

    def watch_outputs(self, output: Any) -> Any:
        single = isinstance(output, Tensor)
        if not single and not isinstance(output, (tuple, list)):
            warnings.warn(
                f"full backward hooks of {type(self.module).__name__} are not called: expected forward to return a "
                f"Tensor or a tuple of Tensors, got {type(output).__name__}",
                stacklevel=4,
            )
            self.after = []
            return output
        outputs = (output,) if single else tuple(output)
        self.output_count = len(outputs)
        self.output_slots = _gradient_slots(outputs)
        watched = _through_identity(self._on_grad_output, outputs, self.output_slots)
        if single:
            return watched[0]
        return type(output)._make(watched) if hasattr(output, "_make") else type(output)(watched)

    def _on_grad_output(self, grads: tuple) -> tuple:
        self.grad_output = _spread(grads, self.output_slots, self.output_count)
        for hook in self.before:
            result = hook(self.module, self.grad_output)
            if result is not None:
                self.grad_output = result if isinstance(result, tuple) else (result,)
        if not self.input_slots:  # nothing flows further back, so the full hooks have all they will ever see
            self._run_after((None,) * self.input_count)
        return tuple(self.grad_output[slot] for slot in self.output_slots)

    def _on_grad_input(self, grads: tuple) -> tuple:
        if self.after and self.grad_output is None:
            raise RuntimeError(
                f"full backward hook of {type(self.module).__name__}: a gradient reached the module's input without "
                "passing its output, so grad_output is not known: use all that forward computes through its output"
            )
        grad_input = self._run_after(_spread(grads, self.input_slots, self.input_count))
        return tuple(grad_input[slot] for slot in self.input_slots)

    def _run_after(self, grad_input: tuple) -> tuple:
        for hook in self.after:
            result = hook(self.module, grad_input, self.grad_output)
            if result is None:
                continue
            result = result if isinstance(result, tuple) else (result,)
            if len(result) != len(grad_input):
                raise RuntimeError(
                    f"full backward hook of {type(self.module).__name__}: expected {len(grad_input)} gradients, "
                    f"got {len(result)}"
                )
            grad_input = result
        return grad_input


def _gradient_slots(values: tuple) -> list[int]:
    return [i for i, value in enumerate(values) if isinstance(value, Tensor) and value.requires_grad]


def _spread(grads: tuple, slots: list[int], count: int) -> tuple:
    values: list = [None] * count
    for slot, grad in zip(slots, grads):
        values[slot] = grad
    return tuple(values)


def _through_identity(on_backward: Callable[[tuple], tuple], values: tuple, slots: list[int]) -> tuple:
    """`values`, with those at `slots` passed through one node whose backward calls `on_backward(grads)`."""
    if not slots:
        return values

    class ModuleHookBoundary(engine.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *tensors: Tensor) -> tuple:
            return tuple(tensor.view_as(tensor) for tensor in tensors)

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> tuple:
            return on_backward(grads)

    watched = list(values)
    for slot, tensor in zip(slots, ModuleHookBoundary.apply(*(values[slot] for slot in slots))):
        watched[slot] = tensor
    return tuple(watched)
