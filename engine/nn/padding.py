"""Padding layers: zeros, a constant, reflection, replication, wrapping around.

`padding` is one number for all sides, or (before, after) of each dimension, the last dimension first. Inputs are
(N, C, ...) or (C, ...) with as many spatial dimensions as the name says.
"""

from __future__ import annotations

from typing import Any

from engine.nn import functional as F
from engine.nn._sizes import repeat
from engine.nn.module import Module
from engine.tensor import Tensor

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


class _PadNd(Module):
    """Padding by a rule that needs no value; `mode` is F.pad's."""

    dimensions: int
    mode: str

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = repeat(padding, 2 * self.dimensions)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPadNd(_PadNd):
    mode = "constant"

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPadNd(_ConstantPadNd):
    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad1d(_ConstantPadNd):
    """Puts `value` around sequences.

    Example::

        >>> x = torch.tensor([[1.0, 2.0, 3.0]])
        >>> nn.ConstantPad1d(1, 9.0)(x)
        tensor([[9., 1., 2., 3., 9.]])
    """

    dimensions = 1


class ConstantPad2d(_ConstantPadNd):
    """Puts `value` around images.

    Example::

        >>> nn.ConstantPad2d(1, 0.5)(torch.zeros(1, 1, 3, 3)).shape
        torch.Size([1, 1, 5, 5])
    """

    dimensions = 2


class ConstantPad3d(_ConstantPadNd):
    """Puts `value` around volumes.

    Example::

        >>> nn.ConstantPad3d(1, 0.5)(torch.zeros(1, 1, 3, 3, 3)).shape
        torch.Size([1, 1, 5, 5, 5])
    """

    dimensions = 3


class ZeroPad1d(_ZeroPadNd):
    """Puts zeros around sequences.

    Example::

        >>> x = torch.tensor([[1.0, 2.0, 3.0]])
        >>> nn.ZeroPad1d((2, 0))(x)
        tensor([[0., 0., 1., 2., 3.]])
    """

    dimensions = 1


class ZeroPad2d(_ZeroPadNd):
    """Puts zeros around images.

    Example::

        >>> nn.ZeroPad2d(1)(torch.zeros(1, 1, 3, 3)).shape
        torch.Size([1, 1, 5, 5])
    """

    dimensions = 2


class ZeroPad3d(_ZeroPadNd):
    """Puts zeros around volumes.

    Example::

        >>> nn.ZeroPad3d(1)(torch.zeros(1, 1, 3, 3, 3)).shape
        torch.Size([1, 1, 5, 5, 5])
    """

    dimensions = 3


class ReflectionPad1d(_PadNd):
    """Mirrors at the border, without repeating it, by less than the size of sequences.

    Example::

        >>> x = torch.tensor([[1.0, 2.0, 3.0]])
        >>> nn.ReflectionPad1d(2)(x)
        tensor([[3., 2., 1., 2., 3., 2., 1.]])
    """

    dimensions = 1
    mode = "reflect"


class ReflectionPad2d(_PadNd):
    """Mirrors at the border, without repeating it, by less than the size of images.

    Example::

        >>> nn.ReflectionPad2d(1)(torch.zeros(1, 1, 3, 3)).shape
        torch.Size([1, 1, 5, 5])
    """

    dimensions = 2
    mode = "reflect"


class ReflectionPad3d(_PadNd):
    """Mirrors at the border, without repeating it, by less than the size of volumes.

    Example::

        >>> nn.ReflectionPad3d(1)(torch.zeros(1, 1, 3, 3, 3)).shape
        torch.Size([1, 1, 5, 5, 5])
    """

    dimensions = 3
    mode = "reflect"


class ReplicationPad1d(_PadNd):
    """Repeats the border of sequences.

    Example::

        >>> x = torch.tensor([[1.0, 2.0, 3.0]])
        >>> nn.ReplicationPad1d(1)(x)
        tensor([[1., 1., 2., 3., 3.]])
    """

    dimensions = 1
    mode = "replicate"


class ReplicationPad2d(_PadNd):
    """Repeats the border of images.

    Example::

        >>> nn.ReplicationPad2d(1)(torch.zeros(1, 1, 3, 3)).shape
        torch.Size([1, 1, 5, 5])
    """

    dimensions = 2
    mode = "replicate"


class ReplicationPad3d(_PadNd):
    """Repeats the border of volumes.

    Example::

        >>> nn.ReplicationPad3d(1)(torch.zeros(1, 1, 3, 3, 3)).shape
        torch.Size([1, 1, 5, 5, 5])
    """

    dimensions = 3
    mode = "replicate"


class CircularPad1d(_PadNd):
    """Wraps around, by at most the size of, sequences.

    Example::

        >>> x = torch.tensor([[1.0, 2.0, 3.0]])
        >>> nn.CircularPad1d(1)(x)
        tensor([[3., 1., 2., 3., 1.]])
    """

    dimensions = 1
    mode = "circular"


class CircularPad2d(_PadNd):
    """Wraps around, by at most the size of, images.

    Example::

        >>> nn.CircularPad2d(1)(torch.zeros(1, 1, 3, 3)).shape
        torch.Size([1, 1, 5, 5])
    """

    dimensions = 2
    mode = "circular"


class CircularPad3d(_PadNd):
    """Wraps around, by at most the size of, volumes.

    Example::

        >>> nn.CircularPad3d(1)(torch.zeros(1, 1, 3, 3, 3)).shape
        torch.Size([1, 1, 5, 5, 5])
    """

    dimensions = 3
    mode = "circular"
