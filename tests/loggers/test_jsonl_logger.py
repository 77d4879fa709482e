"""JSONLinesLogger: every line is JSON, nothing is lost, and a killed run's file goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import lit as pl
from loggers import JSONLinesLogger
from loggers.jsonl import read_json_lines
from tests.lit.models import Net, loader, quiet_trainer


def test_what_was_logged_is_in_the_file(tmp_path: Path) -> None:
    logger = JSONLinesLogger(tmp_path, "digits", version=2, prefix="run")
    logger.log_metrics({"loss": 0.1, "epoch": 3}, step=7)
    logger.log_metrics({"a": float("nan"), "b": float("inf"), "c": float("-inf")})
    logger.log_hyperparams({"lr": 0.5})
    logger.finalize("success")
    path = tmp_path / "digits" / "version_2" / "metrics.jsonl"
    assert str(path) == logger.path
    first, second = [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]
    assert first.pop("time") > 1e9 and first == {"step": 7, "run-loss": 0.1, "run-epoch": 3}
    assert [float(second[f"run-{name}"]) for name in "bc"] == [float("inf"), float("-inf")]
    assert second["step"] == 1 and second["run-a"] == "NaN"
    assert (path.parent / "hparams.yaml").read_text() == "lr: 0.5\n"


def test_lines_wait_for_a_flush(tmp_path: Path) -> None:
    logger = JSONLinesLogger(tmp_path, flush_logs_every_n_steps=3)
    for step in range(4):
        logger.log_metrics({"loss": 1.0}, step)
    assert [line["step"] for line in read_json_lines(logger.path)] == [0, 1, 2]
    logger.save()
    logger.save()
    assert [line["step"] for line in read_json_lines(logger.path)] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="flush_logs_every_n_steps=0"):
        JSONLinesLogger(tmp_path, flush_logs_every_n_steps=0)


def test_the_file_of_a_killed_run_is_continued_on_a_new_line(tmp_path: Path) -> None:
    path = tmp_path / "version_0" / "metrics.jsonl"
    path.parent.mkdir()
    path.write_text('{"step": 0}\n{"step": 1, "lo')
    logger = JSONLinesLogger(tmp_path, name="", version=0)
    logger.log_metrics({"loss": 0.5}, step=2)
    logger.save()
    assert path.read_text().startswith('{"step": 0}\n{"step": 1, "lo\n{"step": 2,')
    assert [line["step"] for line in read_json_lines(path)] == [0, 2]


def test_lines_that_could_not_be_written_stay(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file in the way")
    logger = JSONLinesLogger(tmp_path / "logs", version=0)
    logger.log_metrics({"loss": 0.5}, step=0)
    with pytest.raises(OSError):
        logger.save()
    (tmp_path / "logs").unlink()
    logger.save()
    assert len(read_json_lines(logger.path)) == 1


@pytest.mark.filterwarnings("ignore:An epoch has")
def test_through_the_trainer(tmp_path: Path) -> None:
    logger = pl.loggers.JSONLinesLogger(tmp_path)
    quiet_trainer(logger=logger, log_every_n_steps=2).fit(Net(), loader(), loader())
    lines = read_json_lines(logger.path)
    assert [line["step"] for line in lines if "train_loss" in line] == [1, 3]
    assert [line["step"] for line in lines if "val_loss" in line] == [3]
