"""Normalisation: running statistics, extreme inputs, in-place safety and errors."""

from __future__ import annotations

import numpy as np
import pytest

import engine
from engine.nn import functional as F


def t(*shape, seed=0):
    return engine.tensor(np.random.default_rng(seed).normal(size=shape)).float()


def test_running_statistics_move_by_momentum_with_the_unbiased_variance():
    x, mean, var = t(4, 3, 5), engine.zeros(3), engine.ones(3)
    F.batch_norm(x, mean, var, training=True, momentum=0.25)
    a = x.numpy().transpose(1, 0, 2).reshape(3, -1)
    np.testing.assert_allclose(mean.numpy(), 0.25 * a.mean(1), rtol=1e-5)
    np.testing.assert_allclose(var.numpy(), 0.75 + 0.25 * a.var(1, ddof=1), rtol=1e-5)
    assert mean._version == var._version == 1


def test_evaluation_uses_and_keeps_the_running_statistics():
    x, mean, var = t(4, 3), engine.tensor([1.0, 2.0, 3.0]), engine.tensor([4.0, 1.0, 0.25])
    y = F.batch_norm(x, mean, var, eps=0.0)
    np.testing.assert_allclose(y.numpy(), (x.numpy() - [1, 2, 3]) / [2, 1, 0.5], rtol=1e-5)
    assert mean.tolist() == [1, 2, 3] and mean._version == 0


def test_running_statistics_equal_torch_over_steps():
    torch = pytest.importorskip("torch")
    ours, theirs = (engine.zeros(3), engine.ones(3)), (torch.zeros(3), torch.ones(3))
    for seed in range(3):
        x = t(4, 3, 2, 2, seed=seed)
        a = F.batch_norm(x, *ours, training=True)
        b = torch.nn.functional.batch_norm(torch.tensor(x.numpy()), *theirs, training=True)
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)
        ours_i, theirs_i = (engine.zeros(3), engine.ones(3)), (torch.zeros(3), torch.ones(3))
        F.instance_norm(x, *ours_i)
        torch.nn.functional.instance_norm(torch.tensor(x.numpy()), *theirs_i)
        for u, v in zip((*ours, *ours_i), (*theirs, *theirs_i)):
            np.testing.assert_allclose(u.numpy(), v.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("norm", ["layer", "rms", "group", "batch"])
def test_output_may_be_changed_in_place_before_backward(norm):
    """What backward keeps is not the output itself, even without weight and bias."""

    def run(change):
        x = t(4, 6, seed=3).requires_grad_()
        y = {
            "layer": lambda: F.layer_norm(x, (6,)),
            "rms": lambda: F.rms_norm(x, (6,)),
            "group": lambda: F.group_norm(x, 2),
            "batch": lambda: F.batch_norm(x, None, None, training=True),
        }[norm]()
        z = y.mul_(2.0) if change else y * 2.0
        (z * z).sum().backward()
        return x.grad.numpy()

    np.testing.assert_allclose(run(True), run(False), rtol=1e-5)


def test_large_offsets_keep_their_precision():
    x = engine.tensor([[10000.0, 10001.0, 10002.0, 10003.0]])
    expected = [(v - 1.5) / 1.25**0.5 for v in range(4)]
    np.testing.assert_allclose(F.layer_norm(x, (4,), eps=0.0).numpy()[0], expected, rtol=1e-3)


def test_constant_input_gives_zeros():
    assert (F.layer_norm(engine.ones(2, 5), (5,)) == 0).all()
    assert (F.group_norm(engine.ones(2, 4, 3), 2) == 0).all()


def test_half_precision_input_with_float32_statistics():
    x, mean, var = t(4, 3).bfloat16(), engine.zeros(3), engine.ones(3)
    y = F.batch_norm(x, mean, var, training=True)
    assert y.dtype is engine.bfloat16 and mean.dtype is engine.float32
    np.testing.assert_allclose(mean.numpy(), 0.1 * x.float().numpy().mean(0), rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: F.batch_norm(t(1, 3), None, None, training=True), ValueError, "more than 1 value per channel"),
        (lambda: F.batch_norm(t(4, 3), None, None), RuntimeError, "running_mean and running_var must be defined"),
        (
            lambda: F.batch_norm(t(4, 3), engine.zeros(2), engine.ones(2)),
            RuntimeError,
            "running_mean should contain 3 elements not 2",
        ),
        (
            lambda: F.batch_norm(t(4, 3), None, None, t(5), training=True),
            RuntimeError,
            "weight should contain 3 elements not 5",
        ),
        (lambda: F.layer_norm(t(4, 3), (4,)), RuntimeError, r"normalized_shape=\[4\].*\[\*, 4\].*\[4, 3\]"),
        (
            lambda: F.layer_norm(t(4, 3), (3,), t(2)),
            RuntimeError,
            r"weight to be of same shape as normalized_shape.*\[2\].*\[3\]",
        ),
        (lambda: F.layer_norm(t(4, 3), ()), RuntimeError, "at least 1-dimensional"),
        (lambda: F.group_norm(t(4, 3), 2), RuntimeError, "divisible by num_groups.*num_groups=2"),
        (lambda: F.instance_norm(t(4, 3, 1)), ValueError, "more than 1 spatial element"),
        (lambda: F.local_response_norm(t(4, 3), 2), ValueError, "3D or higher"),
        (lambda: F.rms_norm(t(4, 3), (2, 3)), RuntimeError, "normalized_shape"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(6, 20, 31, 33), (1023, 20)])
