"""Facts about tensors and types without arithmetic: common dtypes and shapes, same sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..copying import axes_in_memory
from ..size import Size
from ..tensor import Tensor
from .base import composite, expect_tensor


def _operand(value: Any) -> Any:
    return value._array if isinstance(value, Tensor) else value


@composite("result_type", method=False)
def result_type(tensor1: Any, tensor2: Any) -> dtypes.dtype:
    """The dtype of an arithmetic operation on two tensors or numbers.

    >>> torch.result_type(torch.tensor([1, 2]), 1.0)
    torch.float32
    """
    return dtypes.result_dtype([_operand(tensor1), _operand(tensor2)])


@composite("broadcast_shapes", method=False)
def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that tensors of these shapes (tuples or numbers) have after broadcasting. RuntimeError if they do not fit.

    >>> torch.broadcast_shapes((2, 1), (3,))
    torch.Size([2, 3])
    """
    wanted = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    try:
        return Size(np.broadcast_shapes(*wanted))
    except ValueError:
        listed = ", ".join(str(list(s)) for s in wanted)
        raise RuntimeError("Shape mismatch: objects cannot be broadcast to a single shape: broadcast_shapes() got "
                           f"{listed}") from None


@composite("is_same_size")
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether both tensors have the same shape.

    >>> torch.is_same_size(torch.zeros(2, 1), torch.zeros(1, 2))
    False
    """
    return expect_tensor(input, "is_same_size").shape == expect_tensor(other, "is_same_size", "other", 2).shape


@composite("is_inference")
def is_inference(input: Tensor) -> bool:
    """False: tensors made under `inference_mode` are ordinary tensors here.

    >>> torch.is_inference(torch.zeros(1))
    False
    """
    expect_tensor(input, "is_inference")
    return False


@composite("is_conj")
def is_conj(input: Tensor) -> bool:
    """False: `conj` computes here at once, there is no conjugate bit.

    >>> torch.is_conj(torch.ones(1).conj())
    False
    """
    expect_tensor(input, "is_conj")
    return False


@composite("is_neg")
def is_neg(input: Tensor) -> bool:
    """False: there is no negative bit.

    >>> torch.is_neg(torch.ones(1))
    False
    """
    expect_tensor(input, "is_neg")
    return False


@composite("typename", method=False)
def typename(obj: Any, /) -> str:
    """A tensor's old type name; for anything else the name of its class with its module (builtins without).

    >>> torch.typename(torch.zeros(1)), torch.typename(3)
    ('torch.FloatTensor', 'int')
    """
    if isinstance(obj, Tensor):
        return str(obj.type())  # type: ignore[attr-defined]
    kind = obj if isinstance(obj, type) or callable(obj) and hasattr(obj, "__qualname__") else type(obj)
    home = getattr(kind, "__module__", "") or ""
    return kind.__qualname__ if home in ("", "builtins") else f"{home}.{kind.__qualname__}"


@composite("dim_order", function=False)
def dim_order(input: Tensor, *, ambiguity_check: bool | list = False) -> tuple:
    """The dimensions from the outermost in memory to the innermost; equal strides keep their order.

    `ambiguity_check` has to be False.

    >>> torch.zeros(2, 3).t().dim_order()
    (1, 0)
    """
    if ambiguity_check is not False:
        raise NotImplementedError("dim_order(ambiguity_check=...) is not supported. HINT: compare the elements of stride().")
    return axes_in_memory(input._array)



@composite("new", function=False)
def new(input: Tensor, *args: Any, device: Any = None) -> Tensor:
    """The old constructor: sizes give zeros (torch leaves what is in memory), a sequence its elements, in this dtype.

    >>> torch.ones(1, dtype=torch.int64).new([1, 2])
    tensor([1, 2])
    """
    if len(args) == 1 and not isinstance(args[0], (int, Size)):
        return input.new_tensor(args[0], device=device)  # type: ignore[attr-defined]
    sizes = args[0] if args and isinstance(args[0], Size) else args or (0,)
    return input.new_zeros(sizes, device=device)  # type: ignore[attr-defined]
