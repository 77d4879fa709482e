"""What a file of torch's may hold: one entry per name that its pickle may use. Everything else is refused by name.

Each entry makes a value out of checked arguments. None imports anything, and none calls a constructor of the program.
"""

from __future__ import annotations

import argparse
import pathlib
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from engine import backend, dtypes, layouts
from engine.devices import device as Device
from engine.nn import Parameter
from engine.serialization.torch_archive_pickle import Maker, Pending, checked_key, described
from engine.size import Size
from engine.sparse import sparse_coo_tensor
from engine.tensor import Tensor, wrap

Spend = Callable[[int], None]

MAKERS: dict[str, Maker] = {}
PLAIN_CODE = re.compile(r"[biufcSU][0-9]{1,6}")


def may(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function in the table under every name that a pickle may use for it."""

    def enter(make: Callable[..., Any]) -> Callable[..., Any]:
        MAKERS.update({name: Maker(name, make) for name in names})
        return make

    return enter


def _builtin(name: str) -> tuple[str, str]:
    return f"builtins.{name}", f"__builtin__.{name}"  # the second is Python 2's, and pickle protocol 2's


# ---------------------------------------------------------------------------------------------------------- storages


class StorageKind(Pending):
    """A class of storages: its element type, None for one of bytes."""

    __slots__ = ("dtype", "itemsize")

    def __init__(self, dtype: dtypes.dtype | None) -> None:
        self.dtype = dtype
        self.itemsize = 1 if dtype is None else dtype.itemsize

    def typed(self, array: np.ndarray, swap: bool) -> np.ndarray:
        """Bytes as elements of this kind, in their own memory; `swap` if they are of the other byte order."""
        if self.dtype is None:
            if swap:
                raise ValueError("its untyped storages are of the other byte order")
            return array
        if swap and self.itemsize > 1:
            part = self.dtype.to_real().itemsize if self.dtype.is_complex else self.itemsize
            array.view(f"u{part}").byteswap(inplace=True)
        return as_type(array, self.dtype)


class Storage(Pending):
    """The memory that tensors share: a 1-d array where `map_location` wants it."""

    __slots__ = ("kind", "array")

    def __init__(self, kind: StorageKind, array: Any) -> None:
        self.kind, self.array = kind, array


def as_type(array: Any, dtype: dtypes.dtype) -> Any:
    """A 1-d array of bytes as elements of a type. NumPy computes nonsense with bools other than 0 and 1."""
    if dtype is dtypes.bool_ and array.size and array.max() > 1:
        raise ValueError("a storage of bools holds other bytes than 0 and 1")
    return array.view(dtype.np)


STORAGES = {
    "Double": dtypes.float64, "Float": dtypes.float32, "Half": dtypes.float16, "BFloat16": dtypes.bfloat16,
    "Long": dtypes.int64, "Int": dtypes.int32, "Short": dtypes.int16, "Char": dtypes.int8, "Byte": dtypes.uint8,
    "Bool": dtypes.bool_, "ComplexFloat": dtypes.complex64, "ComplexDouble": dtypes.complex128,
}  # fmt: skip
UNTYPED = StorageKind(None)

# Names that stand for a value: element types and classes of storages.
VALUES: dict[str, Any] = {f"torch.{dtype.name}": dtype for dtype in (*dtypes.ALL, *dtypes.FLOAT8)}
VALUES.update({f"torch.{alias}": VALUES[f"torch.{name}"] for alias, name in {
    "float": "float32", "double": "float64", "half": "float16", "long": "int64", "int": "int32", "short": "int16",
    "cfloat": "complex64", "cdouble": "complex128"}.items()})  # fmt: skip
for _name, _dtype in STORAGES.items():
    _kind = StorageKind(_dtype)
    VALUES.update({f"torch.{_name}Storage": _kind, f"torch.cuda.{_name}Storage": _kind})
VALUES.update({f"torch{place}.UntypedStorage": UNTYPED for place in ("", ".storage", ".cuda")})


def resolve(name: str) -> Any:
    """The value of a name that is no maker. ValueError for all that have no place in a file."""
    if name in VALUES:
        return VALUES[name]
    raise ValueError(
        f"it needs {name}, which is neither plain data nor a tensor; it was not imported and nothing was executed. "
        "HINT: whole modules and objects of other classes are not rebuilt; where torch is, and the file can be trusted, "
        "torch.save(model.state_dict(), path)"
    )


# ----------------------------------------------------------------------------------------------------------- tensors


def _natural(values: Any, what: str) -> tuple[int, ...]:
    if not isinstance(values, tuple) or any(type(n) is not int or n < 0 for n in values):
        raise ValueError(f"a tensor's {what} is {described(values)}")
    return values


def _view(memory: Any, offset: Any, size: Any, stride: Any, metadata: Any) -> Tensor:
    """The elements of a storage that a tensor has, after checking that they are all inside."""
    shape, strides = _natural(size, "size"), _natural(stride, "stride")
    (offset,) = _natural((offset,), "offset")
    if len(shape) != len(strides):
        raise ValueError(f"a tensor of size {shape} has the strides {strides}")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides))
    if 0 in shape:
        array = backend.namespace(memory).empty(shape, memory.dtype)
    elif last >= memory.size:
        raise ValueError(f"a tensor of size {shape} reaches out of its storage of {memory.size} elements")
    else:
        array = backend.strided(memory[offset:], shape, tuple(step * memory.itemsize for step in strides))
    return _resolved(wrap(array), memory, metadata)


def _resolved(tensor: Tensor, memory: Any, metadata: Any) -> Tensor:
    """torch notes conjugation and negation instead of computing them; here they are computed."""
    if metadata is None or metadata == {}:
        return tensor
    if not isinstance(metadata, dict) or not set(metadata) <= {"conj", "neg"}:
        raise ValueError(f"a tensor has the unknown marks {described(metadata)}")
    array = tensor._array
    if array.size > memory.size:
        raise ValueError("an expanded tensor is marked as conjugated or negated")
    if metadata.get("conj"):
        array = array.conj()
    return wrap(-array if metadata.get("neg") else array)


def _require_grad(tensor: Tensor, wanted: Any) -> Tensor:
    return tensor.requires_grad_() if wanted is True else tensor


@may("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor")
def _tensor(
    spend: Spend, storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any = False, hooks: Any = None,
    metadata: Any = None,
) -> Tensor:  # fmt: skip
    if not isinstance(storage, Storage) or storage.kind is UNTYPED:
        raise TypeError("a tensor is made of something that is no storage")
    return _require_grad(_view(storage.array, offset, size, stride, metadata), requires_grad)


@may("torch._utils._rebuild_tensor_v3")
def _tensor_of_bytes(
    spend: Spend, storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, dtype: Any,
    metadata: Any = None,
) -> Tensor:  # fmt: skip
    if not isinstance(storage, Storage) or storage.kind is not UNTYPED or not isinstance(dtype, dtypes.dtype):
        raise TypeError("a tensor is made of something that is no storage of bytes")
    return _require_grad(_view(as_type(storage.array, dtype), offset, size, stride, metadata), requires_grad)


@may("torch.serialization._get_layout")
def _layout(spend: Spend, name: Any) -> Any:
    if name not in ("torch.strided", "torch.sparse_coo"):
        raise TypeError(f"the layout {described(name)} is not supported")
    return layouts.sparse_coo if name == "torch.sparse_coo" else layouts.strided


@may("torch._utils._rebuild_sparse_tensor")
def _sparse_tensor(spend: Spend, layout: Any, data: Any) -> Tensor:
    if layout is not layouts.sparse_coo or not isinstance(data, tuple) or len(data) not in (3, 4):
        raise TypeError("a sparse tensor is made in an unknown way")
    indices, values, size = data[:3]
    if not isinstance(indices, Tensor) or not isinstance(values, Tensor) or not isinstance(size, Size):
        raise TypeError("a sparse tensor is made of something that is no tensor")
    made = sparse_coo_tensor(indices, values, size)
    return made.coalesce() if len(data) == 4 and data[3] is True else made


@may("torch._utils._rebuild_parameter")
def _parameter(spend: Spend, data: Any, requires_grad: Any, hooks: Any) -> Parameter:
    if not isinstance(data, Tensor):
        raise TypeError(f"a parameter is made of {type(data).__name__}")
    return Parameter(data, requires_grad is True)


@may("torch._utils._rebuild_parameter_with_state")
def _parameter_with_state(spend: Spend, data: Any, requires_grad: Any, hooks: Any, state: Any) -> Parameter:
    parameter = _parameter(spend, data, requires_grad, hooks)
    _add_attributes(parameter, state)
    return parameter


@may("torch._tensor._rebuild_from_type_v2")
def _tensor_with_state(spend: Spend, make: Any, kind: Any, arguments: Any, state: Any) -> Tensor:
    parts = (make, kind)
    if not all(isinstance(part, Maker) for part in parts) or kind.make is not _class_of_tensors:
        raise TypeError("a tensor is of a class that is not rebuilt")
    if not make.name.startswith("torch._utils._rebuild_") or not isinstance(arguments, tuple):
        raise TypeError("a tensor is made in an unknown way")
    tensor = make.make(spend, *arguments)
    _add_attributes(tensor, state)
    return tensor


@may("torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer")
def _class_of_tensors(spend: Spend, *arguments: Any) -> Tensor:
    raise TypeError("a class of tensors is called, which torch.save never writes")


def _add_attributes(tensor: Tensor, state: Any) -> None:
    if not isinstance(state, dict) or not all(type(key) is str for key in state):
        raise TypeError(f"a tensor has as its state {described(state)}")
    vars(tensor).update({key: value for key, value in state.items() if key not in ("_is_buffer", "_is_param")})


@may("torch.Size")
def _size(spend: Spend, sizes: Any) -> Size:
    spend(len(sizes))
    return Size(_natural(tuple(sizes), "size"))


@may("torch.device")
def _device(spend: Spend, kind: Any, index: Any = None) -> Device:
    if not isinstance(kind, str) or not (index is None or type(index) is int):
        raise TypeError(f"a device is {described(kind)}")
    return Device(kind, index)


# ------------------------------------------------------------------------------------------------ plain Python values


def _listed(spend: Spend, items: Any) -> list[Any]:
    if not isinstance(items, (list, tuple)):
        raise TypeError(f"a container is made of {type(items).__name__}")
    spend(len(items))
    return list(items)


def _pairs(spend: Spend, items: Any) -> dict[Any, Any]:
    if type(items) is dict:
        spend(len(items))
        return items
    return {checked_key(key): value for key, value in _listed(spend, items)}


@may("collections.OrderedDict")
def _ordered(spend: Spend, items: Any = ()) -> OrderedDict:
    return OrderedDict(_pairs(spend, items))


@may("collections.Counter")
def _counter(spend: Spend, items: Any = ()) -> Counter:
    return Counter(_pairs(spend, items))


FACTORIES = {name: kind for kind in (dict, float, int, list, set, str, tuple) for name in _builtin(kind.__name__)}


@may("collections.defaultdict")
def _defaultdict(spend: Spend, factory: Any = None) -> defaultdict:
    if factory is None:
        return defaultdict()
    if not isinstance(factory, Maker) or factory.name not in FACTORIES:
        raise TypeError("a defaultdict has a factory that is not dict, float, int, list, set, str or tuple")
    return defaultdict(FACTORIES[factory.name])


@may("collections.deque")
def _deque(spend: Spend, items: Any = (), maxlen: Any = None) -> deque:
    return deque(_listed(spend, items), maxlen)


@may(*_builtin("set"))
def _set(spend: Spend, items: Any = ()) -> set:
    return set(map(checked_key, _listed(spend, items)))


@may(*_builtin("frozenset"))
def _frozenset(spend: Spend, items: Any = ()) -> frozenset:
    return frozenset(map(checked_key, _listed(spend, items)))


@may(*_builtin("complex"))
def _complex(spend: Spend, real: Any, imaginary: Any) -> complex:
    if not {type(real), type(imaginary)} <= {int, float}:
        raise TypeError("a complex number is made of other things than numbers")
    return complex(real, imaginary)


@may(*_builtin("range"), *_builtin("xrange"))
def _range(spend: Spend, *limits: Any) -> range:
    return range(*limits)


@may(*_builtin("slice"))
def _slice(spend: Spend, *limits: Any) -> slice:
    if not {*map(type, limits)} <= {int, type(None)}:
        raise TypeError("a slice is made of other things than numbers")
    return slice(*limits)


@may("_codecs.encode")
def _bytes(spend: Spend, text: Any, encoding: Any) -> bytes:
    # The way in which pickle protocol 2 writes bytes.
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise TypeError("bytes are written in an unknown way")
    spend(len(text))
    return text.encode("latin1")


@may(*_builtin("bytes"))
def _empty_bytes(spend: Spend) -> bytes:
    return b""


@may(*_builtin("bytearray"))
def _bytearray(spend: Spend, data: Any = b"", encoding: Any = None) -> bytearray:
    if encoding is not None:
        data = _bytes(spend, data, encoding)
    if not isinstance(data, bytes):  # bytearray(10**12) would take that much memory
        raise TypeError("a bytearray is made of something else than bytes")
    spend(len(data))
    return bytearray(data)


@may(*(name for kind in ("dict", "float", "int", "list", "str", "tuple") for name in _builtin(kind)))
def _only_a_factory(spend: Spend, *arguments: Any) -> Any:
    raise TypeError("a builtin class is called, which torch.save never writes")


@may("argparse.Namespace")
def _namespace(spend: Spend) -> argparse.Namespace:
    return argparse.Namespace()


PATHS = ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")


@may(*(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in PATHS))
def _path(spend: Spend, *parts: Any) -> pathlib.Path:
    if not all(isinstance(part, str) for part in parts):
        raise TypeError("a path is made of something else than texts")
    spend(sum(map(len, parts)))
    return pathlib.Path(*parts)


@may("torch.torch_version.TorchVersion")
def _version(spend: Spend, text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError("a version is no text")
    return text


ATTRIBUTE_DICTS = ("fabric.utilities.data.AttributeDict", "pytorch.utilities.parsing.AttributeDict",
                   "pytorch.core.mixins.hparams_mixin.AttributeDict")  # fmt: skip


@may(
    *(f"lightning.{name}" for name in ATTRIBUTE_DICTS),
    "lightning_fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
)
def _attribute_dict(spend: Spend, items: Any = ()) -> dict:
    return dict(_pairs(spend, items))


# ------------------------------------------------------------------------------------------------------------- NumPy


class PendingType(Pending):
    """A NumPy element type: its code, and its byte order once that is known."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code = code
        self.order: Any = "="

    def numpy(self) -> np.dtype:
        return np.dtype(self.code).newbyteorder(self.order)


@may("numpy.dtype")
def _numpy_type(spend: Spend, code: Any, align: Any = False, copy: Any = True) -> PendingType:
    if not isinstance(code, str) or not PLAIN_CODE.fullmatch(code):
        raise TypeError(f"a NumPy array has the element type {described(code)}, which is not plain")
    return PendingType(code)


@may("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
def _numpy_scalar(spend: Spend, kind: Any, data: Any) -> Any:
    if not isinstance(kind, PendingType) or not isinstance(data, bytes) or len(data) != kind.numpy().itemsize:
        raise TypeError("a NumPy number is not well formed")
    return np.frombuffer(data, kind.numpy())[0]


@may("numpy.ndarray")
def _array_class(spend: Spend, *arguments: Any) -> Any:
    raise TypeError("numpy.ndarray is called, which torch.save never writes")


@may("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
def _empty_array(spend: Spend, kind: Any, shape: Any, code: Any) -> np.ndarray:
    if not isinstance(kind, Maker) or kind.make is not _array_class:
        raise TypeError("a NumPy array is of a class that is not rebuilt")
    return np.empty(0, np.uint8)  # filled by `build`


@may("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer")
def _array_from_bytes(spend: Spend, data: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    array = np.empty(0, np.uint8)  # as pickle protocol 5 writes arrays
    _fill_array(array, (1, shape, kind, order == "F", bytes(data) if type(data) is bytearray else data), spend)
    return array


def _fill_array(array: np.ndarray, state: Any, spend: Spend) -> None:
    version, shape, kind, fortran, data = state
    if not isinstance(kind, PendingType) or not isinstance(data, bytes) or type(fortran) is not bool:
        raise TypeError("a NumPy array is not well formed")
    dtype = kind.numpy()
    if prod(_natural(shape, "size")) * dtype.itemsize != len(data):
        raise ValueError(f"a NumPy array of size {shape} and type {dtype} does not take {len(data)} bytes")
    spend(len(data))
    # The array was handed out before its contents came, so it changes in place. NumPy keeps the bytes: they are a copy.
    own: Any = (1, shape, dtype, fortran, bytes(memoryview(data)))
    array.__setstate__(own)


# ------------------------------------------------------------------------------------------------------------- state


def build(target: Any, state: Any, spend: Spend) -> None:
    """Put the state that a pickle gives for an object into it. TypeError where it has no place."""
    if type(target) is np.ndarray and isinstance(state, tuple) and len(state) == 5:
        _fill_array(target, state, spend)
    elif isinstance(target, PendingType) and isinstance(state, tuple) and state[1:2] in (("<",), (">",), ("|",), ("=",)):
        target.order = state[1]
    elif type(target) is OrderedDict and isinstance(state, dict) and set(state) <= {"_metadata"}:
        vars(target).update(state)  # torch hangs the versions of modules on a state dict
    elif type(target) is argparse.Namespace and isinstance(state, dict) and all(type(key) is str for key in state):
        vars(target).update(state)
    elif state:
        raise TypeError(f"its pickle gives a state to {type(target).__name__}, which is refused")
