"""Random tensors: torch's numbers for the same seed, with generators, on views, in every dtype; and sane distributions."""

from __future__ import annotations

import numpy as np
import pytest

import engine

CALLS = [
    "rand(5)", "rand(40)", "rand(3, 4, dtype=lib.float64)", "rand(4, dtype=lib.bfloat16)", "randn(5)", "randn(16)",
    "randn(37)",
    "randn(5, 4, dtype=lib.float64)", "randn(20, dtype=lib.bfloat16)", "randn(3, dtype=lib.complex64)", "randint(10, (6,))",
    "randint(-5, 5, (2, 3))", "randint(0, 2**40, (4,))", "randint(3, (4,), dtype=lib.int32)", "randperm(10)",
    "randperm(5, dtype=lib.int32)", "normal(2.0, 3.0, (20,))", "normal(lib.zeros(20), 2.0)", "normal(1.0, lib.ones(5))",
    "bernoulli(lib.full((9,), 0.3))", "multinomial(lib.tensor([1., 2., 3., 4.]), 3)",
    "multinomial(lib.tensor([1., 2., 3.]), 8, replacement=True)", "rand_like(lib.zeros(2, 3))",
    "randn_like(lib.zeros(20))",
    "randint_like(lib.zeros(4), 10)", "poisson(lib.full((6,), 4.0))", "zeros(20).normal_(1, 2)",
    "zeros(5).uniform_(-1, 3)",
    "zeros(5).random_()", "zeros(5, dtype=lib.int64).random_(7)", "zeros(5).random_(2, 9)", "zeros(9).bernoulli_(0.2)",
    "zeros(9).bernoulli_(lib.full((9,), 0.7))", "zeros(9).exponential_(2)", "zeros(9).geometric_(0.3)",
    "zeros(9).cauchy_()",
    "zeros(9).log_normal_()", "zeros(4, 5).t().normal_()", "zeros(6, 8)[:, ::2].uniform_()", "zeros(6, 8)[:, ::2].normal_()",
    "zeros(3, 4).t().random_(100)", "zeros(2, 0).normal_()",
]  # fmt: skip

# torch 2.13, seed 0.
STORED = {
    "rand(3)": [0.49625658988952637, 0.7682217955589294, 0.08847743272781372],
    "randn(3)": [1.5409960746765137, -0.293428897857666, -2.1787893772125244],
    "randint(10, (5,))": [4, 9, 3, 0, 3],
}


@pytest.mark.parametrize("call", CALLS)
def test_numbers_equal_torch(call):
    torch = pytest.importorskip("torch")
    drawn = []
    for lib in (engine, torch):
        lib.manual_seed(0)
        value = eval(f"lib.{call}", {"lib": lib})  # noqa: S307
        after = lib.rand(1)  # as many words were used
        drawn.append((value, after))
    (ours, a), (theirs, b) = drawn
    assert str(ours.dtype) == str(theirs.dtype)
    assert tuple(ours.shape) == tuple(theirs.shape)
    tight = not call.startswith(("zeros(9).", "randn", "normal", "zeros(20)", "zeros(4, 5)", "zeros(6, 8)"))
    wide = "complex128" if ours.is_complex() else "float64"
    left, right = ours.to(getattr(engine, wide)).numpy(), theirs.to(getattr(torch, wide)).numpy()
    np.testing.assert_allclose(left, right, rtol=0 if tight else 1e-5, atol=0 if tight else 1e-6)
    assert a.item() == b.item()


@pytest.mark.parametrize("call", list(STORED))
def test_numbers_without_torch(call):
    engine.manual_seed(0)
    np.testing.assert_allclose(eval(f"engine.{call}").numpy(), STORED[call], rtol=1e-6)  # noqa: S307


@pytest.mark.parametrize("call", [
    "rand(4, generator=g)", "randn(4, generator=g)", "randint(9, (4,), generator=g)", "randperm(9, generator=g)",
    "zeros(4).normal_(generator=g)", "zeros(4).uniform_(generator=g)", "bernoulli(engine.full((4,), 0.5), generator=g)",
    "multinomial(engine.ones(9), 4, generator=g)", "normal(0.0, 1.0, (4,), generator=g)", "zeros(4).random_(generator=g)",
])  # fmt: skip
def test_generators_are_used_and_the_default_one_left_alone(call):
    before = engine.get_rng_state()
    first = eval(f"engine.{call}", {"engine": engine, "g": engine.Generator().manual_seed(7)})  # noqa: S307
    second = eval(f"engine.{call}", {"engine": engine, "g": engine.Generator().manual_seed(7)})  # noqa: S307
    assert first.tolist() == second.tolist()
    assert engine.equal(engine.get_rng_state(), before)


def test_a_generator_must_be_one():
    with pytest.raises(TypeError, match="Generator"):
        engine.rand(2, generator=3)


def test_filling_a_view_fills_the_base_and_ends_its_history():
    x = engine.zeros(3, 4)
    x[:, 1].uniform_(5, 6)
    assert (x[:, 1] >= 5).all()
    assert x[:, 0].abs().sum().item() == 0
    w = engine.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        w.normal_()
    with engine.no_grad():
        w.normal_()
    y = engine.ones(3, requires_grad=True) * 2
    y.uniform_()
    y.sum().backward()


@pytest.mark.parametrize(("call", "mean", "std"), [
    ("rand(20000)", 0.5, 12**-0.5), ("randn(20000)", 0, 1), ("zeros(20000).exponential_(2)", 0.5, 0.5),
    ("zeros(20000).geometric_(0.25)", 4, 12**0.5), ("poisson(engine.full((20000,), 6.0))", 6, 6**0.5),
    ("zeros(20000).bernoulli_(0.25)", 0.25, 0.1875**0.5), ("zeros(20000).log_normal_(0, 0.5)", 1.1331, 0.6039),
])  # fmt: skip
def test_moments(call, mean, std):
    engine.manual_seed(1)
    x = eval(f"engine.{call}").to(engine.float64).numpy()  # noqa: S307
    assert abs(x.mean() - mean) < 5 * std / 20000**0.5
    assert abs(x.std() / std - 1) < 0.05


def test_permutations_and_draws_without_replacement_have_no_repeats():
    assert sorted(engine.randperm(50).tolist()) == list(range(50))
    drawn = engine.multinomial(engine.tensor([[1.0, 0, 2, 3], [0, 1, 1, 1]]), 3)
    assert drawn.shape == (2, 3)
    assert [sorted(row) for row in drawn.tolist()] == [[0, 2, 3], [1, 2, 3]]


@pytest.mark.parametrize("call", [
    "randint(5, 5, (2,))", "zeros(2, dtype=engine.int64).normal_()", "zeros(2).normal_(0, -1)", "randperm(-1)",
    "bernoulli(engine.full((2,), 1.5))", "multinomial(engine.zeros(3), 1)", "multinomial(engine.ones(2), 3)",
    "multinomial(engine.tensor([1., -1.]), 1)", "zeros(2).uniform_(2, 1)", "rand(2, dtype=engine.int64)",
    "normal(engine.zeros(2), engine.tensor([1., -1.]))",
])  # fmt: skip
def test_bad_arguments_raise_runtime_error(call):
    with pytest.raises(RuntimeError):
        eval(f"engine.{call}")  # noqa: S307


def test_normal_of_numbers_without_dimensions():
    engine.manual_seed(0)
    assert engine.normal(engine.tensor(0.5), engine.tensor(1.0)).shape == ()
