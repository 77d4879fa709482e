"""Comparisons, logic and where: operators, foreign operands, dtypes and errors."""

from __future__ import annotations

import pytest

import engine


def test_operators_give_bools():
    x = engine.tensor([1.0, 2.0, 3.0])
    assert (x == 2).tolist() == [False, True, False]
    assert (x != 2).tolist() == [True, False, True]
    assert (x < engine.tensor([2.0])).tolist() == [True, False, False]
    assert (x <= 2).tolist() == [True, True, False]
    assert (x == x).dtype is engine.bool


def test_equality_with_anything_else_is_false_not_an_error():
    assert (engine.tensor([1.0]) == "a") is False
    assert (engine.tensor([1.0]) != None) is True  # noqa: E711 - the operator is what is tested


def test_ordering_with_anything_else_is_refused():
    with pytest.raises(TypeError):
        engine.tensor([1.0]) < "a"  # noqa: B015


def test_comparing_sizes_that_do_not_fit():
    with pytest.raises(RuntimeError, match=r"tensor a \(2\) must match the size of tensor b \(3\)"):
        engine.zeros(2) == engine.zeros(3)  # noqa: B015


def test_mixed_dtypes_are_compared_in_the_common_one():
    assert (engine.tensor([1, 2]) == engine.tensor([1.0, 2.5])).tolist() == [True, False]
    assert (engine.tensor([16777217]) == 16777216.0).item() is True  # float32 is the common dtype, as in torch


def test_bitwise_operators():
    a, b = engine.tensor([True, False]), engine.tensor([True, True])
    assert (a & b).tolist() == [True, False]
    assert (a | b).tolist() == [True, True]
    assert (a ^ b).tolist() == [False, True]
    assert (~a).tolist() == [False, True]
    assert (1 << engine.tensor([1, 2])).tolist() == [2, 4]
    a &= b
    assert a.tolist() == [True, False]
    with pytest.raises(TypeError, match="integer and Boolean"):
        ~engine.tensor([1.0])
    with pytest.raises((RuntimeError, NotImplementedError), match="bitwise_and"):
        engine.tensor([1.0]) & engine.tensor([1.0])


def test_where_promotes_and_checks():
    c = engine.tensor([True, False])
    assert engine.where(c, 1, 2).dtype is engine.int64
    assert engine.where(c, engine.tensor([1, 2]), 0.5).dtype is engine.float32
    assert engine.tensor([1.0, 2.0]).where(c, 0.0).tolist() == [1.0, 0.0]
    assert [i.tolist() for i in engine.where(engine.tensor([[False, True]]))] == [[0], [1]]
    with pytest.raises(RuntimeError, match="boolean tensor"):
        engine.where(engine.tensor([1.0]), 1, 2)
    with pytest.raises(RuntimeError, match=r"tensor a \(3\)"):
        engine.where(c, engine.zeros(3), engine.zeros(4))


def test_where_lets_nothing_through_the_other_branch():
    x = engine.tensor([0.0, 4.0], requires_grad=True)
    engine.where(x > 0, x.clamp_min(1e-9).sqrt(), 0.0).sum().backward()
    assert x.grad.tolist() == [0.0, 0.25]


def test_allclose_and_equal():
    nan = engine.tensor([float("nan")])
    assert not engine.allclose(nan, nan)
    assert engine.allclose(nan, nan, equal_nan=True)
    assert engine.allclose(engine.tensor([float("inf")]), engine.tensor([float("inf")]))
    assert engine.equal(engine.zeros(2), engine.zeros(2))
    assert not engine.equal(engine.zeros(2), engine.zeros(3))
    with pytest.raises(RuntimeError, match="Float did not match Double"):
        engine.isclose(engine.zeros(1), engine.zeros(1, dtype=engine.float64))


def test_all_any_of_nothing():
    assert engine.all(engine.zeros(0)).item() is True
    assert engine.any(engine.zeros(0)).item() is False
    assert engine.any(engine.zeros(2, dtype=engine.uint8)).dtype is engine.uint8
