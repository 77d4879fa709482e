"""The callbacks in whole runs of the real Trainer."""

from __future__ import annotations

import csv
import math
import os
import re
import sys
from pathlib import Path

import pytest

import engine as torch
import lit as pl
from callbacks import (
    EarlyStopping,
    LearningRateMonitor,
    MisconfigurationException,
    ModelCheckpoint,
    ModelSummary,
    Timer,
    TQDMProgressBar,
)
from engine import nn
from loggers import CSVLogger


class Model(pl.LightningModule):
    """A line through points; logs a training loss, and as validation loss whatever the test wants."""

    def __init__(self, val_losses: list[float] | None = None) -> None:
        super().__init__()
        self.net = nn.Linear(2, 1)
        self.val_losses = iter(val_losses or [1.0 / n for n in range(1, 50)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        loss = ((self(batch[0]) - batch[1]) ** 2).mean()
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def on_validation_start(self) -> None:
        self.val_loss = 9.0 if self.trainer.sanity_checking else next(self.val_losses)

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        self.log("val_loss", self.val_loss, prog_bar=True)

    def test_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        self.log("test_loss", 0.5)

    def configure_optimizers(self) -> dict[str, object]:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.5)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)}


def loader(batches: int = 4) -> torch.utils.data.DataLoader:
    x = torch.arange(batches * 4, dtype=torch.float32).reshape(-1, 2) / (batches * 4)
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True)), batch_size=2)


def fit(tmp_path: Path, *callbacks: pl.Callback, val_losses: list[float] | None = None, **flags: object) -> pl.Trainer:
    ckpt_path = flags.pop("ckpt_path", None)
    settings = {
        "max_epochs": 3,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
        **flags,
    }
    trainer = pl.Trainer(default_root_dir=tmp_path, callbacks=list(callbacks), **settings)
    trainer.fit(Model(val_losses), loader(), loader(2), ckpt_path=ckpt_path)
    return trainer


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.rglob("*.ckpt"))


def test_the_default_checkpoint_is_the_latest_epoch(tmp_path: Path) -> None:
    trainer = fit(tmp_path)
    assert names(tmp_path) == ["epoch=2-step=12.ckpt"]
    assert Path(trainer.checkpoint_callback.best_model_path).exists()


