"""The way of batches to the device: page-locked memory, and copies that the host does not wait for."""

from __future__ import annotations

from collections import namedtuple

import pytest

import engine
import lit
from engine.cuda.copying import BatchCopies
from engine.utils.data import DataLoader, TensorDataset
from tests.device.test_trainer import Model, data, fitted
from tests.fake_cupy.kernels import compiler

Pair = namedtuple("Pair", "x y")


def test_batches_are_pinned_and_copied_without_waiting(device, events):
    x = engine.arange(12.0).reshape(6, 2)
    loader = DataLoader(TensorDataset(x, engine.arange(6)), batch_size=2, pin_memory=True)
    events.clear()
    seen = []
    for a, b in loader:
        assert a.is_pinned() and b.is_pinned()
        seen.append((a.to(device, non_blocking=True), b.cuda(non_blocking=True)))
    assert events["pinned"] == 6 and not events["synchronize"] and not events["to_host"]
    assert engine.cat([a for a, _ in seen]).tolist() == x.tolist()
    assert engine.cat([b for _, b in seen]).tolist() == list(range(6))


def test_containers_keep_their_kind(device):
    batches = [{"a": Pair(engine.ones(2), [engine.ones(1), "text"])}]
    (batch,) = DataLoader(batches, batch_size=None, pin_memory=True, collate_fn=lambda b: b)
    assert batch["a"].x.is_pinned() and batch["a"].y[0].is_pinned() and batch["a"].y[1] == "text"
    assert isinstance(batch["a"], Pair)


def test_pinned_tensors_go_back_and_forth(device):
    x = engine.ones(3).pin_memory()
    assert x.is_pinned() and not x.is_cuda
    y = x.to(device, non_blocking=True)
    assert y.is_cuda and y.cpu().tolist() == [1.0] * 3


def test_batches_are_copied_beside_the_work_and_stay_as_they_are(device, events):
    """Other shapes, other numbers of tensors; what a program keeps is not written over by later batches."""
    copies = BatchCopies(engine.device("cuda", 0))
    given = [[engine.randn(n, 3).pin_memory(), engine.arange(n).pin_memory(), engine.ones(2)][: 1 + n % 3] for n in range(1, 9)]
    events.clear()
    kept = []
    for batch in given:
        copies.begin()
        kept.append([copies.put(t) for t in batch])
    assert not events["synchronize"] and not events["to_host"]
    assert events["wait_event"] == 2 * sum(t.is_pinned() for batch in given for t in batch)
    for ours, batch in zip(kept, given):
        assert all(a.is_cuda and a.dtype == b.dtype and a.tolist() == b.tolist() for a, b in zip(ours, batch))


def test_the_trainer_copies_pinned_batches_in_a_stream_of_their_own(device, tmp_path, events):
    if compiler() is None:
        pytest.skip("no g++")
    fitted("gpu", tmp_path)
    assert events["wait_event"] == 2 * 2 * 12  # two tensors, twelve batches


def test_the_bar_and_the_logger_make_ordinary_steps_wait_for_nothing(device, tmp_path, events):
    """The bar shows what it asked for the last time; a logger reads once in `log_every_n_steps`."""
    if compiler() is None:
        pytest.skip("no g++")
    waits, shown = [], []

    class Shown(Model):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            self.log("bar", loss, prog_bar=True)
            self.log("count", engine.tensor(7, device=self.device), prog_bar=True)
            return loss

    class Bar(lit.callbacks.ProgressBar):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            events.clear()

        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            shown.append((self.get_metrics(trainer, module), outputs["loss"]))
            waits.append(events["synchronize"])

    trainer = lit.Trainer(max_epochs=2, accelerator="gpu", devices=1, default_root_dir=tmp_path, log_every_n_steps=5,
                          callbacks=[Bar()], enable_model_summary=False)
    trainer.fit(Shown(), data())
    assert waits == [0] * 12 and trainer.checkpoint_callback.best_model_path
    for (metrics, _), (_, before) in zip(shown[1:6], shown):
        assert metrics["bar"] == pytest.approx(before.item()) and metrics["count"] == 7 and type(metrics["count"]) is int
    assert trainer.progress_bar_metrics["bar"] == pytest.approx(shown[-1][1].item())
