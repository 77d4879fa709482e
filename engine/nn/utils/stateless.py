"""Calling a module with other values in place of its parameters and buffers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

from engine.nn.module import Module
from engine.tensor import Tensor

__all__ = ["functional_call"]

_ABSENT = object()


def _places(module: Module) -> dict[str, tuple[Module, str]]:
    """Every dotted name of a parameter or buffer, shared ones under each name: (owner, attribute)."""
    found = {}
    for prefix, owner in module.named_modules(remove_duplicate=False):
        for name in (*owner._parameters, *owner._buffers):
            found[f"{prefix}.{name}" if prefix else name] = (owner, name)
    return found


def _with_ties(module: Module, places: dict, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`values`, with each given also under the other names of the tensor that it replaces."""
    names: dict[int, list[str]] = {}
    for name, (owner, attribute) in places.items():
        names.setdefault(id(getattr(owner, attribute)), []).append(name)
    tied = dict(values)
    for group in names.values():
        given = [name for name in group if name in values]
        if any(values[name] is not values[given[0]] for name in given):
            raise ValueError(f"functional_call got multiple values for keys {sorted(given)}, which are tied. Consider using "
                             "tie_weights=False")
        if given:
            tied.update((name, values[given[0]]) for name in group)
    return tied


@contextmanager
def swapped_state(module: Module, given: MutableMapping[str, Tensor], tie_weights: bool, strict: bool) -> Iterator[None]:
    """Inside, the module's tensors are those given; afterwards its own again, whatever happened.

    Tensors that the module replaced meanwhile (a counter, a running mean) are put into `given`.
    """
    places = _places(module)
    if strict:
        _check_names(module, places, given)
    values = _with_ties(module, places, given) if tie_weights else dict(given)
    kept: list[tuple[str, Module, str, Any]] = []
    try:
        for name, value in values.items():
            path, _, attribute = name.rpartition(".")
            owner = places[name][0] if name in places else module.get_submodule(path)
            if not isinstance(value, Tensor):
                raise TypeError(f"{value} is not an instance of torch.Tensor")
            kept.append((name, owner, attribute, getattr(owner, attribute, _ABSENT)))
            _put(owner, attribute, value)
        yield
    finally:
        for name, owner, attribute, before in reversed(kept):
            if name in given:
                given[name] = getattr(owner, attribute)
            _put(owner, attribute, before)


def _put(owner: Module, attribute: str, value: Any) -> None:
    if value is _ABSENT:
        delattr(owner, attribute)
    elif attribute in owner.__dict__:  # past what Module checks: any tensor may stand for a parameter
        owner.__dict__[attribute] = value
    else:
        setattr(owner, attribute, value)


def _check_names(module: Module, places: dict, given: Mapping) -> None:
    problems = [
        f"{kind} key(s): {', '.join(map(repr, sorted(names)))}."
        for kind, names in (("Unexpected", given.keys() - places.keys()), ("Missing", places.keys() - given.keys()))
        if names
    ]
    if problems:
        raise RuntimeError("\n\t".join([f"Error(s) in reparametrizing for {type(module).__name__}:", *problems]))


def functional_call(module: Module, parameters_and_buffers: MutableMapping[str, Tensor], args: Any = None,
                    kwargs: dict[str, Any] | None = None, *, tie_weights: bool = True, strict: bool = False) -> Any:
    """``module(*args, **kwargs)`` with other tensors in place of its parameters and buffers.

    The older name of `torch.func.functional_call`, which also takes a sequence of dicts.

    Example::

        >>> layer = nn.Linear(1, 1)
        >>> new = {"weight": torch.tensor([[2.0]]), "bias": torch.tensor([1.0])}
        >>> nn.utils.stateless.functional_call(layer, new, torch.tensor([3.0]))
        tensor([7.])
    """
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    with swapped_state(module, parameters_and_buffers, tie_weights, strict):
        return module(*arguments, **(kwargs or {}))
