"""Steps that take ``dataloader_iter`` and fetch their batches themselves, as Lightning calls them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import engine as torch
import lit as pl
from tests.lit.models import Net, loader, quiet_trainer, rows


class ByIterator(Net):
    """Takes ``per_step`` batches in every step."""

    def __init__(self, per_step: int = 1) -> None:
        super().__init__()
        self.per_step = per_step
        self.seen: list[tuple[str, int, int]] = []

    def fetch(self, stage: str, dataloader_iter: Iterator[Any]) -> Any:
        total = torch.zeros(())
        for _ in range(self.per_step):
            batch, batch_idx, dataloader_idx = next(dataloader_iter)
            self.seen.append((stage, batch_idx, dataloader_idx))
            total = total + self.loss(batch)
        return total

    def training_step(self, dataloader_iter: Iterator[Any]) -> Any:  # type: ignore[override]
        loss = self.fetch("train", dataloader_iter)
        self.losses.append(loss.item())
        self.log("train_loss", loss, on_epoch=True)
        return loss

    def validation_step(self, dataloader_iter: Iterator[Any]) -> None:  # type: ignore[override]
        self.log("val_loss", self.fetch("val", dataloader_iter))

    def predict_step(self, dataloader_iter: Iterator[Any]) -> Any:
        return self.fetch("predict", dataloader_iter)


def without_length() -> Any:
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self) -> Iterator[Any]:
            return (row for row in rows())

    return torch.utils.data.DataLoader(Stream(), batch_size=3)


@pytest.mark.parametrize(("data", "accumulate"), [(loader, 1), (loader, 3), (without_length, 1), (without_length, 2)])
def test_one_batch_per_step_is_the_ordinary_training(data: Any, accumulate: int) -> None:
    results = []
    for module in (Net, ByIterator):
        torch.manual_seed(1)
        model, trainer = module(), quiet_trainer(max_epochs=2, accumulate_grad_batches=accumulate)
        trainer.fit(model, data(), data())
        results.append((model.losses, trainer.global_step, trainer.current_epoch, dict(trainer.callback_metrics)))
    assert results[0][:3] == results[1][:3]
    assert results[0][3]["val_loss"] == results[1][3]["val_loss"]


def test_several_batches_per_step() -> None:
    model, trainer = ByIterator(2), quiet_trainer(num_sanity_val_steps=0)
    trainer.fit(model, loader(), loader())
    batches = [(index, 0) for index in range(4)]
    assert model.seen == [*(("train", *b) for b in batches), *(("val", *b) for b in batches)]
    assert trainer.global_step == 2 and trainer.fit_loop.total_batch_idx == 1


def test_a_step_that_wants_more_than_there_is_ends_the_epoch() -> None:
    model, trainer = ByIterator(3), quiet_trainer(max_epochs=2, num_sanity_val_steps=0)
    trainer.fit(model, loader(), loader())
    assert trainer.global_step == 2 and trainer.current_epoch == 2
    assert [index for stage, index, _ in model.seen if stage == "train"] == [0, 1, 2, 3] * 2


def test_several_loaders_and_predictions() -> None:
    model, trainer = ByIterator(), quiet_trainer()
    trainer.validate(model, [loader(), loader(6)], verbose=False)
    assert model.seen == [("val", 0, 0), ("val", 1, 0), ("val", 2, 0), ("val", 3, 0), ("val", 0, 1), ("val", 1, 1)]
    assert sorted(trainer.callback_metrics) == ["val_loss/dataloader_idx_0", "val_loss/dataloader_idx_1"]
    predictions = trainer.predict(model, loader(6))
    assert [p.shape for p in predictions] == [(), ()]


@pytest.mark.parametrize("data", [loader, without_length])
def test_a_run_resumed_between_two_steps_takes_the_batches_that_are_left(data: Any, tmp_path: Path) -> None:
    class Save(pl.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            assert len(batch[0]) == 3
            trainer.save_checkpoint(tmp_path / f"{trainer.global_step}.ckpt")

    whole = ByIterator(2)
    quiet_trainer(max_epochs=2, callbacks=Save(), limit_val_batches=0).fit(whole, data())
    for step in (1, 2, 3):
        rest = ByIterator(2)
        quiet_trainer(max_epochs=2, limit_val_batches=0).fit(rest, data(), ckpt_path=tmp_path / f"{step}.ckpt")
        assert rest.losses == whole.losses[step:] and rest.seen == whole.seen[2 * step :]
        assert torch.equal(rest.layer.weight, whole.layer.weight)
