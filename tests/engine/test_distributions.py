"""Distributions: draws, log-probabilities, moments and gradients as torch's; checks, expansion, transforms, divergences."""

from __future__ import annotations

import math
import pickle
import warnings

import numpy as np
import pytest

import engine
from engine import distributions as D
from engine.distributions import constraints, transforms

rng = np.random.RandomState(0)


def positive(*shape: int) -> np.ndarray:
    return rng.rand(*shape) * 2 + 0.3


def real(*shape: int) -> np.ndarray:
    return rng.randn(*shape)


def definite(n: int) -> np.ndarray:
    a = rng.randn(n, n)
    return a @ a.T + n * np.eye(n)


LIMITS = np.array([[0.1, 0.5], [0.9, 0.49], [0.4995, 0.7]])
CASES = {
    "Normal": {"loc": real(3, 2), "scale": positive(3, 2)},
    "LogNormal": {"loc": real(3, 2), "scale": positive(3, 2)},
    "Uniform": {"low": real(3, 2), "high": real(3, 2) + 6},
    "Laplace": {"loc": real(3, 2), "scale": positive(3, 2)},
    "Cauchy": {"loc": real(3, 2), "scale": positive(3, 2)},
    "Exponential": {"rate": positive(3, 2)},
    "GeneralizedPareto": {"loc": real(3, 2), "scale": positive(3, 2), "concentration": real(3, 2) * 0.3},
    "VonMises": {"loc": real(3, 2), "concentration": positive(3, 2)},
    "Gamma": {"concentration": positive(3, 2), "rate": positive(3, 2)},
    "Chi2": {"df": positive(3, 2) * 3},
    "Dirichlet": {"concentration": positive(3, 4)},
    "Beta": {"concentration1": positive(3, 2) * 2, "concentration0": positive(3, 2) * 2},
    "FisherSnedecor": {"df1": positive(3, 2) * 5, "df2": positive(3, 2) * 6},
    "StudentT": {"df": positive(3, 2) * 3, "loc": real(3, 2), "scale": positive(3, 2)},
    "Bernoulli": {"probs": rng.rand(3, 2)},
    "Geometric": {"probs": rng.rand(3, 2)},
    "Poisson": {"rate": positive(3, 2) * 6},
    "Binomial": {"total_count": 7, "logits": real(3, 2)},
    "NegativeBinomial": {"total_count": positive(3, 2) * 4, "probs": rng.rand(3, 2) * 0.8},
    "ContinuousBernoulli": {"probs": LIMITS},
    "Categorical": {"probs": positive(3, 4)},
    "OneHotCategorical": {"logits": real(3, 4)},
    "OneHotCategoricalStraightThrough": {"probs": positive(3, 4)},
    "Multinomial": {"total_count": 6, "probs": positive(3, 4)},
    "MultivariateNormal": {"loc": real(2, 3), "covariance_matrix": definite(3)},
    "LowRankMultivariateNormal": {"loc": real(2, 3), "cov_factor": real(3, 2), "cov_diag": positive(3)},
    "Wishart": {"df": np.array([4.5, 6.0]), "covariance_matrix": definite(3)},
    "LKJCholesky": {"dim": 3, "concentration": positive(2)},
    "Gumbel": {"loc": real(3, 2), "scale": positive(3, 2)},
    "HalfNormal": {"scale": positive(3, 2)},
    "HalfCauchy": {"scale": positive(3, 2)},
    "InverseGamma": {"concentration": positive(3, 2) * 2, "rate": positive(3, 2)},
    "Kumaraswamy": {"concentration1": positive(3, 2) * 2, "concentration0": positive(3, 2) * 2},
    "Pareto": {"scale": positive(3, 2), "alpha": positive(3, 2) * 2},
    "Weibull": {"scale": positive(3, 2), "concentration": positive(3, 2) * 2},
    "LogisticNormal": {"loc": real(3, 2), "scale": positive(3, 2)},
    "RelaxedBernoulli": {"temperature": np.array(0.7), "probs": rng.rand(3, 2)},
    "RelaxedOneHotCategorical": {"temperature": np.array(0.7), "logits": real(3, 4)},
}
# torch's own approximations: polynomials for Bessel functions, float32 log-gammas, three formulas for gamma gradients.
LOOSE = {"VonMises": 1e-6, "Multinomial": 1e-6}
GAMMA_MADE = {"Gamma", "Chi2", "Beta", "Dirichlet", "StudentT", "FisherSnedecor", "InverseGamma", "Wishart"}
OTHER_DRAWS = {"Wishart"}  # torch takes every draw for a singular one, and draws again
DERIVED = ("mean", "mode", "variance", "stddev")


