"""Storages: a tensor's memory as a 1-D object, by bytes (`UntypedStorage`) or by elements (`FloatStorage` and its kin)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import backend, dtypes
from ..devices import device, device_of
from ..tensor import Tensor, wrap
from .base import FUNCTIONS, composite

__all__ = ["BFloat16Storage", "BoolStorage", "ByteStorage", "CharStorage", "ComplexDoubleStorage", "ComplexFloatStorage",
           "DoubleStorage", "FloatStorage", "HalfStorage", "IntStorage", "LongStorage", "ShortStorage", "Storage",
           "StorageBase", "TypedStorage", "UntypedStorage", "is_storage", "tensor_on"]


class StorageBase:
    """What all storages have in common: a 1-D array, shared with the tensors that were made from it or gave it."""

    def __init__(self, data: Any = 0, *, dtype: dtypes.dtype = dtypes.uint8, _array: Any = None) -> None:
        if _array is None:
            d = dtype.np
            _array = np.zeros(data, d) if isinstance(data, int) else np.array(list(data), d)
        self._array, self.dtype = _array, dtype

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Iterator:
        return iter(self.tolist())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(_array=self._array[index], dtype=self.dtype)
        return self._array[index].item()

    def __setitem__(self, index: Any, value: Any) -> None:
        self._array[index] = value

    def __repr__(self) -> str:
        lines = "".join(f" {value}\n" for value in self.tolist())
        name = type(self).__name__ if type(self) is UntypedStorage else "TypedStorage"
        kind = "" if type(self) is UntypedStorage else f"dtype={self.dtype}, "
        return f"{lines}[torch.storage.{name}({kind}device={self.device}) of size {len(self)}]"

    @property
    def device(self) -> device:
        """Where the memory is."""
        return device_of(self._array)

    def size(self) -> int:
        """The number of elements."""
        return len(self)

    def nbytes(self) -> int:
        """The number of bytes."""
        return int(self._array.nbytes)

    def element_size(self) -> int:
        """The number of bytes of an element."""
        return int(self._array.itemsize)

    def data_ptr(self) -> int:
        """The address of the first byte: equal for tensors that share their memory."""
        return int(wrap(self._array).data_ptr())  # type: ignore[attr-defined]

    def tolist(self) -> list:
        """The elements as Python numbers."""
        return self._array.tolist()

    def clone(self) -> Any:
        """A copy."""
        return type(self)(_array=self._array.copy(), dtype=self.dtype)

    def fill_(self, value: Any) -> Any:
        """Set every element to one value."""
        self._array[...] = value
        return self

    def copy_(self, source: Any, non_blocking: bool | None = None) -> Any:
        """Take over the elements of another storage of this size."""
        self._array[...] = source._array
        return self

    def untyped(self) -> UntypedStorage:
        """The same memory by bytes."""
        return UntypedStorage(_array=self._array.view(np.uint8))

    def cpu(self) -> Any:
        """The storage itself: it is on the CPU."""
        return self


class UntypedStorage(StorageBase):
    """Memory by bytes: of a number of bytes, or of a sequence of them.

    >>> x = torch.zeros(2)
    >>> x.untyped_storage().nbytes(), x[1:].untyped_storage().data_ptr() == x.data_ptr()
    (8, True)
    """


class TypedStorage(StorageBase):
    """Memory by elements of one dtype.

    >>> torch.FloatStorage([1, 2]).tolist()
    [1.0, 2.0]
    """

    kind = dtypes.float32

    def __init__(self, data: Any = 0, *, dtype: dtypes.dtype | None = None, wrap_storage: UntypedStorage | None = None,
                 _array: Any = None) -> None:
        d = self.kind if dtype is None else dtype
        if wrap_storage is not None:
            _array = wrap_storage._array.view(d.np)
        super().__init__(data, dtype=d, _array=_array)


def _of(name: str, d: dtypes.dtype) -> type[TypedStorage]:
    return type(name, (TypedStorage,), {"kind": d, "__doc__": f"Memory by elements of {d}."})


Storage = FloatStorage = _of("FloatStorage", dtypes.float32)
DoubleStorage, HalfStorage = _of("DoubleStorage", dtypes.float64), _of("HalfStorage", dtypes.float16)
BFloat16Storage, BoolStorage = _of("BFloat16Storage", dtypes.bfloat16), _of("BoolStorage", dtypes.bool_)
ByteStorage, CharStorage = _of("ByteStorage", dtypes.uint8), _of("CharStorage", dtypes.int8)
ShortStorage, IntStorage = _of("ShortStorage", dtypes.int16), _of("IntStorage", dtypes.int32)
LongStorage = _of("LongStorage", dtypes.int64)
ComplexFloatStorage = _of("ComplexFloatStorage", dtypes.complex64)
ComplexDoubleStorage = _of("ComplexDoubleStorage", dtypes.complex128)
_TYPES = {kind.kind: kind for kind in (FloatStorage, DoubleStorage, HalfStorage, BFloat16Storage, BoolStorage, ByteStorage,
                                       CharStorage, ShortStorage, IntStorage, LongStorage, ComplexFloatStorage,
                                       ComplexDoubleStorage)}


def is_storage(obj: Any, /) -> bool:
    """Whether `obj` is a storage."""
    return isinstance(obj, StorageBase)


def _memory(tensor: Tensor) -> Any:
    """The whole memory in which a CPU tensor lies, as a 1-D array of the tensor's dtype."""
    return backend.memory_of(tensor._array)[0]


@composite("untyped_storage", function=False)
def untyped_storage(input: Tensor) -> UntypedStorage:
    """The memory of the tensor (the whole of it, also of a view) by bytes; CPU only.

    >>> torch.zeros(2).untyped_storage().nbytes()
    8
    """
    return UntypedStorage(_array=_memory(input).view(np.uint8))


@composite("storage", function=False)
def storage(input: Tensor) -> TypedStorage:
    """The memory of the tensor (the whole of it, also of a view) by elements; CPU only.

    >>> torch.zeros(3)[1:].storage().size()
    3
    """
    return _TYPES[input.dtype](_array=_memory(input))


@composite("storage_type", function=False)
def storage_type(input: Tensor) -> type[TypedStorage]:
    """The class of the tensor's `storage`.

    >>> torch.zeros(3).storage_type().__name__
    'FloatStorage'
    """
    return _TYPES[input.dtype]


def tensor_on(storage: StorageBase, d: dtypes.dtype, offset: int, size: Any, stride: Any) -> Tensor:
    """A tensor of a dtype, size and strides over a storage, from element `offset` on."""
    flat = wrap(storage._array.view(d.np)[offset:])
    return flat if size is None else FUNCTIONS["as_strided"](flat, size, stride or _row_major(size))


def _row_major(size: Any) -> list[int]:
    steps = [1]
    for n in reversed(list(size)[1:]):
        steps.insert(0, steps[0] * n)
    return steps[-len(size) :] if size else []
