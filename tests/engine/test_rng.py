"""The generator gives torch's numbers: against a table kept here, and against torch itself where it is installed."""

from __future__ import annotations

import copy
import pickle
import random
import threading
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engine import fast
from engine.dtypes import BF16, F16, F32, F64
from engine.rng import Generator, assign_in_memory_order
from engine.rng_source import STATE_BYTES

I64 = np.dtype(np.int64)
INT_TYPES = [np.dtype(t) for t in (np.int64, np.int32, np.int16, np.int8, np.uint8)]
WEIGHTS = np.array([0.1, 0.2, 0.3, 0.4], F32)

# What torch 2.13 draws after manual_seed(1234), one line after the other.
SEQUENCE: list[tuple[str, Callable[[Generator], np.ndarray], list[float]]] = [
    ("rand", lambda g: g.uniform((4,), F32), [0.028979242, 0.40189856, 0.25984418, 0.36664134]),
    ("rand, float64", lambda g: g.uniform((3,), F64), [0.46640616040796923, 0.41437948768611854, 0.3904494574879519]),
    ("uniform_", lambda g: g.uniform((4,), F32, -0.3, 0.7), [0.48370802, 0.2630632, 0.47485048, 0.52080256]),
    ("randn below 16", lambda g: g.normal((3,), F32), [0.07846496, 0.7884293, 1.5385299]),
    ("the kept second normal", lambda g: g.normal((2,), F32), [-0.97574854, 1.576937]),
    ("randn below 16, float64", lambda g: g.normal((2,), F64), [0.38401640540332344, -0.6038611937418373]),
    ("ragged tail", lambda g: g.normal((17,), F32)[[0, 1, 8, 16]], [1.4255266, -0.29679114, -1.1848555, -1.8773292]),
    ("normal_", lambda g: g.normal((16,), F32, 0.5, 2.0)[:3], [-0.25612313, 2.3514848, 2.3493922]),
    ("randn, float64", lambda g: g.normal((16,), F64)[:2], [0.5007433175981796, 0.08469737735067583]),
    ("randint", lambda g: g.randint((8,), 0, 10), [9, 8, 2, 8, 4, 6, 1, 7]),
    ("randint, wide", lambda g: g.randint((2,), -(2**40), 2**41), [237448344811, -761820181865]),
    ("randint, two words from 2**28 on", lambda g: g.randint((2,), 0, 2**28), [174349049, 35112119]),
    ("random_, int64", lambda g: g.random((2,), I64), [7499172140665507433, 5283475528602004089]),
    ("random_, float32", lambda g: g.random((2,), F32), [9138372.0, 10435206.0]),
    ("randperm", lambda g: g.randperm(8), [2, 1, 6, 7, 5, 0, 3, 4]),
    ("bernoulli_", lambda g: g.bernoulli_scalar(0.3, (8,), F32), [0, 0, 0, 0, 0, 1, 0, 0]),
    ("bernoulli", lambda g: g.bernoulli_array(np.full(8, 0.3, F32)), [0, 0, 0, 0, 0, 0, 0, 0]),
    ("exponential_", lambda g: g.exponential((3,), F32, 0.5), [1.2684867, 1.4213909, 4.2915454]),
    ("cauchy_", lambda g: g.cauchy((3,), F32), [2.115445, 5.0571747, 3.1560297]),
    ("log_normal_", lambda g: g.log_normal((3,), F32), [0.9532061, 20.332933, 0.32210064]),
    ("geometric_", lambda g: g.geometric((5,), F32, 0.3), [3, 7, 1, 2, 1]),
    ("multinomial", lambda g: g.multinomial(WEIGHTS, 3), [0, 1, 2]),
    ("multinomial, replacement", lambda g: g.multinomial(WEIGHTS, 6, True), [3, 0, 1, 3, 1, 0]),
    ("poisson", lambda g: g.poisson(np.array([0.0, 1.5, 9, 10, 200], F32)), [0, 2, 12, 9, 173]),
    ("rand, float16", lambda g: g.uniform((2,), F16), [0.7573242, 0.19360352]),
    ("randn, bfloat16", lambda g: g.normal((2,), BF16), [-1.3671875, 0.56640625]),
]  # fmt: skip

