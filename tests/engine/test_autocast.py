"""Mixed precision: autocast's lists and state, custom functions, and the gradient scaler, against torch where it is there."""

from __future__ import annotations

import pickle
import threading
import warnings

import numpy as np
import pytest

import engine

try:
    import torch as oracle
except ModuleNotFoundError:
    oracle = None

F32 = "float32"
HALVES = ("bfloat16", "float16")

# Calls by torch's names: (expression, and whether its inputs are the half dtype). `t`: the library, `x`, `y`: 4 x 4.
CALLS = (
    "t.mm(x, y)", "x @ y", "t.matmul(x, y[0])", "t.mv(x, y[0])", "t.dot(x[0], y[0])", "t.bmm(x[None], y[None])",
    "t.addmm(x, x, y)", "t.baddbmm(x[None], x[None], y[None])", "t.addbmm(x, x[None], y[None])",
    "t.einsum('ij,jk', x, y)", "t.inner(x, y)", "t.outer(x[0], y[0])", "t.linalg.multi_dot([x, y, x])",
    "t.linalg.vecdot(x, y)", "t.chain_matmul(x, y, x)", "t.matrix_power(x, 3)", "F.linear(x, y)",
    "F.linear(x, y, y[0])", "F.conv1d(x[None], y[:, :, None])", "F.conv2d(x[None, None], y[None, None])",
    "F.conv3d(x[None, None, None], y[None, None, None])", "F.conv_transpose1d(x[None], y[:, :, None])",
    "F.conv_transpose2d(x[None, None], y[None, None])", "F.prelu(x, y[0, :1])",
    "F.scaled_dot_product_attention(x[None], y[None], y[None])", "t.addmv(x[0], x, y[0])",
    "t.mm(x, y, out=t.empty(4, 4))", "t.zeros(4, 4).addmm_(x, y)", "t.cat([x, y])", "t.stack([x, y])",
    "t.cat([x, y.float()])", "t.stack([x.float(), y])", "t.hstack([x, y.float()])", "t.cat([x.double(), y.double()])",
    "x.index_copy(0, t.arange(4), y.float())", "F.mse_loss(x, y)", "F.l1_loss(x, y)", "F.smooth_l1_loss(x, y)",
    "F.huber_loss(x, y)", "F.cross_entropy(x, t.arange(4))", "F.nll_loss(x, t.arange(4))",
    "F.binary_cross_entropy(x.sigmoid(), y.sigmoid())", "F.binary_cross_entropy_with_logits(x, y)", "F.kl_div(x, y)",
    "F.cosine_embedding_loss(x, y, t.ones(4))", "F.triplet_margin_loss(x, y, x)", "F.multi_margin_loss(x, t.arange(4))",
    "F.soft_margin_loss(x, y.sign())", "F.poisson_nll_loss(x, y)", "F.hinge_embedding_loss(x, y.sign())",
    "F.margin_ranking_loss(x, y, y.sign())", "F.gaussian_nll_loss(x, y, y.abs() + 1)", "x.prod()", "x.prod(0)",
    "x.trace()", "t.cdist(x, y)", "t.quantile(x, 0.5)", "t.nanquantile(x, 0.5)", "t.fft.fft(x.float())",
    "t.fft.rfft(x.float())", "t.linalg.inv(x)", "t.linalg.solve(x, y)", "t.linalg.eigvalsh(x)", "t.linalg.svdvals(x)",
    "t.linalg.cond(x)", "t.linalg.lstsq(x, y)[0]", "t.inverse(x)", "t.svd(x)[1]", "F.pad(x, (1, 1), mode='reflect')",
    "F.pad(x, (1, 1), mode='replicate')", "F.pad(x, (1, 1), mode='circular')", "F.pad(x, (1, 1))",
    "F.avg_pool3d(x[None, None, None], 1)", "F.adaptive_avg_pool3d(x[None, None, None], 1)",
    "F.avg_pool2d(x[None, None], 1)", "x.sum()", "x.exp()", "t.softmax(x, -1)", "x * y", "x + y.float()",
    "F.layer_norm(x, (4,))", "x.norm()", "F.gelu(x)", "x.cumsum(0)", "x.logsumexp(0)", "t.mm(x.double(), y.double())",
    "t.mm(x.int(), y.int())", "F.mse_loss(x.double(), y.double())", "t.bilinear(x, y, y[None])",
    "t.nn.BatchNorm1d(4)(x)", "t.nn.LayerNorm(4)(x)", "t.nn.GroupNorm(2, 4)(x)", "t.nn.RMSNorm(4)(x)",
    "t.nn.LSTM(4, 3)(x[None])[0]", "t.nn.GRU(4, 3)(x[None])[0]", "t.nn.RNN(4, 3)(x[None])[0]",
    "t.nn.LSTMCell(4, 3)(x)[0]", "t.nn.GRUCell(4, 3)(x)", "t.nn.RNNCell(4, 3)(x)",
    "t.nn.MultiheadAttention(4, 2)(x[None], x[None], x[None])[0]", "t.nn.TransformerEncoderLayer(4, 2, 8)(x[None])",
    "t.nn.Bilinear(4, 4, 2)(x, y)", "t.nn.functional.embedding(t.arange(2), x)",
)  # fmt: skip


