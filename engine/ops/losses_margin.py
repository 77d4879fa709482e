"""Losses with a margin, over pairs, triplets and several classes or labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import backend
from ..tensor import Tensor, wrap
from .base import CARDS, composite
from .distances import cosine_similarity, pairwise_distance
from .losses import legacy_reduction
from .losses_pointwise import reduced
from .samples import samples_for


def _where(condition: Any, a: Any, b: Any) -> Tensor:
    return CARDS["where"].call(condition, a, b)


@composite("hinge_embedding_loss", method=False, functional=True)
def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, size_average: bool | None = None,
                         reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """x where the target is 1, max(0, margin - x) where it is -1.

    >>> torch.nn.functional.hinge_embedding_loss(torch.tensor([0.5, 0.2]), torch.tensor([1., -1.]))
    tensor(0.6500)
    """
    losses = _where(target == -1, (margin - input).clamp_min(0), 0.0) + _where(target == 1, input, 0.0)  # type: ignore[operator]
    return reduced(losses, legacy_reduction(size_average, reduce, reduction))


@composite("margin_ranking_loss", method=False, functional=True)
def margin_ranking_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, size_average: bool | None = None,
                        reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """max(0, -target * (input1 - input2) + margin). RuntimeError for differing numbers of dimensions.

    >>> torch.nn.functional.margin_ranking_loss(torch.tensor([1.]), torch.tensor([2.]), torch.tensor([1.]))
    tensor(1.)
    """
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError("margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: "
                           f"{input1.shape}, input2: {input2.shape}, target: {target.shape} ")
    losses = (-target * (input1 - input2) + margin).clamp_min(0)  # type: ignore[operator]
    return reduced(losses, legacy_reduction(size_average, reduce, reduction))


@composite("soft_margin_loss", function=False, method=False, functional=True)
def soft_margin_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
                     reduction: str = "mean") -> Tensor:
    """log(1 + exp(-target * input)) for targets of 1 and -1.

    >>> torch.nn.functional.soft_margin_loss(torch.tensor([0.]), torch.tensor([1.]))
    tensor(0.6931)
    """
    losses = (-target * input).exp().log1p()  # type: ignore[operator]
    return reduced(losses, legacy_reduction(size_average, reduce, reduction))


@composite("cosine_embedding_loss", method=False, functional=True)
def cosine_embedding_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0,
                          size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """1 - cos(input1, input2) where the target is 1, max(0, cos - margin) where it is -1; inputs (N, D) or (D).

    >>> torch.nn.functional.cosine_embedding_loss(torch.tensor([[1., 0.]]), torch.tensor([[0., 1.]]), torch.tensor([1.]))
    tensor(1.)
    """
    if target.ndim > 1:
        raise RuntimeError(f"0D or 1D target tensor expected, multi-target not supported (got size {list(target.shape)})")
    if target.ndim + 1 != input1.ndim:
        raise RuntimeError(f"{target.ndim}D target tensor expects {target.ndim + 1}D input tensors, but found inputs with "
                           f"sizes {list(input1.shape)} and {list(input2.shape)}.")
    cos = cosine_similarity(input1, input2, dim=target.ndim, eps=1e-8)
    losses = _where(target == 1, 1 - cos, 0.0) + _where(target == -1, (cos - margin).clamp_min(0), 0.0)  # type: ignore[operator]
    return reduced(losses, legacy_reduction(size_average, reduce, reduction))


@composite("triplet_margin_loss", method=False, functional=True)
def triplet_margin_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2,
                        eps: float = 1e-6, swap: bool = False, size_average: bool | None = None, reduce: bool | None = None,
                        reduction: str = "mean") -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin) with p-norm distances; `swap` takes the nearer negative
    distance (Balntas et al. 2016). ValueError for a margin that is not positive.

    >>> a, b = torch.zeros(1, 2), torch.ones(1, 2)
    >>> torch.nn.functional.triplet_margin_loss(a, a, b, margin=3.).round(decimals=4)
    tensor(1.5858)
    """
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    return triplet_margin_with_distance_loss(
        anchor, positive, negative, distance_function=lambda a, b: pairwise_distance(a, b, p, eps), margin=margin, swap=swap,
        reduction=legacy_reduction(size_average, reduce, reduction))


@composite("triplet_margin_with_distance_loss", function=False, method=False, functional=True)
def triplet_margin_with_distance_loss(anchor: Tensor, positive: Tensor, negative: Tensor, *,
                                      distance_function: Callable | None = None, margin: float = 1.0, swap: bool = False,
                                      reduction: str = "mean") -> Tensor:
    """`triplet_margin_loss` with any distance function (by default `pairwise_distance`).

    >>> a, b = torch.zeros(1, 2), torch.ones(1, 2)
    >>> torch.nn.functional.triplet_margin_with_distance_loss(a, a, b, distance_function=lambda x, y: (x - y).abs().sum(-1))
    tensor(0.)
    """
    distance = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return reduced((near - far + margin).clamp_min(0), reduction)


