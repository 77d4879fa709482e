"""Batch normalisation by our kernels, in both memory orders, against the CPU's."""

from __future__ import annotations

import numpy as np
import pytest

import engine
from engine import nn
from tests.device import test_cards as cards
from tests.device.test_cudnn import is_last, last
from tests.fake_cupy.kernels import compiler

SAMPLES = [c for c in cards.CASES if c[0] in ("batch_norm", "instance_norm")]
TOLERANCE = {engine.float64: 1e-10, engine.float32: 1e-4, engine.float16: 1e-2, engine.bfloat16: 6e-2}
SHAPES = [(4, 3), (300, 8), (2, 3, 5), (3, 8, 4, 6), (2, 3, 33, 17), (2, 16, 2, 3, 2), (5, 600), (2, 72, 3, 3), (6, 4, 1, 1)]


@pytest.fixture(autouse=True)
def a_compiler(request, device):
    """Without a GPU a C++ compiler is needed."""
    if request.config.getoption("--device") == "fake-cuda" and compiler() is None:
        pytest.skip("no g++")


@pytest.mark.parametrize("kind", ["float64", "float32", "float16", "bfloat16", "gradient"])
@pytest.mark.parametrize("sample", [c[2] for c in SAMPLES], ids=[f"{c[0]}-{c[1]}" for c in SAMPLES])
def test_samples_agree_with_the_cpu(sample, kind):
    cards.compare(sample, kind)


def run(where, x, g, statistics, w, b, dtype, training, eps=1e-3):
    """Output, gradients and running statistics."""
    wide = engine.float64 if dtype is engine.float64 else engine.float32
    x, w, b = (t.to(where).requires_grad_() for t in (x, w, b))
    mean, var = (t.to(where).clone() for t in statistics)
    out = nn.functional.batch_norm(x, mean, var, w, b, training, 0.3, eps)
    grads = engine.autograd.grad(out, [x, w, b], g.to(where).to(out.dtype))
    assert mean.dtype is wide
    return [out, *grads, mean, var]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_values_gradients_and_running_statistics(shape, dtype, training, device, events):
    wide = engine.float64 if dtype is engine.float64 else engine.float32
    if not training and shape not in SHAPES[2:5]:
        pytest.skip("the sums are what these shapes are for")
    c = shape[1:2]
    x, g = (engine.randn(*shape, dtype=wide) * 2 + 30).to(dtype), engine.randn(*shape, dtype=wide).to(dtype)
    statistics = engine.randn(*c, dtype=wide) + 30, engine.rand(*c, dtype=wide) + 3
    w, b = engine.rand(*c, dtype=wide) + 0.5, engine.randn(*c, dtype=wide)
    expected = run("cpu", x.to(wide), g.to(wide), statistics, w, b, wide, training)
    for order in (False, True) if len(shape) > 3 else (False,):
        moved = last(x.to(device)) if order else x.to(device)
        ours = run(device, moved, last(g) if order else g, statistics, w, b, dtype, training)
        assert ours[0].dtype is dtype and ours[1].dtype is dtype and ours[2].dtype is wide
        if order and shape[2:] != (1, 1):
            assert is_last(ours[0]) and is_last(ours[1])
        for a, e in zip(ours, expected):
            scale = max(1.0, float(e.detach().abs().max()))
            np.testing.assert_allclose(a.detach().cpu().double().numpy() / scale, e.detach().double().numpy() / scale,
                                       rtol=0, atol=TOLERANCE[dtype])
    assert events[f"kernel channel_normalise_{'f64' if wide is engine.float64 else 'f32'}"] or dtype.itemsize == 2


def test_large_means_cost_no_digits(device):
    x = engine.randn(64, 3, 5, 5, dtype=engine.float64) + 1e4
    x[0, 0] = -3e4  # and neither does an outlier that comes first
    ours = nn.functional.batch_norm(x.float().to(device), None, None, training=True)
    expected = nn.functional.batch_norm(x.float().double(), None, None, training=True)
    np.testing.assert_allclose(ours.cpu().numpy(), expected.numpy(), atol=2e-3)


def test_running_statistics_of_half_precision(device):
    layer = nn.BatchNorm2d(3).to(device).bfloat16()
    here = nn.BatchNorm2d(3)
    x = engine.randn(4, 3, 2, 2).bfloat16()
    layer(x.to(device)).sum().backward()
    here(x.float())
    assert layer.running_mean.dtype is engine.bfloat16 and layer.weight.grad.dtype is engine.bfloat16
    np.testing.assert_allclose(layer.running_var.cpu().float().numpy(), here.running_var.numpy(), rtol=2e-2)


def test_a_step_of_a_convolutional_network_makes_the_host_wait_for_nothing(device, events, cudnn_library):
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                        nn.Linear(8 * 16, 4)).to(device)
    optimizer = engine.optim.SGD(net.parameters(), lr=0.1)
    x, y = engine.randn(4, 3, 8, 8, device=device), engine.randint(0, 4, (4,), device=device)
    for _ in range(2):
        events.clear()
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    assert (events["synchronize"], events["to_host"]) == (0, 0) and events["cudnn run"] == 2
