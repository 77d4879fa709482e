"""Pointwise functions: dtypes of integer inputs, NaN and infinities, in-place and out= forms, special values."""

from __future__ import annotations

import math

import numpy as np
import pytest

import engine

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("name", ["exp", "log1p", "sqrt", "sin", "sigmoid", "rsqrt", "erf", "reciprocal", "tanh"])
def test_integers_become_the_default_floating_dtype(name):
    assert getattr(engine, name)(engine.tensor([1, 2])).dtype is engine.float32


@pytest.mark.parametrize("name", ["abs", "square", "floor", "ceil", "trunc", "sign", "neg", "round"])
def test_integers_stay_integers(name):
    assert getattr(engine, name)(engine.tensor([1, -2])).dtype is engine.int64


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "sigmoid", "tanh", "relu", "floor", "sign", "erf", "erfinv", "lgamma",
                                  "digamma", "atanh", "acos", "reciprocal", "rsqrt", "expm1", "log1p", "sinc", "frac"])
def test_special_values_equal_torch(name):
    torch = pytest.importorskip("torch")
    values = [0.0, -0.0, 1.0, -1.0, INF, -INF, NAN, 0.5, -2.5, 1e-30, 80.0]
    for dtype in ("float32", "float64"):
        ours = getattr(engine, name)(engine.tensor(values, dtype=getattr(engine, dtype))).numpy()
        theirs = getattr(torch, name)(torch.tensor(values, dtype=getattr(torch, dtype))).numpy()
        rtol, atol = (3e-6, 1e-6) if dtype == "float32" else (1e-11, 1e-12)
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


def test_in_place_forms_write_into_the_tensor_and_count():
    x = engine.tensor([4.0, 9.0])
    alias, before = x, x._version
    assert x.sqrt_() is alias
    assert x.tolist() == [2.0, 3.0]
    assert x._version > before


def test_in_place_keeps_history():
    leaf = engine.tensor([1.0, 2.0], requires_grad=True)
    y = leaf * 2
    y.exp_()
    y.sum().backward()
    np.testing.assert_allclose(leaf.grad.numpy(), 2 * np.exp([2.0, 4.0]), rtol=1e-6)


def test_in_place_after_saving_is_noticed():
    x = engine.tensor([1.0], requires_grad=True)
    y = x * 1
    z = y.sin()
    y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()


def test_out_is_filled():
    out = engine.empty(2)
    assert engine.exp(engine.tensor([0.0, 1.0]), out=out) is out
    assert out[0].item() == 1.0


def test_clamp_dtypes_and_errors():
    assert engine.clamp(engine.tensor([1, 5]), max=2).dtype is engine.int64
    assert engine.clamp(engine.tensor([1, 5]), max=2.5).dtype is engine.float32
    with pytest.raises(RuntimeError, match="At least one of 'min' or 'max'"):
        engine.clamp(engine.tensor([1.0]))
    assert math.isnan(engine.clamp(engine.tensor(NAN), 0, 1).item())


def test_maximum_shares_the_gradient_of_ties():
    a, b = engine.tensor([1.0, 2.0], requires_grad=True), engine.tensor([1.0, 5.0], requires_grad=True)
    engine.maximum(a, b).sum().backward()
    assert a.grad.tolist() == [0.5, 0.0]
    assert b.grad.tolist() == [0.5, 1.0]


def test_broadcast_error_names_sizes_and_dimension():
    with pytest.raises(RuntimeError, match=r"tensor a \(3\) must match .* tensor b \(4\) at non-singleton dimension 1"):
        engine.maximum(engine.zeros(2, 3), engine.zeros(2, 4))


def test_gradients_of_masked_infinities_are_zero():
    x = engine.tensor([-1.0, 2.0], requires_grad=True)
    engine.relu(x).backward(engine.tensor([INF, 3.0]))
    assert x.grad.tolist() == [0.0, 3.0]


def test_nan_to_num_uses_the_dtypes_limits():
    x = engine.nan_to_num(engine.tensor([NAN, INF, -INF]))
    assert x.tolist() == [0.0, engine.finfo(engine.float32).max, -engine.finfo(engine.float32).max]


def test_integer_division_remainder_by_zero_is_refused():
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        engine.fmod(engine.tensor([1]), 0)


@np.errstate(all="ignore")
def test_special_functions_against_known_numbers():
    from engine.ops import special_values as sv

    x = np.array([0.5, 1.0, 2.5, 10.0, 100.5])
    np.testing.assert_allclose(sv.lgamma(x), [math.lgamma(v) for v in x], rtol=1e-14, atol=1e-14)
    y = np.linspace(-5, 5, 101)
    np.testing.assert_allclose(sv.erf(y), [math.erf(v) for v in y], rtol=1e-14)
    np.testing.assert_allclose(sv.erfc(y), [math.erfc(v) for v in y], rtol=1e-13)
    np.testing.assert_allclose(sv.erf(sv.erfinv(y / 5.5)), y / 5.5, rtol=1e-13)
    np.testing.assert_allclose(sv.digamma(np.array([1.0])), [-0.5772156649015329], rtol=1e-14)
    np.testing.assert_allclose(sv.polygamma(1, np.array([1.0])), [math.pi**2 / 6], rtol=1e-14)
    np.testing.assert_allclose(sv.bessel_i(0, np.array([1.0])), [1.2660658777520084], rtol=1e-14)
