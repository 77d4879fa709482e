"""`trainer.explain()` names what a Trainer does without being told."""

from __future__ import annotations

from typing import Any

import pytest

import lit as pl
from tests.lit.models import MemoryLogger, Net, loader, quiet_trainer


def explained(capsys: pytest.CaptureFixture[str], trainer: pl.Trainer) -> str:
    trainer.explain()
    return capsys.readouterr().out


def test_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    text = explained(capsys, pl.Trainer(accelerator="cpu"))
    for words in (
        "moved to cpu (given)", "precision is 32-true (the default)", "ends after 1000 epochs",
        "ModelCheckpoint is added",
        "TQDMProgressBar is added", "ModelSummary is added",
        "TensorBoardLogger is added", "every 50 steps",
        "lightning_logs/version_0/checkpoints", "2 validation batches are tried", "in every epoch, at the end",
        "inference_mode", "SIGTERM", "exit code 143",
    ):  # fmt: skip
        assert words in text, words
    for words in ("divided by", "clipped", "float64", "fast_dev_run", "only "):
        assert words not in text, words


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"accumulate_grad_batches": 4}, "every loss is divided by 4"),
        ({"gradient_clip_val": 0.5}, "clipped by norm at 0.5"),
        ({"precision": "64-true"}, "the default dtype is float64"),
        ({"fast_dev_run": 3}, "3 batches of every loop"),
        ({"limit_train_batches": 7}, "only 7 batches of the train loaders"),
        ({"limit_val_batches": 0.5}, "only 50% of the batches of the val loaders"),
        ({"overfit_batches": 2}, "replaced by a second one"),
        ({"max_time": "00:00:01:00"}, "Timer is added"),
        ({"val_check_interval": 0.25}, "after each 25% of the batches"),
        ({"check_val_every_n_epoch": 3}, "in every 3. epoch"),
        ({"num_sanity_val_steps": -1}, "all validation batches are tried"),
        ({"detect_anomaly": True}, "searched for NaN"),
        ({"profiler": "simple"}, "SimpleProfiler measures"),
        ({"inference_mode": False}, "no_grad"),
        ({"logger": MemoryLogger(), "log_every_n_steps": 9}, "every 9 steps"),
        ({"reload_dataloaders_every_n_epochs": 2}, "anew every 2 epochs"),
    ],
)
def test_each_flag_is_told(flags: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words not in explained(capsys, quiet_trainer())
    assert words in explained(capsys, quiet_trainer(**flags))


def test_what_the_module_changes_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    class Brings(Net):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def configure_callbacks(self) -> Any:
            return pl.callbacks.EarlyStopping("val_loss")

        def training_step(self, batch: Any, batch_idx: int) -> None:
            """Nothing."""

    trainer = quiet_trainer()
    trainer.fit(Brings(), loader(), loader())
    text = explained(capsys, trainer)
    assert "EarlyStopping is added  [configure_callbacks]" in text
    assert "training_step does everything itself" in text and "each batch: zero_grad" not in text


def test_looking_changes_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    trainer = pl.Trainer(accelerator="cpu", default_root_dir=tmp_path)
    assert explained(capsys, trainer) == explained(capsys, trainer)
    assert list(tmp_path.iterdir()) == [] and trainer.state.stage is None
