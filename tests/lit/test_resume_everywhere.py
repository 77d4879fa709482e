"""A checkpoint from every hook of a small fit, and a run that goes on from each: all of them end alike, bit for bit."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine as torch
import lit as pl
from engine import nn
from engine.utils.data import DataLoader
from lit import metrics
from tests.lit.killed_job import Augmented, Automatic, Manual, Pairs, Plateau, Stream, own_generator, shuffled

pytestmark = pytest.mark.filterwarnings("ignore")

HOOKS = (
    "on_train_epoch_start", "on_train_batch_start", "on_train_batch_end", "on_validation_start",
    "on_validation_epoch_start", "on_validation_batch_start", "on_validation_batch_end", "on_validation_epoch_end",
    "on_validation_end", "on_train_epoch_end",
)  # fmt: skip


class SaveInEveryHook(pl.callbacks.Checkpoint):
    """Numbered files; ``places`` says where each was written."""

    def __init__(self, folder: Path) -> None:
        self.places: list[str] = []

        def hook(name: str) -> Callable[..., None]:
            def save(trainer: Any, *args: Any, **kwargs: Any) -> None:
                if not trainer.sanity_checking:
                    path = folder / f"{len(self.places)}.ckpt"
                    self.places.append(f"{name}, epoch {trainer.current_epoch}, step {trainer.global_step}")
                    trainer.hooks.afterwards(lambda: trainer.save_checkpoint(path))

            return save

        for name in HOOKS:
            setattr(self, name, hook(name))


# ---------------------------------------------------------------------- what is trained


class Measured(Automatic):
    """Metrics of its own that are in the middle of an epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.error, self.mean = metrics.MeanAbsoluteError(), metrics.MeanMetric()
        self.collection = metrics.MetricCollection({"mse": metrics.MeanSquaredError(), "r2": metrics.R2Score()})

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.error(self(batch[0]).detach(), batch[1])
        self.log("error", self.error, on_step=True, on_epoch=True)
        self.mean.update(loss.detach())
        self.log("mean", self.mean, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        super().validation_step(batch, batch_idx)
        self.collection.update(self(batch[0]), batch[1])
        self.log_dict(self.collection, on_epoch=True, on_step=False)


class Skipping(Automatic):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        return None if batch_idx % 3 == 1 else loss


class Adversarial(Manual):
    """Two optimizers that step at different times, with gradients kept from batch to batch."""

    def training_step(self, batch: Any, batch_idx: int) -> None:
        first, second = self.optimizers()
        self.toggle_optimizer(first)
        self.manual_backward(self.loss(batch))
        if batch_idx % 3 == 2:
            first.step()
            first.zero_grad()
        self.untoggle_optimizer(first)
        if batch_idx % 2 == 0:
            loss = nn.functional.mse_loss(self.other(batch[0]), self.net(batch[0]).detach())
            self.manual_backward(loss)
            second.step()
            second.zero_grad()
            self.log("other_loss", loss, on_step=True, on_epoch=True)


class Scheduled(Automatic):
    def configure_optimizers(self) -> Any:
        optimizer, kinds = torch.optim.Adam(self.parameters(), lr=0.05, amsgrad=True), torch.optim.lr_scheduler
        plateau = kinds.ReduceLROnPlateau(optimizer, patience=0)
        return [optimizer], [
            {"scheduler": kinds.OneCycleLR(optimizer, 0.1, total_steps=40), "interval": "step"},
            {"scheduler": plateau, "interval": "step", "frequency": 2, "monitor": "loss_step"},
            {"scheduler": kinds.StepLR(optimizer, 1, 0.9), "interval": "epoch"},
        ]


class Growing(Automatic):
    """Its loaders depend on the epoch in which they are asked for."""

    def train_dataloader(self) -> Any:
        return DataLoader(Augmented(10 + 2 * self.current_epoch), batch_size=4, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(Augmented(5 + self.current_epoch), batch_size=4, shuffle=True)


class Talkative(Automatic):
    def on_train_epoch_start(self) -> None:
        self.log("epoch_began", float(self.current_epoch))

    def on_validation_epoch_end(self) -> None:
        self.log("seen", 2.0 * self.current_epoch)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.log("norm", self.net[0].weight.grad.norm())


class Halves(Automatic):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = self.net[:3]


class Drawn:
    """A batch sampler with a random stream of its own."""

    def __init__(self) -> None:
        self.stream = random.Random(9)

    def __len__(self) -> int:
        return 6

    def __iter__(self) -> Any:
        order = list(range(22))
        self.stream.shuffle(order)
        return (order[start : start + 4] for start in range(0, 22, 4))

    def state_dict(self) -> dict[str, Any]:
        return {"stream": self.stream.getstate()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.stream.setstate(state["stream"])


# ---------------------------------------------------------------------- how


CALLBACKS = pl.callbacks
combined = pl.utilities.CombinedLoader
EMA = [lambda: CALLBACKS.EMAWeightAveraging(decay=0.9), lambda: CALLBACKS.EarlyStopping("val_loss_epoch", patience=1)]

# name -> (module, training loaders, validation loaders, makers of callbacks, flags); None: the usual loaders
KINDS: dict[str, tuple[Any, Any, Any, list[Callable[[], Any]], dict[str, Any]]] = {
    "two optimizers": (Adversarial, None, lambda: [shuffled(9), shuffled(6)], [], {}),
    "ragged window": (Automatic, None, None, [], {"accumulate_grad_batches": 4, "gradient_clip_val": 0.1}),
    "validation within": (Automatic, None, None, [], {"val_check_interval": 0.3}),
    "validation across": (
        Automatic, None, None, [], {"val_check_interval": 4, "check_val_every_n_epoch": None, "max_epochs": 3},
    ),
    "stream": (Automatic, lambda: DataLoader(Stream(14), batch_size=4), lambda: DataLoader(Stream(9), batch_size=4), [], {}),
    "cycled": (Pairs, lambda: combined([shuffled(14), own_generator(6)], "max_size_cycle"), None, [], {}),
    "shortest": (Pairs, lambda: combined([shuffled(14), own_generator(22)], "min_size"), None, [], {}),
    "plateau, average, stop": (Plateau, None, None, EMA, {"max_epochs": 4}),
    "16-mixed": (Automatic, None, None, [], {"precision": "16-mixed", "accumulate_grad_batches": 3}),
    "sampler": (Automatic, lambda: DataLoader(Augmented(22), batch_sampler=Drawn()), None, [], {}),
    "metrics": (Measured, None, None, [], {}),
    "reloaded": (Growing, lambda: None, lambda: None, [], {"reload_dataloaders_every_n_epochs": 2, "max_epochs": 4}),
    "limited": (Automatic, None, None, [], {"max_steps": 8, "max_epochs": -1, "max_time": "00:01:00:00"}),
    "skipped": (Skipping, None, None, [], {"accumulate_grad_batches": 2}),
    "scheduled": (Scheduled, None, None, [CALLBACKS.LearningRateMonitor], {}),
    "talkative": (Talkative, None, None, [CALLBACKS.LearningRateMonitor], {}),
    "finetuned": (
        Halves, None, None, [lambda: CALLBACKS.BackboneFinetuning(unfreeze_backbone_at_epoch=1)], {"max_epochs": 3},
    ),
    "changing window": (
        Automatic, None, None, [lambda: CALLBACKS.GradientAccumulationScheduler({0: 3, 1: 1})], {},
    ),
}  # fmt: skip


def fit(folder: Path, kind: str, ckpt_path: Path | None = None) -> tuple[dict[str, Any], SaveInEveryHook | None]:
    module, train, val, callbacks, flags = KINDS[kind]
    pl.seed_everything(5, verbose=False)
    saving = SaveInEveryHook(folder / "checkpoints") if ckpt_path is None else None
    log, jsonl = pl.loggers.CSVLogger, pl.loggers.JSONLinesLogger
    trainer = pl.Trainer(**{
        "accelerator": "cpu", "max_epochs": 2, "log_every_n_steps": 1, "enable_progress_bar": False,
        "enable_model_summary": False, "default_root_dir": folder, "enable_checkpointing": saving is not None,
        "logger": [log(folder, "log", version=0, flush_logs_every_n_steps=3), jsonl(folder, "log", version=0)],
        "callbacks": [make() for make in callbacks] + ([saving] if saving else []), **flags,
    })  # fmt: skip
    model = module()
    trainer.fit(model, (train or (lambda: shuffled(22)))(), (val or (lambda: shuffled(9)))(), ckpt_path=ckpt_path)
    kept = [callback for callback in trainer.callbacks if not isinstance(callback, (SaveInEveryHook, CALLBACKS.Timer))]
    return {
        "weights": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
        "schedulers": [config.scheduler.state_dict() for config in trainer.lr_scheduler_configs],
        "metrics": [trainer.callback_metrics, trainer.logged_metrics],
        "counts": [trainer.global_step, trainer.current_epoch, trainer.state.batches_that_stepped],
        "callbacks": [callback.state_dict() for callback in kept],
        "scaler": trainer.precision_plugin.state_dict(),
        "next": [torch.rand(1).item(), random.random(), float(np.random.rand())],
        "logs": logs(folder / "log" / "version_0"),
    }, saving  # fmt: skip


def logs(folder: Path) -> list[Any]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(folder / "metrics.csv").read_text(), [{k: v for k, v in line.items() if k != "time"} for line in lines]]


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Where two nested results differ, in type, shape or any bit."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [found for key in a for found in differences(a[key], b[key], f"{path}.{key}")]
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and len(a) == len(b):
        return [found for i, pair in enumerate(zip(a, b, strict=True)) for found in differences(*pair, f"{path}[{i}]")]
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        same = a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()
        return [] if same else [path]
    return [] if type(a) is type(b) and (a == b or a != a) else [f"{path}: {a!r} is {b!r}"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_from_any_hook(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    expected, saving = fit(folder, kind)
    assert saving is not None and len(saving.places) > 20
    (folder / "log").rename(tmp_path / "log")
    for number, place in enumerate(saving.places):
        shutil.rmtree(folder / "log", ignore_errors=True)
        shutil.copytree(tmp_path / "log", folder / "log")
        found, _ = fit(folder, kind, folder / "checkpoints" / f"{number}.ckpt")
        assert differences(expected, found) == [], f"from a checkpoint in {place}"
