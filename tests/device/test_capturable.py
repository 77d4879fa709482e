"""Optimizer steps whose numbers are in device memory: captured, they go on counting and follow the options of their groups."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import engine
from tests.fake_cupy.kernels import compiler

OPTIMIZERS = {
    "SGD": lambda p: engine.optim.SGD(p, lr=0.1),
    "SGD momentum": lambda p: engine.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01),
    "SGD nesterov": lambda p: engine.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: engine.optim.Adam(p, lr=0.1, capturable=True),
    "Adam with everything": lambda p: engine.optim.Adam(
        p, lr=0.1, amsgrad=True, weight_decay=0.1, maximize=True, capturable=True),
    "AdamW": lambda p: engine.optim.AdamW(p, lr=0.1, capturable=True),
    "Adagrad": lambda p: engine.optim.Adagrad(p, lr_decay=0.1),
    "RMSprop": lambda p: engine.optim.RMSprop(p, lr=0.1, momentum=0.5, centered=True, capturable=True),
    "Adadelta": lambda p: engine.optim.Adadelta(p, capturable=True),
    "Adamax": lambda p: engine.optim.Adamax(p, capturable=True),
    "Rprop": lambda p: engine.optim.Rprop(p, capturable=True),
}  # fmt: skip


@pytest.fixture(autouse=True)
def a_compiler(request):
    if request.config.getoption("--device") == "fake-cuda" and compiler() is None:
        pytest.skip("no g++")


def start(where, dtype=engine.float32):
    numbers = np.random.default_rng(0)
    shapes = [(4, 3), (5,), *[(2,)] * 70]  # more than one launch takes
    return [engine.tensor(numbers.normal(size=s), dtype=dtype).to(where).requires_grad_() for s in shapes]


def stepper(params, optimizer):
    def step():
        optimizer.zero_grad()
        wide = [p if p.dtype.itemsize >= 4 else p.float() for p in params]
        sum((p**2).sum() + p.sin().sum() for p in wide).backward()
        optimizer.step()

    return step


def captured(step):
    for _ in range(3):
        step()
    graph = engine.cuda.CUDAGraph()
    with engine.cuda.graph(graph):
        step()
    return graph


@pytest.mark.parametrize("dtype", [engine.float64, engine.float32, engine.bfloat16], ids=str)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_replays_are_further_steps_with_the_rate_of_the_day(name, dtype, device, events):
    expected, ours = start("cpu", dtype), start(device, dtype)
    here, there = OPTIMIZERS[name](expected), OPTIMIZERS[name](ours)
    step = stepper(expected, here)
    for i in range(7):
        here.param_groups[0]["lr"] *= 0.9 if i == 3 else 1 if i < 5 else 0.5
        step()
    step = stepper(ours, there)
    for _ in range(3):
        step()
    if name != "Rprop":  # a rate is only where its steps begin: with another one its plan is made anew
        there.param_groups[0]["lr"] *= 0.9  # between the last eager step and the capture
    graph = engine.cuda.CUDAGraph()
    with engine.cuda.graph(graph):
        step()
    events.clear()
    for i in range(4):
        there.param_groups[0]["lr"] *= 1 if i < 2 else 0.5
        graph.replay()
    assert (events["synchronize"], events["to_host"], events["to_device"]) == (0, 0, 0)
    tolerance = {engine.float64: 1e-8, engine.float32: 3e-5, engine.bfloat16: 3e-2}[dtype]
    for p, q in zip(expected, ours):
        np.testing.assert_allclose(q.detach().cpu().double().numpy(), p.detach().double().numpy(), tolerance, tolerance)
    for entry in there.state.values():
        assert "step" not in entry or (entry["step"].is_cuda and entry["step"].item() == 7)


def test_a_rate_that_is_a_tensor_of_the_device_is_read_there(device):
    ours, expected = start(device), start("cpu")
    rate = engine.tensor(0.1, device=device)
    graph = captured(stepper(ours, engine.optim.AdamW(ours, lr=rate, capturable=True)))
    step = stepper(expected, here := engine.optim.AdamW(expected, lr=0.1))
    for _ in range(3):
        step()
    for value in (0.3, 0.01):
        rate.fill_(value)
        here.param_groups[0]["lr"] = value
        graph.replay()
        step()
    np.testing.assert_allclose(ours[0].tolist(), expected[0].tolist(), rtol=1e-5)


def test_what_a_graph_cannot_follow_is_refused_at_its_replay(device):
    params = start(device)
    optimizer = engine.optim.AdamW(params, weight_decay=0.0, capturable=True)
    graph = captured(stepper(params, optimizer))
    optimizer.param_groups[0]["weight_decay"] = 0.1
    with pytest.raises(RuntimeError, match="does not fit the optimizer any more.*HINT: capture the step again"):
        graph.replay()
    optimizer.param_groups[0]["weight_decay"] = 0.0
    graph.replay()
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    with pytest.raises(RuntimeError, match="its state was exchanged"):
        graph.replay()


@pytest.mark.parametrize(("make", "message"), [
    (lambda p: engine.optim.Adam(p), "instance of Adam but param_groups' capturable is False"),
    (lambda p: engine.optim.RAdam(p, capturable=True), r"RAdam.step\(\) can't be captured.*HINT"),
    (lambda p: engine.optim.NAdam(p, capturable=True), "HINT"),
])  # fmt: skip
def test_steps_that_need_the_host_are_refused_during_a_capture(device, make, message):
    params = start(device)
    step = stepper(params, make(params))
    with pytest.raises(RuntimeError, match=message):
        captured(step)


def test_the_first_step_is_refused_during_a_capture(device):
    params = start(device)
    with pytest.raises(RuntimeError, match="first steps of Adam.*HINT: run the step three times"), \
            engine.cuda.graph(engine.cuda.CUDAGraph()):
        stepper(params, engine.optim.Adam(params, capturable=True))()


def test_a_saved_state_goes_both_ways(device):
    """Counts are on the device while steps are capturable; files and other optimizers need not be."""
    params, others = start(device), start(device)
    optimizer = engine.optim.Adam(params, capturable=True)
    step = stepper(params, optimizer)
    step()
    plain = engine.optim.Adam(others)
    plain.load_state_dict(optimizer.state_dict())
    plain.param_groups[0]["capturable"] = False
    stepper(others, plain)()
    assert not plain.state[others[0]]["step"].is_cuda and plain.state[others[0]]["step"].item() == 2
    plain.make_capturable()
    stepper(others, plain)()
    assert plain.state[others[0]]["step"].is_cuda and plain.state[others[0]]["step"].item() == 3


def test_clipping_and_scaling_are_captured_with_the_step(device):
    found = {}
    for where in ("cpu", device):
        params = start(where)
        optimizer = engine.optim.AdamW(params, lr=0.1, **({"capturable": True} if where == device else {}))
        scaler = engine.amp.GradScaler(where, init_scale=4.0, growth_interval=2)
        weight = engine.ones((), device=where)

        def step(params=params, optimizer=optimizer, scaler=scaler, weight=weight):
            optimizer.zero_grad()
            scaler.scale(weight * sum((p**2).sum() for p in params)).backward()
            scaler.unscale_(optimizer)
            engine.nn.utils.clip_grad_norm_(params, 0.5)
            scaler.step(optimizer)
            scaler.update()

        replay = step
        if where == device:
            replay = captured(step).replay
        else:
            for _ in range(3):
                step()
        for value in (1.0, float("inf"), 1.0, 1.0):
            weight.fill_(value)
            replay()
        found[where] = [p.tolist() for p in params], scaler.state_dict()
    np.testing.assert_allclose(found[device][0][0], found["cpu"][0][0], rtol=1e-5)
    assert found[device][1] == found["cpu"][1]
