"""Which module feeds which, and the graph that TensorBoard reads."""

from __future__ import annotations

from pathlib import Path

import pytest

import engine
from engine import nn
from loggers import TensorBoardLogger
from loggers.graph import trace_modules


class Residual(nn.Module):
    """Two branches, a function between modules, a module used twice, and one not used at all."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
        self.unused = nn.Linear(1, 1)
        self.last = nn.Linear(4, 2)

    def forward(self, x: engine.Tensor) -> engine.Tensor:
        h = self.first(x)
        return self.last(self.inner(h * 2) + self.first(h))


def sources(model: nn.Module, inputs: object) -> dict[str, list[str]]:
    return {call.name: sorted(call.sources) for call in trace_modules(model, inputs)}


def test_what_feeds_what() -> None:
    assert sources(Residual(), engine.ones(3, 4)) == {
        "input": [],
        "first": ["input"],
        "inner/0": ["first"],
        "inner/1": ["inner/0"],
        "first_1": ["first"],
        "last": ["first_1", "inner/1"],
        "output": ["last"],
    }


def test_several_inputs_by_position_and_by_name() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x: engine.Tensor, y: engine.Tensor) -> dict[str, engine.Tensor]:
            return {"sum": self.a(x) + self.b(y)}

    x = engine.ones(1, 2)
    for inputs in ((x, x + 1), {"x": x, "y": x + 1}):
        assert sources(Two(), inputs) == {"input": [], "a": ["input"], "b": ["input"], "output": ["a", "b"]}


def test_the_model_is_left_as_it_was() -> None:
    model = Residual()
    model.inner.eval()
    modes = [module.training for module in model.modules()]
    trace_modules(model, engine.ones(3, 4))
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks for module in model.modules())


def test_tensorboard_reads_the_graph(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logger = TensorBoardLogger(tmp_path, log_graph=True)
    logger.log_graph(Residual(), engine.ones(3, 4))
    logger.finalize("success")
    graph = accumulator.EventAccumulator(logger.log_dir).Reload().Graph()
    nodes = {node.name: (node.op, list(node.input)) for node in graph.node}
    assert nodes["Residual/inner/1"] == ("Dropout", ["Residual/inner/0"])
    assert nodes["output"] == ("Output", ["Residual/last"])
    shape = graph.node[1].attr["_output_shapes"].list.shape[0]
    assert [dim.size for dim in shape.dim] == [3, 4]


def test_only_if_asked_for_and_possible(tmp_path: Path) -> None:
    TensorBoardLogger(tmp_path).log_graph(Residual(), engine.ones(3, 4))
    with pytest.warns(UserWarning, match="example_input_array"):
        TensorBoardLogger(tmp_path, log_graph=True).log_graph(Residual())
    assert list(tmp_path.iterdir()) == []
