"""The kinds of plain data, tensors and arrays that a file can hold: one card each."""

from __future__ import annotations

import base64
import enum
import pathlib
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

import numpy as np

from engine import backend, dtypes
from engine.devices import device as Device
from engine.rng import Generator
from engine.serialization.errors import SaveError
from engine.serialization.layout import dtype_named
from engine.serialization.tree import Kind, Path, Reader, Writer, register, where
from engine.tensor import Size, Tensor, wrap

FACTORIES = {factory.__name__: factory for factory in (dict, float, int, list, set, str, tuple)}
INLINE_BYTES = 256  # longer byte strings go to the data section


# -------------------------------------------------------------------------------------------------- classes by name


def name_of_class(kind: type, path: Path) -> str:
    """`module:Name`, checked to lead back to the very class. SaveError otherwise (a class made inside a function)."""
    name = f"{kind.__module__}:{kind.__qualname__}"
    try:
        found = class_named(name)
    except ValueError:
        found = None
    if found is not kind:
        raise SaveError(
            f"save(): {where(path)} is of class {kind.__module__}.{kind.__qualname__}, which cannot be found by that "
            "name when the file is read. HINT: define the class at the top of a module, or save state_dict()"
        )
    return name


def class_named(name: Any) -> Any:
    """The class of that name in an already imported module. Imports nothing; ValueError where there is none."""
    module, _, qualname = name.partition(":") if isinstance(name, str) else ("", "", "")
    found: Any = sys.modules.get(module)
    if found is None:
        raise ValueError(f"it needs class {name!r}, but the module {module!r} is not imported. HINT: import it first")
    for part in qualname.split("."):
        # vars() and not getattr(): a module's or a metaclass's __getattr__ would run code chosen by the file.
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    if not isinstance(found, type):
        raise ValueError(f"it needs class {name!r}, which is not defined in the imported module")
    return found


# ------------------------------------------------------------------------------------------------------- containers


def _read_dict(node: Any, reader: Reader) -> dict:
    return dict(reader.pairs(node))


def _write_ordered(value: OrderedDict, writer: Writer, path: Path) -> dict[str, Any]:
    # torch hangs `_metadata` (versions of modules) on the OrderedDict of a state dict.
    return {"items": writer.pairs(value, path), "attributes": writer.value(dict(vars(value)), (*path, "attributes"))}


def _read_ordered(node: Any, reader: Reader) -> OrderedDict:
    value: OrderedDict = OrderedDict(reader.pairs(node["items"]))
    vars(value).update(reader.value(node["attributes"]))
    return value


def _write_defaultdict(value: defaultdict, writer: Writer, path: Path) -> dict[str, Any]:
    factory = value.default_factory
    if factory is not None and factory not in FACTORIES.values():
        raise SaveError(f"save(): {where(path)} is a defaultdict with a factory of its own. HINT: save dict(...) of it")
    return {"factory": factory and factory.__name__, "items": writer.pairs(value, path)}


def _read_defaultdict(node: Any, reader: Reader) -> defaultdict:
    factory = None if node["factory"] is None else FACTORIES[node["factory"]]
    return defaultdict(factory, reader.pairs(node["items"]))


def _write_deque(value: deque, writer: Writer, path: Path) -> dict[str, Any]:
    return {"items": writer.values(value, path), "maxlen": value.maxlen}


def _write_set(value: Any, writer: Writer, path: Path) -> list[Any]:
    return writer.values(sorted(value, key=repr), path)  # a file does not depend on the hash seed


register(Kind("$dict", dict, lambda value, writer, path: writer.pairs(value, path), _read_dict))
register(Kind("$ordered", OrderedDict, _write_ordered, _read_ordered))
register(Kind("$counter", Counter, lambda value, writer, path: writer.pairs(value, path),
              lambda node, reader: Counter(_read_dict(node, reader))))  # fmt: skip
