"""Distributions: draws and log-probabilities as torch's, checks, derived quantities, divergences."""

from __future__ import annotations

import math

import numpy as np
import pytest

import engine
from engine import distributions as D

CASES = {
    "Normal": ((0.5, 2.0), {}),
    "LogNormal": ((0.1, 0.5), {}),
    "Uniform": ((-1.0, 2.0), {}),
    "Laplace": ((0.5, 2.0), {}),
    "Exponential": ((1.5,), {}),
    "Bernoulli": ((0.3,), {}),
    "Geometric": ((0.3,), {}),
}


def close(a, b) -> None:
    np.testing.assert_allclose(np.asarray(a.detach()), b.detach().numpy(), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("name", CASES)
def test_same_draws_log_probs_and_moments_as_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(D, name), getattr(torch.distributions, name)
    values = [np.full((3, 2), v, np.float32) * np.linspace(0.5, 1.0, 6, dtype=np.float32).reshape(3, 2)
              for v in CASES[name][0]]
    p, q = ours(*map(engine.tensor, values)), theirs(*map(torch.tensor, values))
    engine.manual_seed(5)
    torch.manual_seed(5)
    x, y = p.sample((4,)), q.sample((4,))
    close(x, y)
    close(p.log_prob(x), q.log_prob(y))
    close(p.mean, q.mean)
    close(p.variance, q.variance)
    close(p.entropy(), q.entropy())


@pytest.mark.parametrize("given", ["probs", "logits"])
@pytest.mark.parametrize("name", ["Categorical", "OneHotCategorical"])
def test_categoricals_as_torch(name: str, given: str) -> None:
    torch = pytest.importorskip("torch")
    table = np.array([[0.1, 0.2, 0.7], [3.0, 0.5, 0.5]], np.float32)
    p, q = getattr(D, name)(**{given: engine.tensor(table)}), getattr(torch.distributions, name)(**{given: torch.tensor(table)})
    engine.manual_seed(1)
    torch.manual_seed(1)
    x, y = p.sample((5,)), q.sample((5,))
    close(x, y)
    close(p.log_prob(x), q.log_prob(y))
    close(p.entropy(), q.entropy())
    close(p.probs, q.probs)


def test_gradients_reach_the_parameters_through_rsample_only() -> None:
    loc = engine.zeros(2, requires_grad=True)
    normal = D.Normal(loc, engine.ones(2))
    assert not normal.sample().requires_grad
    normal.rsample((3,)).sum().backward()
    assert loc.grad.tolist() == [3.0, 3.0]


def test_independent_sums_over_the_event() -> None:
    normal = D.Normal(engine.zeros(3, 2), engine.ones(3, 2))
    joint = D.Independent(normal, 1)
    assert joint.batch_shape == (3,) and joint.event_shape == (2,)
    assert joint.log_prob(engine.zeros(3, 2)).tolist() == pytest.approx([-math.log(2 * math.pi)] * 3)
    assert joint.entropy().shape == (3,)
    with pytest.raises(ValueError, match="3 vs 2"):
        D.Independent(normal, 3)


@pytest.mark.parametrize(
    ("p", "q"),
    [
        (lambda d, t: d.Normal(t([0.0]), t([1.0])), lambda d, t: d.Normal(t([1.0]), t([2.0]))),
        (lambda d, t: d.Categorical(t([0.2, 0.8])), lambda d, t: d.Categorical(t([0.5, 0.5]))),
        (lambda d, t: d.Bernoulli(t([0.2])), lambda d, t: d.Bernoulli(t([0.7]))),
        (lambda d, t: d.Uniform(t([0.2]), t([0.5])), lambda d, t: d.Uniform(t([0.0]), t([1.0]))),
        (lambda d, t: d.Exponential(t([0.2])), lambda d, t: d.Exponential(t([0.7]))),
    ],
)
def test_divergences_as_torch(p, q) -> None:
    torch = pytest.importorskip("torch")
    ours = D.kl_divergence(p(D, engine.tensor), q(D, engine.tensor))
    close(ours, torch.distributions.kl_divergence(p(torch.distributions, torch.tensor), q(torch.distributions, torch.tensor)))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: D.Normal(engine.tensor([0.0]), engine.tensor([-1.0])), ValueError, "scale"),
        (lambda: D.Normal(engine.tensor([math.nan]), 1.0), ValueError, "loc"),
        (lambda: D.Uniform(1.0, 0.0), ValueError, "low"),
        (lambda: D.Categorical(), ValueError, "Either"),
        (lambda: D.Categorical(engine.tensor([-0.5, 1.0])), ValueError, "Simplex"),
        (lambda: D.Categorical(logits=engine.tensor([math.nan, 1.0])), ValueError, "logits"),
        (lambda: D.Categorical(engine.ones(2)).log_prob(engine.tensor(2)), ValueError, "support"),
        (lambda: D.Bernoulli(engine.tensor([1.5])), ValueError, "probs"),
        (lambda: D.Normal("a", 1.0), ValueError, "str"),
        (lambda: D.Categorical(engine.ones(2)).rsample(), NotImplementedError, "sample"),
        (lambda: D.kl_divergence(D.Normal(0.0, 1.0), D.Uniform(0.0, 1.0)), NotImplementedError, "Normal-Normal"),
    ],
)
def test_bad_input(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call()
