"""Lazy layers: shapes from the first batch, torch's numbers, state dicts between lazy and ready modules."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import engine
from engine import nn

CASES = {
    "LazyLinear(3)": (2, 5),
    "LazyConv1d(4, 3)": (2, 3, 7),
    "LazyConv2d(4, 3, padding=1, groups=2)": (4, 6, 6),
    "LazyConv3d(4, 2, bias=False)": (1, 2, 4, 4, 4),
    "LazyConvTranspose1d(4, 3, stride=2)": (2, 3, 7),
    "LazyConvTranspose2d(4, 3, groups=2)": (1, 4, 6, 6),
    "LazyConvTranspose3d(4, 2)": (1, 2, 3, 3, 3),
    "LazyBatchNorm1d()": (4, 3),
    "LazyBatchNorm2d(affine=False)": (2, 3, 4, 4),
    "LazyBatchNorm3d(bias=False)": (2, 3, 2, 2, 2),
    "LazyInstanceNorm1d()": (2, 3, 4),
    "LazyInstanceNorm2d(affine=False)": (2, 3, 4, 4),
    "LazyInstanceNorm3d(track_running_stats=False)": (2, 3, 2, 2, 2),
}


def first_call(library: Any, source: str) -> tuple:
    library.manual_seed(0)
    module = eval(f"library.nn.{source}")  # noqa: S307
    before = repr(module), list(module.state_dict())
    output = module(library.randn(*CASES[source]))
    state = [t.numpy() for t in module.state_dict().values()]
    return before, repr(module), list(module.state_dict()), output.detach().numpy(), state


@pytest.mark.parametrize("source", CASES)
def test_the_first_call_makes_the_layer_that_torch_makes(source: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = first_call(engine, source), first_call(torch, source)
    assert ours[:3] == theirs[:3]
    np.testing.assert_allclose(ours[3], theirs[3], rtol=1e-4, atol=1e-5)
    for mine, expected in zip(ours[4], theirs[4]):
        np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("source", CASES)
def test_after_the_first_call_no_trace_is_left(source: str) -> None:
    module = eval(f"nn.{source}")  # noqa: S307
    module.double()
    assert module.has_uninitialized_params() and type(module).__name__.startswith("Lazy")
    module(engine.randn(*CASES[source]).double())
    assert type(module).__name__ == source.removeprefix("Lazy").partition("(")[0]
    assert module._hooks is None
    assert all(p.dtype == engine.float64 for p in module.parameters())


def test_without_a_shape_there_is_little_to_do() -> None:
    weight = nn.LazyLinear(2).weight
    assert repr(weight) == "<UninitializedParameter>" and weight.requires_grad and weight.dtype == engine.float32
    with pytest.raises(RuntimeError, match="Can't access the shape of an uninitialized parameter"):
        weight.shape
    for use in (lambda: weight + 1, lambda: engine.zeros_like(weight), lambda: engine.ones(2) @ weight, weight.sum):
        with pytest.raises(ValueError, match="Attempted to use an uninitialized parameter"):
            use()


def test_state_dicts_go_both_ways() -> None:
    ready = nn.Linear(3, 2)
    lazy = nn.LazyLinear(2)
    empty = lazy.state_dict()
    assert str(nn.LazyLinear(2).load_state_dict(empty)) == "<All keys matched successfully>"
    lazy.load_state_dict(ready.state_dict())
    x = engine.randn(4, 3)
    assert engine.equal(lazy(x), ready(x)) and lazy.in_features == 3
    with pytest.raises(RuntimeError, match="Can't access the shape"):
        ready.load_state_dict(nn.LazyLinear(2).state_dict())


def test_copies_are_lazy_too() -> None:
    layer = nn.Sequential(nn.LazyLinear(2), nn.LazyBatchNorm1d())
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin(engine.randn(4, 3)).shape == (4, 2)
    assert layer[0].has_uninitialized_params()


def test_an_optimizer_made_before_the_first_batch_trains_the_parameters() -> None:
    model = nn.Sequential(nn.LazyLinear(3), nn.LazyLinear(1))
    optimizer = engine.optim.Adam(model.parameters(), lr=0.1)
    x = engine.ones(2, 4)
    optimizer.zero_grad()
    model(x).square().mean().backward()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer.step()
    for old, new in zip(before, model.parameters()):
        assert engine.allclose((old - new).abs(), engine.full_like(new, 0.1), atol=1e-4)


def test_errors() -> None:
    with pytest.raises(ValueError, match="in_channels must be divisible by groups"):
        nn.LazyConv2d(4, 3, groups=2)(engine.zeros(1, 3, 5, 5))
    with pytest.raises(RuntimeError, match=r"Expected 3D \(unbatched\) or 4D \(batched\) input to LazyConv2d"):
        nn.LazyConv2d(4, 3)(engine.zeros(3, 5))

    class Forgetful(nn.modules.lazy.LazyModuleMixin, nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.UninitializedParameter()

        def initialize_parameters(self, input: Any) -> None:
            pass

    with pytest.raises(RuntimeError, match="Forgetful has not been fully initialized"):
        Forgetful()(engine.zeros(1))
