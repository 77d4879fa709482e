"""NAdam, RAdam, Adamax, Rprop and ASGD beside torch over 20 steps, and their formulas without it."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import engine
from tests.optim.pairs import array_of, give, gradient_sequence, leaf, random_arrays
from tests.optim.test_against_torch import assert_same, beside_torch, combinations

NAMES = ("NAdam", "RAdam", "Adamax", "Rprop", "ASGD")
BOTH = (False, True)
CASES = [
    *(("NAdam", c) for c in combinations(momentum_decay=(4e-3, 0.5), weight_decay=(0, 0.1), decoupled_weight_decay=BOTH)),
    *(("RAdam", c) for c in combinations(betas=((0.9, 0.999), (0.5, 0.9)), weight_decay=(0, 0.1), decoupled_weight_decay=BOTH)),
    *(("Adamax", c) for c in combinations(betas=((0.9, 0.999), (0.5, 0.9)), weight_decay=(0, 0.1), eps=(1e-8, 1e-3))),
    *(("Rprop", c) for c in combinations(etas=((0.5, 1.2), (0.3, 2.0)), step_sizes=((1e-6, 50), (1e-3, 0.02)))),
    *(("ASGD", c) for c in combinations(lambd=(1e-4, 0.1), t0=(1e6, 3), weight_decay=(0, 0.1))),
]


@pytest.mark.parametrize("gaps", BOTH, ids=["all", "gaps"])
@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda value: str(value).replace("'", ""))
def test_float64_over_20_steps(name: str, options: dict, gaps: bool) -> None:
    torch = pytest.importorskip("torch")
    assert_same(*beside_torch(torch, name, {"lr": 0.01, **options}, np.float64, gaps), tolerance=1e-11)


@pytest.mark.parametrize("maximize", BOTH)
@pytest.mark.parametrize("name", NAMES)
def test_float32_and_maximize(name: str, maximize: bool) -> None:
    torch = pytest.importorskip("torch")
    assert_same(*beside_torch(torch, name, {"lr": 0.01, "maximize": maximize}, np.float32), tolerance=3e-6)


@pytest.mark.parametrize("name", NAMES)
def test_signatures_and_defaults(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours = inspect.signature(getattr(engine.optim, name)).parameters.values()
    theirs = inspect.signature(getattr(torch.optim, name)).parameters.values()
    assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in theirs]


@pytest.mark.parametrize("name", NAMES)
def test_half_types_are_computed_wide(name: str) -> None:
    wide = [engine.tensor([0.5, -1.0, 2.0]).requires_grad_()]
    narrow = [engine.tensor([0.5, -1.0, 2.0], dtype=engine.bfloat16).requires_grad_()]
    optimizers = [getattr(engine.optim, name)(params, lr=0.05) for params in (wide, narrow)]
    for step in range(3):
        for params, optimizer in zip((wide, narrow), optimizers, strict=True):
            params[0].grad = engine.tensor([1.0, -0.5, 0.25 * (step - 1)], dtype=params[0].dtype)
            optimizer.step()
    assert narrow[0].dtype is engine.bfloat16
    np.testing.assert_allclose(array_of(narrow[0]), array_of(wide[0]), rtol=0.03, atol=0.03)


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_state_continues_as_if_nothing_happened(name: str) -> None:
    start = random_arrays(((4, 3), ()), np.float32, seed=0)
    grads = list(gradient_sequence(((4, 3), ()), np.float32, steps=6))
    ends = []
    for restart in BOTH:
        params = [leaf(a) for a in start]
        optimizer = getattr(engine.optim, name)(params, lr=0.02)
        for step, grad in enumerate(grads):
            if restart and step == 3:
                saved = optimizer.state_dict()
                optimizer = getattr(engine.optim, name)(params)
                optimizer.load_state_dict(saved)
            give(params, grad)
            optimizer.step()
        ends.append([array_of(p) for p in params])
    for a, b in zip(*ends, strict=True):
        np.testing.assert_array_equal(a, b)


BAD: list[tuple[str, dict[str, Any]]] = [
    *((name, {"lr": -1.0}) for name in NAMES),
    *((name, {"weight_decay": -1.0}) for name in NAMES if name != "Rprop"),
    *((name, {"betas": (1.0, 0.9)}) for name in ("NAdam", "RAdam", "Adamax")),
    ("NAdam", {"momentum_decay": -1.0}),
    ("Rprop", {"etas": (1.5, 1.2)}),
]


@pytest.mark.parametrize(("name", "options"), BAD, ids=lambda value: str(value).replace("'", ""))
def test_bad_options_raise_what_torch_raises(name: str, options: dict) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(Exception) as expected:
        getattr(torch.optim, name)([torch.zeros(1, requires_grad=True)], **options)
    with pytest.raises(expected.type) as raised:
        getattr(engine.optim, name)([leaf([0.0])], **options)
    assert str(expected.value).split(":")[0] in str(raised.value)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_supported_says_so(name: str) -> None:
    with pytest.raises(NotImplementedError, match="HINT"):
        getattr(engine.optim, name)([leaf([0.0])], differentiable=True)
