"""Tuner.lr_find finds a rate and leaves everything else as it was."""

from __future__ import annotations

import random
from typing import Any

import pytest

import engine as torch
import lit as pl
from lit.tuner import Tuner
from tests.lit.models import Net, loader, quiet_trainer


def find(model: Any, trainer: Any = None, **options: Any) -> Any:
    return Tuner(trainer or quiet_trainer()).lr_find(model, loader(shuffle=True), **options)


def test_the_suggestion_is_set_and_nothing_else_changes() -> None:
    torch.manual_seed(5)
    random.seed(5)
    model, trainer = Net(dropout=0.5), quiet_trainer()
    before = {name: value.tolist() for name, value in model.state_dict().items()}
    streams = torch.get_rng_state().tolist(), random.getstate()
    found = find(model, trainer, num_training=50, early_stop_threshold=None)
    assert len(found.results["lr"]) == 50
    assert (found.results["lr"][0], found.results["lr"][-1]) == pytest.approx((1e-8, 1.0))
    assert model.hparams.lr == found.suggestion()
    assert {name: value.tolist() for name, value in model.state_dict().items()} == before
    assert (torch.get_rng_state().tolist(), random.getstate()) == streams
    assert trainer.global_step == 0 and model.trainer is trainer
    trainer.fit(model, loader())
    assert trainer.optimizers[0].param_groups[0]["lr"] == found.suggestion()


def test_a_loss_that_explodes_ends_the_search() -> None:
    found = find(Net(), max_lr=1e6, num_training=60, update_attr=False)
    assert 2 < len(found.results["lr"]) < 60


def test_accumulation_counts_optimizer_steps() -> None:
    found = find(Net(), quiet_trainer(accumulate_grad_batches=2), num_training=7, mode="linear", max_lr=0.01)
    assert found.results["lr"] == pytest.approx([1e-8 + (0.01 - 1e-8) * step / 6 for step in range(7)])


def test_impossible_settings() -> None:
    with pytest.raises(pl.MisconfigurationException, match="mode='cubic'"):
        find(Net(), mode="cubic")
    with pytest.raises(pl.MisconfigurationException, match="attr_name"):
        find(Net(), attr_name="rate")


def test_the_plot_marks_the_suggestion() -> None:
    pytest.importorskip("matplotlib").use("agg")
    found = find(Net(), num_training=40, early_stop_threshold=None)
    figure = found.plot(suggest=True)
    (axes,) = figure.axes
    curve, mark = axes.get_lines()
    assert list(curve.get_xdata()) == found.results["lr"] and list(mark.get_xdata()) == [found.suggestion()]
    assert axes.get_xscale() == "log" and (axes.get_xlabel(), axes.get_ylabel()) == ("Learning rate", "Loss")
    again = find(Net(), num_training=5, mode="linear", max_lr=0.1)
    assert again.plot(ax=axes) is figure
    __import__("matplotlib.pyplot").pyplot.close("all")
