"""Losses that compare input and target element by element: mse, l1, huber, binary cross entropy, kl_div and their kin.

The commonest are one node with the reduction inside; the rest are compositions.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import fast
from ..gpu.losses import PairLoss
from ..memory import empty
from ..pool import map_blocks, parallel_for
from ..tensor import Tensor
from ._blocked import SINGLE, WORTH, is_large, pointwise, row_blocks, sum_over
from .base import Op, composite, expect_tensor, op
from .losses import check_reduction, legacy_reduction
from .pointwise import explain_broadcast
from .rearranging import broadcast_tensors
from .reductions import check_mean_dtype
from .samples import samples_for


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """A tensor of losses under a reduction."""
    check_reduction(reduction)
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()  # type: ignore[attr-defined]


def _total(name: str, value: Callable, x: Any, t: Any, params: Sequence) -> Any:
    """The sum of `value(np, x, t, *params)`: compiled, or in blocks."""
    blocks, kernel = _kernel(name, x, t)
    if kernel is None:
        return sum_over(x, None, False, lambda x, t: value(np, x, t, *params), t)
    flat, p = (x.reshape(-1), t.reshape(-1)), np.float32(params[0] if params else 0)
    return x.dtype.type(sum(map_blocks(lambda i: kernel(*[a[blocks[i]] for a in flat], p), len(blocks))))


def _kernel(name: str, *arrays: Any) -> tuple[list, Any]:
    """(blocks, kernel) of `fast/losses.py` for large arrays of one shape; the kernel is None where it does not apply."""
    first = arrays[0]
    if not is_large(first) or any(a.shape != first.shape for a in arrays):
        return [], None
    kernels = fast.kernels("losses") if fast.fits(*arrays) else None
    return row_blocks(first.size, 1, SINGLE, WORTH), getattr(kernels, name, None)


def _derivative(name: str, grad: Callable, xp: Any, g: Any, x: Any, t: Any, params: Sequence) -> Any:
    """`grad(xp, g, x, t, *params)`, where g has one element (the gradient of a sum) or one for each loss."""
    of_sum = isinstance(g, (np.ndarray, np.generic)) and not g.ndim
    blocks, kernel = _kernel(name + "_backward", x, t) if of_sum else ([], None)
    if kernel is not None:
        out = empty(x.shape, x.dtype)
        flat, factor, p = [a.reshape(-1) for a in (x, t, out)], np.float32(g), np.float32(params[0] if params else 0)
        parallel_for(lambda i: kernel(*[a[blocks[i]] for a in flat], factor, p), len(blocks))
        return out
    if is_large(x):
        return pointwise(lambda g, x, t: grad(xp, g, x, t, *params), g, x, t)
    return grad(xp, g, x, t, *params)


def _pair_card(name: str, value: Callable, grad: Callable, node: str) -> Any:
    """A loss of (input, target): `value(xp, x, t, *params)` per element and its derivative `grad` by the input. The loss
    depends on input - target, so the target's derivative is the negative. `engine/fast/losses.py` has both."""

    def forward(xp: Any, x: Any, t: Any, reduction: str, *params: Any) -> Any:
        if reduction != "none" and is_large(x) and x.shape == t.shape:
            total = _total(name, value, x, t, params)
            return (total / x.size if reduction == "mean" else total), x.size
        losses = value(xp, x, t, *params)
        if reduction == "none":
            return losses, 1
        return (losses.sum() / losses.size if reduction == "mean" else losses.sum()), losses.size

    def backward(xp: Any, s: Any, g: Any) -> tuple:
        (x, t), (reduction, *params) = s.inputs, s.params
        if reduction == "mean":
            g = g / s.aux
        dx = _derivative(name, grad, xp, g, x, t, params)
        return (dx if s.needs[0] else None), (-dx if s.needs[1] else None)

    body = {"__doc__": f"See `nn.functional.{name}`.", "n": 2, "promote": True, "keep": (0, 1), "has_aux": True,
            "gpu": PairLoss(name), "forward": staticmethod(forward), "backward": staticmethod(backward),
            "explain": classmethod(lambda cls, error, tensors, params: explain_broadcast(tensors))}
    return op("_" + name, function=False, method=False, node=node)(type(name.title().replace("_", ""), (Op,), body))


