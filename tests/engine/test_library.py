"""torch.library: custom operators as functions with a gradient of their own."""

from __future__ import annotations

from typing import Any

import pytest

import engine
from engine import library


def test_a_custom_operator_is_like_torchs() -> None:
    torch = pytest.importorskip("torch")
    found = []
    for lib in (engine, torch):

        def cube(x: lib.Tensor, scale: float) -> lib.Tensor:  # type: ignore[name-defined]
            return x.detach() ** 3 * scale

        cube.__annotations__ = {"x": lib.Tensor, "scale": float, "return": lib.Tensor}
        operator = lib.library.custom_op("enginetest::cube", cube, mutates_args=())

        def keep(ctx: Any, inputs: tuple, output: Any) -> None:
            ctx.save_for_backward(inputs[0])
            ctx.scale = inputs[1]

        def backward(ctx: Any, g: Any) -> tuple:
            (x,) = ctx.saved_tensors
            return 3 * x * x * ctx.scale * g, None

        operator.register_fake(lambda x, scale: x.clone())
        operator.register_autograd(backward, setup_context=keep)
        x = lib.tensor([1.0, 2.0], requires_grad=True)
        y = operator(x, 0.5)
        y.sum().backward()
        found.append((y.tolist(), x.grad.tolist()))
    assert found[0] == found[1]


def test_kernels_by_device_and_names_that_are_refused() -> None:
    operator = library.custom_op("mine::answer", lambda x: x, mutates_args=())
    operator.register_kernel("meta")(lambda x: engine.empty(7, device="meta"))
    assert operator(engine.ones(2)).tolist() == [1, 1] and operator(engine.ones(2, device="meta")).shape == (7,)
    with pytest.raises(NotImplementedError, match="custom_op"):
        library.register_autograd("mine::question", lambda ctx, g: g)
    with pytest.raises(NotImplementedError, match="custom_op"):
        library.Library("mine", "DEF")
