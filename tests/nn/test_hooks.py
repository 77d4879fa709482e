"""Module hooks: what they see, what they may replace, and in which order they run."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

import engine
from engine import nn
from engine.nn._hooks import (
    GLOBAL_HOOKS,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
)


class Double(nn.Module):
    def forward(self, x: Any, plus: float = 0.0) -> Any:
        return x * 2 + plus


def one() -> Any:
    return engine.ones(1)


def test_pre_hooks_replace_arguments_in_order() -> None:
    module = Double()
    module.register_forward_pre_hook(lambda module, args: args[0] + 1)
    module.register_forward_pre_hook(lambda module, args: (args[0] * 10,))
    module.register_forward_pre_hook(lambda module, args: (args[0] - 0.5,), prepend=True)
    assert module(one()).item() == 30.0


def test_hooks_with_kwargs() -> None:
    module = Double()
    seen: list[Any] = []
    module.register_forward_pre_hook(lambda module, args, kwargs: (args, {"plus": 5.0}), with_kwargs=True)
    module.register_forward_hook(lambda module, args, kwargs, out: seen.append(kwargs), with_kwargs=True)
    assert module(one(), plus=1.0).item() == 7.0
    assert seen == [{"plus": 5.0}]
    module.register_forward_pre_hook(lambda module, args, kwargs: 3, with_kwargs=True)
    with pytest.raises(RuntimeError, match=r"expected None or a tuple \(args, kwargs\), got 3"):
        module(one())


def test_forward_hooks_replace_the_output() -> None:
    module = Double()
    module.register_forward_hook(lambda module, args, output: output + 1)
    module.register_forward_hook(lambda module, args, output: output * 10, prepend=True)
    assert module(one()).item() == 21.0


def test_handles_remove_their_hook() -> None:
    module = Double()
    with module.register_forward_hook(lambda module, args, output: output + 1):
        assert module(one()).item() == 3.0
    assert module(one()).item() == 2.0
    handle = module.register_forward_hook(lambda module, args, output: output + 1)
    handle.remove()
    handle.remove()
    module.register_forward_hook(lambda module, args, output: output + 1)
    module._forward_hooks.clear()
    assert module(one()).item() == 2.0


def test_always_called_hooks_run_when_forward_raises() -> None:
    module = nn.Module()
    seen: list[str] = []
    module.register_forward_hook(lambda module, args, output: seen.append(f"always {output}"), always_call=True)
    module.register_forward_hook(lambda module, args, output: seen.append("ordinary"))
    with pytest.raises(NotImplementedError):
        module(one())
    assert seen == ["always None"]


def test_a_hook_that_raises_is_not_swallowed() -> None:
    module = Double()

    def fail(module: Any, args: Any) -> None:
        raise ZeroDivisionError("mine")

    module.register_forward_pre_hook(fail)
    with pytest.raises(ZeroDivisionError, match="mine"):
        module(one())


def test_full_backward_hooks_see_and_replace_gradients() -> None:
    module = Double()
    seen: list[Any] = []

    def note(module: Any, grad_input: tuple, grad_output: tuple) -> tuple:
        seen.append((grad_input[0].item(), grad_output[0].item()))
        return (grad_input[0] * 100,)

    module.register_full_backward_hook(note)
    x = one().requires_grad_()
    (module(x) * 3).sum().backward()
    assert seen == [(6.0, 3.0)]
    assert x.grad.item() == 600.0


def test_full_backward_pre_hooks_replace_grad_output() -> None:
    module = Double()
    module.register_full_backward_pre_hook(lambda module, grad_output: (grad_output[0] * 5,))
    x = one().requires_grad_()
    module(x).sum().backward()
    assert x.grad.item() == 10.0


def test_full_backward_hooks_without_input_gradient_still_run() -> None:
    layer = nn.Linear(2, 1)
    seen: list[Any] = []
    layer.register_full_backward_hook(lambda module, grad_input, grad_output: seen.append((grad_input, grad_output)))
    layer(engine.ones(3, 2)).sum().backward()
    ((grad_input, grad_output),) = seen
    assert grad_input == (None,) and grad_output[0].shape == (3, 1)
    assert layer.bias.grad.item() == 3.0


def test_full_backward_hooks_with_tuples_and_other_arguments() -> None:
    class Pair(nn.Module):
        def forward(self, x: Any, name: str, y: Any) -> tuple:
            return x * y, y * 2

    module = Pair()
    seen: list[Any] = []
    module.register_full_backward_hook(lambda module, grad_input, grad_output: seen.append((grad_input, grad_output)))
    x, y = one().requires_grad_(), (one() * 3).requires_grad_()
    first, second = module(x, "name", y)
    (first + second).sum().backward()
    ((grad_input, grad_output),) = seen
    assert [None if g is None else g.item() for g in grad_input] == [3.0, None, 3.0]
    assert [g.item() for g in grad_output] == [1.0, 1.0]


def test_full_backward_hook_errors() -> None:
    module = Double()
    module.register_full_backward_hook(lambda module, grad_input, grad_output: (None, None, None))
    with pytest.raises(RuntimeError, match="expected 1 gradients, got 3"):
        module(one().requires_grad_()).sum().backward()
    with pytest.raises(RuntimeError, match="Cannot use both regular backward hooks and full backward hooks"):
        module.register_backward_hook(lambda *args: None)


def test_the_deprecated_backward_hook_sees_the_gradient_of_the_output() -> None:
    seen = []
    module = nn.Linear(3, 2)
    handle = module.register_backward_hook(lambda module, grad_input, grad_output: seen.append(grad_output[0].tolist()))
    (module(engine.ones(1, 3)) * engine.tensor([2.0, 3.0])).sum().backward()
    handle.remove()
    module(engine.ones(1, 3)).sum().backward()
    assert seen == [[[2, 3]]]


def test_full_backward_hooks_and_other_kinds_of_output() -> None:
    class Named(NamedTuple):
        value: Any

    class Returns(nn.Module):
        def forward(self, x: Any, kind: Any) -> Any:
            return kind(x * 2)

    module = Returns()
    seen: list[Any] = []
    module.register_full_backward_hook(lambda module, grad_input, grad_output: seen.append(grad_output[0].item()))
    x = one().requires_grad_()
    result = module(x, Named)
    assert isinstance(result, Named)
    result.value.sum().backward()
    assert seen == [1.0]
    with pytest.warns(UserWarning, match="are not called: expected forward to return a Tensor"):
        module(x, lambda value: {"value": value})["value"].sum().backward()
    assert seen == [1.0]


def test_global_hooks_run_for_every_module_and_before_its_own() -> None:
    seen: list[str] = []
    module = Double()
    module.register_forward_hook(lambda module, args, output: seen.append("own"))
    handles = [
        register_module_forward_pre_hook(lambda module, args: seen.append("global pre")),
        register_module_forward_hook(lambda module, args, output: seen.append("global")),
        register_module_full_backward_hook(lambda module, grad_input, grad_output: seen.append("global backward")),
    ]
    try:
        module(one().requires_grad_()).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
    assert not GLOBAL_HOOKS  # calls take the short way again
    assert seen == ["global pre", "global", "own", "global backward"]


def test_order_and_values_are_torchs() -> None:
    torch = pytest.importorskip("torch")

    def record(library: Any, neural: Any) -> list[str]:
        seen: list[str] = []
        layer = neural.Linear(2, 2)
        with library.no_grad():
            layer.weight.fill_(0.5)
            layer.bias.fill_(0.25)
        layer.register_full_backward_pre_hook(lambda m, go: seen.append(f"backward_pre {go[0].tolist()}"))
        layer.register_full_backward_hook(lambda m, gi, go: seen.append(f"backward {gi[0].tolist()} {go[0].tolist()}"))
        layer.register_forward_hook(lambda m, a, o: seen.append(f"forward {o.tolist()}"))
        layer.register_forward_pre_hook(lambda m, a: seen.append(f"pre {a[0].tolist()}"))
        x = library.ones(1, 2, requires_grad=True)
        layer(x).sum().backward()
        seen.append(f"{x.grad.tolist()}")
        return seen

    assert record(engine, nn) == record(torch, torch.nn)
