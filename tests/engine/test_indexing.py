"""x[index] and x[index] = value against torch and NumPy: values, views, gradients and errors, from a table of indices."""

from __future__ import annotations

import numpy as np
import pytest

import engine

SHAPE = (3, 4, 2)
ROW_MASK = [True, False, True]

# Index expressions for a tensor of SHAPE. `t` makes a tensor of the library under test, `np` is NumPy.
INDICES = [
    # integers, slices, None, Ellipsis
    "0", "-1", "2", "1, 2", "1, -1", "0, 0, 0", "-1, -1, -1", "()", "...", "None", "None, None",
    "..., ...", ":", "1:", ":2", "1:2",
    "5:", ":-1", "-2:", "::2", "1::2", "2:1", "-10:10", ":, 1", ":, -1", ":, 1:3", ":, ::3, 0", "..., 0", "..., 1:", "0, ...",
    "0, ..., 1", "..., None", "None, ..., 0", "None, 0", "0, None", "0, None, 1", ":, None", ":, None, 1:", "1, ..., None",
    "None, :, None, :, None", "..., 0, 0", "0, 0, 0, ...", "..., 0, 0, 0", "np.int64(1)", "np.int32(-1), 0", "t(1)", "t(-1)",
    "t(1), t(2)", "t(0), 1:", "t(1):", "t(0):t(2)", ":, t(1):t(3)", "slice(None, None, 2)", "slice(1, None)",
    # tensors and lists of integers
    "t([0, 2])", "t([0, -1, 0])", "t([[0, 1], [2, 0]])", "[0, 2]", "[-1]", "[[0, 1], [1, 2]]", "[[0], [1]], [[0, 1]]",
    "range(2)", "np.array([0, 2])", "np.array([[0], [1]])", "t([0, 2]), t([1, 3])", "t([0, 2]), 1", "1, t([0, 2])",
    "t([0, 2]), 1:3", "1:, t([0, 2])", ":, t([0, 2])", ":, [0, 2]", ":, [0, 2], 1", ":, 1, [0, 1]", "[0, 2], :, [0, 1]",
    "[0, 2], ..., [0, 1]", "..., [0, 1]", "..., t([[1, 0]])", "[0, 1], [1, 2], [0, 1]", "t([[0], [2]]), t([0, 3])",
    "t([[0], [2]]), t([0, 3]), 1", "None, [0, 1]", "[0, 1], None", "[0, 1], None, [0, 1]", "None, [0, 1], [0, 1]",
    ":, None, [0, 1]", "[0, 1], None, 1", "0, [0, 1], 1", "0, :, [0, 1]", "[0], :, 1", "t([1]), ..., 0", "..., 0, [0, 1]",
    "t([], dtype='int64')", "[]", ":, []", "t([], dtype='int64'), 0", "t([0, 1], dtype='int32')",
    "t([0, 1, 1], dtype='uint8')", "t([0, 2]), t(1)", "t([0, 2]), t([1])", "::2, [0, 1]", "1:, 1:, [1, 0]", "[0, 0, 0]",
    "t([0, 0, 1]), t([1, 1, 1])", "(1, 2), 0", "[1, 2], None, ..., None", "(0, 1), (1, 2)",
    # masks
    "mask", "~mask", "t([True, False, True])", "[True, False, True]", "np.array([True, False, True])",
    "t([True, False, True]), 1", "t([True, False, True]), 1:3", ":, t([True, False, False, True])",
    "..., t([False, True])", "t([True, False, True]), :, 0", "t([True, False, True]), t([0, 2])",
    "t([True, False, True]), :, t([True, True])", "mask2", "mask2, 0", "mask2, :", "mask2, None", "None, mask2", "0, mask3",
    ":, mask3", "1:, mask3", "t([False, False, False])", "True", "False", "True, 0", "t(True)", "t(False)", "None, True",
    "x > 5", "(x > 5) & (x < 20)", "x > 1000", "t([True, False, True]), ..., 1",
]  # fmt: skip
# Where torch leaves NumPy's rules; the oracle there is torch alone.
BYTES = "t([0, 1, 1], dtype='uint8')"
NOT_NUMPYS = {BYTES, "..., ...", "(1, 2), 0", "(0, 1), (1, 2)", "0, :, [0, 1]"}
# torch 2.13 still reads a nested list as a tuple, and announces NumPy's meaning.
NOT_TORCHS = {"[[0, 1], [1, 2]]"}
REPEATING = {"t([0, -1, 0])", "[0, 0, 0]", "t([0, 0, 1]), t([1, 1, 1])", "t([[0, 1], [2, 0]])", "[[0, 1], [1, 2]]"}

