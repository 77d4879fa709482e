"""Attention: masks, dropout, hidden rows and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import engine
from engine.nn import functional as F


def qkv(lib, *shape, seed=0):
    rng = np.random.default_rng(seed)
    return [lib.tensor(rng.normal(size=shape)) for _ in range(3)]


def test_causal_equals_a_lower_triangular_mask():
    q, k, v = qkv(engine, 2, 3, 5, 4)
    mask = engine.tensor(np.tri(5, dtype=bool))
    a, b = F.scaled_dot_product_attention(q, k, v, is_causal=True), F.scaled_dot_product_attention(q, k, v, mask)
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)


def test_rows_that_may_see_nothing_are_zero_and_so_are_their_gradients():
    q, k, v = qkv(engine, 1, 3, 2)
    q.requires_grad_()
    mask = engine.tensor([[True, False, False], [False, False, False], [True, True, True]])
    y = F.scaled_dot_product_attention(q, k, v, mask)
    assert (y[0, 1] == 0).all()
    y.sum().backward()
    assert (q.grad[0, 1] == 0).all() and np.isfinite(q.grad.numpy()).all()


def test_dropout_draws_torch_masks():
    torch = pytest.importorskip("torch")
    engine.manual_seed(3)
    torch.manual_seed(3)
    a = F.scaled_dot_product_attention(*qkv(engine, 2, 2, 5, 4), dropout_p=0.4)
    b = torch.nn.functional.scaled_dot_product_attention(*qkv(torch, 2, 2, 5, 4), dropout_p=0.4)
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-12)


def test_gradient_through_dropout_is_that_of_the_same_mask():
    q, k, v = [t.requires_grad_() for t in qkv(engine, 1, 4, 3)]
    engine.manual_seed(0)
    y = F.scaled_dot_product_attention(q, k, v, dropout_p=0.5)
    (g,) = engine.autograd.grad((y**2).sum(), q)
    eps, total = 1e-6, np.zeros((1, 4, 3))
    for i in np.ndindex(1, 4, 3):
        ends = []
        for sign in (1, -1):
            moved = q.detach().numpy().copy()
            moved[i] += sign * eps
            engine.manual_seed(0)
            ends.append(float((F.scaled_dot_product_attention(engine.tensor(moved), k, v, dropout_p=0.5) ** 2).sum()))
        total[i] = (ends[0] - ends[1]) / (2 * eps)
    np.testing.assert_allclose(g.numpy(), total, rtol=1e-5, atol=1e-7)


def test_large_scores_do_not_overflow():
    q, k, v = [t.float() * 1000 for t in qkv(engine, 1, 4, 3)]
    assert np.isfinite(F.scaled_dot_product_attention(q, k, v).numpy()).all()


def test_many_heads_equal_one_head_at_a_time():
    """More scores than one cache block holds."""
    q, k, v = qkv(engine, 3, 4, 40, 8)
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True).numpy()
    for i in range(3):
        for j in range(4):
            one = F.scaled_dot_product_attention(q[i, j], k[i, j], v[i, j], is_causal=True).numpy()
            np.testing.assert_allclose(y[i, j], one, rtol=1e-9)


def test_errors():
    q, k, v = qkv(engine, 2, 4, 3)
    sdpa = F.scaled_dot_product_attention
    with pytest.raises(RuntimeError, match="same dtype.*float64.*float32"):
        sdpa(q, k.float(), v)
    with pytest.raises(RuntimeError, match="at least 2 dimensional"):
        sdpa(q[0, 0], k, v)
    with pytest.raises(RuntimeError, match="attn_mask.dtype: torch.int64"):
        sdpa(q, k, v, engine.ones(4, 4).long())
    with pytest.raises(RuntimeError, match=r"query \[2, 4, 3\], key \[2, 4, 2\]"):
        sdpa(q, k[..., :2], v)
    with pytest.raises(ValueError, match="between 0 and 1"):
        sdpa(q, k, v, dropout_p=1.5)
    with pytest.raises(RuntimeError, match="Number of heads in key and value must divide"):
        sdpa(engine.ones(3, 2, 2), engine.ones(2, 2, 2), engine.ones(2, 2, 2), enable_gqa=True)


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"dropout_p": 0.3}, {"mask": True}], ids=str)
def test_blocks_of_queries_and_keys(options):
    """Longer than a block of either: the same as attention written out, forward and backward."""
    length = 1300
    q, k, v = [engine.randn(1, 2, length, 8, dtype=engine.float64, requires_grad=True) for _ in range(3)]
    allowed = engine.ones(length, length).tril().bool() if options.get("is_causal") else None
    if options.get("mask"):
        allowed = engine.rand(length, length) < 0.5
        allowed[3] = False  # sees nothing
    given = {name: value for name, value in options.items() if name != "mask"}
    engine.manual_seed(1)
    out = F.scaled_dot_product_attention(q, k, v, allowed if options.get("mask") else None, **given)
    scores = q @ k.transpose(-1, -2) / 8**0.5
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -float("inf"))
    weights = engine.softmax(scores, -1).nan_to_num(0)
    engine.manual_seed(1)
    expected = F.dropout(weights, options.get("dropout_p", 0)) @ v
    np.testing.assert_allclose(out.detach().numpy(), expected.detach().numpy(), atol=1e-12)
    if options.get("mask"):
        return
    g = engine.randn(*out.shape, dtype=engine.float64)
    for a, b in zip(engine.autograd.grad(out, (q, k, v), g), engine.autograd.grad(expected, (q, k, v), g)):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-11)


def test_memory_does_not_grow_with_the_square_of_the_length():
    import tracemalloc

    q = engine.randn(1, 1, 8192, 16, requires_grad=True)
    tracemalloc.start()
    try:
        F.scaled_dot_product_attention(q, q, q).sum().backward()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8192 * 8192  # all scores would take four times as many bytes


def test_a_mask_and_is_causal_forbid_together():
    q, k, v = (engine.randn(1, 2, 4, 8) for _ in range(3))
    mask = engine.rand(4, 4) > 0.3
    both = mask & engine.ones(4, 4).tril().bool()
    for given, joined in ((mask, both), (mask.float(), mask.float().masked_fill(engine.ones(4, 4).triu(1).bool(), -math.inf))):
        expected = F.scaled_dot_product_attention(q, k, v, joined)
        assert engine.equal(F.scaled_dot_product_attention(q, k, v, given, is_causal=True), expected)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("sizes", [(2, 4, 64, 64, 32, 32), (1, 2, 300, 300, 64, 64), (3, 3, 65, 130, 20, 12),
                                   (2, 2, 70, 70, 9, 5)])
@pytest.mark.parametrize("projected", [False, True])
def test_heads_that_are_compiled_give_what_numpy_gives(sizes, causal, projected):
    """More than a block of queries, features that do not fill vectors, and heads that are slices of one projection."""
    batch, heads, length, source, width, depth = sizes
    shapes = (length, width), (source, width), (source, depth)
    both = []
    for fast in (True, False):
        engine.manual_seed(0)
        leaves = [engine.randn(batch, n, heads, w + 3, requires_grad=True) for n, w in shapes]
        q, k, v = [x[..., 1 : 1 + w].transpose(1, 2) for x, (_, w) in zip(leaves, shapes)]
        if not projected:
            q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
        with engine.backends.fast.flags(enabled=fast):
            y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
            y.backward(engine.randn(*y.shape))
        both.append([y.detach().numpy(), *[x.grad.numpy() for x in leaves]])
    for a, b in zip(*both):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("size", [1.0, 40.0])
def test_a_query_that_sees_only_the_last_block_of_keys(size):
    """Beside others that see all: with scores that need no maximum taken off, and with such that do."""
    q, k, v = [engine.randn(1, 2, 1300, 8, dtype=engine.float64) * (size if i == 0 else 1) for i in range(3)]
    allowed = engine.ones(1300, 1300, dtype=engine.bool)
    allowed[0, :1250] = False
    scores = (q @ k.transpose(-1, -2) / 8**0.5).masked_fill(~allowed, -math.inf)
    expected = engine.softmax(scores, -1) @ v
    found = F.scaled_dot_product_attention(q, k, v, allowed)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-9, atol=1e-12)