def build(module, tensor, name: str, dtype: str = "d", grad: bool = False):
    given = {}
    for key, value in CASES[name].items():
        array = isinstance(value, np.ndarray)
        given[key] = tensor(value.astype(dtype), requires_grad=grad) if array else value
    return getattr(module, name)(**given), given


def pair(name: str, dtype: str = "d", grad: bool = False):
    torch = pytest.importorskip("torch")
    return build(D, engine.tensor, name, dtype, grad), build(torch.distributions, torch.tensor, name, dtype, grad)


def seed(number: int) -> None:
    engine.manual_seed(number)
    pytest.importorskip("torch").manual_seed(number)


def close(a, b, tolerance: float = 2e-6) -> None:
    np.testing.assert_allclose(np.asarray(a.detach()), b.detach().numpy(), rtol=tolerance, atol=tolerance)


def present(distribution, what: str):
    """What the distribution has under this name, or None."""
    try:
        return getattr(distribution, what)
    except NotImplementedError:
        return None


@pytest.mark.parametrize("dtype", ["d", "f"])
@pytest.mark.parametrize("name", CASES)
def test_same_draws_log_probs_and_moments_as_torch(name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    (p, given), (q, theirs) = pair(name, dtype, grad=True)
    tolerance = LOOSE.get(name, 1e-8) if dtype == "d" else 5e-5
    assert (p.batch_shape, p.event_shape) == (tuple(q.batch_shape), tuple(q.event_shape))
    assert (p.has_rsample, p.has_enumerate_support) == (q.has_rsample, q.has_enumerate_support)
    assert repr(p) == repr(q)
    seed(3)
    x, y = p.sample((4,)), q.sample((4,))
    assert str(x.dtype) == str(y.dtype) and not x.requires_grad
    if name not in OTHER_DRAWS:
        close(x, y, tolerance)
    for what in DERIVED:
        if present(q, what) is not None:
            close(present(p, what), present(q, what), tolerance)
    if name == "GeneralizedPareto" and dtype == "d":
        return  # torch's formula takes float32 only
    ours, reference = p.log_prob(x), q.log_prob(torch.tensor(np.asarray(x)))
    close(ours, reference, 10 * tolerance)
    ours.sum().backward()
    reference.sum().backward()
    for key, parameter in theirs.items():
        if getattr(parameter, "grad", None) is not None:
            close(given[key].grad, parameter.grad, 100 * tolerance)


@pytest.mark.parametrize("name", CASES)
def test_entropies_cumulative_functions_and_supports_as_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    (p, _), (q, _) = pair(name, "f" if name == "GeneralizedPareto" else "d")
    x = p.sample((4,))
    u = rng.rand(*x.shape).astype(np.asarray(x).dtype)
    y = torch.tensor(np.asarray(x))
    calls = {
        "entropy": (lambda: p.entropy(), lambda: q.entropy()),
        "cdf": (lambda: p.cdf(x), lambda: q.cdf(y)),
        "icdf": (lambda: p.icdf(engine.tensor(u)), lambda: q.icdf(torch.tensor(u))),
        "enumerate_support": (lambda: p.enumerate_support(), lambda: q.enumerate_support()),
    }
    for ours, theirs in calls.values():
        try:
            wanted = theirs()
        except NotImplementedError:
            continue
        close(ours(), wanted, 1e-5)


@pytest.mark.parametrize("name", CASES)
def test_expanded_distributions_are_the_same_in_more_places(name: str) -> None:
    p, _ = build(D, engine.tensor, name, "f" if name == "GeneralizedPareto" else "d")
    wide = p.expand((5, *p.batch_shape))
    assert wide.batch_shape == (5, *p.batch_shape) and wide.event_shape == p.event_shape
    x = p.sample()
    close_arrays(wide.log_prob(x), p.log_prob(x).expand(wide.batch_shape))
    assert wide.sample((2,)).shape == (2, *wide.batch_shape, *wide.event_shape)


def close_arrays(a, b) -> None:
    np.testing.assert_allclose(np.asarray(a.detach()), np.asarray(b.detach()), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", [name for name in CASES if name not in OTHER_DRAWS])
def test_gradients_through_draws_as_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    if not getattr(D, name).has_rsample and name not in ("Gumbel", "Pareto", "Weibull"):
        pytest.skip("no rsample")
    (p, given), (q, theirs) = pair(name, grad=True)
    seed(4)
    a, b = p.rsample((3,)), q.rsample((3,))
    weights = rng.rand(*a.shape)
    (a * engine.tensor(weights)).sum().backward()
    (b * torch.tensor(weights)).sum().backward()
    for key, parameter in theirs.items():
        if getattr(parameter, "grad", None) is not None:
            close(given[key].grad, parameter.grad, 2e-3 if name in GAMMA_MADE else 1e-7)


@pytest.mark.parametrize("p", [name for name in CASES if name not in ("LKJCholesky", "GeneralizedPareto")])
def test_divergences_as_torch(p: str) -> None:
    torch = pytest.importorskip("torch")
    compared = 0
    for q in CASES:
        if (p, q) == ("ContinuousBernoulli", "Uniform"):
            continue  # torch says infinite where it is not
        ours = build(D, engine.tensor, p)[0], build(D, engine.tensor, q)[0]
        theirs = build(torch.distributions, torch.tensor, p)[0], build(torch.distributions, torch.tensor, q)[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                wanted = torch.distributions.kl_divergence(*theirs)
            except (NotImplementedError, RuntimeError):  # no formula; shapes that do not broadcast
                continue
            close(D.kl_divergence(*ours), wanted, 1e-7)
        compared += 1
    if p in ("Beta", "Normal", "Gamma", "Uniform", "Exponential"):
        assert compared > 5


def test_divergence_from_continuous_bernoulli_to_a_wider_uniform_is_finite() -> None:
    p, q = D.ContinuousBernoulli(engine.tensor([0.3])), D.Uniform(engine.tensor([-1.0]), engine.tensor([2.0]))
    assert D.kl_divergence(p, q).tolist() == pytest.approx([math.log(3) - p.entropy().item()])


@pytest.mark.parametrize("shape", [0.3, 1.0, 4.0, 60.0, 250.0])
def test_gamma_slopes_against_scipy(shape: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    from engine.distributions.pathwise import gamma_slope

    x = stats.gamma.ppf(np.array([0.01, 0.3, 0.7, 0.99]), shape)
    h = 1e-4 * shape
    quantile = stats.gamma.cdf(x, shape)
    wanted = (stats.gamma.ppf(quantile, shape + h) - stats.gamma.ppf(quantile, shape - h)) / (2 * h)
    np.testing.assert_allclose(gamma_slope(x, np.full(4, shape)), wanted, rtol=1e-4)


TRANSFORMS = {
    "exp": (lambda t, f: t.ExpTransform(), (3, 2)),
    "sigmoid": (lambda t, f: t.SigmoidTransform(), (3, 2)),
    "softplus": (lambda t, f: t.SoftplusTransform(), (3, 2)),
    "tanh": (lambda t, f: t.TanhTransform(), (3, 2)),
    "affine": (lambda t, f: t.AffineTransform(f([1.0, 2.0]), f([-3.0, 0.5])), (3, 2)),
    "affine of vectors": (lambda t, f: t.AffineTransform(0.5, 2.0, event_dim=1), (3, 2)),
    "composition": (lambda t, f: t.ComposeTransform([t.AffineTransform(0.5, 2.0), t.ExpTransform()]), (3, 2)),
    "independent": (lambda t, f: t.IndependentTransform(t.ExpTransform(), 1), (3, 2)),
    "stick breaking": (lambda t, f: t.StickBreakingTransform(), (3, 4)),
    "cholesky of correlations": (lambda t, f: t.CorrCholeskyTransform(), (3, 6)),
    "reshape": (lambda t, f: t.ReshapeTransform((4,), (2, 2)), (3, 4)),
    "cat": (lambda t, f: t.CatTransform([t.ExpTransform(), t.TanhTransform()], -1, [1, 2]), (4, 3)),
    "stack": (lambda t, f: t.StackTransform([t.ExpTransform(), t.TanhTransform()], -1), (4, 2)),
    "distribution function": (lambda t, f: t.CumulativeDistributionTransform(
        (D if t is transforms else pytest.importorskip("torch").distributions).Normal(f(0.0), f(1.0))), (3,)),
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_as_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    make, shape = TRANSFORMS[name]
    ours = make(transforms, lambda v: engine.tensor(v, dtype=engine.float64))
    theirs = make(torch.distributions.transforms, lambda v: torch.tensor(v, dtype=torch.float64))
    x = rng.randn(*shape)
    a, b = engine.tensor(x), torch.tensor(x)
    close(ours(a), theirs(b), 1e-9)
    close(ours.inv(ours(a)), a, 1e-7)
    close(ours.log_abs_det_jacobian(a, ours(a)), theirs.log_abs_det_jacobian(b, theirs(b)), 1e-8)
    close(ours.inv.log_abs_det_jacobian(ours(a), a), theirs.inv.log_abs_det_jacobian(theirs(b), b), 1e-8)
    assert tuple(ours.forward_shape(a.shape)) == ours(a).shape and tuple(ours.inverse_shape(ours(a).shape)) == a.shape
    assert ours.inv.inv is ours and ours == ours.with_cache(0)
    assert ours.domain.event_dim == theirs.domain.event_dim and ours.codomain.event_dim == theirs.codomain.event_dim


def test_a_cached_transform_gives_back_the_very_same_input() -> None:
    tanh = transforms.TanhTransform(cache_size=1)
    x = engine.tensor([20.0])  # tanh(20) is 1 in float32: without the cache its inverse is infinite
    assert tanh.inv(tanh(x)) is x
    assert transforms.TanhTransform().inv(transforms.TanhTransform()(x)).isinf().all()


def test_a_transformed_distribution_has_the_density_of_its_formula() -> None:
    base = D.Normal(engine.zeros(2), engine.ones(2))
    made = D.TransformedDistribution(base, [transforms.AffineTransform(1.0, 2.0), transforms.ExpTransform()])
    formula = D.LogNormal(engine.ones(2), 2 * engine.ones(2))
    x = formula.sample((5,))
    close_arrays(made.log_prob(x), formula.log_prob(x))
    close_arrays(made.cdf(x), formula.cdf(x))
    with pytest.raises(ValueError, match="list"):
        D.TransformedDistribution(base, "exp")


@pytest.mark.parametrize("registry", [D.biject_to, D.transform_to])
@pytest.mark.parametrize(
    "constraint",
    [constraints.real, constraints.positive, constraints.nonnegative, constraints.unit_interval, constraints.simplex,
     constraints.interval(-2.0, 3.0), constraints.greater_than(1.0), constraints.less_than(-1.0),
     constraints.independent(constraints.positive, 1), constraints.corr_cholesky],
    ids=repr,
)  # fmt: skip
def test_transforms_of_constraints_lead_into_them(registry, constraint) -> None:
    y = registry(constraint)(engine.randn(4, 3))
    assert constraint.check(y).all()


def test_matrix_constraints() -> None:
    x = engine.randn(2, 3, 3)
    for constraint in (constraints.lower_cholesky, constraints.positive_definite):
        assert constraint.check(D.transform_to(constraint)(x)).tolist() == [True, True]
        assert constraint.check(x).tolist() == [False, False]
    with pytest.raises(NotImplementedError, match="OneHot"):
        D.biject_to(constraints.one_hot)


def test_mixture_as_torch() -> None:
    torch = pytest.importorskip("torch")
    weights, loc, scale = rng.rand(3, 4), rng.randn(3, 4, 2), rng.rand(3, 4, 2) + 0.5

    def make(d, t):
        parts = d.Independent(d.Normal(t(loc), t(scale)), 1)
        return d.MixtureSameFamily(d.Categorical(t(weights)), parts)

    p, q = make(D, engine.tensor), make(torch.distributions, torch.tensor)
    seed(0)
    x, y = p.sample((5,)), q.sample((5,))
    close(x, y)
    close(p.log_prob(x), q.log_prob(y))
    close(p.mean, q.mean)
    close(p.variance, q.variance)
    assert repr(p) == repr(q)
    assert p.expand((2, 3)).sample().shape == (2, 3, 2)
    with pytest.raises(ValueError, match="component"):
        D.MixtureSameFamily(D.Categorical(engine.ones(3)), D.Normal(engine.zeros(4), 1.0))


def test_singular_scatter_matrices_are_not_drawn() -> None:
    engine.manual_seed(0)
    wishart = D.Wishart(engine.tensor(4.0), engine.eye(3))
    draws = wishart.sample((2000,))
    assert constraints.positive_definite.check(draws).all()
    np.testing.assert_allclose(np.asarray(draws.mean(0)), 4 * np.eye(3), atol=0.3)


def test_natural_parameters_give_entropy_and_divergence() -> None:
    for name in ("Gamma", "Exponential", "Bernoulli", "Normal"):
        p, _ = build(D, engine.tensor, name)
        close_arrays(D.ExponentialFamily.entropy(p), p.entropy())
    with pytest.raises(NotImplementedError, match="Poisson"):
        D.Poisson(1.0).entropy()
    p, q = D.Wishart(engine.tensor(5.0), engine.eye(2)), D.Wishart(engine.tensor(6.0), engine.eye(2) * 2)
    assert D.kl_divergence(p, q) > 0 and abs(D.kl_divergence(p, p)) < 1e-5


def test_a_distribution_survives_pickling() -> None:
    p = pickle.loads(pickle.dumps(D.LogNormal(engine.zeros(2), engine.ones(2))))
    assert p.log_prob(engine.ones(2)).shape == (2,)


def test_a_distribution_of_ones_own_expands_and_validates() -> None:
    class Triangle(D.Distribution):
        arg_constraints = {"width": constraints.positive}
        support = constraints.real

        def __init__(self, width, validate_args=None):
            self.width = width
            super().__init__(width.shape, validate_args=validate_args)

        def log_prob(self, value):
            self._validate_sample(value)
            return (1 - value.abs() / self.width).log() - self.width.log()

    assert Triangle(engine.ones(2)).expand((3, 2)).log_prob(engine.zeros(2)).shape == (3, 2)
    with pytest.raises(ValueError, match="Triangle.*GreaterThan"):
        Triangle(engine.tensor([-1.0]))
    with pytest.raises(ValueError, match="broadcastable"):
        Triangle(engine.ones(2)).log_prob(engine.zeros(3))
    assert Triangle(engine.tensor([-1.0]), validate_args=False).width.item() == -1


def test_validation_can_be_turned_off_for_all() -> None:
    D.Distribution.set_default_validate_args(False)
    try:
        D.Normal(0.0, -1.0)
    finally:
        D.Distribution.set_default_validate_args(True)
    with pytest.raises(ValueError, match="scale"):
        D.Normal(0.0, -1.0)


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
        (lambda: D.kl_divergence(D.Normal(0.0, 1.0), D.Poisson(1.0)), NotImplementedError, "Normal and q type Poisson"),
    ],
)
def test_bad_input(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call()
