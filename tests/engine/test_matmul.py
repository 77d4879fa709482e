"""Matrix products: errors with torch's facts, dtypes, layouts and subscripts that samples cannot say."""

from __future__ import annotations

import numpy as np
import pytest

import engine

SHAPES = [((3,), (4,)), ((2, 3), (4,)), ((3,), (4, 5)), ((2, 3), (4, 5)), ((2, 3, 4), (5, 6)), ((2, 3, 4), (2, 5, 6)),
          ((2, 3, 4), (3, 4, 6)), ((2, 3, 4), (5,)), ((3,), (2, 4, 5)), ((), (3,))]


@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_matmul_says_what_torch_says_about_sizes_that_do_not_fit(left, right):
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as theirs:
        torch.zeros(left) @ torch.zeros(right)
    with pytest.raises(RuntimeError) as ours:
        engine.zeros(left) @ engine.zeros(right)
    assert str(ours.value) == str(theirs.value)


def test_integers_times_floats_are_promoted():
    assert (engine.ones(2, 2, dtype=engine.int64) @ engine.ones(2, 2)).dtype is engine.float32


def test_two_floating_dtypes_are_refused():
    with pytest.raises(RuntimeError, match=r"same dtype, but got: torch.float64 != torch.float32"):
        engine.ones(2, 2, dtype=engine.float64) @ engine.ones(2, 2)


def test_linear_names_both_shapes():
    with pytest.raises(RuntimeError, match=r"mat1 and mat2 shapes cannot be multiplied \(4x3 and 5x2\)"):
        engine.nn.functional.linear(engine.zeros(4, 3), engine.zeros(2, 5))
    with pytest.raises(TypeError, match="must be Tensor, not list"):
        engine.nn.functional.linear([1.0], engine.zeros(2, 5))


def test_linear_weight_gradient_is_row_major_in_the_weights_shape():
    x, w = engine.ones(4, 3), engine.ones(2, 3, requires_grad=True)
    engine.nn.functional.linear(x, w, engine.zeros(2)).sum().backward()
    assert w.grad.shape == (2, 3)
    assert w.grad.is_contiguous()
    assert w.grad.tolist() == [[4.0] * 3] * 2


def test_linear_computes_only_wanted_gradients():
    x, w, b = engine.ones(4, 3), engine.ones(2, 3), engine.zeros(2, requires_grad=True)
    engine.nn.functional.linear(x, w, b).sum().backward()
    assert b.grad.tolist() == [4.0, 4.0]
    assert x.grad is None and w.grad is None


def test_linear_notices_a_weight_changed_before_backward():
    x, w = engine.ones(4, 3, requires_grad=True), engine.ones(2, 3, requires_grad=True)
    y = engine.nn.functional.linear(x, w)
    with engine.no_grad():
        w.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_bmm_and_mm_check_dimensions():
    with pytest.raises(RuntimeError, match=r"got: \[2, 4\]"):
        engine.bmm(engine.zeros(2, 3, 5), engine.zeros(2, 4, 5))
    with pytest.raises(RuntimeError, match="matrix"):
        engine.mm(engine.zeros(3), engine.zeros(3, 3))
    with pytest.raises(RuntimeError, match="1D tensors expected"):
        engine.dot(engine.zeros(3, 1), engine.zeros(3))


def test_addmm_with_beta_zero_ignores_nan():
    out = engine.addmm(engine.full((2, 2), float("nan")), engine.eye(2), engine.eye(2), beta=0)
    assert out.tolist() == [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize("equation", ["ii->i", "ii", "iij->j", "...ii->...i"])
def test_einsum_takes_diagonals(equation):
    torch = pytest.importorskip("torch")
    values = np.arange(27.0).reshape(3, 3, 3) if "j" in equation or "." in equation else np.arange(9.0).reshape(3, 3)
    np.testing.assert_allclose(engine.einsum(equation, engine.tensor(values)).numpy(),
                               torch.einsum(equation, torch.tensor(values)).numpy())


@pytest.mark.parametrize(("equation", "shapes", "text"), [
    ("ij,jk->ik", [(2, 3)], "fewer operands|more operands"), ("ij->k", [(2, 3)], "does not appear"),
    ("ij,jk->ik", [(2, 3), (4, 5)], "size 4"), ("ijk->i", [(2, 3)], "number of subscripts"),
    ("i1->i", [(2, 3)], "invalid subscript"),
    ("ij->ii", [(2, 3)], "more than once")])
def test_einsum_refuses(equation, shapes, text):
    with pytest.raises(RuntimeError, match=text):
        engine.einsum(equation, *[engine.zeros(s) for s in shapes])


def test_matrix_power_and_chain():
    a = engine.tensor([[1.0, 1.0], [0.0, 1.0]])
    assert engine.matrix_power(a, 0).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert engine.matrix_power(a, -2).tolist() == [[1.0, -2.0], [0.0, 1.0]]


def test_cdist_has_no_gradient_at_distance_zero():
    x = engine.zeros(2, 3, requires_grad=True)
    engine.cdist(x, x.detach()).sum().backward()
    assert x.grad.abs().sum().item() == 0.0