register(Kind("$defaultdict", defaultdict, _write_defaultdict, _read_defaultdict))
register(Kind("$tuple", tuple, lambda value, writer, path: writer.values(value, path),
              lambda node, reader: tuple(map(reader.value, node))))  # fmt: skip
register(Kind("$set", set, _write_set, lambda node, reader: set(map(reader.value, node))))
register(Kind("$frozenset", frozenset, _write_set, lambda node, reader: frozenset(map(reader.value, node))))
register(Kind("$deque", deque, _write_deque,
              lambda node, reader: deque(map(reader.value, node["items"]), node["maxlen"])))  # fmt: skip


# -------------------------------------------------------------------------------------------------- numbers and texts


def _write_bytes(value: Any, writer: Writer, path: Path) -> Any:
    if len(value) <= INLINE_BYTES:
        return base64.b64encode(value).decode("ascii")
    return writer.array(np.frombuffer(value, np.uint8), path)


def _read_bytes(node: Any, reader: Reader) -> bytes:
    if isinstance(node, str):
        return base64.b64decode(node, validate=True)
    return backend.to_numpy(reader.array(node)).tobytes()


def _read_float(node: Any, reader: Reader) -> float:
    if node not in ("nan", "inf", "-inf"):
        raise ValueError(f"expected nan, inf or -inf, got {node!r}")
    return float(node)


def _write_scalar(value: np.generic, writer: Writer, path: Path) -> dict[str, Any]:
    return {"array": writer.array(np.asarray(value), path)}


def _read_path(node: Any, reader: Reader) -> pathlib.Path:
    if not isinstance(node, str):
        raise ValueError(f"expected the text of a path, got {node!r}")
    return pathlib.Path(node)


register(Kind("$int", int, lambda value, writer, path: hex(value), lambda node, reader: int(node, 16)))
register(Kind("$float", float, lambda value, writer, path: repr(value), _read_float))
register(Kind("$complex", complex, lambda value, writer, path: writer.values((value.real, value.imag), path),
              lambda node, reader: complex(*map(reader.value, node))))  # fmt: skip
register(Kind("$bytes", bytes, _write_bytes, _read_bytes))
register(Kind("$bytearray", bytearray, lambda value, writer, path: _write_bytes(bytes(value), writer, path),
              lambda node, reader: bytearray(_read_bytes(node, reader))))  # fmt: skip
register(Kind("$range", range, lambda value, writer, path: [value.start, value.stop, value.step],
              lambda node, reader: range(*node)))  # fmt: skip
register(Kind("$slice", slice, lambda value, writer, path: writer.values((value.start, value.stop, value.step), path),
              lambda node, reader: slice(*map(reader.value, node))))  # fmt: skip
register(Kind("$path", pathlib.PurePath, lambda value, writer, path: str(value), _read_path), exact=False)


# ------------------------------------------------------------------------------------------------ the engine's own


def _write_tensor(value: Tensor, writer: Writer, path: Path) -> int:
    if id(value) not in writer.known:
        described: dict[str, Any] = {"array": writer.array(value._array, path)}
        if type(value) is not Tensor:
            described["class"] = _tensor_class_name(value, path)
        if value.requires_grad:
            described["requires_grad"] = True
        if value.device.type != "cpu":
            described["device"] = str(value.device)
        if vars(value):
            described["attributes"] = writer.value(dict(vars(value)), (*path, "attributes"))
        writer.known[id(value)] = len(writer.tensors), value
        writer.tensors.append(described)
    return writer.known[id(value)][0]


def _tensor_classes() -> dict[str, type]:
    from engine.nn import Buffer, Parameter

    return {"Parameter": Parameter, "Buffer": Buffer}


def _tensor_class_name(value: Tensor, path: Path) -> str:
    for name, kind in _tensor_classes().items():
        if type(value) is kind:
            return name
    raise SaveError(f"save(): {where(path)} is of the tensor class {type(value).__qualname__}. HINT: detach() it")


