"""Smooth activation functions: gelu, silu, mish, softplus, glu, prelu and their kin, one node each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..tensor import Tensor, check_dim, wrap
from ._blocked import is_large, pointwise, rows_to
from .activations import inplace_form, public, row, run
from .base import CARDS, Op, apply, composite, op
from .casting import casting, lower
from .samples import samples_for
from .special_values import erf

_ROOT_HALF, _PDF = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi)
_TANH_SCALE, _TANH_CUBE = math.sqrt(2 / math.pi), 0.044715  # Hendrycks and Gimpel 2016


def _sigmoid(x: Any) -> Any:
    y = np.exp(-x)
    y += 1
    return np.reciprocal(y)


def _log1p_exp(x: Any) -> Any:
    """log(1 + exp(x)) without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _gelu(xp: Any, x: Any) -> Any:
    cdf = erf(x * x.dtype.type(_ROOT_HALF))
    cdf = (cdf + 1) * 0.5
    return x * cdf


def _gelu_grad(xp: Any, g: Any, x: Any) -> Any:
    cdf = (xp.erf(x * _ROOT_HALF) + 1) * 0.5
    return g * (cdf + x * (xp.exp(x * x * -0.5) * _PDF))


def _gelu_tanh(xp: Any, x: Any) -> Any:
    inner = xp.tanh((x + x * x * x * _TANH_CUBE) * _TANH_SCALE)
    return x * (inner + 1) * 0.5


def _gelu_tanh_grad(xp: Any, g: Any, x: Any) -> Any:
    square = x * x
    t = xp.tanh((x + x * square * _TANH_CUBE) * _TANH_SCALE)
    slope = (1 - t * t) * ((square * (3 * _TANH_CUBE) + 1) * _TANH_SCALE)
    return g * ((1 + t) * 0.5 + x * slope * 0.5)


def _silu_grad(xp: Any, g: Any, x: Any) -> Any:
    y = xp.sigmoid(x)
    return g * (y * (1 + x * (1 - y)))


def _mish_grad(xp: Any, g: Any, x: Any) -> Any:
    t = xp.tanh(xp._softplus(x, 1, 20))
    return g * (t + x * xp.sigmoid(x) * (1 - t * t))


def _softplus(xp: Any, x: Any, beta: float, threshold: float) -> Any:
    z = x if beta == 1 else x * beta
    value = xp.log1p(xp.exp(z))
    return xp.where(z > threshold, x, value if beta == 1 else value / beta)


def _softplus_grad(xp: Any, g: Any, x: Any, beta: float, threshold: float) -> Any:
    z = x if beta == 1 else x * beta
    return xp.where(z > threshold, g, g * xp.sigmoid(z))


_GELU = row("gelu", _gelu, _gelu_grad, compiled=True, gpu=True)
_GELU_TANH = row("gelu_tanh", _gelu_tanh, _gelu_tanh_grad, node="GeluBackward0", compiled=True, gpu=True)
_SILU = row("silu", lambda xp, x: x * _sigmoid(x), _silu_grad, compiled=True, gpu=True)
_SOFTPLUS = row("softplus", _softplus, _softplus_grad, compiled=True, gpu="parameters")
_MISH = row("mish", lambda xp, x: x * xp.tanh(_log1p_exp(x)), _mish_grad, compiled=True, gpu=True)
_LOGSIGMOID = row("log_sigmoid", lambda xp, x: xp.minimum(x, 0) - xp.log1p(xp.exp(-abs(x))),
                  lambda xp, g, x: g * xp.sigmoid(-x), node="LogSigmoidBackward0", compiled=True, gpu="parameters")


@public()
def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    """x * Phi(x), with the normal distribution's cdf (Hendrycks and Gimpel 2016); `approximate="tanh"` for its tanh form.

    RuntimeError for other values of `approximate`.

    >>> torch.nn.functional.gelu(torch.tensor([-1., 1.]))
    tensor([-0.1587,  0.8413])
    """
    if approximate == "none":
        return run(_GELU, input)
    if approximate == "tanh":
        return run(_GELU_TANH, input)
    raise RuntimeError("approximate argument must be either none or tanh.")


