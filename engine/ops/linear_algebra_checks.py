"""What the linear algebra operators share: checks of shape and dtype with torch's sentences, and adjoints."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import result_dtype
from ..errors import LinAlgError
from ..tensor import Tensor
from .base import CARDS, Op, expect_tensor, op


def expect_matrix(name: str, a: Any, letter: str = "A") -> Tensor:
    """`a` if it is a batch of floating matrices. RuntimeError otherwise."""
    expect_tensor(a, name, letter)
    if a.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor {letter} must have at least 2 dimensions.")
    return expect_floating(name, a)


def expect_floating(name: str, a: Tensor) -> Tensor:
    """`a` if it is floating or complex. RuntimeError otherwise."""
    if a._array.dtype.kind in "iub":
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {a.dtype.word}")
    return a


def expect_square(name: str, a: Any, letter: str = "A") -> Tensor:
    """`a` if it is a batch of square floating matrices. RuntimeError otherwise."""
    expect_matrix(name, a, letter)
    m, n = a.shape[-2:]
    if m != n:
        raise RuntimeError(f"{name}: {letter} must be batches of square matrices, but they are {m} by {n} matrices")
    return a


def adj(xp: Any, x: Any) -> Any:
    """The conjugate transpose, on raw arrays and Tensors alike; `xp` is the vocabulary."""
    return (xp.conj(x) if x.dtype.kind == "c" else x).swapaxes(-1, -2)


def adjoint_of(x: Tensor) -> Tensor:
    """The conjugate transpose of every matrix of a Tensor."""
    return x.conj().swapaxes(-1, -2)  # type: ignore[attr-defined]


def column(xp: Any, x: Any) -> Any:
    """(..., n) as (..., n, 1)."""
    return x.reshape(*x.shape, 1)


def row(xp: Any, x: Any) -> Any:
    """(..., n) as (..., 1, n)."""
    return x.reshape(*x.shape[:-1], 1, x.shape[-1])


def batch_phrase(info: Any) -> tuple[str, int]:
    """("(Batch element i): " or "", order) of the first matrix whose factorisation failed."""
    flat = np.asarray(info.get() if hasattr(info, "get") else info).reshape(-1)
    first = int(np.flatnonzero(flat)[0]) if flat.any() else 0
    return (f"(Batch element {first}): " if info.ndim else ""), int(flat[first]) if flat.size else 0


def singular(name: str, info: Any) -> LinAlgError:
    """The error for a matrix that has no inverse."""
    where, order = batch_phrase(info)
    return LinAlgError(f"{name}: {where}The diagonal element {order} is zero, the inversion could not be completed because "
                       "the input matrix is singular.")


def expect_same_dtype(name: str, a: Tensor, b: Tensor) -> None:
    """RuntimeError unless two operands have one dtype."""
    if a.dtype is not b.dtype:
        raise RuntimeError(f"{name}: Expected A and B to have the same dtype, but found A of type {a.dtype.word} and B of type "
                           f"{b.dtype.word} instead (common dtype: {result_dtype([a, b])})")


@op("_eye_for", function=False, method=False)
class EyeFor(Op):
    """The identity that fits square matrices `x`, in their dtype."""

    differentiable = False

    @staticmethod
    def forward(xp: Any, x: Any) -> Any:
        return xp.eye(x.shape[-1], dtype=x.dtype)


def eye_for(x: Tensor) -> Tensor:
    """The identity that fits square matrices `x`."""
    return CARDS["_eye_for"].apply(x)