def outcome(lib, call, dtype, half_inputs):
    """The dtype and values of a call under autocast; None if it raises."""
    numbers = np.random.default_rng(0)
    x, y = (lib.tensor(numbers.normal(size=(4, 4)).astype(np.float32).tolist()) for _ in range(2))
    if half_inputs:
        x, y = x.to(getattr(lib, dtype)), y.to(getattr(lib, dtype))
    lib.manual_seed(1)
    with warnings.catch_warnings(), lib.autocast("cpu", dtype=getattr(lib, dtype)):
        warnings.simplefilter("ignore")
        try:
            result = eval(call, {"t": lib, "F": lib.nn.functional, "x": x, "y": y})
        except (RuntimeError, NotImplementedError):
            return None
    return str(result.dtype), np.array(result.detach().to(lib.complex128).tolist())


@pytest.mark.skipif(oracle is None, reason="torch is not installed")
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("half_inputs", [False, True])
@pytest.mark.parametrize("call", CALLS)
def test_every_operator_takes_the_dtype_that_it_takes_in_torch(call, half_inputs, dtype):
    expected = outcome(oracle, call, dtype, half_inputs)
    if expected is None:
        pytest.skip("torch has no kernel for this")
    got = outcome(engine, call, dtype, half_inputs)
    assert got is not None and got[0] == expected[0]
    tolerance = {"bfloat16": 0.04, "float16": 0.005}[dtype]
    finite = np.isfinite(expected[1])
    assert (np.isfinite(got[1]) == finite).all()
    np.testing.assert_allclose(got[1][finite], expected[1][finite], rtol=tolerance, atol=4 * tolerance)


def test_gradients_arrive_in_the_dtype_of_the_parameters():
    layer, x = engine.nn.Linear(3, 2), engine.randn(4, 3, requires_grad=True)
    with engine.autocast("cpu"):
        y = layer(x)
        loss = engine.nn.functional.mse_loss(y, engine.zeros(4, 2))
    assert (y.dtype, loss.dtype) == (engine.bfloat16, engine.float32)
    loss.backward()
    assert layer.weight.grad.dtype == layer.bias.grad.dtype == x.grad.dtype == engine.float32
    exact = 2 / 8 * (layer(x).detach()).T @ x.detach()
    engine.testing.assert_close(layer.weight.grad, exact, rtol=0.05, atol=0.02)


def test_contexts_nest_and_hold_for_one_thread():
    x, seen = engine.ones(2, 2), []
    with engine.autocast("cpu", dtype=engine.float16):
        with engine.autocast("cpu", enabled=False):
            assert (x @ x).dtype == engine.float32 and not engine.is_autocast_enabled("cpu")
        assert (x @ x).dtype == engine.float16 and engine.get_autocast_dtype("cpu") == engine.float16
        thread = threading.Thread(target=lambda: seen.append((x @ x).dtype))
        thread.start()
        thread.join()
    assert seen == [engine.float32]
    assert (x @ x).dtype == engine.float32 and engine.get_autocast_dtype("cpu") == engine.bfloat16


def test_the_state_is_put_back_after_an_error():
    with pytest.raises(ZeroDivisionError), engine.autocast("cpu"):
        1 / 0
    assert not engine.is_autocast_enabled("cpu") and engine.ones(1, 1).mm(engine.ones(1, 1)).dtype == engine.float32
    from engine.ops.casting import casting

    assert casting.on == 0


def test_it_decorates_functions_that_call_themselves():
    @engine.autocast("cpu")
    def power(x, n):
        return x if n == 0 else power(x, n - 1) @ x

    assert power(engine.ones(2, 2), 3).dtype == engine.bfloat16
    assert not engine.is_autocast_enabled("cpu")


