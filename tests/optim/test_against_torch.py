"""Every optimizer and option beside torch's over 20 steps: parameters, state, layout of the state dict."""

from __future__ import annotations

import copy
import inspect
import itertools
from typing import Any

import numpy as np
import pytest

import engine
from tests.optim.pairs import SHAPES, array_of, give, gradient_sequence, leaf, random_arrays

OPTIMIZERS = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta")


def combinations(**options: tuple) -> list[dict[str, Any]]:
    return [dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())]


BOTH = (False, True)
CASES = [
    *(
        ("SGD", case)
        for case in combinations(momentum=(0, 0.9), dampening=(0, 0.3), nesterov=BOTH, weight_decay=(0, 0.1))
        if not case["nesterov"] or (case["momentum"] and not case["dampening"])
    ),
    *(("Adam", c) for c in combinations(amsgrad=BOTH, weight_decay=(0, 0.1), decoupled_weight_decay=BOTH)),
    *(("AdamW", c) for c in combinations(amsgrad=BOTH, betas=((0.9, 0.999), (0.5, 0.9)), eps=(1e-8, 1e-3))),
    *(("RMSprop", c) for c in combinations(momentum=(0, 0.9), centered=BOTH, weight_decay=(0, 0.1), alpha=(0.9,))),
    *(
        ("Adagrad", case)
        for case in combinations(lr_decay=(0, 0.1), initial_accumulator_value=(0, 0.5), weight_decay=(0, 0.1))
    ),
    *(("Adadelta", c) for c in combinations(rho=(0.9, 0.5), weight_decay=(0, 0.1))),
]


def beside_torch(torch: Any, name: str, options: dict, dtype: Any, gaps: bool = False, steps: int = 20) -> tuple:
    """(our optimizer, our parameters, theirs, their parameters) after the same gradients."""
    start = random_arrays(SHAPES, dtype, seed=0)
    ours = [leaf(array, dtype) for array in start]
    theirs = [torch.nn.Parameter(torch.from_numpy(array.copy())) for array in start]
    optimizer = getattr(engine.optim, name)(ours, **options)
    oracle = getattr(torch.optim, name)(theirs, **options)
    for grads in gradient_sequence(SHAPES, dtype, steps, gaps):
        give(ours, grads)
        for parameter, grad in zip(theirs, grads, strict=True):
            parameter.grad = None if grad is None else torch.from_numpy(grad.copy())
        optimizer.step()
        oracle.step()
    return optimizer, ours, oracle, theirs


def assert_same(optimizer: Any, ours: list, oracle: Any, theirs: list, tolerance: float) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(array_of(mine), array_of(other), rtol=tolerance, atol=tolerance)
    got, expected = optimizer.state_dict(), oracle.state_dict()
    assert list(got["state"]) == list(expected["state"])
    for number, entry in expected["state"].items():
        assert list(got["state"][number]) == list(entry)
        for key, value in entry.items():
            tensor = got["state"][number][key]
            assert str(tensor.dtype) == str(value.dtype) and tuple(tensor.shape) == tuple(value.shape)
            np.testing.assert_allclose(array_of(tensor), array_of(value), rtol=tolerance, atol=tolerance)
    assert [list(group) for group in got["param_groups"]] == [list(group) for group in expected["param_groups"]]
    assert got["param_groups"] == expected["param_groups"]


