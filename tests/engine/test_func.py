"""torch.func: derivatives, vmap and modules as functions, against torch, against loops, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import engine
from engine import nn
from engine.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vjp, vmap
from engine.ops.samples import Array, all_samples

from . import ops_harness

RNG = np.random.default_rng(7)
VECTOR, OTHER, ROWS, CUBE = (RNG.normal(size=shape) for shape in ((3,), (3,), (4, 3), (4, 3, 5)))

# name -> what to compute with a library and its tensors x (3), y (3), a (4, 3), b (4, 3, 5)
CALLS: dict[str, Callable] = {
    "grad": lambda lib, F, x, y, a, b: F.grad(lambda v: (v.sin() * y).sum())(x),
    "grad of two": lambda lib, F, x, y, a, b: F.grad(lambda v, w: (v.sin() * w).sum(), argnums=(1, 0))(x, y),
    "grad of grad": lambda lib, F, x, y, a, b: F.grad(lambda v: F.grad(lambda w: (w**3).sum())(v).sum())(x),
    "grad of dict": lambda lib, F, x, y, a, b: F.grad(lambda d: (d["u"] * d["v"][0]).sum())({"u": x, "v": [y]}),
    "value and aux": lambda lib, F, x, y, a, b: F.grad_and_value(lambda v: ((v * v).sum(), v * 2), has_aux=True)(x),
    "vjp": lambda lib, F, x, y, a, b: F.vjp(lambda v: v * v.sum(), x)[1](y),
    "jvp": lambda lib, F, x, y, a, b: F.jvp(lambda v, w: v * w.sin(), (x, y), (y, x)),
    "linearize": lambda lib, F, x, y, a, b: F.linearize(lambda v: v * v.sum(), x)[1](y),
    "jacrev": lambda lib, F, x, y, a, b: F.jacrev(lambda v: (v.outer(v), v.sum()))(x),
    "jacrev in chunks": lambda lib, F, x, y, a, b: F.jacrev(lambda v: v.outer(v), chunk_size=2)(x),
    "jacrev of two": lambda lib, F, x, y, a, b: F.jacrev(lambda v, w: {"z": v * w}, argnums=(0, 1))(x, y),
    "jacfwd": lambda lib, F, x, y, a, b: F.jacfwd(lambda v: (v.outer(v), v.sum()))(x),
    "hessian": lambda lib, F, x, y, a, b: F.hessian(lambda v: (v.sin() * v.prod()).sum())(x),
    "jacrev of jacfwd": lambda lib, F, x, y, a, b: F.jacrev(F.jacfwd(lambda v: v.sin() * v.sum()))(x),
    "jacfwd of jacfwd": lambda lib, F, x, y, a, b: F.jacfwd(F.jacfwd(lambda v: v.sin() * v.sum()))(x),
    "vmap": lambda lib, F, x, y, a, b: F.vmap(lambda v: v.sin().sum())(a),
    "vmap of two": lambda lib, F, x, y, a, b: F.vmap(lambda v, w: v @ w, in_dims=(0, None))(a, b[0]),
    "vmap to elsewhere": lambda lib, F, x, y, a, b: F.vmap(lambda v: (v, v.sum()), out_dims=(1, 0))(b),
    "vmap from elsewhere": lambda lib, F, x, y, a, b: F.vmap(lambda v: v.cumsum(-1).max(0)[0], in_dims=-1)(b),
    "vmap of nested": lambda lib, F, x, y, a, b: F.vmap(lambda d: {"q": d["u"] + d["v"][0]})({"u": a, "v": [a]}),
    "vmap in chunks": lambda lib, F, x, y, a, b: F.vmap(lambda v: v.sin(), chunk_size=3)(a),
    "vmap of vmap": lambda lib, F, x, y, a, b: F.vmap(lambda v: F.vmap(lambda w: (v * w).sum())(a))(a),
    "unmapped result": lambda lib, F, x, y, a, b: F.vmap(lambda v: (v.sum(), x), out_dims=(0, None))(a),
    "gradient per sample": lambda lib, F, x, y, a, b: F.vmap(F.grad(lambda w, v: (v @ w).tanh() ** 2), (None, 0))(x, a),
    "grad of vmap": lambda lib, F, x, y, a, b: F.grad(lambda w: F.vmap(lambda v: (v * w).sin().sum())(a).sum())(x),
    "mapped and captured": lambda lib, F, x, y, a, b: F.grad(
        lambda w: F.vmap(lambda v: (v * w).sin().sum())(w.expand(4, 3)).sum())(x),
    "grad of vmap of grad": lambda lib, F, x, y, a, b: F.grad(lambda w: (F.vmap(F.grad(
        lambda u, v: ((v * u).sin() * w).sum()), (None, 0))(w, a) ** 2).sum())(x),
    "vmap of hessian": lambda lib, F, x, y, a, b: F.vmap(F.hessian(lambda v: v.sin().prod()))(a),
    "hessian of vmap": lambda lib, F, x, y, a, b: F.hessian(lambda w: F.vmap(lambda v: (v * w).sin().prod())(a).sum())(x),
    "index": lambda lib, F, x, y, a, b: F.vmap(lambda v: v[1:] * v[0] + v[[0, 2]].sum())(a),
    "mapped index": lambda lib, F, x, y, a, b: F.vmap(lambda i: x[i])(lib.tensor([0, 2, 1])),
    "grad of mapped index": lambda lib, F, x, y, a, b: F.grad(
        lambda w: F.vmap(lambda i: w[i].sin())(lib.tensor([0, 2, 2])).sum())(x),
    "in place": lambda lib, F, x, y, a, b: F.vmap(lambda v: v.clone().mul_(2).add_(v))(a),
    "scaled row": lambda lib, F, x, y, a, b: F.vmap(_with_first_row)(b),
    "filled": lambda lib, F, x, y, a, b: F.vmap(_filled)(a),
}  # fmt: skip


def _with_first_row(v: Any) -> Any:
    v = v.clone()
    v[0] *= 2
    v.diagonal().zero_()
    return v


def _filled(v: Any) -> Any:
    out = v.new_zeros(2)
    out[1] = v[0]
    return out


def leaves(value: Any) -> list:
    if isinstance(value, dict):
        value = list(value.values())
    return [x for v in value for x in leaves(v)] if isinstance(value, (list, tuple)) else [value]


def tensors(lib: Any) -> list:
    return [lib.tensor(v) for v in (VECTOR, OTHER, ROWS, CUBE)]


@pytest.mark.parametrize("name", CALLS)
def test_equal_to_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours = leaves(CALLS[name](engine, engine.func, *tensors(engine)))
    theirs = leaves(CALLS[name](torch, torch.func, *tensors(torch)))
    assert len(ours) == len(theirs)
    for mine, expected in zip(ours, theirs):
        np.testing.assert_allclose(mine.numpy(), expected.numpy(), rtol=1e-9, atol=1e-12)


def first_samples() -> dict[str, Any]:
    """One differentiable call for every operator that draws no random numbers."""
    found: dict[str, Any] = {}
    for name, _, sample in all_samples():
        random = any(word in name for word in ("dropout", "rand", "bernoulli", "rrelu"))
        floats = [x for x in leaves((sample.args, sample.kwargs)) if isinstance(x, Array) and x.grad and x.values.size]
        if sample.grad and not random and floats and all(x.values.dtype.kind == "f" for x in floats):
            found.setdefault(name, sample)
    return found


SAMPLES = first_samples()


def filled(value: Any, given: Any) -> Any:
    """A sample's arguments with the tensors from `given` in the places of those that take gradients."""
    if isinstance(value, Array):
        t = next(given) if value.values.dtype.kind == "f" and value.grad else engine.tensor(value.values)
        return t.transpose(0, -1) if value.transposed else t
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(filled(v, given) for v in value)
    return {k: filled(v, given) for k, v in value.items()} if isinstance(value, dict) else value


