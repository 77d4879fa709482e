"""Loss functions of torch.nn.functional."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from .. import backend
from ..gpu.losses import CrossEntropyRows, NllRows
from ..tensor import Tensor, wrap
from ._class_lines import gradients_of, lines_of, losses_of
from ._exponentials import line_sums
from .base import FUNCTIONAL, Op, expect_tensor, install, op
from .reductions import add_up
from .samples import samples_for
from .softmax import shifted


def check_reduction(reduction: str) -> str:
    """`reduction` if it is known; torch's ValueError otherwise."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def legacy_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """`reduction`, unless the deprecated pair of flags was given (with torch's warning)."""
    if size_average is None and reduce is None:
        return reduction
    averaged = size_average is None or size_average
    chosen = "none" if reduce is False else "mean" if averaged else "sum"
    warnings.warn(f"size_average and reduce args will be deprecated, please use reduction='{chosen}' instead.", stacklevel=4)
    return chosen


# -- cross entropy ----------------------------------------------------------------------------------------------------


def _classes_last(x: Any) -> Any:
    """(C), (N, C) or (N, C, d1, ...) as a matrix (rows, C)."""
    if x.ndim == 2:
        return x
    if x.ndim == 1:
        return x.reshape(1, x.shape[0])
    n, classes, *rest = x.shape
    return x.reshape(n, classes, math.prod(rest)).swapaxes(1, 2).reshape(n * math.prod(rest), classes)


def _classes_back(rows: Any, shape: tuple) -> Any:
    """The inverse of `_classes_last`, and of `lines_of`."""
    if len(shape) == 2:
        return rows
    if len(shape) == 1 or rows.ndim == 3:
        return rows.reshape(shape)
    return rows.reshape(shape[0], math.prod(shape[2:]), shape[1]).swapaxes(1, 2).reshape(shape)


@op("cross_entropy", function=False, method=False, node="NllLossBackward0")
class CrossEntropy(Op):
    """-log softmax(input)[target], averaged over the rows: log_softmax and nll_loss as one node.

    Shapes: input (C), (N, C) or (N, C, d1, ...); target class indices (), (N) or (N, d1, ...) in int64, or probabilities
    shaped like input. `weight` (C) scales the classes and "mean" divides by the weights used; rows whose index is
    `ignore_index` do not count; `label_smoothing` mixes the target with the uniform distribution.
    ValueError for sizes that do not fit, IndexError for a class out of bounds.

    Each row's loss is -sum_c A[c] * log p[c], where A is the row's (weighted, smoothed) target; its gradient is
    p * sum(A) - A.

    >>> torch.nn.functional.cross_entropy(torch.tensor([[0., 0.]]), torch.tensor([1]))
    tensor(0.6931)
    """

    n = 3
    keep = (0, 1, 2)
    # exp(input - max), its row sums, rows and targets (or the three of `losses_of`), then what the row targets A are made of
    has_aux = True
    gpu = CrossEntropyRows()

    @staticmethod
    def forward(xp: Any, x: Any, target: Any, weight: Any, reduction: str, ignore_index: int, smoothing: float) -> Any:
        if target.dtype.kind == "f":
            z = shifted(xp, _classes_last(x), 1)
            a = _row_targets(xp, _classes_last(target), weight, smoothing)
            e = xp.exp(z)
            total = e.sum(axis=1)
            losses = a.sum(axis=1) * xp.log(total) - (a * z).sum(axis=1)
            scale = 1.0 / max(len(z), 1) if reduction == "mean" else 1.0
            return _reduced(losses, reduction, len(z), x.shape), (e, total, scale)
        t, classes = target.reshape(-1), x.shape[1 if x.ndim > 1 else 0]
        hit = count = valid = None
        if weight is not None or 0 <= ignore_index < classes or _out_of_bounds(xp, t, classes):
            t, hit, valid = _row_weights(xp, t, classes, weight, ignore_index, x.dtype)
            count = hit.sum()
        lines, smooth = lines_of(x), None
        if lines is not None:
            losses, logs, made = losses_of(lines, t)
            if smoothing:
                smooth = line_sums(lines, weight).reshape(-1)
        else:
            z = shifted(xp, _classes_last(x), 1)
            rows = xp.arange(len(t))
            picked = z[rows, t]
            if smoothing:
                smooth = (z if weight is None else z * weight).sum(axis=1)
            e = xp.exp(z, out=z)
            total = add_up(xp, e, 1, False)
            logs = xp.log(total)
            losses, made = logs - picked, (e, total, rows, t)
        if hit is not None:
            losses *= hit
        if smoothing:
            mixed = logs * _mass(weight, classes) - smooth
            losses = losses * (1 - smoothing) + (mixed if valid is None else xp.where(valid, mixed, 0)) * (
                smoothing / classes)
        out = _reduced(losses, reduction, len(t) if count is None else count, x.shape)
        return out, (made, hit, valid, count)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        if len(s.aux) == 3:
            return CrossEntropy.backward_traced(xp, s, g)
        made, hit, valid, count = s.aux
        reduction, _, smoothing = s.params
        x, _, weight = s.inputs
        if reduction == "none":
            g = g.reshape(-1)
        elif reduction == "mean":
            g = g / (math.prod(x.shape) // x.shape[1 if x.ndim > 1 else 0] if count is None else _divisor(count))
        at_target = overall = g if hit is None else g * hit
        classes = x.shape[1 if x.ndim > 1 else 0]
        if smoothing:
            at_target = at_target * (1 - smoothing)
            spread = (g if valid is None else g * valid) * (smoothing / classes)
            overall = at_target + spread * _mass(weight, classes)
        if len(made) == 3:
            dx = gradients_of(lines_of(x) if made[0] is None else None, made, overall, at_target)
        else:
            e, total, rows, t = made
            dx = e * (overall / total).reshape(-1, 1)
            dx[rows, t] -= at_target
        if smoothing:
            if np.ndim(spread):
                spread = spread.reshape(len(dx), 1, *dx.shape[2:])
            dx -= spread if weight is None else spread * (weight if dx.ndim == 2 else weight[:, None])
        return _classes_back(dx, x.shape), None, None

    @staticmethod
    def backward_traced(xp: Any, s: Any, g: Any) -> tuple:
        x, target, weight = s.inputs
        reduction, ignore_index, smoothing = s.params
        logits = _classes_last(x)
        rows, classes = logits.shape
        denominator = max(rows, 1)
        if len(s.aux) == 3:  # probabilities; raw arrays come this way, too
            a = _row_targets(xp, _classes_last(target), weight, smoothing)
        else:
            a, denominator = _index_targets(target._array, weight, classes, ignore_index, smoothing, x._array.dtype)
        if reduction == "none":
            g = g.reshape(-1, 1)
        elif reduction == "mean":
            g = g / denominator
        dx = dt = None
        if s.needs[0]:
            dx = _classes_back((xp._softmax(logits, 1) * a.sum(axis=1, keepdims=True) - a) * g, x.shape)
        if s.needs[1]:
            dt = xp._log_softmax(logits, 1) * g * (smoothing - 1)
            dt = _classes_back(dt if weight is None else dt * weight, x.shape)
        return dx, dt, None

    @staticmethod
    def call(input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
             ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean",
             label_smoothing: float = 0.0) -> Tensor:
        expect_tensor(input, "cross_entropy")
        expect_tensor(target, "cross_entropy", "target", 2)
        if size_average is not None or reduce is not None:
            reduction = legacy_reduction(size_average, reduce, reduction)
        if not 0.0 <= label_smoothing <= 1.0:
            raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
        x, t = input._array, target._array
        if not (x.ndim == 2 and t.ndim == 1 and len(t) == len(x) and reduction in _REDUCTIONS and t.dtype == _I64
                and weight is None and x.dtype.kind in "fV"):
            target = _check_target(input, target, weight, reduction, label_smoothing, ignore_index)
        return CrossEntropy.apply(input, target, weight, reduction, ignore_index, label_smoothing)

    @staticmethod
    def samples(make: Any) -> Any:
        for options in ({}, {"reduction": "sum"}, {"reduction": "none"}, {"label_smoothing": 0.1}, {"ignore_index": 1},
                        {"ignore_index": 1, "label_smoothing": 0.2, "reduction": "none"}):
            yield make("cross_entropy", make.uniform((5, 4)), make.ints((5,), 0, 4), **options)
            yield make("cross_entropy", make.uniform((5, 4)), make.ints((5,), 0, 4),
                       weight=make.uniform((4,), 0.5, 2, grad=False), **options)
        for options in ({}, {"reduction": "sum"}, {"reduction": "none", "label_smoothing": 0.1}):
            yield make("cross_entropy", make.uniform((5, 4)), make.uniform((5, 4), 0, 1), **options)
            yield make("cross_entropy", make.uniform((5, 4)), make.uniform((5, 4), 0, 1),
                       weight=make.uniform((4,), 0.5, 2, grad=False), **options)
        yield make("cross_entropy", make.uniform((2, 4, 3)), make.ints((2, 3), 0, 4))
        yield make("cross_entropy", make.uniform((2, 4, 3, 2)), make.ints((2, 3, 2), 0, 4), reduction="none")
        yield make("cross_entropy", make.uniform((2, 4, 3)), make.uniform((2, 4, 3), 0, 1), reduction="none")
        yield make("cross_entropy", make.uniform((4,)), make.ints((), 0, 4))
        yield make("cross_entropy", make.uniform((4,)), make.uniform((4,), 0, 1))
        yield make("cross_entropy", make.uniform((4, 5)).t(), make.ints((5,), 0, 4))


_REDUCTIONS = ("mean", "sum", "none")
_I64 = np.dtype(np.int64)


def _check_class_weight(weight: Tensor | None, classes: int) -> None:
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError("weight tensor should be defined either for all "
                           f"{classes} classes or no classes but got weight tensor of shape: {list(weight.shape)}")


def _check_target(input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float,
                  ignore_index: int) -> Tensor:
    """Raise what torch raises for sizes that do not fit; an index target comes back as int64."""
    check_reduction(reduction)
    x, t = tuple(input.shape), tuple(target.shape)
    if smoothing < 0 or smoothing > 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {smoothing}")
    if input._array.dtype.kind in "iub":
        raise NotImplementedError(f"\"log_softmax_lastdim_kernel_impl\" not implemented for '{input.dtype.word}'")
    if not x:
        raise RuntimeError("Expected floating point type for target with class probabilities or an input with at least one "
                           f"dimension, got {_legacy(target)} and an input of shape []")
    classes = x[0] if len(x) == 1 else x[1]
    _check_class_weight(weight, classes)
    if x == t and target.is_floating_point():
        if ignore_index >= 0:
            raise RuntimeError("ignore_index is not supported for floating point target")
        return target
    if x == t:
        raise RuntimeError(f"Expected floating point type for target with class probabilities, got {_legacy(target)}")
    return _check_index_target(input, target, "cross_entropy")


def _check_index_target(input: Tensor, target: Tensor, name: str) -> Tensor:
    x, t = tuple(input.shape), tuple(target.shape)
    if len(x) == 1:
        if t not in ((), (1,)):
            raise ValueError(f"For 1D input, 1D target must have size 1, but got target size: {t[0]}")
    elif not t or t[0] != x[0]:
        raise ValueError(f"Expected input batch_size ({x[0]}) to match target batch_size ({t[0] if t else 1}).")
    elif t[1:] != x[2:]:
        if len(x) == 2:
            raise RuntimeError(f"0D or 1D target tensor expected, multi-target not supported ({name}() got a target of "
                               f"shape {list(t)})")
        raise RuntimeError(f"Expected target size {[x[0], *x[2:]]}, got {list(t)}")
    if target._array.dtype not in (_I64, np.uint8):
        raise RuntimeError(f"expected target dtype to be Long or Byte, but got {_legacy(target)} ({name}() takes class "
                           "indices in int64)")
    return target if target._array.dtype == _I64 else target.long()  # type: ignore[attr-defined]


def _legacy(t: Tensor) -> str:
    return t.type().rpartition(".")[2].removesuffix("Tensor")  # type: ignore[attr-defined]


def _mass(weight: Any, classes: int) -> Any:
    """The sum of the class weights."""
    return classes if weight is None else weight.sum()


def _out_of_bounds(xp: Any, t: Any, classes: int) -> bool:
    """Whether any class is negative (then huge, read as unsigned) or too large; ignored rows may be. On a GPU, where nobody
    looks, it is taken to be so."""
    return t.view(xp.uint64).max() >= classes if backend.readable(t) else bool(t.size)


def _row_weights(xp: Any, t: Any, classes: int, weight: Any, ignore_index: int, np_dtype: Any) -> tuple:
    """(targets with 0 where ignored, each row's weight, which rows count). IndexError for a class out of bounds."""
    valid = t != ignore_index
    t = xp.where(valid, t, 0)
    if backend.readable(t) and (int(t.min()) < 0 or int(t.max()) >= classes):
        raise IndexError(f"Target {int(t[(t < 0) | (t >= classes)].ravel()[0])} is out of bounds.")
    return t, (valid.astype(np_dtype) if weight is None else xp.where(valid, weight[t], 0)), valid


def _row_targets(xp: Any, target: Any, weight: Any, smoothing: float) -> Any:
    """Probabilities, smoothed and weighted."""
    if smoothing:
        target = target * (1 - smoothing) + smoothing / target.shape[1]
    return target if weight is None else target * weight


def _index_targets(target: Any, weight: Any, classes: int, ignore_index: int, smoothing: float, np_dtype: Any) -> tuple:
    """Class indices as a matrix of weighted, smoothed row targets (a Tensor), and the sum of the weights used."""
    xp = backend.namespace(target)
    w = None if weight is None else weight._array
    t, hit, valid = _row_weights(xp, target.reshape(-1), classes, w, ignore_index, np_dtype)
    a = xp.zeros((len(t), classes), np_dtype)
    if smoothing:
        a[...] = valid[:, None] * (smoothing / classes) * (1 if w is None else w)
    a[xp.arange(len(t)), t] += hit * (1 - smoothing)
    return wrap(a), _divisor(float(hit.sum()))


def _divisor(count: Any) -> Any:
    """What gradients are divided by: where no row counts the mean is NaN, but the gradient 0, as in torch."""
    return count + (count == 0)


def _reduced(losses: Any, reduction: str, count: Any, shape: tuple) -> Any:
    """Row losses under a reduction; "none" gives them the shape of an index target."""
    if reduction == "none":
        return losses.reshape((*shape[:1], *shape[2:]) if len(shape) > 1 else ())
    total = add_up(backend.namespace(losses), losses, None, False)
    return total / count if reduction == "mean" else total


install(CrossEntropy.call, "cross_entropy", function=False, method=False, functional=True, doc=CrossEntropy.__doc__)


def _weights_of_kernel(aux: Any, ignored: int) -> tuple:
    """What `NllLoss.backward` needs, from what the form for a GPU keeps (targets, rows that count or None, shape)."""
    target, count, shape = [a._array if isinstance(a, Tensor) else a for a in aux]
    valid = target != ignored
    scale = valid.astype(np.float64) if count is None else valid / _divisor(count)
    t = backend.namespace(target).where(valid, target, 0)
    return (wrap(scale) if isinstance(aux[0], Tensor) else scale), t, shape, shape


# -- negative log likelihood ------------------------------------------------------------------------------------------


@op("nll_loss", method=False, function=False, node="NllLossBackward0")
class NllLoss(Op):
    """-input[target], where `input` holds log probabilities; shapes and options as in `cross_entropy`.

    >>> torch.nn.functional.nll_loss(torch.tensor([[-1., -2.]]), torch.tensor([1]))
    tensor(2.)
    """

    n = 3
    has_aux = True

    gpu = NllRows()

    @staticmethod
    def forward(xp: Any, x: Any, target: Any, weight: Any, reduction: str, ignore_index: int) -> Any:
        rows = _classes_last(x)
        t, hit, _ = _row_weights(xp, target.reshape(-1), rows.shape[1], weight, ignore_index, x.dtype)
        places = xp.arange(len(t))
        count = hit.sum() if reduction == "mean" else 1
        out = _reduced(-rows[places, t] * hit, reduction, count, x.shape)
        return out, (hit / _divisor(count), t, rows.shape, x.shape)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        scale, t, rows, shape = s.aux if len(s.aux) == 4 else _weights_of_kernel(s.aux, s.params[1])
        g = -g.reshape(-1) * scale
        index = (np.arange(rows[0]), t._array if isinstance(t, Tensor) else t)
        return _classes_back(xp._add_at(g, rows, index), shape), None, None

    @staticmethod
    def call(input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
             ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean") -> Tensor:
        reduction = check_reduction(legacy_reduction(size_average, reduce, reduction))
        expect_tensor(input, "nll_loss")
        if not input.ndim:
            raise RuntimeError("input tensor should be 1D or 2D")
        target = _check_index_target(input, expect_tensor(target, "nll_loss", "target", 2), "nll_loss")
        _check_class_weight(weight, input.shape[0] if input.ndim == 1 else input.shape[1])
        return NllLoss.apply(input, target, weight, reduction, ignore_index)

    @staticmethod
    def samples(make: Any) -> Any:
        for options in ({}, {"reduction": "sum"}, {"reduction": "none"}, {"ignore_index": 1}):
            yield make("nll_loss", make.uniform((5, 4)), make.ints((5,), 0, 4), **options)
            yield make("nll_loss", make.uniform((5, 4)), make.ints((5,), 0, 4),
                       weight=make.uniform((4,), 0.5, 2, grad=False), **options)
        yield make("nll_loss", make.uniform((2, 4, 3)), make.ints((2, 3), 0, 4))
        yield make("nll_loss", make.uniform((2, 4, 3, 2)), make.ints((2, 3, 2), 0, 4), reduction="none")
        yield make("nll_loss", make.uniform((4,)), make.ints((), 0, 4))


install(NllLoss.call, "nll_loss", function=False, method=False, functional=True, doc=NllLoss.__doc__)


# -- a linear layer and its cross entropy -----------------------------------------------------------------------------


def linear_cross_entropy(input: Tensor, linear_weight: Tensor, target: Tensor, *, linear_bias: Tensor | None = None,
                         weight: Tensor | None = None, reduction: str = "mean", ignore_index: int | None = None,
                         label_smoothing: float = 0.0, options: Any = None) -> Tensor:
    """`cross_entropy(linear(input, linear_weight, linear_bias), target)`.

    Shapes: input (in) or (N, in), linear_weight (C, d1, ..., dk, in), linear_bias (C, d1, ..., dk); target as in
    `cross_entropy` for scores (N, C, d1, ..., dk). `options` is accepted; the scores are computed in one piece. Raises
    RuntimeError for shapes that do not fit, and for `ignore_index` together with class probabilities.

    >>> nn.functional.linear_cross_entropy(torch.ones(2, 3), torch.zeros(4, 3), torch.tensor([0, 1]))
    tensor(1.3863)
    """
    if input.ndim not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.ndim}")
    if linear_weight.ndim < 2:
        raise RuntimeError(f"expected linear_weight with dimensionality at least 2, got {linear_weight.ndim}")
    classes, *extra, features = linear_weight.shape
    if input.shape[-1] != features:
        raise RuntimeError("expected equal input and linear_weight last dimensions (in_features), "
                           f"got {input.shape[-1]} and {features}, respectively")
    if linear_bias is not None and tuple(linear_bias.shape) != (classes, *extra):
        raise RuntimeError(f"expected linear_bias shape {(classes, *extra)}, got {tuple(linear_bias.shape)}")
    if extra and input.ndim == 1:
        raise RuntimeError(f"K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} requires batched "
                           f"input, (N, {features}), got unbatched input with shape {tuple(input.shape)}")
    shape = (*input.shape[:-1], classes, *extra)
    if tuple(target.shape) == shape and ignore_index is not None:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    if extra:
        linear_weight = linear_weight.reshape(-1, features)  # type: ignore[attr-defined]
        linear_bias = None if linear_bias is None else linear_bias.reshape(-1)  # type: ignore[attr-defined]
    scores = FUNCTIONAL["linear"](input, linear_weight, linear_bias).reshape(shape)
    return CrossEntropy.call(scores, target, weight, None, -100 if ignore_index is None else ignore_index, None, reduction,
                             label_smoothing)


install(linear_cross_entropy, "linear_cross_entropy", function=False, method=False, functional=True)


@samples_for("linear_cross_entropy")
def _linear_cross_entropy_samples(make: Any) -> Any:
    yield make("linear_cross_entropy", make.uniform((5, 3)), make.uniform((4, 3)), make.ints((5,), 0, 4))
    yield make("linear_cross_entropy", make.uniform((3,)), make.uniform((4, 3)), make.ints((), 0, 4),
               linear_bias=make.uniform((4,)), reduction="sum")
    yield make("linear_cross_entropy", make.uniform((2, 3)), make.uniform((4, 5, 3)), make.ints((2, 5), 0, 4),
               linear_bias=make.uniform((4, 5)), ignore_index=1, label_smoothing=0.1)
    yield make("linear_cross_entropy", make.uniform((2, 3)), make.uniform((4, 3)), make.uniform((2, 4), 0, 1),
               reduction="none")
