"""Optimizers on complex parameters, beside torch: real and imaginary parts are updated as if they were parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import engine
from tests.optim.pairs import random_arrays
from tests.optim.test_against_torch import assert_same

CASES = [
    ("SGD", {"momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {}),
    ("Adam", {"weight_decay": 0.1}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {"maximize": True}),
    ("RMSprop", {"centered": True, "momentum": 0.9}),
    ("Adagrad", {"initial_accumulator_value": 0.5}),
    ("Adadelta", {}),
    ("Adamax", {}),
    ("NAdam", {}),
    ("RAdam", {"weight_decay": 0.1}),
    ("Rprop", {}),
    ("ASGD", {}),
]
SHAPES = ((5, 3), (), (40_000,), (0, 4), (2,))


def complex_arrays(seed: int, dtype: Any = np.complex128) -> list[np.ndarray]:
    real, imaginary = (random_arrays(SHAPES, np.float64, seed=seed + k) for k in (0, 50))
    return [np.asarray(a + 1j * b).astype(dtype) for a, b in zip(real, imaginary, strict=True)]


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_equal_torchs_over_10_steps(name: str, options: dict) -> None:
    torch = pytest.importorskip("torch")
    ours = [engine.from_numpy(a.copy()).requires_grad_() for a in complex_arrays(0)]
    theirs = [torch.nn.Parameter(torch.from_numpy(a.copy())) for a in complex_arrays(0)]
    # one by one: torch's form for lists of tensors fails on empty complex ones
    optimizer = getattr(engine.optim, name)(ours, lr=0.01, foreach=False, **options)
    oracle = getattr(torch.optim, name)(theirs, lr=0.01, foreach=False, **options)
    for step in range(10):
        for mine, other, grad in zip(ours, theirs, complex_arrays(100 + step), strict=True):
            mine.grad, other.grad = engine.from_numpy(grad.copy()), torch.from_numpy(grad.copy())
        optimizer.step()
        oracle.step()
    assert_same(optimizer, ours, oracle, theirs, tolerance=1e-11)


def test_layouts_and_the_compiled_form() -> None:
    values = complex_arrays(0, np.complex64)[2].reshape(200, 200)
    results = []
    for compiled in (True, False):
        for layout in (np.ascontiguousarray, np.asfortranarray):
            w = engine.from_numpy(layout(values.copy())).requires_grad_()
            optimizer = engine.optim.Adam([w], lr=0.1)
            with engine.backends.fast.flags(enabled=compiled):
                for step in range(2):
                    w.grad = engine.from_numpy(values * (1 + step))
                    optimizer.step()
            results.append(w.detach().numpy().copy())
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)
