"""WandbLogger in offline mode: what wandb itself keeps of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import lit as pl
from loggers import WandbLogger
from tests.loggers.runs import Model, loader

wandb = pytest.importorskip("wandb")


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield
    wandb.finish()
    wandb.teardown()  # the service process


def test_an_offline_run(tmp_path: Path) -> None:
    logger = WandbLogger("first", save_dir=tmp_path, offline=True, project="digits", prefix="p", tags=["small"])
    assert logger.version is None and logger.name == "digits" and logger.save_dir == str(tmp_path)
    trainer = pl.Trainer(
        default_root_dir=tmp_path, logger=logger, log_every_n_steps=2, max_epochs=2, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(Model(), loader(), loader())
    logger.log_image("pictures", [np.zeros((4, 4))], caption=["black"])
    logger.log_text("words", columns=["word"], data=[["hello"]])
    run = logger.experiment
    assert run.offline and run.name == "first" and run.tags == ("small",) and logger.version == run.id
    assert dict(run.config) == {"lr": 0.25, "hidden": 2}
    summary = dict(run.summary)
    assert summary["p-val_loss"] == 1.0 and summary["trainer/global_step"] == 7
    assert list(Path(tmp_path, "wandb").glob("offline-run-*/*.wandb"))
    with pytest.raises(ValueError, match="caption"):
        logger.log_image("pictures", [np.zeros((4, 4))], caption=["black", "white"])
    with pytest.raises(TypeError, match="images"):
        logger.log_image("pictures", np.zeros((4, 4)))  # type: ignore[arg-type]


def test_hyper_parameters_that_json_does_not_know_are_text(tmp_path: Path) -> None:
    logger = WandbLogger(save_dir=tmp_path, offline=True)
    logger.log_hyperparams({"folder": Path("x"), "deep": {"shape": (1, 2)}})
    assert json.loads(json.dumps(dict(logger.experiment.config))) == {"folder": "x", "deep": {"shape": [1, 2]}}


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="offline"):
        WandbLogger(offline=True, log_model=True)
    with pytest.raises(NotImplementedError, match="grad_norm"):
        WandbLogger(offline=True).watch(Model())