def _read_tensor(node: Any, reader: Reader) -> Tensor:
    described = reader.item("tensors", node)
    if node not in reader.tensors:
        kind = _tensor_classes()[described["class"]] if "class" in described else Tensor
        tensor = wrap(reader.array(described["array"], described.get("device", "cpu")), cls=kind)
        if described.get("requires_grad", False):
            tensor.requires_grad_()
        vars(tensor).update(reader.value(described.get("attributes", {})))
        reader.tensors[node] = tensor
    return reader.tensors[node]


def _write_generator(value: Generator, writer: Writer, path: Path) -> dict[str, Any]:
    state = value.get_state()
    return {"device": str(value.device), "state": writer.array(state._array, (*path, "state"))}


def _read_generator(node: Any, reader: Reader) -> Generator:
    return Generator(node["device"]).set_state(wrap(reader.array(node["state"])))


register(Kind("$tensor", Tensor, _write_tensor, _read_tensor), exact=False)
register(Kind("$size", Size, lambda value, writer, path: list(value), lambda node, reader: Size(map(int, node))))
register(Kind("$dtype", dtypes.dtype, lambda value, writer, path: value.name, lambda node, reader: dtype_named(node)))
register(Kind("$device", Device, lambda value, writer, path: str(value), lambda node, reader: Device(node)))
register(Kind("$generator", Generator, _write_generator, _read_generator))
register(Kind("$array", np.ndarray, lambda value, writer, path: writer.array(value, path),
              lambda node, reader: reader.array(node)))  # fmt: skip
register(Kind("$scalar", np.generic, _write_scalar, lambda node, reader: reader.array(node["array"])[()]), exact=False)


# ---------------------------------------------------------------------------------- classes of the running program


def _write_enum(value: enum.Enum, writer: Writer, path: Path) -> list[str]:
    return [name_of_class(type(value), path), value.name]


def _read_enum(node: Any, reader: Reader) -> enum.Enum:
    kind = class_named(node[0])
    if not issubclass(kind, enum.Enum):
        raise ValueError(f"{node[0]!r} is not an Enum")
    return kind.__members__[node[1]]


def _write_namedtuple(value: Any, writer: Writer, path: Path) -> dict[str, Any]:
    if not hasattr(type(value), "_fields"):
        raise SaveError(f"save(): {where(path)} is of {type(value).__qualname__}, a tuple class that is no namedtuple")
    items = [writer.value(item, (*path, name)) for name, item in zip(value._fields, value)]
    return {"class": name_of_class(type(value), path), "items": items}


def _read_namedtuple(node: Any, reader: Reader) -> Any:
    kind = class_named(node["class"])
    items = [reader.value(item) for item in node["items"]]
    if not issubclass(kind, tuple) or len(getattr(kind, "_fields", ())) != len(items):
        raise ValueError(f"{node['class']!r} is not a namedtuple of {len(items)} fields")
    return tuple.__new__(kind, items)  # not kind(...): a class's own __new__ is not run


def _write_mapping(value: dict, writer: Writer, path: Path) -> dict[str, Any]:
    if type(value).__new__ is not dict.__new__ or getattr(value, "__dict__", None):
        raise SaveError(f"save(): {where(path)} is a {type(value).__qualname__}, a dict that holds more than its items")
    return {"class": name_of_class(type(value), path), "items": writer.pairs(value, path)}


def _read_mapping(node: Any, reader: Reader) -> dict:
    kind = class_named(node["class"])
    if not issubclass(kind, dict):
        raise ValueError(f"{node['class']!r} is not a dict")
    value = dict.__new__(kind)
    dict.update(value, reader.pairs(node["items"]))
    return value


register(Kind("$enum", enum.Enum, _write_enum, _read_enum), exact=False)
register(Kind("$namedtuple", tuple, _write_namedtuple, _read_namedtuple), exact=False)
register(Kind("$mapping", dict, _write_mapping, _read_mapping), exact=False)
