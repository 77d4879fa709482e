"""How checkpoints get to the disk: what is there when, what a thread may still do, and who hears of its failures."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import engine as torch
import lit as pl
from engine.serialization import atomic
from lit.callbacks import ModelCheckpoint
from lit.plugins.background import Background
from tests.lit.models import Net, loader, quiet_trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*has a `validation_step`"),
    pytest.mark.filterwarnings("ignore:.*exists and is not empty"),
]


class Gate:
    """Stands in for ``os.fsync``: waits until it is opened, or fails."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.failure: OSError | None = None
        self.threads: list[str] = []

    def __call__(self, handle: int) -> None:
        self.threads.append(threading.current_thread().name)
        if threading.current_thread() is not threading.main_thread():
            assert self.open.wait(30)
            if self.failure is not None:
                raise self.failure


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    monkeypatch.setattr(atomic.os, "fsync", gate)
    yield gate
    gate.open.set()


class Between(pl.Callback):
    """Calls a function at the start of an epoch."""

    def __init__(self, look: Callable[[int], Any]) -> None:
        self.look = look

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.look(trainer.current_epoch)


def fit(folder: Path, epochs: int = 2, look: Callable[[int], Any] | None = None, **flags: Any) -> pl.Trainer:
    callbacks = [flags.pop("saving", None) or ModelCheckpoint(folder)]
    if look is not None:
        callbacks.append(Between(look))
    trainer = quiet_trainer(
        max_epochs=epochs, callbacks=callbacks, default_root_dir=folder, enable_checkpointing=True, **flags
    )
    trainer.fit(Net(), loader(batch_size=2))
    return trainer


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---------------------------------------------------------------------- the background


def test_jobs_are_done_in_order_and_a_failure_is_raised_once() -> None:
    background, done, go = Background(), [], threading.Event()
    background.submit(go.wait)
    background.submit(lambda: done.append(1))
    background.submit(lambda: 1 / 0)
    background.submit(lambda: done.append(2))  # given in the belief that the one before would be done
    go.set()
    with pytest.raises(ZeroDivisionError):
        background.wait()
    background.submit(lambda: done.append(3))
    background.close()
    assert done == [1, 3]
    assert not [thread for thread in threading.enumerate() if thread.name == "lit-checkpoints"]


# ---------------------------------------------------------------------- files, the default


def test_a_new_file_is_there_before_the_disk_has_it_and_nothing_is_removed_before(tmp_path: Path, gate: Gate) -> None:
    seen = {}

    def look(epoch: int) -> None:
        seen[epoch] = names(tmp_path)
        if epoch == 1:
            assert torch.load(tmp_path / "epoch=0-step=6.ckpt")["global_step"] == 6
            gate.open.set()

    fit(tmp_path, epochs=3, look=look)
    assert seen[1] == ["epoch=0-step=6.ckpt"]
    assert "epoch=1-step=12.ckpt" in seen[2]
    assert names(tmp_path) == ["epoch=2-step=18.ckpt"]
    assert set(gate.threads) == {"lit-checkpoints"}


def test_the_file_before_stays_until_its_successor_is_durable(tmp_path: Path, gate: Gate) -> None:
    flushed = threading.Event()

    def look(epoch: int) -> None:
        if epoch == 1:
            gate.open.set()
            while len(gate.threads) < 2:  # file and folder of the first
                flushed.wait(0.001)
            gate.open.clear()
        if epoch == 2:
            assert names(tmp_path) == ["epoch=0-step=6.ckpt", "epoch=1-step=12.ckpt"]
            gate.open.set()

    fit(tmp_path, epochs=3, look=look)


def test_a_file_that_is_replaced_is_durable_first(tmp_path: Path, gate: Gate) -> None:
    gate.open.set()
    fit(tmp_path, saving=ModelCheckpoint(tmp_path, save_top_k=0, save_last=True))
    assert gate.threads == ["lit-checkpoints"] * 2 + ["MainThread"] * 2


def test_what_the_thread_could_not_do_is_raised_by_the_next_checkpoint(tmp_path: Path, gate: Gate) -> None:
    gate.failure = OSError("the disk is gone")
    gate.open.set()
    epochs: list[int] = []
    with pytest.raises(OSError, match="the disk is gone"):
        fit(tmp_path, epochs=5, look=epochs.append)
    assert epochs == [0, 1]
    assert names(tmp_path) == ["epoch=0-step=6.ckpt"]


def test_what_the_thread_could_not_do_is_raised_at_the_end(tmp_path: Path, gate: Gate) -> None:
    gate.failure = OSError("the disk is gone")
    gate.open.set()
    with pytest.raises(OSError, match="the disk is gone"):
        fit(tmp_path, epochs=1)


def test_a_failure_beside_another_exception_is_reported(tmp_path: Path, gate: Gate) -> None:
    gate.failure = OSError("the disk is gone")
    gate.open.set()

    def look(epoch: int) -> None:
        if epoch == 1:
            raise RuntimeError("of the user")

    with pytest.warns(UserWarning, match="W126.*the disk is gone"), pytest.raises(RuntimeError, match="of the user"):
        fit(tmp_path, look=look)


def test_outside_of_a_run_saving_waits_for_the_disk(tmp_path: Path, gate: Gate) -> None:
    gate.open.set()
    trainer = fit(tmp_path, epochs=1)
    gate.threads.clear()
    trainer.save_checkpoint(tmp_path / "after.ckpt")
    assert len(gate.threads) == 2
    assert not [thread for thread in threading.enumerate() if thread.name == "lit-checkpoints"]


