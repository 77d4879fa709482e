"""Whole modules: class names and data, never code.

A module is written as the name of its class and the values of its `__dict__`. Reading makes an object of that class,
which must be the engine's or already be imported by the program, without calling its `__init__`, and puts the values
back. Functions have no place in a file, with one exception: operators and the functions of `nn.functional`, by name,
because layers keep their activation as an attribute.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

from engine import nn
from engine.nn._hooks import Hooks
from engine.ops.base import FUNCTIONS
from engine.serialization.errors import SaveError
from engine.serialization.kinds import class_named, name_of_class
from engine.serialization.tree import Kind, Path, Reader, Writer, refusal, register, where


def _class_name(kind: type, path: Path) -> str:
    # The public name survives a move of the file the class is written in.
    return f"engine.nn:{kind.__name__}" if getattr(nn, kind.__name__, None) is kind else name_of_class(kind, path)


def _module_class(name: Any) -> type:
    kind = class_named(name)
    if not issubclass(kind, nn.Module):
        raise ValueError(f"class {name!r} is not an nn.Module, and only those are rebuilt")
    return kind


def _state_of(module: nn.Module) -> dict[str, Any]:
    """The values to write; a class's own `__getstate__` may leave some out."""
    own = getattr(type(module), "__getstate__", None)
    inherited = getattr(object, "__getstate__", None)  # there since Python 3.11
    state = vars(module) if own is inherited else module.__getstate__()
    if not isinstance(state, dict):
        raise SaveError(f"save(): {type(module).__name__}.__getstate__() must give a dict, got {type(state).__name__}")
    return state


def _write_module(module: nn.Module, writer: Writer, path: Path) -> int:
    if id(module) not in writer.known:
        index = len(writer.modules)
        writer.known[id(module)] = index, module
        # Before its values, which may lead back to it.
        writer.modules.append({"class": _class_name(type(module), path)})
        state = _state_of(module)
        writer.modules[index]["values"] = {key: writer.value(item, (*path, key)) for key, item in state.items()}
    return writer.known[id(module)][0]


def _read_module(node: Any, reader: Reader) -> nn.Module:
    if not reader.modules_allowed:
        raise ValueError("the file holds a whole module, and weights_only=True admits none. HINT: weights_only=False")
    described = reader.item("modules", node)
    if node not in reader.modules:
        module: nn.Module = object.__new__(_module_class(described["class"]))
        reader.modules[node] = module
        vars(module).update({key: reader.value(item) for key, item in described["values"].items()})
    return reader.modules[node]


def _write_hooks(hooks: Hooks, writer: Writer, path: Path) -> None:
    for kind in Hooks.__slots__:
        for number, entry in enumerate(getattr(hooks, kind).values()):
            raise refusal(entry[0], (*path[:-1], f"{kind}_hooks", str(number)))


def _function_named(name: str) -> FunctionType | None:
    """The operator `name`, or the public function of nn.functional for `functional.name`."""
    place, _, last = name.rpartition(".")
    function = {"": FUNCTIONS, "functional": vars(nn.functional)}.get(place, {}).get(last)
    ours = isinstance(function, FunctionType) and function.__module__.startswith("engine.") and not last.startswith("_")
    return function if ours else None


def _write_function(function: FunctionType, writer: Writer, path: Path) -> str:
    for name in (f"functional.{function.__name__}", function.__name__):
        if _function_named(name) is function:
            return name
    raise refusal(function, path)


def _read_function(node: Any, reader: Reader) -> FunctionType:
    function = _function_named(node)
    if function is None:
        raise ValueError(f"there is no operator and no function of nn.functional named {node!r}")
    return function


def _write_class(kind: type, writer: Writer, path: Path) -> str:
    if not issubclass(kind, nn.Module):
        raise SaveError(f"save(): {where(path)} is the class {kind.__qualname__}; only Module classes are written")
    return _class_name(kind, path)


register(Kind("$module", nn.Module, _write_module, _read_module), exact=False)
register(Kind("$hooks", Hooks, _write_hooks, lambda node, reader: None))
register(Kind("$function", FunctionType, _write_function, _read_function))
register(Kind("$class", type, _write_class, lambda node, reader: _module_class(node)), exact=False)