def loss_of(sample: Any) -> tuple[Callable, list]:
    """(a number computed from the sample's call, its arguments)."""
    inputs: list = []
    ops_harness.build((sample.args, sample.kwargs), engine, "float64", inputs)
    function = ops_harness.find(engine, sample)

    def loss(*values: Any) -> Any:
        given = iter(values)
        args = filled(sample.args, given)
        out = function(*args, **filled(sample.kwargs, given))
        total = engine.zeros((), dtype=engine.float64)
        for t in leaves(out):
            if isinstance(t, engine.Tensor) and (t.is_floating_point() or t.is_complex()):
                t = engine.view_as_real(t) if t.is_complex() else t
                total = total + (t * engine.arange(1, t.numel() + 1, dtype=t.dtype).reshape(t.shape).cos()).sum()
        return total

    return loss, [t.detach() for t in inputs]


@pytest.mark.parametrize("name", SAMPLES)
def test_every_operator_under_vmap_and_in_forward_mode(name: str) -> None:
    loss, inputs = loss_of(SAMPLES[name])
    wrt = tuple(range(len(inputs)))
    both = engine.func.grad_and_value(loss, wrt)
    one_by_one = [both(*[t * scale for t in inputs]) for scale in (1.0, 0.95)]
    together = vmap(both)(*[engine.stack([t, t * 0.95]) for t in inputs])
    for got, *expected in zip(leaves(together), *[leaves(r) for r in one_by_one]):
        np.testing.assert_allclose(got.numpy(), engine.stack(expected).numpy(), rtol=1e-8, atol=1e-9)
    if SAMPLES[name].gradgrad:
        slopes, _ = one_by_one[0]
        _, along = jvp(loss, tuple(inputs), tuple(inputs))
        expected = sum((g * t).sum() for g, t in zip(slopes, inputs))
        np.testing.assert_allclose(along.numpy(), expected.numpy(), rtol=1e-8, atol=1e-9)


