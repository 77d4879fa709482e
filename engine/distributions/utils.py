"""Small helpers of the distributions: broadcasting of parameters, probabilities and log-odds, values computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Number
from typing import Any

import engine
from engine.nn import functional as F
from engine.tensor import Tensor

__all__ = ["broadcast_all", "clamp_probs", "euler_constant", "lazy_property", "logits_to_probs", "probs_to_logits",
           "_sum_rightmost", "tril_matrix_to_vec", "vec_to_tril_matrix"]  # fmt: skip

euler_constant = 0.57721566490153286060


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """Tensors and numbers as tensors of one shape; numbers take the dtype and device of the first tensor.

    Raises: ValueError for anything that is neither a number nor a tensor.
    """
    for value in values:
        if not isinstance(value, (Number, Tensor)):
            raise ValueError("Input arguments must all be instances of Number or torch.Tensor, "
                             f"got {type(value).__name__}.")
    first = next((v for v in values if isinstance(v, Tensor)), None)
    options = {} if first is None else {"dtype": first.dtype, "device": first.device}
    if first is None:
        options = {"dtype": engine.get_default_dtype()}
    return tuple(engine.broadcast_tensors(*(v if isinstance(v, Tensor) else engine.tensor(v, **options) for v in values)))


def _standard_normal(shape: Sequence[int], dtype: Any, device: Any) -> Tensor:
    # Not used here: libraries that define distributions of their own import it.
    return engine.randn(shape, dtype=dtype, device=device)


def _sum_rightmost(value: Tensor, dims: int) -> Tensor:
    """`value` with its last `dims` dimensions added up."""
    return value if dims == 0 else value.reshape(*value.shape[: value.dim() - dims], -1).sum(-1)


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities at least one step of their dtype away from 0 and 1, so that their logarithms are finite."""
    eps = engine.finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """Log-odds of probabilities (`is_binary`), or log-probabilities."""
    p = clamp_probs(probs)
    return p.log() - (-p).log1p() if is_binary else p.log()


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """The inverse of `probs_to_logits`."""
    return engine.sigmoid(logits) if is_binary else F.softmax(logits, dim=-1)


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """Rows of D numbers as lower triangular matrices, row by row, at and below diagonal `diag`."""
    n = (-(1 + 2 * diag) + ((1 + 2 * diag) ** 2 + 8 * vec.shape[-1] + 4 * abs(diag) * (diag + 1)) ** 0.5) / 2
    if not round(n) - n == 0:
        raise ValueError(f"The size of last dimension is {vec.shape[-1]} which cannot be expressed as the lower triangular "
                         "part of a square D x D matrix.")
    size = int(n)
    rows, columns = engine.tril_indices(size, size, offset=diag, device=vec.device)
    flat = vec.new_zeros((*vec.shape[:-1], size * size))
    flat = flat.scatter(-1, (rows * size + columns).expand(vec.shape), vec)
    return flat.reshape(*vec.shape[:-1], size, size)


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The entries of matrices at and below diagonal `diag`, row by row."""
    n = mat.shape[-1]
    if diag < -n or diag >= n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    rows, columns = engine.tril_indices(n, n, offset=diag, device=mat.device)
    return mat.reshape(*mat.shape[:-2], n * n).index_select(-1, rows * n + columns)


class lazy_property:  # noqa: N801  (torch's name)
    """A property that is computed when first read, and then kept in the object; assigning to it works as for an attribute."""

    def __init__(self, wrapped: Callable) -> None:
        self.wrapped = wrapped
        self.__doc__ = wrapped.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        with engine.enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.name, value)
        return value
