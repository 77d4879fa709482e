"""Convolution layers: Conv1d, Conv2d, Conv3d and their transposes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import engine
from engine.nn import functional as F
from engine.nn import init
from engine.nn._sizes import repeat
from engine.nn.module import Module
from engine.nn.parameter import Parameter
from engine.tensor import Tensor

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What all convolutions share: settings, checks, parameters, their start and the printed form.

    The weight is (out_channels, in_channels / groups, *kernel_size), transposed: (in_channels, out_channels / groups,
    *kernel_size). Weight and bias start uniform in +-1/sqrt(fan_in) (He et al. 2015 with a = sqrt(5)).
    """

    dimensions: int
    transposed = False

    def _setup(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        output_padding: Any,
        device: Any,
        dtype: Any,
    ) -> None:
        Module.__init__(self)
        n = self.dimensions
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = repeat(kernel_size, n)
        self.stride = repeat(stride, n)
        self.padding = padding if isinstance(padding, str) else repeat(padding, n)
        self.dilation = repeat(dilation, n)
        self.output_padding = repeat(output_padding, n)
        self.groups = groups
        self.padding_mode = padding_mode
        self._check_settings()
        channels = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        shape = (channels[0], channels[1] // groups, *self.kernel_size)
        self.weight = Parameter(engine.empty(shape, device=device, dtype=dtype))
        self.register_parameter(
            "bias", Parameter(engine.empty(out_channels, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def _check_settings(self) -> None:
        if self.groups <= 0:
            raise ValueError("groups must be a positive integer")
        if self.in_channels % self.groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        if self.out_channels % self.groups != 0:
            raise ValueError("out_channels must be divisible by groups")
        if self.padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"padding_mode must be one of {set(_PADDING_MODES)}, but got padding_mode='{self.padding_mode}'"
            )
        if isinstance(self.padding, str):
            if self.padding not in ("same", "valid"):
                raise ValueError(f"Invalid padding string {self.padding!r}, should be one of {{'same', 'valid'}}")
            if self.padding == "same" and any(step != 1 for step in self.stride):
                raise ValueError("padding='same' is not supported for strided convolutions")

    def reset_parameters(self) -> None:
        """Draw weight and then bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in != 0:
                init.uniform_(self.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def _padding_amounts(self) -> list[int]:
        """Amounts for F.pad: (before, after) of each dimension, the last dimension first."""
        if self.padding == "valid":
            pairs = [(0, 0)] * self.dimensions
        elif self.padding == "same":
            totals = [spread * (size - 1) for spread, size in zip(self.dilation, self.kernel_size)]
            pairs = [(total // 2, total - total // 2) for total in totals]
        else:
            pairs = [(int(amount), int(amount)) for amount in self.padding]
        return [amount for pair in reversed(pairs) for amount in pair]

    def _padded(self, input: Tensor) -> Tensor:
        return F.pad(input, self._padding_amounts(), mode=self.padding_mode)

    def extra_repr(self) -> str:
        n = self.dimensions
        optional = (
            ("padding", self.padding, (0,) * n),
            ("dilation", self.dilation, (1,) * n),
            ("output_padding", self.output_padding, (0,) * n),
            ("groups", self.groups, 1),
            ("bias", self.bias is not None, True),
            ("padding_mode", self.padding_mode, "zeros"),
        )
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        return text + "".join(f", {name}={value}" for name, value, default in optional if value != default)


class _Convolution(_ConvNd):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: str | int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self._setup(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            0,
            device,
            dtype,
        )


class Conv1d(_Convolution):
    """Cross-correlation of sequences (N, C_in, L) or (C_in, L) with ``weight`` (C_out, C_in / groups, K), plus bias.

    Args:
        padding: amount on both sides, "valid" (none) or "same" (output as long as the input; stride 1 only).
        groups: number of blocks into which the channels are divided; in_channels gives a depthwise convolution.
        padding_mode: "zeros", "reflect", "replicate" or "circular".

    Shapes: L_out = floor((L + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1.

    Raises:
        ValueError: for channels not divisible by `groups` and unknown paddings.

    Example::

        >>> nn.Conv1d(16, 33, 3, stride=2)(torch.zeros(20, 16, 50)).shape
        torch.Size([20, 33, 24])
    """

    dimensions = 1

    def forward(self, input: Tensor) -> Tensor:
        if self.padding_mode != "zeros":
            return F.conv1d(self._padded(input), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
        return F.conv1d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Conv2d(_Convolution):
    """Cross-correlation of images (N, C_in, H, W) or (C_in, H, W) with ``weight`` (C_out, C_in / groups, K_h, K_w).

    Arguments, output sizes and errors as in `Conv1d`, per dimension.

    Example::

        >>> layer = nn.Conv2d(3, 8, kernel_size=3, padding=1)
        >>> layer
        Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
        >>> layer(torch.zeros(2, 3, 5, 5)).shape
        torch.Size([2, 8, 5, 5])
    """

    dimensions = 2

    def forward(self, input: Tensor) -> Tensor:
        if self.padding_mode != "zeros":
            return F.conv2d(self._padded(input), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
        return F.conv2d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Conv3d(_Convolution):
    """Cross-correlation of volumes (N, C_in, D, H, W) or (C_in, D, H, W); arguments and errors as in `Conv1d`.

    Example::

        >>> nn.Conv3d(2, 4, 3)(torch.zeros(1, 2, 5, 5, 5)).shape
        torch.Size([1, 4, 3, 3, 3])
    """

    dimensions = 3

    def forward(self, input: Tensor) -> Tensor:
        if self.padding_mode != "zeros":
            return F.conv3d(self._padded(input), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
        return F.conv3d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class _TransposedConvolution(_ConvNd):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Sequence[int] = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        self._setup(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            output_padding,
            device,
            dtype,
        )

    def _extra_output(self, input: Tensor, output_size: Sequence[int] | None) -> tuple[int, ...]:
        """The output padding that gives `output_size` (spatial, or the whole shape), if one is asked for."""
        if output_size is None:
            return self.output_padding
        n = self.dimensions
        wanted = list(output_size)
        if len(wanted) == input.dim():
            wanted = wanted[-n:]
        if len(wanted) != n:
            raise ValueError(
                f"ConvTranspose{n}D: for {input.dim()}D input, output_size must have {n} or {input.dim()} elements "
                f"(got {len(output_size)})"
            )
        smallest = [
            (size - 1) * step - 2 * pad + spread * (kernel - 1) + 1
            for size, step, pad, spread, kernel in zip(
                input.shape[-n:], self.stride, self.padding, self.dilation, self.kernel_size
            )
        ]
        largest = [low + step - 1 for low, step in zip(smallest, self.stride)]
        if any(not low <= size <= high for low, size, high in zip(smallest, wanted, largest)):
            raise ValueError(
                f"requested an output size of {wanted}, but valid sizes range from {smallest} to {largest} "
                f"(for an input of {tuple(input.shape[-n:])})"
            )
        return tuple(size - low for size, low in zip(wanted, smallest))


class ConvTranspose1d(_TransposedConvolution):
    """The gradient of `Conv1d` with respect to its input, as a layer: (N, C_in, L) -> (N, C_out, L_out).

    Args:
        padding: taken away on both sides of the output.
        output_padding: added to one side of the output, below `stride` or `dilation`.

    Shapes: ``weight`` (C_in, C_out / groups, K);
    L_out = (L - 1) stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1.

    Raises:
        ValueError: for channels not divisible by `groups`, or an `output_size` that cannot be had.

    Example::

        >>> nn.ConvTranspose1d(2, 4, 3, stride=2)(torch.zeros(1, 2, 5), output_size=[12]).shape
        torch.Size([1, 4, 12])
    """

    dimensions = 1

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        extra = self._extra_output(input, output_size)
        return F.conv_transpose1d(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )


class ConvTranspose2d(_TransposedConvolution):
    """The gradient of `Conv2d` with respect to its input, as a layer; arguments and errors as in `ConvTranspose1d`.

    Example::

        >>> nn.ConvTranspose2d(2, 4, 2, stride=2)(torch.zeros(1, 2, 5, 5)).shape
        torch.Size([1, 4, 10, 10])
    """

    dimensions = 2

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        extra = self._extra_output(input, output_size)
        return F.conv_transpose2d(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )


class ConvTranspose3d(_TransposedConvolution):
    """The gradient of `Conv3d` with respect to its input, as a layer; arguments and errors as in `ConvTranspose1d`.

    Example::

        >>> nn.ConvTranspose3d(2, 4, 2)(torch.zeros(1, 2, 3, 3, 3)).shape
        torch.Size([1, 4, 4, 4, 4])
    """

    dimensions = 3

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        extra = self._extra_output(input, output_size)
        return F.conv_transpose3d(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )
