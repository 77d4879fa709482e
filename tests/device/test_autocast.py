"""Autocast on a GPU: torch's lists of operators for CUDA, which are not those for the CPU, and the Trainer's use of them."""

from __future__ import annotations

import importlib.util
import logging
import warnings

import pytest

import engine

# Calls by torch's names (`t`: the library, `F`: its functional, `x`, `y`: 4 x 4 on the device), by the dtype that autocast
# gives them: float16 always, float32 always, or that of the inputs. Each is run with float32 and with float16 inputs.
LOWER = """
t.mm(x, y) | x @ y | t.matmul(x, y[0]) | t.mv(x, y[0]) | t.bmm(x[None], y[None]) | t.addmm(x, x, y) | t.addmv(x[0], x, y[0])
t.baddbmm(x[None], x[None], y[None]) | t.addbmm(x, x[None], y[None]) | t.addr(x, x[0], y[0]) | t.einsum('ij,jk', x, y)
t.linalg.multi_dot([x, y, x]) | t.linalg.vecdot(x, y) | t.chain_matmul(x, y, x) | t.matrix_power(x, 3) | F.linear(x, y, y[0])
F.conv1d(x[None], y[:, :, None]) | F.conv2d(x[None, None], y[None, None]) | F.conv3d(x[None, None, None], y[None, None, None])
F.conv_transpose1d(x[None], y[:, :, None]) | F.conv_transpose2d(x[None, None], y[None, None]) | F.prelu(x, y[0, :1])
F.scaled_dot_product_attention(x[None], y[None], y[None]) | t.conv_tbc(x[None], y[None], y[0]) | x.mT @ y
t.nn.LSTM(4, 3)(x[None])[0] | t.nn.GRU(4, 3)(x[None])[0] | t.nn.RNN(4, 3)(x[None])[0] | t.nn.LSTMCell(4, 3)(x)[0]
t.nn.GRUCell(4, 3)(x) | t.nn.RNNCell(4, 3)(x) | t.nn.MultiheadAttention(4, 2)(x[None], x[None], x[None])[0]
x.sum(0, dtype=t.float16) | x.softmax(1, dtype=t.float16) | x.cumsum(0, dtype=t.float16) | x.prod(dtype=t.float16)
"""
FLOAT32 = """
F.mse_loss(x, y) | F.l1_loss(x, y) | F.smooth_l1_loss(x, y) | F.huber_loss(x, y) | F.cross_entropy(x, t.arange(4))
F.cross_entropy(x, y.float()) | F.nll_loss(x, t.arange(4)) | F.binary_cross_entropy_with_logits(x, y) | F.kl_div(x, y)
F.cosine_embedding_loss(x, y, t.ones(4)) | F.triplet_margin_loss(x, y, x) | F.multi_margin_loss(x, t.arange(4))
F.soft_margin_loss(x, y.sign()) | F.poisson_nll_loss(x, y) | F.hinge_embedding_loss(x, y.sign())
F.margin_ranking_loss(x, y, y.sign()) | F.multilabel_soft_margin_loss(x, y.sigmoid()) | x.prod() | x.prod(0) | t.cdist(x, y)
x.sum() | x.sum(0) | x.exp() | x.log() | x.log10() | x.log2() | x.log1p() | x.expm1() | x.acos() | x.asin() | x.cosh()
x.sinh() | x.tan() | x.erfinv() | x.reciprocal() | x.rsqrt() | 1 / x | 2.0 / x | x ** 2 | x ** y | 2 ** x | x.pow(2.5)
x.square() | F.softplus(x) | F.layer_norm(x, (4,)) | F.group_norm(x, 2) | F.rms_norm(x, (4,)) | F.cosine_similarity(x, y)
F.pdist(x) | F.pairwise_distance(x, y) | F.normalize(x) | t.linalg.norm(x) | t.linalg.vector_norm(x) | t.linalg.matrix_norm(x)
t.norm(x, 2) | x.norm(dim=1) | t.dist(x, y) | t.renorm(x, 2, 0, 1) | t.nuclear_norm(x) | t.frobenius_norm(x, dim=(0, 1))
t.softmax(x, -1) | x.softmax(1) | F.log_softmax(x, 1) | F.softmin(x, 1) | x.cumsum(0) | x.cumprod(0) | x.logsumexp(0)
t.nn.LayerNorm(4)(x) | t.nn.RMSNorm(4)(x) | F.interpolate(x[None], scale_factor=2) | t.nn.Bilinear(4, 4, 2)(x, y)
F.interpolate(x[None, None], scale_factor=2, mode='bilinear') | t.addcmul(x, x, y.float()) | t.atan2(x, y.float())
t.dot(x[0], y[0].float()) | t.tensordot(x, y.float()) | t.scatter_add(x, 0, t.zeros(4, 4, dtype=t.int64), y.float())
t.index_put(x, (t.zeros(1, dtype=t.int64),), y[0].float()) | t.cat([x, y.float()]) | t.stack([x.float(), y]) | t.trapezoid(x)
t.nn.TransformerEncoderLayer(4, 2, 8)(x[None]) | F.local_response_norm(x[None], 2) | x + y.float()
"""
KEPT = """
t.dot(x[0], y[0]) | t.vdot(x[0], y[0]) | t.inner(x, y) | t.outer(x[0], y[0]) | t.tensordot(x, y) | t.cross(x[:, :3], y[:, :3])
t.cat([x, y]) | t.stack([x, y]) | x.trace() | t.inverse(x) | t.linalg.solve(x, y) | t.linalg.eigvalsh(x) | t.svd(x)[1]
F.pad(x, (1, 1), mode='reflect') | F.avg_pool3d(x[None, None, None], 1) | F.avg_pool2d(x[None, None], 1) | x * y | F.gelu(x)
t.nn.BatchNorm1d(4)(x) | F.instance_norm(x[None]) | F.interpolate(x[None, None], size=2, mode='area') | x.mean() | x.std()
x.var() | x.nansum() | x.nanmean() | x.max() | t.addcdiv(x, x, y) | t.atan2(x, y) | F.bilinear(x, y, y[None]) | x.sqrt()
x.tanh() | x.sigmoid() | F.relu(x) | F.silu(x) | F.elu(x) | F.logsigmoid(x) | F.glu(x) | F.dropout(x, 0.5)
F.max_pool2d(x[None, None], 2) | t.lerp(x, y, 0.5) | t.ldexp(x, y) | x.exp_() | x.pow_(2) | x.cumsum_(0) | x.sort()[0]
t.nn.functional.embedding(t.arange(2), x) | F.grid_sample(x[None, None], x[None, :, :2][:, None], align_corners=False)
F.batch_norm(x, None, None, training=True)
"""
CASES = [(call.strip(), kind) for table, kind in ((LOWER, "lower"), (FLOAT32, "float32"), (KEPT, "kept"))
         for line in table.strip().splitlines() for call in line.split("|")]
