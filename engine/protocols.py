"""What Python asks of a tensor: numbers, iteration, NumPy, copying, pickling, printing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import backend, devices, dtypes
from .autograd.graph import Hooks


class PythonProtocols:
    """The part of `Tensor` that answers Python's protocols. It has no state of its own."""

    __slots__ = ()

    _array: Any
    _requires_grad: bool
    _grad: Any

    if TYPE_CHECKING:  # properties of Tensor

        def __getattr__(self, name: str) -> Any: ...

    def item(self) -> Any:
        """The single element as a Python number. RuntimeError for more or fewer than one element."""
        if self._array.size != 1:
            raise RuntimeError(f"a Tensor with {self._array.size} elements cannot be converted to Scalar")
        return self._array.item() if self._array.dtype not in dtypes.UNKNOWN_TO_NUMPY else float(self._array.reshape(()))

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        array = backend.to_numpy(self._array)
        return (array.astype(np.float32) if array.dtype in dtypes.UNKNOWN_TO_NUMPY else array).tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """A NumPy array that shares this tensor's memory. `force=True` detaches and copies from a GPU first.

        Raises RuntimeError if the tensor requires grad, TypeError if it is on a GPU. bfloat16 gives an ml_dtypes array.
        """
        if not force:
            if self.requires_grad:
                raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
            if not self.is_cpu:
                raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the "
                                "tensor to host memory first.")
        return backend.to_numpy(self._array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(self, **kwargs: Any) -> Any:
        if self.requires_grad:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        return self._array.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple:
        return self._array.__dlpack_device__()

    @property
    def __cuda_array_interface__(self) -> dict:
        if not self.is_cuda:
            raise AttributeError(f"Can't get __cuda_array_interface__ on non-CUDA tensor type: {self.dtype}. Use "
                                 "tensor.data.cuda() first.")
        return self._array.__cuda_array_interface__

    def __len__(self) -> int:
        if not self._array.ndim:
            raise TypeError("len() of a 0-d tensor")
        return self._array.shape[0]

    def __iter__(self) -> Iterator:
        if not self._array.ndim:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))  # type: ignore[attr-defined]

    def __bool__(self) -> bool:
        if self._array.size != 1:
            what = "no values" if not self._array.size else "more than one value"
            raise RuntimeError(f"Boolean value of Tensor with {what} is ambiguous")
        return bool(self._array.reshape(()).item())

    def __float__(self) -> float:
        return float(self._real_number())

    def __int__(self) -> int:
        return int(self._real_number())

    def _real_number(self) -> Any:
        number = self._number()
        if isinstance(number, complex):
            if number.imag:
                raise RuntimeError(f"value cannot be converted to type double without overflow: {number} is complex")
            return number.real
        return number

    def _number(self) -> Any:
        """The only element. ValueError if there are more, as Python expects of conversions."""
        if self._array.size != 1:
            raise ValueError("only one element tensors can be converted to Python scalars, got shape "
                             f"{list(self._array.shape)}")
        return self.item()

    def __complex__(self) -> complex:
        return complex(self._number())

    def __index__(self) -> int:
        if self._array.size != 1 or self._array.dtype.kind not in "iub":
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self._array.item())

    def __contains__(self, element: Any) -> bool:
        if isinstance(element, (PythonProtocols, int, float, complex, bool)):
            return bool((self == element).any())  # type: ignore[attr-defined, union-attr]
        raise RuntimeError(f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}.")

    def __hash__(self) -> int:
        return id(self)

    def __format__(self, spec: str) -> str:
        """A 0-d tensor is formatted as its number; others, and an unformatted Parameter, as their text."""
        from .tensor import Tensor

        if self._array.ndim == 0 and (spec or type(self) is Tensor):
            return self.item().__format__(spec)
        return object.__format__(self, spec)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        from .printing import tensor_repr

        return tensor_repr(self)

    def __deepcopy__(self, memo: dict) -> Any:
        if not self.is_leaf:
            raise RuntimeError("Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol "
                               "at the moment. HINT: detach() it first.")
        if id(self) in memo:
            return memo[id(self)]
        import copy

        twin = Hooks.wrap(self._array.copy(), cls=type(self))
        memo[id(self)] = twin
        twin.requires_grad_(self._requires_grad)
        twin._grad = copy.deepcopy(self._grad, memo)
        if self.__dict__:
            twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin

    def __reduce_ex__(self, protocol: Any) -> tuple:
        if not self.is_leaf:
            raise RuntimeError("Cowardly refusing to serialize non-leaf tensor which requires_grad, since autograd does "
                               "not support crossing process boundaries. If you just want to transfer the data, call "
                               "detach() on the tensor before serializing (e.g., putting it on the queue).")
        bits = backend.to_numpy(self._array)
        name = self.dtype.name
        if bits.dtype in dtypes.UNKNOWN_TO_NUMPY:
            bits = bits.view(f"u{bits.itemsize}")
        return _rebuild, (type(self), bits, name, str(self.device), self._requires_grad, self.__dict__ or None)


def _rebuild(cls: type, bits: Any, name: str, where: str, requires_grad: bool, extra: dict | None) -> Any:
    """Make a pickled tensor again."""
    d = getattr(dtypes, "bool_" if name == "bool" else name)
    t = Hooks.wrap(devices.place(bits.view(d.np), devices.device(where)), cls=cls)
    t.requires_grad_(requires_grad)
    if extra:
        t.__dict__.update(extra)
    return t
