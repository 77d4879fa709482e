"""Windows as columns: unfold (im2col) and its adjoint fold (col2im); pixel_shuffle and its kin."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from ._windows import Windows, by_x, many, windows_of
from .base import Op, composite, expect_tensor, op
from .samples import samples_for


@op("_unfold_windows", function=False, method=False, node="Im2ColBackward0")
class UnfoldWindows(Op):
    """(N, C, H, W) to (N, C * KH * KW, L): every window of the padded input as a column."""

    @staticmethod
    def forward(xp: Any, x: Any, windows: Windows) -> Any:
        view = windows.view(xp, windows.load(xp, x))
        return xp.moveaxis(view, -1 if windows.inner else 3, 0).reshape(x.shape[0], -1, windows.count)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._fold_windows(g, s.params[0]),)


@op("_fold_windows", function=False, method=False, node="Col2ImBackward0")
class FoldWindows(Op):
    """The adjoint of `_unfold_windows`: columns added back into images."""

    @staticmethod
    def forward(xp: Any, x: Any, windows: Windows) -> Any:
        columns = x.reshape(x.shape[0], -1, *windows.kernel, *windows.out)
        out = xp.zeros((columns.shape[1], x.shape[0], *windows.padded), x.dtype)
        images = xp.moveaxis(columns, 0, -1 if windows.inner else 3)
        windows.add_back(windows.by_channel(out.swapaxes(0, 1)), images, 0, windows.out[0])
        return xp.ascontiguousarray(windows.crop(out).swapaxes(0, 1))

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._unfold_windows(g, s.params[0]),)


def _geometry(function: str, sizes: tuple, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Windows:
    values = {"kernel_size": kernel_size, "dilation": dilation, "padding": padding, "stride": stride}
    kernel, dilation, padding, stride = [many(v, 2, name, function) for name, v in values.items()]
    for name, value, least in (
        ("kernel_size", kernel, 1),
        ("dilation", dilation, 1),
        ("stride", stride, 1),
        ("padding", padding, 0),
    ):
        if any(v < least for v in value):
            raise RuntimeError(
                f"{function}(): {name} should be {'greater than zero' if least else 'non-negative'}, "
                f"but got {list(value)}"
            )
    windows = windows_of(sizes, kernel, stride, tuple([(p, p) for p in padding]), dilation)
    if any(n < 1 for n in windows.out):
        raise RuntimeError(
            f"Given input with spatial size ({by_x(sizes)}), kernel_size={list(kernel)}, dilation={list(dilation)}, "
            f"padding={list(padding)}, stride={list(stride)}, calculated shape of the array of sliding blocks as "
            f"({by_x(windows.out)}), but its components must be at least one."
        )
    return windows


@composite("unfold", function=False, method=False, functional=True)
def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """Every window of images as a column: (N, C, H, W) or (C, H, W) to (N, C * KH * KW, L) with L windows.

    RuntimeError for other shapes, or where no window fits.

    >>> nn.functional.unfold(torch.arange(4.).reshape(1, 1, 2, 2), (1, 2))
    tensor([[[0., 2.],
             [1., 3.]]])
    """
    shape = expect_tensor(input, "unfold")._array.shape
    if len(shape) not in (3, 4) or 0 in shape[-3:]:
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for "
            f"input, but got: {list(shape)}"
        )
    windows = _geometry("unfold", shape[-2:], kernel_size, dilation, padding, stride)
    if len(shape) == 4:
        return UnfoldWindows.apply(input, windows)
    return UnfoldWindows.apply(input.unsqueeze(0), windows).squeeze(0)  # type: ignore[attr-defined]


@composite("fold", function=False, method=False, functional=True)
def fold(
    input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Columns added back into images of `output_size`: the adjoint of `unfold`.

    Shape (N, C * KH * KW, L) to (N, C, H, W), with or without N. RuntimeError where the number of columns or their
    length does not fit.

    >>> nn.functional.fold(torch.ones(1, 2, 2), (1, 3), (1, 2))
    tensor([[[[1., 2., 1.]]]])
    """
    shape = expect_tensor(input, "fold")._array.shape
    sizes = many(output_size, 2, "output_size", "fold")
    windows = _geometry("fold", sizes, kernel_size, dilation, padding, stride)
    area = windows.kernel[0] * windows.kernel[1]
    if len(shape) not in (2, 3):
        raise RuntimeError(
            f"Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions "
            f"for input, but got: {list(shape)}"
        )
    if shape[-2] % area:
        raise RuntimeError(
            f"Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={shape[-2]} and kernel_size={windows.kernel}."
        )
    if shape[-1] != windows.count:
        raise RuntimeError(
            f"Given output_size={sizes}, kernel_size={windows.kernel}, dilation={windows.dilation}, padding="
            f"{tuple(lo for lo, _ in windows.pads)}, stride={windows.stride}, expected size of input's dimension "
            f"2 to match the calculated number of sliding blocks {by_x(windows.out)} = {windows.count}, but got "
            f"input.size(2)={shape[-1]}."
        )
    if len(shape) == 3:
        return FoldWindows.apply(input, windows)
    return FoldWindows.apply(input.unsqueeze(0), windows).squeeze(0)  # type: ignore[attr-defined]