@pytest.mark.parametrize("gaps", [False, True], ids=["all", "gaps"])
@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda value: str(value).replace("'", ""))
def test_float64_over_20_steps(name: str, options: dict, gaps: bool) -> None:
    torch = pytest.importorskip("torch")
    assert_same(*beside_torch(torch, name, {"lr": 0.01, **options}, np.float64, gaps), tolerance=1e-11)


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_float32_and_maximize(name: str, maximize: bool) -> None:
    torch = pytest.importorskip("torch")
    options = {"lr": 0.01, "weight_decay": 0.1, "maximize": maximize}
    assert_same(*beside_torch(torch, name, options, np.float32), tolerance=2e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types_stay_within_their_precision(name: str, dtype: str) -> None:
    """torch rounds after every operation, we once per step: equal within a few roundings, not exactly."""
    torch = pytest.importorskip("torch")
    start = random_arrays(((4, 3), (40_000,)), np.float32, seed=0)
    ours = [engine.from_numpy(a.copy()).to(getattr(engine, dtype)).requires_grad_() for a in start]
    theirs = [torch.nn.Parameter(torch.from_numpy(a.copy()).to(getattr(torch, dtype))) for a in start]
    # With the usual 0.999, squares of small gradients are below float16's smallest numbers.
    options = {"lr": 0.01, **({"betas": (0.9, 0.9)} if name in ("Adam", "AdamW") else {})}
    optimizer = getattr(engine.optim, name)(ours, **options)
    oracle = getattr(torch.optim, name)(theirs, **options)
    if "eps" in optimizer.defaults:  # the usual 1e-8 is zero in float16
        for group in (*optimizer.param_groups, *oracle.param_groups):
            group["eps"] = 1e-3
    for grads in gradient_sequence(((4, 3), (40_000,)), np.float32, steps=3):
        for mine, other, grad in zip(ours, theirs, grads, strict=True):
            mine.grad = engine.from_numpy(grad.copy()).to(mine.dtype)
            other.grad = torch.from_numpy(grad.copy()).to(other.dtype)
        optimizer.step()
        oracle.step()
    tolerance = 0.01 if dtype == "float16" else 0.05
    for mine, other in zip(ours, theirs, strict=True):
        assert str(mine.dtype) == f"torch.{dtype}"
        np.testing.assert_allclose(array_of(mine), array_of(other), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_signatures_and_defaults(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours = inspect.signature(getattr(engine.optim, name)).parameters.values()
    theirs = inspect.signature(getattr(torch.optim, name)).parameters.values()
    assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in theirs]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_dict_of_torch_continues_here(name: str) -> None:
    torch = pytest.importorskip("torch")
    options = {"lr": 0.01, **({"momentum": 0.9} if name in ("SGD", "RMSprop") else {})}
    _, _, oracle, theirs = beside_torch(torch, name, options, np.float64, steps=3)
    saved = copy.deepcopy(oracle.state_dict())
    for entry in saved["state"].values():
        for key, value in entry.items():
            entry[key] = engine.from_numpy(value.numpy().copy())
    ours = [leaf(p.detach().numpy().copy(), np.float64) for p in theirs]
    optimizer = getattr(engine.optim, name)(ours)
    optimizer.load_state_dict(saved)
    for grads in gradient_sequence(SHAPES, np.float64, steps=3):
        give(ours, grads)
        for parameter, grad in zip(theirs, grads, strict=True):
            parameter.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        oracle.step()
    assert_same(optimizer, ours, oracle, theirs, tolerance=1e-12)


def test_repr_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    ours = engine.optim.AdamW([{"params": [leaf([1.0])], "lr": 0.5}, {"params": [leaf([2.0])]}])
    theirs = torch.optim.AdamW(
        [{"params": [torch.zeros(1, requires_grad=True)], "lr": 0.5}, {"params": [torch.zeros(1, requires_grad=True)]}]
    )
    assert repr(ours) == repr(theirs)


BAD = [
    ("SGD", {"lr": -1.0}),
    ("SGD", {"momentum": -0.1}),
    ("SGD", {"weight_decay": -0.1}),
    ("SGD", {"nesterov": True}),
    ("SGD", {"momentum": 0.9, "dampening": 0.1, "nesterov": True}),
    ("Adam", {"lr": -1.0}),
    ("Adam", {"lr": float("nan")}),
    ("Adam", {"eps": -1.0}),
    ("Adam", {"betas": (1.0, 0.9)}),
    ("Adam", {"betas": (0.9, -0.1)}),
    ("Adam", {"betas": (0, 0.9)}),
    ("Adam", {"weight_decay": -1.0}),
    ("Adam", {"fused": True, "foreach": True}),
    ("AdamW", {"fused": True, "differentiable": True}),
    ("RMSprop", {"alpha": -0.1}),
    ("RMSprop", {"momentum": -0.1}),
    ("Adagrad", {"lr_decay": -0.1}),
    ("Adagrad", {"initial_accumulator_value": -0.1}),
    ("Adadelta", {"rho": 1.5}),
    ("Adadelta", {"eps": -1.0}),
]


@pytest.mark.parametrize(("name", "options"), BAD, ids=lambda value: str(value).replace("'", ""))
def test_bad_options_raise_what_torch_raises(name: str, options: dict) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(Exception) as expected:
        getattr(torch.optim, name)([torch.zeros(1, requires_grad=True)], **options)
    with pytest.raises(expected.type) as raised:
        getattr(engine.optim, name)([leaf([0.0])], **options)
    words = str(expected.value).split(":")[0].split(",")[0]
    assert words in str(raised.value)
