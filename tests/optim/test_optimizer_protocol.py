"""Optimizer's protocol: groups, state dict, hooks, closures, copies, and its errors."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import numpy as np
import pytest

import engine
from engine import optim
from engine.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook, required
from tests.optim.pairs import give, gradient_sequence, leaf, random_arrays

SHAPES = ((3, 2), (4,), (30_000,))


def trained(steps: int = 2, **options: Any) -> tuple[optim.Adam, list[engine.Tensor]]:
    """An Adam that has made some steps, and its parameters."""
    parameters = [leaf(array) for array in random_arrays(SHAPES, np.float32, seed=0)]
    optimizer = optim.Adam(parameters, lr=0.01, **options)
    go_on(optimizer, parameters, steps)
    return optimizer, parameters


def go_on(optimizer: optim.Optimizer, parameters: list[engine.Tensor], steps: int = 2) -> None:
    for grads in gradient_sequence(SHAPES, np.float32, steps):
        give(parameters, grads)
        optimizer.step()


def values(parameters: list[engine.Tensor]) -> list[list]:
    return [parameter.tolist() for parameter in parameters]


# ---- groups


def test_groups_have_their_own_options() -> None:
    a, b = leaf([1.0]), leaf([1.0])
    optimizer = optim.SGD([{"params": a, "lr": 1.0}, {"params": [b]}], lr=0.5)
    a.grad, b.grad = engine.ones(1), engine.ones(1)
    optimizer.step()
    assert (a.item(), b.item()) == (0.0, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [1.0, 0.5]


def test_options_may_change_between_steps() -> None:
    w = leaf([1.0])
    optimizer = optim.SGD([w], lr=0.5)
    for lr, expected in ((0.5, 0.5), (0.25, 0.25), (1.0, -0.75)):
        optimizer.param_groups[0]["lr"] = lr
        w.grad = engine.ones(1)
        optimizer.step()
        assert w.item() == expected


def test_switching_momentum_and_amsgrad_on_later() -> None:
    w = leaf([1.0])
    w.grad = engine.ones(1)
    sgd = optim.SGD([w], lr=0.5)
    sgd.step()
    assert sgd.state_dict()["state"] == {}
    sgd.param_groups[0]["momentum"] = 0.5
    sgd.step()
    sgd.step()
    assert w.item() == 1.0 - 0.5 - 0.5 - 0.75
    adam, parameters = trained()
    adam.param_groups[0]["amsgrad"] = True
    moments = adam.state[parameters[0]]["exp_avg"].clone()
    go_on(adam, parameters, 1)
    assert list(adam.state[parameters[0]]) == ["step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"]
    assert adam.state[parameters[0]]["step"].item() == 3 and moments.tolist() != values(parameters)[0]


def test_learning_rate_as_a_tensor() -> None:
    w, lr = leaf([1.0]), engine.tensor(0.5)
    optimizer = optim.SGD([w], lr=lr)
    w.grad = engine.ones(1)
    optimizer.step()
    optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5).step()
    optimizer.step()
    assert w.item() == 0.25
    assert optimizer.param_groups[0]["lr"] is lr and lr.item() == 0.25


def test_named_parameters() -> None:
    optimizer = optim.SGD([("weight", leaf([1.0])), ("bias", leaf([2.0]))], lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    with pytest.raises(ValueError, match="with/without names"):
        optimizer.add_param_group({"params": [leaf([3.0])]})
    with pytest.raises(ValueError, match="Some param names are missing"):
        optim.SGD([("weight", leaf([1.0])), leaf([2.0])], lr=0.1)


def test_added_group_is_trained() -> None:
    a, b = leaf([1.0]), leaf([1.0])
    optimizer = optim.Adam([a], lr=0.5)
    a.grad = b.grad = engine.ones(1)
    optimizer.step()
    optimizer.add_param_group({"params": [b], "lr": 0.25})
    optimizer.step()
    assert b.item() == pytest.approx(0.75)
    assert optimizer.param_groups[1]["betas"] == (0.9, 0.999)


@pytest.mark.parametrize(
    ("params", "error", "words"),
    [
        (lambda: [], ValueError, "empty parameter list"),
        (lambda: leaf([1.0]), TypeError, "iterable of Tensors or dicts"),
        (lambda: [1.0], TypeError, "can only optimize Tensors"),
        (lambda: {leaf([1.0])}, None, ""),
        (lambda: [{"params": {leaf([1.0])}}], TypeError, "ordered collections"),
        (lambda: [leaf([1.0]) * 2], ValueError, "non-leaf"),
        (lambda: [{"params": [leaf([1.0])]}, [leaf([1.0])]], TypeError, "must be a dict"),
        (lambda: [{"params": [w := leaf([1.0])]}, {"params": [w]}], ValueError, "more than one parameter group"),
    ],
)
def test_bad_parameters(params: Any, error: Any, words: str) -> None:
    if error is None:  # torch lets a bare set pass: it becomes a list before it is looked at
        optim.SGD(params(), lr=0.1)
        return
    with pytest.raises(error, match=words):
        optim.SGD(params(), lr=0.1)


def test_required_options_must_be_given() -> None:
    class Needy(optim.Optimizer):
        def __init__(self, params: Any) -> None:
            super().__init__(params, {"lr": required})

    with pytest.raises(ValueError, match="required optimization parameter lr"):
        Needy([leaf([1.0])])
    assert Needy([{"params": [leaf([1.0])], "lr": 1.0}]).param_groups[0]["lr"] == 1.0
    with pytest.raises(NotImplementedError):
        Needy([{"params": [leaf([1.0])], "lr": 1.0}]).step()


def test_a_parameter_listed_twice_warns_and_is_updated_twice() -> None:
    w = leaf([1.0])
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optimizer = optim.SGD([w, w], lr=0.25)
    w.grad = engine.ones(1)
    optimizer.step()
    assert w.item() == 0.5


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta"])
def test_differentiable_names_the_alternative(name: str) -> None:
    with pytest.raises(NotImplementedError, match="HINT"):
        getattr(optim, name)([leaf([1.0])], differentiable=True)


# ---- gradients and closures


def test_zero_grad() -> None:
    a, b = leaf([1.0]), leaf([1.0])
    optimizer = optim.SGD([a, b], lr=0.1)
    a.grad = kept = engine.ones(1)
    optimizer.zero_grad(set_to_none=False)
    assert a.grad is kept and kept.tolist() == [0.0] and b.grad is None
    optimizer.zero_grad()
    assert a.grad is None


def test_zero_grad_in_place_of_a_gradient_that_cannot_be_written() -> None:
    a = leaf([1.0, 2.0])
    a.grad = shared = engine.from_numpy(np.broadcast_to(np.float32(1), (2,)))
    optim.SGD([a], lr=0.1).zero_grad(set_to_none=False)
    assert a.grad.tolist() == [0.0, 0.0] and shared.tolist() == [1.0, 1.0]


def test_closure_runs_with_gradients_and_its_result_is_returned() -> None:
    w = leaf([3.0])
    optimizer = optim.SGD([w], lr=0.25)

    def closure() -> engine.Tensor:
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with engine.no_grad():
        assert optimizer.step(closure).item() == 9.0
    assert w.item() == 1.5


def test_step_bumps_versions_so_that_stale_graphs_are_found() -> None:
    a, b = leaf([3.0]), leaf([2.0])
    loss = (a * a * b).sum()
    a.grad = b.grad = engine.ones(1)
    optim.Adam([a, b]).step()
    assert a._version == 1 and b._version == 1
    with pytest.raises(RuntimeError, match=r"Adam\.step"):
        loss.backward()


# ---- saving, loading, copying


def test_state_dict_layout() -> None:
    optimizer, parameters = trained(weight_decay=0.1)
    state = optimizer.state_dict()
    assert list(state) == ["state", "param_groups"]
    assert list(state["state"]) == [0, 1, 2] and state["param_groups"][0]["params"] == [0, 1, 2]
    assert list(state["state"][0]) == ["step", "exp_avg", "exp_avg_sq"]
    assert state["state"][0]["step"].shape == () and state["state"][0]["step"].item() == 2.0
    assert state["state"][0]["exp_avg"] is optimizer.state[parameters[0]]["exp_avg"]
    assert state["param_groups"][0]["weight_decay"] == 0.1


def test_resumed_run_equals_uninterrupted_run() -> None:
    optimizer, parameters = trained()
    saved, weights = copy.deepcopy(optimizer.state_dict()), [p.detach().clone() for p in parameters]
    go_on(optimizer, parameters)
    again = [w.requires_grad_() for w in weights]
    resumed = optim.Adam(again, lr=123.0)
    resumed.load_state_dict(saved)
    assert resumed.param_groups[0]["lr"] == 0.01
    go_on(resumed, again)
    assert values(again) == values(parameters)


def test_loading_copies_and_casts() -> None:
    optimizer, _ = trained()
    saved = optimizer.state_dict()
    doubles = [leaf(array, np.float64) for array in random_arrays(SHAPES, np.float64, seed=0)]
    other = optim.Adam(doubles)
    other.load_state_dict(saved)
    assert other.state[doubles[0]]["exp_avg"].dtype is engine.float64
    assert other.state[doubles[0]]["step"].dtype is engine.float32
    before = saved["state"][0]["exp_avg"].tolist()
    give(doubles, random_arrays(SHAPES, np.float64, seed=5))
    other.step()
    assert saved["state"][0]["exp_avg"].tolist() == before  # ours did not touch theirs


def test_loading_checks_the_groups() -> None:
    optimizer, _ = trained()
    with pytest.raises(ValueError, match="different number of parameter groups"):
        optim.Adam([{"params": [leaf([1.0])]}, {"params": [leaf([1.0])]}]).load_state_dict(optimizer.state_dict())
    with pytest.raises(ValueError, match="doesn't match the size"):
        optim.Adam([leaf([1.0])]).load_state_dict(optimizer.state_dict())
    wrong = optim.Adam([leaf(np.zeros((9, 9))) for _ in SHAPES])
    wrong.load_state_dict(optimizer.state_dict())
    give(list(wrong.param_groups[0]["params"]), [np.zeros((9, 9), np.float32)] * 3)
    with pytest.raises(RuntimeError, match="exp_avg"):
        wrong.step()


def test_loading_keeps_names_unless_the_file_has_some() -> None:
    named = optim.SGD([("a", leaf([1.0]))], lr=0.1)
    plain = optim.SGD([leaf([1.0])], lr=0.1)
    named.load_state_dict(plain.state_dict())
    assert named.param_groups[0]["param_names"] == ["a"]
    plain.load_state_dict(named.state_dict())
    assert plain.param_groups[0]["param_names"] == ["a"]


def test_options_missing_in_an_old_file_come_from_the_defaults() -> None:
    optimizer, parameters = trained()
    saved = copy.deepcopy(optimizer.state_dict())
    for name in ("maximize", "decoupled_weight_decay", "fused"):
        del saved["param_groups"][0][name]
    for entry in saved["state"].values():
        entry["step"] = 2  # old files hold a plain number
    optimizer.load_state_dict(saved)
    go_on(optimizer, parameters, 1)
    assert optimizer.state[parameters[0]]["step"].item() == 3.0


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_copies_go_on_alike_and_apart(duplicate: Any) -> None:
    optimizer, parameters = trained()
    twin = duplicate(optimizer)
    twins = twin.param_groups[0]["params"]
    assert all(twin is not p for twin, p in zip(twins, parameters, strict=True))
    before = values(parameters)
    go_on(twin, twins)
    assert values(parameters) == before
    go_on(optimizer, parameters)
    assert values(twins) == values(parameters)


# ---- hooks


def test_step_hooks_in_order_and_removable() -> None:
    w = leaf([1.0])
    optimizer = optim.SGD([w], lr=0.1)
    seen: list[str] = []
    handles = [
        register_optimizer_step_pre_hook(lambda o, args, kwargs: seen.append("all before")),
        optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append("before")),
        optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append("after")),
        register_optimizer_step_post_hook(lambda o, args, kwargs: seen.append("all after")),
    ]
    optimizer.step()
    assert seen == ["all before", "before", "after", "all after"]
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert len(seen) == 4


def test_pre_hook_may_replace_the_arguments() -> None:
    optimizer = optim.SGD([leaf([1.0])], lr=0.1)
    optimizer.register_step_pre_hook(lambda o, args, kwargs: ((lambda: "from the hook",), kwargs))
    assert optimizer.step() == "from the hook"
    optimizer.register_step_pre_hook(lambda o, args, kwargs: "nonsense")
    with pytest.raises(RuntimeError, match="must return None or a tuple"):
        optimizer.step()


def test_hooks_run_once_when_a_subclass_calls_super() -> None:
    class Loud(optim.SGD):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    optimizer = Loud([leaf([1.0])], lr=0.1)
    seen: list[int] = []
    optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append(1))
    optimizer.step()
    optimizer.step()
    assert seen == [1, 1]


def test_state_dict_hooks() -> None:
    optimizer, _ = trained()
    seen: list[str] = []
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("pre"))
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("first"), prepend=True)
    optimizer.register_state_dict_post_hook(lambda o, state: {**state, "extra": 1})
    state = optimizer.state_dict()
    assert seen == ["first", "pre"] and state["extra"] == 1
    optimizer.register_load_state_dict_pre_hook(lambda o, given: seen.append(given["extra"]))
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append("loaded"))
    optimizer.load_state_dict(state)
    assert seen[2:] == [1, "loaded"]


def test_own_optimizer_without_the_flat_machinery() -> None:
    class SignSGD(optim.Optimizer):
        def __init__(self, params: Any, lr: float) -> None:
            super().__init__(params, {"lr": lr})

        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    self.state[p]["calls"] = self.state[p].get("calls", 0) + 1
                    p.data = p.data - group["lr"] * engine.from_numpy(np.sign(p.grad.numpy()))

    w = leaf([1.0, -1.0])
    w.grad = engine.tensor([5.0, -0.1])
    optimizer = SignSGD([w], lr=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler = optim.lr_scheduler.StepLR(optimizer, 1)
        optimizer.step()
        scheduler.step()
    assert w.tolist() == [0.5, -0.5]
    assert optimizer.state_dict()["state"] == {0: {"calls": 1}}
