"""Layers and optimizers on the device against the same on the CPU."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import engine
from engine import nn
from tests.fake_cupy.kernels import compiler

LAYERS = {
    "Linear": (lambda: nn.Linear(4, 3), (5, 4)), "Conv2d": (lambda: nn.Conv2d(2, 4, 3, padding=1, groups=2), (2, 2, 5, 5)),
    "Conv1d strided": (lambda: nn.Conv1d(2, 3, 3, stride=2), (2, 2, 9)), "ConvTranspose2d": (
        lambda: nn.ConvTranspose2d(2, 3, 3, stride=2), (2, 2, 4, 4)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), (4, 3, 2, 2)), "GroupNorm": (lambda: nn.GroupNorm(2, 4), (2, 4, 3)),
    "LayerNorm": (lambda: nn.LayerNorm(6), (3, 6)), "RMSNorm": (lambda: nn.RMSNorm(6), (3, 6)),
    "MaxPool2d": (lambda: nn.MaxPool2d(2, padding=1), (2, 2, 5, 5)), "AvgPool2d": (lambda: nn.AvgPool2d(2), (2, 2, 4, 4)),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d((2, 3)), (2, 2, 5, 5)), "GELU": (lambda: nn.GELU("tanh"), (3, 4)),
    "Upsample": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), (1, 2, 3, 3)),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), (2, 5, 8)),
    "MLP": (lambda: nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 2), nn.LogSoftmax(-1)), (3, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers_compute_and_learn_as_on_the_cpu(name, device):
    make, shape = LAYERS[name]
    here = make().double()
    there = copy.deepcopy(here).to(device)
    assert all(p.is_cuda for p in [*there.parameters(), *there.buffers()])
    x = engine.randn(*shape, dtype=engine.float64)
    moved = x.to(device).requires_grad_()
    x.requires_grad_()
    expected, ours = here(x), there(moved)
    assert ours.is_cuda
    compare(ours, expected)
    for out in (expected, ours):
        (out * out).sum().backward()
    compare(moved.grad, x.grad)
    for (label, p), q in zip(here.named_parameters(), there.parameters()):
        compare(q.grad, p.grad, label)
    for p, q in zip(here.buffers(), there.buffers()):
        compare(q, p)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers(kind, device):
    here = kind(3, 4, num_layers=2, batch_first=True, bidirectional=True).double()
    there = copy.deepcopy(here).to(device)
    x = engine.randn(2, 5, 3, dtype=engine.float64)
    expected, ours = here(x)[0], there(x.to(device))[0]
    compare(ours, expected)
    expected.square().sum().backward()
    ours.square().sum().backward()
    for p, q in zip(here.parameters(), there.parameters()):
        compare(q.grad, p.grad)


def compare(ours, expected, label=""):
    np.testing.assert_allclose(ours.detach().cpu().double().numpy(), expected.detach().double().numpy(), rtol=1e-7, atol=1e-8,
                               err_msg=label)


OPTIMIZERS = {
    "SGD": lambda p: engine.optim.SGD(p, lr=0.1), "SGD momentum": lambda p: engine.optim.SGD(
        p, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "Adam": lambda p: engine.optim.Adam(p, lr=0.1), "Adam with everything": lambda p: engine.optim.Adam(
        p, lr=0.1, amsgrad=True, weight_decay=0.1, maximize=True),
    "AdamW": lambda p: engine.optim.AdamW(p, lr=0.1), "RMSprop": lambda p: engine.optim.RMSprop(p, lr=0.1, momentum=0.5),
    "Adagrad": lambda p: engine.optim.Adagrad(p, lr=0.1), "Adadelta": lambda p: engine.optim.Adadelta(p),
    "Adamax": lambda p: engine.optim.Adamax(p), "NAdam": lambda p: engine.optim.NAdam(p),
    "RAdam": lambda p: engine.optim.RAdam(p), "Rprop": lambda p: engine.optim.Rprop(p), "ASGD": lambda p: engine.optim.ASGD(p),
    "LBFGS": lambda p: engine.optim.LBFGS(p, max_iter=3),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [engine.float64, engine.float32, engine.bfloat16], ids=str)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_step_as_on_the_cpu(name, dtype, device):
    if name == "LBFGS" and dtype is engine.bfloat16:
        pytest.skip("products of bfloat16 decide a line search")
    start = [engine.randn(40, 30), engine.randn(7)]
    results = []
    for where in ("cpu", device):
        params = [t.clone().to(dtype).to(where).requires_grad_() for t in start]
        optimizer = OPTIMIZERS[name](params)

        def closure(params=params, optimizer=optimizer):
            optimizer.zero_grad()
            wide = [p if p.dtype.itemsize >= 4 else p.float() for p in params]
            loss = sum((p**2).sum() + p.sin().sum() for p in wide)
            loss.backward()
            return loss

        for _ in range(3):
            optimizer.step(closure)
        results.append([p.detach().cpu().double() for p in params])
        state = optimizer.state_dict()
        optimizer.load_state_dict(copy.deepcopy(state))
    tolerance = {engine.float64: 1e-8, engine.float32: 2e-5, engine.bfloat16: 2e-2}[dtype]
    for expected, ours in zip(*results):
        np.testing.assert_allclose(ours.numpy(), expected.numpy(), rtol=tolerance, atol=tolerance)


def test_gradients_are_clipped_without_waiting(device, events):
    p = engine.zeros(5, device=device, requires_grad=True)
    p.grad = engine.full((5,), 3.0, device=device)
    events.clear()
    nn.utils.clip_grad_norm_([p], 1.0)
    assert not events["synchronize"] and not events["to_host"]
    assert p.grad.norm().item() == pytest.approx(1.0, rel=1e-5)


def test_a_training_step_makes_the_host_wait_for_nothing(device, events):
    model = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.GELU(), nn.Dropout(0.1), nn.Linear(16, 4)).to(device)
    optimizer = engine.optim.AdamW(model.parameters(), lr=0.01)
    x, y = engine.randn(6, 8, device=device), engine.randint(0, 4, (6,), device=device)
    for _ in range(3):
        events.clear()
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    assert (events["synchronize"], events["to_host"]) == (0, 0)


def test_files_load_onto_another_device(device, tmp_path):
    there = nn.Linear(3, 2).to(device)
    path = tmp_path / "model.safetensors"
    engine.save(there.state_dict(), path)
    assert all(not t.is_cuda for t in engine.load(path, map_location="cpu").values())
    loaded = engine.load(path, map_location=device)
    assert all(t.is_cuda for t in loaded.values())
    here = nn.Linear(3, 2)
    here.load_state_dict(loaded)
    assert not here.weight.is_cuda
    compare(there.weight, here.weight)


def test_optimizer_state_follows_its_parameters(device):
    here = engine.ones(3, requires_grad=True)
    optimizer = engine.optim.Adam([here])
    here.grad = engine.ones(3)
    optimizer.step()
    there = engine.ones(3, device=device, requires_grad=True)
    moved = engine.optim.Adam([there])
    moved.load_state_dict(optimizer.state_dict())
    there.grad = engine.ones(3, device=device)
    moved.step()
    assert moved.state[there]["exp_avg"].is_cuda


def test_fused_steps_are_used_for_large_parameters(device, events):
    if compiler() is None:
        pytest.skip("no g++")
    p = engine.zeros(5_000_000, device=device, requires_grad=True)
    p.grad = engine.ones(5_000_000, device=device)
    optimizer = engine.optim.Adam([p])
    optimizer.step()
    before = events["kernel adam_f32"]
    assert before >= 1 and not events["synchronize"]
    assert p.mean().item() == pytest.approx(-1e-3, rel=1e-4)


@pytest.mark.parametrize("name", ["SGD momentum", "Adam", "RMSprop"])
def test_a_scaler_skips_steps_and_adapts_without_looking_at_the_device(name, device, events):
    """RMSprop has no kernel of its own: what it did is undone."""
    found = {}
    for where in ("cpu", device):
        engine.manual_seed(0)
        model = nn.Linear(4, 4).to(where)
        optimizer = OPTIMIZERS[name](model.parameters())
        scaler = engine.amp.GradScaler(where, init_scale=8.0, growth_interval=3)
        for i, poison in enumerate((False, False, False, True, False, True, False, False, False, False)):
            scaler.scale(model(engine.ones(2, 4, device=where)).sum()).backward()
            if poison:
                model.bias.grad[0] = float("inf")
            events.clear()
            scaler.step(optimizer)
            scaler.update()
            assert i < 2 or (events["synchronize"], events["to_host"]) == (0, 0)
            optimizer.zero_grad()
        found[where] = [p.tolist() for p in model.parameters()], scaler.state_dict()
        steps = {float(entry["step"]) for entry in optimizer.state.values() if "step" in entry}
        assert steps in ({8.0}, set())
    np.testing.assert_allclose(found[device][0][0], found["cpu"][0][0], rtol=1e-5)
    assert found[device][1] == found["cpu"][1] and found["cpu"][1]["scale"] == 8.0


def test_a_scaler_is_saved_and_taken_up_again(device):
    model, scaler = nn.Linear(2, 1).to(device), engine.amp.GradScaler(device, init_scale=8.0)
    scaler.scale(model(engine.ones(1, 2, device=device)).sum()).backward()
    scaler.update(4.0)
    assert (scaler.get_scale(), copy.deepcopy(scaler).get_scale()) == (4.0, 4.0)
    scaler.load_state_dict({**scaler.state_dict(), "scale": 2.0})
    assert scaler.scale(engine.ones(1, device=device)).item() == 2.0


def test_an_optimizer_that_needs_the_host_is_skipped_by_looking(device):
    p = engine.ones(2, device=device, requires_grad=True)
    optimizer, scaler = engine.optim.NAdam([p]), engine.amp.GradScaler(device)
    scaler.scale((p * float("inf")).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert p.tolist() == [1.0, 1.0] and scaler.get_scale() == 2.0**15
