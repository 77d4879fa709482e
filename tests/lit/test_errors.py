"""What is missing or contradictory is named, in the words of the call."""

from __future__ import annotations

from typing import Any

import pytest

import engine as torch
import lit as pl
from tests.lit.models import MemoryLogger, Net, loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*no validation loader", "ignore:An epoch has")


class Nothing(pl.LightningModule):
    pass


class OnlyTrains(pl.LightningModule):
    def training_step(self, batch: Any, batch_idx: int) -> Any: ...


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda t: t.fit(Nothing(), loader()), "Trainer.fit(...): Nothing has no `training_step`"),
        (lambda t: t.fit(OnlyTrains(), loader()), "OnlyTrains has no `configure_optimizers`"),
        (lambda t: t.validate(Nothing(), loader()), "Nothing has no `validation_step`"),
        (lambda t: t.test(Nothing(), loader()), "Nothing has no `test_step`"),
        (lambda t: t.fit(Net()), "Trainer.fit(...): there is no `train_dataloader`"),
        (lambda t: t.test(Net()), "there is no `test_dataloader`"),
        (lambda t: t.predict(Net()), "there is no `predict_dataloader`"),
        (lambda t: t.fit(Net(), loader(), datamodule=pl.LightningDataModule()), "both loaders and a datamodule"),
    ],
)
def test_missing(call: Any, words: str) -> None:
    with pytest.raises(pl.MisconfigurationException) as refused:
        call(quiet_trainer())
    assert words in str(refused.value)
    assert "HINT" in str(refused.value)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda t: t.fit(torch.nn.Linear(1, 1), loader()), "expected a LightningModule, got Linear"),
        (lambda t: t.test(dataloaders=loader()), "no model was passed"),
        (lambda t: t.fit(Net(), datamodule=3), "expected a LightningDataModule, got int"),
    ],
)
def test_wrong_objects(call: Any, words: str) -> None:
    with pytest.raises(TypeError) as refused:
        call(quiet_trainer())
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (3.0, "returned float"),
        ("loss", "returned str"),
        ({"los": torch.ones(1)}, "returned dict with the keys ['los']"),
    ],
    ids=str,
)
def test_training_step_returns_something_else(output: Any, words: str) -> None:
    class Wrong(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return output

    with pytest.raises(pl.MisconfigurationException) as refused:
        quiet_trainer().fit(Wrong(), loader())
    assert words in str(refused.value)


def test_several_loaders_need_dataloader_idx() -> None:
    with pytest.raises(RuntimeError, match=r"2 test loaders.*dataloader_idx.*HINT: def test_step"):
        quiet_trainer().test(Net(), [loader(), loader()], verbose=False)


def test_validation_step_without_loader_is_pointed_out() -> None:
    with pytest.warns(UserWarning, match="no validation loader") as caught:
        quiet_trainer().fit(Net(), loader())
    assert caught[0].filename == __file__


def test_configure_callbacks_returns_something_else() -> None:
    class Wrong(Net):
        def configure_callbacks(self) -> Any:
            return "stop"

    with pytest.raises(TypeError, match="configure_callbacks.*'stop'"):
        quiet_trainer().fit(Wrong(), loader())


def test_early_stopping_on_a_metric_that_was_never_logged() -> None:
    stopping = pl.callbacks.EarlyStopping(monitor="val_acc")
    with pytest.raises(RuntimeError) as refused:
        quiet_trainer(callbacks=stopping).fit(Net(), loader(), loader())
    assert "val_acc" in str(refused.value) and "val_loss" in str(refused.value)


def test_loggers_hear_of_a_failure() -> None:
    class Broken(Net):
        def on_train_start(self) -> None:
            raise ValueError("mine")

    logger = MemoryLogger()
    with pytest.raises(ValueError, match="mine"):
        quiet_trainer(logger=logger).fit(Broken(), loader())
    assert logger.status == "failed"


def test_switches_are_put_back_after_a_failure() -> None:
    class Broken(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            raise ValueError("mine")

        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            raise ValueError("mine")

    for call in ("fit", "validate"):
        with pytest.raises(ValueError, match="mine"):
            getattr(quiet_trainer(precision=64, detect_anomaly=True), call)(Broken(), loader())
        assert torch.get_default_dtype() == torch.float32
        assert torch.is_grad_enabled()
