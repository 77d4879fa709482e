"""Every flag of the Trainer: what it does, what it refuses, and the old spellings."""

from __future__ import annotations

import inspect
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import engine as torch
import lit as pl
from tests.lit.models import MemoryLogger, Net, loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*no validation loader", "ignore:An epoch has")

FLAGS = [
    "accelerator", "strategy", "devices", "num_nodes", "precision", "logger", "callbacks", "fast_dev_run",
    "max_epochs", "min_epochs", "max_steps", "min_steps", "max_time", "limit_train_batches", "limit_val_batches",
    "limit_test_batches", "limit_predict_batches", "overfit_batches", "val_check_interval",
    "check_val_every_n_epoch", "num_sanity_val_steps", "log_every_n_steps", "enable_checkpointing",
    "enable_progress_bar", "enable_model_summary", "accumulate_grad_batches", "gradient_clip_val",
    "gradient_clip_algorithm", "deterministic", "benchmark", "inference_mode", "use_distributed_sampler",
    "profiler", "detect_anomaly", "barebones", "plugins", "sync_batchnorm", "reload_dataloaders_every_n_epochs",
    "default_root_dir", "enable_autolog_hparams", "model_registry",
]  # fmt: skip
OURS = ["compile", "detect_sync"]  # at the end, so that positions are Lightning's


def test_all_flags_are_there() -> None:
    assert [name for name in inspect.signature(pl.Trainer).parameters if name != "self"] == FLAGS + OURS


def test_same_flags_and_defaults_as_lightning() -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    theirs = inspect.signature(lightning.Trainer.__init__).parameters
    mine = inspect.signature(pl.Trainer.__init__).parameters
    assert list(mine) == [*theirs, *OURS]
    assert {name: mine[name].default for name in theirs} == {name: p.default for name, p in theirs.items()}


def fitted(**flags: Any) -> pl.Trainer:
    trainer = quiet_trainer(**flags)
    trainer.fit(Net(), loader(), loader())
    return trainer


@pytest.mark.parametrize(
    ("flags", "steps", "epochs"),
    [
        ({"max_epochs": 2}, 8, 2),
        ({"max_epochs": 5, "max_steps": 6}, 6, 2),
        ({"max_epochs": -1, "max_steps": 3}, 3, 1),
        ({"max_epochs": None, "max_steps": 3}, 3, 1),
        ({"max_epochs": 0}, 0, 0),
        ({"max_steps": 0}, 0, 0),
        ({"limit_train_batches": 2}, 2, 1),
        ({"limit_train_batches": 0.5}, 2, 1),
        ({"limit_train_batches": 0}, 0, 0),
        ({"fast_dev_run": True, "max_epochs": 7}, 1, 1),
        ({"fast_dev_run": 3}, 3, 1),
        ({"accumulate_grad_batches": 4}, 1, 1),
        ({"overfit_batches": 1, "max_epochs": 3}, 3, 3),
        ({"max_time": timedelta(0)}, 0, 0),
    ],
    ids=str,
)
def test_lengths(flags: dict[str, Any], steps: int, epochs: int) -> None:
    trainer = fitted(**flags)
    if "max_time" in flags:
        assert trainer.global_step <= 1  # stopped at the first look at the clock
    else:
        assert (trainer.global_step, trainer.current_epoch) == (steps, epochs)


def test_a_thousand_epochs_without_a_limit() -> None:
    assert quiet_trainer(max_epochs=None).max_epochs == 1000
    assert quiet_trainer(max_epochs=None, max_time="00:00:01:00").max_epochs == -1


@pytest.mark.parametrize(("flag", "run"), [("limit_val_batches", "validate"), ("limit_test_batches", "test")])
def test_limits_of_evaluation(flag: str, run: str) -> None:
    for limit, expected in ((2, 2), (0.25, 1), (100, 4), (1.0, 4)):
        trainer = quiet_trainer(**{flag: limit})
        getattr(trainer, run)(Net(), loader(), verbose=False)
        assert getattr(trainer, f"num_{'val' if run == 'validate' else run}_batches") == [expected]


class Validations(pl.Callback):
    """At which training batch, over all epochs, validation ran."""

    def __init__(self) -> None:
        self.at: list[int] = []

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.at.append(-1 if trainer.sanity_checking else trainer.fit_loop.total_batch_idx + 1)


