"""Losses: sizes that do not fit, classes out of bounds, ignored rows, reductions and warnings."""

from __future__ import annotations

import itertools
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


def paths_of(labels, steps, classes, blank):
    """Every path of `steps` classes that collapses to `labels`."""
    for path in itertools.product(range(classes), repeat=steps):
        kept = [c for c, before in zip(path, (None, *path)) if c != before and c != blank]
        if kept == list(labels):
            yield path


@pytest.mark.parametrize("blank", [0, 2])
def test_ctc_sums_over_all_paths(blank):
    logits = engine.randn(5, 3, 3, dtype=engine.float64).requires_grad_()
    others = [c for c in range(3) if c != blank]
    targets = [[others[0], others[1]], [others[1]], [others[0], others[0]]]
    lengths = (5, 3, 4)
    flat = [c for labels in targets for c in labels]
    losses = F.ctc_loss(logits.log_softmax(-1), long(*flat), lengths, (2, 1, 2), blank, "none")
    expected = []
    for n, (labels, steps) in enumerate(zip(targets, lengths)):
        p = logits[:, n].softmax(-1)
        ways = [math.prod([p[t, c] for t, c in enumerate(path)]) for path in paths_of(labels, steps, 3, blank)]
        expected.append(-sum(ways).log())
    expected = engine.stack(expected)
    assert engine.allclose(losses, expected)
    weights = engine.tensor([1.0, 2.0, -3.0], dtype=engine.float64)
    ours, = engine.autograd.grad(losses, logits, weights)
    true, = engine.autograd.grad(expected, logits, weights)
    assert engine.allclose(ours, true)


def test_ctc_equals_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(12, 4, 6))
    padded = rng.integers(1, 6, (4, 5))
    for lengths in ((5, 3, 0, 4), (5, 5, 5, 5)):
        flat = np.concatenate([row[:n] for row, n in zip(padded, lengths)])
        for targets in (padded, flat):
            for reduction in ("mean", "sum", "none"):
                for zero in (False, True):
                    results = []
                    for lib in (engine, torch):
                        x = lib.tensor(logits, requires_grad=True)
                        loss = lib.nn.functional.ctc_loss(x.log_softmax(-1), lib.tensor(targets), (12, 9, 4, 6), lengths,
                                                          reduction=reduction, zero_infinity=zero)
                        loss.sum().backward()
                        results.append((loss.detach().numpy(), x.grad.numpy()))
                    np.testing.assert_allclose(*[r[0] for r in results], rtol=1e-10)
                    np.testing.assert_allclose(*[r[1] for r in results], rtol=1e-8, atol=1e-12)


def test_ctc_of_impossible_alignments():
    log_probs = engine.zeros(3, 2, 3).log_softmax(-1).requires_grad_()
    targets, lengths = engine.tensor([[1, 1], [1, 2]]), engine.tensor([2, 3])  # 1, 1 needs a blank between
    assert F.ctc_loss(log_probs, targets, lengths, long(2, 2), reduction="none").tolist()[0] == math.inf
    loss = F.ctc_loss(log_probs, targets, lengths, long(2, 2), reduction="none", zero_infinity=True)
    loss.sum().backward()
    assert loss[0] == 0 and not log_probs.grad[:, 0].any() and log_probs.grad[:, 1].any()


@pytest.mark.parametrize(("arguments", "error", "text"), [
    (((6, 5), (2, 2)), RuntimeError, "input_lengths to have value at most 5"),
    (((5, 5), (2, 3)), RuntimeError, "size at least 3 at dimension 1"),
    (((5,), (2, 2)), RuntimeError, "input_lengths must be of size batch_size"),
    (((5, 5), (2, -1)), RuntimeError, "target_lengths to have value at least 0"),
    (((5, 5), (2, 2), 4), RuntimeError, "blank must be in label range"),
    ((5, (2, 2)), TypeError, "input_lengths"),
])
def test_ctc_errors(arguments, error, text):
    with pytest.raises(error, match=text):
        F.ctc_loss(engine.zeros(5, 2, 4), engine.tensor([[1, 2], [3, 1]]), *arguments)


def test_losses_of_half_precision_stay_half():
    for name in ("bfloat16", "float16"):
        x = engine.randn(4, 3).to(getattr(engine, name)).requires_grad_()
        loss = F.cross_entropy(x, long(0, 1, 2, 0))
        assert loss.dtype is x.dtype
        loss.backward()
        assert x.grad.dtype is x.dtype


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("shape", [(500, 10), (9000, 10), (3, 10, 40, 50)])
def test_cross_entropy_of_targets_that_are_nearly_certain(shape, fast):
    """It is the logarithm of a probability close to one: never below zero, and right to the last digits of that one."""
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=shape).astype(np.float32), rng.integers(0, 10, (*shape[:1], *shape[2:]))
    for start, shift in ((0, 9), (1, 15), (2, 60), (3, 100)):
        rows = np.moveaxis(x, 1, -1)[start::4]
        np.put_along_axis(rows, t[start::4, ..., None], np.take_along_axis(rows, t[start::4, ..., None], -1) + shift, -1)
    exact = x.astype(np.float64) - x.max(1, keepdims=True)
    exact = np.log(np.exp(exact).sum(1)) - np.take_along_axis(exact, t[:, None], 1)[:, 0]
    with engine.backends.fast.flags(enabled=fast):
        found = F.cross_entropy(engine.from_numpy(x), engine.from_numpy(t), reduction="none").numpy()
    assert found.min() >= 0
    np.testing.assert_allclose(found, exact, rtol=1e-6, atol=5e-7)


def test_cross_entropy_of_one_class_and_of_kernels_switched_off_in_between():
    x = engine.zeros(2, 1, 300, 300, requires_grad=True)
    t = engine.zeros(2, 300, 300, dtype=engine.int64)
    loss = F.cross_entropy(x, t)
    with engine.backends.fast.flags(enabled=False):
        loss.backward(retain_graph=True)
        loss.backward()
    assert loss.item() == 0
    assert not x.grad.any()


@pytest.mark.parametrize("options", [{}, {"weight": engine.tensor([1.0, 2.0])}, {"label_smoothing": 0.1}])
def test_a_batch_of_ignored_targets_has_no_mean_and_no_gradient(options):
    """As in torch: the loss is NaN, but a step with it does not ruin the weights."""
    losses = [F.cross_entropy] if "label_smoothing" in options else [F.cross_entropy, F.nll_loss]
    for loss in losses:
        x = engine.ones(3, 2, requires_grad=True)
        value = loss(x, engine.full((3,), -100), **options)
        value.backward()
        assert value.isnan() and x.grad.tolist() == [[0.0, 0.0]] * 3
        again = engine.autograd.grad(loss(x, engine.full((3,), -100), **options), x, create_graph=True)[0]
        assert again.tolist() == [[0.0, 0.0]] * 3
