"""``predict(stream=True)``: an iterator over the predictions of each batch that keeps none of them."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

import engine as torch
import lit as pl
from tests.lit.models import Net, loader, quiet_trainer


class Recorder(pl.Callback):
    def __init__(self) -> None:
        self.names: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("on_predict") or name in ("setup", "teardown", "on_exception"):
            return lambda *args, **kwargs: self.names.append(name)
        return super().__getattribute__(name)


class Predict(Net):
    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        assert not torch.is_grad_enabled() and not self.training
        return self(batch[0])


def test_the_same_predictions_and_hooks_as_without() -> None:
    model = Predict()
    whole, streamed = Recorder(), Recorder()
    kept = quiet_trainer(callbacks=whole).predict(model, loader())
    trainer = quiet_trainer(callbacks=streamed)
    batches = list(trainer.predict(model, loader(), stream=True))
    assert [b.tolist() for b in batches] == [b.tolist() for b in kept]
    assert streamed.names == whole.names and trainer.state.finished


def test_nothing_is_kept_and_gradients_are_the_callers() -> None:
    model = Predict()
    trainer = quiet_trainer()
    seen = []
    for prediction in trainer.predict(model, loader(), stream=True):
        assert torch.is_grad_enabled() and model.training is False
        gc.collect()
        assert all(found() is None for found in seen)
        seen.append(weakref.ref(prediction))
        del prediction
    assert len(seen) == 4 and model.training and trainer.predict_loop.predictions == []


def test_leaving_early_ends_the_run_in_order() -> None:
    recorder, model = Recorder(), Predict()
    trainer = quiet_trainer(callbacks=recorder)
    for _ in trainer.predict(model, loader(), stream=True):
        break
    gc.collect()
    assert recorder.names[-3:] == ["on_predict_epoch_end", "on_predict_end", "teardown"]
    assert recorder.names.count("on_predict_batch_end") == 1
    assert trainer.state.finished and model.training
    assert len(trainer.predict(model, loader())) == 4


def test_nothing_runs_before_the_first_batch_is_asked_for() -> None:
    recorder = Recorder()
    stream = quiet_trainer(callbacks=recorder).predict(Predict(), loader(), stream=True)
    assert recorder.names == []
    next(stream)
    assert recorder.names[0] == "setup"
    stream.close()


def test_several_loaders_come_one_after_the_other() -> None:
    sizes = [len(p) for p in quiet_trainer().predict(Predict(), [loader(), loader(4, batch_size=4)], stream=True)]
    assert sizes == [3, 3, 3, 3, 4]


def test_an_error_is_told_to_callbacks_and_goes_on_its_way() -> None:
    class Broken(Net):
        def predict_step(self, batch: Any, batch_idx: int) -> Any:
            raise ArithmeticError("broken")

    recorder = Recorder()
    trainer = quiet_trainer(callbacks=recorder)
    with pytest.raises(ArithmeticError, match="broken"):
        list(trainer.predict(Broken(), loader(), stream=True))
    assert recorder.names[-1] == "on_exception" and trainer.interrupted


def test_no_batches() -> None:
    assert list(quiet_trainer(limit_predict_batches=0).predict(Predict(), loader(), stream=True)) == []