NETWORKS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), (4, 3)),
    "cnn": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.GroupNorm(1, 3), nn.GELU(), nn.MaxPool2d(2), nn.Flatten(),
                                  nn.Linear(12, 2)), (4, 2, 4, 4)),
    "transformer": (lambda: nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True), (3, 5, 4)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_per_sample_and_ensembles(name: str) -> None:
    make, shape = NETWORKS[name]
    models = [make().double() for _ in range(3)]
    x = engine.randn(*shape, dtype=engine.float64)
    weights = {k: v.detach() for k, v in models[0].named_parameters()}

    def loss(values: dict, sample: Any) -> Any:
        return functional_call(models[0], values, (sample.unsqueeze(0),)).sin().sum()

    per_sample = vmap(grad(loss), in_dims=(None, 0))(weights, x)
    for i, sample in enumerate(x):
        models[0].zero_grad()
        models[0](sample.unsqueeze(0)).sin().sum().backward()
        for key, p in models[0].named_parameters():
            np.testing.assert_allclose(per_sample[key][i].numpy(), p.grad.numpy(), rtol=1e-8, atol=1e-10)

    parameters, buffers = stack_module_state(models)
    out = vmap(lambda p, b, v: functional_call(models[0], (p, b), (v,)), in_dims=(0, 0, None))(parameters, buffers, x)
    out.sin().sum().backward()
    for i, model in enumerate(models):
        model.zero_grad()
        alone = model(x)
        np.testing.assert_allclose(out[i].detach().numpy(), alone.detach().numpy(), rtol=1e-9)
        alone.sin().sum().backward()
        for key, p in model.named_parameters():
            np.testing.assert_allclose(parameters[key].grad[i].numpy(), p.grad.numpy(), rtol=1e-8, atol=1e-10)


def test_what_is_captured_gets_its_gradient() -> None:
    w = engine.tensor(VECTOR, requires_grad=True)
    a = engine.tensor(ROWS)
    vmap(lambda v: (v * w).sin().sum())(a).sum().backward()
    expected = (a * (a * w).cos()).sum(0)
    assert engine.allclose(w.grad, expected)
    slope = grad(lambda v: (v * w).sin().sum())(a[0])
    assert slope.requires_grad and not grad(lambda v: v.sin().sum())(a[0]).requires_grad


def test_a_second_backward_needs_the_graph() -> None:
    w = engine.ones(3, requires_grad=True)
    loss = vmap(lambda v: (v * w).sin().sum())(engine.ones(2, 3)).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    with pytest.raises(RuntimeError, match="a second time"):
        loss.backward()


def test_modes_inside_and_outside() -> None:
    x = engine.ones(3)
    with engine.no_grad():
        assert grad(lambda v: (v * v).sum())(x).tolist() == [2, 2, 2]

    def half(v: Any) -> Any:
        with engine.no_grad():
            shift = v**2
        return (v * 2 - shift).sum()

    assert grad(half)(x).tolist() == [2, 2, 2]


def test_control_flow_that_looks_at_values_runs_sample_by_sample() -> None:
    def f(v: Any) -> Any:
        return v.sum() if v.sum() > 0 else v.sum() * float(v[0])

    a = engine.tensor(ROWS)
    assert engine.allclose(vmap(f)(a), engine.stack([f(row) for row in a]))


def test_randomness() -> None:
    a = engine.zeros(3, 50)
    before = engine.get_rng_state()
    with pytest.raises(RuntimeError, match="called random operation while in randomness error mode"):
        vmap(lambda v: v + engine.randn(50))(a)
    assert engine.equal(engine.get_rng_state(), before)
    same = vmap(lambda v: engine.nn.functional.dropout(v + 1), randomness="same")(a)
    assert engine.equal(same[0], same[1])
    different = vmap(lambda v: engine.nn.functional.dropout(v + 1), randomness="different")(a)
    assert not engine.equal(different[0], different[1])