def test_the_cast_of_a_parameter_is_made_once_and_knows_about_changes():
    from engine.ops.casting import state

    weight = engine.nn.Parameter(engine.ones(2, 2))
    with engine.autocast("cpu"):
        one, two = engine.ones(2, 2) @ weight, engine.ones(2, 2) @ weight
        assert len(state.cache) == 1
        with engine.no_grad():
            weight.mul_(3)
            assert (engine.ones(2, 2) @ weight)[0, 0].item() == 6
        three = engine.ones(2, 2) @ weight
    assert not state.cache
    (one + two).sum().backward()
    assert weight.grad.tolist() == [[4.0, 4.0], [4.0, 4.0]] and three.requires_grad
    with engine.autocast("cpu", cache_enabled=False):
        engine.ones(2, 2) @ weight
        assert not state.cache


def test_contexts_that_cannot_be_are_refused_or_disabled():
    with pytest.raises(RuntimeError, match="unsupported autocast device_type 'tpu'"):
        engine.autocast("tpu")
    with pytest.raises(ValueError, match="Expected `device_type` of type `str`"):
        engine.autocast(1)
    with pytest.warns(UserWarning, match="not supported"), engine.autocast("cpu", dtype=engine.float64):
        assert engine.ones(1, 1).mm(engine.ones(1, 1)).dtype == engine.float32
    if not engine.cuda.is_available():
        with pytest.warns(UserWarning, match="CUDA is not available"), engine.autocast("cuda"):
            assert not engine.is_autocast_enabled()


def test_custom_functions_choose_their_dtype():
    class Product(engine.autograd.Function):
        @staticmethod
        @engine.amp.custom_fwd(device_type="cpu", cast_inputs=engine.float32)
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return a @ b

        @staticmethod
        @engine.amp.custom_bwd(device_type="cpu")
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            return (g @ b.T), (a.T @ g)

    class Follows(Product):
        @staticmethod
        @engine.amp.custom_fwd(device_type="cpu")
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return a @ b

    a = engine.ones(2, 2, dtype=engine.bfloat16, requires_grad=True)
    with engine.autocast("cpu"):
        assert Product.apply(a, a).dtype == engine.float32
        y = Follows.apply(a, a)
    assert y.dtype == engine.bfloat16
    y.sum().backward()
    assert a.grad.dtype == engine.bfloat16


def test_the_old_names_know_their_device():
    with engine.cpu.amp.autocast():
        assert engine.ones(1, 1).mm(engine.ones(1, 1)).dtype == engine.bfloat16
    assert engine.amp.is_autocast_available("cpu") and not engine.amp.is_autocast_available("mps")


# -- a small training run, beside torch's ---------------------------------------------------------------------------


def losses(lib, dtype, steps=30):
    nn = lib.nn
    lib.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                          nn.Linear(64, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 5))
    optimizer = lib.optim.Adam(model.parameters(), lr=0.01)
    scaler = lib.amp.GradScaler("cpu", enabled=dtype == "float16", init_scale=2.0**10)
    x, y = lib.randn(32, 1, 8, 8), lib.randint(5, (32,))
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        with lib.autocast("cpu", dtype=getattr(lib, dtype)):
            loss = nn.functional.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        found.append(loss.item())
    return found


@pytest.mark.skipif(oracle is None, reason="torch is not installed")
@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.03), ("float16", 0.006)])
def test_a_training_run_in_mixed_precision_follows_torch(dtype, tolerance):
    here, there = losses(engine, dtype), losses(oracle, dtype)
    assert here[-1] < 0.3 * here[0]
    np.testing.assert_allclose(here[:10], there[:10], rtol=tolerance)
    np.testing.assert_allclose(here, there, rtol=5 * tolerance, atol=tolerance)


# -- GradScaler -----------------------------------------------------------------------------------------------------


