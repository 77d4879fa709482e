"""Registry-driven: every operator x sample is checked for value, dtype, gradient, second gradient and tidiness."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import engine
from engine.ops.samples import Array, all_samples
from tests.engine.ops_harness import array, call

CASES = list(all_samples())
IDS = [f"{name}-{i}" for name, i, _ in CASES]
TOLERANCE = {"float64": (1e-9, 1e-10), "float32": (2e-5, 2e-5), "bfloat16": (2e-2, 2e-2), "float16": (4e-3, 4e-3)}

# Results that lie in memory as the input does where torch's are contiguous.
OWN_ORDER = {"solve", "logsigmoid", "nonzero", "sort", "topk"} | {f"{a}{b}fft{n}" for a in ("", "r", "h") for b in ("", "i")
                                                          for n in ("", "2", "n")} | {"irfft", "ihfft", "irfft2", "irfftn"}


def weights(outs, seed=0):
    """Fixed random weights that make a scalar of several outputs: the same for both libraries."""
    rng = np.random.default_rng(seed)
    return [rng.uniform(0.5, 1.5, array(o).shape) for o in outs]


def weighted_sum(outs, lib):
    total = None
    for o, w in zip(outs, weights(outs)):
        if hasattr(o, "requires_grad") and o.requires_grad:
            part = (o * lib.tensor(w).to(o.dtype)).sum()
            part = lib.real(part) if part.is_complex() else part
            total = part if total is None else total + part
    return total


def differentiable(sample):
    outs, leaves = call(sample, engine, grad=True)
    return sample.grad and leaves and any(hasattr(o, "requires_grad") and o.requires_grad for o in outs)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("sample", [c[2] for c in CASES], ids=IDS)
def test_value_and_dtype_equal_torch(sample, dtype):
    torch = pytest.importorskip("torch")
    if not sample.oracle or (dtype == "bfloat16" and not sample.half):
        pytest.skip("torch has no such call")
    try:
        theirs, _ = call(sample, torch, dtype)
    except RuntimeError as error:
        if dtype == "bfloat16" or "not implemented for" in str(error):
            pytest.skip(f"torch: {error}")
        raise
    ours, _ = call(sample, engine, dtype)
    assert len(ours) == len(theirs)
    rtol, atol = TOLERANCE[dtype]
    for a, b in zip(ours, theirs):
        if hasattr(b, "dtype"):
            assert str(a.dtype) == str(b.dtype)
            assert tuple(a.shape) == tuple(b.shape)
            assert min(a.stride(), default=0) >= 0
            assert a.is_contiguous() or not b.is_contiguous() or sample.name in OWN_ORDER, (a.stride(), b.stride())
        np.testing.assert_allclose(array(a), array(b), rtol=rtol, atol=atol)


@pytest.mark.parametrize("sample", [c[2] for c in CASES], ids=IDS)
def test_gradient_equals_torch(sample):
    torch = pytest.importorskip("torch")
    if not sample.oracle or not differentiable(sample):
        pytest.skip("nothing to differentiate")
    outs, leaves = call(sample, engine, grad=True)
    weighted_sum(outs, engine).backward()
    theirs, their_leaves = call(sample, torch, grad=True)
    weighted_sum(theirs, torch).backward()
    for a, b in zip(leaves, their_leaves):
        expected = np.zeros(tuple(b.shape)) if b.grad is None else array(b.grad)
        got = np.zeros(tuple(a.shape)) if a.grad is None else array(a.grad)
        np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("sample", [c[2] for c in CASES], ids=IDS)
def test_gradients_equal_finite_differences(sample):
    if not differentiable(sample):
        pytest.skip("nothing to differentiate")
    outs, leaves = call(sample, engine, grad=True)
    loss = weighted_sum(outs, engine)
    rng = np.random.default_rng(3)
    directions = [rng.normal(size=array(t).shape).astype(array(t).dtype) for t in leaves]
    first = engine.autograd.grad(loss, leaves, create_graph=sample.gradgrad, allow_unused=True)
    slope = sum(float((array(g).conj() * d).sum().real) for g, d in zip(first, directions) if g is not None)
    assert slope == pytest.approx(_difference(sample, directions, _value), rel=2e-5, abs=2e-6)
    if not sample.gradgrad or not any(g is not None and g.requires_grad for g in first):
        return
    scale = [rng.uniform(0.5, 1.5, array(t).shape) for t in leaves]
    second = engine.autograd.grad(_dot(first, scale), leaves, allow_unused=True)
    curve = sum(float((array(g).conj() * d).sum().real) for g, d in zip(second, directions) if g is not None)
    assert curve == pytest.approx(_difference(sample, directions, lambda s, d, e: _first(s, d, e, scale)), rel=5e-5, abs=5e-6)


def _dot(grads, scale):
    total = None
    for g, w in zip(grads, scale):
        if g is not None and g.requires_grad:
            part = (g * engine.tensor(w)).sum()
            part = engine.real(part) if part.is_complex() else part
            total = part if total is None else total + part
    return total


def _moved(sample, directions, eps):
    """The sample's outputs and leaves with its differentiable inputs moved by `eps` along `directions`."""
    queue = list(directions)

    def shift(value):
        if isinstance(value, Array):
            if value.grad and value.values.dtype.kind in "fc":
                return dataclasses.replace(value, values=value.values + eps * queue.pop(0))
            return value
        if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
            return type(value)(shift(v) for v in value)
        if isinstance(value, dict):
            return {k: shift(v) for k, v in value.items()}
        return value

    moved = dataclasses.replace(sample, args=shift(sample.args), kwargs=shift(sample.kwargs))
    return call(moved, engine, grad=True)


def _value(sample, directions, eps):
    outs, _ = _moved(sample, directions, eps)
    return float(weighted_sum(outs, engine).item())


def _first(sample, directions, eps, scale):
    outs, leaves = _moved(sample, directions, eps)
    grads = engine.autograd.grad(weighted_sum(outs, engine), leaves, allow_unused=True)
    return sum(float((array(g) * w).sum().real) for g, w in zip(grads, scale) if g is not None)


def _difference(sample, directions, fn, eps=1e-5):
    return (fn(sample, directions, eps) - fn(sample, directions, -eps)) / (2 * eps)


@pytest.mark.parametrize("sample", [c[2] for c in CASES], ids=IDS)
def test_inputs_are_not_modified(sample):
    outs, leaves = call(sample, engine, grad=True)
    before = [array(t).copy() for t in leaves]
    total = weighted_sum(outs, engine)
    if total is not None:
        total.backward()
    for t, b in zip(leaves, before):
        np.testing.assert_array_equal(array(t), b)


def test_every_public_operator_has_samples():
    from engine.ops import CARDS

    without = [name for name, card in CARDS.items()
               if not name.startswith("_") and card.samples is engine.ops.base.Op.samples]
    assert not without
