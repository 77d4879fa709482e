"""Shape changes in place, resizing, sharing; regions replaced; and small operators leave nothing behind."""

from __future__ import annotations

import gc
import os

import pytest

import engine


@pytest.mark.parametrize(("call", "args"), [
    ("unsqueeze_", (1,)), ("squeeze_", ()), ("squeeze_", (0,)), ("transpose_", (0, 2)), ("t_", ()), ("as_strided_",
    ((2, 2), (1, 2))),
    ("swapaxes_", (0, -1)),
])  # fmt: skip
def test_in_place_shape_changes_equal_the_plain_forms(call, args):
    shape = (2, 3) if call == "t_" else (1, 2, 3)
    x = engine.arange(6.0).reshape(shape).clone()
    expected = getattr(engine.Tensor, call[:-1])(x, *args).clone()
    assert getattr(x, call)(*args) is x
    assert engine.equal(x, expected)
    w = engine.arange(6.0).reshape(shape).clone().requires_grad_()
    with pytest.raises(RuntimeError, match="leaf"):
        getattr(w, call)(*args)
    y = w * 2
    getattr(y, call)(*args)
    y.sum().backward()
    if call != "as_strided_":
        assert (w.grad == 2).all()
    with engine.no_grad():
        getattr(w, call)(*args)
    assert w.requires_grad
    assert w.shape == expected.shape
    w.grad = None
    w.sum().backward()
    assert w.grad.shape == w.shape


def test_resizing_keeps_elements():
    x = engine.tensor([1, 2, 3, 4])
    assert x.resize_(2, 3)[0].tolist() == [1, 2, 3]
    assert x.resize_(2).tolist() == [1, 2]
    with pytest.raises(RuntimeError, match="resize"):
        engine.ones(2, requires_grad=True).resize_(3)


def test_set_shares_memory_and_version():
    x, y = engine.zeros(2), engine.ones(3)
    x.set_(y)
    x += 1
    assert y.tolist() == [2, 2, 2]
    assert x.is_set_to(y)
    assert x.set_().numel() == 0
    with pytest.raises(RuntimeError, match="type"):
        engine.zeros(1).set_(engine.zeros(1, dtype=engine.int64))


def test_legacy_constructors():
    assert engine.FloatTensor([1, 2]).dtype == engine.float32
    assert engine.LongTensor([1, 2]).tolist() == [1, 2]
    assert isinstance(engine.ones(1), engine.FloatTensor)
    assert not isinstance(engine.ones(1), engine.LongTensor)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_shared_memory_is_seen_by_forked_processes():
    x = engine.arange(3.0).share_memory_()
    assert x.is_shared()
    assert x[1:].is_shared()
    child = os.fork()
    if not child:
        x[0] = 42
        os._exit(0)
    os.waitpid(child, 0)
    assert x.tolist() == [42, 1, 2]


def test_python_loops():
    assert engine.tensor([1.0, 2.0]).apply_(lambda v: v + 1).tolist() == [2, 3]
    with pytest.raises(RuntimeError, match="requires grad"):
        engine.ones(1, requires_grad=True).apply_(abs)


def test_regions_must_fit():
    with pytest.raises(RuntimeError, match="src"):
        engine.select_scatter(engine.zeros(2, 2), engine.ones(3), 0, 0)
    with pytest.raises(RuntimeError, match="not divisible"):
        engine.hsplit(engine.zeros(2, 3), 2)
    with pytest.raises(RuntimeError, match="at least 3"):
        engine.dsplit(engine.zeros(2, 3), 2)
    with pytest.raises(RuntimeError, match="expandable"):
        engine.zeros(2, 3).sum_to_size(2, 2)


def test_ten_thousand_small_operators_leave_no_objects_behind():
    x, w = engine.rand(4, 4), engine.rand(4, 4, requires_grad=True)
    index = engine.tensor([0, 2, 2])

    def work(count):
        for _ in range(count):
            y = x * 2
            y[1:3] = 1
            y[index] = w[index] * 0.5
            parts = engine.cat([row.reshape(2, 2) for row in y], 0).t().split(3, 1)
            z = engine.stack([p.sum() for p in parts]).unsqueeze(0)
            z.add_(1).sum().backward()
            w.grad = None
        return len(gc.get_objects())  # not memory blocks: Python keeps freed tuples for later

    gc.collect()
    gc.disable()
    try:
        before = work(100)
        after = work(600)
    finally:
        gc.enable()
    assert after - before < 20


def test_a_tensor_in_a_file(tmp_path) -> None:
    path = str(tmp_path / "x.bin")
    with pytest.raises(RuntimeError, match="mmap"):
        engine.from_file(path, size=2)
    engine.from_file(path, shared=True, size=4, dtype=engine.int32).copy_(engine.arange(4))
    private = engine.from_file(path, size=3, dtype=engine.int32)
    private.fill_(7)
    assert engine.from_file(path, shared=True, size=6, dtype=engine.int32).tolist() == [0, 1, 2, 3, 0, 0]