# -- moving channels --------------------------------------------------------------------------------------------------


def _at_least_3d(input: Any, function: str) -> tuple:
    shape = expect_tensor(input, function)._array.shape
    if len(shape) < 3:
        raise RuntimeError(
            f"{function} expects input to have at least 3 dimensions, but got input with {len(shape)} dimension(s)"
        )
    return shape


@composite("pixel_shuffle", method=False, functional=True)
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(*, C * r * r, H, W) to (*, C, H * r, W * r): channels become pixels, r = `upscale_factor`. Shi et al. 2016.

    RuntimeError if r * r does not divide the channels.

    >>> torch.pixel_shuffle(torch.arange(4.).reshape(4, 1, 1), 2)
    tensor([[[0., 1.],
             [2., 3.]]])
    """
    *lead, c, h, w = _at_least_3d(input, "pixel_shuffle")
    r = upscale_factor
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    if c % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of "
            f"upscale_factor, but input.size(-3)={c} is not divisible by {r * r}"
        )
    n = len(lead)
    split = input.reshape(*lead, c // (r * r), r, r, h, w)  # type: ignore[attr-defined]
    moved = split.permute(*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return moved.reshape(*lead, c // (r * r), h * r, w * r)


@composite("pixel_unshuffle", method=False, functional=True)
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """The inverse of pixel_shuffle: (*, C, H * r, W * r) to (*, C * r * r, H, W), r = `downscale_factor`.

    RuntimeError if r does not divide height and width.

    >>> torch.pixel_unshuffle(torch.tensor([[[0., 1.], [2., 3.]]]), 2).flatten()
    tensor([0., 1., 2., 3.])
    """
    *lead, c, h, w = _at_least_3d(input, "pixel_unshuffle")
    r = downscale_factor
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    for size, name, at in ((h, "height", -2), (w, "width", -1)):
        if size % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but input.size({at})={size} "
                f"is not divisible by {r}"
            )
    n = len(lead)
    split = input.reshape(*lead, c, h // r, r, w // r, r)  # type: ignore[attr-defined]
    moved = split.permute(*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return moved.reshape(*lead, c * r * r, h // r, w // r)


@composite("channel_shuffle", method=False, functional=True)
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Interleave `groups` groups of channels of (N, C, *). RuntimeError unless `groups` divides C. Zhang et al. 2018.

    >>> torch.channel_shuffle(torch.arange(4.).reshape(1, 4, 1), 2).flatten()
    tensor([0., 2., 1., 3.])
    """
    n, c, *rest = _at_least_3d(input, "channel_shuffle")
    if groups <= 0 or c % groups:
        raise RuntimeError(f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups.")
    split = input.reshape(n, groups, c // groups, *rest)  # type: ignore[attr-defined]
    return split.transpose(1, 2).reshape(n, c, *rest)


@samples_for("fold")
def _samples(make: Any) -> Any:
    yield make("unfold", make.uniform((2, 3, 4, 5)), 2, _module="nn.functional")
    yield make("unfold", make.uniform((3, 4, 5)), (2, 3), 1, (1, 0), (1, 2), _module="nn.functional")
    yield make("unfold", make.uniform((1, 2, 5, 5)), 2, dilation=2, _module="nn.functional")
    yield make("fold", make.uniform((2, 12, 6)), (3, 4), 2, _module="nn.functional")
    yield make("fold", make.uniform((4, 6)), (4, 5), 2, 1, (0, 1), 2, _module="nn.functional")
    yield make("pixel_shuffle", make.uniform((2, 8, 2, 3)), 2)
    yield make("pixel_unshuffle", make.uniform((2, 4, 6)), 2)
    yield make("channel_shuffle", make.uniform((2, 6, 2)), 3)
