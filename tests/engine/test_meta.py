"""The meta device: shapes and dtypes without data."""

from __future__ import annotations

from typing import Any

import pytest

import engine
from engine import nn

CALLS: dict[str, Any] = {
    "empty": lambda m: m.empty(2, 3, device="meta"),
    "like": lambda m: m.empty_like(m.ones(2), device="meta"),
    "integers": lambda m: m.empty(2, 3, device="meta", dtype=m.int32).t(),
    "sum": lambda m: m.ones(2, 3, device="meta").sum(),
    "product": lambda m: m.ones(2, 3, device="meta") @ m.ones(3, 4, device="meta") + 1,
    "view": lambda m: m.ones(2, 3, device="meta").view(3, 2)[0].expand(4, 2),
    "in place": lambda m: m.ones(2, 3, device="meta").fill_(3).copy_(m.zeros(3)),
    "moved module": lambda m: m.nn.Linear(3, 2).to("meta").weight,
    "embedding": lambda m: m.nn.Embedding(10, 3, device="meta")(m.zeros(2, 2, dtype=m.long, device="meta")),
    "loss": lambda m: m.nn.functional.cross_entropy(m.ones(5, 2, device="meta"), m.zeros(5, dtype=m.long, device="meta")),
    "transformer": lambda m: m.nn.TransformerEncoderLayer(8, 2, 16, device="meta")(m.ones(2, 5, 8, device="meta")),
    "item": lambda m: m.ones(1, device="meta").item(),
    "truth": lambda m: bool(m.ones(1, device="meta")),
    "numpy": lambda m: m.ones(1, device="meta").numpy(),
    "context": lambda m: _in_context(m),
}


def _in_context(m: Any) -> list:
    with m.device("meta"):
        with m.device("cpu"):
            inner = m.zeros(2).device
        return [inner, *(t.device for t in (m.zeros(2), m.tensor([1]), m.arange(3), m.rand(2), m.nn.Linear(2, 1).weight))]


@pytest.mark.parametrize("name", CALLS)
def test_like_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for lib in (engine, torch):
        try:
            found.append(repr(CALLS[name](lib)))
        except Exception as error:
            found.append((type(error).__name__, str(error)))
    assert found[0] == found[1]
    assert engine.zeros(1).device.type == "cpu"


def test_models_are_made_without_memory_and_without_random_numbers() -> None:
    engine.manual_seed(0)
    with engine.device("meta"):
        large = nn.Linear(100_000, 100_000)
        nn.LSTM(3, 4)
    drawn = engine.rand(2)
    engine.manual_seed(0)
    assert engine.equal(drawn, engine.rand(2)) and large.weight.numel() == 10**10


def test_a_meta_model_gets_its_weights() -> None:
    with engine.device("meta"):
        model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    with pytest.raises(NotImplementedError, match="to_empty"):
        model.to("cpu")
    source = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    model.load_state_dict(source.state_dict(), assign=True)
    x = engine.randn(4, 3)
    assert engine.equal(model(x), nn.Sequential(*source)(x))
    empty = nn.Linear(3, 2, device="meta").to_empty(device="cpu")
    assert empty.weight.device.type == "cpu" and empty.weight.requires_grad


def test_gradients_have_shapes_too() -> None:
    layer = nn.Conv2d(3, 4, 3, device="meta")
    layer(engine.ones(2, 3, 5, 5, device="meta")).sum().backward()
    assert layer.weight.grad.is_meta and layer.weight.grad.shape == (4, 3, 3, 3)
    with pytest.raises(NotImplementedError, match="no data"):
        engine.zeros(2).copy_(engine.zeros(2, device="meta"))