def test_large_batch_norm_equals_float64(shape, training, fast):
    """A mean far from zero: the variance must not come from the difference of two large numbers."""
    random = np.random.default_rng(0)
    x, g = random.normal(100, 1, shape), random.normal(size=shape)
    others = [random.normal(100, 1, 20), random.uniform(1, 2, 20), random.uniform(1, 2, 20), random.normal(size=20)]
    results = []
    for dtype in (np.float64, np.float32):
        with engine.backends.fast.flags(enabled=fast):
            mean, var, w, b = (engine.tensor(a.astype(dtype)) for a in others)
            leaves = [engine.tensor(x.astype(dtype)).requires_grad_(), w.requires_grad_(), b.requires_grad_()]
            y = F.batch_norm(leaves[0], mean, var, leaves[1], leaves[2], training)
            y.backward(engine.tensor(g.astype(dtype)))
        results.append([y.detach().numpy(), mean.numpy(), var.numpy(), *[v.grad.numpy() for v in leaves]])
    for exact, got in zip(*results, strict=True):
        assert got.dtype == np.float32 and got.shape == exact.shape
        assert np.abs(got - exact).max() < 1e-4 * np.abs(exact).max()


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("groups", [1, 4, 12])
def test_large_group_norm_equals_the_definition(groups, fast):
    random = np.random.default_rng(0)
    x, g = random.normal(3, 2, (5, 12, 37, 41)), random.normal(size=(5, 12, 37, 41))
    w, b = random.normal(size=12), random.normal(size=12)
    grouped = x.reshape(5, groups, -1)
    rstd = 1 / np.sqrt(grouped.var(-1, keepdims=True) + 1e-5)
    normal = (grouped - grouped.mean(-1, keepdims=True)) * rstd
    h = (g * w[:, None, None]).reshape(5, groups, -1)
    gx = (h - h.mean(-1, keepdims=True) - normal * (h * normal).mean(-1, keepdims=True)) * rstd
    normal = normal.reshape(x.shape)
    y = normal * w[:, None, None] + b[:, None, None]
    expected = [y, gx.reshape(x.shape), (g * normal).sum((0, 2, 3)), g.sum((0, 2, 3))]
    with engine.backends.fast.flags(enabled=fast):
        leaves = [engine.tensor(a.astype(np.float32), requires_grad=True) for a in (x, w, b)]
        y = F.group_norm(leaves[0], groups, *leaves[1:])
        y.backward(engine.tensor(g.astype(np.float32)))
    for ours, exact in zip([y.detach(), *[leaf.grad for leaf in leaves]], expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), exact, rtol=1e-4, atol=1e-4 * np.abs(exact).max())