@pytest.mark.parametrize(
    ("flags", "at"),
    [
        ({}, [-1, 4, 8]),
        ({"num_sanity_val_steps": 0}, [4, 8]),
        ({"num_sanity_val_steps": 0, "val_check_interval": 0.5}, [2, 4, 6, 8]),
        ({"num_sanity_val_steps": 0, "val_check_interval": 3}, [3, 7]),
        ({"num_sanity_val_steps": 0, "val_check_interval": 3, "check_val_every_n_epoch": None}, [3, 6]),
        ({"num_sanity_val_steps": 0, "check_val_every_n_epoch": 2}, [8]),
        ({"num_sanity_val_steps": 0, "val_check_interval": timedelta(0)}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"num_sanity_val_steps": 0, "val_check_interval": "01:00:00:00"}, []),
        ({"limit_val_batches": 0}, []),
    ],
    ids=str,
)
def test_validation_schedule(flags: dict[str, Any], at: list[int]) -> None:
    watch = Validations()
    fitted(callbacks=watch, max_epochs=2, **flags)
    assert watch.at == at


@pytest.mark.parametrize(("steps", "batches"), [(2, 2), (-1, 4), (100, 4)])
def test_sanity_check_length(steps: int, batches: int) -> None:
    class Count(pl.Callback):
        seen = 0

        def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
            assert trainer.sanity_checking
            self.seen += 1

    count = Count()
    trainer = fitted(callbacks=count, num_sanity_val_steps=steps, limit_train_batches=0)
    assert count.seen == batches
    assert trainer.callback_metrics == {}


@pytest.mark.parametrize(("algorithm", "value"), [(None, 1e-3), ("norm", 1e-3), ("value", 1e-4)])
def test_gradient_clipping(algorithm: str | None, value: float) -> None:
    class Look(Net):
        def on_before_optimizer_step(self, optimizer: Any) -> None:
            self.before = self.layer.weight.grad.clone()

        def on_train_batch_end(self, *args: Any) -> None:
            self.after = self.layer.weight.grad

    model = Look()
    trainer = quiet_trainer(gradient_clip_val=value, gradient_clip_algorithm=algorithm, max_steps=1)
    trainer.fit(model, loader())
    if algorithm == "value":
        assert model.before.abs().max() > value >= model.after.abs().max()
    else:
        total = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
        assert model.before.norm() > value
        assert total.item() == pytest.approx(value, rel=1e-3)


