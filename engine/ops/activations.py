"""Piecewise activation functions: relu, leaky_relu, elu, hardtanh, threshold and their kin, one node each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd.modes import state
from ..gpu.pointwise import Activation
from ..pool import scratch
from ..tensor import Tensor
from ._blocked import BITS, COMPILED, elements, is_large, pointwise, written
from .base import CARDS, F32, F64, Op, composite, expect_tensor, install, op
from .inplace import assign, check_inplace
from .pointwise import unary
from .samples import samples_for

_ZERO32, _ZERO64 = np.zeros((), F32), np.zeros((), F64)
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946  # Klambauer et al. 2017


def _relu(x: Any) -> Any:
    d = x.dtype
    if type(x) is not np.ndarray:
        return np.maximum(x, 0)
    if x.size >= COMPILED and d.kind == "f":
        return np.clip(x, d.type(0), d.type(np.inf))  # `maximum` with one number takes three times as long
    return np.maximum(x, _ZERO32 if d is F32 else _ZERO64 if d is F64 else 0)


def _zero_bits(x: Any, mask: Any) -> Any:
    bits = BITS[x.dtype]
    keep = mask.astype(bits)
    keep -= 1  # all bits set where the mask is False, none where it is True
    keep &= x.view(bits)
    return keep.view(x.dtype)


@op("_zero_where", function=False, method=False, node="WhereBackward0")
class ZeroWhere(Op):
    """`x` with zeros where a mask is True.

    NumPy's `where` is several times slower than arithmetic, and multiplying by the mask would turn inf into NaN; so the
    numbers' bits are masked.
    """

    n, moves, keep = 2, True, (1,)

    @staticmethod
    def forward(xp: Any, x: Any, mask: Any) -> Any:
        if x.dtype not in BITS or xp is not np or not x.ndim or x.shape != mask.shape:
            return xp.where(mask, xp.zeros((), x.dtype), x)
        found = elements("drop", x, mask, params=(0,)) if x.size >= COMPILED else None
        if found is not None:
            return found
        return pointwise(_zero_bits, x, mask) if is_large(x) else _zero_bits(x, mask)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return xp._zero_where(g, s.inputs[1]), None


def _times(mask: Any, g: Any, out: Any) -> None:
    """`g` where the mask is True, else 0: its bits times 1 or 0, because infinity times 0 would be NaN."""
    bits = BITS[g.dtype]
    factor = scratch(g.size, bits, 1)
    np.copyto(factor, mask)
    np.multiply(factor, g.view(bits), out=out.view(bits))


def _relu_plain(g: Any, y: Any, out: Any) -> None:
    _times(np.not_equal(y, 0, out=scratch(g.size, np.bool_)), g, out)


RELU = unary("relu", ufunc=_relu, keep="y", to_float=False, functional=True, compiled="both", gpu=True,
             plain=_relu_plain, grad=lambda xp, g, x, y: xp._zero_where(g, y <= 0), doc="""
max(x, 0) of each element. Any shape, real dtypes.

>>> torch.relu(torch.tensor([-1., 2.]))
tensor([0., 2.])
""")


def _relu_of_others(xp: Any, x: Any) -> Any:
    if x.dtype.kind == "b":
        raise RuntimeError("Boolean inputs not supported for relu")
    return _relu(x)


RELU.forward = staticmethod(_relu_of_others)  # type: ignore[method-assign] # of every dtype but float32 and float64, which have a shorter path


@composite("relu", function=False, method=False, functional=True)
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0) of each element; `inplace` changes and returns `input`.

    >>> torch.nn.functional.relu(torch.tensor([-1., 2.]))
    tensor([0., 2.])
    """
    return input.relu_() if inplace else RELU.call(input)  # type: ignore[attr-defined]


# -- rows with parameters ---------------------------------------------------------------------------------------------


def row(name: str, forward: Callable, grad: Callable, node: str = "", compiled: bool = False, gpu: Any = False,
        plain: Callable | None = None) -> Any:
    """A card of one input: `forward(xp, x, *params)`, `grad(xp, g, x, *params)`.

    `plain`: writes the gradient of large arrays of NumPy in fewer passes, `plain(g, x, out, *params)`.

    `compiled`: `engine/fast/elements.py` has kernels of this name for both; `gpu`: `engine/gpu/kernels/pointwise.cu` has, or
    with "parameters" `arithmetic.cu`.
    """

    def blocked_forward(xp: Any, x: Any, *params: Any) -> Any:
        y = elements(name, x, params=params) if compiled else None
        if y is not None:
            return y
        return pointwise(lambda x: forward(xp, x, *params), x) if is_large(x) else forward(xp, x, *params)

    def backward(xp: Any, s: Any, g: Any) -> tuple:
        x, params = s.inputs[0], s.params
        gx = elements(name + "_backward", g, x, params=params) if compiled and type(g) is np.ndarray else None
        if gx is None and plain and type(g) is np.ndarray:
            gx = written(plain, g, x, params=params)
        if gx is not None:
            return (gx,)
        return (pointwise(lambda g, x: grad(xp, g, x, *params), g, x) if is_large(g) else grad(xp, g, x, *params),)

    body = {"__doc__": f"`{name}` of each element; see `nn.functional.{name}`.", "keep": (0,),
            "forward": staticmethod(blocked_forward), "backward": staticmethod(backward),
            "gpu": Activation(name, parameters=gpu == "parameters") if gpu else None}
    return op("_" + name, function=False, method=False, node=node or name.title().replace("_", "") + "Backward0")(
        type(name.title().replace("_", ""), (Op,), body))


