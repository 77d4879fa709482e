"""Channels-last images on a GPU: asked for as in torch, and kept from layer to layer."""

from __future__ import annotations

import numpy as np
import pytest

import engine
from engine import nn
from tests.fake_cupy.kernels import compiler

pytestmark = pytest.mark.usefixtures("cudnn_library")
LAST = engine.channels_last


def test_every_way_to_ask(device):
    x = engine.randn(2, 3, 4, 5, device=device)
    for moved in (x.to(memory_format=LAST), x.contiguous(memory_format=LAST), x.to(engine.float32, memory_format=LAST)):
        assert moved.stride() == (60, 1, 15, 3) and moved.is_contiguous(memory_format=LAST) and not moved.is_contiguous()
        assert moved.contiguous(memory_format=LAST) is moved and bool((moved == x).all())
    assert x.contiguous(memory_format=LAST).contiguous().is_contiguous()
    w = engine.randn(4, 3, 1, 1, device=device).to(memory_format=LAST)
    assert w.stride() == (3, 1, 3, 3) and w.is_contiguous(memory_format=LAST)
    space = engine.randn(1, 2, 3, 4, 5, device=device).to(memory_format=engine.channels_last_3d)
    assert space.stride() == (120, 1, 40, 10, 2) and space.is_contiguous(memory_format=engine.channels_last_3d)
    with pytest.raises(RuntimeError, match="required rank 4 tensor to use channels_last format"):
        space.to(memory_format=LAST)


def test_the_cpu_keeps_rows(device):
    x = engine.randn(2, 3, 4, 5)
    assert x.to(memory_format=LAST) is x and x.contiguous(memory_format=LAST) is x and not x.is_contiguous(memory_format=LAST)


def test_gradients_flow_through(device):
    x = engine.randn(2, 3, 4, 5, device=device, requires_grad=True)
    (g,) = engine.autograd.grad((x.to(memory_format=LAST) * 2).sum(), [x])
    assert bool((g == 2).all())


def block():
    engine.manual_seed(0)
    convolutions = nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.Conv2d(16, 8, 1)
    return nn.Sequential(convolutions[0], nn.BatchNorm2d(16), nn.ReLU(), convolutions[1], nn.SiLU())


@pytest.mark.parametrize("dtype", [engine.float32, engine.bfloat16], ids=str)
def test_layers_keep_the_order_and_compute_the_same(dtype, device):
    if compiler() is None:
        pytest.skip("no g++")
    plain, last = block().to(device, dtype), block().to(device, dtype).to(memory_format=LAST)
    assert all(p.is_contiguous(memory_format=LAST) for p in last.parameters() if p.dim() == 4)
    x = engine.randn(2, 8, 6, 6, device=device).to(dtype)
    a, b = x.clone().requires_grad_(), x.to(memory_format=LAST).requires_grad_()
    seen = []
    for layer in last:
        layer.register_forward_hook(lambda module, args, out: seen.append(out.is_contiguous(memory_format=LAST)))
    out_a, out_b = plain(a), last(b)
    assert seen == [True] * 5
    g = engine.randn(*out_a.shape, device=device).to(dtype)
    grads_a = engine.autograd.grad(out_a, [a, *plain.parameters()], g)
    grads_b = engine.autograd.grad(out_b, [b, *last.parameters()], g)
    assert grads_b[0].is_contiguous(memory_format=LAST)
    tolerance = 1e-4 if dtype is engine.float32 else 5e-2
    for p, q in zip((out_a, *grads_a), (out_b, *grads_b)):
        p, q = (t.detach().cpu().float().numpy() for t in (p, q))
        np.testing.assert_allclose(q / max(1, np.abs(p).max()), p / max(1, np.abs(p).max()), rtol=tolerance, atol=tolerance)


def test_an_optimizer_steps_channels_last_weights(device):
    if compiler() is None:
        pytest.skip("no g++")
    plain, last = block().to(device), block().to(device).to(memory_format=LAST)
    for net in (plain, last):
        optimizer = engine.optim.Adam(net.parameters(), lr=0.1)
        engine.manual_seed(1)
        net(engine.randn(2, 8, 4, 4).to(device)).square().sum().backward()
        optimizer.step()
    for p, q in zip(plain.parameters(), last.parameters()):
        np.testing.assert_allclose(q.detach().cpu().numpy(), p.detach().cpu().numpy(), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("dtype", [engine.float16, engine.bfloat16], ids=str)
def test_residual_sums_of_half_precision_take_one_pass(dtype, device, events):
    if compiler() is None:
        pytest.skip("no g++")
    for shape in ((2, 3, 4, 5), (7,)):
        a, b = (engine.randn(*shape, device=device).to(dtype) for _ in range(2))
        if len(shape) == 4:
            a, b = (t.to(memory_format=LAST) for t in (a, b))
        a.requires_grad_()
        events.clear()
        out = a + b
        assert events["kernel add_f16" if dtype is engine.float16 else "kernel add_bf16"] == 1
        assert out.is_contiguous(memory_format=LAST) or len(shape) == 1
        np.testing.assert_array_equal(out.detach().cpu().float().numpy(), (a.detach().cpu() + b.cpu()).float().numpy())
        (g,) = engine.autograd.grad(out.sum(), [a])
        assert g.dtype is dtype and bool((g == 1).all())
    wide = engine.randn(3, 1, device=device).to(dtype).requires_grad_()
    (g,) = engine.autograd.grad((wide + engine.ones(3, 4, device=device).to(dtype)).sum(), [wide])
    assert g.shape == (3, 1) and bool((g == 4).all())
