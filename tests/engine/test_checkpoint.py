"""Activation checkpointing gives the same numbers as without, keeps less, and runs the function again when it should."""

from __future__ import annotations

import gc
import tracemalloc
import weakref

import pytest

import engine as torch
from engine import nn
from engine.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Dropout(0.5), nn.LayerNorm(8), nn.Linear(8, 3))


def gradients(net, run, x):
    torch.manual_seed(3)
    loss = run(x).square().sum()
    loss.backward()
    found = [p.grad for p in net.parameters()] + [x.grad]
    for t in [*net.parameters(), x]:
        t.grad = None
    return [loss.detach(), *found, torch.rand(1)]


@pytest.mark.parametrize("use_reentrant", [None, False, True])
def test_gradients_and_random_stream_are_those_without_a_checkpoint(use_reentrant):
    net, x = model(), torch.randn(5, 4, requires_grad=True)
    expected = gradients(net, net, x)
    got = gradients(net, lambda v: checkpoint(net, v, use_reentrant=use_reentrant), x)
    assert all(torch.equal(a, b) for a, b in zip(got, expected))


def test_parameters_get_gradients_when_the_input_needs_none():
    net, x = model(), torch.randn(5, 4)
    checkpoint(net, x, use_reentrant=False).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_nested_checkpoints_and_autograd_grad():
    net, x = model(), torch.randn(5, 4, requires_grad=True)
    net.eval()
    expected = torch.autograd.grad(net(x).square().sum(), [x, *net.parameters()])

    def outer(v):
        return checkpoint(net[3:], checkpoint(net[:3], v, use_reentrant=False), use_reentrant=False)

    y = checkpoint(outer, x, use_reentrant=False)
    got = torch.autograd.grad(y.square().sum(), [x, *net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(got, expected))


def test_second_derivatives_go_through():
    x = torch.tensor([0.3, -0.7], dtype=torch.float64, requires_grad=True)
    y = checkpoint(lambda v: (v.sin() * v).sum(), x, use_reentrant=False)
    (first,) = torch.autograd.grad(y, x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert torch.allclose(second, 2 * x.cos() - x * x.sin())


def test_intermediate_values_are_let_go():
    kept = []

    def work(v):
        middle = v.exp()
        kept.append(weakref.ref(middle))
        return (middle * middle).sum()

    x = torch.randn(10, requires_grad=True)
    gc.disable()
    try:
        y = checkpoint(work, x, use_reentrant=False)
        assert kept[0]() is None
        y.backward()
        assert len(kept) == 2
        assert kept[1]() is None
    finally:
        gc.enable()
    assert torch.allclose(x.grad, 2 * (2 * x).exp())


def test_custom_functions_several_outputs_and_keyword_arguments():
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 3 * x * x * g

    def work(x, scale=1.0):
        a, b = (Cube.apply(x) * scale).split(1)
        return {"a": a, "b": [b * a]}

    x = torch.tensor([2.0, 3.0], requires_grad=True)
    out = checkpoint(work, x, scale=2.0, use_reentrant=False)
    (out["a"] + out["b"][0]).sum().backward()
    assert x.grad.tolist() == [24.0 + 4 * 12 * 27, 4 * 8 * 27]


def test_backward_twice_needs_retain_graph():
    x = torch.tensor([2.0], requires_grad=True)
    y = checkpoint(lambda v: v.exp() * v, x, use_reentrant=False)
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_without_grad_it_only_runs():
    x = torch.ones(2, requires_grad=True)
    with torch.no_grad():
        assert not checkpoint(lambda v: v * 2, x, use_reentrant=False).requires_grad


def test_a_function_that_changes_its_mind_is_an_error():
    calls = []

    def work(v):
        calls.append(1)
        return v.exp() if len(calls) == 1 else v.sin() * 2

    x = torch.ones(2, requires_grad=True)
    y = checkpoint(work, x, use_reentrant=False)
    with pytest.raises(CheckpointError, match="other operators"):
        y.sum().backward()


def test_an_argument_changed_in_place_is_an_error():
    x = torch.ones(2, requires_grad=True)
    scale = torch.ones(2)
    y = checkpoint(lambda v, s: (v * s).exp(), x, scale, use_reentrant=False)
    scale.mul_(2)
    with pytest.raises(RuntimeError, match="modified in place"):
        y.sum().backward()


def test_contexts_surround_the_two_runs():
    from contextlib import contextmanager

    seen = []

    @contextmanager
    def note(what):
        seen.append(what)
        yield

    x = torch.ones(2, requires_grad=True)
    checkpoint(lambda v: v.exp(), x, use_reentrant=False, context_fn=lambda: (note("first"), note("again"))).sum().backward()
    assert seen == ["first", "again"]


@pytest.mark.parametrize("segments", [1, 2, 3])
def test_sequential(segments):
    net, x = model(), torch.randn(5, 4, requires_grad=True)
    expected = gradients(net, net, x)
    got = gradients(net, lambda v: checkpoint_sequential(net, segments, v, use_reentrant=False), x)
    assert all(torch.equal(a, b) for a, b in zip(got, expected))


def peak_of_a_step(run, net, x):
    """Bytes that a forward and backward pass allocates at most at a time."""
    tracemalloc.start()
    try:
        run(x).sum().backward()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        for p in net.parameters():
            p.grad = None


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_the_peak_of_a_deep_network_is_lower(use_reentrant):
    blocks = [nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh()) for _ in range(12)]
    net, x = nn.Sequential(*blocks), torch.randn(512, 64).requires_grad_()
    plain = peak_of_a_step(net, net, x)
    saving = peak_of_a_step(lambda v: checkpoint_sequential(net, 6, v, use_reentrant=use_reentrant), net, x)
    assert plain > 24 * 512 * 64 * 4  # the output of every Tanh
    assert saving < 0.65 * plain
