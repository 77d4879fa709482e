"""Attention by cuDNN's graphs, on the stand-in as in test_cudnn.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import engine
from engine import nn
from engine.gpu import cudnn
from tests.device import test_cards as cards

pytestmark = pytest.mark.usefixtures("cudnn_library")
attend = nn.functional.scaled_dot_product_attention
SAMPLES = [c for c in cards.CASES if c[0] == "scaled_dot_product_attention"]


@pytest.mark.parametrize("kind", ["float64", "float16", "bfloat16", "gradient"])
@pytest.mark.parametrize("sample", [c[2] for c in SAMPLES], ids=[f"{c[0]}-{c[1]}" for c in SAMPLES])
def test_samples_agree_with_the_cpu(sample, kind):
    cards.compare(sample, kind)


def masks(name):
    """Masks for two samples, three heads, five queries and seven keys."""
    allowed = engine.rand(2, 1, 5, 7) > 0.4
    allowed[..., 0] = True
    return {"none": None, "booleans": allowed, "a row that sees nothing": allowed & (engine.arange(5) != 2)[:, None],
            "keys": allowed[:, :, :1], "added": engine.randn(5, 7), "added, of heads": engine.randn(2, 3, 5, 7),
            "column": allowed[..., :1], "minus infinity": engine.zeros(5, 7).masked_fill(~allowed[0, 0], -float("inf"))}[name]


CASES: dict[str, Any] = {
    "plain": ((2, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 16), {}), "two dimensions": ((5, 8), (7, 8), (7, 8), {}),
    "causal": ((2, 3, 5, 8), (2, 3, 5, 8), (2, 3, 5, 8), {"is_causal": True}),
    "long keys, causal": ((2, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 8), {"is_causal": True}),
    "three dimensions": ((2, 5, 8), (2, 7, 8), (2, 7, 8), {"scale": 0.3}),
    "shared heads": ((2, 4, 5, 8), (2, 2, 7, 8), (2, 2, 7, 8), {"enable_gqa": True}),
}  # fmt: skip


def check(tensors, events, dtype, mask=None, **options):
    """Values and gradients against the CPU's in float32."""
    there = [t.to("cuda").to(dtype).requires_grad_() for t in tensors]
    here = [t.detach().cpu().float().requires_grad_() for t in there]
    mask_there = None if mask is None else mask.to("cuda") if mask.dtype is engine.bool else mask.to("cuda").to(dtype)
    mask_here = mask_there if mask is None or mask.dtype is engine.bool else mask_there.float()
    mask_here = None if mask is None else mask_here.cpu()
    expected, ours = attend(*here, mask_here, **options), attend(*there, mask_there, **options)
    g = engine.randn(*expected.shape).to(dtype)
    wanted, found = engine.autograd.grad(expected, here, g.float()), engine.autograd.grad(ours, there, g.to("cuda"))
    assert events["cudnn run"] == 2
    tolerance = 1e-2 if dtype is engine.float16 else 5e-2
    for a, b in zip((ours, *found), (expected, *wanted)):
        assert a.dtype is dtype
        np.testing.assert_allclose(a.detach().cpu().float().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [engine.float16, engine.bfloat16], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_shapes(name, dtype, events):
    q, k, v, options = CASES[name]
    check([engine.randn(*s) for s in (q, k, v)], events, dtype, **options)


@pytest.mark.parametrize("dtype", [engine.float16, engine.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["booleans", "a row that sees nothing", "keys", "added", "added, of heads", "column",
                                  "minus infinity"])
def test_masks(name, dtype, events):
    check([engine.randn(2, 3, n, 8) for n in (5, 7, 7)], events, dtype, masks(name))


def test_heads_are_used_where_they_lie(device, events):
    packed = engine.randn(2, 5, 3 * 4 * 8, device=device).half().requires_grad_()
    q, k, v = (t.reshape(2, 5, 4, 8).transpose(1, 2) for t in packed.chunk(3, -1))
    out = attend(q, k, v, is_causal=True)
    (key,) = [at[-1] for at in cudnn._plans]
    assert all(tensor.strides == (5 * 96, 8, 96, 1) for tensor in key.inputs)
    assert out.transpose(1, 2).is_contiguous()  # as its reshape to (N, L, E) wants it
    (g,) = engine.autograd.grad(out.sum(), [packed])
    assert events["cudnn run"] == 2 and g.shape == packed.shape


@pytest.mark.parametrize("why", ["float32", "width 6", "dropout", "switched off", "no cuDNN"])
def test_what_cudnn_does_not_do_goes_another_way(why, device, events):
    dtype = engine.float32 if why == "float32" else engine.bfloat16
    q = engine.randn(2, 2, 5, 6 if why == "width 6" else 8, device=device).to(dtype)
    engine.backends.cuda.enable_cudnn_sdp(why != "switched off")
    try:
        with engine.backends.cudnn.flags(enabled=why != "no cuDNN"):
            out = attend(q, q, q, dropout_p=0.5 if why == "dropout" else 0.0)
    finally:
        engine.backends.cuda.enable_cudnn_sdp(True)
    assert not events["cudnn run"] and bool(engine.isfinite(out).all())


def test_a_mask_that_learns_gets_its_gradient(device, events):
    q, mask = engine.randn(1, 2, 5, 8, device=device).half(), engine.randn(5, 5, device=device).half().requires_grad_()
    attend(q, q, q, mask).square().sum().backward()
    here, there = mask.detach().cpu().float().requires_grad_(), mask.grad
    q = q.cpu().float()
    attend(q, q, q, here).square().sum().backward()
    assert events["cudnn run"] == 1
    np.testing.assert_allclose(there.cpu().float().numpy(), here.grad.numpy(), rtol=2e-2, atol=2e-2)


def test_second_gradients_go_through_the_ordinary_form(device):
    grads = []
    for where in ("cpu", device):
        engine.manual_seed(0)
        q = engine.randn(1, 1, 4, 8).bfloat16().to(where).requires_grad_()
        (first,) = engine.autograd.grad(attend(q, q, q).square().sum(), [q], create_graph=True)
        (second,) = engine.autograd.grad(first.square().sum(), [q])
        grads.append(second.cpu().float().numpy())
    np.testing.assert_allclose(grads[1], grads[0], rtol=0.2, atol=0.2 * np.abs(grads[0]).max())
