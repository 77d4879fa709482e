"""The table of a model's layers."""

from __future__ import annotations

import pytest

import engine
from callbacks import ModelSummary
from callbacks.layer_table import LayerTable
from engine import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
        self.head = nn.Linear(8, 2)
        self.scale = nn.Parameter(engine.ones(3))
        self.head.bias.requires_grad_(False)

    def forward(self, x: engine.Tensor) -> engine.Tensor:
        noise = engine.rand(1)  # a model may draw numbers in eval mode too
        return self.head(self.body(x)) * self.scale[0] + noise


def test_the_table() -> None:
    net = Net()
    net.head.eval()
    assert str(LayerTable(net)).splitlines() == [
        "  | Name         | Type       | Params | Mode",
        "----------------------------------------------",
        "0 | body         | Sequential | 56     | train",
        "1 | head         | Linear     | 18     | eval",
        "  | other params | n/a        | 3      | n/a",
        "----------------------------------------------",
        "75        Trainable params",
        "2         Non-trainable params",
        "77        Total params",
        "0.000     Total estimated model params size (MB)",
        "4         Modules in train mode",
        "1         Modules in eval mode",
    ]


def test_depth() -> None:
    names = {depth: [layer.name for layer in LayerTable(Net(), depth).layers] for depth in (0, 1, 2, -1)}
    assert names[0] == [] and names[1] == ["body", "head"]
    assert names[2] == names[-1] == ["body", "body.0", "body.1", "body.2", "head"]
    with pytest.raises(ValueError, match="max_depth=-2"):
        LayerTable(Net(), -2)
    with pytest.raises(ValueError, match="max_depth=-2"):
        ModelSummary(-2)


def test_size_counts_bytes() -> None:
    assert LayerTable(nn.Linear(1000, 1000, bias=False)).model_size == 4.0
    assert LayerTable(nn.Linear(1000, 1000, bias=False).double()).model_size == 8.0


def test_shared_parameters_count_once() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    assert LayerTable(net).total_parameters == 24


def test_an_example_input_gives_sizes_and_changes_nothing() -> None:
    net = Net()
    net.example_input_array = engine.randn(5, 4)
    net.body[2].eval()
    modes = [module.training for module in net.modules()]
    mean = net.body[1].running_mean.clone()
    stream = engine.get_rng_state()
    table = LayerTable(net, -1)
    assert {layer.name: layer.flops for layer in table.layers if layer.flops} == {"body": 320, "body.0": 320, "head": 160}
    assert table.total_flops == 480 and str(table).splitlines()[-1] == "480       Total FLOPs"
    layers = {layer.name: (layer.in_size, layer.out_size) for layer in table.layers}
    assert layers["body.0"] == ([5, 4], [5, 8]) and layers["head"] == ([5, 8], [5, 2])
    assert [module.training for module in net.modules()] == modes
    assert engine.equal(net.body[1].running_mean, mean) and engine.equal(engine.get_rng_state(), stream)
    assert not net.head._forward_hooks


def test_sizes_of_many_inputs_and_of_layers_not_used() -> None:
    class Sum(nn.Module):
        def forward(self, a: engine.Tensor, b: engine.Tensor) -> engine.Tensor:
            return a + b

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sum = Sum()
            self.unused = nn.Linear(1, 1)
            self.example_input_array = {"a": engine.ones(5, 2), "b": engine.ones(2)}

        def forward(self, a: engine.Tensor, b: engine.Tensor) -> engine.Tensor:
            return self.sum(a, b=b)

    used, unused = LayerTable(Two()).layers
    assert (used.flops, LayerTable(Two()).total_flops) == (0, 0)
    assert used.in_size == [[5, 2], [2]] and used.out_size == [5, 2]
    assert (unused.in_size, unused.out_size) == ("?", "?")
    assert "In sizes" in str(LayerTable(Two()))


def test_the_callback_prints_it_when_fit_starts(make_trainer) -> None:
    trainer = make_trainer()
    ModelSummary(max_depth=2).on_fit_start(trainer, Net())
    assert "body.0" in trainer.printed[0]
    ModelSummary(max_depth=0).on_fit_start(trainer, Net())
    assert len(trainer.printed) == 1
