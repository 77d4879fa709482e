"""Sparse tensors: torch's printed forms, values and gradients, and the optimizers that take sparse gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import engine
from engine import nn

PLACES, VALUES, SHAPE = [[0, 1, 1], [2, 0, 2]], [3.0, 4.0, 5.0], (2, 3)


def small(lib: Any, **options: Any) -> Any:
    return lib.sparse_coo_tensor(lib.tensor(PLACES), lib.tensor(VALUES), SHAPE, **options)


def gradients(lib: Any, loss: Callable, *arrays: Any) -> list:
    leaves = [lib.tensor(a, requires_grad=True) for a in arrays]
    loss(lib, *leaves).backward()
    return [leaf.grad for leaf in leaves]


def built(lib: Any, values: Any) -> Any:
    return lib.sparse_coo_tensor(lib.tensor(PLACES), values, SHAPE)


MATRIX = np.arange(6.0).reshape(3, 2)
CALLS: dict[str, Callable] = {
    "repr": lambda lib: small(lib),
    "leaf": lambda lib: small(lib, requires_grad=True),
    "computed": lambda lib: built(lib, lib.tensor(VALUES, dtype=lib.float64, requires_grad=True)),
    "coalesce": lambda lib: lib.sparse_coo_tensor(lib.tensor([[1, 0, 1]]), lib.tensor([1.0, 2.0, 3.0])).coalesce(),
    "dense rows": lambda lib: lib.sparse_coo_tensor(lib.tensor([[0, 1]]), lib.ones(2, 2), (4, 2)),
    "empty": lambda lib: lib.sparse_coo_tensor((2, 3)),
    "from dense": lambda lib: lib.eye(2).to_sparse(),
    "to dense": lambda lib: small(lib).to_dense(),
    "parts": lambda lib: (small(lib)._indices(), small(lib)._values(), small(lib).coalesce().indices()),
    "facts": lambda lib: (small(lib).is_sparse, small(lib)._nnz(), small(lib).sparse_dim(), small(lib).dense_dim(),
                          small(lib).is_coalesced(), small(lib).shape, small(lib).numel()),
    "times a number": lambda lib: (small(lib) * 2, -small(lib), small(lib) / 2),
    "transpose": lambda lib: small(lib).t(),
    "sums": lambda lib: ((small(lib) + small(lib)).to_dense(), (small(lib) - small(lib)).to_dense(),
                         lib.ones(2, 3) + small(lib)),
    "products": lambda lib: ((small(lib) * small(lib)).to_dense(), (small(lib) * lib.full((2, 3), 2.0)).to_dense()),
    "matrix products": lambda lib: (lib.sparse.mm(small(lib), lib.ones(3, 2)), small(lib) @ lib.ones(3, 2),
                                    lib.spmm(small(lib), lib.ones(3, 2)), small(lib) @ lib.ones(3)),
    "totals": lambda lib: (lib.sparse.sum(small(lib)), lib.sparse.sum(small(lib), 0), lib.sparse.sum(small(lib), 1),
                           small(lib).sum()),
    "old constructor": lambda lib: lib.sparse.FloatTensor(lib.tensor(PLACES), lib.tensor(VALUES), lib.Size(SHAPE)),
    "gradient of mm": lambda lib: gradients(
        lib, lambda lib, v, d: lib.sparse.mm(built(lib, v), d).sin().sum(), VALUES, MATRIX.astype(np.float32)),
    "gradient of @": lambda lib: gradients(lib, lambda lib, d: (small(lib).double() @ d).sin().sum(), MATRIX),
    "gradient of to_dense": lambda lib: gradients(
        lib, lambda lib, v: (built(lib, v) * 2).to_dense().sin().sum(), VALUES),
    "gradient of sum": lambda lib: gradients(
        lib, lambda lib, v: (lib.sparse.sum(built(lib, v), 0).to_dense() ** 2).sum(), VALUES),
    "gradient of to_sparse": lambda lib: gradients(lib, lambda lib, x: (x.to_sparse().to_dense() ** 2).sum(), np.eye(3)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", CALLS)
def test_equal_to_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    assert repr(CALLS[name](engine)) == repr(CALLS[name](torch))


def test_a_sparse_leaf_gets_a_sparse_gradient() -> None:
    x = small(engine).coalesce().detach().requires_grad_()
    d = engine.tensor(MATRIX, dtype=engine.float32, requires_grad=True)
    engine.sparse.mm(x, d).sum().backward()
    assert x.grad.is_sparse and x.grad.coalesce().values().tolist() == [9, 1, 9]
    assert engine.equal(d.grad, small(engine).to_dense().t() @ engine.ones(2, 2))


@pytest.mark.parametrize(("call", "error", "text"), [
    (lambda s: s.numpy(), TypeError, "can't convert Sparse layout tensor to numpy"),
    (lambda s: s.exp(), NotImplementedError, "HINT: call to_dense"),
    (lambda s: s.view(3, 2), NotImplementedError, "HINT: call to_dense"),
    (lambda s: s + 1, RuntimeError, "add"),
    (lambda s: s + engine.ones(2, 3), RuntimeError, r"add\(sparse, dense\) is not supported"),
    (lambda s: s.indices(), RuntimeError, "Cannot get indices on an uncoalesced tensor"),
    (lambda s: engine.eye(2).coalesce(), RuntimeError, "coalesce expected sparse coordinate tensor layout but got Strided"),
    (lambda s: engine.sparse_coo_tensor(PLACES, [1.0]), RuntimeError, "must have same nnz"),
    (lambda s: engine.sparse_coo_tensor(PLACES, VALUES, (1, 3)), RuntimeError, "size is inconsistent with indices"),
    (lambda s: engine.sparse.mm(s, engine.ones(2, 2)), RuntimeError, "Expected dim 0 size 3, got 2"),
])  # fmt: skip
def test_errors(call: Callable, error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        call(small(engine))


LAYERS = {
    "embedding": lambda lib: lib.nn.Embedding(6, 3, sparse=True),
    "padded": lambda lib: lib.nn.Embedding(6, 3, padding_idx=1, sparse=True),
    "mean of bags": lambda lib: lib.nn.EmbeddingBag(6, 3, sparse=True),
    "sum of bags": lambda lib: lib.nn.EmbeddingBag(6, 3, mode="sum", sparse=True),
}
OPTIMIZERS = {
    "SGD": lambda lib, layer: lib.optim.SGD(layer.parameters(), lr=0.1),
    "SparseAdam": lambda lib, layer: lib.optim.SparseAdam(layer.parameters(), lr=0.1),
}


def trained(lib: Any, make: Callable, optimizer: Callable) -> list:
    lib.manual_seed(0)
    layer = make(lib)
    optimizer = optimizer(lib, layer)
    seen = []
    for _ in range(3):
        optimizer.zero_grad()
        for _ in range(2):  # gradients of two passes add up
            layer(lib.tensor([[1, 3, 1], [5, 1, 0]])).sin().sum().backward()
        assert layer.weight.grad.is_sparse
        seen.append(layer.weight.grad.to_dense().numpy())
        optimizer.step()
    return [*seen, layer.weight.detach().numpy()]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("layer", LAYERS)
def test_tables_train_as_in_torch(layer: str, optimizer: str) -> None:
    torch = pytest.importorskip("torch")
    for mine, expected in zip(*[trained(lib, LAYERS[layer], OPTIMIZERS[optimizer]) for lib in (engine, torch)]):
        np.testing.assert_allclose(mine, expected, rtol=1e-4, atol=1e-5)


def test_sparse_gradients_are_the_dense_ones_and_leave_other_rows_alone() -> None:
    tables = [nn.Embedding(6, 3, sparse=sparse, _weight=engine.ones(6, 3)) for sparse in (True, False)]
    for table in tables:
        (table(engine.tensor([4, 1, 4])) * engine.arange(9.0).reshape(3, 3)).sum().backward()
    assert engine.equal(tables[0].weight.grad.to_dense(), tables[1].weight.grad)
    optimizer = engine.optim.SparseAdam(tables[0].parameters(), lr=0.5)
    optimizer.step()
    assert tables[0].weight[[0, 2, 3, 5]].eq(1).all() and not tables[0].weight[1].eq(1).any()


def test_optimizers_that_cannot_say_so() -> None:
    table = nn.Embedding(3, 2, sparse=True)
    table(engine.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="Adam does not support sparse gradients, please consider SparseAdam"):
        engine.optim.Adam(table.parameters()).step()
    dense = nn.Parameter(engine.ones(2))
    dense.sum().backward()
    with pytest.raises(RuntimeError, match="does not support dense gradients, please consider Adam"):
        engine.optim.SparseAdam([dense]).step()


def test_a_graph_network_trains() -> None:
    places = engine.tensor([[0, 1, 2, 2, 3], [1, 0, 3, 2, 1]])
    adjacency = engine.sparse.FloatTensor(places, engine.tensor([0.5, 0.5, 1.0, 0.2, 0.3]), engine.Size([4, 4]))
    layer, x = nn.Linear(5, 3), engine.randn(4, 5)
    optimizer = engine.optim.Adam(layer.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(engine.spmm(adjacency, layer(x)), engine.tensor([0, 1, 2, 0]))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