@composite("multi_margin_loss", function=False, method=False, functional=True)
def multi_margin_loss(input: Tensor, target: Tensor, p: int = 1, margin: float = 1.0, weight: Tensor | None = None,
                      size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """sum over the other classes of max(0, margin - x[target] + x[i])^p / C, with `weight` by the target's class.

    Shapes: input (N, C) or (C), target (N) or (). ValueError for p other than 1 and 2.

    >>> torch.nn.functional.multi_margin_loss(torch.tensor([[0.1, 0.9]]), torch.tensor([1]))
    tensor(0.1000)
    """
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    rows = input if input.ndim == 2 else input.reshape(1, -1)  # type: ignore[attr-defined]
    t = target._array.reshape(-1)
    if backend.readable(t) and (int(t.min()) < 0 or int(t.max()) >= rows.shape[1]):
        raise RuntimeError(f"target out of range: {int(t.max())} of {rows.shape[1]} classes")
    xp = backend.namespace(t)
    index = (xp.arange(len(t)), t)
    right = CARDS["_gather_index"].apply(rows, index)
    slack = (margin - right.reshape(-1, 1) + rows).clamp_min(0)
    slack = slack * slack if p == 2 else slack
    if weight is not None:
        slack = slack * CARDS["_gather_index"].apply(weight, t).reshape(-1, 1)
    others = xp.ones(rows.shape, rows._array.dtype)
    others[index] = 0
    losses = (slack * wrap(others)).sum(1) / rows.shape[1]
    losses = losses if input.ndim == 2 else losses.reshape(())
    return reduced(losses, legacy_reduction(size_average, reduce, reduction))


@composite("multilabel_margin_loss", function=False, method=False, functional=True)
def multilabel_margin_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
                           reduction: str = "mean") -> Tensor:
    """sum over labels j and other classes i of max(0, 1 - (x[j] - x[i])) / C; a row's labels end at its first -1.

    >>> torch.nn.functional.multilabel_margin_loss(torch.tensor([[0.1, 0.2, 0.4, 0.8]]), torch.tensor([[3, 0, -1, 1]]))
    tensor(0.8500)
    """
    rows = input if input.ndim == 2 else input.reshape(1, -1)  # type: ignore[attr-defined]
    if target.shape != input.shape:
        raise RuntimeError(f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}")
    t = target._array.reshape(rows.shape)
    n, classes = rows.shape
    xp = backend.namespace(t)
    listed = np.cumprod(t >= 0, axis=1).astype(bool)
    positive = xp.zeros((n, classes), bool)
    where = np.nonzero(listed)
    positive[where[0], t[where]] = True
    label = CARDS["_gather_index"].apply(rows, (xp.arange(n)[:, None], np.where(listed, t, 0)))
    slack = (1 - (label.unsqueeze(2) - rows.unsqueeze(1))).clamp_min(0)  # type: ignore[attr-defined]
    counts = wrap((listed[:, :, None] & ~positive[:, None, :]).astype(rows._array.dtype))
    losses = (slack * counts).sum((1, 2)) / classes
    losses = losses if input.ndim == 2 else losses.reshape(())
    return reduced(losses, legacy_reduction(size_average, reduce, reduction))


@composite("multilabel_soft_margin_loss", function=False, method=False, functional=True)
def multilabel_soft_margin_loss(input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
                                reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """The mean over classes of -(t log sigmoid(x) + (1 - t) log sigmoid(-x)); `weight` scales the classes.

    >>> torch.nn.functional.multilabel_soft_margin_loss(torch.tensor([[0., 0.]]), torch.tensor([[1., 0.]]))
    tensor(0.6931)
    """
    log_sigmoid = CARDS["_log_sigmoid"].apply
    losses = -(target * log_sigmoid(input) + (1 - target) * log_sigmoid(-input))  # type: ignore[operator]
    losses = (losses if weight is None else losses * weight).mean(-1)
    return reduced(losses, legacy_reduction(size_average, reduce, reduction))


@samples_for("margin_ranking_loss")
def _samples(make: Any) -> Any:
    from .samples import Array

    def signs(shape: tuple) -> Array:
        return Array(make.rng.integers(0, 2, shape) * 2.0 - 1, grad=False)

    for reduction in ("mean", "sum", "none"):
        f = {"reduction": reduction, "_module": "nn.functional"}
        yield make("hinge_embedding_loss", make.uniform((5,)), signs((5,)), margin=0.7, **f)
        yield make("margin_ranking_loss", make.uniform((5,)), make.uniform((5,)), signs((5,)), margin=0.3, **f)
        yield make("soft_margin_loss", make.uniform((3, 4)), signs((3, 4)), **f)
        yield make("cosine_embedding_loss", make.uniform((5, 3)), make.uniform((5, 3)), signs((5,)), margin=0.1, **f)
        yield make("triplet_margin_loss", make.uniform((5, 3)), make.uniform((5, 3)), make.uniform((5, 3)), swap=True, **f)
        yield make("triplet_margin_with_distance_loss", make.uniform((5, 3)), make.uniform((5, 3)), make.uniform((5, 3)), **f)
        yield make("multi_margin_loss", make.uniform((5, 3)), make.ints((5,), 0, 3), **f)
        yield make("multi_margin_loss", make.uniform((5, 3)), make.ints((5,), 0, 3), 2, 0.7,
                   make.uniform((3,), 0.5, 2, grad=False), **f)
        labels = Array(np.array([[3, 0, -1, 1], [-1, 2, 0, 1]]), grad=False)
        yield make("multilabel_margin_loss", make.uniform((2, 4)), labels, **f)
        yield make("multilabel_soft_margin_loss", make.uniform((5, 3)), make.uniform((5, 3), 0, 1, grad=False), **f)
