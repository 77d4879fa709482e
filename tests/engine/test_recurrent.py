"""Recurrent layers: packed sequences, dropout between layers, long sequences, in-place safety and errors."""

from __future__ import annotations

import numpy as np
import pytest

import engine
from engine.ops import _recurrent_layout, _recurrent_steps, recurrent

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def arrays(name, layers=1, directions=1, inputs=3, hidden=4, batch=3, length=5, seed=0, proj=0):
    """(input, states, parameters) as NumPy arrays."""
    rng = np.random.default_rng(seed)
    gates, state = GATES[name] * hidden, proj or hidden
    weights = []
    for layer in range(layers):
        for _ in range(directions):
            weights += [
                rng.normal(size=(gates, inputs if layer == 0 else state * directions)),
                rng.normal(size=(gates, state)),
                rng.normal(size=gates),
                rng.normal(size=gates),
            ]
            weights += [rng.normal(size=(proj, hidden))] if proj else []
    k = layers * directions
    states = [rng.normal(size=(k, batch, state))] + ([rng.normal(size=(k, batch, hidden))] if name == "lstm" else [])
    return rng.normal(size=(length, batch, inputs)), states, [0.5 * w for w in weights]


def tensors(lib, values):
    return [lib.tensor(v).requires_grad_() for v in values]


def run(lib, name, data, states, weights, layers=1, both=False, sizes=None, dropout=0.0):
    """All outputs and all gradients of a random projection of them."""
    x, hx, params = tensors(lib, [data])[0], tensors(lib, states), tensors(lib, weights)
    h = tuple(hx) if name == "lstm" else hx[0]
    fn = getattr(lib, name)
    if sizes is None:
        outs = fn(x, h, params, True, layers, dropout, True, both, False)
    else:
        outs = fn(x, lib.tensor(sizes), h, params, True, layers, dropout, True, both)
    rng = np.random.default_rng(9)
    loss = sum((o * lib.tensor(rng.normal(size=tuple(o.shape)))).sum() for o in outs)
    loss.backward()
    return [v.detach().numpy() for v in outs] + [v.grad.numpy() for v in (x, *hx, *params)]


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize(("layers", "both"), [(1, False), (1, True), (2, True)])
def test_packed_sequences_equal_torch(name, layers, both):
    torch = pytest.importorskip("torch")
    _, states, weights = arrays(name, layers, 1 + both)
    sizes = [3, 3, 2, 1]
    data = np.random.default_rng(1).normal(size=(sum(sizes), 3))
    assert_same(
        run(engine, name, data, states, weights, layers, both, sizes),
        run(torch, name, data, states, weights, layers, both, sizes),
    )


@pytest.mark.parametrize("name", GATES)
def test_packed_form_equals_each_sequence_alone(name):
    _, states, weights = arrays(name, directions=2)
    rng = np.random.default_rng(1)
    lengths = [4, 3, 1]
    rows = [rng.normal(size=(n, 3)) for n in lengths]
    sizes = [sum(n > t for n in lengths) for t in range(4)]
    packed = np.concatenate([[rows[b][t] for b in range(sizes[t])] for t in range(4)])
    together = run(engine, name, packed, states, weights, 1, True, sizes)
    for b, row in enumerate(rows):
        alone = run(engine, name, row[:, None], [s[:, b : b + 1] for s in states], weights, 1, True)
        starts = np.cumsum([0, *sizes])
        np.testing.assert_allclose([together[0][starts[t] + b] for t in range(lengths[b])], alone[0][:, 0], rtol=1e-9)
        np.testing.assert_allclose(together[1][:, b], alone[1][:, 0], rtol=1e-9)


@pytest.mark.parametrize("name", GATES)
def test_dropout_between_layers_draws_torch_masks(name):
    torch = pytest.importorskip("torch")
    data, states, weights = arrays(name, layers=3)
    engine.manual_seed(4)
    torch.manual_seed(4)
    assert_same(
        run(engine, name, data, states, weights, 3, dropout=0.4),
        run(torch, name, data, states, weights, 3, dropout=0.4),
    )


def test_lstm_with_projection_equals_torch():
    torch = pytest.importorskip("torch")
    data, states, weights = arrays("lstm", layers=2, directions=2, proj=2)
    assert_same(run(engine, "lstm", data, states, weights, 2, True), run(torch, "lstm", data, states, weights, 2, True))


