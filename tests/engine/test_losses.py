"""Losses: sizes that do not fit, classes out of bounds, ignored rows, reductions and warnings."""

from __future__ import annotations

import math

import numpy as np
import pytest

import engine

F = engine.nn.functional


def long(*values):
    return engine.tensor(values, dtype=engine.int64)


@pytest.mark.parametrize(("x", "target", "kind", "text"), [
    ((5, 4), long(0, 1), ValueError, r"input batch_size \(5\) to match target batch_size \(2\)"),
    ((2, 4), long(0, 4), IndexError, "Target 4 is out of bounds"),
    ((2, 4), long(0, -1), IndexError, "Target -1 is out of bounds"),
    ((2, 4, 3), engine.zeros(2, 2, dtype=engine.int64), RuntimeError, r"Expected target size \[2, 3\], got \[2, 2\]"),
    ((2, 4), engine.zeros(2, 4, dtype=engine.int64), RuntimeError, "class probabilities, got Long"),
    ((2, 4), engine.zeros(2), RuntimeError, "Long or Byte, but got Float"),
    ((2, 4), engine.zeros(2, 3), RuntimeError, "multi-target not supported"),
    ((4,), long(1, 2), ValueError, "1D target must have size 1")])
def test_cross_entropy_refuses(x, target, kind, text):
    with pytest.raises(kind, match=text):
        F.cross_entropy(engine.zeros(x), target)


def test_cross_entropy_options_are_checked():
    x, t = engine.zeros(2, 4), long(0, 1)
    with pytest.raises(ValueError, match="x is not a valid value for reduction"):
        F.cross_entropy(x, t, reduction="x")
    with pytest.raises(RuntimeError, match="all 4 classes"):
        F.cross_entropy(x, t, weight=engine.ones(3))
    with pytest.raises(RuntimeError, match="between 0.0 and 1.0"):
        F.cross_entropy(x, t, weight=engine.ones(4), label_smoothing=2.0)


def test_cross_entropy_ignores_rows():
    x = engine.tensor([[1.0, 2.0], [3.0, 1.0]], requires_grad=True)
    F.cross_entropy(x, long(0, -100)).backward()
    assert x.grad[1].tolist() == [0.0, 0.0]
    assert math.isnan(F.cross_entropy(x, long(-100, -100)).item())


def test_cross_entropy_of_huge_logits_is_finite():
    x = engine.tensor([[1e4, -1e4]], requires_grad=True)
    loss = F.cross_entropy(x, long(1))
    assert loss.item() == 2e4
    loss.backward()
    assert x.grad.tolist() == [[1.0, -1.0]]


def test_cross_entropy_backward_does_not_need_the_input_again():
    x = engine.randn(3, 4, requires_grad=True)
    loss = F.cross_entropy(x * 1, long(0, 1, 2))
    loss.backward(retain_graph=True)
    first = x.grad.clone()
    loss.backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * first.numpy())


def test_nll_loss_refuses_what_cross_entropy_refuses():
    with pytest.raises(IndexError, match="Target 4 is out of bounds"):
        F.nll_loss(engine.zeros(2, 4), long(0, 4))
    with pytest.raises(ValueError, match=r"batch_size \(2\)"):
        F.nll_loss(engine.zeros(2, 4), long(0))


def test_sizes_that_differ_warn_or_fail_as_in_torch():
    with pytest.warns(UserWarning, match=r"target size \(torch.Size\(\[1\]\)\) that is different"):
        F.mse_loss(engine.zeros(3), engine.zeros(1))
    with pytest.raises(ValueError, match="Target size"):
        F.binary_cross_entropy_with_logits(engine.zeros(3), engine.zeros(1))
    with pytest.raises(ValueError, match="target size"):
        F.binary_cross_entropy(engine.zeros(3), engine.zeros(1))
    with pytest.raises(RuntimeError, match="between 0 and 1"):
        F.binary_cross_entropy(engine.tensor([1.5]), engine.tensor([1.0]))


def test_binary_cross_entropy_at_the_ends_is_limited():
    assert F.binary_cross_entropy(engine.tensor([0.0]), engine.tensor([1.0])).item() == 100.0
    assert F.binary_cross_entropy_with_logits(engine.tensor([1e3]), engine.tensor([0.0])).item() == 1e3


def test_old_flags_choose_a_reduction_and_warn():
    with pytest.warns(UserWarning, match="reduction='sum'"):
        assert F.mse_loss(engine.ones(3), engine.zeros(3), size_average=False).item() == 3.0


def test_kl_div_mean_warns():
    with pytest.warns(UserWarning, match="batchmean"):
        F.kl_div(engine.zeros(2), engine.ones(2))


def test_ctc_names_an_alternative():
    with pytest.raises(NotImplementedError, match="HINT"):
        F.ctc_loss(engine.zeros(1, 1, 2), long(1), long(1), long(1))


def test_losses_of_half_precision_stay_half():
    for name in ("bfloat16", "float16"):
        x = engine.randn(4, 3).to(getattr(engine, name)).requires_grad_()
        loss = F.cross_entropy(x, long(0, 1, 2, 0))
        assert loss.dtype is x.dtype
        loss.backward()
        assert x.grad.dtype is x.dtype