def _mse(xp: Any, x: Any, t: Any) -> Any:
    d = x - t
    return d * d


_MSE = _pair_card("mse_loss", _mse, lambda xp, g, x, t: (x - t) * (g * 2), "MseLossBackward0")
_L1 = _pair_card("l1_loss", lambda xp, x, t: abs(x - t), lambda xp, g, x, t: xp.sign(x - t) * g, "L1LossBackward0")


def _smooth_value(xp: Any, x: Any, t: Any, beta: float) -> Any:
    d = abs(x - t)
    return xp.where(d < beta, 0.5 * d * d / beta, d - 0.5 * beta)


def _smooth_grad(xp: Any, g: Any, x: Any, t: Any, beta: float) -> Any:
    d = x - t
    return g * xp.where(abs(d) < beta, d / beta, xp.sign(d))


def _huber_value(xp: Any, x: Any, t: Any, delta: float) -> Any:
    d = abs(x - t)
    return xp.where(d <= delta, 0.5 * d * d, delta * (d - 0.5 * delta))


def _huber_grad(xp: Any, g: Any, x: Any, t: Any, delta: float) -> Any:
    d = x - t
    return g * xp.where(abs(d) <= delta, d, xp.sign(d) * delta)


_SMOOTH = _pair_card("smooth_l1_loss", _smooth_value, _smooth_grad, "SmoothL1LossBackward0")
_HUBER = _pair_card("huber_loss", _huber_value, _huber_grad, "HuberLossBackward0")


def _regression(card: Any, input: Tensor, target: Tensor, reduction: str, weight: Tensor | None, *params: Any) -> Tensor:
    """Apply a pair loss, with torch's warning when sizes differ; `weight` scales the elements."""
    name = card.name[1:]
    if expect_tensor(input, name)._array.shape != expect_tensor(target, name, "target", 2)._array.shape:
        warnings.warn(f"Using a target size ({target.shape}) that is different to the input size ({input.shape}). This will "
                      "likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
                      stacklevel=3)
        input, target = broadcast_tensors(input, target)  # a 0-d tensor then counts for the dtype like any other
    check_reduction(reduction)
    if input._array.dtype.kind in "iub" and target._array.dtype.kind in "iub":
        if card is _MSE:
            raise NotImplementedError(f"\"mse_cpu\" not implemented for '{input.dtype.word}'")
        if reduction == "mean":
            check_mean_dtype(input, "mean")
    if weight is None:
        return card.apply(input, target, reduction, *params)
    if weight.shape != input.shape:
        raise ValueError("Weights and input must have the same size.")
    losses = card.apply(input, target, "none", *params) * weight
    if reduction == "mean" and card is not _HUBER:  # torch divides huber's by the count and the others' by the weights
        return losses.sum() / weight.sum()  # type: ignore[attr-defined]
    return reduced(losses, reduction)


@composite("mse_loss", function=False, method=False, functional=True)
def mse_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
             reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """(input - target)^2, averaged, summed or as it is; `weight` scales the elements and "mean" divides by its sum.

    A UserWarning when the sizes differ (they are broadcast), ValueError for an unknown reduction.

    >>> torch.nn.functional.mse_loss(torch.tensor([1., 2.]), torch.tensor([1., 4.]))
    tensor(2.)
    """
    return _regression(_MSE, input, target, legacy_reduction(size_average, reduce, reduction), weight)


@composite("l1_loss", function=False, method=False, functional=True)
def l1_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
            reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """|input - target|, averaged, summed or as it is.

    >>> torch.nn.functional.l1_loss(torch.tensor([1., 2.]), torch.tensor([1., 4.]))
    tensor(1.)
    """
    return _regression(_L1, input, target, legacy_reduction(size_average, reduce, reduction), weight)


