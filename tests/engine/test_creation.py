"""Making tensors: inferred dtypes, refusals, what shares memory with what."""

from __future__ import annotations

import numpy as np
import pytest

import engine

INFERRED = [
    (1, "int64"), (1.0, "float32"), (True, "bool"), (1j, "complex64"), ([], "float32"), ([[]], "float32"),
    ([1, 2], "int64"),
    ([1, 2.0], "float32"), ([True, False], "bool"), ([True, 1], "int64"), ([True, 1.0], "float32"),
    ([1.0, 1j], "complex64"),
    ((1, 2), "int64"), ([[1, 2], [3, 4.5]], "float32"), (np.float64(1), "float64"), (np.float32(1), "float32"),
    (np.int32(1), "int32"), (np.array([1, 2], np.int16), "int16"), (np.array([1.0]), "float64"),
    (np.array([True]), "bool"),
    (np.array([1j]), "complex128"), ([np.float64(1), np.float64(2)], "float64"),
    ([np.array([1, 2]), np.array([3, 4])], "int64"),
    (range(3), "int64"), (np.zeros((2, 0), np.float16), "float16"), (np.uint8(3), "uint8"), (2**40, "int64"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "dtype"), INFERRED, ids=[f"{d!r}" for d, _ in INFERRED])
def test_dtype_is_inferred_as_in_torch(data, dtype):
    got = engine.tensor(data)
    assert str(got.dtype) == f"torch.{dtype}"
    np.testing.assert_array_equal(got.numpy(), np.asarray(data))
    torch = pytest.importorskip("torch")
    theirs = torch.tensor(data)
    assert (str(got.dtype), tuple(got.shape)) == (str(theirs.dtype), tuple(theirs.shape))


def test_default_dtype_decides_for_floats_and_complex():
    engine.set_default_dtype(engine.float64)
    assert engine.tensor(1.0).dtype == engine.float64
    assert engine.tensor([1j]).dtype == engine.complex128
    assert engine.zeros(1).dtype == engine.arange(0.0, 1.0).dtype == engine.rand(1).dtype == engine.float64
    assert engine.tensor(1).dtype == engine.int64


@pytest.mark.parametrize("data", [[[1, 2], [3]], [1, [2]], [[1], 2], [[], [1]]])
def test_ragged_sequences_are_refused(data):
    with pytest.raises((ValueError, TypeError)):
        engine.tensor(data)


@pytest.mark.parametrize("data", ["abc", ["a"], [None], None, object(), {"a": 1}, [b"x"]])
def test_what_is_no_number_is_refused(data):
    with pytest.raises((TypeError, RuntimeError, ValueError), match="Could not infer|invalid data|too many dimensions"):
        engine.tensor(data)


def test_lists_of_tensors():
    a = engine.tensor([engine.tensor(1.5), engine.tensor(2)])
    assert (a.tolist(), str(a.dtype)) == ([1.5, 2.0], "torch.float32")
    assert engine.tensor([[engine.tensor(1), 2], [3, engine.tensor(4)]]).tolist() == [[1, 2], [3, 4]]
    with pytest.warns(UserWarning, match="copy construct"):
        source = engine.ones(2)
        copy = engine.tensor(source)
    copy += 1
    assert source.tolist() == [1, 1]


def test_tensor_copies_and_requires_grad():
    array = np.ones(2, np.float32)
    x = engine.tensor(array, requires_grad=True)
    array[0] = 5
    assert x.tolist() == [1, 1]
    assert x.is_leaf
    assert x.requires_grad
    with pytest.raises(RuntimeError, match="floating point and complex"):
        engine.tensor([1, 2], requires_grad=True)


def test_from_numpy_shares_memory_both_ways():
    array = np.zeros(3)
    x = engine.from_numpy(array)
    array[0] = 1
    x[1] = 2
    assert x.tolist() == array.tolist() == [1, 2, 0]
    assert np.shares_memory(x.numpy(), array)
    assert engine.from_numpy(array[::2]).tolist() == [1, 0]
    assert engine.from_numpy(array[::-1]).tolist() == [0, 2, 1]
    for bad in (3, [1.0], engine.ones(1)):
        with pytest.raises(TypeError, match="expected np.ndarray"):
            engine.from_numpy(bad)
    for dtype in ("S3", "O", "M8[s]", "U2"):
        with pytest.raises(TypeError):
            engine.from_numpy(np.empty(2, dtype))


@pytest.mark.parametrize("make", ["as_tensor", "asarray"])
def test_aliasing(make):
    make = getattr(engine, make)
    x, array = engine.ones(2), np.ones(2, np.float32)
    assert make(x).data_ptr() == x.data_ptr()
    assert np.shares_memory(make(array).numpy(), array)
    assert not np.shares_memory(make(array, dtype=engine.float64).numpy(), array)
    assert make([1, 2]).tolist() == [1, 2]


def test_asarray_options():
    x = engine.ones(2, requires_grad=True)
    assert engine.asarray(x, copy=True).data_ptr() != x.data_ptr()
    assert not engine.asarray(x).requires_grad
    assert engine.asarray([1.0], requires_grad=True).requires_grad
    with pytest.raises(ValueError, match="alias"):
        engine.asarray([1.0], copy=False)


