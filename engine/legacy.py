"""The typed constructors of old programs: `FloatTensor`, `LongTensor` and so on. New code writes `torch.tensor`."""

from __future__ import annotations

from typing import Any

from . import dtypes, ops
from .errors import did_you_mean
from .tensor import Tensor

__all__ = ["BFloat16Tensor", "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor",
           "IntTensor", "LongTensor", "ShortTensor", "set_default_tensor_type"]


class TensorType:
    """Makes tensors of one dtype, and answers `isinstance`.

    Called with sizes it makes a tensor of zeros (torch leaves whatever is in memory); called with a sequence or an
    array, a tensor of its elements.

    >>> torch.LongTensor([1, 2])
    tensor([1, 2])
    >>> torch.FloatTensor(2, 3).shape
    torch.Size([2, 3])
    >>> isinstance(torch.ones(1), torch.FloatTensor)
    True
    """

    def __init__(self, name: str, dtype: dtypes.dtype) -> None:
        self.__name__ = self.__qualname__ = name
        self.dtype = dtype

    def __call__(self, *args: Any) -> Tensor:
        if len(args) == 1 and not isinstance(args[0], int):
            if isinstance(args[0], Tensor) and args[0].dtype != self.dtype:
                raise TypeError(f"expected {self.dtype} (got {args[0].dtype})")
            if not hasattr(args[0], "shape") or hasattr(args[0], "dtype"):
                return ops.FUNCTIONS["as_tensor"](args[0], dtype=self.dtype).clone()
        return ops.FUNCTIONS["zeros"](*(args or (0,)), dtype=self.dtype)

    def __instancecheck__(self, value: object) -> bool:
        return isinstance(value, Tensor) and value.dtype == self.dtype

    def __or__(self, other: Any) -> Any:  # in annotations: FloatTensor | None
        return Tensor | other

    def __ror__(self, other: Any) -> Any:
        return other | Tensor

    def __repr__(self) -> str:
        return f"<class 'torch.{self.__name__}'>"


FloatTensor = TensorType("FloatTensor", dtypes.float32)
DoubleTensor = TensorType("DoubleTensor", dtypes.float64)
HalfTensor = TensorType("HalfTensor", dtypes.float16)
BFloat16Tensor = TensorType("BFloat16Tensor", dtypes.bfloat16)
ByteTensor = TensorType("ByteTensor", dtypes.uint8)
CharTensor = TensorType("CharTensor", dtypes.int8)
ShortTensor = TensorType("ShortTensor", dtypes.int16)
IntTensor = TensorType("IntTensor", dtypes.int32)
LongTensor = TensorType("LongTensor", dtypes.int64)
BoolTensor = TensorType("BoolTensor", dtypes.bool_)

_BY_NAME = {f"torch.{kind.__name__}": kind for kind in (FloatTensor, DoubleTensor, HalfTensor, BFloat16Tensor)}


def set_default_tensor_type(t: Any, /) -> None:
    """Set the default dtype to that of a floating tensor type, given itself or by name (`"torch.DoubleTensor"`).

    Raises: TypeError for anything else. `torch.cuda` types are not taken: use `torch.set_default_device("cuda")`.
    """
    kind = _BY_NAME.get(t, t) if isinstance(t, str) else t
    if not isinstance(kind, TensorType) or not kind.dtype.is_floating_point:
        hint = did_you_mean(t, _BY_NAME) if isinstance(t, str) else ""
        raise TypeError(f"set_default_tensor_type(): expected one of {sorted(_BY_NAME)}, got {t!r}.{hint}")
    dtypes.set_default_dtype(kind.dtype)
