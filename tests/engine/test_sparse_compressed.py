"""CSR and CSC matrices: made, taken apart, converted, multiplied and printed as in torch."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import engine

CALLS: dict[str, Any] = {
    "print": lambda m, a: a,
    "layout": lambda m, a: (a.layout, a.is_sparse, a.is_sparse_csr, a.t().layout, a.shape, a._nnz()),
    "parts": lambda m, a: (a.crow_indices(), a.col_indices(), a.values()),
    "columns": lambda m, a: a.to_sparse_csc(),
    "coordinates": lambda m, a: a.to_sparse_coo(),
    "dense": lambda m, a: (a.to_dense(), a.t().to_dense()),
    "product": lambda m, a: (a @ m.ones(3, 2), m.sparse.mm(a, m.ones(3, 2)), m.dsmm(a.to_sparse_coo(), m.ones(3, 2))),
    "sparse product": lambda m, a: m.sparse.mm(a, m.ones(3, 2).to_sparse_csr()).layout,
    "arithmetic": lambda m, a: ((a * 2), (a + a).to_dense(), a.sum(), -a),
    "kept": lambda m, a: (a.to(m.float64), a.clone().layout, a.detach().layout, a.to_sparse_csr() is a),
    "from dense": lambda m, a: (m.eye(2).to_sparse_csr(), m.eye(2).to_sparse(layout=m.sparse_csc)),
    "copies": lambda m, a: (m.crow_indices_copy(a), m.col_indices_copy(a), m.values_copy(a)),
    "csc": lambda m, a: m.sparse_csc_tensor(m.tensor([0, 1, 2]), m.tensor([1, 0]), m.tensor([1.0, 2.0])),
    "size": lambda m, a: m.sparse_csr_tensor(m.tensor([0, 1]), m.tensor([5]), m.tensor([1.0])),
    "by layout": lambda m, a: m.sparse_compressed_tensor(a.crow_indices(), a.col_indices(), a.values(), a.shape,
                                                         layout=m.sparse_csr),
    "wrong layout": lambda m, a: a.to_sparse_csc().crow_indices(),
    "strided": lambda m, a: m.eye(2).col_indices(),
    "indices": lambda m, a: a.indices(),
}  # fmt: skip


def matrix(m: Any, **options: Any) -> Any:
    return m.sparse_csr_tensor(m.tensor([0, 2, 3]), m.tensor([0, 2, 1]), m.tensor([1.0, 2.0, 3.0]), (2, 3), **options)


@pytest.mark.parametrize("name", CALLS)
def test_like_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    found: list = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for lib in (engine, torch):
            try:
                found.append(repr(CALLS[name](lib, matrix(lib))))
            except Exception as error:
                found.append((type(error), str(error).partition("but got")[0]))
    assert found[0] == found[1]


def test_gradients_reach_the_values_and_the_dense_matrix() -> None:
    torch = pytest.importorskip("torch")
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for lib in (engine, torch):
            values = lib.tensor([1.0, 2.0, 3.0], requires_grad=True)
            dense = lib.tensor([[1.0], [2.0], [3.0]], requires_grad=True)
            a = lib.sparse_csr_tensor(lib.tensor([0, 2, 3]), lib.tensor([0, 2, 1]), values, (2, 3))
            (a @ dense).pow(2).sum().backward()
            found.append((values.grad.tolist(), dense.grad.tolist()))
    assert found[0] == found[1]


def test_indices_that_do_not_fit_are_refused() -> None:
    for arguments in (([0, 2], [0], [1.0]), ([0, 1, 0], [0], [1.0]), ([0, 1], [7], [1.0], (1, 3)),
                      ([0, 1], [0], [1.0], (2, 3))):  # fmt: skip
        with pytest.raises(RuntimeError):
            engine.sparse_csr_tensor(*arguments)
    with pytest.raises(NotImplementedError, match="sparse_csr"):
        engine.eye(2).to_sparse(layout="torch.sparse_bsr")
    assert engine.smm(matrix(engine).to_sparse_coo(), engine.ones(3, 2)).to_dense().tolist() == [[3, 3], [3, 3]]
