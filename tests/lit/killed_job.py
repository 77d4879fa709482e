"""Small fits of many kinds, run in a forked process that can be killed at any event: a hook, or a step of a file write.

``Events`` counts what happens and ends the process with SIGKILL at a chosen number.
"""

from __future__ import annotations

import os
import random
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import engine as torch
import lit as pl
import loggers.files
from engine import nn
from engine.serialization import atomic
from engine.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
from lit.hooks import HOOKS


class Events:
    """Counts events; at number ``last`` the process is gone."""

    def __init__(self, last: int | None = None) -> None:
        self.count, self.last = 0, last
        self.names: list[str] = []

    def __call__(self, name: str) -> None:
        self.count += 1
        self.names.append(name)
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


class HalfWriter:
    """A file that is interrupted in the middle of every write."""

    def __init__(self, file: Any, events: Events) -> None:
        self._file, self._events = file, events

    def write(self, data: Any) -> None:
        half = len(data) // 2
        self._file.write(data[:half])
        self._file.flush()
        self._events("write")
        self._file.write(data[half:])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> HalfWriter:
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.close()


def half_writer(events: Events, *args: Any, **kwargs: Any) -> HalfWriter:
    return HalfWriter(open(*args, **kwargs), events)  # noqa: SIM115 (it closes itself)


def watch_files(events: Events) -> None:
    """Make every step of a file write an event; only for a process that ends soon."""
    for name in ("fsync", "replace", "remove", "unlink", "truncate"):
        inner = getattr(os, name)

        def watched(*args: Any, inner: Callable[..., Any] = inner, name: str = name, **kwargs: Any) -> Any:
            events(f"before {name}")
            result = None if name == "fsync" else inner(*args, **kwargs)  # the machine stays on, so the disk can wait
            events(f"after {name}")
            return result

        setattr(os, name, watched)
    for module in (atomic, loggers.files):
        module.open = lambda *args, **kwargs: half_writer(events, *args, **kwargs)  # type: ignore[attr-defined]


class Watch(pl.Callback):
    """Every hook of a callback is an event."""

    def __init__(self, events: Events) -> None:
        for hook in HOOKS:
            if "C" in hook.receivers and hook.name not in ("state_dict", "load_state_dict"):
                setattr(self, hook.name, lambda *args, _name=hook.name, **kwargs: events(_name))


class SaveEverywhere(pl.callbacks.Checkpoint):
    """A checkpoint after, before and inside everything."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "checkpoints" / "last-of-all.ckpt"
        self.dirpath = str(folder / "checkpoints")

        def save(trainer: Any, *args: Any, **kwargs: Any) -> None:
            if not trainer.sanity_checking:  # when the module's hook is done too, as ModelCheckpoint does
                trainer.hooks.afterwards(lambda: trainer.save_checkpoint(self.path))

        for name in ("train_batch_start", "train_batch_end", "validation_batch_end", "train_epoch_end"):
            setattr(self, f"on_{name}", save)


def rows(count: int) -> TensorDataset:
    x = torch.arange(count * 4, dtype=torch.float32).reshape(count, 4) / (count * 4)
    return TensorDataset(x, x.sum(1, keepdim=True))


class Augmented(Dataset):
    """Samples with noise of every random stream."""

    def __init__(self, count: int) -> None:
        self.rows = rows(count)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        x, y = self.rows[index]
        return x + 0.01 * random.random() + 0.01 * torch.rand(4) + 0.01 * float(np.random.rand()), y


class Stream(IterableDataset):
    def __init__(self, count: int) -> None:
        self.data = Augmented(count)

    def __iter__(self) -> Iterator[Any]:
        order = list(range(len(self.data)))
        random.shuffle(order)
        return map(self.data.__getitem__, order)


class Automatic(pl.LightningModule):
    scheduler = "step"

    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))
        self.register_buffer("trace", torch.zeros(1))

    def forward(self, x: Any) -> Any:
        return self.net(x)

    def loss(self, batch: Any) -> Any:
        return nn.functional.mse_loss(self(batch[0]), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self.loss(batch) * (1 + 0.1 * random.random())
        self.log("loss", loss, on_step=True, on_epoch=True, prog_bar=True)
        self.log("count", len(batch[0]), on_step=False, on_epoch=True, reduce_fx="sum")
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.trace.mul_(0.9).add_(self.net[0].weight.detach().mean())

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.log("val_loss", self.loss(batch) + 0.01 * torch.rand(()), on_step=True, on_epoch=True)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.05)
        kinds = torch.optim.lr_scheduler
        if self.scheduler == "plateau":
            return {
                "optimizer": optimizer,
                "lr_scheduler": kinds.ReduceLROnPlateau(optimizer, patience=0),
                "monitor": "val_loss_epoch",
            }
        return [optimizer], [{"scheduler": kinds.StepLR(optimizer, 2, 0.9), "interval": self.scheduler}]


class Plateau(Automatic):
    scheduler = "plateau"


class Epoch(Automatic):
    scheduler = "epoch"


class Manual(Automatic):
    """Two optimizers in turn, gradients accumulated by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.other = nn.Linear(4, 1)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        first, second = self.optimizers()
        with first.toggle_model():
            self.manual_backward(self.loss(batch) / 2)
            if batch_idx % 2:
                first.step()
                first.zero_grad()
        with second.toggle_model():
            loss = nn.functional.mse_loss(self.other(batch[0]), self.net(batch[0]).detach())
            self.manual_backward(loss)
            second.step()
            second.zero_grad()
            self.lr_schedulers().step()
        self.log("other_loss", loss, on_step=True, on_epoch=True)

    def configure_optimizers(self) -> Any:
        first = torch.optim.SGD(self.net.parameters(), lr=0.05, momentum=0.9)
        second = torch.optim.Adam(self.other.parameters(), lr=0.05)
        return [first, second], [torch.optim.lr_scheduler.ExponentialLR(second, 0.95)]