# crc32 of the bytes torch 2.13 draws after manual_seed(5), one line after the other.
LONG_SEQUENCE: list[tuple[str, Callable[[Generator], np.ndarray], int]] = [
    ("rand", lambda g: g.uniform((40000,), F32), 0xC78C3816),
    ("uniform_", lambda g: g.uniform((20001,), F32, -1, 3), 0x3847823C),
    ("randn", lambda g: g.normal((40000,), F32), 0xA86C81BB),
    ("normal_", lambda g: g.normal((20001,), F32, 1, 0.02), 0x93E5F050),
    ("float16", lambda g: g.normal((1001,), F16), 0xDA0A63A8),
    ("bfloat16", lambda g: g.normal((1001,), BF16), 0xD12F3DB4),
    ("randint", lambda g: g.randint((20000,), 0, 1000), 0x2EE992F6),
    ("randperm", lambda g: g.randperm(20000), 0xDD97B6EC),
    ("bernoulli_", lambda g: g.bernoulli_scalar(0.1, (20000,)), 0xDD50FD6E),
]


def test_numbers_of_the_table() -> None:
    g = Generator().manual_seed(1234)
    for name, draw, expected in SEQUENCE:
        drawn = draw(g)
        assert drawn.astype(F64) == pytest.approx(np.array(expected, drawn.dtype).astype(F64), rel=1e-15, abs=0), name


def test_long_draws_have_the_bytes_of_the_table() -> None:
    g = Generator().manual_seed(5)
    for name, draw, expected in LONG_SEQUENCE:
        assert zlib.crc32(draw(g).tobytes()) == expected, name


# ---- against torch itself --------------------------------------------------------------------------------------


def assert_same_bits(ours: np.ndarray, theirs: Any, what: str) -> None:
    if "bfloat16" in str(theirs.dtype):
        import torch

        ours, theirs = ours.view(np.int16), theirs.view(torch.int16)
    np.testing.assert_array_equal(ours, theirs.numpy(), err_msg=what, strict=True)


def continuous(t: Any, g: Generator, n: int, dtype: np.dtype, kind: Any) -> list[tuple[str, np.ndarray, Any]]:
    return [
        ("rand", g.uniform((n,), dtype), t.rand(n, dtype=kind)),
        ("uniform", g.uniform((n,), dtype, 1.1, 3.3), t.empty(n, dtype=kind).uniform_(1.1, 3.3)),
        ("randn", g.normal((n,), dtype), t.randn(n, dtype=kind)),
        ("normal", g.normal((n,), dtype, 0.5, 2.3), t.empty(n, dtype=kind).normal_(0.5, 2.3)),
        ("few", g.normal((3,), dtype, 1, 3), t.empty(3, dtype=kind).normal_(1, 3)),
        ("strided", g.normal((n,), dtype, 1, 0.3, False), t.empty(n, 2, dtype=kind)[:, 0].normal_(1, 0.3)),
        ("exponential", g.exponential((n,), dtype, 0.3), t.empty(n, dtype=kind).exponential_(0.3)),
        ("cauchy", g.cauchy((n,), dtype, 0.3, 2), t.empty(n, dtype=kind).cauchy_(0.3, 2)),
        ("log_normal", g.log_normal((n,), dtype, 0.3, 0.7), t.empty(n, dtype=kind).log_normal_(0.3, 0.7)),
        ("geometric", g.geometric((n,), dtype, 0.3), t.empty(n, dtype=kind).geometric_(0.3)),
        ("bernoulli_", g.bernoulli_scalar(0.3, (n,), dtype), t.empty(n, dtype=kind).bernoulli_(0.3)),
        ("random_", g.random((n,), dtype), t.empty(n, dtype=kind).random_()),
        ("state", g.state_array(), t.get_rng_state()),
    ]


def assert_nearly_same_bits(ours: np.ndarray, theirs: np.ndarray, what: str) -> None:
    """float64: NumPy's logarithms and exponentials with AVX-512 differ from those with AVX2 in the last bits."""
    if what == "state":  # the one normal number that a generator keeps is eight of its bytes
        assert np.count_nonzero(ours != theirs) <= 8, what
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-14, err_msg=what)


