"""torch.autograd.graph: hooks on saved tensors and on several gradients, and what nodes say of themselves."""

from __future__ import annotations

from typing import Any

import pytest

import engine
from engine import nn
from engine.autograd import graph


def model_and_input(torch: Any) -> tuple:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.LayerNorm(6), torch.nn.GELU(), torch.nn.Dropout(0.3),
                                torch.nn.Linear(6, 3), torch.nn.Softmax(-1))  # fmt: skip
    return model, torch.randn(5, 4, requires_grad=True)


def gradients(torch: Any, context: Any = None) -> list:
    model, x = model_and_input(torch)
    if context is None:
        loss = (model(x) ** 2).sum()
    else:
        with context:
            loss = (model(x) ** 2).sum()
    loss.backward()
    return [x.grad, *(p.grad for p in model.parameters())]


def test_everything_kept_goes_through_the_hooks_and_comes_back() -> None:
    counts = {"in": 0, "out": 0}

    def pack(t: Any) -> Any:
        counts["in"] += 1
        return t.numpy().copy()

    def unpack(a: Any) -> Any:
        counts["out"] += 1
        return engine.from_numpy(a)

    expected = gradients(engine)
    got = gradients(engine, graph.saved_tensors_hooks(pack, unpack))
    assert all(engine.equal(a, b) for a, b in zip(got, expected, strict=True))
    assert counts["in"] == counts["out"] > 8
    assert all(engine.equal(a, b) for a, b in zip(gradients(engine, graph.save_on_cpu()), expected, strict=True))


def test_second_derivatives_and_custom_functions_through_hooks() -> None:
    class Cube(engine.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            return 3 * x * x * g

    x = engine.tensor([2.0], requires_grad=True)
    with graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t):
        y = Cube.apply(x).sin().sum()
        (g,) = engine.autograd.grad(y, x, create_graph=True)
    (second,) = engine.autograd.grad(g.sum(), x)
    t = engine.tensor([2.0], requires_grad=True)
    (first,) = engine.autograd.grad((t**3).sin().sum(), t, create_graph=True)
    (expected,) = engine.autograd.grad(first.sum(), t)
    assert engine.allclose(second, expected)


def test_a_changed_value_changes_the_gradient_and_rules_are_kept() -> None:
    x = engine.tensor([1.0, 2.0], requires_grad=True)
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t * 10):
        y = (x * x).sum()
    y.backward()
    assert x.grad.tolist() == [20.0, 40.0]
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()
    with graph.saved_tensors_hooks(lambda t: "lost", lambda t: t):
        y = x.exp().sum()
    with pytest.raises(TypeError, match="unpack_hook"):
        y.backward()
    with graph.disable_saved_tensors_hooks("not now"), pytest.raises(RuntimeError, match="not now"):
        with graph.save_on_cpu():
            pass


@pytest.mark.parametrize("mode", ["all", "any"])
def test_several_gradients_are_like_torchs(mode: str) -> None:
    torch = pytest.importorskip("torch")
    seen: list[list] = []
    for lib in (engine, torch):
        a, b, c = (lib.ones(2, requires_grad=True) for _ in range(3))
        calls: list = []

        def note(found: Any, calls: list = calls) -> None:
            calls.append([None if g is None else g.tolist() for g in found] if mode == "all" else found.tolist())

        handle = lib.autograd.graph.register_multi_grad_hook((a, b, c), note, mode=mode)
        (a * 2 + a).sum().backward()
        (a * b * c).sum().backward()
        handle.remove()
        (a * b).sum().backward()
        seen.append(calls)
    assert seen[0] == seen[1]


def test_nodes_tell_their_inputs() -> None:
    x, layer = engine.ones(2, 3, requires_grad=True), nn.Linear(3, 2)
    out = layer(x).relu()
    assert out.grad_fn.name() == "ReluBackward0"
    ((linear, place),) = out.grad_fn.next_functions
    assert linear.name() == "AddmmBackward0" and place == 0
    leaves = {node.variable is layer.weight for node, _ in linear.next_functions if node is not None}
    assert True in leaves
    _, values, _ = engine.linalg.svd(x * 2, full_matrices=False)
    node, number = (values + 1).grad_fn.next_functions[0]
    assert (node.name(), number) == (values.grad_fn.name(), 1)
    assert graph.get_gradient_edge(values) == (node, 1) and graph.get_gradient_edge(x).node.variable is x


def test_a_version_can_be_counted_by_hand() -> None:
    x = engine.ones(2, requires_grad=True)
    w = engine.ones(2)
    y = (x * w).sum()
    graph.increment_version(w)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        y.backward()
