"""A small fit that stops in a chosen phase and waits there for a signal. Run by test_preemption.py as a program.

    python -m tests.lit.preempted_job FOLDER PHASE

PHASE is a hook of `Job` or `Watch`, "checkpoint_write", "workers" or "none".
At the end the program writes the weights and the losses to FOLDER/result.json.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import engine as torch
import lit as pl
from tests.lit.models import Net, loader

HOOKS = (
    "setup", "on_fit_start", "on_sanity_check_start", "on_train_start", "on_train_epoch_start",
    "on_train_batch_start", "on_train_batch_end", "on_validation_batch_end", "on_validation_end", "on_train_epoch_end",
    "on_train_end", "on_fit_end", "on_test_batch_end", "on_predict_batch_end",
)  # fmt: skip


class Stop:
    """Waits for the signal where `PHASE` says, once."""

    def __init__(self, folder: Path, phase: str) -> None:
        self.folder, self.phase = folder, phase
        self.done = False

    def __call__(self, place: str, trainer: Any, only_if: bool = True) -> None:
        if place != self.phase or self.done or not only_if:
            return
        self.done = True
        (self.folder / "ready").write_text(str(os.getpid()))
        deadline = time.monotonic() + 20
        while not trainer.received_sigterm and time.monotonic() < deadline:
            time.sleep(0.005)


class Watch(pl.Callback):
    """A callback whose hook named PHASE waits, in the second epoch where there is one."""

    def __init__(self, stop: Stop) -> None:
        late = {"on_train_batch_start", "on_train_batch_end", "on_validation_batch_end", "on_train_epoch_end"}

        def hook(name: str) -> Any:
            def method(trainer: Any, *args: Any, **kwargs: Any) -> None:
                stop(name, trainer, only_if=name not in late or trainer.current_epoch == 1)

            return method

        for name in HOOKS:
            setattr(self, name, hook(name))


class Job(Net):
    def __init__(self, stop: Stop) -> None:
        super().__init__(lr=0.3, dropout=0.5)
        self.stop = stop

    def prepare_data(self) -> None:
        self.stop("prepare_data", self.trainer)

    def train_dataloader(self) -> Any:
        torch.rand(3)
        workers = {"workers": 2, "worker_start": 2}.get(self.stop.phase, 0)
        init = self.start_slowly if self.stop.phase == "worker_start" else None
        return loader(count=16, batch_size=2, shuffle=True, num_workers=workers, worker_init_fn=init)

    def start_slowly(self, worker: int) -> None:
        (self.stop.folder / "ready").write_text("")
        time.sleep(60)

    def val_dataloader(self) -> Any:
        return loader(count=8, batch_size=2, shuffle=True)

    test_dataloader = predict_dataloader = val_dataloader

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if batch_idx == 3:
            self.stop("workers", self.trainer)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.loss(batch) + torch.rand(()))

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        return self(batch[0])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["losses"] = self.losses
        self.stop("checkpoint_write", self.trainer)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.losses = list(checkpoint["losses"])


def main(folder: Path, phase: str, ckpt_path: str | None = None) -> None:
    stop = Stop(folder, phase)
    pl.seed_everything(3, verbose=False)
    model = Job(stop)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=3, accumulate_grad_batches=2, logger=False, default_root_dir=folder,
        enable_progress_bar=phase == "on_sanity_check_start", enable_model_summary=False, callbacks=[Watch(stop)],
    )  # fmt: skip
    if phase.startswith(("on_test", "on_predict")):
        (trainer.test if "test" in phase else trainer.predict)(model)
    else:
        trainer.fit(model, ckpt_path=ckpt_path)
    weights = {name: value.tolist() for name, value in model.state_dict().items()}
    after = torch.rand(2).tolist()
    (folder / "result.json").write_text(json.dumps({"weights": weights, "losses": model.losses, "after": after}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
