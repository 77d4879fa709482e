"""nn.init: formulas, errors, and torch's numbers for the same seed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import engine
from engine import nn

CALLS = [
    ("uniform_", (3, 5), {"a": -2.0, "b": 3.0}),
    ("normal_", (3, 5), {"mean": 1.0, "std": 2.0}),
    ("normal_", (30, 5), {}),
    ("trunc_normal_", (20, 5), {"std": 0.02}),
    ("trunc_normal_", (20, 5), {"mean": 0.5, "std": 2.0, "a": -1.0, "b": 1.5}),
    ("trunc_normal_", (20, 5), {"std": 2.0, "a": 1.0, "b": 2.0}),
    ("constant_", (2, 2), {"val": 0.3}),
    ("ones_", (2, 2), {}),
    ("zeros_", (2, 2), {}),
    ("eye_", (3, 4), {}),
    ("dirac_", (4, 2, 3), {}),
    ("dirac_", (6, 2, 3, 3), {"groups": 2}),
    ("dirac_", (2, 2, 1, 2, 3), {}),
    ("xavier_uniform_", (4, 6), {"gain": 2.0}),
    ("xavier_normal_", (4, 6, 3), {}),
    ("kaiming_uniform_", (4, 6), {"a": 0.3, "mode": "fan_out"}),
    ("kaiming_normal_", (4, 6, 3, 3), {"nonlinearity": "relu"}),
    ("orthogonal_", (4, 6), {}),
    ("orthogonal_", (6, 2, 2), {"gain": 1.5}),
    ("sparse_", (8, 4), {"sparsity": 0.4}),
]


@pytest.mark.parametrize(("name", "shape", "settings"), CALLS)
def test_the_same_seed_gives_torchs_numbers(name: str, shape: tuple, settings: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(5)
    expected = getattr(torch.nn.init, name)(torch.empty(shape), **settings).numpy()
    engine.manual_seed(5)
    tensor = engine.empty(shape)
    assert getattr(nn.init, name)(tensor, **settings) is tensor
    compare = np.testing.assert_allclose if name == "orthogonal_" else np.testing.assert_array_equal
    options = {"atol": 1e-5} if name == "orthogonal_" else {}
    compare(tensor.numpy(), expected, **options)


@pytest.mark.parametrize(("name", "shape", "settings"), CALLS)
def test_parameters_are_filled_outside_the_graph(name: str, shape: tuple, settings: dict[str, Any]) -> None:
    parameter = nn.Parameter(engine.full(shape, math.nan))
    getattr(nn.init, name)(parameter, **settings)
    assert parameter.is_leaf and parameter.requires_grad and bool(parameter.isfinite().all())


@pytest.mark.parametrize("name", ["uniform_", "normal_", "trunc_normal_", "xavier_uniform_", "kaiming_normal_"])
def test_a_generator_of_ones_own(name: str) -> None:
    before = engine.get_rng_state()
    first, second = (
        getattr(nn.init, name)(engine.empty(3, 4), generator=engine.Generator().manual_seed(3)) for _ in range(2)
    )
    assert first.tolist() == second.tolist()
    assert engine.equal(before, engine.get_rng_state())


def test_bounds_and_moments() -> None:
    engine.manual_seed(0)
    weight = nn.init.trunc_normal_(engine.empty(5000), std=2.0, a=1.0, b=2.0)
    assert weight.min().item() >= 1.0 and weight.max().item() <= 2.0
    weight = nn.init.kaiming_normal_(engine.empty(200, 50), nonlinearity="relu")
    assert weight.std().item() == pytest.approx(math.sqrt(2 / 50), rel=0.05)
    weight = nn.init.xavier_uniform_(engine.empty(30, 60))
    assert weight.abs().max().item() <= math.sqrt(6 / 90)


def test_gains() -> None:
    gain = nn.init.calculate_gain
    assert [gain(name) for name in ("linear", "conv2d", "conv_transpose3d", "sigmoid")] == [1, 1, 1, 1]
    assert gain("tanh") == 5 / 3 and gain("relu") == math.sqrt(2) and gain("selu") == 0.75
    assert gain("leaky_relu") == math.sqrt(2 / (1 + 0.01**2)) and gain("leaky_relu", 0.5) == math.sqrt(2 / 1.25)
    with pytest.raises(ValueError, match="Unsupported nonlinearity swoosh"):
        gain("swoosh")
    with pytest.raises(ValueError, match="negative_slope True not a valid number"):
        gain("leaky_relu", True)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: nn.init.xavier_uniform_(engine.empty(3)), "fewer than 2 dimensions"),
        (lambda: nn.init.kaiming_uniform_(engine.empty(3, 3), mode="fan_both"), "Mode fan_both not supported"),
        (lambda: nn.init.eye_(engine.empty(3)), "Only tensors with 2 dimensions"),
        (lambda: nn.init.sparse_(engine.empty(3), 0.1), "Only tensors with 2 dimensions"),
        (lambda: nn.init.dirac_(engine.empty(3, 3)), "Only tensors with 3, 4, or 5 dimensions"),
        (lambda: nn.init.dirac_(engine.empty(3, 3, 3), groups=2), "dim 0 must be divisible by groups"),
        (lambda: nn.init.orthogonal_(engine.empty(3)), "Only tensors with 2 or more dimensions"),
    ],
)
def test_errors(call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()


def test_warnings() -> None:
    with pytest.warns(UserWarning, match="zero-element tensors is a no-op"):
        nn.init.kaiming_uniform_(engine.empty(0, 3))
    with pytest.warns(UserWarning, match="more than 2 std"):
        nn.init.trunc_normal_(engine.empty(3), mean=4.5, std=1.0)
