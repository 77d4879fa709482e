"""Fused forms at sizes beyond the registry's samples: several blocks, long rows, odd remainders; and that they are used."""

from __future__ import annotations

import numpy as np
import pytest

import engine
from engine.nn import functional as F
from tests.fake_cupy.kernels import compiler

# name -> (function of x and y, shape, kernels it takes)
CALLS = {
    "sum": (lambda x, y: x.sum(), (77, 300), "sum_parts sum_of_parts"),
    "sum of rows": (lambda x, y: x.sum(1), (3, 1500), "sum_rows"),
    "sum of columns": (lambda x, y: x.sum((0, 1)), (40, 10, 70), "sum_columns columns_of_parts"),
    "mean": (lambda x, y: x.mean(-1, keepdim=True), (9, 33), "sum_rows"),
    "logsumexp": (lambda x, y: x.logsumexp(1), (5, 1100), "log_sum_exp log_sum_exp_backward"),
    "mse_loss": (F.mse_loss, (70, 90), "mse_loss mse_loss_backward"),
    "l1_loss": (lambda x, y: F.l1_loss(x, y, reduction="sum"), (70, 90), "l1_loss l1_loss_backward"),
    "smooth_l1_loss": (lambda x, y: F.smooth_l1_loss(x, y, beta=0.7), (70, 90), "smooth_l1_loss smooth_l1_loss_backward"),
    "huber_loss": (lambda x, y: F.huber_loss(x, y, reduction="none"), (7, 9), "huber_loss huber_loss_backward"),
    "binary cross entropy": (lambda x, y: F.binary_cross_entropy_with_logits(x, y.sigmoid()), (70, 90),
                             "bce_with_logits bce_with_logits_backward"),
    "rms_norm": (lambda x, y: F.rms_norm(x, x.shape[1:], y[0].contiguous()), (70, 1100), "rms_norm rms_norm_backward"),
    "group_norm": (lambda x, y: F.group_norm(x, 2, y[0, :, 0, 0].contiguous(), y[1, :, 0, 0].contiguous()), (3, 6, 20, 21),
                   "group_norm group_norm_backward"),
    "avg_pool2d": (lambda x, y: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), (2, 3, 17, 13),
                   "avg_pool avg_pool_backward"),
    "avg_pool1d": (lambda x, y: F.avg_pool1d(x, 4, 3), (3, 5, 40), "avg_pool avg_pool_backward"),
    "whole images": (lambda x, y: F.adaptive_avg_pool2d(x, 1), (3, 5, 7, 7), "sum_rows"),
    "adaptive_avg_pool2d": (lambda x, y: F.adaptive_avg_pool2d(x, (4, 3)), (3, 2, 9, 10), "adaptive_avg_pool"),
    "nearest": (lambda x, y: F.interpolate(x, scale_factor=2), (2, 3, 5, 6), "resample resample_backward"),
    "bilinear": (lambda x, y: F.interpolate(x, size=(7, 11), mode="bilinear"), (2, 3, 5, 6), "resample resample_backward"),
    "linear": (lambda x, y: F.interpolate(x, size=9, mode="linear", align_corners=True), (2, 3, 5), "resample"),
    "nll_loss": (lambda x, y: F.nll_loss(x, y[:, 0].abs().long() - 1, ignore_index=-1), (300, 40),
                 "nll nll_backward sum_of_losses"),
    "cross_entropy": (lambda x, y: F.cross_entropy(x, y[:, 0].abs().long() - 1, ignore_index=-1), (300, 40),
                      "cross_entropy cross_entropy_backward sum_of_losses"),
    "bias of linear": (lambda x, y: F.linear(y, y[:5].contiguous(), x[0, :5]), (90, 8), "sum_columns"),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [engine.float32, engine.bfloat16], ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_values_and_gradients_are_the_cpus(name, dtype, device, request):
    fake = request.config.getoption("--device") == "fake-cuda"
    if fake and compiler() is None:
        pytest.skip("no g++")
    fn, shape, kernels = CALLS[name]
    numbers, found = np.random.default_rng(0), []
    x, y = (engine.tensor(3 * numbers.normal(size=shape)).to(dtype) for _ in range(2))
    for where in ("cpu", device):
        given, other = x.detach().to(where).requires_grad_(), y.to(where)
        out = fn(given, other)
        (out.float() * engine.arange(out.numel(), device=where).reshape(out.shape).cos()).sum().backward()
        found.append((out, given.grad))
    for expected, ours in zip(*found):
        assert ours.is_cuda and ours.dtype == expected.dtype
        scale = float(expected.float().abs().max()) + 1e-6
        np.testing.assert_allclose(ours.detach().cpu().float().numpy() / scale, expected.detach().float().numpy() / scale,
                                   rtol=1e-5, atol=3e-5 if dtype is engine.float32 else 1.2e-2)
    if fake:
        from tests.fake_cupy import state

        ending = "f32" if dtype is engine.float32 else "bf16"
        assert all(state.events[f"kernel {kernel}_{ending}"] for kernel in kernels.split())


@pytest.mark.parametrize("kind", [engine.nn.LSTM, engine.nn.GRU])
def test_recurrent_layers_of_sequences_of_several_lengths(kind, device):
    if compiler() is None:
        pytest.skip("no g++")
    from engine.nn.utils.rnn import pack_padded_sequence

    here = kind(3, 5, bidirectional=True)
    there = kind(3, 5, bidirectional=True).to(device)
    there.load_state_dict(here.state_dict())
    x = engine.randn(7, 4, 3)
    results = []
    for layer, where in ((here, "cpu"), (there, device)):
        given = x.detach().to(where).requires_grad_()
        out, states = layer(pack_padded_sequence(given, [7, 5, 5, 2]))
        (out.data.square().sum() + sum(s.sin().sum() for s in (states if isinstance(states, tuple) else (states,)))).backward()
        results.append([out.data, given.grad, *[p.grad for p in layer.parameters()]])
    for expected, ours in zip(*results):
        np.testing.assert_allclose(ours.detach().cpu().numpy(), expected.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_recurrent_layers_stay_in_half_precision(device, events):
    if compiler() is None:
        pytest.skip("no g++")
    layer, x = engine.nn.LSTM(4, 6).to(device), engine.randn(3, 2, 4, device=device)
    expected = layer(x)[0]
    with engine.autocast(device, dtype=engine.bfloat16):
        out, _ = layer(x)
        out.float().sum().backward()
    assert out.dtype == engine.bfloat16 and events["kernel lstm_step_bf16"] == events["kernel lstm_step_backward_bf16"] == 3
    np.testing.assert_allclose(out.detach().float().cpu().numpy(), expected.detach().cpu().numpy(), atol=0.02)
    assert layer.weight_hh_l0.grad.dtype == engine.float32
