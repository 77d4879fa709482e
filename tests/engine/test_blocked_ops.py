"""Operators in blocks on several threads give what they give in one piece: every sample, with the bounds set very low."""

from __future__ import annotations

import numpy as np
import pytest

import engine
from engine import pool
from engine.ops import _attention_blocks, _blocked, _columns, _few_channels, _windows, attention, convolution, normalization
from engine.ops import pointwise as pointwise_rows
from engine.ops.samples import all_samples
from tests.engine.ops_harness import array, call

CASES = [(f"{name}-{i}", sample) for name, i, sample in all_samples()]


def results(sample):
    """Outputs and gradients of a sample in float64."""
    engine.manual_seed(0)
    outs, leaves = call(sample, engine, grad=True)
    total = sum((o * o).sum() for o in outs if getattr(o, "requires_grad", False) and not o.is_complex())
    if isinstance(total, engine.Tensor):
        total.backward()
    return [array(o) for o in outs], [None if leaf.grad is None else array(leaf.grad) for leaf in leaves]


@pytest.fixture
def small_blocks(monkeypatch):
    """Everything counts as large; two threads."""
    before = pool.get_num_threads()
    for module in (_blocked, pointwise_rows):
        monkeypatch.setattr(module, "LARGE", 2)
    for name, value in {"CHAIN": 4, "IN_PLACE": 4, "LINES": 2, "SINGLE": 4, "QUIET": 1, "LARGE_PRODUCT": 1, "_LEAST": 2,
                        "_COLUMNS": 1, "_SHORT": 1}.items():
        monkeypatch.setattr(_blocked, name, value)
    monkeypatch.setattr(pointwise_rows, "SINGLE", 4)
    monkeypatch.setattr(_few_channels, "COMPILED", 0)
    monkeypatch.setattr(normalization, "_FEW", 0)
    monkeypatch.setattr(_columns, "LARGE_PRODUCT", 1)
    for name in ("ONE_BLOCK", "BLOCK"):
        monkeypatch.setattr(_windows, name, 16)
    convolution.conv_plan.cache_clear()
    convolution.transpose_plan.cache_clear()
    monkeypatch.setattr(attention, "BLOCK", 4)
    monkeypatch.setattr(attention, "LARGE", 2)
    for name, value in {"QUERIES": 2, "CAUSAL_QUERIES": 2, "KEYS": 2, "SCORES": 4}.items():
        monkeypatch.setattr(_attention_blocks, name, value)
    engine.set_num_threads(2)
    yield
    engine.set_num_threads(before)
    convolution.conv_plan.cache_clear()
    convolution.transpose_plan.cache_clear()


@pytest.mark.parametrize("sample", [sample for _, sample in CASES], ids=[name for name, _ in CASES])
def test_blocks_give_what_one_piece_gives(sample, request):
    expected, expected_grads = results(sample)
    request.getfixturevalue("small_blocks")
    got, grads = results(sample)
    for a, b in zip(got, expected, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    for a, b in zip(grads, expected_grads, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("order", [(0, 2, 1), (2, 0, 1), (1, 2, 0)])
def test_pointwise_results_lie_in_memory_as_their_input_does(order):
    """As torch's do, and as those of small arrays: a dropout that follows draws in that order."""
    x = engine.linspace(-3, 3, 3 * 160 * 150).reshape(3, 160, 150).permute(order)
    for fn in (engine.exp, engine.nn.functional.gelu, engine.nn.functional.relu, lambda x: x + x, lambda x: x * 2):
        assert fn(x).stride() == x.stride()
        np.testing.assert_allclose(fn(x).numpy(), fn(x.contiguous()).numpy(), rtol=1e-5, atol=1e-6)
