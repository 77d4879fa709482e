"""Connectionist temporal classification: the loss over all alignments of a label sequence with a longer input."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..tensor import Tensor, wrap
from .base import Op, expect_tensor, install, op
from .losses import check_reduction
from .samples import samples_for


def _gathered(xp: Any, lp: Any, states: Any) -> Any:
    """The log probability of every state's label at every time: (T, N, S)."""
    return xp.take_along_axis(lp, states[None], 2)


def _skips(xp: Any, states: Any, blank: int) -> Any:
    """Whether a state may be reached past the blank before it: labels that differ from the label before them."""
    differs = xp.zeros(states.shape, bool)
    differs[:, 2:] = (states[:, 2:] != states[:, :-2]) & (states[:, 2:] != blank)
    return differs


def _alphas(xp: Any, emit: Any, skips: Any) -> Any:
    """log P(first t + 1 inputs, in state s at time t), eq. 6 of the paper; (T, N, S)."""
    alpha = xp.full_like(emit, -np.inf)
    alpha[0, :, :2] = emit[0, :, :2]
    for t in range(1, len(emit)):
        before, now = alpha[t - 1], alpha[t]
        now[...] = before
        now[:, 1:] = xp.logaddexp(now[:, 1:], before[:, :-1])
        now[:, 2:] = xp.logaddexp(now[:, 2:], xp.where(skips[:, 2:], before[:, :-2], -np.inf))
        now += emit[t]
    return alpha


def _betas(xp: Any, emit: Any, skips: Any, input_lengths: Any, target_lengths: Any) -> Any:
    """log P(inputs from t on, in state s at time t), eq. 10; every sequence starts at its own end."""
    steps, _, states = emit.shape
    beta = xp.full_like(emit, -np.inf)
    last = 2 * target_lengths[:, None]
    at = xp.arange(states)
    final = (at == last) | (at == last - 1)
    for t in reversed(range(steps)):
        now = beta[t]
        if t + 1 < steps:
            after = beta[t + 1]
            now[...] = after
            now[:, :-1] = xp.logaddexp(now[:, :-1], after[:, 1:])
            now[:, :-2] = xp.logaddexp(now[:, :-2], xp.where(skips[:, 2:], after[:, 2:], -np.inf))
        ends = (input_lengths == t + 1)[:, None]
        now[...] = xp.where(ends, xp.where(final, 0, -np.inf), now) + emit[t]
    return beta


@op("_ctc_loss", function=False, method=False, node="CtcLossBackward0")
class CTC(Op):
    """The loss of each sequence of log probabilities (T, N, C), given its states (N, 2 L + 1): labels between blanks.

    The gradient is the one of a loss that follows a log_softmax, as torch defines it: P(c at t) - P(c at t | labels),
    eq. 16 of the paper.
    """

    keep = (0,)
    has_aux = True

    @staticmethod
    def forward(xp: Any, lp: Any, states: Any, input_lengths: Any, target_lengths: Any, blank: int,
                zero_infinity: bool) -> Any:
        emit, skips = _gathered(xp, lp, states), _skips(xp, states, blank)
        alpha = _alphas(xp, emit, skips)
        rows = xp.arange(lp.shape[1])
        end = alpha[xp.maximum(input_lengths - 1, 0), rows]
        last = 2 * target_lengths
        loss = -xp.logaddexp(end[rows, last], xp.where(target_lengths > 0, end[rows, xp.maximum(last - 1, 0)], -np.inf))
        nothing = xp.where(target_lengths == 0, 0, np.inf)
        loss = xp.where(input_lengths == 0, nothing, loss).astype(lp.dtype)
        out = xp.where(loss == np.inf, 0, loss).astype(lp.dtype) if zero_infinity else loss
        return out, (emit, skips, alpha, loss)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        (lp,), (states, input_lengths, target_lengths, _, zero_infinity) = s.inputs, s.params
        emit, skips, alpha, loss = s.aux
        module = xp.np
        beta = _betas(module, emit, skips, input_lengths, target_lengths)
        given = module.exp(alpha + beta - emit + loss[None, :, None])
        steps, batch, _ = lp.shape
        grad = module.exp(lp)
        place = (module.arange(steps)[:, None, None], module.arange(batch)[None, :, None], states[None])
        module.subtract.at(grad, place, given)
        grad *= g[None, :, None]
        outside = module.arange(steps)[:, None] >= input_lengths[None]
        grad[outside | (loss == np.inf)[None] if zero_infinity else outside] = 0
        return (grad,)

    @classmethod
    def backward_traced(cls, xp: Any, s: Any, g: Any) -> tuple:
        raise NotImplementedError("the derivative for '_ctc_loss_backward' is not implemented. HINT: call backward() without "
                                  "create_graph=True.")


def _lengths(values: Any, name: str, batch: int, longest: int | None, xp: Any) -> Any:
    if isinstance(values, Tensor):
        array = values._array
        if array.dtype.kind not in "iu":
            raise RuntimeError(f"{name} must be integral")
        array = array.reshape(-1)
    elif isinstance(values, (tuple, list)) and all(isinstance(v, int) for v in values):
        array = np.array(values, np.int64)
    else:
        raise TypeError(f"ctc_loss(): expected {name} to be a Tensor or a tuple of ints, got {type(values).__name__}")
    array = backend.to_numpy(array).astype(np.int64)
    if array.size != batch:
        raise RuntimeError(f"{name} must be of size batch_size")
    if array.size and array.min() < 0:
        raise RuntimeError(f"Expected {name} to have value at least 0, but got value {array.min()}")
    if longest is not None and array.size and array.max() > longest:
        raise RuntimeError(f"Expected {name} to have value at most {longest}, but got value {array.max()}")
    return xp.asarray(array)


