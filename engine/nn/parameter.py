"""Parameter and Buffer: tensors that a Module registers when they are assigned to it."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.dtypes import get_default_dtype
from engine.tensor import Tensor, wrap

__all__ = ["Buffer", "Parameter"]


def _alias(cls: type, data: Tensor | None) -> Any:
    """A leaf of class `cls` that shares `data`'s storage and takes no part in its history."""
    if data is None:
        return wrap(np.empty(0, get_default_dtype().np), cls=cls)
    if not isinstance(data, Tensor):
        raise TypeError(f"{cls.__name__}(): expected data to be a Tensor, got {type(data).__name__}")
    leaf = wrap(data._array, cls=cls)
    leaf._vc = data._version_counter()
    return leaf


class Parameter(Tensor):
    """A tensor that a Module trains: assigning it to a module attribute registers it.

    Args:
        data: tensor of any shape; floating point or complex if ``requires_grad``. Storage is shared. Default: empty.
        requires_grad: whether ``backward()`` accumulates a gradient into ``.grad``. Default: ``True``.

    Raises:
        TypeError: if `data` is not a tensor.
        RuntimeError: if `requires_grad` is asked of an integer or bool tensor.

    Example::

        >>> p = nn.Parameter(torch.zeros(2))
        >>> p
        Parameter containing:
        tensor([0., 0.], requires_grad=True)
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        return _alias(cls, data).requires_grad_(requires_grad)

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        """Everything happens in ``__new__``; this keeps the signature visible to ``help``."""

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return "Parameter containing:\n" + super().__repr__()


class Buffer(Tensor):
    """A tensor that belongs to a Module's state but is not trained (see `Module.register_buffer`).

    Args:
        data: tensor of any shape and dtype; storage is shared. Default: empty.
        persistent: whether ``state_dict()`` contains it. Default: ``True``.

    Raises:
        TypeError: if `data` is not a tensor.

    Example::

        >>> m = nn.Module()
        >>> m.steps = nn.Buffer(torch.tensor([3]))
        >>> m.state_dict()["steps"]
        tensor([3])
    """

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        leaf = _alias(cls, data)
        leaf.persistent = persistent
        return leaf

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        """Everything happens in ``__new__``."""