@pytest.mark.parametrize("name", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 31, 33, 1000, 16401])
def test_floating_distributions_against_torch(name: str, n: int) -> None:
    torch = pytest.importorskip("torch")
    dtype = {"float32": F32, "float64": F64, "float16": F16, "bfloat16": BF16}[name]
    kind = getattr(torch, name)
    torch.manual_seed(n)
    g = Generator().manual_seed(n)
    for what, ours, theirs in continuous(torch, g, n, dtype, kind):
        if dtype == F64:
            assert_nearly_same_bits(ours, theirs.numpy(), what)
        else:
            assert_same_bits(ours, theirs, what)
    p, tp = g.uniform((n,), dtype), torch.rand(n, dtype=kind)
    assert_same_bits(g.bernoulli_array(p), torch.bernoulli(tp), "bernoulli")
    if n <= 1000 and n > 1:
        assert_same_bits(g.multinomial(p, 1), torch.multinomial(tp, 1), "multinomial of one")
        assert_same_bits(g.multinomial(p, 2), torch.multinomial(tp, 2), "multinomial")
        assert_same_bits(g.multinomial(p, 9, True), torch.multinomial(tp, 9, True), "multinomial with replacement")
        assert_same_bits(g.poisson((p * 40).astype(dtype)), torch.poisson(tp * 40), "poisson")


@pytest.mark.parametrize("dtype", INT_TYPES, ids=str)
def test_integers_against_torch(dtype: np.dtype) -> None:
    torch = pytest.importorskip("torch")
    kind = getattr(torch, str(dtype))
    torch.manual_seed(8)
    g = Generator().manual_seed(8)
    assert_same_bits(g.random((999,), dtype), torch.empty(999, dtype=kind).random_(), "random_")
    assert_same_bits(g.randint((999,), 3, 100, dtype), torch.randint(3, 100, (999,), dtype=kind), "randint")
    if dtype == I64:
        for low, high in ((0, 2**28 - 1), (-5, 2**28 - 5), (0, 2**32), (-(2**40), 2**41 + 3), (-(2**63), 2**63 - 1)):
            assert_same_bits(g.randint((9,), low, high), torch.randint(low, high, (9,)), f"{low} {high}")
        full = torch.empty(9, dtype=kind).random_(-(2**63), None)
        assert_same_bits(g.random_bits64((9,), dtype), full, "all 64 bits")


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10, 512, 513, 514, 3000, 100_000])
def test_permutations_against_torch(n: int) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(n)
    g = Generator().manual_seed(n)
    assert_same_bits(g.randperm(n), torch.randperm(n), "randperm")
    assert_same_bits(g.uniform((2,), F32), torch.rand(2), "what follows")


def test_states_travel_to_torch_and_back() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(9)
    g = Generator()
    g.set_state_array(torch.get_rng_state().numpy())  # a state that has drawn nothing yet
    assert_same_bits(g.uniform((700,), F32), torch.rand(700), "fresh")
    torch.randn(3)  # keeps a normal
    g.set_state_array(torch.get_rng_state().numpy())
    assert_same_bits(g.normal((4,), F32), torch.randn(4), "with a kept normal")
    torch.set_rng_state(torch.from_numpy(g.state_array()))
    assert_same_bits(g.normal((20,), F32), torch.randn(20), "back in torch")