@composite("smooth_l1_loss", function=False, method=False, functional=True)
def smooth_l1_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
                   reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """0.5 d^2 / beta where d = |input - target| < beta, else d - 0.5 beta (Girshick 2015). l1_loss for beta 0.

    >>> torch.nn.functional.smooth_l1_loss(torch.tensor([1., 2.]), torch.tensor([1., 4.]))
    tensor(0.7500)
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return _regression(_L1, input, target, reduction, None)
    return _regression(_SMOOTH, input, target, reduction, None, beta)


@composite("huber_loss", function=False, method=False, functional=True)
def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0,
               weight: Tensor | None = None) -> Tensor:
    """0.5 d^2 where d = |input - target| <= delta, else delta * (d - 0.5 delta) (Huber 1964).

    >>> torch.nn.functional.huber_loss(torch.tensor([1., 2.]), torch.tensor([1., 4.]))
    tensor(0.7500)
    """
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    return _regression(_HUBER, input, target, reduction, weight, delta)


@samples_for("mse_loss")
def _regression_samples(make: Any) -> Any:
    for name, options in (("mse_loss", {}), ("l1_loss", {}), ("smooth_l1_loss", {}), ("smooth_l1_loss", {"beta": 0.5}),
                          ("huber_loss", {}), ("huber_loss", {"delta": 0.7})):
        for reduction in ("mean", "sum", "none"):
            yield make(name, make.uniform((3, 4)), make.uniform((3, 4)), reduction=reduction, **options)
        yield make(name, make.uniform(()), make.uniform(()), **options)
        yield make(name, make.uniform((4, 3)).t(), make.uniform((3, 4)), **options)
        if "smooth" not in name:
            yield make(name, make.uniform((3, 4)), make.uniform((3, 4)), weight=make.uniform((3, 4), 0.5, 2), **options)


# -- binary cross entropy ---------------------------------------------------------------------------------------------


@op("_binary_cross_entropy", function=False, method=False, node="BinaryCrossEntropyBackward0")
class BinaryCrossEntropy(Op):
    """-(t log x + (1 - t) log(1 - x)) per element, the logarithms limited to -100 from below as torch does."""

    n, promote, keep = 2, True, (0, 1)

    @staticmethod
    def forward(xp: Any, x: Any, t: Any) -> Any:
        if x.size and (float(x.min()) < 0 or float(x.max()) > 1):
            raise RuntimeError("all elements of input should be between 0 and 1")
        if t.size and (float(t.min()) < 0 or float(t.max()) > 1):
            raise RuntimeError("all elements of target should be between 0 and 1")
        return (t - 1) * xp.maximum(xp.log1p(-x), -100) - t * xp.maximum(xp.log(x), -100)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        x, t = s.inputs
        dx = dt = None
        if s.needs[0]:
            dx = g * ((x - t) / xp.maximum((1 - x) * x, 1e-12 + x * 0))
        if s.needs[1]:
            dt = g * (xp.maximum(xp.log1p(-x), -100 + x * 0) - xp.maximum(xp.log(x), -100 + x * 0))
        return dx, dt


@composite("binary_cross_entropy", function=False, method=False, functional=True)
def binary_cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
                         reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """-(t log x + (1 - t) log(1 - x)) for probabilities x in [0, 1]; `weight` scales the elements.

    ValueError for sizes that differ, RuntimeError for elements outside of [0, 1].

    >>> torch.nn.functional.binary_cross_entropy(torch.tensor([0.5]), torch.tensor([1.]))
    tensor(0.6931)
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if target.shape != input.shape:
        raise ValueError(f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is "
                         "deprecated. Please ensure they have the same size.")
    if target._array.dtype != input._array.dtype:
        raise RuntimeError(f"binary_cross_entropy(): Found dtype {target.dtype} but expected {input.dtype}")
    losses = BinaryCrossEntropy.apply(input, target)
    return reduced(losses if weight is None else losses * weight, reduction)


def _logits_value(xp: Any, x: Any, t: Any, p: Any = None) -> Any:
    soft = xp.log1p(xp.exp(-abs(x))) - xp.minimum(x, 0)
    return (1 - t) * x + (soft if p is None else (1 + (p - 1) * t) * soft)


