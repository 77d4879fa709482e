"""Activation functions: relu, gelu, silu, elu and the rest of torch.nn.functional's list, one node each."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor
from .base import F32, F64, Op, composite, install, op
from .pointwise import unary
from .samples import samples_for

_ZERO32, _ZERO64 = np.zeros((), F32), np.zeros((), F64)


def _relu(x: Any) -> Any:
    d = x.dtype
    return np.maximum(x, _ZERO32 if d is F32 else _ZERO64 if d is F64 else 0)


RELU = unary("relu", ufunc=_relu, keep="y", to_float=False, grad=lambda xp, g, x, y: xp.where(y <= 0, 0, g), doc="""
max(x, 0) of each element. Any shape, real dtypes.

>>> torch.relu(torch.tensor([-1., 2.]))
tensor([0., 2.])
""")


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0) of each element; `inplace` changes and returns `input`.

    >>> torch.nn.functional.relu(torch.tensor([-1., 2.]))
    tensor([0., 2.])
    """
    return input.relu_() if inplace else RELU.call(input)  # type: ignore[attr-defined]


install(relu, "relu", function=False, method=False, functional=True)
