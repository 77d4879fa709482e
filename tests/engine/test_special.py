"""engine.special beside torch.special: values, gradients, and what is not there."""

from __future__ import annotations

import numpy as np
import pytest

import engine

X = np.array([-30.0, -12.0, -10.0, -6.0, -5.0, -1.3, -0.2, 0.4, 1.0, 2.5, 7.0])
UNIT = np.array([0.01, 0.2, 0.5, 0.77, 0.99])
POSITIVE = np.array([0.1, 0.5, 1.0, 3.3])
CASES = {
    "expit": X, "gammaln": POSITIVE, "psi": POSITIVE, "entr": np.array([0.1, 0.7, 1.5]), "i0e": X, "i1": X[2:], "i1e": X,
    "ndtr": X, "ndtri": UNIT, "log_ndtr": X, "erf": X, "sinc": X, "logit": UNIT, "expm1": X,
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_torchs(name):
    torch = pytest.importorskip("torch")
    results = []
    for lib in (engine, torch):
        x = lib.tensor(CASES[name], requires_grad=True)
        y = getattr(lib.special, name)(x)
        y.sum().backward()
        results.append((y.detach().numpy(), x.grad.numpy()))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-9, atol=1e-16)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-7, atol=1e-12)


def test_edges():
    assert engine.special.entr(engine.tensor([-1.0, 0.0])).tolist() == [-np.inf, 0]
    x, y = engine.tensor([0.0, 0.0, 2.0]), engine.tensor([-1.0, float("nan"), 1.0])
    found = engine.special.xlog1py(x, y).tolist()
    assert found[0] == 0 and np.isnan(found[1]) and found[2] == pytest.approx(2 * np.log(2))
    assert engine.special.xlog1py(2, engine.tensor([0.0])).tolist() == [0]
    assert engine.special.i1(engine.tensor([1])).dtype is engine.float32
    assert engine.special.softmax(engine.zeros(2), 0).tolist() == [0.5, 0.5]


def test_unknown_names_get_a_suggestion():
    with pytest.raises(AttributeError, match="Did you mean 'expit'"):
        _ = engine.special.exxpit


# Values by SciPy: (function, argument, value). torch's own Bessel functions keep only about 7 digits.
EXACT = (
    ("bessel_j0", 3.5, -0.38012773998726346), ("bessel_j0", 40.0, 0.007366890584236951),
    ("bessel_j1", -7.25, -0.0685817006531318), ("bessel_y0", 0.25, -0.9315730249300588),
    ("bessel_y1", 30.0, 0.08442557066174713), ("airy_ai", -12.5, -0.2762745613811602),
    ("airy_ai", 2.5, 0.015725923380470484), ("modified_bessel_k0", 0.01, 4.721244730161095),
    ("modified_bessel_k1", 11.0, 6.520860674580887e-06), ("erfcx", 8.0, 0.06998516620088094),
    ("erfcx", -3.0, 16205.988853999586), ("spherical_bessel_j0", 1e-4, 0.9999999983333333),
)


@pytest.mark.parametrize(("name", "x", "value"), EXACT)
def test_values_to_many_digits(name, x, value):
    got = getattr(engine.special, name)(engine.tensor(x, dtype=engine.float64)).item()
    assert got == pytest.approx(value, rel=3e-12)


@pytest.mark.parametrize("name", ["bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "modified_bessel_k0",
                                  "modified_bessel_k1", "scaled_modified_bessel_k0", "scaled_modified_bessel_k1",
                                  "spherical_bessel_j0", "airy_ai", "erfcx", "modified_bessel_i0", "modified_bessel_i1"])
def test_rare_functions_follow_torch_also_at_the_edges(name):
    torch = pytest.importorskip("torch")
    points = [*np.linspace(-12, 12, 49), 40.0, 1e-9, np.inf, -np.inf, np.nan]
    got = getattr(engine.special, name)(engine.tensor(points, dtype=engine.float64)).numpy()
    expected = getattr(torch.special, name)(torch.tensor(points, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=2e-6)


def test_incomplete_gamma_over_many_sizes():
    torch = pytest.importorskip("torch")
    numbers = np.random.default_rng(0)
    a = np.concatenate([numbers.uniform(0, 20, 200), 10 ** numbers.uniform(1, 7, 100), [0, 0, 1, np.inf, 2, -1, 1]])
    x = np.concatenate([numbers.uniform(0, 30, 200), a[200:300] * (1 + 2 / np.sqrt(a[200:300])), [0, 1, 0, 1, np.inf, 1, -1]])
    for name in ("gammainc", "gammaincc"):
        got = getattr(engine.special, name)(engine.tensor(a), engine.tensor(x)).numpy()
        expected = getattr(torch.special, name)(torch.tensor(a), torch.tensor(x)).numpy()
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


def test_what_has_no_gradient_says_so():
    for call, argument in ((lambda t: engine.special.zeta(t, 2.0), "self"),
                           (lambda t: engine.igamma(t, engine.ones(1)), "input"),
                           (lambda t: engine.special.legendre_polynomial_p(t, 2), "x")):
        t = engine.tensor([3.0], requires_grad=True)
        with pytest.raises(NotImplementedError, match=f"derivative for '{argument}'"):
            call(t).backward()
