"""CSVLogger: what is in the file, at any time, and after failures."""

from __future__ import annotations

import builtins
import csv
import os
import warnings
from pathlib import Path

import pytest

from loggers import CSVLogger


def rows(path: str | Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def metrics_file(logger: CSVLogger) -> Path:
    return Path(logger.log_dir, "metrics.csv")


def test_rows(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    logger.log_metrics({"loss": 0.5, "lr": 1e-05}, step=0)
    logger.log_metrics({"loss": 0.25, "lr": 1e-05}, step=10)
    logger.save()
    assert metrics_file(logger) == tmp_path / "lightning_logs" / "version_0" / "metrics.csv"
    assert metrics_file(logger).read_text() == "step,loss,lr\n0,0.5,1e-05\n10,0.25,1e-05\n"


def test_a_column_that_appears_later_loses_nothing(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    for step in range(3):
        logger.log_metrics({"loss": float(step)}, step)
    logger.save()
    logger.log_metrics({"val_acc": 0.5}, 3)
    logger.log_metrics({"loss": 4.0, "val_acc": 0.75}, 4)
    logger.save()
    assert rows(metrics_file(logger)) == [
        *({"step": str(step), "loss": f"{step}.0", "val_acc": ""} for step in range(3)),
        {"step": "3", "loss": "", "val_acc": "0.5"},
        {"step": "4", "loss": "4.0", "val_acc": "0.75"},
    ]


def test_pandas_reads_it(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    logger = CSVLogger(tmp_path)
    logger.log_metrics({"a": 1.0}, 0)
    logger.save()
    logger.log_metrics({"b": 2.0}, 1)
    logger.save()
    frame = pandas.read_csv(metrics_file(logger))
    assert list(frame.columns) == ["step", "a", "b"] and frame.isna().sum().tolist() == [0, 1, 1]


def test_rows_are_appended_and_the_file_is_not_rewritten(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    logger.log_metrics({"loss": 1.0}, 0)
    logger.save()
    inode = metrics_file(logger).stat().st_ino
    for step in range(1, 50):
        logger.log_metrics({"loss": 1.0}, step)
        logger.save()
    assert metrics_file(logger).stat().st_ino == inode and len(rows(metrics_file(logger))) == 50


def test_names_that_come_and_go_rewrite_only_when_they_are_new(tmp_path: Path, monkeypatch) -> None:
    logger = CSVLogger(tmp_path)
    replaced = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *args: (replaced.append(1), replace(*args)))
    for step in range(40):
        logger.log_metrics({"even" if step % 2 else "odd": 1.0}, step)
        logger.save()
    assert len(replaced) == 2


@pytest.mark.parametrize("every", [1, 3, 100])
def test_rows_wait_in_memory_for_so_many_steps_at_most(tmp_path: Path, every: int) -> None:
    logger = CSVLogger(tmp_path, flush_logs_every_n_steps=every)
    for step in range(10):
        logger.log_metrics({"loss": 0.0}, step)
        written = len(rows(metrics_file(logger))) if metrics_file(logger).exists() else 0
        assert step + 1 - written < every
    logger.finalize("failed")
    assert len(rows(metrics_file(logger))) == 10


def test_steps_far_apart_are_written_in_time(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)  # every 100 steps, logged at every 50th
    for step in (49, 99, 149):
        logger.log_metrics({"loss": 0.0}, step)
    assert [row["step"] for row in rows(metrics_file(logger))] == ["49", "99", "149"]


def test_without_a_step_rows_are_counted(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    logger.log_metrics({"a": 1.0})
    logger.log_metrics({"a": 2.0})
    logger.save()
    assert [row["step"] for row in rows(metrics_file(logger))] == ["0", "1"]


def test_commas_and_quotes_in_names(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    logger.log_metrics({'a,"b"': 1.0}, 0)
    logger.save()
    assert rows(metrics_file(logger)) == [{"step": "0", 'a,"b"': "1.0"}]


def test_names_and_versions(tmp_path: Path) -> None:
    assert CSVLogger(tmp_path, name=None, version="best").log_dir == str(tmp_path / "best")
    for version in range(2):
        logger = CSVLogger(tmp_path, name="run", prefix="x")
        logger.log_metrics({"a": 1.0}, 0)
        assert logger.version == version and logger.name == "run" and logger.save_dir == str(tmp_path)
    (tmp_path / "run" / "version_10").mkdir()
    (tmp_path / "run" / "version_x").mkdir()
    assert CSVLogger(tmp_path, name="run").version == 11
    logger.save()
    assert list(rows(metrics_file(logger))[0]) == ["step", "x-a"]


def test_nothing_is_written_before_something_is_logged(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    assert logger.log_dir and logger.version == 0
    logger.save()
    logger.finalize("success")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_continued(tmp_path: Path) -> None:
    for metrics in ({"a": 1.0}, {"b": 2.0}):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            logger = CSVLogger(tmp_path, version=0)
            logger.log_metrics(metrics)
            logger.save()
    assert "new rows are appended" in str(caught[0].message)
    assert [row["step"] for row in rows(metrics_file(logger))] == ["0", "1"]
    assert rows(metrics_file(logger))[1]["b"] == "2.0"


def test_a_file_cut_off_in_the_middle_of_a_row_is_continued_on_a_new_line(tmp_path: Path) -> None:
    path = tmp_path / "lightning_logs" / "version_0" / "metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text("step,a\n0,1.0\n1,2")
    with pytest.warns(UserWarning, match="appended"):
        logger = CSVLogger(tmp_path, version=0)
        logger.log_metrics({"a": 3.0}, 2)
    logger.save()
    assert [row["a"] for row in rows(path)] == ["1.0", "2", "3.0"]


def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "lightning_logs" / "version_0" / "metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text("my,own,table\n")
    with pytest.raises(ValueError, match="HINT"):
        CSVLogger(tmp_path, version=0).log_metrics({"a": 1.0}, 0)
    assert path.read_text() == "my,own,table\n"


@pytest.mark.parametrize("new_name", [False, True], ids=["append", "new column"])
def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_name: bool) -> None:
    logger = CSVLogger(tmp_path)
    logger.log_metrics({"a": 1.0}, 0)
    logger.save()
    before = metrics_file(logger).read_text()
    logger.log_metrics({"b" if new_name else "a": 2.0}, 1)

    class Full:
        """A file that takes three characters and then has no room."""

        def __init__(self, file) -> None:
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *error) -> None:
            self.file.close()

        def write(self, text) -> None:
            self.file.write(text[:3])
            self.file.flush()
            raise OSError("no space left on device")

    plain_open = builtins.open
    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", lambda path, mode="r", **kw: wrap(plain_open(path, mode, **kw), mode))

        def wrap(file, mode: str):
            return file if mode == "r" or mode == "rb" else Full(file)

        with pytest.raises(OSError, match="no space"):
            logger.save()
    assert metrics_file(logger).read_text() == before
    assert [path.name for path in metrics_file(logger).parent.iterdir()] == ["metrics.csv"]
    logger.save()
    assert len(rows(metrics_file(logger))) == 2


def test_flush_interval_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="flush_logs_every_n_steps=0"):
        CSVLogger(tmp_path, flush_logs_every_n_steps=0)


def test_hparams(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    logger.log_hyperparams({"lr": 0.1})
    path = Path(logger.log_dir, "hparams.yaml")
    changed = path.stat().st_mtime_ns
    logger.log_hyperparams({"lr": 0.1})
    assert path.stat().st_mtime_ns == changed  # written once, not at every save
    logger.log_hyperparams({"layers": [1, 2]})
    assert path.read_text() == "lr: 0.1\nlayers:\n- 1\n- 2\n" and logger.hparams == {"lr": 0.1, "layers": [1, 2]}
