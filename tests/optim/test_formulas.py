"""The update formulas, written down a second time in plain NumPy, and values worked out by hand. No oracle needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import engine
from tests.optim.pairs import array_of, give, gradient_sequence, leaf, random_arrays

SHAPES = ((4, 3), (3,), (), (40_000,))
STEPS = 5


def sgd(w: np.ndarray, g: np.ndarray, m: dict, t: int, lr: float, momentum: float, nesterov: bool) -> np.ndarray:
    m["b"] = g if t == 1 else momentum * m["b"] + g
    return w - lr * (g + momentum * m["b"] if nesterov else m["b"])


def adam(
    w: np.ndarray, g: np.ndarray, m: dict, t: int, lr: float, decay: float = 0.0, amsgrad: bool = False
) -> np.ndarray:
    w = w * (1 - lr * decay)
    m["m"] = 0.9 * m.get("m", 0.0) + 0.1 * g
    m["v"] = 0.999 * m.get("v", 0.0) + 0.001 * g * g
    m["top"] = np.maximum(m.get("top", 0.0), m["v"]) if amsgrad else m["v"]
    return w - lr * (m["m"] / (1 - 0.9**t)) / (np.sqrt(m["top"] / (1 - 0.999**t)) + 1e-8)


def rmsprop(w: np.ndarray, g: np.ndarray, m: dict, t: int, lr: float, momentum: float, centered: bool) -> np.ndarray:
    m["v"] = 0.99 * m.get("v", 0.0) + 0.01 * g * g
    m["a"] = 0.99 * m.get("a", 0.0) + 0.01 * g
    step = g / (np.sqrt(m["v"] - m["a"] ** 2 if centered else m["v"]) + 1e-8)
    m["b"] = momentum * m.get("b", 0.0) + step
    return w - lr * m["b"]


def adagrad(w: np.ndarray, g: np.ndarray, m: dict, t: int, lr: float, lr_decay: float) -> np.ndarray:
    m["s"] = m.get("s", 0.0) + g * g
    return w - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(m["s"]) + 1e-10)


def adadelta(w: np.ndarray, g: np.ndarray, m: dict, t: int, lr: float) -> np.ndarray:
    m["v"] = 0.9 * m.get("v", 0.0) + 0.1 * g * g
    step = np.sqrt(m.get("u", 0.0) + 1e-6) / np.sqrt(m["v"] + 1e-6) * g
    m["u"] = 0.9 * m.get("u", 0.0) + 0.1 * step * step
    return w - lr * step


CASES: list[tuple[Any, Any, dict, dict]] = [
    (engine.optim.SGD, sgd, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": False}),
    (engine.optim.SGD, sgd, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "nesterov": True}),
    (engine.optim.Adam, adam, {}, {}),
    (engine.optim.Adam, adam, {"amsgrad": True}, {"amsgrad": True}),
    (engine.optim.AdamW, adam, {"weight_decay": 0.1}, {"decay": 0.1}),
    (engine.optim.RMSprop, rmsprop, {}, {"momentum": 0, "centered": False}),
    (engine.optim.RMSprop, rmsprop, {"momentum": 0.9, "centered": True}, {"momentum": 0.9, "centered": True}),
    (engine.optim.Adagrad, adagrad, {"lr_decay": 0.1}, {"lr_decay": 0.1}),
    (engine.optim.Adadelta, adadelta, {}, {}),
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("gaps", [False, True], ids=["all", "gaps"])
@pytest.mark.parametrize(("kind", "formula", "options", "known"), CASES, ids=lambda v: getattr(v, "__name__", str(v)))
def test_formula(kind: Any, formula: Any, options: dict, known: dict, gaps: bool, dtype: Any) -> None:
    start = random_arrays(SHAPES, dtype, seed=0)
    ours = [leaf(array, dtype) for array in start]
    optimizer = kind(ours, lr=0.01, **options)
    expected = [array.astype(np.float64) for array in start]
    memory: list[dict] = [{} for _ in SHAPES]
    counts = [0] * len(SHAPES)
    for grads in gradient_sequence(SHAPES, dtype, STEPS, gaps):
        give(ours, grads)
        optimizer.step()
        for i, grad in enumerate(grads):
            if grad is not None:  # a parameter without a gradient is skipped: no decay, no count
                counts[i] += 1
                expected[i] = formula(expected[i], grad.astype(np.float64), memory[i], counts[i], lr=0.01, **known)
    tolerance = 1e-12 if dtype is np.float64 else 2e-6
    for parameter, values in zip(ours, expected, strict=True):
        np.testing.assert_allclose(array_of(parameter), values, rtol=tolerance, atol=tolerance)


def test_first_adam_step_is_the_learning_rate() -> None:
    """At step 1 both corrected moments are those of one gradient: the step is lr * g / |g|, whatever its size."""
    w = leaf([1.0, -2.0, 3.0], np.float64)
    w.grad = engine.from_numpy(np.array([1e-3, -50.0, 0.0]))
    engine.optim.Adam([w], lr=0.1).step()
    np.testing.assert_allclose(array_of(w), [0.9, -1.9, 3.0], rtol=1e-5)


def test_weight_decay_of_adam_and_adamw_differ() -> None:
    """Without a gradient to speak of, Adam steps by lr against the decay term, AdamW shrinks by lr * decay."""
    for kind, expected in ((engine.optim.Adam, 2.0 - 0.1), (engine.optim.AdamW, 2.0 * (1 - 0.1 * 0.5))):
        w = leaf([2.0], np.float64)
        w.grad = engine.from_numpy(np.zeros(1))
        kind([w], lr=0.1, weight_decay=0.5).step()
        np.testing.assert_allclose(array_of(w), [expected], rtol=1e-6)


def test_maximize_climbs() -> None:
    w = leaf([1.0])
    w.grad = engine.ones(1)
    engine.optim.SGD([w], lr=0.5, maximize=True).step()
    assert w.tolist() == [1.5]


def test_lr_zero_changes_nothing_and_makes_no_nan() -> None:
    for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta"):
        w = leaf([1.0, 2.0])
        w.grad = engine.zeros(2)
        getattr(engine.optim, name)([w], lr=0.0).step()
        assert w.tolist() == [1.0, 2.0], name


def test_infinite_and_nan_gradients_pass_through_without_warnings(recwarn: Any) -> None:
    w = leaf([1.0, 1.0, 1.0])
    w.grad = engine.tensor([float("inf"), float("nan"), 1.0])
    engine.optim.Adam([w], lr=0.1).step()
    values = w.tolist()
    assert np.isnan(values[:2]).all() and values[2] == pytest.approx(0.9)
    assert not recwarn.list
