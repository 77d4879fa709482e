"""Convolution and transposed convolution in one, two and three dimensions.

The cards and their arguments; the computation is in _columns.py. The three bilinear maps involved (output, input
gradient, weight gradient) are each other's derivatives, so each is a card, and derivatives of any order come out of them.
"""

from __future__ import annotations

import functools
from typing import Any

from ..gpu import convolution as by_cudnn
from ..tensor import Tensor
from ._columns import Plan, convolve, gradients, spread
from ._conv_batched import images_with_weights, weight_gradients
from ._windows import by_x, key, many, windows_of
from .base import CARDS, Op, expect_tensor, install, op
from .casting import casting, lower


@op("_convolution", function=False, method=False, node="ConvolutionBackward0")
class Convolution(Op):
    """The convolution (cross-correlation) of (N, C, *) with weights (O, C / groups, *kernel) and a bias (O) or None."""

    n = 3
    keep = {0: (1,), 1: (0,)}
    has_aux = True
    gpu = by_cudnn.Convolution()

    @staticmethod
    def forward(xp: Any, x: Any, w: Any, b: Any, plan: Plan) -> Any:
        return convolve(xp, x, w, b, plan)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        plan = s.params[0]
        need_x, need_w, need_b = s.needs
        x, w, _ = s.inputs
        gx = gw = None
        if need_x or need_w:
            gx, gw = gradients(xp.np, g, x if need_w else None, w if need_x else None, plan, s.aux)
        return gx, gw, xp.sum(g, plan.sum_axes, False, None) if need_b else None

    @classmethod
    def backward_traced(cls, xp: Any, s: Any, g: Any) -> tuple:
        plan = s.params[0]
        need_x, need_w, need_b = s.needs
        x, w, _ = s.inputs
        return (
            xp._conv_input_grad(g, w, plan) if need_x else None,
            xp._conv_weight_grad(g, x, plan) if need_w else None,
            xp.sum(g, plan.sum_axes, False, None) if need_b else None,
        )

    @staticmethod
    def samples(make: Any) -> Any:
        def case(nd: int, x: tuple, w: tuple, bias: bool = True, **options: Any) -> Any:
            b = make.uniform((w[0],)) if bias else None
            return make(f"conv{nd}d", make.uniform(x), make.uniform(w), b, **options)

        yield case(1, (2, 3, 7), (4, 3, 3))
        yield case(1, (3, 7), (4, 3, 2), stride=2, padding=1)
        yield case(1, (2, 3, 7), (4, 3, 4), padding="same")
        yield case(2, (2, 3, 5, 6), (4, 3, 3, 3), padding=1)
        yield case(2, (2, 3, 5, 6), (4, 3, 3, 2), False, stride=(2, 1), padding=(0, 1), dilation=(1, 2))
        yield case(2, (2, 4, 5, 6), (6, 2, 2, 3), groups=2, padding="valid")
        yield case(2, (1, 4, 5, 5), (4, 1, 3, 3), groups=4, padding="same", dilation=2)
        yield case(2, (2, 3, 4, 4), (5, 3, 1, 1))
        yield case(2, (0, 3, 4, 4), (5, 3, 3, 3))
        yield make("conv2d", make.uniform((5, 3, 4, 2)).t(), make.uniform((3, 3, 2, 4)).t())
        yield case(3, (2, 2, 4, 3, 4), (3, 2, 2, 2, 3), padding=1, stride=2)
        yield make("conv2d", make.complex((2, 3, 5, 4)), make.complex((4, 3, 2, 3)), make.complex((4,)), padding=1, _half=False)


@op("_conv_input_grad", function=False, method=False, node="ConvolutionBackwardBackward0")
class ConvInputGrad(Op):
    """The gradient of a convolution with respect to its input, from the output's gradient and the weights."""

    n = 2
    keep = {0: (1,), 1: (0,)}
    gpu = by_cudnn.InputGradient()

    @staticmethod
    def forward(xp: Any, g: Any, w: Any, plan: Plan) -> Any:
        return gradients(xp, g, None, w, plan)[0]

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        (plan,), (out, w) = s.params, s.inputs
        return (
            xp._convolution(g, w, None, plan) if s.needs[0] else None,
            xp._conv_weight_grad(out, g, plan) if s.needs[1] else None,
        )