# ---------------------------------------------------------------------- asynchronous


class Slow(pl.plugins.FileCheckpointIO):
    """Writes when it is allowed to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.begun = threading.Event()
        self.written: list[str] = []

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        self.begun.set()
        assert self.go.wait(30)
        super().save_checkpoint(checkpoint, path, storage_options)
        self.written.append(os.path.basename(path))


def test_an_asynchronous_checkpoint_holds_the_step_at_which_it_was_asked_for(tmp_path: Path) -> None:
    inner = Slow()

    class Watch(pl.Callback):
        weights: list[Any] = []

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == 1:
                trainer.save_checkpoint(tmp_path / "two.ckpt")
                self.weights = [weight.detach().clone() for weight in pl_module.parameters()]
            if batch_idx == 4:  # three steps later it is still on its way
                assert inner.begun.wait(30) and not (tmp_path / "two.ckpt").exists()
                inner.go.set()

    watch = Watch()
    trainer = quiet_trainer(plugins=pl.plugins.AsyncCheckpointIO(inner), callbacks=watch, max_epochs=1)
    model = Net()
    trainer.fit(model, loader(batch_size=2))
    saved = torch.load(tmp_path / "two.ckpt")
    assert saved["global_step"] == 2 and trainer.global_step == 6
    for kept, written, now in zip(watch.weights, saved["state_dict"].values(), model.parameters(), strict=True):
        assert torch.equal(kept, written) and not torch.equal(kept, now)
    steps = [state["step"].item() for state in saved["optimizer_states"][0]["state"].values() if "step" in state]
    assert set(steps) <= {2.0}


def test_there_is_one_snapshot_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = pl.plugins.AsyncCheckpointIO(inner := Slow())
    writer.save_checkpoint({"weights": torch.ones(2)}, tmp_path / "one")
    second = threading.Thread(target=lambda: writer.save_checkpoint({"weights": torch.ones(2)}, tmp_path / "two"))
    second.start()
    second.join(0.05)
    assert second.is_alive() and inner.written == []
    inner.go.set()
    second.join()
    writer.teardown()
    assert inner.written == ["one", "two"]


@pytest.mark.parametrize("save_last", [None, True, "link"])
def test_the_files_are_those_of_a_run_that_waits(save_last: Any, tmp_path: Path) -> None:
    def files(kind: str, **flags: Any) -> dict[str, bytes]:
        torch.manual_seed(0)
        folder = tmp_path / "run"
        fit(folder, epochs=3, saving=ModelCheckpoint(folder, save_last=save_last), **flags)
        found = {path.name: path.read_bytes() for path in folder.iterdir()}
        folder.rename(tmp_path / kind)
        return found

    waiting = files("waiting")
    assert files("asynchronous", plugins=pl.plugins.AsyncCheckpointIO()) == waiting
    assert len(waiting) == (1 if save_last is None else 2)


def test_an_asynchronous_failure_is_raised_and_nothing_is_removed_for_it(tmp_path: Path) -> None:
    class Full(pl.plugins.FileCheckpointIO):
        def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
            if checkpoint["global_step"] == 12:
                raise OSError("no space left")
            super().save_checkpoint(checkpoint, path, storage_options)

    with pytest.raises(OSError, match="no space left"):
        fit(tmp_path, epochs=4, plugins=[pl.plugins.AsyncCheckpointIO(Full())])
    assert names(tmp_path) == ["epoch=0-step=6.ckpt"]


def test_a_checkpoint_that_is_on_its_way_is_waited_for_by_whoever_reads(tmp_path: Path) -> None:
    writer = pl.plugins.AsyncCheckpointIO(inner := Slow())
    writer.save_checkpoint({"step": 3}, tmp_path / "one")
    threading.Timer(0.02, inner.go.set).start()
    assert writer.load_checkpoint(tmp_path / "one") == {"step": 3}
    writer.teardown()


# ---------------------------------------------------------------------- one's own


def test_a_checkpoint_io_of_the_user_writes_reads_and_removes(tmp_path: Path) -> None:
    class Memory(pl.plugins.CheckpointIO):
        kept: dict[str, Any] = {}
        options: list[Any] = []

        def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
            self.kept[os.path.basename(path)] = checkpoint
            self.options.append(storage_options)

        def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> Any:
            return self.kept[os.path.basename(path)]

        def remove_checkpoint(self, path: Any) -> None:
            del self.kept[os.path.basename(path)]

    memory = Memory()
    trainer = fit(tmp_path, plugins=memory)
    assert list(memory.kept) == ["epoch=1-step=12.ckpt"] and names(tmp_path) == []
    trainer.save_checkpoint("mine", storage_options={"bucket": 1})
    assert memory.options[-1] == {"bucket": 1}
    trainer.validate(Net(), loader(), ckpt_path="best")


def test_files_have_no_storage_options(tmp_path: Path) -> None:
    trainer = fit(tmp_path)
    with pytest.raises(TypeError, match="storage_options"):
        trainer.save_checkpoint(tmp_path / "x.ckpt", storage_options={"a": 1})


def test_several_are_refused() -> None:
    with pytest.raises(pl.MisconfigurationException, match="one CheckpointIO"):
        pl.Trainer(plugins=[pl.plugins.FileCheckpointIO(), pl.plugins.FileCheckpointIO()])