def test_the_best_are_kept_by_a_validation_metric(tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(monitor="val_loss", save_top_k=2, save_last=True, filename="{epoch}-{val_loss:.2f}")
    fit(tmp_path, checkpoint, val_losses=[0.5, 0.25, 1.0, 0.125], max_epochs=4)
    assert names(tmp_path) == ["epoch=1-val_loss=0.25.ckpt", "epoch=3-val_loss=0.12.ckpt", "last.ckpt"]
    assert checkpoint.best_model_score.item() == 0.125


def test_steps_and_epochs_by_two_checkpoints(tmp_path: Path) -> None:
    by_step = ModelCheckpoint(tmp_path / "steps", every_n_train_steps=5, save_top_k=-1, filename="{step}")
    by_epoch = ModelCheckpoint(tmp_path / "epochs", every_n_epochs=2, save_top_k=-1, filename="{epoch}")
    fit(tmp_path, by_step, by_epoch)
    assert names(tmp_path) == ["epoch=1.ckpt", "step=10.ckpt", "step=5.ckpt"]


def test_a_wrong_monitor_names_what_was_logged(tmp_path: Path) -> None:
    with pytest.raises(MisconfigurationException, match="'val_los'.*'train_loss'.*Did you mean 'val_loss'"):
        fit(tmp_path, ModelCheckpoint(monitor="val_los"))


def test_fast_dev_run_saves_nothing(tmp_path: Path) -> None:
    fit(tmp_path, ModelCheckpoint(save_last=True), EarlyStopping("val_loss"), fast_dev_run=True, logger=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_early_stopping_ends_the_run(tmp_path: Path) -> None:
    stopping = EarlyStopping("val_loss", patience=2)
    trainer = fit(tmp_path, stopping, val_losses=[1.0, 0.5, 0.75, 0.5, 0.1], max_epochs=9)
    assert trainer.current_epoch == 4 and stopping.stopped_epoch == 3
    assert trainer.early_stopping_callback is stopping


def test_nan_ends_the_run(tmp_path: Path) -> None:
    assert fit(tmp_path, EarlyStopping("val_loss"), val_losses=[1.0, math.nan], max_epochs=9).current_epoch == 2


def test_a_resumed_run_goes_on_with_patience_and_best_files(tmp_path: Path) -> None:
    def callbacks() -> tuple[EarlyStopping, ModelCheckpoint]:
        return EarlyStopping("val_loss", patience=3), ModelCheckpoint(
            tmp_path / "ckpt", monitor="val_loss", save_top_k=2, save_last=True, filename="{epoch}"
        )

    first = callbacks()
    fit(tmp_path, *first, val_losses=[0.5, 0.6, 0.55], max_epochs=3)
    assert names(tmp_path) == ["epoch=0.ckpt", "epoch=2.ckpt", "last.ckpt"]
    second = callbacks()
    with pytest.warns(UserWarning, match="not empty"):
        trainer = fit(tmp_path, *second, val_losses=[0.7, 0.1], max_epochs=9, ckpt_path=tmp_path / "ckpt" / "last.ckpt")
    assert trainer.current_epoch == 4 and second[0].wait_count == 3
    assert second[0].best_score.item() == pytest.approx(0.5)
    assert second[1].best_k_models.keys() == first[1].best_k_models.keys()
    assert names(tmp_path) == ["epoch=0.ckpt", "epoch=2.ckpt", "last.ckpt"]


def test_a_state_before_the_first_check_can_be_saved(tmp_path: Path) -> None:
    """Infinity, the best score before there is one, goes into the file and comes back."""

    def callbacks() -> tuple[EarlyStopping, ModelCheckpoint]:
        return EarlyStopping("val_loss"), ModelCheckpoint(tmp_path, every_n_train_steps=2, filename="early")

    fit(tmp_path, *callbacks(), max_steps=2)
    with pytest.warns(UserWarning, match="not empty"):
        trainer = fit(tmp_path, *callbacks(), ckpt_path=tmp_path / "early.ckpt")
    assert trainer.early_stopping_callback.best_score.item() < 2


def test_learning_rates_are_logged(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    fit(tmp_path, LearningRateMonitor(), logger=logger, log_every_n_steps=2)
    with open(Path(logger.log_dir, "metrics.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    rates = [(row["step"], row["lr-SGD"]) for row in rows if row["lr-SGD"]]
    assert rates == [("0", "0.5"), ("4", "0.25"), ("8", "0.125")]
    assert [row["step"] for row in rows if row["val_loss"]] == ["3", "7", "11"]


def test_timer_ends_the_run(tmp_path: Path) -> None:
    trainer = fit(tmp_path, Timer("00:00:00:00", verbose=False))
    assert trainer.should_stop and trainer.global_step <= 4
    assert fit(tmp_path / "b", max_time="00:01:00:00").global_step == 12


def test_the_summary_has_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = pl.Trainer(max_epochs=1, logger=False, enable_checkpointing=False, callbacks=[ModelSummary(-1)])
    model = Model()
    model.example_input_array = torch.ones(5, 2)
    trainer.fit(model, loader(), loader(2))
    assert re.search(r"0 \| net +\| Linear \| 3 +\| train \| 20 +\| \[5, 2\] +\| \[5, 1\]", capsys.readouterr().out)


def test_what_the_bar_says_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = fit(tmp_path, TQDMProgressBar(), enable_progress_bar=True, logger=CSVLogger(tmp_path), max_epochs=2)
    lines = capsys.readouterr().out.splitlines()
    pattern = r"Epoch {}: 4/4 \[00:00<00:00, .*it/s, v_num=0, train_loss=[\d.e-]+, val_loss={}\]"
    assert re.match(pattern.format(0, "1.000"), lines[-2]) and re.match(pattern.format(1, "0.500"), lines[-1])
    trainer.test(trainer.lightning_module, loader(), verbose=False)
    assert "Testing DataLoader 0: 4/4" in capsys.readouterr().out


def test_bar_and_checkpoint_add_few_calls_to_a_step(tmp_path: Path) -> None:
    rooms = (str(Path(pl.callbacks.__file__).parent),)
    calls: list[str] = []

    class Watch(pl.Callback):
        """Count the Python calls of the callbacks' room in the steps 10 to 19 of an epoch."""

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
            if batch_idx == 10:
                sys.setprofile(note)
            elif batch_idx == 20:
                sys.setprofile(None)

    def note(frame, event, argument) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(rooms):
            calls.append(frame.f_code.co_name)

    bar = TQDMProgressBar()
    bar.SECONDS_BETWEEN_LINES = 1e9
    trainer = pl.Trainer(
        max_epochs=1, default_root_dir=tmp_path, logger=False, callbacks=[Watch(), bar, ModelCheckpoint(tmp_path)]
    )
    try:
        trainer.fit(Model(), loader(30), loader(2))
    finally:
        sys.setprofile(None)
    assert calls and len(calls) <= 10 * 2


@pytest.mark.parametrize("resumed_from", ["epoch=0-step=2.ckpt", "last.ckpt"])
def test_a_link_as_old_as_the_checkpoint_is_made_again(tmp_path: Path, resumed_from: str) -> None:
    """Times of files are coarse: the link that is made after a checkpoint is written may have the same one."""

    def run(max_steps: int, ckpt_path: Path | None = None) -> None:
        checkpoint = ModelCheckpoint(tmp_path, every_n_train_steps=2, save_last="link")
        trainer = pl.Trainer(max_steps=max_steps, logger=False, callbacks=[checkpoint], enable_progress_bar=False,
                             enable_model_summary=False)  # fmt: skip
        trainer.fit(Model(), loader(), loader(2), ckpt_path=ckpt_path)

    run(2)
    written = tmp_path / "epoch=0-step=2.ckpt"
    now = written.stat().st_mtime_ns
    for path in (written, tmp_path / "last.ckpt"):
        os.utime(path, ns=(now, now), follow_symlinks=False)
    run(4, tmp_path / resumed_from)
    kept = {resumed_from, "epoch=0-step=4.ckpt", "last.ckpt"}  # what a run goes on from is not its to remove
    assert {path.name for path in tmp_path.iterdir()} == kept
    assert (tmp_path / "last.ckpt").resolve().name == "epoch=0-step=4.ckpt"
