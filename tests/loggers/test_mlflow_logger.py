"""MLFlowLogger against a database that MLflow itself makes, and against a server started here."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import lit as pl
from loggers import MLFlowLogger
from tests.loggers.runs import Model, loader

pytest.importorskip("mlflow")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a thread of tqdm's that outlives the test


def fit(tmp_path: Path, logger: MLFlowLogger) -> pl.Trainer:
    checkpoint = pl.callbacks.ModelCheckpoint(dirpath=tmp_path / "ckpt", monitor="val_loss", filename="best")
    trainer = pl.Trainer(
        default_root_dir=tmp_path, logger=logger, log_every_n_steps=2, max_epochs=2, callbacks=[checkpoint],
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Model(), loader(), loader())
    return trainer


def test_a_run_in_a_folder(tmp_path: Path) -> None:
    logger = MLFlowLogger(
        "digits", run_name="first", tags={"team": "a"}, save_dir=str(tmp_path / "ml"), log_model=True, prefix="p"
    )  # fmt: skip
    fit(tmp_path, logger)
    client = logger.experiment
    run = client.get_run(logger.run_id)
    assert (run.info.status, run.info.run_name, run.data.tags["team"]) == ("FINISHED", "first", "a")
    assert run.data.params == {"lr": "0.25", "hidden": "2"}
    steps = [(point.step, point.value) for point in client.get_metric_history(logger.run_id, "p-val_loss")]
    assert steps == [(3, 0.0), (7, 1.0)]
    assert logger.save_dir == str(tmp_path / "ml") and logger.name == client.get_experiment_by_name("digits").experiment_id
    found = {item.path for item in client.list_artifacts(logger.run_id, "best")}
    assert found == {"best/best.ckpt", "best/metadata.yaml", "best/aliases.txt"}
    metadata = Path(client.download_artifacts(logger.run_id, "best/metadata.yaml")).read_text()
    assert "monitor: val_loss" in metadata


def test_a_run_is_continued_and_names_are_cleaned(tmp_path: Path) -> None:
    first = MLFlowLogger("digits", save_dir=str(tmp_path))
    first.log_metrics({"a@b": 1.0}, step=1)
    second = MLFlowLogger("digits", save_dir=str(tmp_path), run_id=first.run_id)
    second.log_metrics({"a@b": 2.0}, step=2)
    second.log_hyperparams({f"p{i}": "x" * 300 for i in range(120)})
    second.finalize("failed")
    run = second.experiment.get_run(first.run_id)
    assert (run.data.metrics, run.info.status, len(run.data.params)) == ({"ab": 2.0}, "FAILED", 120)
    assert second.experiment_id == first.experiment_id


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of an MLflow server of this test's own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--artifacts-destination", str(tmp_path / "kept")]
    with open(tmp_path / "server.log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=2).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, Path(tmp_path, "server.log").read_text()
                time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # its workers too
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_a_run_on_a_server(tmp_path: Path, server: str) -> None:
    logger = MLFlowLogger("digits", tracking_uri=server, log_model="all")
    fit(tmp_path, logger)
    run = logger.experiment.get_run(logger.run_id)
    assert run.info.status == "FINISHED" and run.data.metrics["val_loss"] == 1.0
    assert [item.path for item in logger.experiment.list_artifacts(logger.run_id)] == ["best"]
    assert logger.save_dir is None
