"""Activations and softmax: in-place arguments, extreme inputs, warnings and errors."""

from __future__ import annotations

import numpy as np
import pytest

import engine

F = engine.nn.functional
INPLACE = ("relu", "leaky_relu", "elu", "selu", "celu", "silu", "mish", "hardtanh", "relu6", "hardswish", "hardsigmoid")


@pytest.mark.parametrize("name", INPLACE)
def test_inplace_writes_into_the_input_and_keeps_the_gradient(name):
    fn = getattr(F, name)
    leaf = engine.tensor([-1.5, 0.5, 2.0], requires_grad=True)
    y = leaf * 1
    assert fn(y, inplace=True) is y
    y.sum().backward()
    other = engine.tensor([-1.5, 0.5, 2.0], requires_grad=True)
    fn(other).sum().backward()
    assert leaf.grad.tolist() == other.grad.tolist()
    assert y.tolist() == fn(other).tolist()


@pytest.mark.parametrize("name", ["relu", "sigmoid", "silu", "gelu", "softplus", "logsigmoid", "mish", "elu", "selu", "tanh",
                                  "hardswish", "softsign", "celu"])
def test_extreme_inputs_equal_torch(name):
    torch = pytest.importorskip("torch")
    values = [-1e4, -100.0, -20.0, 0.0, 20.0, 100.0, 1e4, float("nan")]
    ours, theirs = engine.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    a, b = getattr(F, name)(ours), getattr(torch.nn.functional, name)(theirs)
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6)
    a.sum().backward()
    b.sum().backward()
    keep = slice(0, -1)  # torch's own NaN gradients differ from function to function
    np.testing.assert_allclose(ours.grad.numpy()[keep], theirs.grad.numpy()[keep], rtol=1e-5, atol=1e-6)


def test_bad_arguments():
    with pytest.raises(RuntimeError, match="none or tanh"):
        F.gelu(engine.zeros(1), approximate="x")
    with pytest.raises(RuntimeError, match="even"):
        F.glu(engine.zeros(3))
    with pytest.raises(RuntimeError, match="channel size = 3"):
        F.prelu(engine.zeros(2, 3), engine.zeros(2))
    with pytest.raises(RuntimeError, match="smaller than num_classes"):
        F.one_hot(engine.tensor([3]), 2)
    with pytest.raises(TypeError, match="must be Tensor, not list"):
        F.silu([1.0])


def test_softmax_does_not_overflow_and_sums_to_one():
    x = engine.tensor([[1000.0, 1000.0, -1000.0]])
    assert engine.softmax(x, 1).tolist() == [[0.5, 0.5, 0.0]]
    np.testing.assert_allclose(engine.log_softmax(x, 1).numpy()[0, :2], np.log([0.5, 0.5]), rtol=1e-6)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("size", [64, 300])  # below and above what is compiled
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_softmax_of_many_numbers_far_from_zero(dim, size, fast):
    """Lines that would overflow or vanish without their maximum taken off, and lines that hold minus infinity."""
    x = np.random.default_rng(0).normal(size=(3, size, 64)).astype(np.float32)
    x[0, :, 3] += 300
    x[1, 5] -= 300
    x[2, :40, 7] = x[2, 0, :40] = -np.inf
    exact = x.astype(np.float64) - x.max(dim, keepdims=True)
    logs = exact - np.log(np.exp(exact).sum(dim, keepdims=True))
    with engine.backends.fast.flags(enabled=fast):
        np.testing.assert_allclose(engine.softmax(engine.from_numpy(x), dim).numpy(), np.exp(logs), rtol=2e-5, atol=1e-30)
        np.testing.assert_allclose(engine.log_softmax(engine.from_numpy(x), dim).numpy(), logs, rtol=1e-6, atol=1e-6)


def test_softmax_errors_and_dtype():
    with pytest.raises(IndexError, match=r"range of \[-1, 0\], but got 1"):
        engine.softmax(engine.zeros(3), 1)
    with pytest.raises(RuntimeError, match="not implemented for 'Long'"):
        engine.softmax(engine.tensor([1, 2]), 0)
    assert engine.softmax(engine.tensor([1, 2]), 0, dtype=engine.float64).dtype is engine.float64
    with pytest.warns(UserWarning, match="Implicit dimension choice for softmax"):
        F.softmax(engine.zeros(2, 3))


def test_gumbel_softmax_draws_torchs_numbers():
    torch = pytest.importorskip("torch")
    engine.manual_seed(3)
    torch.manual_seed(3)
    np.testing.assert_allclose(F.gumbel_softmax(engine.zeros(4, 5), tau=0.5).numpy(),
                               torch.nn.functional.gumbel_softmax(torch.zeros(4, 5), tau=0.5).numpy(), rtol=2e-5)


def test_rrelu_in_training_draws_torchs_numbers():
    torch = pytest.importorskip("torch")
    values = np.linspace(-2, 2, 12, dtype=np.float32)
    engine.manual_seed(3)
    torch.manual_seed(3)
    np.testing.assert_allclose(F.rrelu(engine.tensor(values), training=True).numpy(),
                               torch.nn.functional.rrelu(torch.tensor(values), training=True).numpy(), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("slope", [None, 0.2, 1.5])
@pytest.mark.parametrize("fast", [True, False])
def test_large_gradients_are_those_of_small_ones(dtype, slope, fast):
    """Infinities and NaN included: no product may turn a gradient that is switched off into NaN."""
    random, size = np.random.default_rng(0), 70_001
    x, g = random.normal(size=size).astype(dtype), random.normal(size=size).astype(dtype)
    x[:6], g[:6] = [-1, 1, 0, -0.0, np.nan, np.nan], [np.inf, np.inf, np.nan, np.inf, 1, np.nan]

    def gradient(x, g):
        leaf = engine.tensor(x, requires_grad=True)
        (F.relu(leaf) if slope is None else F.leaky_relu(leaf, slope)).backward(engine.tensor(g))
        return leaf.grad.numpy()

    with engine.backends.fast.flags(enabled=fast):
        whole = gradient(x, g)
    parts = [gradient(x[i : i + 1000], g[i : i + 1000]) for i in range(0, size, 1000)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