def run(card: Any, input: Tensor, inplace: bool = False, *params: Any) -> Tensor:
    """Apply a card; `inplace` stores the result into `input`, whose old value is kept only for the gradient."""
    if not inplace:
        return card.apply(expect_tensor(input, card.name[1:]), *params)
    check_inplace(input)
    source = CARDS["clone"].apply(input) if state.grad and input.requires_grad else input
    return assign(input, card.apply(source, *params), card.name[1:] + "_")


def public(**where: bool) -> Callable:
    """Install an activation in nn.functional (and in `engine` where torch has it there), with its `name_` form."""

    def register(fn: Callable) -> Callable:
        install(fn, fn.__name__, method=False, functional=True, function=where.get("function", False))
        return fn

    return register


def inplace_form(fn: Callable, function: bool = False) -> None:
    def changed(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return fn(input, *args, inplace=True, **kwargs)

    install(changed, fn.__name__ + "_", function=function, method=False, functional=True,
            doc=f"In-place form of `{fn.__name__}`: changes and returns the tensor.")


def _elu_forward(xp: Any, x: Any, alpha: float, scale: float, rate: float) -> Any:
    return xp.where(x > 0, x * scale, xp.expm1(xp.minimum(x, 0) * rate) * (alpha * scale))


def _elu_grad(xp: Any, g: Any, x: Any, alpha: float, scale: float, rate: float) -> Any:
    return xp.where(x > 0, g * scale, g * xp.exp(xp.where(x > 0, 0, x * rate)) * (alpha * scale * rate))


def _leaky(xp: Any, x: Any, slope: float) -> Any:
    return xp.maximum(x, x * slope) if 0 < slope <= 1 else xp.where(x > 0, x, x * slope)


def _leaky_grad(xp: Any, g: Any, x: Any, slope: float) -> Any:
    above = x > 0
    return xp._zero_where(g, ~above) + xp._zero_where(g * slope, above)  # faster than `where`


def _leaky_plain(g: Any, x: Any, out: Any, slope: float) -> None:
    above, number = np.greater(x, 0, out=scratch(g.size, np.bool_)), g.dtype.type
    if not 0 < slope <= 1:
        out[...] = np.where(above, g, g * number(slope))
        return
    np.copyto(out, above)
    np.clip(out, number(slope), number(1), out=out)
    out *= g


_LEAKY = row("leaky_relu", _leaky, _leaky_grad, compiled=True, gpu="parameters", plain=_leaky_plain)
_ELU = row("elu", _elu_forward, _elu_grad, compiled=True, gpu="parameters")
_THRESHOLD = row("threshold", lambda xp, x, edge, value: xp.where(x <= edge, xp.asarray(value, x.dtype), x),
                   lambda xp, g, x, edge, value: xp.where(x <= edge, 0, g))
_HARDTANH = row("hardtanh", lambda xp, x, lo, hi: xp.minimum(xp.maximum(x, lo), hi),
                  lambda xp, g, x, lo, hi: xp._zero_where(g, ~((x > lo) & (x < hi))), compiled=True, gpu="parameters")
_HARDSWISH = row("hardswish", lambda xp, x: x * xp.minimum(xp.maximum(x + 3, 0), 6) / 6,
                   lambda xp, g, x: xp.where(x <= -3, 0, xp.where(x >= 3, g, g * (x / 3 + 0.5))),
                   compiled=True, gpu="parameters")
_HARDSIGMOID = row("hardsigmoid", lambda xp, x: xp.minimum(xp.maximum(x + 3, 0), 6) / 6,
                     lambda xp, g, x: xp.where((x > -3) & (x < 3), g / 6, 0), compiled=True, gpu="parameters")
_SOFTSHRINK = row("softshrink", lambda xp, x, edge: xp.where(x > edge, x - edge, xp.where(x < -edge, x + edge, x * 0)),
                    lambda xp, g, x, edge: xp.where((x >= -edge) & (x <= edge), 0, g))
_HARDSHRINK = row("hardshrink", lambda xp, x, edge: xp.where((x >= -edge) & (x <= edge), xp.asarray(0, x.dtype), x),
                    lambda xp, g, x, edge: xp.where((x >= -edge) & (x <= edge), 0, g))


@public()
def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x for positive elements, `negative_slope * x` for others.

    >>> torch.nn.functional.leaky_relu(torch.tensor([-1., 2.]), 0.1)
    tensor([-0.1000,  2.0000])
    """
    return run(_LEAKY, input, inplace, negative_slope)


@public()
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x for positive elements, `alpha * (exp(x) - 1)` for others (Clevert et al. 2015).

    >>> torch.nn.functional.elu(torch.tensor([-1., 2.]))
    tensor([-0.6321,  2.0000])
    """
    return run(_ELU, input, inplace, alpha, 1.0, 1.0)


@public(function=True)
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Scaled elu with the constants of Klambauer et al. 2017, which keep mean 0 and variance 1.

    >>> torch.nn.functional.selu(torch.tensor([-1., 2.]))
    tensor([-1.1113,  2.1014])
    """
    return run(_ELU, input, inplace, _SELU_ALPHA, _SELU_SCALE, 1.0)


@public(function=True)
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x for positive elements, `alpha * (exp(x / alpha) - 1)` for others (Barron 2017).

    >>> torch.nn.functional.celu(torch.tensor([-1., 2.]), 0.5)
    tensor([-0.4323,  2.0000])
    """
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return run(_ELU, input, inplace, alpha, 1.0, 1.0 / alpha)


@public(function=True)
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > `threshold`, else `value`.

    >>> torch.nn.functional.threshold(torch.tensor([0.1, 2.]), 1., 9.)
    tensor([9., 2.])
    """
    return run(_THRESHOLD, input, inplace, threshold, value)


@public()
def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x limited to [min_val, max_val]; no gradient at the limits.

    >>> torch.nn.functional.hardtanh(torch.tensor([-2., 0.5]))
    tensor([-1.0000,  0.5000])
    """
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    if input._array.dtype.kind == "b":
        raise RuntimeError("Bool inputs not supported for hardtanh")
    return run(_HARDTANH, input, inplace, min_val, max_val)


@public()
def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """x limited to [0, 6].

    >>> torch.nn.functional.relu6(torch.tensor([-2., 3., 9.]))
    tensor([0., 3., 6.])
    """
    return run(_HARDTANH, input, inplace, 0, 6)


@public()
def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * relu6(x + 3) / 6 (Howard et al. 2019).

    >>> torch.nn.functional.hardswish(torch.tensor([-4., 1.]))
    tensor([-0.0000, 0.6667])
    """
    return run(_HARDSWISH, input, inplace)


@public()
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """relu6(x + 3) / 6.

    >>> torch.nn.functional.hardsigmoid(torch.tensor([-4., 0.]))
    tensor([0.0000, 0.5000])
    """
    return run(_HARDSIGMOID, input, inplace)


@public()
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by `lambd`, 0 within that distance of 0. RuntimeError for a negative `lambd`.

    >>> torch.nn.functional.softshrink(torch.tensor([-1., 0.2]))
    tensor([-0.5000,  0.0000])
    """
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd}.")
    return run(_SOFTSHRINK, input, False, lambd)


