"""Schedules: the rates they set, beside stored tables and torch; saving and resuming; warnings and errors."""

from __future__ import annotations

import inspect
import math
import warnings
from typing import Any

import numpy as np
import pytest

import engine
from engine import optim
from engine.optim import lr_scheduler
from tests.optim.pairs import leaf
from tests.optim.schedules import PLATEAUS, SCHEDULES

# Rates of a group with initial rate 0.3 over the first seven steps of SCHEDULES, as torch 2.13 sets them.
TABLES = {
    "LambdaLR": [0.3, 0.285, 0.27075, 0.2572125, 0.244351875, 0.232134281, 0.220527567],
    "MultiplicativeLR": [0.3, 0.27, 0.243, 0.2187, 0.19683, 0.177147, 0.1594323],
    "StepLR": [0.3, 0.3, 0.3, 0.03, 0.03, 0.03, 0.003],
    "MultiStepLR": [0.3, 0.3, 0.09, 0.09, 0.09, 0.0081, 0.0081],
    "ConstantLR": [0.12, 0.12, 0.12, 0.12, 0.3, 0.3, 0.3],
    "LinearLR": [0.06, 0.09, 0.12, 0.15, 0.18, 0.21, 0.24],
    "ExponentialLR": [0.3, 0.279, 0.25947, 0.2413071, 0.224415603, 0.208706511, 0.194097055],
    "PolynomialLR": [0.3, 0.2296875, 0.16875, 0.1171875, 0.075, 0.0421875, 0.01875],
    "CosineAnnealingLR": [0.3, 0.271448041, 0.196698041, 0.104301959, 0.0295519593, 0.001, 0.0295519593],
    "CosineAnnealingWarmRestarts": [0.3, 0.22525, 0.07575, 0.3, 0.279970798, 0.22525, 0.1505],
    "CyclicLR": [0.01, 0.0325, 0.055, 0.0775, 0.1, 0.07, 0.04],
    "CyclicLR-triangular2": [0.02, 0.065, 0.11, 0.155, 0.2, 0.155, 0.11],
    "OneCycleLR": [0.02, 0.0382689122, 0.0902943725, 0.168155976, 0.26, 0.351844024, 0.429705627],
    "SequentialLR": [0.03, 0.0975, 0.165, 0.2325, 0.3, 0.292658477, 0.271352549],
    "ChainedScheduler": [0.03, 0.08775, 0.13365, 0.1694925, 0.19683, 0.177147, 0.1594323],
}
STEPS = 28


def two_groups() -> optim.SGD:
    return optim.SGD([{"params": [leaf([0.0])]}, {"params": [leaf([0.0])], "lr": 0.3}], lr=0.1, momentum=0.9)


def their_two_groups(torch: Any) -> Any:
    a, b = (torch.zeros(1, requires_grad=True) for _ in range(2))
    return torch.optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.3}], lr=0.1, momentum=0.9)


def play(optimizer: Any, scheduler: Any, steps: int) -> list[tuple]:
    """Rates and momenta before each of `steps` steps."""
    seen = []
    for _ in range(steps):
        groups = optimizer.param_groups
        seen.append((list(scheduler.get_last_lr()), [g["lr"] for g in groups], [g["momentum"] for g in groups]))
        optimizer.step()
        scheduler.step()
    return seen