@public()
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x * sigmoid(x), also called swish (Elfwing et al. 2017).

    >>> torch.nn.functional.silu(torch.tensor([0., 1.]))
    tensor([0.0000, 0.7311])
    """
    return run(_SILU, input, inplace)


@public()
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(softplus(x)) (Misra 2019).

    >>> torch.nn.functional.mish(torch.tensor([0., 1.]))
    tensor([0.0000, 0.8651])
    """
    return run(_MISH, input, inplace)


@public()
def softplus(input: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """log(1 + exp(beta * x)) / beta; x itself where beta * x > `threshold`.

    >>> torch.nn.functional.softplus(torch.tensor([0., 1.]))
    tensor([0.6931, 1.3133])
    """
    return run(_SOFTPLUS, input, False, beta, threshold)


@public()
def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), without overflow.

    >>> torch.nn.functional.logsigmoid(torch.tensor([0., 1.]))
    tensor([-0.6931, -0.3133])
    """
    return run(_LOGSIGMOID, input)


@public()
def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x).

    >>> torch.nn.functional.tanhshrink(torch.tensor([0., 1.]))
    tensor([0.0000, 0.2384])
    """
    return input - input.tanh()  # type: ignore[attr-defined]


@public()
def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|).

    >>> torch.nn.functional.softsign(torch.tensor([-1., 1.]))
    tensor([-0.5000,  0.5000])
    """
    return input / (input.abs() + 1)  # type: ignore[attr-defined]


@samples_for("gelu")
def _smooth_samples(make: Any) -> Any:
    for name, options in (("gelu", {}), ("gelu", {"approximate": "tanh"}), ("silu", {}), ("mish", {}), ("softplus", {}),
                          ("softplus", {"beta": 2, "threshold": 3}), ("logsigmoid", {}), ("tanhshrink", {}), ("softsign", {})):
        for x in (make.uniform((3, 5), -2, 2), make.uniform((4, 3), -5, 5).t(), make.uniform((), -5, 5),
                  make.uniform((0, 2), -5, 5)):
            yield make(name, x, _module="nn.functional", **options)


# -- with more than one argument --------------------------------------------------------------------------------------


@op("glu", function=False, method=False, functional=True)
class Glu(Op):
    """The first half of `dim` times the sigmoid of the second half (Dauphin et al. 2016). RuntimeError for an odd size.

    >>> torch.nn.functional.glu(torch.tensor([1., 2., 0., 0.]))
    tensor([0.5000, 1.0000])
    """

    keep = (0,)

    @staticmethod
    def forward(xp: Any, x: Any, dim: int) -> Any:
        out = rows_to("glu", (x,), x.shape[-1] // 2) if dim == x.ndim - 1 else None
        if out is not None:
            return out
        a, b = _halves(x, dim)
        return pointwise(lambda a, b: a * _sigmoid(b), a, b) if is_large(b) else a * _sigmoid(b)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        dim, x = s.params[0], s.inputs[0]
        if type(g) is np.ndarray and dim == x.ndim - 1:
            gx = rows_to("glu_backward", (g, x), x.shape[-1])
            if gx is not None:
                return (gx,)
        a, b = _halves(x, dim)
        y = xp.sigmoid(b)
        return (xp._join([g * y, g * a * ((1 - y) * y)], dim),)

    @staticmethod
    def call(input: Tensor, dim: int = -1) -> Tensor:
        if not input.ndim:
            raise RuntimeError("glu does not support 0-dimensional tensors")
        d = check_dim(dim, input.ndim)
        if input.shape[d] % 2:
            raise RuntimeError(f"Halving dimension must be even, but dimension {d} is size {input.shape[d]}")
        return Glu.apply(input, d)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("glu", make.uniform((3, 4)))
        yield make("glu", make.uniform((4, 3)), 0)
        yield make("glu", make.uniform((2, 6, 3)), dim=-2)


def _halves(x: Any, dim: int) -> tuple:
    n = x.shape[dim] // 2
    lead = (slice(None),) * dim
    return x[(*lead, slice(0, n))], x[(*lead, slice(n, None))]


@op("_join", function=False, method=False, node="CatBackward0")
class Join(Op):
    """Arrays one after the other along `dim`."""

    n, moves, has_aux = -1, True, True

    @staticmethod
    def forward(xp: Any, parts: list, dim: int) -> Any:
        return xp.concatenate(parts, axis=dim), tuple(p.shape[dim] for p in parts)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        out, at = [], 0
        for n in s.aux:
            out.append(g[(*(slice(None),) * s.params[0], slice(at, at + n))])
            at += n
        return tuple(out)


@op("_prelu", function=False, method=False, node="PreluKernelBackward0")
class Prelu(Op):
    """x where positive, else weight * x, with `weight` already in a shape that broadcasts."""

    n, keep = 2, (0, 1)

    @staticmethod
    def forward(xp: Any, x: Any, w: Any) -> Any:
        return xp.where(x > 0, x, w * x)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        x, w = s.inputs
        up = x > 0
        return (xp.where(up, g, w * g) if s.needs[0] else None), (xp.where(up, 0, x * g) if s.needs[1] else None)


@composite("prelu", functional=True)
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where positive, else `weight * x`; `weight` has one element, or one per channel (dimension 1).

    >>> torch.nn.functional.prelu(torch.tensor([-2., 3.]), torch.tensor([0.25]))
    tensor([-0.5000,  3.0000])
    """
    if casting.on:
        input, weight = lower(input, weight)
    if weight.numel() != 1:
        channels = 1 if input.ndim < 2 else input.shape[1]
        if not input.ndim:
            raise RuntimeError("Not allow zero-dim input tensor.")
        if weight.numel() != channels:
            raise RuntimeError(f"Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                               f"{weight.numel()} and channel size = {channels}.")
    if weight.ndim == 1:
        shape = [1] * input.ndim
        if input.ndim:
            shape[min(1, input.ndim - 1)] = weight.numel()
        weight = weight.reshape(shape)  # type: ignore[attr-defined]
    return apply(Prelu, (input, weight))


@samples_for("prelu")
def _prelu_samples(make: Any) -> Any:
    yield make("prelu", make.uniform((3, 4)), make.uniform((1,)))
    yield make("prelu", make.uniform((2, 3, 4)), make.uniform((3,)))
    yield make("prelu", make.uniform((5,)), make.uniform((1,)))


@public(function=True)
def rrelu(input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False,
          inplace: bool = False) -> Tensor:
    """x where positive, else x times a slope: drawn from [lower, upper) per element in training, their mean otherwise.

    >>> torch.nn.functional.rrelu(torch.tensor([-1., 2.]), 0.2, 0.4)
    tensor([-0.3000,  2.0000])
    """
    if not training:
        return CARDS["_leaky_relu"].apply(input, (lower + upper) / 2) if not inplace else run(
            CARDS["_leaky_relu"], input, True, (lower + upper) / 2)
    falling = input._array <= 0
    slopes = wrap(np.zeros(int(falling.sum()), np.float64)).uniform_(lower, upper)  # type: ignore[attr-defined]
    factor = np.ones(input.shape, input._array.dtype)
    factor[falling] = slopes._array
    result = input * wrap(factor)  # type: ignore[operator]
    return input.copy_(result) if inplace else result  # type: ignore[attr-defined]


@samples_for("rrelu")
def _rrelu_samples(make: Any) -> Any:
    yield make("rrelu", make.uniform((3, 4)))
    yield make("rrelu", make.uniform((3, 4)), 0.1, 0.9)


inplace_form(rrelu, function=True)