@public(function=True)
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x, but 0 within `lambd` of 0.

    >>> torch.nn.functional.hardshrink(torch.tensor([-1., 0.2]))
    tensor([-1.,  0.])
    """
    return run(_HARDSHRINK, input, False, lambd)


for _fn in (leaky_relu, elu, selu, celu, threshold, hardtanh):
    inplace_form(_fn, function=_fn in (selu, celu, threshold))
Tensor.hardshrink = hardshrink  # type: ignore[attr-defined]


@samples_for("leaky_relu")
def _piecewise_samples(make: Any) -> Any:
    x = make.uniform((3, 5), -2, 2)
    for name, options in (("leaky_relu", {}), ("leaky_relu", {"negative_slope": 0.2}), ("elu", {}), ("elu", {"alpha": 1.3}),
                          ("selu", {}), ("celu", {"alpha": 0.5}), ("threshold", {"threshold": 0.1, "value": 3.0}),
                          ("hardtanh", {}), ("hardtanh", {"min_val": -0.5, "max_val": 0.7}), ("relu6", {}),
                          ("hardswish", {}), ("softshrink", {"lambd": 0.3}), ("hardshrink", {})):
        yield make(name, x, _module="nn.functional", **options)
        yield make(name, make.uniform((4, 3), -7, 7).t(), _module="nn.functional", **options)
        yield make(name, make.uniform((), -7, 7), _module="nn.functional", **options)
        yield make(name, make.uniform((0, 2), -7, 7), _module="nn.functional", **options)
    # torch multiplies by a float32 sixth even in float64, so its gradient is no oracle here
    yield make("hardsigmoid", make.uniform((4, 3), -7, 7), _module="nn.functional", _grad=False)
    yield make("hardsigmoid", make.uniform((4, 3), -7, 7), _module="nn.functional", _oracle=False)