BAD = [
    ("3", IndexError), ("-4", IndexError), ("0, 4", IndexError), (":, :, 2", IndexError), ("0, 0, 0, 0", IndexError),
    ("..., 0, 0, 0, 0", IndexError), ("[0, 3]", IndexError), (":, [0, -5]", IndexError), ("t([0.5])", IndexError),
    ("1.5", (IndexError, TypeError)), ("'a'", (IndexError, TypeError)), ("t([True, False])", IndexError), ("::-1", ValueError),
    ("::0", ValueError), ("[0, 1], [0, 1, 2]", IndexError),
    ("mask, 0", IndexError), (":, t([True, False, True])", IndexError), ("1.0:2", TypeError),
]  # fmt: skip


def names(lib, x, dtype=np.float64):
    """What an index expression may name, made by one library."""
    if lib is np:
        make = lambda data, dtype=None: np.array(data, dtype=dtype)  # noqa: E731
        value = np.asarray(x)
    else:
        make = lambda data, dtype=None: lib.tensor(data, dtype=None if dtype is None else getattr(lib, dtype))  # noqa: E731
        value = lib.tensor(x)
    rng = np.random.default_rng(1)
    masks = {"mask": SHAPE, "mask2": SHAPE[:2], "mask3": SHAPE[1:]}
    drawn = {name: make(rng.integers(0, 2, shape).astype(bool).tolist()) for name, shape in masks.items()}
    return {"t": make, "np": np, "x": value, **drawn}


class Key:
    """`Key()[expression]` gives the index object of an expression."""

    def __getitem__(self, index):
        return index


def index_of(expression, lib, x):
    return eval(f"key[{expression}]", {"key": Key(), **names(lib, x)})  # noqa: S307


def data():
    return np.arange(24, dtype=np.float64).reshape(SHAPE)


def oracles(expression):
    """The libraries that say what an index expression means: NumPy, and torch where it is installed."""
    if expression not in NOT_NUMPYS:
        yield np
    if _torch() and expression not in NOT_TORCHS:
        yield _torch()


def _torch():
    try:
        import torch
    except ImportError:
        return None
    return torch


@pytest.mark.parametrize("expression", INDICES)
def test_reading(expression):
    got = engine.tensor(data())[index_of(expression, engine, data())]
    for lib in oracles(expression):
        whole = data() if lib is np else lib.tensor(data())
        expected = whole[index_of(expression, lib, data())]
        assert tuple(got.shape) == tuple(np.shape(expected))
        np.testing.assert_array_equal(got.numpy(), np.asarray(expected))


@pytest.mark.parametrize("expression", INDICES)
def test_reading_is_a_view_exactly_where_numpy_gives_one(expression):
    x = engine.tensor(data())
    got = x[index_of(expression, engine, data())]
    basic = not any(c in expression for c in "[(mTFrx")
    basic = basic or expression.startswith(("slice", "t(1", "t(0", "t(-1", "()", "np.int"))
    if basic or expression == ":, t(1):t(3)":
        assert got._base is x
        got += 100
        assert float(x.sum()) == data().sum() + 100 * got.numel()
    elif got.numel():
        assert not np.shares_memory(got.numpy(), x.numpy())


