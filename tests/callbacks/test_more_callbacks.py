"""The callbacks that change or watch a run, through the real Trainer, with state restored from a checkpoint."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import engine as torch
import lit as pl
from callbacks.spike_detection import TrainingSpikeException
from engine import nn
from tests.lit.models import MemoryLogger, Net, loader, quiet_trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:Net has a `validation_step`"),
    pytest.mark.filterwarnings("ignore:An epoch has"),
]


def flat(module: Any) -> list[float]:
    return [value for weight in module.parameters() for value in weight.detach().reshape(-1).tolist()]


# ---------------------------------------------------------------------- GradientAccumulationScheduler


def test_accumulation_follows_the_schedule() -> None:
    scheduler = pl.callbacks.GradientAccumulationScheduler({0: 1, 1: 4, 3: 2})
    steps: list[int] = []
    watch = pl.callbacks.LambdaCallback(on_train_epoch_end=lambda trainer, _: steps.append(trainer.global_step))
    quiet_trainer(max_epochs=4, callbacks=[scheduler, watch]).fit(Net(), loader(count=8, batch_size=1))
    assert steps == [8, 10, 12, 16]


def test_accumulation_goes_on_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    def fit(**flags: Any) -> Any:
        scheduler = pl.callbacks.GradientAccumulationScheduler({1: 4})
        trainer = quiet_trainer(max_epochs=2, callbacks=[scheduler])
        torch.manual_seed(1)
        model = Net()
        if flags:
            trainer.fit_loop.max_epochs, trainer.max_steps = -1, 9
            trainer.fit(model, loader(count=8, batch_size=1))
            trainer.save_checkpoint(tmp_path / "nine.ckpt")
            trainer = quiet_trainer(max_epochs=2, callbacks=[pl.callbacks.GradientAccumulationScheduler({1: 4})])
            trainer.fit(model, loader(count=8, batch_size=1), ckpt_path=tmp_path / "nine.ckpt")
        else:
            trainer.fit(model, loader(count=8, batch_size=1))
        return flat(model), trainer.global_step

    assert fit(stop=True) == fit()


@pytest.mark.parametrize(
    ("scheduling", "error"), [({}, TypeError), ({0: 0}, IndexError), ({-1: 2}, IndexError), ({0: 1.5}, TypeError)]
)
def test_impossible_schedules(scheduling: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="GradientAccumulationScheduler"):
        pl.callbacks.GradientAccumulationScheduler(scheduling)


def test_a_schedule_must_not_contradict_the_flag() -> None:
    trainer = quiet_trainer(accumulate_grad_batches=3, callbacks=pl.callbacks.GradientAccumulationScheduler({0: 2}))
    with pytest.raises(pl.MisconfigurationException, match="contradicts"):
        trainer.fit(Net(), loader())


# ---------------------------------------------------------------------- WeightAveraging


class Normed(Net):
    """With a buffer of floats and one of integers."""

    def __init__(self) -> None:
        super().__init__(lr=0.2)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: Any) -> Any:
        return self.layer(self.norm(x))


class Keep(pl.Callback):
    """The weights after every step, and those that validation sees."""

    def __init__(self) -> None:
        self.after_step: list[list[float]] = []
        self.in_validation: list[list[float]] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.after_step.append(flat(pl_module))

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self.in_validation.append(flat(pl_module))


def mean_of(rows: list[list[float]]) -> list[float]:
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def test_the_mean_of_all_steps_validates_and_stays() -> None:
    keep, model = Keep(), Normed()
    trainer = quiet_trainer(callbacks=[keep, pl.callbacks.WeightAveraging()], num_sanity_val_steps=0)
    trainer.fit(model, loader(batch_size=4), loader(batch_size=12))
    expected = pytest.approx(mean_of(keep.after_step), abs=1e-6)
    assert keep.in_validation[0] == expected and flat(model) == expected
    assert keep.after_step[-1] != expected
    assert model.norm.num_batches_tracked.item() == 3


def test_exponential_moving_average() -> None:
    keep, model = Keep(), Net()
    ema = pl.callbacks.EMAWeightAveraging(decay=0.5, update_every_n_steps=2, update_starting_at_step=2)
    quiet_trainer(callbacks=[keep, ema]).fit(model, loader(batch_size=2))
    third, fifth = keep.after_step[2], keep.after_step[4]
    assert flat(model) == pytest.approx(mean_of([third, fifth]), abs=1e-6)


def test_averages_resume_exactly_and_checkpoints_hold_them(tmp_path: Path) -> None:
    def fit(max_steps: int, ckpt_path: Any = None) -> Any:
        torch.manual_seed(2)
        model = Normed()
        trainer = quiet_trainer(
            max_epochs=-1, max_steps=max_steps, enable_checkpointing=True,
            callbacks=[pl.callbacks.EMAWeightAveraging(decay=0.7), Save(tmp_path)],
        )
        trainer.fit(model, loader(batch_size=2, shuffle=True), loader(batch_size=6), ckpt_path=ckpt_path)
        return flat(model)

    class Save(pl.callbacks.Checkpoint):
        def __init__(self, folder: Path) -> None:
            self.folder = folder

        def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
            trainer.save_checkpoint(self.folder / f"{trainer.global_step}.ckpt")

    whole = fit(14)
    assert fit(14, tmp_path / "8.ckpt") == whole
    averaged = Normed.load_from_checkpoint(tmp_path / "14.ckpt")
    assert flat(averaged) == whole


def test_a_broken_validation_leaves_the_weights_in_training() -> None:
    class Breaks(Net):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            raise RuntimeError("in validation")

    keep, model = Keep(), Breaks()
    trainer = quiet_trainer(callbacks=[keep, pl.callbacks.WeightAveraging()], num_sanity_val_steps=0)
    with pytest.raises(RuntimeError, match="in validation"):
        trainer.fit(model, loader(batch_size=3), loader())
    assert flat(model) == keep.after_step[-1]


def test_shared_weights_are_averaged_under_all_their_names(tmp_path: Path) -> None:
    class Shared(Net):
        def __init__(self) -> None:
            super().__init__()
            self.again = self.layer

    model, trainer = Shared(), quiet_trainer(callbacks=pl.callbacks.WeightAveraging())
    trainer.fit(model, loader())
    trainer.save_checkpoint(tmp_path / "shared.ckpt")
    assert flat(Shared.load_from_checkpoint(tmp_path / "shared.ckpt")) == flat(model)


# ---------------------------------------------------------------------- finetuning


class WithBackbone(Net):
    def __init__(self) -> None:
        super().__init__(lr=0.1)
        self.backbone = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))

    def forward(self, x: Any) -> Any:
        return self.layer(self.backbone(x))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam([p for p in self.parameters() if p.requires_grad], lr=self.hparams.lr)


def finetuning(**options: Any) -> Any:
    return pl.callbacks.BackboneFinetuning(unfreeze_backbone_at_epoch=1, train_bn=False, **options)


def test_the_backbone_joins_with_a_rising_learning_rate() -> None:
    model = WithBackbone()
    frozen = flat(model.backbone)
    seen: list[Any] = []

    def look(trainer: Any, module: Any) -> None:
        rates = [round(group["lr"], 6) for group in trainer.optimizers[0].param_groups]
        seen.append((rates, flat(module.backbone) == frozen))

    trainer = quiet_trainer(
        max_epochs=5, callbacks=[finetuning(), pl.callbacks.LambdaCallback(on_train_epoch_end=look)]
    )
    trainer.fit(model, loader())
    assert seen == [
        ([0.1], True), ([0.1, 0.01], False), ([0.1, 0.02], False), ([0.1, 0.04], False), ([0.1, 0.08], False)
    ]  # fmt: skip


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_finetuning_resumes_exactly(stop_after: int, tmp_path: Path) -> None:
    def fit(max_epochs: int, ckpt_path: Any = None) -> Any:
        torch.manual_seed(3)
        model = WithBackbone()
        trainer = quiet_trainer(max_epochs=max_epochs, callbacks=[finetuning()])
        trainer.fit(model, loader(shuffle=True), ckpt_path=ckpt_path)
        trainer.save_checkpoint(tmp_path / f"{max_epochs}.ckpt")
        return flat(model)

    whole = fit(4)
    fit(stop_after)
    assert fit(4, tmp_path / f"{stop_after}.ckpt") == whole


def test_a_module_without_a_backbone() -> None:
    with pytest.raises(pl.MisconfigurationException, match="no module `backbone`"):
        quiet_trainer(callbacks=finetuning()).fit(Net(), loader())


# ---------------------------------------------------------------------- predictions, exceptions


def test_predictions_are_written_by_batch_and_by_epoch() -> None:
    calls: list[Any] = []

    class Writer(pl.callbacks.BasePredictionWriter):
        def write_on_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
            prediction, indices, _, batch_idx, dataloader_idx = args
            calls.append((len(prediction), indices, batch_idx, dataloader_idx))

        def write_on_epoch_end(self, trainer: Any, pl_module: Any, predictions: Any, batch_indices: Any) -> None:
            calls.append(([[len(p) for p in of_loader] for of_loader in predictions], batch_indices))

    class Predicts(Net):
        def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
            return self(batch[0])

    trainer = quiet_trainer(callbacks=Writer("batch_and_epoch"))
    loaders = [loader(count=3, batch_size=2), loader(count=2, batch_size=2, shuffle=True)]
    assert trainer.predict(Predicts(), loaders, return_predictions=False) is None
    assert calls == [
        (2, [0, 1], 0, 0), (1, [2], 1, 0), (2, None, 0, 1), ([[2, 1], [2]], [[[0, 1], [2]], [None]])
    ]  # fmt: skip
    assert trainer.predict_loop.predictions == []

    class AtTheEnd(pl.callbacks.BasePredictionWriter):
        def write_on_epoch_end(self, trainer: Any, pl_module: Any, predictions: Any, batch_indices: Any) -> None:
            assert [len(p) for p in predictions] == [2, 1] and batch_indices == [[[0, 1], [2]]]  # as Lightning nests them

    quiet_trainer(callbacks=AtTheEnd("epoch")).predict(Predicts(), loaders[0], return_predictions=False)
    with pytest.raises(pl.MisconfigurationException, match="write_interval='step'"):
        pl.callbacks.BasePredictionWriter("step")  # type: ignore[arg-type]


def test_a_checkpoint_on_exception_goes_when_a_later_fit_ends_well(tmp_path: Path) -> None:
    class Fails(Net):
        fails = True

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if self.fails and batch_idx == 2:
                raise RuntimeError("broken")
            return super().training_step(batch, batch_idx)

    model, callback = Fails(), pl.callbacks.OnExceptionCheckpoint(tmp_path, "broken")
    flags = {"callbacks": callback, "enable_checkpointing": True}
    with pytest.raises(RuntimeError, match="broken"):
        quiet_trainer(**flags).fit(model, loader())
    assert os.listdir(tmp_path) == ["broken.ckpt"]
    model.fails = False
    trainer = quiet_trainer(**flags)
    trainer.fit(model, loader(), ckpt_path=callback.ckpt_path)
    assert trainer.global_step == 4 and os.listdir(tmp_path) == []


# ---------------------------------------------------------------------- monitors


def test_device_statistics_are_logged_when_due() -> None:
    logger = MemoryLogger()
    quiet_trainer(callbacks=pl.callbacks.DeviceStatsMonitor(), logger=logger, log_every_n_steps=2).fit(Net(), loader())
    for moment, steps in (("start", [1, 3]), ("end", [1, 3])):
        name = f"DeviceStatsMonitor.on_train_batch_{moment}/process_memory_bytes"
        assert [step for step, _ in logger.values(name)] == steps
        assert all(value > 1e6 for _, value in logger.values(name))
    with pytest.raises(pl.MisconfigurationException, match="no logger"):
        quiet_trainer(callbacks=pl.callbacks.DeviceStatsMonitor()).fit(Net(), loader())


def test_throughput_of_training_and_validation() -> None:
    logger = MemoryLogger()
    monitor = pl.callbacks.ThroughputMonitor(lambda batch: len(batch[0]), lambda batch: 7, window_size=2)
    trainer = quiet_trainer(callbacks=monitor, logger=logger, log_every_n_steps=1)
    trainer.fit(Net(), loader(batch_size=3), loader(batch_size=3))
    assert [value for _, value in logger.values("train/samples")] == [3, 6, 9, 12]
    assert [value for _, value in logger.values("train/lengths")] == [7, 14, 21, 28]
    assert len(logger.values("train/device/samples_per_sec")) == 2  # the window is full from the third batch on
    assert [value for _, value in logger.values("validate/batches")] == [1, 2, 3, 4]


def test_a_spike_ends_the_run_and_is_remembered(tmp_path: Path) -> None:
    class Leaps(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch, batch_idx) * 0 + (1000.0 if batch_idx == 3 else 1.0)

    (tmp_path / "skip_batches.json").write_text("[1]")
    trainer = quiet_trainer(callbacks=pl.callbacks.SpikeDetection(), default_root_dir=tmp_path)
    with pytest.raises(TrainingSpikeException, match="batch 3"):
        trainer.fit(Leaps(), loader(count=30))
    assert json.loads((tmp_path / "skip_batches.json").read_text()) == [1, 3]


def test_spike_detection_restores_its_losses() -> None:
    first, second = pl.callbacks.SpikeDetection(), pl.callbacks.SpikeDetection()
    for loss in (1.0, 1.2, 0.9):
        assert not first.is_spike(loss)
    second.load_state_dict(first.state_dict())
    assert second.is_spike(5.0) and second.is_spike(float("nan")) and not second.is_spike(1.1)