@op("_bce_with_logits", function=False, method=False, node="BinaryCrossEntropyWithLogitsBackward0")
class BceWithLogits(Op):
    """(1 - t) x + (1 + (p - 1) t) log(1 + exp(-x)), reduced; p (`pos_weight`) may be missing."""

    n, promote, keep, has_aux = 3, True, (0, 1, 2), True
    gpu = PairLoss("bce_with_logits", even=False)

    @staticmethod
    def forward(xp: Any, x: Any, t: Any, p: Any, reduction: str) -> Any:
        if reduction != "none" and p is None and is_large(x) and x.shape == t.shape:
            total = _total("bce_with_logits", _logits_value, x, t, ())
            return (total / x.size if reduction == "mean" else total), x.size
        losses = _logits_value(xp, x, t, p)
        if reduction == "none":
            return losses, 1
        return (losses.sum() / losses.size if reduction == "mean" else losses.sum()), losses.size

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        (x, t, p), reduction = s.inputs, s.params[0]
        if reduction == "mean":
            g = g / s.aux
        dx = dt = dp = None
        if s.needs[0] and p is None:
            dx = _derivative("bce_with_logits", lambda xp, g, x, t: g * (xp.sigmoid(x) - t), xp, g, x, t, ())
        elif s.needs[0]:
            dx = g * ((1 + (p - 1) * t) * xp.sigmoid(x) - p * t)
        if s.needs[1]:
            dt = g * -x if p is None else g * ((p - 1) * -xp._log_sigmoid(x) - x)
        if s.needs[2]:
            dp = g * t * -xp._log_sigmoid(x)
        return dx, dt, dp

    @classmethod
    def explain(cls, error: Exception, tensors: Any, params: Any) -> Exception:
        return explain_broadcast([t for t in (tensors[0], tensors[2]) if t is not None])


@composite("binary_cross_entropy_with_logits", method=False, functional=True)
def binary_cross_entropy_with_logits(input: Tensor, target: Tensor, weight: Tensor | None = None,
                                     size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
                                     pos_weight: Tensor | None = None) -> Tensor:
    """binary_cross_entropy of sigmoid(input), computed without overflow; `pos_weight` scales the positive targets' part.

    ValueError for sizes that differ.

    >>> torch.nn.functional.binary_cross_entropy_with_logits(torch.tensor([0.]), torch.tensor([1.]))
    tensor(0.6931)
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if target.shape != input.shape:
        raise ValueError(f"Target size ({target.shape}) must be the same as input size ({input.shape})")
    check_reduction(reduction)
    if weight is None:
        return BceWithLogits.apply(input, target, pos_weight, reduction)
    return reduced(BceWithLogits.apply(input, target, pos_weight, "none") * weight, reduction)


@samples_for("binary_cross_entropy")
def _binary_samples(make: Any) -> Any:
    for name, lo, hi in (("binary_cross_entropy", 0.05, 0.95), ("binary_cross_entropy_with_logits", -3, 3)):
        for reduction in ("mean", "sum", "none"):
            yield make(name, make.uniform((3, 4), lo, hi), make.uniform((3, 4), 0, 1), reduction=reduction,
                       _module="nn.functional")
        yield make(name, make.uniform((3, 4), lo, hi), make.uniform((3, 4), 0, 1, grad=False),
                   weight=make.uniform((4,), 0.5, 2, grad=False), _module="nn.functional")
    yield make("binary_cross_entropy_with_logits", make.uniform((3, 4)), make.uniform((3, 4), 0, 1, grad=False),
               pos_weight=make.uniform((4,), 0.5, 2, grad=False), _module="nn.functional")


# -- likelihoods ------------------------------------------------------------------------------------------------------


@composite("kl_div", function=False, method=False, functional=True)
def kl_div(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
           reduction: str = "mean", log_target: bool = False) -> Tensor:
    """target * (log(target) - input), with `input` in log space (and `target`, too, with `log_target`).

    `reduction="batchmean"` divides the sum by the first size, which is the Kullback-Leibler divergence's definition.

    >>> p, q = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.25, 0.75]])
    >>> torch.nn.functional.kl_div(q.log(), p, reduction="batchmean")
    tensor(0.1438)
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if reduction == "mean":
        warnings.warn("reduction: 'mean' divides the total loss by both the batch size and the support size. 'batchmean' "
                      "divides only by the batch size, and aligns with the KL div math definition. 'mean' will be changed to "
                      "behave the same as 'batchmean' in the next major release.", stacklevel=2)
    if log_target:
        losses = target.exp() * (target - input)  # type: ignore[attr-defined]
    else:
        losses = target.xlogy(target) - target * input  # type: ignore[attr-defined]
    if reduction == "batchmean":
        return losses.sum() / (input.shape[0] if input.ndim else 1)
    return reduced(losses, reduction)


