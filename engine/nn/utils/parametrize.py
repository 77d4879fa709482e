"""Parametrizations: a module's tensor computed from others each time it is read.

`register_parametrization(layer, "weight", P())` moves `layer.weight` to ``layer.parametrizations.weight.original`` and
puts a property in its place that returns ``P()(original)``. The property needs a class of its own: the module becomes an
instance of a subclass ``Parametrized<Class>`` that is made for it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import engine
from engine.nn.containers import ModuleDict, ModuleList
from engine.nn.module import Module
from engine.nn.parameter import Parameter
from engine.tensor import Tensor

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]

_caching = 0
_values: dict[tuple[int, str], Tensor] = {}


@contextmanager
def cached() -> Iterator[None]:
    """While active, each parametrized tensor is computed once, when it is first read.

    Example::

        >>> calls = []
        >>> class Doubled(nn.Module):
        ...     def forward(self, x):
        ...         calls.append(1)
        ...         return 2 * x
        >>> layer = nn.utils.parametrize.register_parametrization(nn.Linear(1, 1), "weight", Doubled(), unsafe=True)
        >>> with nn.utils.parametrize.cached():
        ...     same = layer.weight is layer.weight
        >>> same, len(calls)
        (True, 1)
    """
    global _caching
    _caching += 1
    try:
        yield
    finally:
        _caching -= 1
        if not _caching:
            _values.clear()


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor and what they start from; made by `register_parametrization`.

    The tensor itself is kept as ``original``; where the first parametrization's ``right_inverse`` returns a sequence,
    its tensors are kept as ``original0``, ``original1``, ...
    """

    original: Tensor

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        if len(modules) == 0:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = original.shape, original.dtype
        source = self._invert(original)
        self.is_tensor = isinstance(source, Tensor)
        self.ntensors = 1 if self.is_tensor else len(source)
        if self.is_tensor:
            self._keep_one(original, source)
        else:
            self._keep_many(original, source)
        if not unsafe:
            self._check(self(), shape, dtype)

    def _invert(self, value: Tensor) -> Any:
        """What gives `value` when the parametrizations are applied; those that have no inverse count as identities."""
        with engine.no_grad():
            for module in reversed(self):
                inverse = getattr(module, "right_inverse", None)
                if inverse is not None:
                    try:
                        value = inverse(value)
                    except NotImplementedError:
                        continue
        if not isinstance(value, (Tensor, Sequence)):
            raise ValueError("'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                             f"Got {type(value).__name__}")
        return value

    def _keep_one(self, original: Tensor, source: Tensor) -> None:
        for fact in ("dtype", "device"):
            if getattr(original, fact) != getattr(source, fact):
                raise ValueError(f"When `right_inverse` outputs one tensor, it may not change the {fact}.\n"
                                 f"original.{fact}: {getattr(original, fact)}\n"
                                 f"right_inverse(original).{fact}: {getattr(source, fact)}")
        _give(original, source)  # the same object goes on, so that an optimizer made before holds it
        _register(self, "original", original)

    def _keep_many(self, original: Tensor, sources: Sequence) -> None:
        for i, source in enumerate(sources):
            if not isinstance(source, Tensor):
                raise ValueError("'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                                 f"Got element {i} of the sequence with type {type(source).__name__}.")
            if isinstance(original, Parameter):
                source = Parameter(source, original.requires_grad)
            _register(self, f"original{i}", source.requires_grad_(original.requires_grad))

    @staticmethod
    def _check(value: Any, shape: Any, dtype: Any) -> None:
        if not isinstance(value, Tensor):
            raise ValueError(f"A parametrization must return a tensor. Got {type(value).__name__}.")
        for fact, before, after in (("dtype", dtype, value.dtype), ("shape", shape, value.shape)):
            if before != after:
                raise ValueError(f"Registering a parametrization may not change the {fact} of the tensor, unless `unsafe` "
                                 f"flag is enabled.\nunparametrized {fact}: {before}\nparametrized {fact}: {after}")

    def right_inverse(self, value: Tensor) -> None:
        """Change the originals so that the parametrized tensor becomes `value` (what assigning to it does).

        Raises:
            RuntimeError: if a parametrization has no ``right_inverse``.
            ValueError: if an inverse returns another number or another dtype of tensors than it did at first.
        """
        with engine.no_grad():
            for module in reversed(self):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(f"parametrization {type(module).__name__} does not implement right_inverse.")
                value = module.right_inverse(value)
        if self.is_tensor:
            self._store("original", value, "The tensor", "a tensor")
            return
        if not isinstance(value, Sequence):
            raise ValueError(f"'right_inverse' must return a sequence of tensors. Got {type(value).__name__}.")
        if len(value) != self.ntensors:
            raise ValueError("'right_inverse' must return a sequence of tensors of length "
                             f"{self.ntensors}. Got a sequence of length {len(value)}.")
        for i, tensor in enumerate(value):
            self._store(f"original{i}", tensor, f"Tensor {i}", "a sequence of tensors")

    def _store(self, name: str, value: Any, subject: str, wanted: str) -> None:
        if not isinstance(value, Tensor):
            raise ValueError(f"`right_inverse` should return {wanted}. Got {type(value).__name__}")
        original = getattr(self, name)
        if value.dtype != original.dtype:
            raise ValueError(f"{subject} returned by `right_inverse` has dtype {value.dtype} "
                             f"while `{name}` has dtype {original.dtype}")
        _give(original, value)

    def forward(self) -> Tensor:
        if self.is_tensor:
            value = self[0](self.original)
        else:
            value = self[0](*(getattr(self, f"original{i}") for i in range(self.ntensors)))
        for module in list(self)[1:]:
            value = module(value)
        return value


def _give(target: Tensor, source: Tensor) -> None:
    """Let `target` go on with `source`'s storage."""
    if target is not source:
        target.data = source.detach()


def _register(module: Module, name: str, tensor: Tensor) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _refuse_pickling(self: Any) -> Any:
    raise RuntimeError("Serialization of parametrized modules is only supported through state_dict().")


def _copy_deeply(self: Any, memo: dict) -> Any:
    """A deep copy that does not ask for the state that pickling refuses."""
    replica = object.__new__(type(self))
    memo[id(self)] = replica
    replica.__dict__ = copy.deepcopy(self.__dict__, memo)
    return replica


def _make_parametrized(module: Module) -> None:
    """Give the module a class of its own, in which properties can be put."""
    cls = type(module)
    members: dict[str, Any] = {"__getstate__": _refuse_pickling, "__module__": cls.__module__}
    if not hasattr(cls, "__deepcopy__"):
        members["__deepcopy__"] = _copy_deeply
    module.__class__ = type(f"Parametrized{cls.__name__}", (cls,), members)
    module.parametrizations = ModuleDict()


def _parametrized_property(name: str) -> property:
    def read(self: Any) -> Tensor:
        compute = self.parametrizations[name]
        if not _caching:
            return compute()
        key = (id(self), name)
        if key not in _values:
            _values[key] = compute()
        return _values[key]

    def write(self: Any, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    return property(read, write)


def register_parametrization(module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False) -> Module:
    """Compute the parameter or buffer `tensor_name` as ``parametrization(original)`` whenever it is read.

    Several registrations on one tensor follow one another. A ``right_inverse`` method says how to assign to the tensor,
    and what the original is to begin with.

    Args:
        unsafe: whether shape and dtype may change; nothing is checked then.

    Returns:
        `module`, as an instance of ``Parametrized<its class>``.

    Raises:
        ValueError: if there is no such tensor, or the parametrization changes shape or dtype without `unsafe`.

    Example::

        >>> class Symmetric(nn.Module):
        ...     def forward(self, x):
        ...         return x.triu() + x.triu(1).T
        >>> layer = nn.utils.parametrize.register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
        >>> torch.equal(layer.weight, layer.weight.T)
        True
        >>> [name for name, _ in layer.named_parameters()]
        ['bias', 'parametrizations.weight.original']
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            _check_next(module, tensor_name, parametrization)
        others = module.parametrizations[tensor_name]
        others.append(parametrization)
        others.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        kept = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _make_parametrized(module)
        setattr(type(module), tensor_name, _parametrized_property(tensor_name))
        module.parametrizations[tensor_name] = kept
    else:
        raise ValueError(f"Module '{module}' does not have a parameter, a buffer, or a "
                         f"parametrized element with name '{tensor_name}'")
    return module


def _check_next(module: Module, name: str, parametrization: Any) -> None:
    """Raise unless `parametrization`, put after others, keeps dtype and shape of the tensor in both directions."""
    before = getattr(module, name)
    after = parametrization(before)
    if not isinstance(after, Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {type(after).__name__}.")
    for fact in ("dtype", "shape"):
        if getattr(before, fact) != getattr(after, fact):
            raise ValueError(f"Registering a parametrization may not change the {fact} of the tensor, unless the `unsafe` "
                             f"flag is enabled.\nmodule.{name}.{fact}: {getattr(before, fact)}\n"
                             f"parametrization(module.{name}).{fact}: {getattr(after, fact)}")
    if not hasattr(parametrization, "right_inverse"):
        return
    try:
        back = parametrization.right_inverse(after)
    except NotImplementedError:
        return
    if not isinstance(back, Tensor):
        raise ValueError(f"parametrization.right_inverse must return a tensor. Got: {type(back).__name__}")
    for fact in ("dtype", "shape"):
        if getattr(before, fact) != getattr(back, fact):
            raise ValueError(f"The tensor returned by parametrization.right_inverse must have the same {fact} as "
                             f"module.{name}, unless the `unsafe` flag is enabled.\n"
                             f"module.{name}.{fact}: {getattr(before, fact)}\nreturned {fact}: {getattr(back, fact)}")


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether the tensor `tensor_name` of `module`, or without a name any of its tensors, is parametrized.

    Example::

        >>> nn.utils.parametrize.is_parametrized(nn.Linear(1, 1))
        False
    """
    found = getattr(module, "parametrizations", None)
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Undo `register_parametrization`: the tensor is a plain parameter or buffer again.

    Args:
        leave_parametrized: whether it keeps the value computed last, or goes back to its original.

    Raises:
        ValueError: if the tensor is not parametrized, or `leave_parametrized` is False and it has several originals.

    Example::

        >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
        >>> nn.utils.parametrize.remove_parametrizations(layer, "weight")
        Linear(in_features=2, out_features=2, bias=True)
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    kept = module.parametrizations[tensor_name]
    if kept.is_tensor:
        original = kept.original
        if leave_parametrized:
            with engine.no_grad():
                _give(original, getattr(module, tensor_name))
    elif leave_parametrized:
        value = getattr(module, tensor_name)
        original = Parameter(value.detach()) if value.requires_grad else value
    else:
        raise ValueError("Cannot leave unparametrized (`leave_parametrized=False`) a tensor "
                         "that is parametrized in terms of a sequence of tensors.")
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, original)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The module's class, without what parametrizations made of it.

    Example::

        >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
        >>> type(layer).__name__, nn.utils.parametrize.type_before_parametrizations(layer).__name__
        ('ParametrizedLinear', 'Linear')
    """
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(from_module: Module, to_module: Module, tensor_name: str | None = None) -> Module:
    """Give `to_module` the parametrizations of `from_module` (of one tensor, or of all) and the originals they start from.

    Example::

        >>> a = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
        >>> b = nn.utils.parametrize.transfer_parametrizations_and_params(a, nn.Linear(2, 2))
        >>> torch.equal(a.weight, b.weight)
        True
    """
    if not is_parametrized(from_module):
        return to_module
    names = list(from_module.parametrizations) if tensor_name is None else [tensor_name]
    for name in names:
        source = from_module.parametrizations[name]
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach()))
        for parametrization in source:
            register_parametrization(to_module, name, parametrization)
        target = to_module.parametrizations[name]
        for kept in ("original",) if source.is_tensor else [f"original{i}" for i in range(source.ntensors)]:
            setattr(target, kept, getattr(source, kept))
    return to_module
