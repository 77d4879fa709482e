"""Convolutions and their gradients by cuDNN.

Three maps: forward (`fprop`), to the input (`dgrad`, which is also the transposed convolution) and to the weights (`wgrad`).
All arrays of one map have one memory order, the first's or else the weights', as torch has it: if one of them is channels-last,
so are all and so is the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import backend
from . import cudnn, order
from .card import Kernel


def _geometry(key: cudnn.Key) -> dict[str, list[int]]:
    low, high, stride, dilation = (list(part) for part in key.params)
    return {"pre_padding": low, "post_padding": high, "stride": stride, "dilation": dilation}


@cudnn.describes("fprop")
def _fprop(lib: Any, graph: Any, key: cudnn.Key, tensors: Sequence) -> Sequence:
    out = graph.conv_fprop(image=tensors[0], weight=tensors[1], **_geometry(key))
    if len(tensors) == 3:
        out = graph.bias(input=out, bias=tensors[2])
    return [out]


@cudnn.describes("dgrad")
def _dgrad(lib: Any, graph: Any, key: cudnn.Key, tensors: Sequence) -> Sequence:
    return [graph.conv_dgrad(loss=tensors[0], filter=tensors[1], **_geometry(key))]


@cudnn.describes("wgrad")
def _wgrad(lib: Any, graph: Any, key: cudnn.Key, tensors: Sequence) -> Sequence:
    return [graph.conv_wgrad(image=tensors[0], loss=tensors[1], **_geometry(key))]


# -- maps -------------------------------------------------------------------------------------------------------------


def _operand(a: Any, last: bool) -> cudnn.Operand:
    """The array with the strides of its order, which CuPy's need not be in dimensions of one element.

    (N, C, L) is (N, C, 1, L): cuDNN has no convolutions in one dimension.
    """
    dims = a.shape if a.ndim > 3 else (*a.shape[:2], 1, *a.shape[2:])
    return cudnn.operand(a, dims, order.strides(dims, last))


def _params(windows: Any) -> tuple:
    """Paddings before and after, stride and dilation, of two dimensions or more."""
    lows, highs = (tuple([p[i] for p in windows.pads]) for i in (0, 1))
    if len(windows.stride) == 1:
        return (0, *lows), (0, *highs), (1, *windows.stride), (1, *windows.dilation)
    return lows, highs, windows.stride, windows.dilation


def _served_by_cudnn(arrays: Sequence, windows: Any) -> bool:
    """Whether it is worth asking: floating arrays of one type with elements, and no rows of output that no window made."""
    expected = tuple([(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in
                      zip(windows.padded, windows.kernel, windows.stride, windows.dilation)])
    first = arrays[0].dtype
    return cudnn.available() and first.name in cudnn.TYPES and all(a.dtype == first and a.size for a in arrays) \
        and expected == windows.out


def _apply(kind: str, arrays: Sequence, shape: tuple, plan: Any, bias: Any = None) -> Any:
    """One of the three maps into a new array of this shape; None where cuDNN does not serve."""
    if not _served_by_cudnn(arrays, plan.windows):
        return None
    gpu, last, params = backend.gpu(), any(order.is_channels_last(a) for a in arrays), _params(plan.windows)
    out = order.new(gpu, shape, arrays[0].dtype, last)
    given, target = [_operand(order.ordered(gpu, a, last), last) for a in arrays], [_operand(out, last)]
    if bias is not None and last and out.itemsize == 2:  # kernels for this order add it for nothing
        row = _operand(bias.reshape(1, -1, *[1] * (out.ndim - 2)), last)
        if cudnn.run(kind, [*given, row], target, *params):
            return out
    if not cudnn.run(kind, given, target, *params):
        return None
    return out if bias is None else _add(gpu, out, bias)


def _add(gpu: Any, out: Any, bias: Any) -> Any:
    return gpu.add(out, bias.reshape(-1, *[1] * (out.ndim - 2)), out=out)


def forward(x: Any, w: Any, b: Any, plan: Any) -> Any:
    """The convolution of (N, C, *) with (O, C / groups, *) and a bias or None."""
    return _apply("fprop", [x, w], plan.out_shape, plan, b)


def input_gradient(g: Any, w: Any, plan: Any) -> Any:
    """The gradient of the input, from that of the output and the weights."""
    return _apply("dgrad", [g, w], plan.x_shape, plan)


def weight_gradient(g: Any, x: Any, plan: Any) -> Any:
    """The gradient of the weights, from that of the output and the input."""
    return _apply("wgrad", [x, g], plan.w_shape, plan)


def _served(*found: Any) -> Any:
    """Gradients, (wanted, value) each; NotImplemented if one that is wanted is not there."""
    return NotImplemented if any(wanted and value is None for wanted, value in found) else tuple([v for _, v in found])


# -- forms of the cards -----------------------------------------------------------------------------------------------


class Convolution(Kernel):
    """`_convolution`: input, weights and bias."""

    def forward(self, x: Any, w: Any, b: Any, plan: Any) -> Any:
        out = forward(x, w, b, plan)
        return NotImplemented if out is None else (out, None)

    def backward(self, node: Any, g: Any) -> Any:
        (x, w, _), plan, needs = node.raw_inputs, node.params[0], node.needs
        return _served((needs[0], input_gradient(g, w, plan) if needs[0] else None),
                       (needs[1], weight_gradient(g, x, plan) if needs[1] else None),
                       (needs[2], g.sum(axis=plan.sum_axes) if needs[2] else None))


class Transpose(Kernel):
    """`_conv_transpose`: its forward is the input gradient of the convolution that `plan` describes."""

    def forward(self, x: Any, w: Any, b: Any, plan: Any) -> Any:
        out = input_gradient(x, w, plan)
        if out is None:
            return NotImplemented
        return out if b is None else _add(backend.gpu(), out, b)

    def backward(self, node: Any, g: Any) -> Any:
        (x, w, _), plan, needs = node.raw_inputs, node.params[0], node.needs
        return _served((needs[0], forward(g, w, None, plan) if needs[0] else None),
                       (needs[1], weight_gradient(x, g, plan) if needs[1] else None),
                       (needs[2], g.sum(axis=plan.sum_axes) if needs[2] else None))


class InputGradient(Kernel):
    """`_conv_input_grad` of output gradient and weights."""

    def forward(self, g: Any, w: Any, plan: Any) -> Any:
        out = input_gradient(g, w, plan)
        return NotImplemented if out is None else out

    def backward(self, node: Any, g: Any) -> Any:
        (out, w), plan, needs = node.raw_inputs, node.params[0], node.needs
        return _served((needs[0], forward(g, w, None, plan) if needs[0] else None),
                       (needs[1], weight_gradient(out, g, plan) if needs[1] else None))


class WeightGradient(Kernel):
    """`_conv_weight_grad` of output gradient and input."""

    def forward(self, g: Any, x: Any, plan: Any) -> Any:
        out = weight_gradient(g, x, plan)
        return NotImplemented if out is None else out

    def backward(self, node: Any, g: Any) -> Any:
        (out, x), plan, needs = node.raw_inputs, node.params[0], node.needs
        return _served((needs[0], forward(x, g, None, plan) if needs[0] else None),
                       (needs[1], input_gradient(out, g, plan) if needs[1] else None))
