"""`engine.sparse`: sparse tensors by coordinates, rows or columns, as far as training uses them.

Construction, `to_dense`, sums, products with dense matrices and gradients; everything else asks for `to_dense()`. The operators
are in ops/sparse_coo.py, the array in coo.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import dtypes, ops
from .devices import as_device, place
from .errors import not_supported
from .ops.creation import tensor
from .ops.sparse_coo import Build, Values, is_sparse, matmul, total
from .tensor import Tensor, wrap

__all__ = ["DoubleTensor", "FloatTensor", "addmm", "mm", "sparse_coo_tensor", "sparse_compressed_tensor", "sparse_csc_tensor",
           "sparse_csr_tensor", "spmm", "sum"]


def mm(mat1: Tensor, mat2: Tensor) -> Tensor:
    """The matrix product (n, m) times (m, p); either may be sparse, and both may be dense.

    Differentiable in the values of the sparse and in the dense one.

    >>> a = torch.sparse_coo_tensor([[0, 1], [1, 0]], [2., 3.], (2, 2))
    >>> torch.sparse.mm(a, torch.tensor([[1., 2.], [3., 4.]]))
    tensor([[6., 8.],
            [3., 6.]])
    """
    return matmul(mat1, mat2) if is_sparse(mat1) or is_sparse(mat2) else ops.FUNCTIONS["mm"](mat1, mat2)


spmm = mm


def addmm(mat: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
    """`beta * mat + alpha * (mat1 @ mat2)` with a sparse `mat1`.

    >>> torch.sparse.addmm(torch.ones(2, 1), torch.eye(2).to_sparse(), torch.ones(2, 1))
    tensor([[2.],
            [2.]])
    """
    return beta * mat + alpha * mm(mat1, mat2)  # type: ignore[operator]


def sum(input: Tensor, dim: Any = None, dtype: Any = None) -> Tensor:
    """The sum of a sparse tensor over `dim` (an int or several), sparse if a sparse dimension is left; of everything without.

    >>> torch.sparse.sum(torch.eye(3).to_sparse())
    tensor(3.)
    """
    out = total(input, dim)
    return out if dtype is None else out.to(dtype)  # type: ignore[attr-defined]


def sparse_coo_tensor(indices: Any = None, values: Any = None, size: Any = None, *, dtype: Any = None, device: Any = None,
                      pin_memory: bool = False, requires_grad: bool = False, check_invariants: bool | None = None,
                      is_coalesced: bool | None = None) -> Tensor:
    """A sparse tensor with `values` (n, *) at the places `indices` (sparse dimensions, n); places named twice add up.

    Without `size` it is as large as the indices say. `sparse_coo_tensor(size)` is empty. Differentiable in `values`.
    RuntimeError for indices that do not fit the values, or (always checked here) lie outside of `size`.

    >>> torch.sparse_coo_tensor([[0, 1], [2, 0]], [3., 4.], (2, 3)).to_dense()
    tensor([[0., 0., 3.],
            [4., 0., 0.]])
    """
    if values is None:
        size, indices = size if size is not None else indices, None
        kind = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
        indices, values = np.zeros((len(size), 0), np.int64), wrap(np.zeros(0, kind.np))
    else:
        indices = (indices if isinstance(indices, Tensor) else tensor(indices))._array
        values = values if isinstance(values, Tensor) else tensor(values)
    data = values.to(dtype=dtype or values.dtype, device=device or values.device)  # type: ignore[attr-defined]
    if not data.requires_grad and data is values:
        data = data.detach()
    indices = place(indices.astype(np.int64), as_device(data.device))
    _check(indices, data)
    sparse_dims, n = indices.shape
    if size is None:
        top = [int(row.max()) + 1 if n else 0 for row in indices]
        size = (*top, *data.shape[1:])
    size = tuple(size)
    if len(size) != sparse_dims + data.ndim - 1:
        raise RuntimeError(f"number of dimensions must be sparse_dim ({sparse_dims}) + dense_dim ({data.ndim - 1}), but got "
                           f"{len(size)}")
    for dim, row in enumerate(indices):
        if n and int(row.min()) < 0:
            raise RuntimeError(f"found negative index {int(row.min())} for dim {dim}")
        if n and int(row.max()) >= size[dim]:
            raise RuntimeError(f"size is inconsistent with indices: for dim {dim}, size is {size[dim]} but found index "
                               f"{int(row.max())}")
    out = Build.apply(data, indices, size, bool(is_coalesced))
    return out.requires_grad_() if requires_grad else out


def _check(indices: Any, values: Tensor) -> None:
    if indices.ndim != 2:
        raise RuntimeError(f"indices must be sparse_dim x nnz, but got: {list(indices.shape)}")
    if values.ndim == 0 or values.shape[0] != indices.shape[1]:
        found = values.shape[0] if values.ndim else 1
        raise RuntimeError("indices and values must have same nnz, but got nnz from indices: "
                           f"{indices.shape[1]}, nnz from values: {found}")


def FloatTensor(*args: Any) -> Tensor:
    """The old constructor of a float32 sparse tensor: `(indices, values, size)`, or sizes.

    >>> torch.sparse.FloatTensor(torch.tensor([[0, 1]]), torch.tensor([1., 2.]), (3,)).to_dense()
    tensor([1., 2., 0.])
    """
    return _legacy(args, dtypes.float32)


def DoubleTensor(*args: Any) -> Tensor:
    """The old constructor of a float64 sparse tensor: `(indices, values, size)`, or sizes."""
    return _legacy(args, dtypes.float64)


def _legacy(args: tuple, dtype: Any) -> Tensor:
    if args and isinstance(args[0], Tensor):
        return sparse_coo_tensor(*args, dtype=dtype)
    return sparse_coo_tensor(args[0] if len(args) == 1 and not isinstance(args[0], int) else args, dtype=dtype)


def sparse_csr_tensor(crow_indices: Any, col_indices: Any, values: Any, size: Any = None, *, dtype: Any = None,
                      device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
                      check_invariants: bool | None = None) -> Tensor:
    """A sparse matrix by rows: those of row i are `values[crow_indices[i] : crow_indices[i + 1]]`, at `col_indices`.

    Differentiable in `values`. RuntimeError for indices that do not fit (always checked here); NotImplementedError for
    batches of matrices.

    >>> torch.sparse_csr_tensor([0, 1, 3], [2, 0, 1], [3., 4., 5.], (2, 3)).to_dense()
    tensor([[0., 0., 3.],
            [4., 5., 0.]])
    """
    return _compressed(0, crow_indices, col_indices, values, size, dtype, device, requires_grad)


def sparse_csc_tensor(ccol_indices: Any, row_indices: Any, values: Any, size: Any = None, *, dtype: Any = None,
                      device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
                      check_invariants: bool | None = None) -> Tensor:
    """A sparse matrix by columns, as `sparse_csr_tensor` by rows.

    >>> torch.sparse_csc_tensor([0, 1, 2], [1, 0], [3., 4.]).to_dense()
    tensor([[0., 4.],
            [3., 0.]])
    """
    return _compressed(1, ccol_indices, row_indices, values, size, dtype, device, requires_grad)


def sparse_compressed_tensor(compressed_indices: Any, plain_indices: Any, values: Any, size: Any = None, *, dtype: Any = None,
                             layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
                             check_invariants: bool | None = None) -> Tensor:
    """A sparse matrix in the layout `torch.sparse_csr` or `torch.sparse_csc`. NotImplementedError for layouts in blocks.

    >>> torch.sparse_compressed_tensor([0, 1], [1], [3.], (1, 2), layout=torch.sparse_csr).to_dense()
    tensor([[0., 3.]])
    """
    axes = {"torch.sparse_csr": 0, "torch.sparse_csc": 1}
    if str(layout) not in axes:
        raise not_supported(f"sparse_compressed_tensor(layout={layout})", "use torch.sparse_csr.")
    return _compressed(axes[str(layout)], compressed_indices, plain_indices, values, size, dtype, device, requires_grad)


def _compressed(axis: int, pointers: Any, plain: Any, values: Any, size: Any, dtype: Any, device: Any,
                requires_grad: bool) -> Tensor:
    starts, others = (np.asarray(i.tolist() if isinstance(i, Tensor) else i, np.int64) for i in (pointers, plain))
    if starts.ndim != 1:
        raise not_supported("a batch of compressed sparse matrices", "keep a list of them.")
    along = len(starts) - 1
    if starts[0] != 0 or starts[-1] != len(others) or (np.diff(starts) < 0).any():
        raise RuntimeError(f"compressed indices must rise from 0 to the number of values ({len(others)}), got "
                           f"{starts.tolist()}")
    if size is None:
        across = int(others.max()) + 1 if len(others) else 0
        size = (across, along) if axis else (along, across)
    if size[axis] != along:
        raise RuntimeError(f"compressed indices of {along} {'columns' if axis else 'rows'} do not fit size {tuple(size)}")
    index = np.repeat(np.arange(along), np.diff(starts))
    indices = np.stack([others, index] if axis else [index, others])
    made = sparse_coo_tensor(wrap(indices), values, size, dtype=dtype, device=device)
    flat = indices[0] * size[1] + indices[1]
    rising = not axis and bool((np.diff(flat) > 0).all())
    out = Build.apply(Values.apply(made), made._array.indices, tuple(size), rising, axis)
    return out.requires_grad_() if requires_grad else out