@op("_conv_weight_grad", function=False, method=False, node="ConvolutionBackwardBackward0")
class ConvWeightGrad(Op):
    """The gradient of a convolution with respect to its weights, from the output's gradient and the input."""

    n = 2
    keep = {0: (1,), 1: (0,)}
    gpu = by_cudnn.WeightGradient()

    @staticmethod
    def forward(xp: Any, g: Any, x: Any, plan: Plan) -> Any:
        return gradients(xp, g, x, None, plan)[1]

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        (plan,), (out, x) = s.params, s.inputs
        return (
            xp._convolution(x, g, None, plan) if s.needs[0] else None,
            xp._conv_input_grad(out, g, plan) if s.needs[1] else None,
        )


@op("_conv_transpose", function=False, method=False, node="ConvolutionBackward0")
class ConvTranspose(Op):
    """The adjoint of a convolution with weights (C, O / groups, *kernel), plus an optional bias (O)."""

    n = 3
    keep = {0: (1,), 1: (0,)}
    gpu = by_cudnn.Transpose()

    @staticmethod
    def forward(xp: Any, x: Any, w: Any, b: Any, plan: Plan) -> Any:
        return spread(xp, x, w, b, plan)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        plan = s.params[0]
        x, w, _ = s.inputs
        return (
            xp._convolution(g, w, None, plan) if s.needs[0] else None,
            xp._conv_weight_grad(x, g, plan) if s.needs[1] else None,
            xp.sum(g, plan.sum_axes, False, None) if s.needs[2] else None,
        )

    @staticmethod
    def samples(make: Any) -> Any:
        def case(nd: int, x: tuple, w: tuple, groups: int = 1, bias: bool = True, **options: Any) -> Any:
            b = make.uniform((w[1] * groups,)) if bias else None
            return make(
                f"conv_transpose{nd}d", make.uniform(x, -1, 1), make.uniform(w, -1, 1), b, groups=groups, **options
            )

        yield case(1, (2, 3, 5), (3, 4, 3), stride=2, padding=1, output_padding=1)
        yield case(1, (3, 5), (3, 2, 2), dilation=2, output_padding=1)
        yield case(2, (2, 3, 4, 3), (3, 2, 3, 3), padding=1)
        yield case(2, (2, 4, 3, 3), (4, 3, 2, 3), groups=2, stride=(2, 3), output_padding=(1, 2), bias=False)
        yield case(3, (1, 2, 2, 3, 2), (2, 2, 2, 2, 3), stride=2)


for _card, _takes_bias in ((Convolution, True), (ConvTranspose, True), (ConvInputGrad, False)):
    _card.batched = staticmethod(images_with_weights(_card, _takes_bias))
ConvWeightGrad.batched = staticmethod(weight_gradients(ConvWeightGrad))


# -- arguments --------------------------------------------------------------------------------------------------------


def _check_sizes(
    function: str, nd: int, x_shape: tuple, w_shape: tuple, groups: int, stride: tuple, padding: Any, dilation: tuple
) -> None:
    if len(w_shape) != nd + 2:
        raise RuntimeError(
            f"{function}(): expected {nd + 2}-dimensional weight, but got weight of size {list(w_shape)}"
        )
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    if any(s <= 0 for s in stride):
        raise RuntimeError("non-positive stride is not supported")
    if any(d <= 0 for d in dilation):
        raise RuntimeError("dilation should be greater than zero")
    if not isinstance(padding, str) and any(p < 0 for p in padding):
        raise RuntimeError("negative padding is not supported")
    if w_shape[0] < groups or w_shape[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got "
            f"weight of size {list(w_shape)} instead"
        )


def _check_bias(b_shape: tuple | None, outputs: int, w_shape: tuple) -> None:
    if b_shape is not None and b_shape != (outputs,):
        raise RuntimeError(
            f"Given weight of size {list(w_shape)}, expected bias to be 1-dimensional with {outputs} "
            f"elements, but got bias of size {list(b_shape)} instead"
        )


