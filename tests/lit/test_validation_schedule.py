"""When validation runs with val_check_interval="500 steps", "0.25 epoch", "10 min", and in a resumed run."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import lit as pl
from engine import optim
from lit import validation_schedule
from tests.lit.models import Net, loader, quiet_trainer


class Watch(pl.Callback):
    """Training batches done over all epochs at each validation; a checkpoint after every batch if there is a folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.at: list[int] = []
        self.folder = folder

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.at.append(trainer.fit_loop.total_batch_idx + 1)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if self.folder is not None:
            trainer.save_checkpoint(self.folder / f"{trainer.fit_loop.total_batch_idx + 1}.ckpt")


class TwoSteps(Net):
    """Two optimizer steps in every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(self.loss(batch))
            optimizer.step()

    def configure_optimizers(self) -> Any:
        return [optim.SGD(self.parameters(), lr=0.1), optim.SGD(self.parameters(), lr=0.01)]


def validations(interval: Any, model: type[Net] = Net, ckpt_path: Any = None, folder: Any = None, **flags: Any) -> list[int]:
    watch = Watch(folder)
    trainer = quiet_trainer(max_epochs=3, num_sanity_val_steps=0, callbacks=watch, val_check_interval=interval, **flags)
    trainer.fit(model(), loader(), loader(3), ckpt_path=ckpt_path)  # four batches an epoch
    return watch.at


@pytest.mark.parametrize(
    ("interval", "flags", "at"),
    [
        ("5 steps", {}, [5, 10]),
        ("5steps", {"check_val_every_n_epoch": None}, [5, 10]),
        ("2 steps", {"accumulate_grad_batches": 3}, [4, 8, 12]),
        ("3 batches", {}, [3, 6, 9, 12]),
        ("0.25 epoch", {}, list(range(1, 13))),
        ("1 epoch", {}, [4, 8, 12]),
        ("1.5 epochs", {}, [6, 12]),
        ("2 epochs", {}, [8]),
        ("0 s", {}, list(range(1, 13))),
        ("10 min", {}, []),
        ({"hours": 2}, {}, []),
        (timedelta(0), {"check_val_every_n_epoch": 2}, [5, 6, 7, 8]),
        (4.0, {}, [4, 8, 12]),
    ],
    ids=str,
)
def test_when_validation_runs(interval: Any, flags: dict[str, Any], at: list[int]) -> None:
    assert validations(interval, **flags) == at


def test_several_steps_in_a_batch() -> None:
    assert validations("5 steps", TwoSteps) == [3, 5, 8, 10]


def test_time_is_counted_from_the_last_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(range(0, 10_000, 60))  # a minute between two looks at the clock
    monkeypatch.setattr(validation_schedule.time, "monotonic", lambda: float(next(times)))
    at = validations("5 min")
    assert 1 < len(at) < 6 and min(second - first for first, second in zip(at, at[1:])) >= 3


@pytest.mark.parametrize("model", [Net, TwoSteps])
@pytest.mark.parametrize("interval", ["3 steps", "5 batches", "1.5 epochs", "0.5 epoch"])
def test_a_resumed_run_validates_at_the_same_batches(interval: str, model: type[Net], tmp_path: Path) -> None:
    whole = validations(interval, model, folder=tmp_path)
    for batch in range(1, 12):
        resumed = validations(interval, model, ckpt_path=tmp_path / f"{batch}.ckpt")
        assert resumed == [moment for moment in whole if moment >= batch]  # the file is older than its batch's validation


@pytest.mark.parametrize(
    ("interval", "flags", "words"),
    [
        ("soon", {}, "'500 steps' .* '0.25 epoch'"),
        ("3 weeks", {}, "'10 min'"),
        ("0 steps", {}, "positive whole number"),
        ("1.5 batches", {}, "positive whole number"),
        ("0 epoch", {}, "more than 0"),
        ("500 batches", {"check_val_every_n_epoch": 2}, "over the whole run"),
        ("2 epochs", {"check_val_every_n_epoch": 3}, "over the whole run"),
    ],
)
def test_refused(interval: str, flags: dict[str, Any], words: str) -> None:
    with pytest.raises(pl.MisconfigurationException, match=words):
        quiet_trainer(val_check_interval=interval, **flags)


def test_a_checkpoint_by_steps_waits_for_the_validation_after_its_step(tmp_path: Path) -> None:
    class Falling(Net):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("score", float(self.global_step))

    saving = pl.callbacks.ModelCheckpoint(tmp_path, monitor="score", mode="max", every_n_train_steps=5)
    trainer = quiet_trainer(max_epochs=3, callbacks=saving, enable_checkpointing=True, val_check_interval="5 steps")
    trainer.fit(Falling(), loader(), loader(3))
    assert saving.best_model_score == 10.0 and Path(saving.best_model_path).name == "epoch=2-step=10.ckpt"


def test_checkpoints_by_time_take_text(tmp_path: Path) -> None:
    saving = pl.callbacks.ModelCheckpoint(tmp_path, train_time_interval="0 s", save_top_k=-1)
    quiet_trainer(callbacks=saving, enable_checkpointing=True).fit(Net(), loader(), loader(3))
    assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == [f"epoch=0-step={step}.ckpt" for step in range(1, 5)]