FACTORIES = [
    ("zeros", (2, 3), {}), ("zeros", ((2, 3),), {}), ("zeros", (0,), {}), ("zeros", (), {"size": (2,)}), ("ones",
    (2,), {}),
    ("full", ((2,), 7), {}), ("full", ((2,), 7.0), {}), ("full", ((2,), True), {}), ("full", ((), 1j), {}), ("eye",
    (3,), {}),
    ("eye", (2, 4), {}), ("arange", (5,), {}), ("arange", (1, 5), {}), ("arange", (1, 5, 2), {}), ("arange",
    (0.0, 1.0, 0.3), {}),
    ("arange", (5, 1, -2), {}), ("arange", (3.5,), {}), ("arange", (0, 10, 3), {"dtype": "float32"}), ("arange",
    (), {"end": 4}),
    ("linspace", (0, 1, 5), {}), ("linspace", (-3, 7.5, 4), {}), ("linspace", (3, 3, 1), {}), ("linspace",
    (0, 1, 0), {}),
    ("linspace", (0, 10, 6), {"dtype": "int64"}), ("linspace", (0, 1, 101), {"dtype": "float64"}), ("logspace",
    (0, 2, 3), {}),
    ("logspace", (0, 3, 4), {"base": 2}), ("tril_indices", (3, 3), {}), ("triu_indices", (3, 4, 1), {}), ("zeros",
    (2,), {"dtype": "bool"}),
    ("scalar_tensor", (3,), {}), ("range", (0, 2), {}),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("name", "args", "kwargs"), FACTORIES)
def test_factories_equal_torch(name, args, kwargs):
    torch = pytest.importorskip("torch")

    def make(lib):
        options = {k: getattr(lib, v) if k == "dtype" else v for k, v in kwargs.items()}
        return getattr(lib, name)(*args, **options)

    ours, theirs = make(engine), make(torch)
    assert str(ours.dtype) == str(theirs.dtype)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=4e-16)  # torch's linspace uses fused multiply-add


def test_like_and_new_forms_take_dtype_and_shape_from_the_tensor():
    x = engine.zeros(2, 3, dtype=engine.float64)
    same = [engine.ones_like(x), engine.full_like(x, 1), x.new_ones(2, 3), x.new_full((2, 3), 1), x.new_tensor([[1] * 3] * 2)]
    for y in same:
        assert (y.dtype, y.shape, y.sum().item()) == (x.dtype, x.shape, 6)
    assert engine.zeros_like(x, dtype=engine.int32).dtype == engine.int32
    assert engine.empty_like(x).shape == x.new_empty((2, 3)).shape == x.shape
    assert x.new_zeros(4, requires_grad=True).requires_grad


@pytest.mark.parametrize(("call", "kind"), [
    (lambda: engine.zeros(-1), RuntimeError), (lambda: engine.zeros(2.5), TypeError),
    (lambda: engine.zeros("a"), TypeError),
    (lambda: engine.arange(0, 5, 0), RuntimeError), (lambda: engine.arange(5, 0), RuntimeError),
    (lambda: engine.linspace(0, 1, -1), RuntimeError), (lambda: engine.ones(2, dtype="nonsense"), TypeError),
    (lambda: engine.ones(2, device="tpu"), RuntimeError),
])  # fmt: skip
def test_bad_arguments(call, kind):
    with pytest.raises(kind):
        call()


def test_out():
    out = engine.empty(0)
    assert engine.ones(2, out=out) is out
    assert out.tolist() == [1, 1]


def test_frombuffer_and_empty_strided():
    memory = bytearray(8)
    x = engine.frombuffer(memory, dtype=engine.int32)
    x[1] = 1
    assert memory[4] == 1
    assert engine.frombuffer(memory, dtype=engine.int32, offset=4).tolist() == [1]
    assert engine.frombuffer(memory, dtype=engine.int32, count=1).tolist() == [0]
    assert engine.empty_strided((2, 3), (1, 2)).stride() == (1, 2)


SPACED = [(0, 1, 0.01), (-3, 7, 0.37), (0, 1000, 0.1), (-1, 1, 0.001), (5, 1, -0.3)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("start", "end", "step"), SPACED)
def test_spaced_numbers_equal_torchs_to_the_last_bit(start, end, step, dtype):
    torch = pytest.importorskip("torch")
    ours = engine.arange(start, end, step, dtype=getattr(engine, dtype))
    np.testing.assert_array_equal(ours.numpy(), torch.arange(start, end, step, dtype=getattr(torch, dtype)).numpy())
    for steps in (1, 2, 28, 1001):
        ours = engine.linspace(start, end, steps, dtype=getattr(engine, dtype))
        theirs = torch.linspace(start, end, steps, dtype=getattr(torch, dtype))
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_spaced_numbers_are_rounded_once():
    from fractions import Fraction

    from engine.ops._spacing import fused

    a, b, c = np.random.default_rng(0).normal(size=(3, 200)) * [[1], [1], [1e-3]]
    exact = [float(Fraction(x) * Fraction(y) + Fraction(z)) for x, y, z in zip(a, b, c)]
    np.testing.assert_array_equal(fused(a, b, c), exact)
    assert (a * b + c != exact).any()
