"""Pooling layers given the output's size instead of the window's: AdaptiveAvgPool, AdaptiveMaxPool.

Window i of n over a length L reaches from floor(i L / n) to ceil((i + 1) L / n). None keeps a dimension as it is.
"""

from __future__ import annotations

from typing import Any

from engine.nn import functional as F
from engine.nn.module import Module
from engine.tensor import Tensor

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
]


class _AdaptiveAvgPoolNd(Module):
    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveMaxPoolNd(_AdaptiveAvgPoolNd):
    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """Mean over windows of (N, C, L) or (C, L) such that the output has `output_size`.

    Example::

        >>> nn.AdaptiveAvgPool1d(3)(torch.zeros(1, 2, 8)).shape
        torch.Size([1, 2, 3])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """Mean over windows of (N, C, H, W) or (C, H, W) such that the output has `output_size`.

    Example::

        >>> nn.AdaptiveAvgPool2d((3, None))(torch.zeros(1, 2, 8, 9)).shape
        torch.Size([1, 2, 3, 9])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """Mean over windows of (N, C, D, H, W) or (C, D, H, W) such that the output has `output_size`.

    Example::

        >>> nn.AdaptiveAvgPool3d(2)(torch.zeros(1, 2, 4, 4, 4)).shape
        torch.Size([1, 2, 2, 2, 2])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool3d(input, self.output_size)


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """Maximum over windows of (N, C, L) or (C, L) such that the output has `output_size`.

    With `return_indices` the positions of the maxima are returned too.

    Example::

        >>> nn.AdaptiveMaxPool1d(3)(torch.zeros(1, 2, 8)).shape
        torch.Size([1, 2, 3])
    """

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """Maximum over windows of (N, C, H, W) or (C, H, W) such that the output has `output_size`.

    With `return_indices` the positions of the maxima are returned too.

    Example::

        >>> nn.AdaptiveMaxPool2d((3, None))(torch.zeros(1, 2, 8, 9)).shape
        torch.Size([1, 2, 3, 9])
    """

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """Maximum over windows of (N, C, D, H, W) or (C, D, H, W) such that the output has `output_size`.

    With `return_indices` the positions of the maxima are returned too.

    Example::

        >>> nn.AdaptiveMaxPool3d(2)(torch.zeros(1, 2, 4, 4, 4)).shape
        torch.Size([1, 2, 2, 2, 2])
    """

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool3d(input, self.output_size, self.return_indices)