def test_batch_first_swaps_the_first_two_dimensions():
    data, states, weights = arrays("gru")
    h, params = engine.tensor(states[0]), [engine.tensor(w) for w in weights]
    a, _ = engine.gru(engine.tensor(data), h, params, True, 1, 0.0, False, False, False)
    b, _ = engine.gru(engine.tensor(data.swapaxes(0, 1)), h, params, True, 1, 0.0, False, False, True)
    np.testing.assert_array_equal(a.transpose(0, 1).numpy(), b.numpy())


@pytest.mark.parametrize("name", GATES)
def test_the_output_may_be_changed_in_place_before_backward(name):
    data, states, weights = arrays(name)

    def gradients(change):
        x, params = engine.tensor(data).requires_grad_(), [engine.tensor(w).requires_grad_() for w in weights]
        hx = [engine.tensor(s) for s in states]
        hx = tuple(hx) if name == "lstm" else hx[0]
        out = getattr(engine, name)(x, hx, params, True, 1, 0.0, False, False, False)[0]
        y = out.mul_(2) if change else out * 2
        (y * y).sum().backward()
        return [t.grad.numpy() for t in (x, *params)]

    for a, b in zip(gradients(True), gradients(False)):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_final_state_alone_gives_gradients():
    data, states, weights = arrays("lstm")
    x, params = engine.tensor(data).requires_grad_(), [engine.tensor(w) for w in weights]
    h, c = [engine.tensor(s) for s in states]
    _, hn, cn = engine.lstm(x, (h, c), params, True, 1, 0.0, False, False, False)
    (a,) = engine.autograd.grad(cn.sum(), x, retain_graph=True)
    assert float(a.abs().sum()) > 0
    (b,) = engine.autograd.grad(hn.sum(), x)
    assert not (a == b).all()


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize(("batch", "proj"), [(1, 0), (3, 0), (3, 2), (70, 0)], ids=str)
def test_a_single_step_equals_the_loops(name, batch, proj, monkeypatch):
    if proj and name != "lstm":
        return
    hidden = 200 if batch == 70 else 4  # then the products take both threads
    given = arrays(name, layers=2, hidden=hidden, batch=batch, length=1, proj=proj)
    found = run(engine, name, *given, layers=2)
    monkeypatch.setattr(recurrent, "_recurrent_single", _recurrent_steps)
    assert_same(found, run(engine, name, *given, layers=2))


@pytest.mark.parametrize("name", GATES)
def test_states_of_a_single_step_may_be_changed_in_place(name):
    x, states, weights = arrays(name, length=1)
    grads = []
    for change in (False, True):
        params = tensors(engine, weights)
        hx = [s[0] for s in tensors(engine, states)]
        out = getattr(engine, name + "_cell")(engine.tensor(x[0]), tuple(hx) if name == "lstm" else hx[0], *params)
        h = out[0] if name == "lstm" else out
        assert h.is_contiguous()
        loss = (h * 1).sum()
        if change:
            h.detach().zero_()
        loss.backward()
        grads.append(params[1].grad.numpy())
    np.testing.assert_array_equal(*grads)


def test_cells_equal_one_step_of_the_layers():
    for name in GATES:
        data, states, weights = arrays(name, length=1)
        w = [engine.tensor(v) for v in weights]
        layer_hx = [engine.tensor(s) for s in states]
        cell_hx = [engine.tensor(s[0]) for s in states]
        out = getattr(engine, name)(
            engine.tensor(data),
            tuple(layer_hx) if name == "lstm" else layer_hx[0],
            w,
            True,
            1,
            0.0,
            False,
            False,
            False,
        )
        cell = getattr(engine, name + "_cell")(engine.tensor(data[0]), tuple(cell_hx) if name == "lstm" else cell_hx[0], *w)
        got = cell if name == "lstm" else (cell,)
        for a, b in zip(out[1:], got):
            np.testing.assert_allclose(a.numpy()[0], b.numpy(), rtol=1e-12)


def test_saturated_gates_stay_finite():
    data, states, weights = arrays("lstm")
    outs = run(engine, "lstm", data * 1e4, states, weights)
    assert all(np.isfinite(o).all() for o in outs)


