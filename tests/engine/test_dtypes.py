"""Element types and promotion: torch's rules, table by table."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest

import engine

NAMES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64",
         "complex64", "complex128"]
# (first, second) -> common dtype: a few rows that hold without torch installed
KNOWN = [("uint8", "int8", "int16"), ("float16", "bfloat16", "float32"), ("int64", "float16", "float16"),
         ("bool", "uint8", "uint8"), ("float64", "complex64", "complex128"), ("int64", "complex64", "complex64")]


@pytest.mark.parametrize("a, b, expected", KNOWN)
def test_known_promotions(a, b, expected):
    assert engine.promote_types(getattr(engine, a), getattr(engine, b)) is getattr(engine, expected)


def test_all_pairs_equal_torch():
    torch = pytest.importorskip("torch")
    for a, b in itertools.product(NAMES, NAMES):
        ours = engine.promote_types(getattr(engine, a), getattr(engine, b))
        theirs = torch.promote_types(getattr(torch, a), getattr(torch, b))
        assert str(ours) == str(theirs), (a, b)
        assert engine.can_cast(getattr(engine, a), getattr(engine, b)) == torch.can_cast(getattr(torch, a), getattr(torch, b))


def test_tensors_zero_dim_tensors_and_numbers_equal_torch():
    torch = pytest.importorskip("torch")
    numbers = [True, 2, 2.5, 1j]
    for name in NAMES:
        vectors = [lib.ones(2, dtype=getattr(lib, name)) for lib in (engine, torch)]
        for other in NAMES:
            if name in ("float16", "bfloat16") and other.startswith("complex"):
                continue  # torch gives ComplexHalf, which does not exist here
            scalars = [lib.ones((), dtype=getattr(lib, other)) for lib in (engine, torch)]
            ours, theirs = (v * s for v, s in zip(vectors, scalars))
            assert str(ours.dtype) == str(theirs.dtype), (name, other)
        for number in numbers:
            if name in ("float16", "bfloat16") and isinstance(number, complex):
                continue
            assert str((vectors[0] * number).dtype) == str((vectors[1] * number).dtype), (name, number)
            assert str((number + vectors[0]).dtype) == str((number + vectors[1]).dtype), (name, number)


@pytest.mark.parametrize("name", NAMES)
def test_division_and_unary_functions_of_every_dtype(name):
    torch = pytest.importorskip("torch")
    functions = (lambda lib, x: x / 2, lambda lib, x: lib.exp(x), lambda lib, x: x.sum(), lambda lib, x: x * 2,
                 lambda lib, x: x.mean())
    for fn in functions:
        results = []
        for lib in (engine, torch):
            try:
                results.append(str(fn(lib, lib.ones(3, dtype=getattr(lib, name))).dtype))
            except RuntimeError:
                results.append("RuntimeError")
        assert results[0] == results[1]


def test_default_dtype_decides_what_python_floats_become():
    try:
        engine.set_default_dtype(engine.float64)
        assert engine.tensor(1.5).dtype is engine.float64 and (engine.tensor([1]) / 2).dtype is engine.float64
        assert engine.zeros(1).dtype is engine.float64 and engine.tensor(1j).dtype is engine.complex128
    finally:
        engine.set_default_dtype(engine.float32)
    with pytest.raises(TypeError, match="floating-point"):
        engine.set_default_dtype(engine.int64)


def test_dtype_objects_are_singletons_that_print_and_pickle():
    assert repr(engine.bfloat16) == "torch.bfloat16" and engine.float is engine.float32 and engine.long is engine.int64
    for name in NAMES:
        d = getattr(engine, name)
        assert pickle.loads(pickle.dumps(d)) is d and copy.deepcopy(d) is d
        assert engine.ones(1, dtype=d).dtype is d and d.itemsize == d.np.itemsize


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
def test_finfo_equals_torch(name):
    torch = pytest.importorskip("torch")
    ours, theirs = engine.finfo(getattr(engine, name)), torch.finfo(getattr(torch, name))
    for key in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype"):
        assert getattr(ours, key) == getattr(theirs, key), key


def test_iinfo_and_wrong_kinds():
    info = engine.iinfo(engine.uint8)
    assert (info.bits, info.min, info.max) == (8, 0, 255)
    with pytest.raises(TypeError):
        engine.iinfo(engine.float32)
    with pytest.raises(TypeError):
        engine.finfo(engine.int64)


def test_numbers_out_of_range_wrap_and_unsupported_arrays_are_named():
    assert (engine.ones(1, dtype=engine.uint8) + 300).item() == 45
    with pytest.raises(TypeError, match="can't convert np.ndarray of type"):
        engine.from_numpy(np.array(["a"]))


def test_bfloat16_rounds_like_torch():
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    ours, theirs = (lib.tensor(values).to(lib.bfloat16) for lib in (engine, torch))
    np.testing.assert_array_equal((ours * ours).float().numpy(), (theirs * theirs).float().numpy())
    np.testing.assert_array_equal((ours @ ours).float().item(), (theirs @ theirs).float().item())
