"""The loggers in whole runs of the real Trainer."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import engine as torch
import lit as pl
from engine import nn
from loggers import CSVLogger, TensorBoardLogger


class Model(pl.LightningModule):
    def __init__(self, lr: float = 0.25, hidden: int = 2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Linear(hidden, 1)

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        if self.trainer.current_epoch == 9:
            raise RuntimeError("broken")
        loss = self.net(batch[0]).pow(2).mean()
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        self.log("val_loss", float(self.trainer.current_epoch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)


def loader() -> torch.utils.data.DataLoader:
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 2)), batch_size=1)


def fit(tmp_path: Path, logger: object, **flags: object) -> pl.Trainer:
    trainer = pl.Trainer(
        default_root_dir=tmp_path,
        logger=logger,
        log_every_n_steps=2,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        **{"max_epochs": 2, **flags},
    )
    trainer.fit(Model(), loader(), loader())
    return trainer


def test_csv(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    fit(tmp_path, logger)
    with open(Path(logger.log_dir, "metrics.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows if row["train_loss"]] == ["1", "3", "5", "7"]
    assert [(row["step"], row["val_loss"]) for row in rows if row["val_loss"]] == [("3", "0.0"), ("7", "1.0")]
    assert Path(logger.log_dir, "hparams.yaml").read_text() == "lr: 0.25\nhidden: 2\n"


def test_tensorboard_by_default(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trainer = fit(tmp_path, logger=True)
    assert isinstance(trainer.logger, TensorBoardLogger)
    events = accumulator.EventAccumulator(trainer.log_dir).Reload()
    assert [(event.step, event.value) for event in events.Scalars("val_loss")] == [(3, 0.0), (7, 1.0)]
    assert [event.step for event in events.Scalars("train_loss")] == [1, 3, 5, 7]
    assert Path(trainer.log_dir, "hparams.yaml").read_text() == "lr: 0.25\nhidden: 2\n"


def test_a_run_that_fails_keeps_what_was_logged(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    with pytest.raises(RuntimeError, match="broken"):
        fit(tmp_path, logger, max_epochs=12)
    with open(Path(logger.log_dir, "metrics.csv"), newline="") as file:
        assert [row["val_loss"] for row in csv.DictReader(file) if row["val_loss"]][-1] == "8.0"


def test_fast_dev_run_writes_nothing(tmp_path: Path) -> None:
    fit(tmp_path, [CSVLogger(tmp_path), TensorBoardLogger(tmp_path)], fast_dev_run=True)
    assert list(tmp_path.iterdir()) == []


def test_the_graph(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logger = TensorBoardLogger(tmp_path, log_graph=True)
    model = Model()
    model.forward = model.net.forward
    logger.log_graph(model, torch.ones(1, 2))
    logger.finalize("success")
    assert accumulator.EventAccumulator(logger.log_dir).Reload().Graph().node


def test_images_and_histograms_take_our_tensors(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logger = TensorBoardLogger(tmp_path)
    logger.experiment.add_histogram("weights", torch.randn(100), 0)
    logger.experiment.add_image("noise", torch.rand(3, 4, 4), 0)
    logger.finalize("success")
    tags = accumulator.EventAccumulator(logger.log_dir).Reload().Tags()
    assert tags["histograms"] == ["weights"] and tags["images"] == ["noise"]