@pytest.mark.parametrize(("call", "error", "text"), [
    (lambda a: vmap(lambda v: v, in_dims="x")(a), ValueError, "expected `in_dims` to be int or"),
    (lambda a: vmap(lambda: 1)(), ValueError, "got no inputs"),
    (lambda a: vmap(lambda v: v, in_dims=(0, 0))(a), ValueError, "not compatible with the structure of `inputs`"),
    (lambda a: vmap(lambda v: v)(3), ValueError, "cannot vmap over non-Tensor arguments"),
    (lambda a: vmap(lambda v: v, in_dims=5)(a), ValueError, "satisfy -2 <= in_dim < 2"),
    (lambda a: vmap(lambda v, w: v)(a, a[0]), ValueError, r"same size in the mapped dimension, got sizes \[4, 3\]"),
    (lambda a: vmap(lambda v: v, in_dims=(None,))(a), ValueError, "at least one Tensor to vmap over"),
    (lambda a: vmap(lambda v: 3)(a), ValueError, "must only return Tensors, got type <class 'int'>"),
    (lambda a: vmap(lambda v: v, out_dims=None)(a), ValueError, "can not return a BatchedTensor when out_dim is None"),
    (lambda a: vmap(lambda v: v, randomness="q")(a), RuntimeError, "allowed values for randomness"),
    (lambda a: grad(lambda v: v)(a), RuntimeError, "to return a scalar tensor, got tensor with 2 dims"),
    (lambda a: grad(lambda v: v.sum(), argnums=3)(a), RuntimeError, "Got argnum=3, but only 1 positional inputs"),
    (lambda a: grad(lambda v: v)(3), ValueError, "must be Tensor, got <class 'int'>"),
    (lambda a: jvp(lambda v: v, a, a), RuntimeError, "Expected primals to be a tuple"),
    (lambda a: jvp(lambda v: v, (a,), (a, a)), RuntimeError, "same python structure"),
    (lambda a: vjp(lambda v: v, a)[1]((a, a)), RuntimeError, "structure of cotangents"),
    (lambda a: stack_module_state([]), RuntimeError, "at least one model"),
    (lambda a: stack_module_state([nn.Linear(1, 1), nn.ReLU()]), RuntimeError, "of the same class"),
    (lambda a: functional_call(nn.Linear(3, 1), [{"bias": a}, {"bias": a}], a), ValueError, "multiple dictionaries"),
    (lambda a: engine.func.functionalize(lambda v: v), NotImplementedError, "HINT"),
])  # fmt: skip
def test_errors(call: Callable, error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        call(engine.tensor(ROWS))


def test_jacobians_of_a_network() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    x = engine.tensor(VECTOR)
    rows = jacrev(model)(x)
    assert rows.shape == (2, 3) and engine.allclose(rows, jacfwd(model)(x))
    second = hessian(lambda v: model(v).sum())(x)
    step = 1e-6
    for i in range(3):
        moved = x.clone()
        moved[i] += step
        slope = (jacrev(model)(moved).sum(0) - rows.sum(0)) / step
        assert engine.allclose(second[i], slope, atol=1e-5)


CONVOLUTIONS = {
    "conv2d": lambda x, w: engine.nn.functional.conv2d(x, w, stride=2, padding=1, groups=2),
    "conv_transpose2d": lambda x, w: engine.nn.functional.conv_transpose2d(x, w, stride=2, output_padding=1, groups=2),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("dims", [(0, None), (None, 0), (0, 0)])
def test_convolutions_of_batches_are_those_of_their_samples(name: str, dims: tuple) -> None:
    engine.manual_seed(0)
    convolve = CONVOLUTIONS[name]
    x, w = engine.randn(3, 2, 4, 5, 5, dtype=engine.float64), engine.randn(3, 4, 2, 3, 3, dtype=engine.float64)
    gradients = engine.func.grad(lambda x, w: convolve(x, w).pow(3).sum(), (0, 1))
    given = [t if dim == 0 else t[0] for t, dim in zip((x, w), dims)]
    singles = [[t[i] if dim == 0 else t for t, dim in zip(given, dims)] for i in range(3)]
    for fn in (lambda *args: (convolve(*args),), gradients):
        together = vmap(fn, dims)(*given)
        for got, *expected in zip(together, *[fn(*single) for single in singles]):
            assert engine.allclose(got, engine.stack(expected))