def test_overfit_batches_takes_the_same_batches_in_order() -> None:
    seen = []

    class Look(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            seen.append(batch[0].tolist())
            return self.loss(batch)

    shuffled = loader(shuffle=True)
    with pytest.warns(UserWarning, match="shuffling is left out"):
        quiet_trainer(overfit_batches=1, max_epochs=2).fit(Look(), shuffled)
    assert seen[0] == seen[1] == loader().dataset.tensors[0][:3].tolist()
    assert type(shuffled.sampler).__name__ == "RandomSampler"  # the user's loader is as it was


def test_reload_dataloaders() -> None:
    asked = []

    class Asks(Net):
        def train_dataloader(self) -> Any:
            asked.append(self.current_epoch)
            return loader()

    quiet_trainer(max_epochs=4, reload_dataloaders_every_n_epochs=2).fit(Asks())
    assert asked == [0, 2]


def test_detect_anomaly_names_the_step() -> None:
    class NaN(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.loss(batch) * (float("nan") if batch_idx == 2 else 1.0)

    with pytest.raises(RuntimeError, match=r"loss of nan \(epoch 0, batch 2, global step 2\)"):
        quiet_trainer(detect_anomaly=True).fit(NaN(), loader())
    quiet_trainer().fit(NaN(), loader())  # without the flag it is the user's business


def test_barebones() -> None:
    trainer = pl.Trainer(barebones=True, max_epochs=1, accelerator="cpu")
    trainer.fit(Net(), loader(), loader())
    assert trainer.callbacks == [] and trainer.loggers == []
    assert trainer.global_step == 4 and trainer.callback_metrics == {}
    with pytest.raises(ValueError, match="enable_progress_bar"):
        pl.Trainer(barebones=True, enable_progress_bar=True)


def test_defaults_bring_logger_bar_summary_and_checkpoint(tmp_path: Path) -> None:
    trainer = pl.Trainer(default_root_dir=tmp_path, accelerator="cpu")
    roles = [callback.role for callback in trainer.callbacks]
    assert roles == ["progress_bar", "model_summary", "checkpoint"]
    assert trainer.checkpoint_callback is trainer.callbacks[-1]
    assert trainer.progress_bar_callback is trainer.callbacks[0]
    assert trainer.early_stopping_callback is None
    assert type(trainer.logger).__name__ == "TensorBoardLogger"
    assert trainer.default_root_dir == str(tmp_path)


def test_fast_dev_run_writes_nothing(tmp_path: Path) -> None:
    trainer = pl.Trainer(
        fast_dev_run=2, default_root_dir=tmp_path, accelerator="cpu", enable_progress_bar=False, logger=MemoryLogger()
    )
    trainer.fit(Net(), loader(), loader())
    assert list(tmp_path.iterdir()) == []
    assert trainer.num_training_batches == 2 and trainer.num_val_batches == [2]
    assert trainer.logger.experiment is not None or type(trainer.logger).__name__ == "DummyLogger"


def test_log_dir(tmp_path: Path) -> None:
    assert quiet_trainer(default_root_dir=tmp_path).log_dir == str(tmp_path)
    csv = pl.loggers.CSVLogger(tmp_path)
    assert quiet_trainer(logger=csv).log_dir == csv.log_dir


# ---------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("flags", "error", "words"),
    [
        ({"max_epoch": 3}, TypeError, "unexpected flag 'max_epoch'. Did you mean 'max_epochs'"),
        ({"accelerator": "tpu"}, NotImplementedError, "accelerator='tpu'"),
        ({"accelerator": "abacus"}, ValueError, "'abacus'"),
        ({"strategy": "ddp"}, NotImplementedError, "strategy='auto'"),
        ({"strategy": "nonsense"}, ValueError, "nonsense"),
        ({"devices": 2}, NotImplementedError, "devices=2"),
        ({"devices": 0}, pl.MisconfigurationException, "no device"),
        ({"devices": "many"}, ValueError, "many"),
        ({"num_nodes": 2}, NotImplementedError, "num_nodes=1"),
        ({"precision": "transformer-engine"}, NotImplementedError, "'bf16-mixed'"),
        ({"precision": "8"}, ValueError, "expected one of '32-true', '64-true'"),
        ({"profiler": "xla"}, NotImplementedError, "simple"),
        ({"profiler": "fast"}, ValueError, "advanced"),
        ({"profiler": 1}, TypeError, "Profiler"),
        ({"plugins": ["x"]}, NotImplementedError, "plugins"),
        ({"model_registry": "x"}, NotImplementedError, "ModelCheckpoint"),
        ({"logger": "tensorboard"}, TypeError, "a Logger"),
        ({"callbacks": ["stop"]}, TypeError, "Callback objects"),
        ({"limit_train_batches": 1.5}, pl.MisconfigurationException, "limit_train_batches=1.5"),
        ({"limit_val_batches": -1}, pl.MisconfigurationException, "limit_val_batches=-1"),
        ({"overfit_batches": True}, pl.MisconfigurationException, "overfit_batches=True"),
        ({"max_epochs": -2}, pl.MisconfigurationException, "max_epochs=-2"),
        ({"max_steps": 1.5}, pl.MisconfigurationException, "max_steps=1.5"),
        ({"accumulate_grad_batches": 0}, pl.MisconfigurationException, "at least 1"),
        ({"gradient_clip_val": "1"}, TypeError, "gradient_clip_val"),
        ({"gradient_clip_val": -1}, pl.MisconfigurationException, "0 or more"),
        ({"gradient_clip_algorithm": "max"}, pl.MisconfigurationException, "'norm' or 'value'"),
        ({"check_val_every_n_epoch": 0}, pl.MisconfigurationException, "positive integer"),
        ({"check_val_every_n_epoch": None}, pl.MisconfigurationException, "val_check_interval=1.0"),
        ({"val_check_interval": "soon"}, pl.MisconfigurationException, "DD:HH:MM:SS"),
        ({"val_check_interval": 0}, pl.MisconfigurationException, "more than 0"),
        ({"max_time": "soon"}, pl.MisconfigurationException, "DD:HH:MM:SS"),
        ({"num_sanity_val_steps": -2}, pl.MisconfigurationException, "num_sanity_val_steps=-2"),
        ({"fast_dev_run": -1}, pl.MisconfigurationException, "fast_dev_run"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_refused(flags: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as refused:
        quiet_trainer(**flags)
    assert words in str(refused.value)


def test_contradicting_callbacks() -> None:
    with pytest.raises(pl.MisconfigurationException, match="enable_checkpointing=False"):
        pl.Trainer(enable_checkpointing=False, callbacks=pl.callbacks.ModelCheckpoint())
    bars = [pl.callbacks.TQDMProgressBar(), pl.callbacks.TQDMProgressBar()]
    with pytest.raises(pl.MisconfigurationException, match="more than one progress bar"):
        pl.Trainer(callbacks=bars)


def test_callbacks_that_share_the_name_of_their_state() -> None:
    class Counts(pl.Callback):
        def state_dict(self) -> dict[str, Any]:
            return {"count": 1}

    with pytest.raises(RuntimeError, match="several Counts.*state_key"):
        quiet_trainer(callbacks=[Counts(), Counts()])


def test_gpu_without_a_gpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    for accelerator in ("gpu", "cuda"):
        with pytest.raises(pl.MisconfigurationException, match="litengine"):
            pl.Trainer(accelerator=accelerator)
    assert str(pl.Trainer(accelerator="auto").strategy.root_device) == "cpu"


# ---------------------------------------------------------------------- old spellings


@pytest.mark.parametrize(
    ("old", "check"),
    [
        ({"gpus": 0}, lambda t: t.strategy.root_device.type in ("cpu", "cuda")),
        ({"gpus": None}, lambda t: True),
        ({"num_processes": 1}, lambda t: t.num_devices == 1),
        ({"checkpoint_callback": False}, lambda t: t.checkpoint_callback is None),
        ({"progress_bar_refresh_rate": 0}, lambda t: t.progress_bar_callback is None),
        ({"progress_bar_refresh_rate": 20}, lambda t: t.progress_bar_callback is not None),
        ({"weights_summary": None}, lambda t: all(c.role != "model_summary" for c in t.callbacks)),
        ({"terminate_on_nan": True}, lambda t: t.detect_anomaly),
        ({"replace_sampler_ddp": False}, lambda t: True),
        ({"flush_logs_every_n_steps": 10}, lambda t: True),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_old_spelling(old: dict[str, Any], check: Any) -> None:
    with pytest.warns(DeprecationWarning, match=f"{next(iter(old))}=.*old spelling") as caught:
        trainer = pl.Trainer(logger=False, **old)
    assert check(trainer)
    assert caught[0].filename == __file__


def test_gpus_one_takes_a_gpu_where_there_is_one() -> None:
    if torch.cuda.is_available():
        with pytest.warns(DeprecationWarning, match="accelerator='gpu'"):
            assert pl.Trainer(gpus=1, logger=False).strategy.root_device.type == "cuda"
    else:
        with pytest.warns(DeprecationWarning), pytest.warns(UserWarning, match="no usable GPU"):
            trainer = pl.Trainer(max_epochs=1, gpus=1, logger=False)
        assert trainer.strategy.root_device.type == "cpu"


def test_old_checkpoint_callback_object() -> None:
    checkpoint = pl.callbacks.ModelCheckpoint()
    with pytest.warns(DeprecationWarning):
        assert pl.Trainer(logger=False, checkpoint_callback=checkpoint).checkpoint_callbacks == [checkpoint]


def test_resume_from_checkpoint(tmp_path: Path) -> None:
    first = fitted()
    first.save_checkpoint(tmp_path / "a.ckpt")
    with pytest.warns(DeprecationWarning, match="ckpt_path"):
        trainer = quiet_trainer(max_epochs=2, resume_from_checkpoint=tmp_path / "a.ckpt")
    trainer.fit(Net(), loader(), loader())
    assert trainer.global_step == 8


def test_flags_without_a_successor() -> None:
    with pytest.raises(TypeError, match="CombinedLoader"):
        pl.Trainer(multiple_trainloader_mode="min_size")


def test_what_limits_mean_when_they_are_left_out() -> None:
    assert quiet_trainer(max_epochs=None).max_epochs == 1000
    assert quiet_trainer(max_epochs=None, max_steps=3).max_epochs == -1
    assert quiet_trainer(max_epochs=None, max_time="1 h").max_epochs == -1
    assert quiet_trainer(max_epochs=None, callbacks=pl.callbacks.Timer("1 h")).max_epochs == -1
    assert quiet_trainer().min_epochs == 0 and quiet_trainer(min_steps=3).min_epochs == 1


def test_with_min_steps_a_wish_to_stop_waits_for_the_end_of_the_epoch() -> None:
    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
            trainer.should_stop = True

    steps = {}
    for min_steps in (None, 2):
        trainer = quiet_trainer(max_epochs=3, callbacks=Stop(), min_steps=min_steps)
        trainer.fit(Net(), loader(), loader())
        steps[min_steps] = trainer.global_step
    assert steps == {None: 1, 2: 4}