def _pads(padding: Any, kernel: tuple, stride: tuple, dilation: tuple) -> tuple:
    """(low, high) per dimension from ints or torch's names."""
    if not isinstance(padding, str):
        return tuple([(p, p) for p in padding])
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding != "same":
        raise RuntimeError(f"Invalid padding string: '{padding}', allowed are 'valid' and 'same'")
    if any(s != 1 for s in stride):
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    totals = [d * (k - 1) for k, d in zip(kernel, dilation)]
    return tuple([(t // 2, t - t // 2) for t in totals])


@functools.lru_cache(maxsize=1024)
def conv_plan(
    nd: int,
    x_shape: tuple,
    w_shape: tuple,
    b_shape: tuple | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Plan:
    """The remembered plan of a convolution. RuntimeError if the arguments do not fit each other."""
    name = f"conv{nd}d"
    stride, dilation = many(stride, nd, "stride", name), many(dilation, nd, "dilation", name)
    padding = padding if isinstance(padding, str) else many(padding, nd, "padding", name)
    _check_sizes(name, nd, x_shape, w_shape, groups, stride, padding, dilation)
    if x_shape[1] != w_shape[1] * groups:
        raise RuntimeError(
            f"Given groups={groups}, weight of size {list(w_shape)}, expected input{list(x_shape)} to have "
            f"{w_shape[1] * groups} channels, but got {x_shape[1]} channels instead"
        )
    _check_bias(b_shape, w_shape[0], w_shape)
    kernel = w_shape[2:]
    windows = windows_of(x_shape[2:], kernel, stride, _pads(padding, kernel, stride, dilation), dilation)
    if any(n < d * (k - 1) + 1 for n, k, d in zip(windows.padded, kernel, dilation)):
        spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
        raise RuntimeError(
            f"Calculated padded input size per channel: ({by_x(windows.padded)}). Kernel size: "
            f"({by_x(spans)}). Kernel size can't be greater than actual input size"
        )
    return Plan(x_shape, w_shape, groups, windows)


@functools.lru_cache(maxsize=1024)
def transpose_plan(
    nd: int,
    x_shape: tuple,
    w_shape: tuple,
    b_shape: tuple | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Plan:
    """The plan of the convolution whose adjoint a transposed convolution is. RuntimeError if arguments do not fit."""
    name = f"conv_transpose{nd}d"
    stride, dilation = many(stride, nd, "stride", name), many(dilation, nd, "dilation", name)
    padding, extra = many(padding, nd, "padding", name), many(output_padding, nd, "output_padding", name)
    _check_sizes(name, nd, x_shape, w_shape, groups, stride, padding, dilation)
    if x_shape[1] != w_shape[0]:
        raise RuntimeError(
            f"Given transposed=1, weight of size {list(w_shape)}, expected input{list(x_shape)} to have "
            f"{w_shape[0]} channels, but got {x_shape[1]} channels instead"
        )
    _check_bias(b_shape, w_shape[1] * groups, w_shape)
    if any(e < 0 or (e >= s and e >= d) for e, s, d in zip(extra, stride, dilation)):
        raise RuntimeError(
            "output padding must be smaller than either stride or dilation, but got output_padding: "
            f"{list(extra)} stride: {list(stride)} dilation: {list(dilation)}"
        )
    kernel = w_shape[2:]
    spatial = tuple(
        [
            (n - 1) * s - 2 * p + d * (k - 1) + e + 1
            for n, s, p, d, k, e in zip(x_shape[2:], stride, padding, dilation, kernel, extra)
        ]
    )
    if any(n <= 0 for n in spatial):
        raise RuntimeError(
            f"Given input size per channel: ({by_x(x_shape[2:])}). Calculated output size per channel: "
            f"({by_x(spatial)}). Output size is too small"
        )
    windows = windows_of(spatial, kernel, stride, tuple([(p, p) for p in padding]), dilation, x_shape[2:])
    return Plan((x_shape[0], w_shape[1] * groups, *spatial), w_shape, groups, windows)


def _check_tensors(function: str, nd: int, input: Any, weight: Any, bias: Any) -> None:
    expect_tensor(input, function)
    expect_tensor(weight, function, "weight", 2)
    if input._array.ndim not in (nd + 1, nd + 2):
        raise RuntimeError(
            f"Expected {nd + 1}D (unbatched) or {nd + 2}D (batched) input to {function}, but got input of "
            f"size: {list(input.shape)}"
        )
    for name, other in (("weight", weight), ("bias", bias)):
        if other is not None and other._array.dtype != input._array.dtype:
            raise RuntimeError(f"Input type ({input.dtype}) and {name} type ({other.dtype}) should be the same")


def _run(card: type[Op], input: Tensor, weight: Tensor, bias: Any, plan_of: Any, nd: int, *options: Any) -> Tensor:
    """Apply a convolution card to a batch, or to one image as a batch of one."""
    x = input._array
    b_shape = None if bias is None else bias._array.shape
    options = tuple([key(v) for v in options])
    if x.ndim == nd + 2:
        return card.apply(input, weight, bias, plan_of(nd, x.shape, weight._array.shape, b_shape, *options))
    one = input.unsqueeze(0)  # type: ignore[attr-defined]
    plan = plan_of(nd, (1, *x.shape), weight._array.shape, b_shape, *options)
    return card.apply(one, weight, bias, plan).squeeze(0)


def _of_parts(conv: Any, input: Any, weight: Any, bias: Any, *options: Any) -> Any:
    """A convolution of complex tensors, from four of their real and imaginary parts."""
    (a, b), (c, d) = [(t.real, t.imag) for t in (input, weight)]
    real, imag = (None, None) if bias is None else (bias.real, bias.imag)
    low = conv(a, c, real, *options) - conv(b, d, None, *options)
    return CARDS["complex"].apply(low, conv(a, d, imag, *options) + conv(b, c, None, *options))


_CONV_DOC = """The {nd}-dimensional convolution (cross-correlation) of `input` with `weight`.

    Shapes: input (N, C, {dims}) or (C, {dims}), weight (O, C / groups, {kernel}), bias (O); the output is (N, O, ...)
    with `floor((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1` elements per dimension. `padding`
    may also be "valid" (none) or "same" (the input's size; stride 1 only). RuntimeError if shapes, channels or dtypes
    do not fit.

    >>> torch.conv{nd}d({x}, {w})
    {result}
    """
_TRANSPOSE_DOC = """The adjoint of the {nd}-dimensional convolution, "deconvolution": spreads every input over a kernel.

    Shapes: input (N, C, {dims}) or (C, {dims}), weight (C, O / groups, {kernel}), bias (O); the output has
    `(size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1` elements per dimension.
    RuntimeError if shapes, channels or dtypes do not fit, or `output_padding` is not below stride or dilation.

    >>> torch.conv_transpose{nd}d({x}, {w}, stride=2)
    {result}
    """


def _install(nd: int) -> None:
    """Make the public functions of one dimensionality."""

    def conv(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        if casting.on:
            input, weight, bias = lower(input, weight, bias)
        _check_tensors(f"conv{nd}d", nd, input, weight, bias)
        if input._array.dtype.kind == "c":
            return _of_parts(conv, input, weight, bias, stride, padding, dilation, groups)
        return _run(Convolution, input, weight, bias, conv_plan, nd, stride, padding, dilation, groups)

    def conv_transpose(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Tensor:
        if casting.on:
            input, weight, bias = lower(input, weight, bias)
        _check_tensors(f"conv_transpose{nd}d", nd, input, weight, bias)
        if input._array.dtype.kind == "c":
            return _of_parts(conv_transpose, input, weight, bias, stride, padding, output_padding, groups, dilation)
        return _run(
            ConvTranspose, input, weight, bias, transpose_plan, nd, stride, padding, output_padding, groups, dilation
        )

    ones = ", ".join(["1"] * (nd + 1))
    words = {
        "nd": nd,
        "dims": ("L", "H, W", "D, H, W")[nd - 1],
        "kernel": ("K", "KH, KW", "KD, KH, KW")[nd - 1],
        "x": f"torch.ones({ones}, 3)",
        "w": f"torch.ones({ones}, 2)",
    }
    left, right = "[" * (nd + 2), "]" * (nd + 2)
    conv.__doc__ = _CONV_DOC.format(**words, result=f"tensor({left}2., 2.{right})")
    conv_transpose.__doc__ = _TRANSPOSE_DOC.format(**words, result=f"tensor({left}1., 1., 1., 1., 1., 1.{right})")
    install(conv, f"conv{nd}d", method=False, functional=True)
    install(conv_transpose, f"conv_transpose{nd}d", method=False, functional=True)


for _nd in (1, 2, 3):
    _install(_nd)