@composite("poisson_nll_loss", method=False, functional=True)
def poisson_nll_loss(input: Tensor, target: Tensor, log_input: bool = True, full: bool = False,
                     size_average: bool | None = None, eps: float = 1e-8, reduce: bool | None = None,
                     reduction: str = "mean") -> Tensor:
    """exp(input) - target * input, or input - target * log(input + eps); `full` adds Stirling's term for target > 1.

    >>> torch.nn.functional.poisson_nll_loss(torch.tensor([0.]), torch.tensor([2.]))
    tensor(1.)
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if log_input:
        losses = input.exp() - target * input  # type: ignore[attr-defined]
    else:
        losses = input - target * (input + eps).log()  # type: ignore[operator]
    if full:
        stirling = target * target.log() - target + 0.5 * (target * (2 * math.pi)).log()  # type: ignore[attr-defined]
        losses = losses + stirling.masked_fill(target <= 1, 0)
    return reduced(losses, reduction)


@composite("gaussian_nll_loss", function=False, method=False, functional=True)
def gaussian_nll_loss(input: Tensor, target: Tensor, var: Any, full: bool = False, eps: float = 1e-6,
                      reduction: str = "mean") -> Tensor:
    """0.5 * (log(var) + (input - target)^2 / var), with `var` at least `eps`; `full` adds 0.5 log(2 pi).

    `var` has input's shape, or lacks the last dimension, or has a 1 in one place. ValueError for negative values and other
    shapes.

    >>> torch.nn.functional.gaussian_nll_loss(torch.tensor([1.]), torch.tensor([2.]), torch.tensor([1.]))
    tensor(0.5000)
    """
    if isinstance(var, float):
        var = var + input.detach() * 0
    if bool((var < 0).any()):
        raise ValueError("var has negative entry/entries")
    if var.shape != input.shape:
        if input.shape[:-1] == var.shape:
            var = var.unsqueeze(-1)
        elif input.ndim != var.ndim or sum(b for a, b in zip(input.shape, var.shape) if a != b) != 1:
            raise ValueError("var is of incorrect size")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid")
    var = var.clone()
    var.data.clamp_(min=eps)
    losses = 0.5 * (var.log() + (input - target) ** 2 / var)  # type: ignore[operator]
    return reduced(losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)


@samples_for("kl_div")
def _likelihood_samples(make: Any) -> Any:
    for reduction in ("batchmean", "sum", "none"):
        yield make("kl_div", make.uniform((3, 4), -3, -0.1), make.uniform((3, 4), 0.1, 1), reduction=reduction,
                   _module="nn.functional")
        yield make("kl_div", make.uniform((3, 4), -3, -0.1), make.uniform((3, 4), -2, 0), reduction=reduction,
                   log_target=True, _module="nn.functional")
    for options in ({}, {"full": True}, {"log_input": False}, {"reduction": "sum"}):
        yield make("poisson_nll_loss", make.uniform((3, 4), 0.2, 2), make.uniform((3, 4), 0.2, 4, grad=False),
                   _module="nn.functional", **options)
    for shape in ((3, 4), (3, 1), (3,)):
        yield make("gaussian_nll_loss", make.uniform((3, 4)), make.uniform((3, 4)), make.uniform(shape, 0.3, 2), full=True)
