"""Optimizer: the protocol that every optimizer keeps: parameter groups, state, hooks, `state_dict`.

The arithmetic is elsewhere (`_flat.py` and one file per algorithm). A user's own optimizer subclasses this class,
writes `step`, and keeps what it remembers about a parameter in `self.state[parameter]`.
"""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

import numpy as np

from engine.autograd.graph import Handle
from engine.devices import device_of, place
from engine.tensor import Tensor, wrap

__all__ = ["Optimizer", "register_optimizer_step_post_hook", "register_optimizer_step_pre_hook", "required"]


class _Required:
    """Marks an option in `defaults` that every parameter group has to give itself."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()

# None of them is part of a saved or copied optimizer.
_HOOK_TABLES = (
    "_optimizer_step_pre_hooks",
    "_optimizer_step_post_hooks",
    "_optimizer_state_dict_pre_hooks",
    "_optimizer_state_dict_post_hooks",
    "_optimizer_load_state_dict_pre_hooks",
    "_optimizer_load_state_dict_post_hooks",
)


# Step hooks of all optimizers of the process.
_GLOBAL_PRE: OrderedDict = OrderedDict()
_GLOBAL_POST: OrderedDict = OrderedDict()


def _add_hook(table: OrderedDict, hook: Callable, prepend: bool = False) -> Handle:
    """Put `hook` into `table`, last or (with `prepend`) first."""
    handle = Handle(table, hook)
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


def register_optimizer_step_pre_hook(hook: Callable) -> Handle:
    """Call `hook(optimizer, args, kwargs)` before every `step` of every optimizer; it may return new (args, kwargs)."""
    return _add_hook(_GLOBAL_PRE, hook)


def register_optimizer_step_post_hook(hook: Callable) -> Handle:
    """Call `hook(optimizer, args, kwargs)` after every `step` of every optimizer."""
    return _add_hook(_GLOBAL_POST, hook)


def _hooked(step: Callable) -> Callable:
    """`step` between its hooks. Also leaves the mark by which schedulers know that `step` has been called."""

    @functools.wraps(step)
    def wrapper(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        self._opt_called = True
        before, after = self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks
        # A subclass that calls super().step() arrives here a second time: its hooks are running already.
        if not (before or after or _GLOBAL_PRE or _GLOBAL_POST) or self._in_hooked_step:
            return step(self, *args, **kwargs)
        self._in_hooked_step = True
        try:
            for hook in chain(tuple(_GLOBAL_PRE.values()), tuple(before.values())):
                result = hook(self, args, kwargs)
                if result is None:
                    continue
                if not (isinstance(result, tuple) and len(result) == 2):
                    raise RuntimeError(f"{hook} must return None or a tuple (new_args, new_kwargs), got {result!r}.")
                args, kwargs = result
            output = step(self, *args, **kwargs)
            for hook in chain(tuple(after.values()), tuple(_GLOBAL_POST.values())):
                hook(self, args, kwargs)
            return output
        finally:
            self._in_hooked_step = False

    return wrapper


class Optimizer:
    """Base class of all optimizers.

    Args:
        params: an iterable of Tensors, of (name, Tensor) pairs, or of dicts (one per parameter group: "params" and
            options that differ from the defaults). The order must be the same in every run.
        defaults: the options of a group that does not give them.

    Attributes: `param_groups` (list of dicts), `defaults`, `state` (parameter -> dict of what is remembered).

    Raises:
        TypeError: `params` is a single Tensor, or holds something that is not a Tensor, or is a set.
        ValueError: no parameters; a tensor that is not a leaf; a parameter in two groups; names for some only.

    A whole optimizer in a few lines:

    >>> class SignSGD(torch.optim.Optimizer):
    ...     def __init__(self, params, lr=0.1):
    ...         super().__init__(params, {"lr": lr})
    ...     @torch.no_grad()
    ...     def step(self, closure=None):
    ...         for group in self.param_groups:
    ...             for p in group["params"]:
    ...                 p -= group["lr"] * p.grad.sign()
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = SignSGD([w])
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.9000, -1.9000], requires_grad=True)
    """

    _optimizer_step_pre_hooks: OrderedDict
    _optimizer_step_post_hooks: OrderedDict
    _optimizer_state_dict_pre_hooks: OrderedDict
    _optimizer_state_dict_post_hooks: OrderedDict
    _optimizer_load_state_dict_pre_hooks: OrderedDict
    _optimizer_load_state_dict_post_hooks: OrderedDict
    _opt_called = False  # whether `step` was ever called; schedulers look

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = _hooked(cls.step)  # type: ignore[method-assign]

    def __init__(self, params: Iterable, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                f"{type(params).__name__} of shape {tuple(params.shape)}. HINT: put it into a list: [tensor]"
            )
        self.defaults = defaults
        self._prepare()
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def _prepare(self) -> None:
        """Set up what is not saved: hook tables and marks. Keeps what is there already."""
        for table in _HOOK_TABLES:
            self.__dict__.setdefault(table, OrderedDict())
        self._in_hooked_step = False

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for number, group in enumerate(self.param_groups):
            options = [f"    {key}: {group[key]}\n" for key in sorted(group) if key != "params"]
            text += f"\nParameter Group {number}\n" + "".join(options)
        return text + ")"

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; subclasses write this.

        Args:
            closure: computes the loss (and its gradients) anew; called with gradients enabled.

        Returns: what `closure` returned, or None without one.
        """
        raise NotImplementedError(f"{type(self).__name__} has no step(): an optimizer subclass must define it.")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients: set them to None, or (with `set_to_none=False`) fill them with zeros in place.

        A parameter whose gradient is None is skipped by `step`; one with a zero gradient is not.
        """
        if set_to_none:
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter._grad = None
            return
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    _zero_gradient(parameter, parameter.grad)

    def make_capturable(self) -> None:
        """Let steps be captured in a CUDA graph. NotImplementedError: the host takes part in a step of this optimizer."""
        raise NotImplementedError(f"{type(self).__name__}.step() can't be captured in a CUDA graph: the host takes part in it."
                                  " HINT: Adam, AdamW, SGD, RMSprop, Adagrad, Adadelta, Adamax and Rprop can be.")

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters with their own options, for example a layer that is trained from now on.

        Args:
            param_group: "params" (a Tensor, or an ordered collection of Tensors or (name, Tensor) pairs) and any
                options; `defaults` gives the rest. The dict itself is kept and completed.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        _unpack_params(param_group)
        for parameter in param_group["params"]:
            self._check_parameter(parameter)
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            param_group.setdefault(name, default)
        members = {id(parameter) for parameter in param_group["params"]}
        if len(members) != len(param_group["params"]):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters: each is updated once per mention.",
                stacklevel=3,
            )
        for group in self.param_groups:
            if ("param_names" in param_group) != ("param_names" in group):
                given = "with" if "param_names" in param_group else "without"
                raise ValueError(
                    "all optimizer param groups should be with/without names: "
                    f"cannot add a param group {given} names to this optimizer"
                )
            if any(id(parameter) in members for parameter in group["params"]):
                raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    @staticmethod
    def _check_parameter(parameter: Any) -> None:
        if not isinstance(parameter, Tensor):
            kind = type(parameter)
            raise TypeError(
                f"optimizer can only optimize Tensors, but one of the params is {kind.__module__}.{kind.__qualname__}"
            )
        if not (parameter.is_leaf or getattr(parameter, "retains_grad", False)):
            raise ValueError(
                f"can't optimize a non-leaf Tensor (shape={tuple(parameter.shape)}): it is the result of an operation"
            )

    # ---- saving and loading

    def state_dict(self) -> dict[str, Any]:
        """The whole state as plain containers: `{"state": {index: {...}}, "param_groups": [{..., "params": [index]}]}`.

        Parameters are numbered through all groups. The tensors are the live ones, not copies.
        """
        for hook in tuple(self._optimizer_state_dict_pre_hooks.values()):
            hook(self)
        numbers: dict[int, int] = {}
        start = 0
        groups = []
        for group in self.param_groups:
            for number, parameter in enumerate(group["params"], start):
                numbers.setdefault(id(parameter), number)
            packed = {key: value for key, value in group.items() if key != "params"}
            packed["params"] = [numbers[id(parameter)] for parameter in group["params"]]
            start += len(packed["params"])
            groups.append(packed)
        state = {numbers[id(key)] if isinstance(key, Tensor) else key: value for key, value in self.state.items()}
        result = {"state": state, "param_groups": groups}
        for hook in tuple(self._optimizer_state_dict_post_hooks.values()):
            changed = hook(self, result)
            result = result if changed is None else changed
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the state and options of a `state_dict()`; tensors are copied, in the dtype and on the device of
        their parameters.

        Parameters are matched by position. "param_names" of the loaded groups, where present, replace ours.

        Raises:
            ValueError: another number of groups, or of parameters in a group.
        """
        state_dict = state_dict.copy()
        for hook in tuple(self._optimizer_load_state_dict_pre_hooks.values()):
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        saved_groups = deepcopy(state_dict["param_groups"])
        by_number = self._match_groups(saved_groups)
        state: defaultdict[Any, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in by_number:
                state[by_number[key]] = _cast_to_parameter(by_number[key], value)
            else:
                state[key] = value
        for group, saved in zip(self.param_groups, saved_groups, strict=True):
            saved["params"] = group["params"]
            if "param_names" in group:
                saved.setdefault("param_names", group["param_names"])
        self.__setstate__({"state": state, "param_groups": saved_groups})
        for hook in tuple(self._optimizer_load_state_dict_post_hooks.values()):
            hook(self)

    def _match_groups(self, saved_groups: list[dict[str, Any]]) -> dict[Any, Tensor]:
        """Saved number -> our parameter, after checking that the groups have the same sizes."""
        ours = [len(group["params"]) for group in self.param_groups]
        theirs = [len(group["params"]) for group in saved_groups]
        if len(ours) != len(theirs):
            raise ValueError(
                "loaded state dict has a different number of parameter groups "
                f"(loaded {len(theirs)}, optimizer has {len(ours)})"
            )
        if ours != theirs:
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group "
                f"(loaded sizes {theirs}, optimizer has {ours})"
            )
        numbers = chain.from_iterable(group["params"] for group in saved_groups)
        parameters = chain.from_iterable(group["params"] for group in self.param_groups)
        return dict(zip(numbers, parameters, strict=True))

    # ---- hooks

    def register_step_pre_hook(self, hook: Callable) -> Handle:
        """Call `hook(optimizer, args, kwargs)` before `step`; a result that is not None replaces (args, kwargs)."""
        return _add_hook(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> Handle:
        """Call `hook(optimizer, args, kwargs)` after `step`."""
        return _add_hook(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call `hook(optimizer)` before `state_dict()` collects anything."""
        return _add_hook(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call `hook(optimizer, state_dict)` on the result of `state_dict()`; a dict that it returns replaces it."""
        return _add_hook(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call `hook(optimizer, state_dict)` before loading, on a shallow copy; a returned dict is loaded instead."""
        return _add_hook(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call `hook(optimizer)` after loading."""
        return _add_hook(self._optimizer_load_state_dict_post_hooks, hook, prepend)


def _unpack_params(param_group: dict[str, Any]) -> None:
    """Make `param_group["params"]` a list of tensors, and "param_names" the list of their names if they have any."""
    params = param_group["params"]
    if isinstance(params, set):
        raise TypeError(
            "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets "
            "will change between runs. HINT: use a list."
        )
    entries = [params] if isinstance(params, Tensor) else list(params)
    names = [entry[0] for entry in entries if isinstance(entry, tuple)]
    param_group["params"] = [entry[1] if isinstance(entry, tuple) else entry for entry in entries]
    if names and len(names) != len(entries):
        raise ValueError(
            "all optimizer params should be with/without names. Some param names are missing "
            f"({len(names)} of {len(entries)} have one)"
        )
    if names:
        param_group["param_names"] = names


def _zero_gradient(parameter: Tensor, grad: Tensor) -> None:
    array = grad._array
    if grad.is_leaf and not grad.requires_grad and getattr(array.flags, "writeable", True):
        array.fill(0)  # in place: whoever holds the gradient sees the zeros
        grad._bump("Optimizer.zero_grad")
    else:  # part of a graph, or a read-only broadcast: give the parameter a gradient of its own
        fresh = array.copy()
        fresh.fill(0)
        parameter.grad = wrap(fresh)


def _cast_to_parameter(parameter: Tensor, value: Any, key: Any = None) -> Any:
    """A copy of a loaded state value; tensors take the parameter's dtype and device, "step" stays as it is."""
    if isinstance(value, Tensor):
        array = value._array
        if key != "step":
            array = place(array, device_of(parameter._array))
            if parameter.is_floating_point() or parameter.is_complex():
                return wrap(array.astype(parameter._array.dtype))
        return wrap(array.copy())
    if isinstance(value, dict):
        return {name: _cast_to_parameter(parameter, item, name) for name, item in value.items()}
    if isinstance(value, (str, bytes, np.ndarray)) or not isinstance(value, Iterable):
        return value
    return type(value)(_cast_to_parameter(parameter, item) for item in value)  # type: ignore[call-arg]