def plain(value: Any) -> Any:
    """Containers as plain dicts and lists, for comparison."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("name", TABLES)
def test_rates_beside_the_table(name: str) -> None:
    optimizer = two_groups()
    seen = play(optimizer, SCHEDULES[name](optimizer, lr_scheduler), len(TABLES[name]))
    np.testing.assert_allclose([last[1] for last, _, _ in seen], TABLES[name], rtol=1e-8)
    assert all(last == rates for last, rates, _ in seen)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch warns about a chain's first step
@pytest.mark.parametrize("name", SCHEDULES)
def test_equal_to_torch_to_the_last_bit(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = two_groups(), their_two_groups(torch)
    scheduler = SCHEDULES[name](ours, lr_scheduler)
    oracle = SCHEDULES[name](theirs, torch.optim.lr_scheduler)
    assert play(ours, scheduler, STEPS) == play(theirs, oracle, STEPS)
    assert plain(scheduler.state_dict()) == plain(oracle.state_dict())
    for mine, other in zip(ours.state_dict()["param_groups"], theirs.state_dict()["param_groups"], strict=True):
        assert mine == other and list(mine) == list(other)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", [n for n in SCHEDULES if n.split("-")[0] not in ("SequentialLR", "ChainedScheduler")])
def test_steps_that_name_their_epoch_are_torchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = two_groups(), their_two_groups(torch)
    scheduler = SCHEDULES[name](ours, lr_scheduler)
    oracle = SCHEDULES[name](theirs, torch.optim.lr_scheduler)
    for epoch in (3, 1, 7, 7, 12):
        scheduler.step(epoch)
        oracle.step(epoch)
        assert scheduler.get_last_lr() == oracle.get_last_lr(), epoch


def test_warm_restarts_by_fractions_of_an_epoch() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = two_groups(), their_two_groups(torch)
    scheduler = lr_scheduler.CosineAnnealingWarmRestarts(ours, 3, 2)
    oracle = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(theirs, 3, 2)
    for epoch in np.arange(0, 25, 0.37).tolist():
        scheduler.step(epoch)
        oracle.step(epoch)
        assert scheduler.get_last_lr() == oracle.get_last_lr(), epoch


@pytest.mark.parametrize("name", ["StepLR", "LinearLR", "ExponentialLR", "PolynomialLR", "CosineAnnealingLR"])
def test_started_in_the_middle_is_torchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    build = {
        "StepLR": lambda o, m: m.StepLR(o, 3, last_epoch=4),
        "LinearLR": lambda o, m: m.LinearLR(o, 0.2, 0.9, 7, last_epoch=3),
        "ExponentialLR": lambda o, m: m.ExponentialLR(o, 0.9, last_epoch=3),
        "PolynomialLR": lambda o, m: m.PolynomialLR(o, 8, 2.0, last_epoch=3),
        "CosineAnnealingLR": lambda o, m: m.CosineAnnealingLR(o, 5, 0.001, last_epoch=4),
    }[name]
    ours, theirs = two_groups(), their_two_groups(torch)
    for group in (*ours.param_groups, *theirs.param_groups):
        group["initial_lr"] = group["lr"]
    schedulers = build(ours, lr_scheduler), build(theirs, torch.optim.lr_scheduler)
    assert play(ours, schedulers[0], 9) == play(theirs, schedulers[1], 9)


@pytest.mark.filterwarnings("ignore:Detected call")  # a chain inside a sequence, as in torch
@pytest.mark.parametrize("name", SCHEDULES)
def test_resumed_schedule_equals_uninterrupted_one(name: str) -> None:
    whole = two_groups()
    expected = play(whole, SCHEDULES[name](whole, lr_scheduler), 20)[9:]
    first = two_groups()
    scheduler = SCHEDULES[name](first, lr_scheduler)
    play(first, scheduler, 9)
    second = two_groups()
    resumed = SCHEDULES[name](second, lr_scheduler)
    state = scheduler.state_dict()
    before = plain(state)
    resumed.load_state_dict(state)
    assert plain(state) == before
    second.load_state_dict(first.state_dict())
    assert play(second, resumed, 11) == expected


@pytest.mark.parametrize("name", [n for n in lr_scheduler.__all__ if n != "_LRScheduler"])
def test_signatures_are_torchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours = inspect.signature(getattr(lr_scheduler, name)).parameters.values()
    theirs = inspect.signature(getattr(torch.optim.lr_scheduler, name)).parameters.values()
    assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in theirs]


# ---- ReduceLROnPlateau


@pytest.mark.parametrize("options", PLATEAUS.values(), ids=PLATEAUS)
def test_plateau_is_torchs(options: dict) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = two_groups(), their_two_groups(torch)
    scheduler = lr_scheduler.ReduceLROnPlateau(ours, **options)
    oracle = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    for metric in np.random.default_rng(0).random(40).tolist():
        scheduler.step(metric)
        oracle.step(metric)
        assert scheduler.get_last_lr() == oracle.get_last_lr()
    assert plain(scheduler.state_dict()) == plain(oracle.state_dict())


def test_plateau_by_hand() -> None:
    optimizer = two_groups()
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, min_lr=0.06)
    rates = []
    for loss in (1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5):
        scheduler.step(engine.tensor(loss))
        rates.append(scheduler.get_last_lr())
    assert rates[1] == [0.1, 0.3] and rates[2] == [0.06, 0.15]
    assert rates[5] == [0.06, 0.15] and rates[6] == [0.06, 0.075] and rates[8] == [0.06, 0.06]


def test_plateau_resumes() -> None:
    first, second = two_groups(), two_groups()
    scheduler = lr_scheduler.ReduceLROnPlateau(first, mode="max", patience=1)
    scheduler.step(1.0)
    scheduler.step(0.5)
    resumed = lr_scheduler.ReduceLROnPlateau(second, patience=5)
    resumed.load_state_dict(scheduler.state_dict())
    resumed.step(0.5)
    assert resumed.mode == "max" and resumed.get_last_lr() == pytest.approx([0.01, 0.03])


def test_plateau_after_a_group_was_added() -> None:
    optimizer = two_groups()
    single = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=0.05)
    listed = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.05, 0.05])
    optimizer.add_param_group({"params": [leaf([0.0])], "lr": 1.0})
    single.step(1.0)
    single.step(1.0)
    assert optimizer.param_groups[2]["lr"] == pytest.approx(0.1)
    listed.step(1.0)
    with pytest.raises(RuntimeError, match="min_lrs"):
        listed.step(1.0)


# ---- protocol


def test_rates_changed_by_hand_are_respected_by_recurrences() -> None:
    optimizer = two_groups()
    scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    optimizer.param_groups[0]["lr"] = 8.0
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 4.0


def test_tensor_rates_stay_the_same_tensor() -> None:
    lr = engine.tensor(0.5)
    optimizer = optim.SGD([leaf([0.0])], lr=lr)
    scheduler = lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    last = scheduler.get_last_lr()[0]
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] is lr and lr.item() == 0.25
    assert last.item() == 0.5 and optimizer.param_groups[0]["initial_lr"].item() == 0.5


def test_momentum_runs_against_the_rate_for_betas_too() -> None:
    optimizer = optim.Adam([leaf([0.0])], lr=0.1)
    scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    first = []
    for _ in range(9):
        first.append(optimizer.param_groups[0]["betas"][0])
        optimizer.step()
        scheduler.step()
    assert first[0] == 0.95 and min(first) == pytest.approx(0.85) and optimizer.param_groups[0]["betas"][1] == 0.999


def test_objects_as_lambdas_are_saved_by_their_attributes() -> None:
    class Warmup:
        def __init__(self, steps: int) -> None:
            self.steps = steps

        def __call__(self, epoch: int) -> float:
            return min(1.0, (epoch + 1) / self.steps)

    scheduler = lr_scheduler.LambdaLR(two_groups(), [Warmup(4), lambda epoch: 1.0])
    assert scheduler.state_dict()["lr_lambdas"] == [{"steps": 4}, None]
    other = lr_scheduler.LambdaLR(two_groups(), [Warmup(9), lambda epoch: 1.0])
    other.load_state_dict(scheduler.state_dict())
    assert other.lr_lambdas[0].steps == 4


def test_own_scheduler_under_the_old_name() -> None:
    class Halving(lr_scheduler._LRScheduler):
        def get_lr(self) -> list:
            return [base / 2**self.last_epoch for base in self.base_lrs]

    optimizer = two_groups()
    scheduler = Halving(optimizer)
    play(optimizer, scheduler, 2)
    assert scheduler.get_last_lr() == [0.025, 0.075]
    assert Halving.__mro__[1].__name__ == "_LRScheduler"
    with pytest.raises(NotImplementedError, match="get_lr"):
        lr_scheduler.LRScheduler(two_groups())


def test_wrong_order_warns_once_and_right_order_never() -> None:
    optimizer = two_groups()
    scheduler = lr_scheduler.StepLR(optimizer, 1)
    with pytest.warns(UserWarning, match=r"`lr_scheduler.step\(\)` before `optimizer.step\(\)`"):
        scheduler.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()
        other = two_groups()
        again = lr_scheduler.StepLR(other, 1)
        other.step()
        again.step()


def test_replaced_optimizer_step_warns() -> None:
    optimizer = two_groups()
    scheduler = lr_scheduler.StepLR(optimizer, 1)
    optimizer.step = lambda: None  # type: ignore[method-assign]
    with pytest.warns(UserWarning, match="overridden"):
        scheduler.step()


def test_get_lr_and_epoch_argument_warn() -> None:
    optimizer = two_groups()
    scheduler = lr_scheduler.StepLR(optimizer, 1)
    with pytest.warns(UserWarning, match="get_last_lr"):
        scheduler.get_lr()
    optimizer.step()
    with pytest.warns(UserWarning, match="epoch"):
        scheduler.step(3)


ERRORS: list[tuple[Any, Any, str]] = [
    (lambda o, m: m.StepLR("no optimizer", 1), TypeError, "str is not an Optimizer"),
    (lambda o, m: m.ReduceLROnPlateau("no optimizer"), TypeError, "str is not an Optimizer"),
    (lambda o, m: m.OneCycleLR("no optimizer", 1.0), TypeError, "str is not an Optimizer"),
    (lambda o, m: m.CyclicLR("no optimizer", 0.1, 1.0), TypeError, "str is not an Optimizer"),
    (lambda o, m: m.StepLR(o, 1, last_epoch=3), KeyError, "initial_lr"),
    (lambda o, m: m.LambdaLR(o, [abs]), ValueError, "Expected 2 lr_lambdas, but got 1"),
    (lambda o, m: m.MultiplicativeLR(o, [abs, 3]), TypeError, "lr_lambda should be a function"),
    (lambda o, m: m.ConstantLR(o, factor=1.5), ValueError, "between 0 and 1"),
    (lambda o, m: m.LinearLR(o, start_factor=0), ValueError, "Starting multiplicative factor"),
    (lambda o, m: m.LinearLR(o, end_factor=1.5), ValueError, "Ending multiplicative factor"),
    (lambda o, m: m.CosineAnnealingWarmRestarts(o, 0), ValueError, "Expected positive integer T_0"),
    (lambda o, m: m.CosineAnnealingWarmRestarts(o, 2, 0), ValueError, "T_mult"),
    (lambda o, m: m.CosineAnnealingWarmRestarts(o, 2, eta_min="x"), ValueError, "eta_min"),
    (lambda o, m: m.CosineAnnealingWarmRestarts(o, 2).step(-1), ValueError, "non-negative epoch"),
    (lambda o, m: m.CyclicLR(o, 0.1, 1.0, mode="square"), ValueError, "mode is invalid"),
    (lambda o, m: m.CyclicLR(o, [0.1], 1.0), ValueError, "base_lr"),
    (lambda o, m: m.OneCycleLR(o, 1.0), ValueError, "total_steps"),
    (lambda o, m: m.OneCycleLR(o, 1.0, total_steps=0), ValueError, "Expected positive integer total_steps"),
    (lambda o, m: m.OneCycleLR(o, 1.0, epochs=0, steps_per_epoch=1), ValueError, "Expected positive integer epochs"),
    (lambda o, m: m.OneCycleLR(o, 1.0, total_steps=5, pct_start=2.0), ValueError, "pct_start"),
    (lambda o, m: m.OneCycleLR(o, 1.0, total_steps=5, anneal_strategy="x"), ValueError, "anneal_strategy"),
    (lambda o, m: m.OneCycleLR(o, [1.0], total_steps=5), ValueError, "max_lr"),
    (lambda o, m: m.ReduceLROnPlateau(o, factor=1.0), ValueError, "Factor should be < 1.0"),
    (lambda o, m: m.ReduceLROnPlateau(o, mode="best"), ValueError, "mode best is unknown"),
    (lambda o, m: m.ReduceLROnPlateau(o, threshold_mode="x"), ValueError, "threshold mode x is unknown"),
    (lambda o, m: m.ReduceLROnPlateau(o, min_lr=[0.1]), ValueError, "expected 2 min_lrs, got 1"),
    (lambda o, m: m.SequentialLR(o, [], []), ValueError, "at least one scheduler"),
    (lambda o, m: m.SequentialLR(o, [m.StepLR(o, 1)], [3]), ValueError, "number of schedulers"),
    (lambda o, m: m.SequentialLR(o, ["x"], []), TypeError, "optimizer"),
    (lambda o, m: m.SequentialLR(o, [m.ReduceLROnPlateau(o)], []), ValueError, "ReduceLROnPlateau"),
    (lambda o, m: m.ChainedScheduler([]), ValueError, "at least one scheduler"),
    (lambda o, m: m.ChainedScheduler([m.StepLR(o, 1), m.ReduceLROnPlateau(o)]), ValueError, "ReduceLROnPlateau"),
]


@pytest.mark.parametrize(("build", "error", "words"), ERRORS, ids=[words for _, _, words in ERRORS])
def test_errors(build: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        build(two_groups(), lr_scheduler)


@pytest.mark.parametrize(("build", "error", "words"), ERRORS, ids=[words for _, _, words in ERRORS])
def test_errors_are_torchs(build: Any, error: Any, words: str) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(error):
        build(their_two_groups(torch), torch.optim.lr_scheduler)


def test_schedulers_of_another_optimizer_are_refused() -> None:
    foreign = lr_scheduler.StepLR(two_groups(), 1)
    optimizer = two_groups()
    for build in (lambda: lr_scheduler.SequentialLR(optimizer, [foreign], []),
                  lambda: lr_scheduler.ChainedScheduler([foreign], optimizer)):
        with pytest.raises(ValueError, match="same optimizer"):
            build()


def test_cycling_the_momentum_needs_a_momentum() -> None:
    optimizer = optim.Adagrad([leaf([0.0])], lr=0.1)
    for build in (lambda: lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=5),
                  lambda: lr_scheduler.CyclicLR(optimizer, 0.1, 1.0)):
        with pytest.raises(ValueError, match="cycle_momentum"):
            build()


def test_one_cycle_ends() -> None:
    optimizer = two_groups()
    scheduler = lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=3)
    play(optimizer, scheduler, 3)
    with pytest.raises(ValueError, match="Tried to step 4 times"):
        scheduler.step()


@pytest.mark.filterwarnings("ignore:Detected call")
def test_rates_are_plain_numbers() -> None:
    for build in SCHEDULES.values():
        optimizer = two_groups()
        scheduler = build(optimizer, lr_scheduler)
        play(optimizer, scheduler, 3)
        assert all(type(rate) is float and math.isfinite(rate) for rate in scheduler.get_last_lr())