def scaled_steps(lib, gradients, **options):
    """What a scaler does with a given sequence of gradients: parameter, scale and counter after every update."""
    w = lib.tensor([1.0, 2.0], requires_grad=True)
    optimizer = lib.optim.SGD([w], lr=0.5)
    scaler = lib.amp.GradScaler("cpu", **options)
    seen = []
    for g in gradients:
        optimizer.zero_grad()
        scaler.scale((w * lib.tensor(g)).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        seen.append((w.tolist(), scaler.get_scale(), scaler.state_dict()["_growth_tracker"]))
    return seen


def test_the_scale_grows_backs_off_and_skips_steps():
    gradients = [[0.5, 1.0]] * 3 + [[float("inf"), 1.0], [1.0, float("nan")]] + [[0.25, 0.0]] * 4
    options = {"init_scale": 8.0, "growth_interval": 2, "growth_factor": 4.0, "backoff_factor": 0.25}
    got = scaled_steps(engine, gradients, **options)
    assert [scale for _, scale, _ in got] == [8, 32, 32, 8, 2, 2, 8, 8, 32]
    assert got[4][0] == got[2][0]  # two skipped steps
    if oracle is not None:
        assert got == scaled_steps(oracle, gradients, **options)


def test_the_scale_never_becomes_infinite():
    got = scaled_steps(engine, [[0.0, 0.0]] * 3, init_scale=2.0**126, growth_interval=1)
    assert [scale for _, scale, _ in got] == [2.0**127] * 3


@pytest.mark.parametrize(("misuse", "error", "text"), [
    (lambda s, o, w: s.step(o), AssertionError, "_scale is None"),
    (lambda s, o, w: s.update(), AssertionError, "_scale is None"),
    (lambda s, o, w: (s.scale(w.sum()).backward(), s.unscale_(o), s.unscale_(o)), RuntimeError, "already been called"),
    (lambda s, o, w: (s.scale(w.sum()).backward(), s.step(o), s.step(o)), RuntimeError, "already been called"),
    (lambda s, o, w: (s.scale(w.sum()).backward(), s.step(o), s.unscale_(o)), RuntimeError, "after step"),
    (lambda s, o, w: (s.scale(w.sum()), s.step(o)), AssertionError, "No inf checks were recorded for this optimizer"),
    (lambda s, o, w: (s.scale(w.sum()), s.update()), AssertionError, "No inf checks were recorded prior to update"),
    (lambda s, o, w: s.step(o, closure=lambda: 0), RuntimeError, "Closure use"),
    (lambda s, o, w: s.scale(3), ValueError, "Tensor or an iterable"),
    (lambda s, o, w: s.load_state_dict({}), RuntimeError, "empty"),
])  # fmt: skip
@pytest.mark.parametrize("lib", [engine, oracle], ids=["engine", "torch"])
def test_misuse_of_the_scaler_is_refused(lib, misuse, error, text):
    if lib is None:
        pytest.skip("torch is not installed")
    w = lib.ones(2, requires_grad=True)
    with pytest.raises(error, match=text):
        misuse(lib.amp.GradScaler("cpu"), lib.optim.SGD([w], lr=0.1), w)


def test_float16_gradients_are_refused():
    w = engine.ones(2, dtype=engine.float16, requires_grad=True)
    scaler = engine.amp.GradScaler("cpu", init_scale=2.0)
    scaler.scale(w.sum()).backward()
    with pytest.raises(ValueError, match="FP16 gradients"):
        scaler.unscale_(engine.optim.SGD([w], lr=0.1))


def test_a_disabled_scaler_does_nothing():
    w = engine.ones(2, requires_grad=True)
    optimizer, scaler = engine.optim.SGD([w], lr=1.0), engine.amp.GradScaler("cpu", enabled=False)
    loss = w.sum()
    assert scaler.scale(loss) is loss and scaler.get_scale() == 1.0 and scaler.state_dict() == {}
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert w.tolist() == [0.0, 0.0]


def test_the_scaler_carries_its_state_through_files_and_pickles():
    scaler = engine.amp.GradScaler("cpu", init_scale=4.0, growth_interval=7)
    other = engine.amp.GradScaler("cpu")
    other.load_state_dict(scaler.state_dict())
    assert other.state_dict() == scaler.state_dict() == pickle.loads(pickle.dumps(scaler)).state_dict()
    x = engine.ones(2)
    assert [t.tolist() for t in scaler.scale([x, x])] == [[4.0, 4.0]] * 2
    scaler.set_growth_factor(3.0)
    assert scaler.get_growth_factor() == 3.0 and scaler.get_growth_interval() == 7 and scaler.get_backoff_factor() == 0.5


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("bad", [None, np.inf, -np.inf, np.nan])
def test_large_gradients_are_unscaled_in_pieces_and_one_bad_element_is_found(compiled, bad):
    w = engine.zeros(300, 1000, requires_grad=True)
    optimizer, scaler = engine.optim.SGD([w], lr=1.0), engine.amp.GradScaler("cpu", init_scale=4.0)
    scaler.scale(w.sum()).backward()
    if bad is not None:
        w.grad[299, 998] = bad
    with engine.backends.fast.flags(enabled=compiled):
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
    assert (w.grad[:299] == 1).all()
    assert (w == (-1 if bad is None else 0)).all()