def shuffled(count: int, **options: Any) -> DataLoader:
    return DataLoader(Augmented(count), batch_size=4, shuffle=True, **options)


def own_generator(count: int) -> DataLoader:
    return shuffled(count, generator=torch.Generator().manual_seed(3))


# name -> (module, training loaders, validation loaders, callbacks, flags)
Kind = tuple[Any, Callable[[], Any], Callable[[], Any], Callable[[Path], list[Any]], dict[str, Any]]
KINDS: dict[str, Kind] = {
    "accumulation": (
        Automatic, lambda: shuffled(22), lambda: own_generator(9), lambda folder: [SaveEverywhere(folder)],
        {"accumulate_grad_batches": 4, "val_check_interval": "3 steps"},
    ),
    "two optimizers": (
        Manual, lambda: own_generator(22), lambda: [shuffled(9), shuffled(6)], lambda folder: [SaveEverywhere(folder)],
        {},
    ),
    "best and last": (
        Epoch, lambda: shuffled(22), lambda: shuffled(9),
        lambda folder: [
            pl.callbacks.ModelCheckpoint(folder / "best", monitor="val_loss_epoch", save_top_k=2, save_last=True),
            pl.callbacks.ModelCheckpoint(folder / "often", every_n_train_steps=2, save_last=True),
        ],
        {"gradient_clip_val": 0.5},
    ),
    "workers": (
        Plateau, lambda: shuffled(22, num_workers=2, persistent_workers=True), lambda: shuffled(9),
        lambda folder: [
            pl.callbacks.EarlyStopping("val_loss_epoch", patience=1),
            pl.callbacks.EMAWeightAveraging(decay=0.9),
            SaveEverywhere(folder),
        ],
        {"val_check_interval": 0.5, "max_epochs": 3},
    ),
    "stream": (
        Automatic, lambda: DataLoader(Stream(14), batch_size=4), lambda: DataLoader(Stream(7), batch_size=4),
        lambda folder: [pl.callbacks.StochasticWeightAveraging(0.05, swa_epoch_start=2), SaveEverywhere(folder)], {},
    ),
    "several loaders": (
        Automatic, lambda: pl.utilities.CombinedLoader([shuffled(14), shuffled(6)], "max_size_cycle"),
        lambda: shuffled(9), lambda folder: [SaveEverywhere(folder)], {},
    ),
    "asynchronous": (
        Automatic, lambda: shuffled(22), lambda: shuffled(9),
        lambda folder: [
            pl.callbacks.ModelCheckpoint(folder / "best", monitor="val_loss_epoch", save_top_k=2),
            pl.callbacks.ModelCheckpoint(folder / "often", every_n_train_steps=2, save_last="link"),
        ],
        {"plugins": pl.plugins.AsyncCheckpointIO()},
    ),
}  # fmt: skip


class Pairs(Automatic):
    def loss(self, batch: Any) -> Any:
        if isinstance(batch[0], (list, tuple)):
            return super().loss(batch[0]) + super().loss(batch[1])
        return super().loss(batch)


KINDS["several loaders"] = (Pairs, *KINDS["several loaders"][1:])


def fit(folder: Path, kind: str, events: Events) -> None:
    """Run, or go on, in ``folder``; at the end the weights, the optimizers and the metrics are in ``final``."""
    module, train, val, callbacks, flags = KINDS[kind]
    pl.seed_everything(5, verbose=False)
    logs: list[Any] = [pl.loggers.CSVLogger(folder, name="", flush_logs_every_n_steps=3)]
    if kind == "stream":
        logs.append(pl.loggers.TensorBoardLogger(folder, name="tb"))
    trainer = pl.Trainer(**{
        "accelerator": "cpu", "max_epochs": 2, "logger": logs, "log_every_n_steps": 1, "enable_progress_bar": False,
        "enable_model_summary": False, "default_root_dir": folder, "callbacks": [Watch(events), *callbacks(folder)],
        **flags,
    })  # fmt: skip
    model = module()
    trainer.fit(model, train(), val(), ckpt_path="last")
    final = {
        "weights": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
        "metrics": trainer.callback_metrics,
        "counts": [trainer.global_step, trainer.current_epoch],
        "next": [torch.rand(1).item(), random.random(), float(np.random.rand())],
    }
    torch.save(final, folder / "final")


def fork(folder: Path, kind: str, last: int | None = None) -> int:
    """Start ``fit`` in a child; returns its process id. What it prints goes to ``folder``'s neighbour ``output``."""
    folder.mkdir(exist_ok=True)
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        with open(folder.with_name("output"), "a") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        warnings.simplefilter("ignore")
        events = Events(last)
        watch_files(events)
        try:
            fit(folder, kind, events)
            code = 0
        except BaseException:
            traceback.print_exc()
        if last is None:
            folder.with_name("events").write_text("\n".join(events.names))
    finally:
        os._exit(code)
