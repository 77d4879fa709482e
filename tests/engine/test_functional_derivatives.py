"""autograd.functional: against closed forms, and against torch where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

import engine
from engine.autograd import forward_ad, functional

A = np.random.default_rng(0).normal(size=(3, 3))
X = np.random.default_rng(1).normal(size=3)
V = np.random.default_rng(2).normal(size=3)


def vector_function(lib):
    a = lib.tensor(A)
    return lambda x: (a @ x).sin()


def scalar_function(lib):
    a = lib.tensor(A)
    return lambda x: ((a @ x) ** 3).sum()


def two(lib):
    return lambda x, y: (x * y.sum(), (x**2).sum())


def two_scalar(lib):
    return lambda x, y: (x * y).sum() ** 2 + (x**3).sum()


def flat(value):
    return [a for v in value for a in flat(v)] if isinstance(value, tuple) else [value.detach().numpy()]


CALLS = [
    ("jacobian", vector_function, 1, False), ("jacobian", two, 2, False), ("hessian", scalar_function, 1, False),
    ("hessian", two_scalar, 2, False), ("vjp", vector_function, 1, True), ("jvp", vector_function, 1, True),
    ("vhp", scalar_function, 1, True), ("hvp", scalar_function, 1, True), ("vjp", scalar_function, 1, False),
    ("jvp", two, 2, True), ("hvp", two_scalar, 2, True), ("vhp", two_scalar, 2, True),
]  # fmt: skip


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(("name", "function", "count", "with_v"), CALLS)
def test_equal_to_torch(name, function, count, with_v, create_graph):
    torch = pytest.importorskip("torch")
    results = []
    for lib, where in ((engine, functional), (torch, torch.autograd.functional)):
        inputs = tuple(lib.tensor(X + i, requires_grad=True) for i in range(count))
        inputs = inputs if count > 1 else inputs[0]
        v = tuple(lib.tensor(V * (i + 1)) for i in range(count))
        v = {"v": v if count > 1 else v[0]} if with_v else {}
        out = getattr(where, name)(function(lib), inputs, create_graph=create_graph, **v)
        results.append(out)
    ours, theirs = map(flat, results)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_closed_forms():
    x = engine.tensor(X)
    jacobian = functional.jacobian(vector_function(engine), x).numpy()
    np.testing.assert_allclose(jacobian, np.cos(A @ X)[:, None] * A)
    hessian = functional.hessian(scalar_function(engine), x).numpy()
    np.testing.assert_allclose(hessian, A.T @ np.diag(6 * (A @ X)) @ A)
    for name in ("hvp", "vhp"):
        value, product = getattr(functional, name)(scalar_function(engine), x, engine.tensor(V))
        np.testing.assert_allclose(product.numpy(), hessian @ V)
        np.testing.assert_allclose(value.item(), ((A @ X) ** 3).sum())
    np.testing.assert_allclose(functional.jvp(vector_function(engine), x, engine.tensor(V))[1].numpy(), jacobian @ V)
    np.testing.assert_allclose(functional.vjp(vector_function(engine), x, engine.tensor(V))[1].numpy(), V @ jacobian)


def test_results_are_differentiable_only_when_asked():
    x = engine.tensor(X, requires_grad=True)
    assert not functional.jacobian(vector_function(engine), x).requires_grad
    (functional.jacobian(lambda v: v**3, x, create_graph=True)).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 6 * X)


def test_independent_outputs_are_zeros_or_an_error_when_strict():
    x, y = engine.ones(2), engine.ones(3)
    to_y = functional.jacobian(lambda a, b: a * 2, (x, y))[1]
    assert to_y.shape == (2, 3)
    assert to_y.abs().sum().item() == 0
    with pytest.raises(RuntimeError, match="independent of input 1"):
        functional.jacobian(lambda a, b: a * 2, (x, y), strict=True)
    with pytest.raises(RuntimeError, match="require gradients"):
        functional.vjp(lambda a: engine.ones(1), x, strict=True)


def test_bad_arguments():
    x = engine.ones(2)
    with pytest.raises(RuntimeError, match="are not supported together"):
        functional.jacobian(lambda a: a, x, vectorize=True, strict=True)
    with pytest.raises(NotImplementedError, match="are not supported together"):
        functional.jacobian(lambda a: a, x, create_graph=True, strategy="forward-mode")
    with pytest.raises(ValueError, match="forward-mode"):
        functional.hessian(lambda a: a.sum(), x, outer_jacobian_strategy="sideways")
    with pytest.raises(RuntimeError, match="single element"):
        functional.hessian(lambda a: a, x)
    with pytest.raises(RuntimeError, match="can only be None"):
        functional.vjp(lambda a: a, x)
    with pytest.raises(RuntimeError, match="invalid size"):
        functional.vjp(lambda a: a, x, engine.ones(3))
    with pytest.raises(TypeError, match="must be Tensors"):
        functional.jacobian(lambda a: a, 3.0)


def test_vectorized_and_forward_strategies_give_the_same():
    x = engine.tensor([0.5, -1.0, 2.0])
    plain = functional.jacobian(lambda a: a.sin() * a.sum(), x)
    for strategy in ("reverse-mode", "forward-mode"):
        assert engine.equal(functional.jacobian(lambda a: a.sin() * a.sum(), x, vectorize=True, strategy=strategy), plain)


def test_rows_of_gradients_at_once():
    x = engine.tensor([0.5, -1.0, 2.0], requires_grad=True)
    out = x.sin() * x.sum()
    rows, = engine.autograd.grad(out, x, engine.eye(3), is_grads_batched=True)
    assert engine.allclose(rows, functional.jacobian(lambda a: a.sin() * a.sum(), x.detach()))
    with pytest.raises(RuntimeError, match="first dimension"):
        engine.autograd.grad(out, x, None, is_grads_batched=True)


class TestDualNumbers:
    def test_tangents(self):
        x, y, v = engine.tensor([1.0, 2.0]), engine.tensor([3.0, 4.0]), engine.tensor([1.0, -1.0])
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(x, v)
            primal, tangent = forward_ad.unpack_dual(dual * dual * y)
            assert primal.tolist() == [3, 16] and tangent.tolist() == [6, -16]
            assert forward_ad.unpack_dual(dual).tangent is v
            assert forward_ad.unpack_dual(y * 2).tangent is None
            other = forward_ad.make_dual(y, v)
            assert forward_ad.unpack_dual(dual * other).tangent.tolist() == [4, -6]
        assert forward_ad.unpack_dual(dual).tangent is None

    def test_of_a_network(self):
        net = engine.nn.Sequential(engine.nn.Linear(3, 4), engine.nn.Tanh(), engine.nn.Linear(4, 2)).double()
        x, v = engine.randn(2, 3, dtype=engine.float64), engine.randn(2, 3, dtype=engine.float64)
        with forward_ad.dual_level():
            tangent = forward_ad.unpack_dual(net(forward_ad.make_dual(x, v))).tangent
        assert engine.allclose(tangent, (net(x + 1e-6 * v) - net(x - 1e-6 * v)) / 2e-6, atol=1e-7)

    def test_errors(self):
        with pytest.raises(RuntimeError, match="outside of a forward AD level"):
            forward_ad.make_dual(engine.ones(1), engine.ones(1))
        with forward_ad.dual_level():
            with pytest.raises(RuntimeError, match="Nested forward mode"), forward_ad.dual_level():
                pass
            with pytest.raises(RuntimeError, match="same shape and dtype"):
                forward_ad.make_dual(engine.ones(1), engine.ones(2))