@pytest.mark.parametrize("base", ["plain", "transposed", "stepped"])
@pytest.mark.parametrize("expression", INDICES)
def test_writing_numbers_and_tensors(expression, base):
    for lib in oracles(expression):
        if expression == BYTES:
            continue  # torch 2.13 itself refuses to write with a mask of bytes
        ours, _ = _layout(engine, base)
        theirs, _ = _layout(lib, base)
        ours[index_of(expression, engine, data())] = -1.5
        theirs[index_of(expression, lib, data())] = -1.5
        np.testing.assert_array_equal(ours.numpy(), np.asarray(theirs))
        shape = tuple(ours[index_of(expression, engine, data())].shape)
        if expression in REPEATING:
            continue  # several values for one place: any may win
        value = np.random.default_rng(2).normal(size=shape)
        ours[index_of(expression, engine, data())] = engine.tensor(value)
        theirs[index_of(expression, lib, data())] = value if lib is np else lib.tensor(value)
        np.testing.assert_array_equal(ours.numpy(), np.asarray(theirs))


def _layout(lib, base):
    """(tensor of SHAPE with data(), its base): row-major, transposed memory, or every second element."""
    wrap = (lambda a: a) if lib is np else lib.tensor
    if base == "plain":
        x = wrap(data())
        return x, x
    if base == "transposed":
        whole = wrap(np.ascontiguousarray(data().transpose(2, 1, 0)))
        return (whole.transpose(2, 1, 0) if lib is np else whole.permute(2, 1, 0)), whole
    whole = wrap(np.repeat(data(), 2, axis=1))
    return whole[:, ::2], whole


def _gradients(lib, expression, shape):
    x = lib.tensor(data(), requires_grad=True)
    y = x[index_of(expression, lib, data())]
    weights = lib.tensor(np.random.default_rng(3).normal(size=shape))
    (y * y * weights).sum().backward()
    return x.grad.numpy()


def _write_gradients(lib, expression, shape):
    x = lib.tensor(data(), requires_grad=True)
    value = lib.tensor(np.random.default_rng(4).normal(size=shape), requires_grad=True)
    y = x * 1
    y[index_of(expression, lib, data())] = value * 2
    weights = lib.tensor(np.random.default_rng(5).normal(size=SHAPE))
    (y * y * weights).sum().backward()
    return x.grad.numpy(), np.zeros(shape) if value.grad is None else value.grad.numpy()


@pytest.mark.parametrize("expression", INDICES)
def test_gradient_of_reading_counts_every_reading(expression):
    index = index_of(expression, np if expression not in NOT_NUMPYS else engine, data())
    shape = tuple(engine.tensor(data())[index_of(expression, engine, data())].shape)
    got = _gradients(engine, expression, shape)
    if expression not in NOT_NUMPYS:
        weights = np.random.default_rng(3).normal(size=shape)
        expected = np.zeros(SHAPE)
        np.add.at(expected, index, 2 * data()[index] * weights)
        np.testing.assert_allclose(got, expected, rtol=1e-12)
    torch = _torch()
    if torch and expression not in NOT_TORCHS:
        np.testing.assert_allclose(got, _gradients(torch, expression, shape), rtol=1e-12)


@pytest.mark.parametrize("expression", [e for e in INDICES if e not in REPEATING])
def test_gradient_of_writing(expression):
    shape = tuple(engine.tensor(data())[index_of(expression, engine, data())].shape)
    of_x, of_value = _write_gradients(engine, expression, shape)
    if expression not in NOT_NUMPYS:
        index = index_of(expression, np, data())
        value = np.random.default_rng(4).normal(size=shape)
        weights = np.random.default_rng(5).normal(size=SHAPE)
        expected = 2 * data() * weights
        expected[index] = 0
        np.testing.assert_allclose(of_x, expected, rtol=1e-12)
        np.testing.assert_allclose(of_value, 8 * value * weights[index], rtol=1e-12)
    torch = _torch()
    if torch:
        theirs = _write_gradients(torch, expression, shape)
        np.testing.assert_allclose(of_x, theirs[0], rtol=1e-12)
        np.testing.assert_allclose(of_value, theirs[1], rtol=1e-12)


