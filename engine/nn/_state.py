"""Saving and loading a Module's state: ``state_dict`` and ``load_state_dict`` with torch's report of what differs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import engine
from engine.nn.parameter import Parameter, is_lazy
from engine.tensor import Tensor

__all__ = ["IncompatibleKeys", "StateMethods"]

_EXTRA_STATE = "_extra_state"


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict`` found: keys the model has and the dict lacks, and the reverse."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class StateMethods:
    """The part of Module that writes and reads state dicts."""

    _version = 1
    if TYPE_CHECKING:  # what Module itself brings
        _hooks: Any
        _modules: Any

    def get_extra_state(self) -> Any:
        """Override to add something of your own to ``state_dict()`` under ``_extra_state``."""
        raise NotImplementedError(f"{type(self).__name__} defines no get_extra_state(): override it to save more state")

    def set_extra_state(self, state: Any) -> None:
        """Override to receive from ``load_state_dict()`` what `get_extra_state` returned."""
        raise NotImplementedError(f"{type(self).__name__} defines no set_extra_state(): override it to load that state")

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """All parameters and persistent buffers of this module and its children, by dotted name.

        Args:
            destination: mapping to fill; default: a new OrderedDict with a ``_metadata`` attribute (versions).
            prefix: text put before every name.
            keep_vars: whether to keep Parameters in the graph; default: detached tensors, storage shared.

        Example::

            >>> list(nn.Linear(2, 1).state_dict(prefix="head."))
            ['head.weight', 'head.bias']
        """
        if args:  # the old positional order, which subclasses of published programs still pass on
            given = [*args, *(destination, prefix, keep_vars)[len(args) :]]
            destination, prefix, keep_vars = given
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        local_metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local_metadata
        hooks = self._hooks
        if hooks is not None:
            for (hook,) in hooks.state_pre.values():
                hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, child in self._modules.items():
            if child is not None:
                child.state_dict(destination=destination, prefix=prefix + name + ".", keep_vars=keep_vars)
        if hooks is not None:
            for hook, in_place in hooks.state_post.values():
                destination = self._run_state_hook(hook, in_place, destination, prefix, local_metadata)
        return destination

    def _run_state_hook(self, hook: Any, in_place: bool, destination: Any, prefix: str, metadata: dict) -> Any:
        result = hook(self, destination, prefix, metadata)
        if in_place and result is not None:
            raise RuntimeError("state_dict post-hook must return None: edit the state dict in place")
        return destination if result is None else result

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Write this module's own state (children excluded) to `destination`; a subclass may override it."""
        for name, tensor in self._local_state():
            destination[prefix + name] = tensor if keep_vars else tensor.detach()
        if type(self).get_extra_state is not StateMethods.get_extra_state:
            destination[prefix + _EXTRA_STATE] = self.get_extra_state()

    def _local_state(self) -> list[tuple[str, Tensor]]:
        """This module's own parameters and persistent buffers that are not None."""
        values = self.__dict__
        names = [*values["_parameter_names"], *(name for name, kept in values["_buffer_names"].items() if kept)]
        return [(name, values[name]) for name in names if values[name] is not None]

    def load_state_dict(self, state_dict: Mapping, strict: bool = True, assign: bool = False) -> IncompatibleKeys:
        """Copy the values of `state_dict` into this module and its children.

        Args:
            state_dict: name -> tensor, as `state_dict` returns it.
            strict: whether names must match exactly; shapes always must.
            assign: put the given tensors in place of the module's own (their dtype and device win) instead of
                copying values; an optimizer made before keeps the old ones.

        Returns:
            ``(missing_keys, unexpected_keys)``.

        Raises:
            TypeError: if `state_dict` is not a mapping.
            RuntimeError: naming every missing and unexpected key (if `strict`) and every shape that differs.

        Example::

            >>> model = nn.Linear(2, 1)
            >>> model.load_state_dict({"weight": torch.ones(1, 2), "bias": torch.zeros(1)})
            <All keys matched successfully>
            >>> model(torch.tensor([3.0, 4.0])).item()
            7.0
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        metadata = getattr(state_dict, "_metadata", None) or {}
        keys = IncompatibleKeys([], [])
        errors: list[str] = []
        working: Any = OrderedDict(state_dict)
        working._metadata = metadata
        _load(self, working, "", metadata, assign, keys, errors)
        if strict:
            for kind, names in (("Unexpected", keys.unexpected_keys), ("Missing", keys.missing_keys)):
                if names:
                    quoted = ", ".join(f'"{name}"' for name in names)
                    errors.insert(0, f"{kind} key(s) in state_dict: {quoted}. ")
        if errors:
            report = "\n\t".join(errors)
            raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t{report}")
        return keys

    def _load_from_state_dict(
        self,
        state_dict: Mapping,
        prefix: str,
        local_metadata: dict,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Read this module's own state (children excluded); a subclass may override it, e.g. to rename old keys."""
        if self._hooks is not None:
            rest = (state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
            for hook, with_module in self._hooks.load_pre.values():
                hook(self, *rest) if with_module else hook(*rest)
        local_state = dict(self._local_state())
        assign = local_metadata.get("assign_to_params_buffers", False)
        for name, own in local_state.items():
            key = prefix + name
            if key in state_dict:
                error = self._load_tensor(name, key, own, state_dict[key], assign)
                if error:
                    error_msgs.append(error)
            elif strict:
                missing_keys.append(key)
        self._load_extra_state(state_dict, prefix + _EXTRA_STATE, strict, missing_keys, unexpected_keys)
        if strict:
            known = {*local_state, _EXTRA_STATE}
            unexpected_keys.extend(key for key in state_dict if self._is_unexpected(key, prefix, known))

    def _load_tensor(self, name: str, key: str, own: Tensor, given: Any, assign: bool) -> str | None:
        """Put `given` into the state tensor `own` called `name`; return what is wrong with it, if anything."""
        if not isinstance(given, Tensor):
            return (
                f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object from '
                f"checkpoint but received {type(given)}"
            )
        if is_lazy(own) and is_lazy(given):
            return None
        if own.dim() == 0 and tuple(given.shape) == (1,):  # scalars were saved with one dimension long ago
            given = given[0]
        if given.shape != own.shape:
            return (
                f"size mismatch for {key}: copying a param with shape {given.shape} from checkpoint, "
                f"the shape in current model is {own.shape}."
            )
        try:
            with engine.no_grad():
                if assign:
                    self._assign_tensor(name, own, given)
                else:
                    own.copy_(given)
        except Exception as error:  # reported together with all other findings by load_state_dict
            return (
                f'While copying the parameter named "{key}", whose dimensions in the model are {own.size()} and '
                f"whose dimensions in the checkpoint are {given.size()}, an exception occurred : {error.args}."
            )
        return None

    def _assign_tensor(self, name: str, own: Tensor, given: Tensor) -> None:
        if isinstance(own, Parameter):
            if isinstance(given, Parameter):
                given.requires_grad_(own.requires_grad)
            else:
                given = Parameter(given, requires_grad=own.requires_grad)
        setattr(self, name, given)

    def _load_extra_state(
        self, state_dict: Mapping, key: str, strict: bool, missing_keys: list[str], unexpected_keys: list[str]
    ) -> None:
        if type(self).set_extra_state is not StateMethods.set_extra_state:
            if key in state_dict:
                self.set_extra_state(state_dict[key])
            elif strict:
                missing_keys.append(key)
        elif strict and key in state_dict:
            unexpected_keys.append(key)

    def _is_unexpected(self, key: str, prefix: str, known: set[str]) -> bool:
        if not key.startswith(prefix):
            return False
        head, dot, _ = key[len(prefix) :].partition(".")
        return head not in self._modules if dot else head not in known


def _load(
    module: Any,
    state_dict: Mapping,
    prefix: str,
    metadata: Any,
    assign: bool,
    keys: IncompatibleKeys,
    errors: list[str],
) -> None:
    local_metadata = dict(metadata.get(prefix[:-1], {}))
    if assign:
        local_metadata["assign_to_params_buffers"] = True
    module._load_from_state_dict(state_dict, prefix, local_metadata, True, *keys, errors)
    for name, child in module._modules.items():
        if child is not None:
            child_prefix = prefix + name + "."
            own = OrderedDict((key, value) for key, value in state_dict.items() if key.startswith(child_prefix))
            _load(child, own, child_prefix, metadata, assign, keys, errors)
    if module._hooks is not None:
        for (hook,) in module._hooks.load_post.values():
            if hook(module, keys) is not None:
                raise AssertionError("load_state_dict post-hook must return None: edit incompatible_keys in place")
