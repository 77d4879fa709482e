"""Norm and clipping of many tensors at once, on the device against the CPU."""

from __future__ import annotations

import math

import numpy as np
import pytest

import engine
from engine import nn
from engine.gpu import many
from tests.fake_cupy.kernels import compiler

SHAPES = [(3,), (), (40_000,), (5, 7), (0, 3), (1,)]


@pytest.fixture(autouse=True)
def a_compiler(request, device):
    if request.config.getoption("--device") == "fake-cuda" and compiler() is None:
        pytest.skip("no g++")


def parameters(where, dtype, shapes):
    made = []
    for shape in shapes:
        p = nn.Parameter(engine.zeros(shape, dtype=dtype, device=where))
        values = np.random.default_rng(len(made)).normal(size=shape)
        p.grad = engine.tensor(values, dtype=dtype).to(where)
        made.append(p)
    return made


@pytest.mark.parametrize("dtype", [engine.float32, engine.float64, engine.bfloat16, engine.float16], ids=str)
@pytest.mark.parametrize("order", [2.0, 1.0, 3.0, math.inf, 0.0])
def test_clipping_as_on_the_cpu(order, dtype, device):
    here, there = (parameters(where, dtype, SHAPES) for where in ("cpu", device))
    expected, ours = (nn.utils.clip_grad_norm_(ps, 2.0, order) for ps in (here, there))
    tolerance = {"torch.float64": 1e-12, "torch.float32": 1e-5}.get(str(dtype), 2e-2)
    assert ours.is_cuda and ours.dtype == dtype and ours.item() == pytest.approx(expected.item(), rel=tolerance)
    for p, q in zip(here, there):
        np.testing.assert_allclose(q.grad.cpu().double().numpy(), p.grad.double().numpy(), rtol=2 * tolerance, atol=tolerance)


def test_many_tensors_take_few_launches(device, events):
    ps = parameters(device, engine.float32, [(i % 5 + 1, 3) for i in range(2 * many.MANY + 5)])
    expected = math.sqrt(sum(float((p.grad.cpu() ** 2).sum()) for p in ps))
    versions = [p.grad._version for p in ps]
    events.clear()
    total = nn.utils.clip_grad_norm_(ps, 0.5)
    assert (events["launch"], events["synchronize"], events["to_host"]) == (3 + 1 + 3 + 2, 0, 0)  # and two allocations
    assert total.item() == pytest.approx(expected, rel=1e-5)
    assert nn.utils.get_total_norm([p.grad for p in ps]).item() == pytest.approx(0.5, rel=1e-4)
    assert all(p.grad._version == before + 1 for p, before in zip(ps, versions))


def test_what_is_small_enough_stays_as_it_is(device):
    (p,) = parameters(device, engine.float32, [(4,)])
    before = p.grad.tolist()
    nn.utils.clip_grad_norm_([p], 100.0)
    assert p.grad.tolist() == before
    p.grad[0] = float("nan")
    nn.utils.clip_grad_norm_([p], 1.0)
    assert all(math.isnan(v) for v in p.grad.tolist())
