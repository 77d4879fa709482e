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


def test_names_that_are_not_there():
    with pytest.raises(AttributeError, match="HINT"):
        _ = engine.special.zeta
    assert not hasattr(engine.special, "gammainc")
    with pytest.raises(AttributeError, match="Did you mean 'expit'"):
        _ = engine.special.exxpit