ORACLE = importlib.util.find_spec("torch") is not None


def outcome(lib, call, half, enabled=True):
    """The dtype of a call on the device under autocast, by its name."""
    with lib.device("cuda"):
        x, y = (lib.rand(4, 4).to(lib.float16 if half else lib.float32) for _ in range(2))
        lib.set_autocast_enabled("cuda", enabled)
        try:
            return str(eval(call, {"t": lib, "F": lib.nn.functional, "x": x, "y": y}).dtype)
        finally:
            lib.set_autocast_enabled("cuda", False)
            lib.clear_autocast_cache()


def expected(kind, half):
    return "torch.float16" if kind == "lower" or (kind == "kept" and half) else "torch.float32"


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("call", "kind"), CASES)
def test_every_operator_takes_the_dtype_of_the_list(call, kind, half, device):
    assert outcome(engine, call, half) == expected(kind, half)


@pytest.mark.skipif(not ORACLE, reason="torch is not installed")
def test_the_lists_are_torchs(monkeypatch):
    """torch's own dispatcher, on tensors that claim to be on a GPU. Where its kernels ask for a real one it can't say."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    monkeypatch.setattr(torch.nn.Parameter.__new__, "__defaults__", (None, False))  # the gradients' graph wants a real GPU
    logging.disable(logging.CRITICAL)
    told, wrong = 0, []
    try:
        for call, kind in CASES:
            for half in (False, True):
                try:
                    with warnings.catch_warnings(), torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
                        warnings.simplefilter("ignore")
                        found = outcome(torch, call, half)
                except RuntimeError:
                    continue
                told += 1
                if found != expected(kind, half):
                    wrong.append((call, half, found))
    finally:
        logging.disable(logging.NOTSET)
    assert not wrong
    assert told > len(CASES)


def test_gradients_arrive_in_the_dtype_of_the_parameters(device):
    layer, x = engine.nn.Linear(3, 2).to(device), engine.randn(4, 3, device=device)
    with engine.autocast("cuda"):
        out = layer(x).softmax(1).sum()
    assert out.dtype == engine.float32 and layer(x).dtype == engine.float32
    out.backward()
    assert layer.weight.grad.dtype == engine.float32 and engine.get_autocast_dtype("cuda") == engine.float16


def test_the_cast_of_a_parameter_is_made_once(device):
    from engine.ops.casting import state

    layer = engine.nn.Linear(4, 4).to(device)
    with engine.autocast("cuda", dtype=engine.bfloat16):
        assert layer(layer(engine.ones(2, 4, device=device))).dtype == engine.bfloat16
        assert len(state.cache) == 2
    assert not state.cache


def test_the_cpus_tensors_are_left_alone_and_the_other_way_round(device):
    here, there = engine.ones(2, 2), engine.ones(2, 2, device=device)
    with engine.autocast("cuda"):
        assert (here @ here).dtype == engine.float32 and here.half().exp().dtype == engine.float16
    with engine.autocast("cpu"):
        assert (there @ there).dtype == engine.float32 and there.half().sum().dtype == engine.float16


def test_what_is_unsafe_is_refused(device):
    p = engine.full((2,), 0.5, device=device)
    with engine.autocast("cuda"), pytest.raises(RuntimeError, match="unsafe to autocast"):
        engine.nn.functional.binary_cross_entropy(p, p)
    assert engine.nn.functional.binary_cross_entropy(p, p).dtype == engine.float32


def test_custom_functions_choose_their_dtype(device):
    class Square(engine.autograd.Function):
        @staticmethod
        @engine.amp.custom_fwd(device_type="cuda", cast_inputs=engine.float32)
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x @ x

        @staticmethod
        @engine.amp.custom_bwd(device_type="cuda")
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g @ x.T + x.T @ g

    x = engine.ones(2, 2, device=device, dtype=engine.float16, requires_grad=True)
    with engine.autocast("cuda"):
        y = Square.apply(x)
    y.sum().backward()
    assert y.dtype == engine.float32 and x.grad.dtype == engine.float16 and x.grad.tolist() == [[4.0, 4.0], [4.0, 4.0]]
