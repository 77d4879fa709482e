"""Padding of the last dimensions: constant, reflected, replicated or circular."""

from __future__ import annotations

from typing import Any

from ..copying import copy_to
from ..tensor import Tensor
from ._axis_pieces import add_axes, take_axes
from .base import Op, composite, expect_tensor, op
from .casting import in_float32
from .samples import samples_for


@op("_pad_constant", function=False, method=False, node="ConstantPadNdBackward0")
class PadConstant(Op):
    """Borders of a constant around every dimension; negative amounts cut off. The gradient cuts, or pads with zeros."""

    moves = True

    @staticmethod
    def forward(xp: Any, x: Any, pads: tuple, value: Any) -> Any:
        shape = tuple([n + lo + hi for n, (lo, hi) in zip(x.shape, pads)])
        source = tuple([slice(max(-lo, 0), n - max(-hi, 0)) for n, (lo, hi) in zip(x.shape, pads)])
        target = tuple([slice(max(lo, 0), n - max(hi, 0)) for n, (lo, hi) in zip(shape, pads)])
        out = xp.zeros(shape, x.dtype) if value == 0 else xp.full(shape, value, x.dtype)
        copy_to((out[target], x[source]))
        return out

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._pad_constant(g, tuple([(-lo, -hi) for lo, hi in s.params[0]]), 0),)


@op("_take_axes", function=False, method=False, node="PadBackward0")
class TakeAxes(Op):
    """Elements by index along several axes: `steps` holds (axis, 1-D index array, size of the axis)."""

    moves = True

    @staticmethod
    def forward(xp: Any, x: Any, steps: tuple) -> Any:
        return take_axes(xp, x, steps)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._add_axes(g, s.params[0]),)


@op("_add_axes", function=False, method=False, node="PadBackward0")
class AddAxes(Op):
    """The adjoint of `_take_axes`: sums of what was taken from each place."""

    @staticmethod
    def forward(xp: Any, g: Any, steps: tuple) -> Any:
        return add_axes(xp, g, steps)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._take_axes(g, s.params[0]),)


def _border(xp: Any, n: int, low: int, high: int, mode: str) -> Any:
    """For each place of a padded axis, the place of the axis of size n that it repeats."""
    place = xp.arange(-low, n + high)
    if mode == "replicate":
        return place.clip(0, n - 1)
    if mode == "circular":
        return place % n
    return (n - 1) - abs((n - 1) - abs(place)) if n > 1 else place * 0


def _check_border(mode: str, shape: tuple, axis: int, low: int, high: int) -> None:
    n = shape[axis]
    if mode == "reflect" and (low >= n or high >= n):
        raise RuntimeError(
            f"Argument #4: Padding size should be less than the corresponding input dimension, but got: "
            f"padding ({low}, {high}) at dimension {axis} of input {list(shape)}"
        )
    if mode == "circular" and (low > n or high > n):
        raise RuntimeError(
            f"Padding value causes wrapping around more than once: padding ({low}, {high}) at dimension "
            f"{axis} of input {list(shape)}"
        )
    if n + low + high <= 0 or n == 0:
        raise RuntimeError(
            f"pad(): expected a positive output size, got {n + low + high} at dimension {axis} of input "
            f"{list(shape)} with padding ({low}, {high})"
        )


@composite("pad", function=False, method=False, functional=True)
def pad(input: Tensor, pad: Any, mode: str = "constant", value: float | None = None) -> Tensor:
    """Pad the last dimensions of `input` by (low, high) amounts, given from the last dimension backwards.

    `mode`: "constant" (with `value`, default 0; any number of dimensions; negative amounts cut off), "reflect",
    "replicate" or "circular" (the last 1, 2 or 3 dimensions, of input with one or two dimensions more). Raises
    RuntimeError for amounts that do not fit the shape, NotImplementedError for unknown modes and unsupported numbers
    of dimensions.

    >>> nn.functional.pad(torch.tensor([1., 2., 3.]), (1, 2))
    tensor([0., 1., 2., 3., 0., 0.])
    >>> nn.functional.pad(torch.tensor([[1., 2., 3.]]), (1, 2), mode="reflect")
    tensor([[2., 1., 2., 3., 2., 1.]])
    """
    shape = expect_tensor(input, "pad")._array.shape
    amounts = [int(n) for n in pad]
    if len(amounts) % 2:
        raise RuntimeError(f"Padding length must be divisible by 2 (got {len(amounts)} numbers: {amounts})")
    if len(amounts) > 2 * len(shape):
        raise RuntimeError(
            f"Padding length should be less than or equal to two times the input dimension but got padding "
            f"length {len(amounts)} and input of dimension {len(shape)}"
        )
    count = len(amounts) // 2
    pairs = ((0, 0),) * (len(shape) - count) + tuple(
        [(amounts[2 * i], amounts[2 * i + 1]) for i in reversed(range(count))]
    )
    if mode == "constant":
        if any(n + lo + hi < 0 for n, (lo, hi) in zip(shape, pairs)):
            raise RuntimeError(
                f"The input size {list(shape)}, plus negative padding {amounts}, resulted in a negative output "
                "size, which is invalid"
            )
        return PadConstant.apply(input, pairs, 0 if value is None else value)
    if mode == "circular":
        return _pad_border(input, pairs, count, mode, value)
    return in_float32(_pad_border)(input, pairs, count, mode, value)


def _pad_border(input: Tensor, pairs: tuple, count: int, mode: str, value: float | None) -> Tensor:
    from .. import backend

    shape = input._array.shape
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}. HINT: constant, reflect, replicate or circular.")
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if len(shape) - count not in (1, 2) or count > 3:
        raise NotImplementedError(
            "Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now (input of "
            f"dimension {len(shape)}, padding of the last {count})"
        )
    xp = backend.namespace(input._array)
    steps = []
    for axis, (low, high) in enumerate(pairs):
        if low or high:
            _check_border(mode, shape, axis, low, high)
            steps.append((axis, _border(xp, shape[axis], low, high, mode), shape[axis]))
    return TakeAxes.apply(input, tuple(steps)) if steps else input.clone()  # type: ignore[attr-defined]


@samples_for("pad")
def _samples(make: Any) -> Any:
    yield make("pad", make.uniform((3,)), (1, 2), _module="nn.functional")
    yield make("pad", make.uniform((2, 3)), (1, 0, -1, 2), value=0.5, _module="nn.functional")
    yield make("pad", make.uniform((2, 3, 4)), (0, 0, 1, 1), "constant", 1.5, _module="nn.functional")
    for mode in ("reflect", "replicate", "circular"):
        yield make("pad", make.uniform((2, 4)), (3, 2), mode, _module="nn.functional")
        yield make("pad", make.uniform((2, 3, 4, 3)), (1, 2, 0, 1), mode, _module="nn.functional")
        yield make("pad", make.uniform((1, 2, 3, 2, 3)), (2, 1, 1, 1, 2, 0), mode, _module="nn.functional")
    yield make("pad", make.uniform((2, 5)), (-1, 2), "replicate", _module="nn.functional")
