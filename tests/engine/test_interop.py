"""NumPy's protocols, DLPack, pickling and copying."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest

import engine
from engine import nn


def test_array_protocol():
    x = engine.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert np.shares_memory(np.asarray(x), x.numpy())
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    assert not np.shares_memory(np.array(x), x.numpy())
    assert np.array([engine.tensor(1), engine.tensor(2)]).tolist() == [1, 2]
    w = engine.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="detach"):
        np.asarray(w)
    with pytest.raises(RuntimeError, match="detach"):
        w.numpy()
    assert w.numpy(force=True).tolist() == [1, 1]


def test_numpy_functions_on_tensors():
    x = engine.tensor([1.0, 4.0])
    assert isinstance(np.sqrt(x), engine.Tensor)
    assert np.sqrt(x).tolist() == [1, 2]
    assert np.sum(x) == 5
    assert (np.ones(2, np.float32) * x).tolist() == (x * np.ones(2, np.float32)).tolist() == [1, 4]
    assert isinstance(np.ones(2) + x, engine.Tensor)
    assert np.concatenate([x, x]).shape == (4,)


def test_numpy_functions_differentiate_or_raise():
    w = engine.tensor([1.0, 4.0], requires_grad=True)
    (np.sqrt(w) * np.array([2.0, 4.0], np.float32)).sum().backward()
    assert w.grad.tolist() == [1, 1]
    with pytest.raises((TypeError, RuntimeError), match="differentiated|detach"):
        np.add.reduce(w)
    with pytest.raises((TypeError, RuntimeError), match="differentiated|detach"):
        np.fft.fft(w)


def test_dlpack_with_numpy_shares_memory():
    x = engine.arange(4.0)
    array = np.from_dlpack(x)
    assert np.shares_memory(array, x.numpy())
    source = np.arange(3.0)
    y = engine.from_dlpack(source)
    y[0] = 7
    assert source[0] == 7
    from engine.utils import dlpack

    assert dlpack.from_dlpack is engine.from_dlpack
    with pytest.raises(BufferError, match="detach"):
        np.from_dlpack(engine.ones(2, requires_grad=True))
    with pytest.raises(TypeError, match="__dlpack__"):
        engine.from_dlpack([1, 2])


def test_dlpack_with_torch_both_ways():
    torch = pytest.importorskip("torch")
    x = engine.arange(4.0)
    theirs = torch.from_dlpack(x)
    theirs[0] = 9
    assert x[0].item() == 9
    ours = engine.from_dlpack(torch.arange(3))
    assert (ours.tolist(), ours.dtype) == ([0, 1, 2], engine.int64)


TENSORS = {
    "float32": lambda: engine.tensor([1.5, 2.0]), "bfloat16": lambda: engine.tensor([1.5, 2.0], dtype=engine.bfloat16),
    "bool": lambda: engine.tensor([True, False]), "complex64": lambda: engine.tensor([1 + 2j]), "0-d": lambda: engine.tensor(3),
    "empty": lambda: engine.zeros(0, 3), "view": lambda: engine.arange(10)[2:6:2], "transposed": lambda: engine.ones(2, 3).t(),
    "leaf": lambda: engine.ones(2, requires_grad=True), "parameter": lambda: nn.Parameter(engine.ones(2)),
}  # fmt: skip


@pytest.mark.parametrize("how", ["pickle", "copy", "deepcopy"])
@pytest.mark.parametrize("name", TENSORS)
def test_copies_are_equal_and_keep_what_matters(name, how):
    x = TENSORS[name]()
    y = {"pickle": lambda v: pickle.loads(pickle.dumps(v)), "copy": copy.copy, "deepcopy": copy.deepcopy}[how](x)
    assert type(y) is type(x)
    assert (y.dtype, y.shape, y.requires_grad, y.is_leaf) == (x.dtype, x.shape, x.requires_grad, x.is_leaf)
    assert y.tolist() == x.tolist()
    if how != "copy" and x.numel():
        assert y.data_ptr() != x.data_ptr()


def test_a_pickled_view_does_not_carry_its_base():
    view = engine.zeros(100_000)[:2]
    assert len(pickle.dumps(view)) < 2000


def test_computed_tensors_are_refused():
    y = engine.ones(2, requires_grad=True) * 2
    with pytest.raises(RuntimeError, match="detach"):
        pickle.dumps(y)
    with pytest.raises(RuntimeError, match="leaves"):
        copy.deepcopy(y)


def test_deepcopy_keeps_sharing_gradients_and_attributes():
    w = nn.Parameter(engine.ones(2))
    w.note = "mine"
    (w * 3).sum().backward()
    twins = copy.deepcopy({"a": w, "b": [w]})
    assert twins["a"] is twins["b"][0]
    assert twins["a"] is not w
    assert twins["a"].grad.tolist() == [3, 3]
    assert twins["a"].grad is not w.grad
    assert twins["a"].note == "mine"


def test_save_and_load_of_pickled_generator_and_size():
    g = engine.Generator().manual_seed(3)
    engine.rand(2, generator=g)
    twin = pickle.loads(pickle.dumps(g))
    assert engine.rand(3, generator=g).tolist() == engine.rand(3, generator=twin).tolist()
    size = pickle.load(io.BytesIO(pickle.dumps(engine.ones(2, 3).shape)))
    assert (type(size), tuple(size)) == (engine.Size, (2, 3))
    assert pickle.loads(pickle.dumps(engine.float32)) is engine.float32


def test_python_scalars():
    assert (float(engine.tensor([2.5])), int(engine.tensor(3)), bool(engine.tensor(0)), complex(engine.tensor(1.0))) == (
        2.5, 3, False, 1 + 0j)
    assert [10, 20, 30][engine.tensor(1)] == 20
    assert f"{engine.tensor(2.5):.2f}" == "2.50"
    with pytest.raises(RuntimeError, match="ambiguous"):
        bool(engine.ones(2))
    with pytest.raises(RuntimeError, match="Scalar"):
        engine.ones(2).item()
    with pytest.raises(TypeError):
        [1, 2][engine.tensor(1.0)]