@pytest.mark.parametrize("seed", range(6))
def test_many_small_draws_in_any_order_are_torchs(seed: int) -> None:
    """What is made ahead for coming calls is used only where it belongs, and is not part of a state."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(seed)
    g, choice = Generator().manual_seed(seed), random.Random(seed)
    for _ in range(300):
        n, again = choice.choice((1, 3, 16, 17, 31, 64, 300, 304, 305, 640)), choice.choice((1, 1, 5))
        for _ in range(again):
            assert_same_bits(g.normal((n,), F32, 0, 1), torch.randn(n), f"{n} normals")
        if again == 1:
            assert_same_bits(g.uniform((n,), F32), torch.rand(n), f"{n} uniforms")
        if n == 17:
            assert_same_bits(g.state_array(), torch.get_rng_state(), "state")
            g.set_state_array(g.state_array())
    assert_same_bits(g.randperm(n), torch.randperm(n), "what follows")


def test_threads_that_draw_from_one_generator_get_different_words() -> None:
    g = Generator().manual_seed(3)
    drawn: list[int] = []

    def draw() -> None:
        for n in (1, 7, 30, 1) * 100:
            drawn.extend((g.uniform((n,), F64) * 2.0**53).astype(I64).tolist())

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = (Generator().manual_seed(3).uniform((len(drawn),), F64) * 2.0**53).astype(I64)
    assert sorted(drawn) == sorted(alone.tolist())


@pytest.mark.skipif(not fast.is_available(), reason="numba is not installed")
@pytest.mark.parametrize("n", [65536, 100_003])
def test_compiled_draws_are_the_same(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def draws(compiled: bool) -> list[np.ndarray]:
        monkeypatch.setattr(fast, "_on", compiled)
        g = Generator().manual_seed(11)
        g.uniform((5,), F32)
        return [g.normal((n,), F32), g.normal((n,), F32, 0.3, 1.7), g.normal((n,), BF16), g.uniform((n,), F32),
                g.uniform((n,), F32, -0.3, 0.9), g.uniform((n,), F64), g.bernoulli_scalar(0.3, (n,)), g.randperm(n),
                g.bernoulli_scalar(1.0, (n,), F32), g.exponential((n,), F32), g.state_array()]  # fmt: skip

    for i, (with_kernels, without) in enumerate(zip(draws(True), draws(False))):
        np.testing.assert_array_equal(with_kernels, without, err_msg=str(i), strict=True)


def test_fills_in_memory_order_as_torch_does() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.empty(4, 5, 6).permute(1, 2, 0)[:, ::2]
    ours = np.empty((4, 5, 6), F32).transpose(1, 2, 0)[:, ::2]
    torch.manual_seed(2)
    theirs.uniform_()
    assign_in_memory_order(ours, Generator().manual_seed(2).uniform(ours.shape, F32))
    np.testing.assert_array_equal(ours, theirs.numpy())


# ---- behaviour of its own --------------------------------------------------------------------------------------


def test_shape_does_not_matter_only_the_order_of_elements() -> None:
    a, b = (Generator().manual_seed(3) for _ in range(2))
    assert (a.normal((4, 25), F32).reshape(-1) == b.normal((100,), F32)).all()
    assert a.uniform((2, 0, 3), F32).shape == (2, 0, 3)
    assert (a.uniform((), F32) == b.uniform((1,), F32)[0]).all()


@pytest.mark.parametrize("drawn", [0, 1, 5, 623, 624, 625])
def test_state_holds_everything(drawn: int) -> None:
    g = Generator().manual_seed(11)
    g.randint((drawn,), 0, 10)
    g.normal((1,), F32)
    state = g.state_array()
    assert state.dtype == np.uint8 and state.shape == (STATE_BYTES,) == (5056,)
    expected = g.normal((5,), F32)
    for other in (Generator(), copy.deepcopy(g), pickle.loads(pickle.dumps(g)), g.clone_state()):
        other.set_state_array(state)
        assert other.initial_seed() == 11
        assert (other.normal((5,), F32) == expected).all()
    twin = copy.deepcopy(g)
    assert (twin.normal((9,), F32) == g.normal((9,), F32)).all()


def test_seeds() -> None:
    g = Generator()
    assert g.initial_seed() == 67280421310721
    assert g.manual_seed(-1) is g and g.initial_seed() == 2**64 - 1
    assert g.manual_seed(np.int64(3)).initial_seed() == 3
    assert 0 <= g.seed() == g.initial_seed()
    g.manual_seed(4).normal((1,), F32)
    first = g.manual_seed(4).normal((1,), F32)  # seeding forgets the kept normal
    assert first == Generator().manual_seed(4).normal((1,), F32)
    assert str(g.device) == "cpu"


@pytest.mark.parametrize(("seed", "error"), [(2**64, ValueError), (-(2**63) - 1, ValueError)])
def test_seeds_out_of_range(seed: int, error: type) -> None:
    with pytest.raises(error, match="Overflow"):
        Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", [1.5, "a", True, None])
def test_seeds_that_are_not_ints(seed: Any) -> None:
    with pytest.raises(RuntimeError, match=f"expected a long, but got {type(seed).__name__}"):
        Generator().manual_seed(seed)


def test_bad_states_are_refused_and_change_nothing() -> None:
    g = Generator().manual_seed(1)
    before = g.state_array()
    with pytest.raises(TypeError, match="expected a torch.ByteTensor, but got int"):
        g.set_state(1)
    with pytest.raises(TypeError, match="ByteTensor"):
        g.set_state(np.zeros(STATE_BYTES))
    with pytest.raises(RuntimeError, match="5056.*size 3"):
        g.set_state(np.zeros(3, np.uint8))
    with pytest.raises(RuntimeError, match="Invalid mt19937 state"):
        g.set_state(np.zeros(STATE_BYTES, np.uint8))
    assert (g.state_array() == before).all()


def wrong_arguments() -> list[tuple[str, Callable[[Generator], Any], type, str]]:
    nan, inf = float("nan"), float("inf")
    p = lambda *values: np.array(values, F32)  # noqa: E731
    sample = lambda values, n=1, r=False: lambda g: g.multinomial(values, n, r)  # noqa: E731
    return [
        ("uniform", lambda g: g.uniform((2,), F32, 1, 0), RuntimeError, r"from=1 > to=0"),
        ("uniform", lambda g: g.uniform((2,), F32, 0, inf), RuntimeError, "to is out of bounds for float32"),
        ("uniform", lambda g: g.uniform((2,), F32, -3e38, 3e38), RuntimeError, "exceed the limit"),
        ("normal", lambda g: g.normal((2,), F32, 0, -1), RuntimeError, "std >= 0.0, but found std -1"),
        ("normal", lambda g: g.normal((2,), F32, 0, nan), RuntimeError, "std >= 0.0"),
        ("log_normal", lambda g: g.log_normal((2,), F32, 0, 0), RuntimeError, "std > 0.0, but found std=0"),
        ("exponential", lambda g: g.exponential((2,), F32, 0), RuntimeError, "lambda > 0.0, but found lambda=0"),
        ("cauchy", lambda g: g.cauchy((2,), F32, 0, 0), RuntimeError, "sigma > 0.0, but found sigma=0"),
        ("geometric", lambda g: g.geometric((2,), F32, 1), RuntimeError, r"p to be in \(0, 1\), but got p=1"),
        ("randint", lambda g: g.randint((2,), 5, 5), RuntimeError, "from=5 >= to=5"),
        ("random", lambda g: g.random((2,), np.dtype(np.complex64)), NotImplementedError, "complex64"),
        ("randperm", lambda g: g.randperm(-1), RuntimeError, "negative dimension -1"),
        ("bernoulli_", lambda g: g.bernoulli_scalar(1.5, (2,)), RuntimeError, r"in \[0, 1\], but got p=1.5"),
        ("bernoulli", lambda g: g.bernoulli_array(p(0.5, nan)), RuntimeError, r"in \[0, 1\]"),
        ("poisson", lambda g: g.poisson(p(-1)), RuntimeError, "non-negative"),
        ("multinomial", sample(p(1, -1)), RuntimeError, "element < 0"),
        ("multinomial", sample(p(1, inf)), RuntimeError, "`inf`"),
        ("multinomial", sample(p(0, 0)), RuntimeError, "sum of probabilities <= 0"),
        ("multinomial", sample(p(0, 0), 1, True), RuntimeError, "sum of probabilities <= 0"),
        ("multinomial", sample(p(1, 1), 3), RuntimeError, "without replacement"),
        ("multinomial", sample(p(1, 1), 0), RuntimeError, "n_sample <= 0"),
        ("multinomial", sample(np.array([1, 1])), RuntimeError, "int64"),
        ("multinomial", sample(np.ones((2, 2, 2), F32)), RuntimeError, "1 or 2 dim"),
    ]


@pytest.mark.parametrize(("name", "call", "error", "text"), wrong_arguments())
def test_wrong_arguments(name: str, call: Callable[[Generator], Any], error: type, text: str) -> None:
    g = Generator().manual_seed(1)
    before = g.state_array()
    with pytest.raises(error, match=text):
        call(g)
    assert (g.state_array() == before).all(), f"{name} drew numbers before it looked at its arguments"


def test_multinomial_rows_and_certain_outcomes() -> None:
    g = Generator().manual_seed(1)
    rows = np.array([[0, 1, 0], [0.5, 0, 0.5]], F32)
    drawn = g.multinomial(rows, 50, True)
    assert drawn.shape == (2, 50) and drawn.dtype == np.int64
    assert (drawn[0] == 1).all() and set(drawn[1]) == {0, 2}
    assert sorted(g.multinomial(np.ones(6, F32), 6)) == list(range(6))
    assert g.multinomial(np.empty((0, 3), F32), 2).shape == (0, 2)
