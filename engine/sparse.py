"""`engine.sparse`: there are no sparse tensors. Products take dense ones; constructors say what to do instead."""

from __future__ import annotations

from typing import Any, NoReturn

from . import ops
from .errors import not_supported
from .tensor import Tensor

__all__ = ["FloatTensor", "mm", "sparse_coo_tensor", "sparse_csc_tensor", "sparse_csr_tensor", "spmm"]

_INSTEAD = ("make a dense tensor, torch.zeros(size).index_put_((rows, columns), values, accumulate=True), and "
            "multiply with torch.mm.")


def mm(mat1: Tensor, mat2: Tensor) -> Tensor:
    """The matrix product of two dense matrices, as `torch.mm`: (n, m) times (m, p) gives (n, p).

    >>> torch.sparse.mm(torch.eye(2), torch.tensor([[1., 2.], [3., 4.]]))
    tensor([[1., 2.],
            [3., 4.]])
    """
    return ops.FUNCTIONS["mm"](mat1, mat2)


spmm = mm


def sparse_coo_tensor(*args: Any, **kwargs: Any) -> NoReturn:
    """NotImplementedError: there are no sparse tensors."""
    raise not_supported("torch.sparse_coo_tensor", _INSTEAD)


def sparse_csr_tensor(*args: Any, **kwargs: Any) -> NoReturn:
    """NotImplementedError: there are no sparse tensors."""
    raise not_supported("torch.sparse_csr_tensor", _INSTEAD)


def sparse_csc_tensor(*args: Any, **kwargs: Any) -> NoReturn:
    """NotImplementedError: there are no sparse tensors."""
    raise not_supported("torch.sparse_csc_tensor", _INSTEAD)


def FloatTensor(*args: Any, **kwargs: Any) -> NoReturn:
    """NotImplementedError: there are no sparse tensors."""
    raise not_supported("torch.sparse.FloatTensor", _INSTEAD)
