"""L-BFGS beside torch's, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

import engine
from engine.optim import LBFGS


def rosenbrock_path(torch, line_search_fn: str | None, steps: int) -> list:
    w = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([w], lr=0.002 if line_search_fn is None else 1.0, max_iter=5, history_size=4,
                                  line_search_fn=line_search_fn)
    path = []

    def closure():
        optimizer.zero_grad()
        loss = (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
        loss.backward()
        path.append(loss.item())
        return loss

    for _ in range(steps):
        optimizer.step(closure)
        path.extend(w.tolist())
    return path


@pytest.mark.parametrize("line_search_fn", [None, "strong_wolfe"])
def test_every_evaluation_is_torchs(line_search_fn: str | None) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = rosenbrock_path(engine, line_search_fn, 6), rosenbrock_path(torch, line_search_fn, 6)
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)


def test_the_line_search_finds_the_minimum() -> None:
    path = rosenbrock_path(engine, "strong_wolfe", 20)
    assert path[-2:] == pytest.approx([1.0, 1.0], abs=1e-5)


def test_state_dict_continues_the_run() -> None:
    def run(interrupted: bool) -> list:
        w = engine.tensor([3.0, -4.0], dtype=engine.float64, requires_grad=True)
        optimizer = LBFGS([w], lr=0.1, max_iter=3)

        def closure():
            optimizer.zero_grad()
            loss = (w**4).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        if interrupted:
            state = optimizer.state_dict()
            optimizer = LBFGS([w])
            optimizer.load_state_dict(state)
        optimizer.step(closure)
        return w.tolist()

    assert run(True) == run(False)


def test_refusals() -> None:
    w = engine.ones(1, requires_grad=True)
    with pytest.raises(ValueError, match="parameter groups"):
        LBFGS([{"params": [w]}, {"params": [engine.ones(1, requires_grad=True)]}])
    with pytest.raises(ValueError, match="learning rate"):
        LBFGS([w], lr=-1)
    with pytest.raises(TypeError, match="closure"):
        LBFGS([w]).step()
    optimizer = LBFGS([w], line_search_fn="armijo")

    def closure():
        optimizer.zero_grad()
        loss = (w * 3).sum()
        loss.backward()
        return loss

    with pytest.raises(RuntimeError, match="strong_wolfe"):
        optimizer.step(closure)


@pytest.mark.parametrize("max_iter", [1, 2, 4])
def test_line_search_stays_within_the_evaluations_of_a_step(max_iter):
    """With a small first step the Wolfe conditions take many evaluations: `max_eval` ends the search, as in torch."""
    torch = pytest.importorskip("torch")
    found = []
    for lib in (engine, torch):
        w = lib.tensor([3.0, -2.0, 0.5], dtype=lib.float64, requires_grad=True)
        optimizer = lib.optim.LBFGS([w], lr=1e-3, max_iter=max_iter, line_search_fn="strong_wolfe")
        losses = []

        def closure(lib=lib, w=w, optimizer=optimizer, losses=losses):
            optimizer.zero_grad()
            loss = ((w - 1) ** 4).sum() + (w[0] * w[1]) ** 2
            loss.backward()
            losses.append(loss.item())
            return loss

        for _ in range(3):
            optimizer.step(closure)
        found.append(losses)
    assert len(found[0]) == len(found[1])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9)
