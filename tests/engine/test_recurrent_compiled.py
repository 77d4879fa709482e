"""Recurrent layers by compiled kernels: the same as the NumPy form and as torch, whatever the threads, layouts and sizes."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

import engine
from engine import fast
from engine.nn.utils.rnn import pack_padded_sequence
from engine.ops import _recurrent_compiled

pytestmark = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")

CASES = [
    ("LSTM", {}),
    ("LSTM", {"proj_size": 40, "bidirectional": True}),
    ("LSTM", {"bias": False, "batch_first": True}),
    ("GRU", {"bidirectional": True}),
    ("GRU", {"bias": False}),
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu", "bidirectional": True}),
]
LENGTHS = [40, 38, 38, 25, 17, 9, 9, 4, 1]


@pytest.fixture(autouse=True)
def put_threads_back():
    before = engine.get_num_threads()
    yield
    engine.set_num_threads(before)


def layer_and_input(lib, kind, options, inputs=24, hidden=97, batch=9, length=80):
    """A layer of two and its input, with the same numbers in either library."""
    layer = getattr(lib.nn, kind)(inputs, hidden, 2, **options)
    rng = np.random.default_rng(0)
    with lib.no_grad():
        for p in layer.parameters():
            p.copy_(lib.from_numpy((rng.standard_normal(tuple(p.shape)) * 0.7 / p.shape[-1] ** 0.5).astype(np.float32)))
    x = rng.standard_normal((length, batch, inputs)).astype(np.float32)
    return layer, lib.from_numpy(x.swapaxes(0, 1).copy() if options.get("batch_first") else x).requires_grad_()


def results(lib, layer, x, given=None):
    """Outputs, final states and all gradients of a loss that uses each of them."""
    out, final = layer(x if given is None else given)
    outs = [getattr(out, "data", out) if given is not None else out, *(final if isinstance(final, tuple) else (final,))]
    sum(((i + 1) * o * o).sum() for i, o in enumerate(outs)).backward()
    return [t.detach().numpy() for t in (*outs, x.grad, *[p.grad for p in layer.parameters()])]


def assert_close(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=3e-6 * np.abs(b).max())


def was_compiled(layer, x):
    return _recurrent_compiled.usable(x._array.reshape(-1, x.shape[-1]), None, layer.weight_ih_l0._array)


@pytest.mark.parametrize(("kind", "options"), CASES, ids=str)
def test_equals_the_numpy_form_and_torch(kind, options):
    layer, x = layer_and_input(engine, kind, options)
    assert was_compiled(layer, x)
    found = results(engine, layer, x)
    with engine.backends.fast.flags(enabled=False):
        assert_close(found, results(engine, *layer_and_input(engine, kind, options)))
    torch = pytest.importorskip("torch")
    assert_close(found, results(torch, *layer_and_input(torch, kind, options)))


@pytest.mark.parametrize(("kind", "options"), CASES[3:], ids=str)
def test_packed_sequences(kind, options):
    def packed_results():
        layer, x = layer_and_input(engine, kind, options, batch=len(LENGTHS), length=40, hidden=500)
        return results(engine, layer, x, pack_padded_sequence(x, LENGTHS))

    found = packed_results()
    with engine.backends.fast.flags(enabled=False):
        assert_close(found, packed_results())


@pytest.mark.parametrize("batch", [1, 4, 9, 40])
def test_results_do_not_depend_on_the_number_of_threads(batch):
    def run(threads):
        engine.set_num_threads(threads)
        return results(engine, *layer_and_input(engine, "LSTM", {}, batch=batch, length=300))

    assert all((a == b).all() for a, b in zip(run(1), run(3), strict=True))


def test_inputs_wider_than_what_a_small_product_takes():
    layer, x = layer_and_input(engine, "GRU", {}, inputs=3000, batch=33, length=12)
    found = results(engine, layer, x)
    with engine.backends.fast.flags(enabled=False):
        assert_close(found, results(engine, *layer_and_input(engine, "GRU", {}, inputs=3000, batch=33, length=12)))


def test_either_form_goes_on_from_what_the_other_has_kept():
    def run(forward, backward):
        layer, x = layer_and_input(engine, "LSTM", {"proj_size": 30})
        with engine.backends.fast.flags(enabled=forward):
            out = layer(x)[0]
        with engine.backends.fast.flags(enabled=backward):
            out.sum().backward()
        return [p.grad.numpy() for p in layer.parameters()]

    expected = run(False, False)
    for forms in ((True, False), (False, True)):
        assert_close(run(*forms), expected)


def test_inputs_are_left_as_they_are_and_may_be_read_only():
    layer, x = layer_and_input(engine, "LSTM", {})
    array = x.detach().numpy().copy()
    array.flags.writeable = False
    h0, c0 = engine.ones(2, 9, 97), engine.ones(2, 9, 97)
    layer(engine.from_numpy(array), (h0, c0))[0].sum().backward()
    assert (h0 == 1).all() and (c0 == 1).all()
    np.testing.assert_array_equal(array, x.detach().numpy())


def test_the_output_may_be_changed_in_place_before_backward():
    grads = []
    for kind in ("LSTM", "GRU", "RNN"):
        for change in (False, True):
            layer, x = layer_and_input(engine, kind, {}, length=200)
            out = layer(x)[0]
            loss = (out * 1).sum()
            if change:
                out.detach().zero_()
            loss.backward()
            grads.append(layer.weight_hh_l0.grad.numpy())
        np.testing.assert_array_equal(*grads[-2:])


@pytest.mark.parametrize("function", ["tanh", "sigmoid"])
def test_how_near_the_compiled_functions_are(function):
    cells = fast.kernels("cells")
    formula = getattr(cells, function)

    @cells.on_places
    def compute(place):
        place[0] = formula(place[0])

    @pytest.importorskip("numba").njit
    def apply(numbers):
        for j in range(0, numbers.size, cells.LANES):
            compute(numbers.ctypes.data + 4 * j)

    x = np.concatenate([np.linspace(-20, 20, 4028), [0.0, 1e-30, np.inf, -np.inf]]).astype(np.float32)
    wide = x.astype(np.float64)
    expected = np.tanh(wide) if function == "tanh" else 1 / (1 + np.exp(-wide))
    apply(x)
    np.testing.assert_allclose(x, expected, atol=3e-7, rtol=5e-7 if function == "tanh" else 0)
    nothing = np.full(cells.LANES, np.nan, np.float32)
    apply(nothing)
    assert np.isnan(nothing).all()


@pytest.mark.parametrize("shape", [(5, 3, 7), (64, 130, 100), (300, 1, 33)], ids=str)
@pytest.mark.parametrize("gates", [1, 3, 4])
def test_products_in_panels(gates, shape):
    rows, inner, units = shape
    products = fast.kernels("products")
    multiply, lanes = products.multiply, products.LANES

    @pytest.importorskip("numba").njit
    def fill(sums, a, packed, width):
        for p in range(len(packed)):
            to, row, inner = sums.ctypes.data + 4 * p * width, sums.strides[0], a.shape[1]
            multiply(width // lanes, to, row, to, row, a.ctypes.data, 4 * inner, 4, packed[p].ctypes.data, 4 * width,
                     inner, len(a))  # fmt: skip

    rng = np.random.default_rng(0)
    a, w = (rng.standard_normal(s).astype(np.float32) for s in ((rows, inner), (gates * units, inner)))
    sizes = _recurrent_compiled._Sizes(gates, units)
    packed, sums, bias = sizes.panels(w), np.zeros((rows, sizes.sums), np.float32), np.empty(0, np.float32)
    fill(sums, a, packed, sizes.panel)
    back = np.zeros((gates * units, rows), np.float32)
    products.weight_gradient(sums, gates, np.eye(rows, dtype=np.float32), 0, len(packed), back, bias)
    np.testing.assert_allclose(back, w @ a.T, rtol=1e-5, atol=1e-4)
    turned = sizes.panels_of_rows(w)  # sums @ turned is a @ w.T @ w
    found = np.concatenate([sums @ panel for panel in turned], 1)
    np.testing.assert_allclose(found[:, :inner], a @ w.T @ w, rtol=1e-4, atol=1e-2)
    assert not found[:, inner:].any()
