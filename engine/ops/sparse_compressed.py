"""What a compressed sparse matrix (CSR, CSC) is made of, and the old names of sparse products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import backend
from ..tensor import Tensor, wrap
from .base import FUNCTIONS, composite, install
from .sparse_coo import from_dense, is_sparse, matmul, to_dense, to_layout

_KINDS = ("row", "column")


def _part(name: str, axis: int, doc: str, get: Callable[[Any], Any]) -> None:
    def part(input: Tensor) -> Tensor:
        if not is_sparse(input) or input._array.axis != axis:
            found = {None: "Sparse", 0: "SparseCsr", 1: "SparseCsc"}[input._array.axis] if is_sparse(input) else "Strided"
            raise RuntimeError(f"{name} expected sparse {_KINDS[axis]} compressed tensor layout but got {found}")
        return wrap(get(input._array))

    def copy(input: Tensor, *, out: Tensor | None = None) -> Tensor:
        made = part(input).clone()  # type: ignore[attr-defined]
        return made if out is None else out.copy_(made)  # type: ignore[attr-defined]

    copy.__doc__ = f"A copy of `Tensor.{name}()`."
    install(part, name, function=False, doc=doc)
    install(copy, f"{name}_copy", method=False)


def _pointers(x: Any) -> Any:
    return x.pointers(backend.namespace(x))


_part("crow_indices", 0, "Where the rows of a CSR matrix begin among its values: int64 (rows + 1).\n\n"
      "    >>> torch.eye(2).to_sparse_csr().crow_indices()\n    tensor([0, 1, 2])\n    ", _pointers)
_part("col_indices", 0, "The column of each value of a CSR matrix: int64.", lambda x: x.indices[1])
_part("ccol_indices", 1, "Where the columns of a CSC matrix begin among its values: int64 (columns + 1).", _pointers)
_part("row_indices", 1, "The row of each value of a CSC matrix: int64.", lambda x: x.indices[0])


@composite("indices_copy", method=False)
def indices_copy(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """A copy of `Tensor.indices()`."""
    made = input.indices().clone()  # type: ignore[attr-defined]
    return made if out is None else out.copy_(made)  # type: ignore[attr-defined]


@composite("values_copy", method=False)
def values_copy(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """A copy of `Tensor.values()`."""
    made = input.values().clone()  # type: ignore[attr-defined]
    return made if out is None else out.copy_(made)  # type: ignore[attr-defined]


@composite("to_sparse_csr", function=False)
def to_sparse_csr(input: Tensor, dense_dim: int | None = None) -> Tensor:
    """The matrix in the layout sparse_csr. RuntimeError for what is no matrix.

    >>> torch.tensor([[0., 2.], [3., 0.]]).to_sparse_csr()
    tensor(crow_indices=tensor([0, 1, 2]),
           col_indices=tensor([1, 0]),
           values=tensor([2., 3.]), size=(2, 2), nnz=2, layout=torch.sparse_csr)
    """
    return to_layout(from_dense(input), 0)


@composite("to_sparse_csc", function=False)
def to_sparse_csc(input: Tensor, dense_dim: int | None = None) -> Tensor:
    """The matrix in the layout sparse_csc. RuntimeError for what is no matrix."""
    return to_layout(from_dense(input), 1)


@composite("dsmm", method=False)
def dsmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of a sparse and a dense matrix, dense: the old name of `torch.sparse.mm`."""
    return matmul(input, mat2) if is_sparse(input) or is_sparse(mat2) else FUNCTIONS["mm"](input, mat2)


@composite("smm")
def smm(input: Tensor, mat: Tensor) -> Tensor:
    """The product of a sparse and a dense matrix, sparse.

    >>> torch.smm(torch.eye(2).to_sparse(), torch.ones(2, 1)).to_dense()
    tensor([[1.],
            [1.]])
    """
    return from_dense(to_dense(matmul(input, mat)))


@composite("sspaddmm")
def sspaddmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Tensor | None = None) -> Tensor:
    """beta * input + alpha * (mat1 mat2), sparse, of a sparse `input` and `mat1`."""
    return input * beta + smm(mat1, mat2) * alpha  # type: ignore[operator]


__all__ = ["dsmm", "smm"]