def _states(xp: Any, targets: Any, lengths: Any, blank: int, batch: int) -> Any:
    """(N, 2 L + 1) labels with blanks around each, from padded (N, S) or concatenated targets."""
    longest = int(lengths.max()) if batch else 0
    if targets.ndim == 1:
        if targets.size != int(lengths.sum()):
            raise RuntimeError(f"Expected tensor to have size {int(lengths.sum())} at dimension 0, but got size "
                               f"{targets.size} for argument #2 'targets'")
        padded = xp.full((batch, longest), blank, np.int64)
        padded[xp.arange(longest) < lengths[:, None]] = targets
    else:
        if targets.ndim != 2 or targets.shape[0] != batch:
            raise RuntimeError(f"Expected targets of shape ({batch}, S) or of one dimension, got {list(targets.shape)}")
        if targets.shape[1] < longest:
            raise RuntimeError(f"Expected tensor to have size at least {longest} at dimension 1, but got size "
                               f"{targets.shape[1]} for argument #2 'targets'")
        padded = xp.where(xp.arange(longest) < lengths[:, None], targets[:, :longest], blank).astype(np.int64)
    states = xp.full((batch, 2 * longest + 1), blank, np.int64)
    states[:, 1::2] = padded
    return states


def ctc_loss(log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, blank: int = 0,
             reduction: str = "mean", zero_infinity: bool = False) -> Tensor:
    """-log P(targets | log_probs), summed over all alignments (Graves et al. 2006).

    Shapes: log_probs (T, N, C) or (T, C), the output of a log_softmax; targets (N, S) padded, or the sequences one after
    the other in one dimension, without blanks; lengths (N), tensors or tuples of ints. "mean" divides each loss by its
    target's length first; "none" gives (N), or () without a batch. Sequences that cannot be aligned have the loss inf, or
    with `zero_infinity` 0 and no gradient. RuntimeError for lengths and shapes that do not fit.

    The gradient is P(c at t) - P(c at t | targets), as torch defines it: that of the logits, when log_probs is a
    log_softmax. It has no derivative of its own.

    >>> log_probs = torch.log_softmax(torch.zeros(3, 1, 2), 2)
    >>> torch.nn.functional.ctc_loss(log_probs, torch.tensor([[1]]), (3,), (1,))  # 6 of 8 paths
    tensor(0.2877)
    """
    check_reduction(reduction)
    lp = expect_tensor(log_probs, "ctc_loss", "log_probs")._array
    labels = expect_tensor(targets, "ctc_loss", "targets", 2)._array
    if lp.dtype not in (np.float32, np.float64):
        raise NotImplementedError(f'"ctc_loss" not implemented for {log_probs.dtype}')
    if lp.ndim == 2:
        out = ctc_loss(log_probs.unsqueeze(1), targets.reshape(1, -1), input_lengths, target_lengths, blank, reduction,
                       zero_infinity)
        return out.squeeze(0) if reduction == "none" else out
    if lp.ndim != 3:
        raise RuntimeError(f"Expected 3-dimensional tensor, but got {lp.ndim}-dimensional tensor for argument #1 'log_probs'")
    if lp.size == 0:
        raise RuntimeError("log_probs tensor must not be empty")
    steps, batch, classes = lp.shape
    if not 0 <= blank < classes:
        raise RuntimeError("blank must be in label range")
    xp = backend.namespace(lp)
    inputs = _lengths(input_lengths, "input_lengths", batch, steps, xp)
    lengths = _lengths(target_lengths, "target_lengths", batch, None, xp)
    states = _states(xp, labels, lengths, blank, batch)
    if int(states.max()) >= classes or int(states.min()) < 0:
        raise IndexError(f"ctc_loss(): expected targets in [0, {classes}), got {int(states.min())} to {int(states.max())}")
    losses = CTC.apply(log_probs, states, inputs, lengths, blank, zero_infinity)
    if reduction == "mean":
        return (losses / wrap(xp.maximum(lengths, 1).astype(lp.dtype))).mean()
    return losses.sum() if reduction == "sum" else losses


install(ctc_loss, "ctc_loss", method=False, functional=True)


@samples_for("ctc_loss")
def _samples(make: Any) -> Any:
    for reduction in ("mean", "sum", "none"):
        logs = make.uniform((6, 3, 4))
        logs = type(logs)(logs.values - np.log(np.exp(logs.values).sum(-1, keepdims=True)), grad=False)
        options = {"reduction": reduction, "_module": "nn.functional", "_half": False, "_grad": False}
        yield make("ctc_loss", logs, make.ints((3, 3), 1, 4), (6, 5, 6), (3, 1, 2), **options)
        yield make("ctc_loss", logs, make.ints((6,), 0, 3), (6, 5, 2), (3, 1, 2), 3, zero_infinity=True, **options)
