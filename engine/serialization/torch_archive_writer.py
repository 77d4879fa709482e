"""Writing torch's own archives, so that `torch.load(path, weights_only=True)` reads them.

The pickle inside is put together opcode by opcode (protocol 2, as torch's own), which keeps our classes out of it.
Names, layout and the alignment of storages are those that torch_archive.py describes.
"""

from __future__ import annotations

import os
import struct
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

import numpy as np

from engine import backend, dtypes
from engine.devices import device as Device
from engine.devices import device_of
from engine.nn import Buffer, Parameter
from engine.serialization.container import writable
from engine.serialization.errors import SaveError
from engine.serialization.layout import Held, address, clusters, memory_of
from engine.serialization.tree import Path, where
from engine.tensor import Size, Tensor

STORAGE_NAMES = {
    dtypes.float64: "Double", dtypes.float32: "Float", dtypes.float16: "Half", dtypes.bfloat16: "BFloat16",
    dtypes.int64: "Long", dtypes.int32: "Int", dtypes.int16: "Short", dtypes.int8: "Char", dtypes.uint8: "Byte",
    dtypes.bool_: "Bool", dtypes.complex64: "ComplexFloat", dtypes.complex128: "ComplexDouble",
}  # fmt: skip
ALIGNMENT = 64  # of each storage in the file, so that torch can map it
ZIP64_FROM = 1 << 31
MARK, TUPLE, REDUCE, BUILD, PERSISTENT, STOP = b"(", b"t", b"R", b"b", b"Q", b"."


def save_torch(obj: Any, f: str | os.PathLike | BinaryIO) -> None:
    """Write a file of torch's: a zip archive that ``torch.load(f, weights_only=True)`` and `engine.load` read.

    What can be written: tensors and parameters (what shares memory still does after loading), dicts, ordered dicts,
    counters, lists, tuples, sets, numbers, texts, bytes, sizes, dtypes and devices. A path is replaced atomically and
    durably, as by `save`.

    Args:
        obj: the object: a state dict, or containers of such values.
        f: a path, or a binary file object open for writing.

    Raises:
        SaveError: (a TypeError) something cannot be written; the message says what and where.
        RuntimeError: the directory does not exist.
        OSError: the disk is full, the path is a directory, and the like.

    >>> from engine.serialization import save_torch
    >>> save_torch(nn.Linear(2, 1).state_dict(), "linear.pt")
    >>> list(torch.load("linear.pt"))
    ['weight', 'bias']
    """
    if not isinstance(f, (str, os.PathLike)) and not hasattr(f, "write"):
        raise TypeError(f"save_torch(): expected a path or a file object open for writing, got {type(f).__name__}")
    writer = _Pickler()
    try:
        writer.value(obj, ())
    except RecursionError as error:
        raise SaveError("save_torch(): the object is nested too deeply") from error
    pickle, storages = writer.finish()
    with writable(f) as file:
        _write_archive(file, pickle, storages)


def _write_archive(file: BinaryIO, pickle: bytes, storages: list[Any]) -> None:
    import zipfile

    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        start = archive.start_dir  # where a file object stood

        def put(name: str, data: Any) -> None:
            info = zipfile.ZipInfo(f"archive/{name}")  # of 1980: the same object gives the same bytes
            info.file_size = len(data)
            large = len(data) >= ZIP64_FROM
            # Padding as a field of its own ("FB" in torch's files too), behind the 30 bytes and the name.
            ahead = archive.start_dir - start + 30 + len(info.filename) + 4 + 20 * large
            padding = -ahead % ALIGNMENT
            info.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
            with archive.open(info, "w", force_zip64=large) as entry:
                entry.write(data)

        put("data.pkl", pickle)
        put("byteorder", sys.byteorder.encode())
        for key, array in enumerate(storages):
            put(f"data/{key}", np.ascontiguousarray(backend.to_numpy(array)).reshape(-1).view(np.uint8).data)
        put("version", b"3\n")


