"""What users must not notice of the flat storage, and what they rely on: storage, views, changes from outside."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import engine
from engine import optim
from engine.optim import _blocks
from tests.optim.pairs import array_of, give, leaf, random_arrays

NAMES = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta")


def make(name: str, parameters: list, **options: Any) -> optim.Optimizer:
    extra = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
    return getattr(optim, name)(parameters, lr=0.01, weight_decay=0.1, **extra, **options)


def run(optimizer: optim.Optimizer, parameters: list, steps: int, seed: int = 0) -> None:
    for step in range(steps):
        give(parameters, random_arrays([p.shape for p in parameters], np.float32, seed=seed + step))
        optimizer.step()


@pytest.mark.parametrize("name", NAMES)
def test_parameter_storage_is_never_replaced(name: str) -> None:
    parameters = [leaf(np.ones((3, 4))), leaf(np.ones(50_000))]
    arrays = [p._array for p in parameters]
    held = parameters[0].data
    run(make(name, parameters), parameters, 2)
    assert all(p._array is array for p, array in zip(parameters, arrays, strict=True))
    assert held.tolist() == parameters[0].tolist() != np.ones((3, 4)).tolist()


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_left_as_they_are(name: str) -> None:
    parameters = [leaf(np.ones((3, 4))), leaf(np.ones(50_000))]
    grads = random_arrays([(3, 4), (50_000,)], np.float32, seed=1)
    give(parameters, grads)
    make(name, parameters, maximize=True).step()
    for parameter, grad in zip(parameters, grads, strict=True):
        np.testing.assert_array_equal(parameter.grad.numpy(), grad)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("block", [7, 64, 1 << 20])
def test_results_do_not_depend_on_the_blocks(name: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = [(5, 3), (), (200,), (4,), (31, 9), (2, 2)]

    def result() -> list:
        parameters = [leaf(array) for array in random_arrays(shapes, np.float32, seed=0)]
        run(make(name, parameters), parameters, 3)
        return [p.tolist() for p in parameters]

    expected = result()
    monkeypatch.setattr(_blocks, "_CPU_BLOCK", block)
    assert result() == expected


@pytest.mark.parametrize("name", NAMES)
def test_layout_of_parameters_and_gradients_does_not_matter(name: str) -> None:
    values = random_arrays([(40, 30), (300, 200)], np.float32, seed=0)
    plain = [leaf(v) for v in values]
    turned = [engine.from_numpy(np.asfortranarray(v)).requires_grad_() for v in values]
    strided = [engine.from_numpy(np.repeat(v, 2, axis=1)[:, ::2]).requires_grad_() for v in values]
    optimizers = [make(name, parameters) for parameters in (plain, turned, strided)]
    for step in range(3):
        grads = random_arrays([v.shape for v in values], np.float32, seed=step)
        give(plain, grads)
        for parameters, layout in ((turned, np.ascontiguousarray), (strided, np.asfortranarray)):
            for parameter, grad in zip(parameters, grads, strict=True):
                parameter.grad = engine.from_numpy(layout(grad))
        for p in plain:
            p.grad = engine.from_numpy(np.asfortranarray(p.grad.numpy()))
        for optimizer in optimizers:
            optimizer.step()
    for a, b, c in zip(plain, turned, strided, strict=True):
        assert a.tolist() == b.tolist() == c.tolist()


def test_groups_of_mixed_dtypes() -> None:
    parameters = [leaf([1.0], np.float32), leaf([1.0], np.float64), leaf([1.0], np.float16)]
    optimizer = optim.Adam(parameters, lr=0.25, eps=1e-3)
    for p in parameters:
        p.grad = engine.ones(1).to(p.dtype)
    optimizer.step()
    assert [p.dtype for p in parameters] == [engine.float32, engine.float64, engine.float16]
    assert [optimizer.state[p]["exp_avg"].dtype for p in parameters] == [p.dtype for p in parameters]
    np.testing.assert_allclose([p.item() for p in parameters], 0.75, rtol=2e-3)


def test_state_changed_from_outside_is_respected() -> None:
    def after(change: Any) -> float:
        w, other = leaf([1.0]), leaf([5.0, 5.0])
        optimizer = optim.Adam([other, w], lr=0.25)
        run(optimizer, [other, w], 3)
        change(optimizer, w)
        w.grad = engine.ones(1)
        start = w.item()
        optimizer.step()
        return start - w.item()

    def forget(optimizer: optim.Optimizer, w: engine.Tensor) -> None:
        optimizer.state[w] = {}

    def forget_all(optimizer: optim.Optimizer, w: engine.Tensor) -> None:
        optimizer.state.clear()

    def zero_in_place(optimizer: optim.Optimizer, w: engine.Tensor) -> None:
        for value in optimizer.state[w].values():
            value._array.fill(0)

    def replace(optimizer: optim.Optimizer, w: engine.Tensor) -> None:
        for key, value in optimizer.state[w].items():
            optimizer.state[w][key] = engine.zeros(value.shape)

    for change in (forget, forget_all, zero_in_place, replace):
        assert after(change) == pytest.approx(0.25), change.__name__  # a first step: exactly the learning rate
    assert after(lambda optimizer, w: None) != pytest.approx(0.25)


def test_replaced_parameter_data_is_trained() -> None:
    w = leaf([1.0])
    optimizer = optim.SGD([w], lr=0.5, momentum=0.9)
    run(optimizer, [w], 2)
    w.data = engine.tensor([10.0])
    w.grad = engine.zeros(1)
    buffer = optimizer.state[w]["momentum_buffer"].item()
    optimizer.step()
    assert w.item() == pytest.approx(10.0 - 0.5 * 0.9 * buffer)


def test_parameter_that_changed_its_dtype_keeps_its_state() -> None:
    w = leaf([1.0])
    optimizer = optim.Adam([w], lr=0.5)
    run(optimizer, [w], 2)
    moment = optimizer.state[w]["exp_avg"].item()
    w.grad = None
    w.data = w.data.double()
    w.grad = engine.from_numpy(np.zeros(1))
    optimizer.step()
    assert optimizer.state[w]["step"].item() == 3.0
    assert optimizer.state[w]["exp_avg"].dtype is engine.float64
    assert optimizer.state[w]["exp_avg"].item() == pytest.approx(0.9 * moment)


def test_state_appears_only_for_parameters_that_had_a_gradient() -> None:
    a, b, frozen = leaf([1.0]), leaf([1.0]), leaf([1.0]).requires_grad_(False)
    optimizer = optim.Adam([a, b, frozen])
    a.grad = engine.ones(1)
    optimizer.step()
    assert list(optimizer.state_dict()["state"]) == [0]
    b.grad = engine.ones(1)
    optimizer.step()
    assert [optimizer.state[p]["step"].item() for p in (a, b)] == [2.0, 1.0]
    assert frozen not in optimizer.state and frozen.item() == 1.0


def test_neighbours_share_one_flat_array() -> None:
    """The point of it all: the small parameters of a group are updated in one block."""
    parameters = [leaf(np.ones(shape)) for shape in ((3, 4), (4,), (2, 4), (2,))]
    optimizer = optim.Adam(parameters)
    run(optimizer, parameters, 1)
    bases = {id(optimizer.state[p]["exp_avg"]._array.base) for p in parameters}
    assert len(bases) == 1
    plan = optimizer._make_plan(parameters, optimizer._quantities(optimizer.param_groups[0]))
    assert [[len(lane) for lane in part.lanes] for part in plan.parts] == [[1]]


def test_no_plan_is_made_twice_in_a_steady_run() -> None:
    parameters = [leaf(np.ones((3, 4))), leaf(np.ones(50_000))]
    optimizer = optim.Adam(parameters)
    run(optimizer, parameters, 2)
    plan = optimizer._plans[0]
    run(optimizer, parameters, 3)
    assert optimizer._plans[0] is plan


def test_an_optimizer_is_freed_without_the_collector() -> None:
    gc.disable()
    try:
        w = leaf([1.0])
        optimizer = optim.Adam([w])
        run(optimizer, [w], 2)
        moment = weakref.ref(optimizer.state[w]["exp_avg"]._array.base)
        gone = weakref.ref(optimizer)
        del optimizer
        assert gone() is None and moment() is None
    finally:
        gc.enable()


def test_state_dict_tensors_save_only_themselves() -> None:
    import pickle

    big, small = leaf(np.ones(100_000)), leaf([1.0])
    optimizer = optim.Adam([big, small])
    run(optimizer, [big, small], 1)
    assert len(pickle.dumps(optimizer.state_dict()["state"][1])) < 5_000


def test_training_a_real_model_on_real_gradients() -> None:
    x = engine.tensor([[0.0], [1.0], [2.0], [3.0]])
    target = x * 2.0 + 1.0
    slope, offset = leaf([[0.0]]), leaf([0.0])
    optimizer = optim.Adam([slope, offset], lr=0.1)
    for _ in range(400):
        optimizer.zero_grad()
        error = x * slope + offset - target
        (error * error).sum().backward()
        optimizer.step()
    np.testing.assert_allclose([array_of(slope).item(), array_of(offset).item()], [2.0, 1.0], atol=0.01)


COMPILED = [
    *[("SGD", {}), ("SGD", {"momentum": 0.9, "dampening": 0.2}), ("SGD", {"momentum": 0.9, "nesterov": True})],
    *[("Adam", {}), ("Adam", {"amsgrad": True}), ("AdamW", {}), ("AdamW", {"amsgrad": True})],
    *[("RMSprop", {}), ("RMSprop", {"momentum": 0.9}), ("RMSprop", {"centered": True}), ("Adagrad", {"lr_decay": 0.1})],
    *[("RMSprop", {"centered": True, "momentum": 0.9}), ("Adadelta", {}), ("Adamax", {}), ("RAdam", {}), ("NAdam", {})],
]


@pytest.mark.parametrize(("name", "options"), COMPILED, ids=str)
@pytest.mark.parametrize(("weight_decay", "maximize"), [(0, False), (0.1, True)])
def test_compiled_steps_equal_the_chains_to_the_last_bit(
    name: str, options: dict, weight_decay: float, maximize: bool
) -> None:
    pytest.importorskip("numba")
    values = [*random_arrays([(300, 250), (7,), (60_000,)], np.float32, seed=0), np.array([0, -1, 1e30, 1e-30], np.float32)]
    values[2][:4] = np.inf, -np.inf, np.nan, -0.0

    def result(compiled: bool) -> list:
        parameters = [leaf(value) for value in values]
        optimizer = getattr(optim, name)(parameters, lr=0.01, weight_decay=weight_decay, maximize=maximize, **options)
        with engine.backends.fast.flags(enabled=compiled):
            run(optimizer, parameters, 7)
        states = [t for p in parameters for t in optimizer.state[p].values()]
        return [t._array.copy() for t in (*parameters, *states)]

    for found, expected in zip(result(True), result(False), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("compiled", [False, True])
def test_parameters_that_share_memory_are_updated_one_after_the_other(compiled: bool) -> None:
    """Each view gets its own update, as if there were one thread; on two at once, updates would be lost."""
    whole = np.zeros(400_000, np.float32)
    views = [whole, whole[:300_000], whole[100_000:].reshape(300, 1000)]
    parameters = [engine.from_numpy(view).requires_grad_() for view in views]
    for p in parameters:
        p.grad = engine.ones(p.shape)
    threads = engine.get_num_threads()
    try:
        with engine.backends.fast.flags(enabled=compiled):
            engine.set_num_threads(4)
            for _ in range(20):
                optim.SGD(parameters, lr=1.0).step()
    finally:
        engine.set_num_threads(threads)
    expected = np.full(400_000, -20.0)
    expected[:300_000] -= 20
    expected[100_000:] -= 20
    np.testing.assert_array_equal(whole, expected)
