"""Distances and directions: normalize, cosine_similarity, pairwise_distance, cdist, pdist; and one_hot."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..tensor import Tensor, wrap
from .base import CARDS, composite, expect_tensor
from .conversion import to_dtype
from .facts import result_type
from .inplace import write_out
from .matmul import Matmul
from .samples import samples_for
from .statistics import norm, vector_norm


@composite("normalize", function=False, method=False, functional=True)
def normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """`input` divided by its p-norm along `dim`, but by no less than `eps`.

    >>> torch.nn.functional.normalize(torch.tensor([[3., 4.]]))
    tensor([[0.6000, 0.8000]])
    """
    result = input / norm(input, p, dim, keepdim=True).clamp_min(eps)  # type: ignore[attr-defined]
    return result if out is None else write_out(out, result)


@composite("cosine_similarity", method=False, functional=True)
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between `x1` and `x2` along `dim`: x1.x2 / (max(|x1|, eps) * max(|x2|, eps)).

    >>> torch.nn.functional.cosine_similarity(torch.tensor([[1., 0.]]), torch.tensor([[1., 1.]]))
    tensor([0.7071])
    """
    common = result_type(x1, x2)
    if not common.is_floating_point:
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {common.word}")
    x1, x2 = to_dtype(x1, common), to_dtype(x2, common)
    if x1.shape != x2.shape:
        shape = np.broadcast_shapes(tuple(x1.shape), tuple(x2.shape))
        x1, x2 = x1.expand(shape), x2.expand(shape)  # type: ignore[attr-defined]
    left, right = [x / norm(x, 2, dim, keepdim=True).clamp_min(eps) for x in (x1, x2)]  # type: ignore[attr-defined]
    return (left * right).sum(dim)  # type: ignore[attr-defined]


@composite("pairwise_distance", method=False, functional=True)
def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of `x1 - x2 + eps` along the last dimension.

    >>> torch.nn.functional.pairwise_distance(torch.tensor([[3., 4.]]), torch.tensor([[0., 0.]]))
    tensor([5.0000])
    """
    difference = x1 - x2 + eps  # type: ignore[operator]
    return vector_norm(difference, p, (difference.ndim - 1,) if difference.ndim else None, keepdim)


@composite("cdist", method=False)
def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """The p-norm distances between all rows of `x1` (..., n, d) and of `x2` (..., m, d), as (..., n, m).

    Euclidean distances of more than 25 rows go through a matrix product, as in torch, unless `compute_mode` is
    "donot_use_mm_for_euclid_dist". Distances of 0 have gradient 0.

    >>> torch.cdist(torch.tensor([[0., 0.]]), torch.tensor([[3., 4.], [0., 1.]]))
    tensor([[5., 1.]])
    """
    for position, t in enumerate((x1, x2), 1):
        if expect_tensor(t, "cdist", f"x{position}", position).ndim < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, X{position} got: {t.ndim}D")
        if not t.is_floating_point():
            raise RuntimeError(f"cdist only supports floating-point dtypes, X{position} got: {t.dtype.word}")
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}")
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    large = x1.shape[-2] > 25 or x2.shape[-2] > 25
    if p == 2 and (compute_mode == "use_mm_for_euclid_dist" or (large and compute_mode.endswith("if_necessary"))):
        squares = (x1 * x1).sum(-1, keepdim=True) + (x2 * x2).sum(-1, keepdim=True).swapaxes(-1, -2)  # type: ignore[operator]
        squares = squares - 2 * Matmul.call(x1, x2.swapaxes(-1, -2))  # type: ignore[attr-defined]
        return _root(squares.clamp_min(0))
    difference = x1.unsqueeze(-2) - x2.unsqueeze(-3)  # type: ignore[attr-defined]
    return vector_norm(difference, p, (difference.ndim - 1,), False)


def _root(squares: Tensor) -> Tensor:
    """The square root with gradient 0 at 0."""
    zero = squares.detach() == 0
    where = CARDS["where"].call
    return where(zero, 0.0, where(zero, 1.0, squares).sqrt())


@composite("pdist", method=False, functional=True)
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm distances between all pairs of rows, first row first.

    >>> torch.pdist(torch.tensor([[0., 0.], [3., 4.], [0., 1.]])).round(decimals=4)
    tensor([5.0000, 1.0000, 4.2426])
    """
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if not input.is_floating_point():
        raise RuntimeError("pdist only supports floating-point dtypes")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    i, j = np.triu_indices(input.shape[0], 1)
    gather = CARDS["_gather_index"].apply
    return vector_norm(gather(input, i) - gather(input, j), p, (1,), False)


@composite("one_hot", function=False, method=False, functional=True)
def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """int64 classes as rows of zeros with a one, in a new last dimension of `num_classes` (by default the largest + 1).

    RuntimeError for other dtypes, negative classes and classes that do not fit.

    >>> torch.nn.functional.one_hot(torch.tensor([0, 2]))
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    a = expect_tensor(tensor, "one_hot", "tensor")._array
    if a.dtype != np.int64:
        raise RuntimeError(f"one_hot is only applicable to index tensor of type LongTensor, got {tensor.dtype}.")
    if not a.size:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
    elif backend.readable(a) and int(a.min()) < 0:
        raise RuntimeError("Class values must be non-negative.")
    classes = num_classes if num_classes != -1 else int(a.max()) + 1
    if num_classes == 0 or num_classes < -1:
        raise RuntimeError("num_classes should be positive")
    if backend.readable(a) and int(a.max()) >= classes:
        raise RuntimeError("Class values must be smaller than num_classes.")
    xp = backend.namespace(a)
    out = xp.zeros((a.size, classes), np.int64)
    out[xp.arange(a.size), a.reshape(-1)] = 1
    return wrap(out.reshape(*a.shape, classes))


@samples_for("normalize")
def _samples(make: Any) -> Any:
    yield make("normalize", make.uniform((3, 4)))
    yield make("normalize", make.uniform((3, 4)), p=1, dim=0)
    yield make("normalize", make.uniform((3, 4)), 3.0, -1)
    yield make("cosine_similarity", make.uniform((3, 4)), make.uniform((3, 4)))
    yield make("cosine_similarity", make.uniform((3, 4)), make.uniform((1, 4)), dim=-1)
    for p in (1, 2, 3.0, math.inf):
        yield make("pairwise_distance", make.uniform((3, 4)), make.uniform((3, 4)), p)
        yield make("cdist", make.uniform((3, 4)), make.uniform((5, 4)), p)
        yield make("pdist", make.uniform((4, 3)), p)
    yield make("pairwise_distance", make.uniform((4,)), make.uniform((3, 4)), keepdim=True)
    yield make("cdist", make.uniform((2, 3, 4)), make.uniform((2, 5, 4)), compute_mode="use_mm_for_euclid_dist")
    yield make("one_hot", make.ints((2, 3), 0, 4))
    yield make("one_hot", make.ints((3,), 0, 4), 6)
    yield make("one_hot", make.ints((), 0, 4), num_classes=5)
