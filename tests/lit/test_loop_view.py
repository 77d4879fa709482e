"""What programs look up about the training loop, beside Lightning: counts in every hook, limits, the inner loop."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import engine
import lit as pl
from lit.demos.boring_classes import BoringModel
from tests.lit.models import quiet_trainer

HOOKS = (
    "on_train_start", "on_train_epoch_start", "on_train_batch_start", "training_step", "on_before_backward",
    "on_after_backward", "on_train_batch_end", "on_validation_start", "on_validation_end", "on_train_epoch_end",
    "on_train_end", "on_fit_end",
)  # fmt: skip
Row = tuple[Any, ...]


def seen(trainer: Any) -> Row:
    loop = trainer.fit_loop
    inner = loop.epoch_loop
    progress = [
        (counts.ready, counts.started, counts.processed, counts.completed)
        for kind in (loop.epoch_progress, inner.batch_progress)
        for counts in (kind.current, kind.total)
    ]
    indices = (loop.batch_idx, loop.total_batch_idx, inner.batch_idx, inner.total_batch_idx, inner.global_step)
    limits = (loop.max_epochs, loop.min_epochs, loop.max_steps, loop.min_steps, inner.max_steps, inner.min_steps)
    return (*progress, *indices, *limits)


def looked_up(torch: Any, lightning: Any) -> list[tuple[str, Row]]:
    """(hook, what could be looked up in it) of two epochs of three batches, with validation."""
    found: list[tuple[str, Row]] = []

    class Net(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.layer(batch).mean()

        def validation_step(self, batch: Any, batch_idx: int) -> None: ...

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def watched(name: str, method: Any) -> Any:
        def look(self: Any, *args: Any) -> Any:
            if not self.trainer.sanity_checking:
                found.append((name, seen(self.trainer)))
            return method(self, *args)

        return look

    for name in HOOKS:
        setattr(Net, name, watched(name, getattr(Net, name)))
    data = torch.utils.data.DataLoader(torch.ones(9, 4), batch_size=3)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False, "logger": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lightning.Trainer(max_epochs=2, accelerator="cpu", **quiet).fit(Net(), data, data)
    return found


def test_counts_are_lightnings_in_every_hook() -> None:
    torch, lightning = pytest.importorskip("torch"), pytest.importorskip("lightning.pytorch")
    ours, theirs = looked_up(engine, pl), looked_up(torch, lightning)
    assert len(ours) == len(theirs) > 40
    for ours_now, theirs_now in zip(ours, theirs, strict=True):
        if ours_now[0] != "on_train_epoch_start":  # where Lightning still counts the batches of the epoch before
            assert ours_now == theirs_now


def test_before_and_after_a_run() -> None:
    trainer = quiet_trainer(max_epochs=2, limit_train_batches=3)
    assert trainer.fit_loop.epoch_loop.batch_progress.total.ready == 0 and trainer.fit_loop.batch_idx == -1
    trainer.fit(BoringModel())
    assert trainer.fit_loop.epoch_progress.current.completed == 2
    assert trainer.fit_loop.epoch_loop.batch_progress.total.completed == 6
    assert trainer.fit_loop.epoch_loop.val_loop is trainer.val_loop