def test_errors_name_sizes():
    data, states, weights = arrays("gru")
    x, h, w = engine.tensor(data), engine.tensor(states[0]), [engine.tensor(v) for v in weights]
    with pytest.raises(RuntimeError, match="must be equal to input_size. Expected 3, got 2"):
        engine.gru(x[..., :2], h, w, True, 1, 0.0, False, False, False)
    with pytest.raises(RuntimeError, match=r"hidden states of shape \(1, 3, \*\), got \[1, 2, 4\]"):
        engine.gru(x, h[:, :2], w, True, 1, 0.0, False, False, False)
    with pytest.raises(RuntimeError, match="incorrect number of RNN parameters: 3"):
        engine.gru(x, h, w[:3], True, 1, 0.0, False, False, False)
    with pytest.raises(RuntimeError, match="lstm expects 2 hidden states, got 1"):
        engine.lstm(x, (h,), w, True, 1, 0.0, False, False, False)
    with pytest.raises(RuntimeError, match="float64.*float32"):
        engine.gru(x, h.float(), w, True, 1, 0.0, False, False, False)
    with pytest.raises(RuntimeError, match="larger than 0"):
        engine.gru(x[:0], h, w, True, 1, 0.0, False, False, False)
    with pytest.raises(TypeError, match="missing: params"):
        engine.gru(x, h, has_biases=True, num_layers=1, dropout=0.0, train=False, bidirectional=False)
    with pytest.raises(RuntimeError, match="Input batch size 3 doesn't match hidden0 batch size 2"):
        engine.gru_cell(x[0], h[0, :2], *w)


def test_results_do_not_depend_on_the_threads_of_blas():
    from threadpoolctl import threadpool_limits

    def run(threads):
        engine.manual_seed(0)
        lstm, x = engine.nn.LSTM(128, 128), engine.randn(16, 32, 128)
        with threadpool_limits(threads, "blas"):
            lstm(x)[0].sum().backward()
        return [p.grad.numpy().tobytes() for p in lstm.parameters()]

    assert run(1) == run(2)


LONG = [(32, 40), (32, 24), (20, 16)]  # (sequences, steps), one after the other: packed, and long enough for several threads
SHAPES = {
    "one thread loops": {"inputs": 100, "hidden": 130, "sizes": [n for n, steps in LONG for _ in range(steps)]},
    "blocks of sequences": {"inputs": 300, "hidden": 380, "sizes": [48, 48, 48, 40, 20, 20, 7]},
    "few steps": {"inputs": 64, "hidden": 300, "sizes": [96, 90]},
}


@pytest.fixture
def numpy_only():
    before = engine.get_num_threads()
    with engine.backends.fast.flags(enabled=False):
        yield
    engine.set_num_threads(before)


def packed_gradients(lib, name, inputs, hidden, sizes, both, proj=0):
    """Outputs, final states and gradients of one layer in single precision, over sequences long or wide enough for threads."""
    rng = np.random.default_rng(5)
    gates, state, k = GATES[name] * hidden, proj or hidden, 1 + both
    shapes = [(gates, inputs), (gates, state), (gates,), (gates,)] + ([(proj, hidden)] if proj else [])
    weights = [rng.normal(size=s) / hidden**0.5 for _ in range(k) for s in shapes]
    states = [rng.normal(size=(k, sizes[0], n)) for n in ((state, hidden) if name == "lstm" else (state,))]
    data = rng.normal(size=(sum(sizes), inputs))
    (data,), states, weights = ([np.asarray(v, np.float32) for v in values] for values in ([data], states, weights))
    return run(lib, name, data, states, weights, both=both, sizes=sizes)


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("shape", SHAPES)
def test_large_layers_equal_torch_whatever_the_threads(name, shape, numpy_only):
    torch = pytest.importorskip("torch")
    both = shape == "one thread loops"
    for proj in (0, 70) if name == "lstm" and both else (0,):
        found = {}
        for threads in (1, 2, 3):
            engine.set_num_threads(threads)
            found[threads] = packed_gradients(engine, name, **SHAPES[shape], both=both, proj=proj)
        for others in (found[2], found[3]):
            assert [a.tobytes() for a in others] == [a.tobytes() for a in found[1]]
        for a, b in zip(found[1], packed_gradients(torch, name, **SHAPES[shape], both=both, proj=proj), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5 * np.abs(b).max())


def test_an_error_in_a_helper_is_raised_and_nobody_waits_for_ever(numpy_only, monkeypatch):
    engine.set_num_threads(2)
    lstm, x = engine.nn.LSTM(64, 128), engine.randn(64, 32, 64)
    monkeypatch.setattr(_recurrent_layout.Segment, "slots", lambda *_: 1 / 0)
    with pytest.raises((RuntimeError, ZeroDivisionError)):
        lstm(x)
