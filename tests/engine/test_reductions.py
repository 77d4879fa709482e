"""Reductions and order: dtypes, empties, ties, NaN, named tuples, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import engine


def test_sum_and_mean_dtypes():
    assert engine.tensor([True, True]).sum().item() == 2
    assert engine.ones(2, dtype=engine.int32).sum().dtype is engine.int64
    with pytest.raises(RuntimeError, match="could not infer output dtype"):
        engine.ones(2, dtype=engine.int64).mean()
    assert engine.ones(2, dtype=engine.int64).mean(dtype=engine.float64).dtype is engine.float64
    assert math.isnan(engine.zeros(0).mean().item())


def test_repeated_and_wrong_dims():
    with pytest.raises(RuntimeError, match="dim 0 appears multiple times"):
        engine.zeros(2, 3).sum(dim=(0, 0))
    with pytest.raises(IndexError, match=r"expected to be in range of \[-2, 1\], but got 2"):
        engine.zeros(2, 3).sum(2)


def test_max_forms_and_their_repr():
    torch = pytest.importorskip("torch")
    values = [[1.0, 5.0], [7.0, 2.0]]
    assert repr(engine.tensor(values).max(1)) == repr(torch.tensor(values).max(1))
    assert engine.tensor(values).max().item() == 7.0
    assert engine.max(engine.tensor([1.0]), engine.tensor([2.0])).item() == 2.0
    values, indices = engine.tensor([3.0, 3.0]).max(0)
    assert indices.item() == 0
    assert engine.tensor([1.0, 2.0]).max(dim=0).values.item() == 2.0


def test_max_of_nan_is_nan_and_of_nothing_an_error():
    assert math.isnan(engine.tensor([1.0, float("nan")]).max().item())
    with pytest.raises(RuntimeError, match=r"numel\(\) == 0"):
        engine.zeros(0).max()
    with pytest.raises(IndexError, match="non-zero size"):
        engine.zeros(0, 2).max(0)
    with pytest.raises(IndexError, match="argmax"):
        engine.zeros(0).argmax()


def test_amax_shares_ties_and_max_picks_one():
    x = engine.tensor([2.0, 2.0, 1.0], requires_grad=True)
    x.amax().backward()
    assert x.grad.tolist() == [0.5, 0.5, 0.0]
    x.grad = None
    x.max(0).values.backward()
    assert x.grad.tolist() == [1.0, 0.0, 0.0]


def test_std_of_one_element_warns_and_is_nan():
    with pytest.warns(UserWarning, match="degrees of freedom"):
        assert math.isnan(engine.tensor([1.0]).std().item())


def test_norm_gradient_at_zero_is_zero():
    x = engine.zeros(3, requires_grad=True)
    x.norm().backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0]
    assert engine.eye(2).norm("nuc").item() == 2
    with pytest.raises(RuntimeError, match="two dimensions"):
        engine.ones(3).norm("nuc")
    with pytest.raises(RuntimeError, match="floating point"):
        engine.tensor([1, 2]).norm()


def test_prod_gradient_with_zeros():
    x = engine.tensor([0.0, 2.0, 3.0], requires_grad=True)
    x.prod().backward()
    assert x.grad.tolist() == [6.0, 0.0, 0.0]


def test_cumprod_gradient_with_zeros_equals_torch():
    torch = pytest.importorskip("torch")
    values = [2.0, 0.0, 3.0, 0.5]
    ours, theirs = engine.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    ours.cumprod(0).sum().backward()
    theirs.cumprod(0).sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy())


def test_sort_is_stable_and_puts_nan_last():
    values, indices = engine.tensor([2.0, 1.0, float("nan"), 1.0]).sort()
    assert indices.tolist() == [1, 3, 0, 2]
    assert math.isnan(values[-1].item())
    assert engine.tensor([1, 1, 0]).argsort(descending=True, stable=True).tolist() == [0, 1, 2]


def test_topk_equals_torch_and_refuses_too_many():
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).permutation(200).astype(np.float32).reshape(4, 50)
    for largest in (True, False):
        ours, theirs = engine.tensor(values).topk(5, largest=largest), torch.tensor(values).topk(5, largest=largest)
        assert ours.indices.tolist() == theirs.indices.tolist()
    with pytest.raises(RuntimeError, match="selected index k out of range"):
        engine.zeros(3).topk(4)


def test_median_and_quantile_with_nan():
    x = engine.tensor([1.0, float("nan"), 3.0])
    assert math.isnan(x.median().item())
    assert x.nanmedian().item() == 1.0
    assert math.isnan(x.quantile(0.5).item())
    assert x.nanquantile(0.5).item() == 2.0
    with pytest.raises(RuntimeError, match=r"range \[0, 1\]"):
        x.quantile(2.0)


def test_unique_counts():
    values, inverse, counts = engine.tensor([[3, 1], [3, 3]]).unique(return_inverse=True, return_counts=True)
    assert values.tolist() == [1, 3]
    assert inverse.tolist() == [[1, 0], [1, 1]]
    assert counts.tolist() == [1, 3]


def test_bincount_refuses_negatives():
    with pytest.raises(RuntimeError, match="non-negative"):
        engine.bincount(engine.tensor([-1]))


def test_large_sum_spreads_a_gradient_without_copying_it_wrongly():
    x = engine.zeros(300, 300, requires_grad=True)
    (x.sum(0) * engine.arange(300.0)).sum().backward()
    assert x.grad[7].tolist() == list(map(float, range(300)))
