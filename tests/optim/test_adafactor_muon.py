"""Adafactor and Muon beside torch, step by step; what Muon's iteration promises; errors."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import engine
from tests.optim.pairs import array_of, give, gradient_sequence, leaf, random_arrays
from tests.optim.test_against_torch import assert_same, combinations

SHAPES = {"Adafactor": ((5, 3), (3,), (), (2, 3, 4), (300, 70)), "Muon": ((5, 3), (3, 5), (4, 4), (100, 300))}
ADAFACTOR = combinations(beta2_decay=(-0.8, -0.5), eps=((None, 1e-3), (1e-2, 1e-1)), d=(1.0, 2.0), weight_decay=(0.0, 0.1))
MUON = combinations(nesterov=(False, True), weight_decay=(0.0, 0.1), adjust_lr_fn=(None, "original", "match_rms_adamw"))


def beside(torch: Any, name: str, options: dict, dtype: Any, steps: int, gaps: bool = False) -> tuple:
    start = random_arrays(SHAPES[name], dtype, seed=0)
    ours, theirs = [leaf(a, dtype) for a in start], [torch.nn.Parameter(torch.from_numpy(a.copy())) for a in start]
    optimizer, oracle = getattr(engine.optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    for grads in gradient_sequence(SHAPES[name], dtype, steps, gaps):
        give(ours, grads)
        for parameter, grad in zip(theirs, grads, strict=True):
            parameter.grad = None if grad is None else torch.from_numpy(grad.copy())
        optimizer.step()
        oracle.step()
    return optimizer, ours, oracle, theirs


@pytest.mark.parametrize("gaps", [False, True], ids=["all", "gaps"])
@pytest.mark.parametrize("options", ADAFACTOR, ids=str)
def test_adafactor_in_float64_over_20_steps(options: dict, gaps: bool) -> None:
    torch = pytest.importorskip("torch")
    assert_same(*beside(torch, "Adafactor", {"lr": 0.05, **options}, np.float64, 20, gaps), tolerance=1e-10)


@pytest.mark.parametrize("maximize", [False, True])
def test_adafactor_in_float32(maximize: bool) -> None:
    torch = pytest.importorskip("torch")
    assert_same(*beside(torch, "Adafactor", {"lr": 0.05, "maximize": maximize}, np.float32, 20), tolerance=2e-5)


@pytest.mark.parametrize("options", MUON, ids=str)
def test_muon_over_5_steps_but_for_torchs_bfloat16(options: dict) -> None:
    torch = pytest.importorskip("torch")
    lr = 0.01
    optimizer, ours, oracle, theirs = beside(torch, "Muon", {"lr": lr, **options}, np.float32, 5)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(array_of(mine), array_of(other), atol=0.1 * lr)
        buffers = [o.state[p]["momentum_buffer"] for o, p in ((optimizer, mine), (oracle, other))]
        np.testing.assert_allclose(*map(array_of, buffers), rtol=1e-5, atol=1e-6)
    assert optimizer.state_dict()["param_groups"] == oracle.state_dict()["param_groups"]


@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
def test_muon_steps_by_a_nearly_orthogonal_matrix(shape: tuple) -> None:
    w = leaf(np.zeros(shape))
    w.grad = engine.from_numpy(random_arrays([shape], np.float32, seed=3)[0])
    engine.optim.Muon([w], lr=1.0, weight_decay=0.0, adjust_lr_fn="match_rms_adamw").step()
    values = np.linalg.svd(w.detach().numpy())[1] / (0.2 * 6**0.5)
    assert values.min() > 0.6 and values.max() < 1.3


@pytest.mark.parametrize("name", ["Adafactor", "Muon"])
def test_signatures_and_defaults(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours = inspect.signature(getattr(engine.optim, name)).parameters.values()
    theirs = inspect.signature(getattr(torch.optim, name)).parameters.values()
    assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in theirs]


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("Adafactor", {"lr": -1.0}, "Learning rate should be >= 0 but is: -1.0"),
        ("Adafactor", {"beta2_decay": 0.5}, "beta2_decay should be <= 0 but is: 0.5"),
        ("Adafactor", {"eps": (-1.0, 1e-3)}, "epsilon1 should be >= 0 but is: -1.0"),
        ("Adafactor", {"eps": (None, -1.0)}, "epsilon2 should be >= 0 but is: -1.0"),
        ("Adafactor", {"d": 0.5}, "Clipping threshold d should be >= 1 but is: 0.5"),
        ("Adafactor", {"weight_decay": -1.0}, "weight_decay should be >= 0 but is: -1.0"),
        ("Muon", {"lr": -1.0}, "Learning rate should be >= 0 but is: -1.0"),
        ("Muon", {"momentum": -1.0}, "momentum should be >= 0 but is: -1.0"),
        ("Muon", {"weight_decay": -1.0}, "weight decay should be >= 0 but is: -1.0"),
        ("Muon", {"adjust_lr_fn": "no"}, "Adjust learning rate function no is not supported"),
        ("Muon", {"ns_steps": 100}, "Number of steps must be less than 100"),
        ("Muon", {"ns_coefficients": (1.0, 2.0)}, "tuple of exactly 3 values"),
    ],
)
def test_hyperparameters_out_of_range(name: str, options: dict, text: str) -> None:
    with pytest.raises(ValueError, match=text.replace("(", r"\(")):
        getattr(engine.optim, name)([leaf(np.ones((2, 2)))], **options)


def test_muon_takes_matrices_only() -> None:
    with pytest.raises(ValueError, match="only supports 2D parameters"):
        engine.optim.Muon([leaf([1.0])])


@pytest.mark.parametrize("name", ["Adafactor", "Muon"])
def test_training_goes_on_from_a_state_dict(name: str) -> None:
    def trained(stop: bool) -> list:
        w = leaf(random_arrays([(6, 4)], np.float32, seed=1)[0])
        optimizer = getattr(engine.optim, name)([w], lr=0.1)
        for step, (grad,) in enumerate(gradient_sequence([(6, 4)], np.float32, 6)):
            if stop and step == 3:
                saved = optimizer.state_dict()
                optimizer = getattr(engine.optim, name)([w], lr=0.5)
                optimizer.load_state_dict(saved)
            give([w], [grad])
            optimizer.step()
        return w.tolist()

    assert trained(True) == trained(False)


@pytest.mark.parametrize("name", ["Adafactor", "Muon"])
def test_complex_parameters_are_refused(name: str) -> None:
    w = engine.tensor([[1 + 1j]]).requires_grad_()
    w.grad = engine.tensor([[1 + 1j]])
    with pytest.raises(RuntimeError, match=f"{name} does not support complex parameters"):
        getattr(engine.optim, name)([w]).step()
