"""Facts about tensors and types without arithmetic: common dtypes and shapes, same sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
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