class _Pickler:
    """Puts a pickle together. Tensors get their storages at the end, when it is known which share memory."""

    def __init__(self) -> None:
        self.out: list[bytes | int] = []  # an int stands for the storage and offset of that array
        self.held: list[Held] = []
        self.memo: dict[int, tuple[int, Any]] = {}  # id -> number, and the object, which must outlive its id
        self.open: set[int] = set()

    # ------------------------------------------------------------------------------------------------- values

    def value(self, value: Any, path: Path) -> None:
        """Write one object, met at `path`."""
        kind = type(value)
        if kind in SIMPLE:
            self.out.append(SIMPLE[kind](value))
            return
        if id(value) in self.memo:
            self.out.append(b"j" + struct.pack("<I", self.memo[id(value)][0]))
            return
        if id(value) in self.open:
            raise SaveError(f"save_torch(): {where(path)} contains itself")
        write = COMPOUND.get(kind)
        if write is None:
            raise _refusal(value, path)
        self.open.add(id(value))
        write(self, value, path)
        self.open.discard(id(value))
        number = len(self.memo)
        self.memo[id(value)] = number, value
        self.out.append(b"r" + struct.pack("<I", number))

    def call(self, name: str, *arguments: Callable[[], None]) -> None:
        """`name(*arguments)`, each argument written by a function."""
        self.out += [_global(name), MARK]
        for write in arguments:
            write()
        self.out += [TUPLE, REDUCE]

    def put(self, value: Any) -> Callable[[], None]:
        return lambda: self.value(value, ())

    def raw(self, *parts: bytes | int) -> Callable[[], None]:
        return lambda: self.out.extend(parts)

    def _items(self, items: Iterable[Any], path: Path) -> None:
        for i, item in enumerate(items):
            self.value(item, (*path, str(i)))

    def _list(self, value: Iterable[Any], path: Path) -> None:
        self.out += [b"]", MARK]
        self._items(value, path)
        self.out.append(b"e")

    def _tuple(self, value: tuple, path: Path) -> None:
        self.out.append(MARK)
        self._items(value, path)
        self.out.append(TUPLE)

    def _pairs(self, value: dict, path: Path) -> None:
        self.out.append(MARK)
        for key, item in value.items():
            self.value(key, path)
            self.value(item, (*path, str(key)))
        self.out.append(b"u")

    def _dict(self, value: dict, path: Path) -> None:
        self.out.append(b"}")
        self._pairs(value, path)

    def _ordered(self, value: OrderedDict, path: Path) -> None:
        self.call("collections OrderedDict")
        self._pairs(value, path)
        if vars(value):  # torch hangs `_metadata` (versions of modules) on the OrderedDict of a state dict
            self.value(dict(vars(value)), (*path, "attributes"))
            self.out.append(BUILD)

    def _counter(self, value: Counter, path: Path) -> None:
        self.call("collections Counter", lambda: self._dict(value, path))

    def _set(self, value: set, path: Path) -> None:
        # Sorted, so that a file does not depend on the hash seed.
        self.call("__builtin__ set", lambda: self._list(sorted(value, key=repr), path))

    def _bytes(self, value: bytes, path: Path) -> None:
        self.call("_codecs encode", self.put(value.decode("latin1")), self.put("latin1"))

    def _bytearray(self, value: bytearray, path: Path) -> None:
        self.call("__builtin__ bytearray", self.put(bytes(value)))

    def _complex(self, value: complex, path: Path) -> None:
        self.call("__builtin__ complex", self.put(value.real), self.put(value.imag))

    def _size(self, value: Size, path: Path) -> None:
        self.call("torch Size", self.put(tuple(value)))

    def _device(self, value: Device, path: Path) -> None:
        index = () if value.index is None else (self.put(value.index),)
        self.call("torch device", self.put(value.type), *index)

    # ------------------------------------------------------------------------------------------------ tensors

    def _tensor(self, value: Tensor, path: Path) -> None:
        attributes = {} if type(value) is Buffer else dict(vars(value))
        function, arguments = self._rebuilt(value._array, value.requires_grad, path)
        if not attributes:
            self.call(function, *arguments)
            return
        self.call(
            "torch._tensor _rebuild_from_type_v2",
            self.raw(_global(function)),
            self.raw(_global("torch Tensor")),
            lambda: self._grouped(arguments),
            lambda: self.value(attributes, (*path, "attributes")),
        )

    def _parameter(self, value: Parameter, path: Path) -> None:
        function, arguments = self._rebuilt(value._array, False, path)
        shared = (lambda: self.call(function, *arguments), self.put(value.requires_grad), self._no_hooks)
        if vars(value):
            state = dict(vars(value))
            self.call("torch._utils _rebuild_parameter_with_state", *shared,
                      lambda: self.value(state, (*path, "attributes")))  # fmt: skip
        else:
            self.call("torch._utils _rebuild_parameter", *shared)

    def _grouped(self, arguments: Iterable[Callable[[], None]]) -> None:
        self.out.append(MARK)
        for write in arguments:
            write()
        self.out.append(TUPLE)

    def _no_hooks(self) -> None:
        self.call("collections OrderedDict")

    def _rebuilt(self, array: Any, requires_grad: bool, path: Path) -> tuple[str, list[Callable[[], None]]]:
        """The function of torch's that makes a tensor, and its arguments."""
        if any(step < 0 or step % array.itemsize for step in array.strides) or not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="), order="C", copy=True)  # torch knows no such strides
        held = Held(array, ".".join(path))
        self.held.append(held)
        strides = tuple(step // array.itemsize for step in array.strides)
        arguments = [
            self.raw(len(self.held) - 1),
            self.put(tuple(array.shape)),
            self.put(strides),
            self.put(bool(requires_grad)),
            self._no_hooks,
        ]
        if held.dtype in STORAGE_NAMES:
            return "torch._utils _rebuild_tensor_v2", arguments
        return "torch._utils _rebuild_tensor_v3", [*arguments, self.put(held.dtype)]

    def finish(self) -> tuple[bytes, list[Any]]:
        """The pickle, and the arrays to store by their number."""
        storages: list[Any] = []
        references: dict[int, bytes] = {}
        for group in clusters(self.held):
            members = [self.held[i] for i in group]
            first = members[0]
            if any(member.dtype is not first.dtype for member in members):
                raise SaveError(
                    "save_torch(): tensors of different element types share memory, which torch's files cannot hold: "
                    f"{', '.join(member.name or 'the object itself' for member in members)}. HINT: clone() one of them"
                )
            low, high = min(member.low for member in members), max(member.high for member in members)
            empty = first.array.size == 0
            for i, member in zip(group, members):
                offset = 0 if empty else (address(member.array) - low) // member.array.itemsize
                references[i] = _storage(first, len(storages), 0 if empty else high - low) + _int(offset)
            storages.append(first.array if empty else memory_of(members, low, high))
        parts = [part if isinstance(part, bytes) else references[part] for part in self.out]
        return b"\x80\x02" + b"".join(parts) + STOP, storages


def _storage(held: Held, key: int, size: int) -> bytes:
    """A persistent id: the storage's class, key, device and number of elements."""
    name = STORAGE_NAMES.get(held.dtype)
    kind = "torch.storage UntypedStorage" if name is None else f"torch {name}Storage"
    count = size if name is None else size // held.dtype.itemsize
    place = str(device_of(held.array))
    return MARK + _text("storage") + _global(kind) + _text(str(key)) + _text(place) + _int(count) + TUPLE + PERSISTENT


def _refusal(value: Any, path: Path) -> SaveError:
    kind = type(value)
    hint = "state_dict() of a module, tensor(...) of an array, .item() of a NumPy number, dict(...) of a mapping"
    return SaveError(
        f"save_torch(): {where(path)} is of class {kind.__module__}.{kind.__qualname__}, which torch.load("
        f"weights_only=True) does not read. HINT: {hint}; or engine.save, which writes more"
    )


# ------------------------------------------------------------------------------------------------------------ opcodes


def _global(name: str) -> bytes:
    module, name = name.split(" ")
    return f"c{module}\n{name}\n".encode()


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def _int(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    if len(data) > 255:
        raise SaveError(f"save_torch(): torch.load reads integers up to 255 bytes, got one of {len(data)}")
    return b"\x8a" + bytes([len(data)]) + data


SIMPLE: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda value: b"N",
    bool: lambda value: b"\x88" if value else b"\x89",
    int: _int,
    float: lambda value: b"G" + struct.pack(">d", value),
    str: _text,
    dtypes.dtype: lambda value: _global(f"torch {value.name}"),
}
COMPOUND: dict[type, Callable[[_Pickler, Any, Path], None]] = {
    list: _Pickler._list,
    tuple: _Pickler._tuple,
    dict: _Pickler._dict,
    OrderedDict: _Pickler._ordered,
    Counter: _Pickler._counter,
    set: _Pickler._set,
    bytes: _Pickler._bytes,
    bytearray: _Pickler._bytearray,
    complex: _Pickler._complex,
    Size: _Pickler._size,
    Device: _Pickler._device,
    Tensor: _Pickler._tensor,
    Buffer: _Pickler._tensor,
    Parameter: _Pickler._parameter,
}
