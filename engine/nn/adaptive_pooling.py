"""Pooling layers given the output's size: AdaptiveAvgPool, AdaptiveMaxPool, FractionalMaxPool.

Window i of n over a length L reaches from floor(i L / n) to ceil((i + 1) L / n). None keeps a dimension as it is.
"""

from __future__ import annotations

from typing import Any

from engine.nn import functional as F
from engine.nn._sizes import repeat
from engine.nn.module import Module
from engine.tensor import Tensor

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "FractionalMaxPool2d",
    "FractionalMaxPool3d",
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


class _FractionalMaxPoolNd(Module):
    _nd = 0
    _random_samples: Tensor | None

    def __init__(
        self,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = repeat(kernel_size, self._nd)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else repeat(output_size, self._nd)
        self.output_ratio = None if output_ratio is None else repeat(output_ratio, self._nd)
        if output_size is None and output_ratio is None:
            raise ValueError(f"{type(self).__name__} requires specifying either an output size, or a pooling ratio")
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None and not all(0 < ratio < 1 for ratio in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")

    def forward(self, input: Tensor) -> Any:
        sizes = (self.kernel_size, self.output_size, self.output_ratio)
        pool: Any = F.fractional_max_pool2d if self._nd == 2 else F.fractional_max_pool3d
        return pool(input, *sizes, self.return_indices, self._random_samples)


class FractionalMaxPool2d(_FractionalMaxPoolNd):
    """Maximum over windows at random steps of (N, C, H, W) or (C, H, W) (Graham 2014).

    Args:
        kernel_size: of the windows.
        output_size: of the output, or
        output_ratio: in (0, 1), of the output's to the input's size.
        return_indices: whether the positions of the maxima are returned too, for MaxUnpool2d.

    Raises:
        ValueError: unless exactly one of output_size and output_ratio is given, and ratios are in (0, 1).

    Example::

        >>> nn.FractionalMaxPool2d(2, output_ratio=0.5)(torch.zeros(1, 2, 8, 9)).shape
        torch.Size([1, 2, 4, 4])
    """

    _nd = 2


class FractionalMaxPool3d(_FractionalMaxPoolNd):
    """Maximum over windows at random steps of (N, C, D, H, W) or (C, D, H, W); arguments as of FractionalMaxPool2d.

    Example::

        >>> nn.FractionalMaxPool3d(2, output_size=3)(torch.zeros(1, 2, 6, 6, 6)).shape
        torch.Size([1, 2, 3, 3, 3])
    """

    _nd = 3
