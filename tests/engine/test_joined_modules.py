"""Modules that nn.Sequential computes together: nobody can tell, but by the clock."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

import engine
from engine import nn
from engine.ops import channel_activations

pytestmark = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")
SHAPE = (4, 24, 17, 23)
ACTIVATIONS = [nn.ReLU(), nn.ReLU(inplace=True), nn.LeakyReLU(0.2), nn.LeakyReLU(-0.5)]


@pytest.fixture
def joined(monkeypatch):
    """How often the joined form was used."""
    calls = []
    call = channel_activations.BatchNormLeakyRelu.call
    monkeypatch.setattr(channel_activations.BatchNormLeakyRelu, "call", lambda *args: calls.append(1) or call(*args))
    return calls


def network(activation, **options):
    engine.manual_seed(0)
    norm = nn.BatchNorm2d(SHAPE[1], **options)
    for p in norm.parameters():
        nn.init.normal_(p)
    return nn.Sequential(norm, activation)


def numbers(seed):
    return engine.tensor(np.random.default_rng(seed).normal(1, 2, SHAPE).astype(np.float32))


def everything(net, apart, create_graph=False):
    """Output, gradients, perhaps their gradients, and running statistics."""
    x = numbers(0).requires_grad_()
    y = net(x) if not apart else net[1](net[0](x))
    leaves = [x, *net.parameters()]
    grads = engine.autograd.grad((y * numbers(1)).sum(), leaves, create_graph=create_graph)
    second = engine.autograd.grad(sum((g * g).sum() for g in grads), leaves, materialize_grads=True) if create_graph else ()
    return [a.detach().numpy() for a in (y, *grads, *second, *net.buffers())]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("options", [{}, {"affine": False}, {"bias": False}, {"momentum": None}], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_joined_is_what_apart_is(activation, options, training, joined):
    found = [everything(network(activation, **options).train(training), apart) for apart in (False, True)]
    assert len(joined) == 1
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * max(1, np.abs(b).max()))


@pytest.mark.parametrize("activation", ACTIVATIONS[1:3], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_derivatives_of_the_gradients(activation, training, joined):
    found = [everything(network(activation).train(training), apart, create_graph=True) for apart in (False, True)]
    assert len(joined) == 1
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * max(1, np.abs(b).max()))


@pytest.mark.parametrize("trained", ["0.weight", "0.bias"])
@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_one_parameter_alone(trained, training, joined):
    found = []
    for apart in (False, True):
        net, x = network(nn.ReLU()).train(training), numbers(0)
        for name, p in net.named_parameters():
            p.requires_grad_(name == trained)
        y = net(x) if not apart else net[1](net[0](x))
        (y * numbers(1)).sum().backward()
        found.append(net.get_parameter(trained).grad.numpy())
    assert len(joined) == 1
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-3)


def test_backward_after_kernels_were_switched_off(joined):
    grads = []
    for enabled in (True, False):
        x = numbers(0).requires_grad_()
        y = network(nn.LeakyReLU(0.1))(x)
        with engine.backends.fast.flags(enabled=enabled):
            (y * numbers(1)).sum().backward()
        grads.append(x.grad.numpy())
    assert len(joined) == 2
    np.testing.assert_allclose(*grads, rtol=1e-5, atol=1e-5)


def test_nan_and_infinity(joined):
    """In evaluation, where they stay where they are."""
    x = numbers(0)
    x[0, 0, 0, :3] = engine.tensor([float("nan"), float("inf"), -float("inf")])
    net = network(nn.ReLU()).eval()
    np.testing.assert_allclose(net(x).detach().numpy(), net[1](net[0](x)).detach().numpy(), rtol=1e-6, atol=1e-6)
    assert len(joined) == 1


class Twice(nn.ReLU):
    def forward(self, input):
        return 2 * super().forward(input)


class Shifted(nn.BatchNorm2d):
    def forward(self, input):
        return super().forward(input) + 1


def test_what_can_be_seen_is_computed_one_by_one(joined):
    """Hooks, subclasses and replaced methods get the output of the batch norm, as in a loop by hand."""
    x, seen = numbers(0), []
    hooked = network(nn.ReLU())
    hooked[0].register_forward_hook(lambda module, args, output: seen.append(output))
    waiting = network(nn.ReLU())
    waiting[1].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    replaced = network(nn.ReLU())
    replaced[1].forward = lambda input: seen.append(input) or input.relu()
    for net in (hooked, waiting, replaced):
        y = net(x)
        np.testing.assert_array_equal(seen[-1].relu().detach().numpy(), y.detach().numpy())
    assert len(seen) == 3
    shifted = Shifted(SHAPE[1])
    for net in (network(Twice()), nn.Sequential(shifted, nn.ReLU()), nn.Sequential(shifted)):
        apart = net[0](x) if len(net) == 1 else net[1](net[0](x))
        np.testing.assert_allclose(net(x).detach().numpy(), apart.detach().numpy(), atol=1e-5)
    assert not joined


def test_small_and_other_inputs_are_computed_one_by_one(joined):
    for x in (engine.randn(4, 24, 2, 2), numbers(0).double()):
        net = network(nn.ReLU()).to(x.dtype)
        np.testing.assert_allclose(net(x).detach().numpy(), net[1](net[0](x)).detach().numpy(), rtol=1e-6, atol=1e-6)
    assert not joined
    with pytest.raises(ValueError, match="4D input"):
        network(nn.ReLU())(engine.randn(24, 24, 100))