@pytest.mark.parametrize(("expression", "kind"), BAD)
def test_bad_indices_raise_as_in_torch(expression, kind):
    x = engine.tensor(data())
    with pytest.raises(kind) as ours:
        x[index_of(expression, engine, data())]
    with pytest.raises(kind):
        x[index_of(expression, engine, data())] = 0
    torch = _torch()
    if torch:
        with pytest.raises(kind) as theirs:
            torch.tensor(data())[index_of(expression, torch, data())]
        assert isinstance(ours.value, theirs.type)
    np.testing.assert_array_equal(x.numpy(), data())


VALUES = [
    ("0", (4, 2)), ("0", (1, 4, 2)), ("0", (1, 1, 4, 2)), ("0", (2,)), (":, 1", (1, 1)), ("0, 0, 0", (1,)), ("0, 0, 0", (1, 1)),
    ("[0, 2]", (4, 2)), ("[0, 2]", (1, 4, 2)), ("[0, 2]", (2, 1, 1)), ("mask2", (2,)), ("mask2", (1, 2)), (":", (1,)),
    ("t([True, False, True])", (1, 1, 2)), ("[0, 2]", (1, 2, 4, 2)), ("mask2", (1, 1, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "shape"), VALUES)
def test_values_are_broadcast_and_lose_leading_ones(expression, shape):
    torch = pytest.importorskip("torch")
    value = np.random.default_rng(6).normal(size=shape)
    ours, theirs = engine.tensor(data()), torch.tensor(data())
    ours[index_of(expression, engine, data())] = engine.tensor(value)
    theirs[index_of(expression, torch, data())] = torch.tensor(value)
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize(("expression", "shape"), [("0", (3, 2)), ("0", (2, 4, 2)), ("[0, 2]", (3, 4, 2)), ("mask2", (40, 2)),
                                                   (":, 1", (2, 2)), ("0, 0, 0", (2,))])
def test_values_that_do_not_fit_raise_runtime_error(expression, shape):
    x = engine.tensor(data())
    with pytest.raises(RuntimeError, match="shape|size"):
        x[index_of(expression, engine, data())] = engine.zeros(shape)
    torch = _torch()
    if torch:
        with pytest.raises(RuntimeError):
            torch.tensor(data())[index_of(expression, torch, data())] = torch.zeros(shape)


@pytest.mark.parametrize("expression", ["...", "None", "()", "True", "False", "t(True)", "None, ...", "..., None", "None, True",
                                        "t(False)"])
def test_scalars_as_base(expression):
    got = engine.tensor(7.0)[index_of(expression, engine, 7.0)]
    expected = np.array(7.0)[index_of(expression, np, 7.0)]
    assert tuple(got.shape) == np.shape(expected)
    np.testing.assert_array_equal(got.numpy(), expected)
    x = engine.tensor(7.0)
    x[index_of(expression, engine, 7.0)] = 3
    assert x.item() == (7 if "False" in expression else 3)
    with pytest.raises(IndexError):
        x[0]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int64", "uint8", "bool", "complex64"])
def test_every_dtype_reads_and_writes(dtype):
    x = engine.zeros(4, dtype=getattr(engine, dtype))
    x[1] = 1
    x[[2, 3]] = engine.tensor([1, 0])
    x[engine.tensor([True, False, False, False])] = True
    assert [complex(v).real for v in x.tolist()] == [1, 1, 1, 0]
    assert str(x[[0, 1]].dtype) == str(x[0].dtype) == f"torch.{dtype}"


def test_assigned_values_are_cast_to_the_targets_dtype():
    x = engine.zeros(3, dtype=engine.int64)
    x[0] = 2.9
    x[[1]] = engine.tensor([3.9])
    assert x.tolist() == [2, 3, 0]
    with pytest.raises(TypeError, match="can't assign"):
        x[0] = "a"
    with pytest.raises(TypeError):
        x[0] = None


def test_a_chain_of_indices_writes_through_to_the_base():
    x = engine.zeros(3, 4)
    x[1:][:, 1:3][0] = 5
    x[2, ::2] += 1
    x[[0, 0]] += 1  # advanced: read, add, write back; each place once
    assert x.tolist() == [[1, 1, 1, 1], [0, 5, 5, 0], [1, 0, 1, 0]]


def test_iterating_gives_views_and_gradients():
    x = engine.zeros(3, 2, requires_grad=True)
    total = 0
    for i, row in enumerate(x * 1):
        total = total + (row * i).sum()
    total.backward()
    assert x.grad.tolist() == [[0, 0], [1, 1], [2, 2]]
    y = engine.zeros(2, 2)
    for row in y:
        row += 1
    assert y.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int64"])
@pytest.mark.parametrize("shape", [(50,), (50, 3), (50, 2, 3)])
def test_many_repeated_indices_add_up(shape, dtype):
    """The adjoint of a gather has faster forms for large inputs; all give the plain sum."""
    from engine.ops.indexing import AddAt

    rng = np.random.default_rng(7)
    index = rng.integers(-50, 50, (40, 30))
    values = rng.integers(-8, 8, (40, 30, *shape[1:]))
    d = getattr(engine, dtype).np
    got = AddAt.forward(np, values.astype(d if dtype != "bfloat16" else np.float32), shape, index)
    expected = np.zeros(shape)
    np.add.at(expected, index, values)
    np.testing.assert_array_equal(got.astype(np.float64), expected)
    lead = AddAt.forward(np, np.moveaxis(values, (0, 1), (1, 2))[:1] * 1.0 if values.ndim > 2 else values[None] * 1.0,
                         (1, *shape), (slice(None), index)) if values.ndim < 3 else None
    if lead is not None:
        np.testing.assert_array_equal(lead[0], expected)


def test_no_grad_and_leaf_rules():
    x = engine.zeros(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        x[0] = 1
    with pytest.raises(RuntimeError, match="leaf"):
        x[[0]] = 1
    with engine.no_grad():
        x[0] = 1
        x[[1]] = 2
    assert x.tolist() == [1, 2, 0]
    assert x.is_leaf
    assert x.requires_grad


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_many_elements_by_index_and_what_is_added_back(dim):
    """Large enough for the forms that take elements by one flat index, or whole slices."""
    rng = np.random.default_rng(dim)
    x = engine.tensor(rng.random((60, 70, 8)), requires_grad=True)
    index = rng.integers(0, x.shape[dim], (50, 60, 6))
    values = engine.tensor(rng.random(index.shape), requires_grad=True)
    places = np.indices(index.shape)
    places[dim] = index
    y = x.gather(dim, engine.tensor(index))
    np.testing.assert_array_equal(y.detach().numpy(), x.detach().numpy()[tuple(places)])
    expected = np.zeros(x.shape)
    np.add.at(expected, tuple(places), values.detach().numpy())
    y.backward(values.detach())
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-12)
    total = engine.zeros(60, 70, 8, dtype=engine.float64).scatter_add(dim, engine.tensor(index), values)
    np.testing.assert_allclose(total.detach().numpy(), expected, rtol=1e-12)
    total.backward(x.detach())
    np.testing.assert_array_equal(values.grad.numpy(), y.detach().numpy())

    x.grad = None
    rows = rng.integers(-x.shape[dim], x.shape[dim], 3000)
    z = x[(*(slice(None),) * dim, engine.tensor(rows))]
    assert z.is_contiguous()
    np.testing.assert_array_equal(z.detach().numpy(), np.take(x.detach().numpy(), rows, dim))
    z.sum().backward()
    counts = np.bincount(rows % x.shape[dim], minlength=x.shape[dim])
    moved = np.moveaxis(x.grad.numpy(), dim, -1)
    np.testing.assert_array_equal(moved, np.broadcast_to(counts, moved.shape))
