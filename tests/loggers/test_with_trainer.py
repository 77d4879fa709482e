"""The loggers in whole runs of the real Trainer."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import engine as torch
import lit as pl
from loggers import CSVLogger, JSONLinesLogger, Logger, TensorBoardLogger
from loggers.jsonl import read_json_lines
from tests.loggers.runs import Model, loader


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


def test_text_and_figures(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    figure = pytest.importorskip("matplotlib.figure").Figure()
    figure.subplots().plot([1, 2])
    logger = TensorBoardLogger(tmp_path)
    logger.experiment.add_text("note", "hello", 3)
    logger.experiment.add_figure("curve", figure, 3)
    logger.finalize("success")
    events = accumulator.EventAccumulator(logger.log_dir).Reload()
    (note,) = events.Tensors("note/text_summary")
    (curve,) = events.Images("curve")
    assert (note.step, note.tensor_proto.string_val) == (3, [b"hello"])
    assert curve.step == 3 and curve.encoded_image_string.startswith(b"\x89PNG")


class Broken(Logger):
    """Raises wherever it is asked for something."""

    name, version = "broken", 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        raise OSError("no space left on device")

    log_hyperparams = log_graph = save = finalize = after_save_checkpoint = log_metrics  # type: ignore[assignment]

    @property
    def experiment(self) -> object:
        raise ConnectionError("no route to host")


def test_several_at_once_and_a_broken_one_is_reported_once(tmp_path: Path) -> None:
    jsonl, table = JSONLinesLogger(tmp_path, "jsonl"), CSVLogger(tmp_path, "csv")
    monitor = pl.callbacks.LearningRateMonitor()
    with pytest.warns(UserWarning, match="Broken failed.*ConnectionError: no route to host") as caught:
        fit(tmp_path, [jsonl, Broken(), table], callbacks=[monitor])
    assert len([warning for warning in caught if "Broken failed" in str(warning.message)]) == 1
    lines = read_json_lines(jsonl.path)
    assert [line["val_loss"] for line in lines if "val_loss" in line] == [0.0, 1.0]
    assert [line["lr-SGD"] for line in lines if "lr-SGD" in line]
    assert Path(table.log_dir, "metrics.csv").is_file() and Path(table.log_dir, "hparams.yaml").is_file()
