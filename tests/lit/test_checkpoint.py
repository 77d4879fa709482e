"""Checkpoints: what a file holds, what survives a failure, which files are refused, and resuming a run."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine as torch
import lit as pl
from engine.serialization import CheckpointError
from lit.checkpoint import load_checkpoint
from tests.lit.models import MemoryLogger, Net, loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*no validation loader", "ignore:An epoch has")


def fitted(model: pl.LightningModule | None = None, **flags: Any) -> pl.Trainer:
    trainer = quiet_trainer(**flags)
    trainer.fit(model or Net(), loader(), loader())
    return trainer


def test_keys_and_counters(tmp_path: Path) -> None:
    class Counting(pl.Callback):
        def state_dict(self) -> dict[str, Any]:
            return {"count": 7}

    path = tmp_path / "deep" / "folder" / "a.ckpt"
    trainer = fitted(callbacks=Counting(), max_epochs=2)
    trainer.save_checkpoint(path)
    checkpoint = load_checkpoint(path)
    assert set(checkpoint) == {
        *{"epoch", "global_step", "pytorch-lightning_version", "state_dict", "loops", "callbacks"},
        *{"optimizer_states", "lr_schedulers", "rng_states", "hyper_parameters"},
    }
    assert (checkpoint["epoch"], checkpoint["global_step"]) == (2, 8)
    assert checkpoint["hyper_parameters"] == {"lr": 0.1, "dropout": 0.0}
    assert list(checkpoint["callbacks"].values()) == [{"count": 7}]
    assert torch.equal(checkpoint["state_dict"]["layer.weight"], trainer.lightning_module.layer.weight.detach())


def test_weights_are_plain_safetensors(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    trainer = fitted()
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    weights = safetensors.load_file(str(tmp_path / "a.ckpt"))
    assert np.array_equal(weights["layer.weight"], trainer.lightning_module.layer.weight.detach().numpy())


def test_weights_only(tmp_path: Path) -> None:
    fitted().save_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    assert not {"optimizer_states", "lr_schedulers", "callbacks", "rng_states"} & set(
        load_checkpoint(tmp_path / "a.ckpt")
    )
    assert isinstance(Net.load_from_checkpoint(tmp_path / "a.ckpt"), Net)
    with pytest.raises(KeyError, match="only weights"):
        quiet_trainer(max_epochs=2).fit(Net(), loader(), ckpt_path=tmp_path / "a.ckpt")


def test_hooks_may_add_to_the_checkpoint(tmp_path: Path) -> None:
    class Adds(Net):
        loaded: Any = None

        def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            checkpoint["mine"] = {"words": ["a", "b"], "tensor": torch.arange(3)}

        def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            self.loaded = checkpoint["mine"]

    fitted(Adds()).save_checkpoint(tmp_path / "a.ckpt")
    model = Adds.load_from_checkpoint(tmp_path / "a.ckpt")
    assert model.loaded["words"] == ["a", "b"] and model.loaded["tensor"].tolist() == [0, 1, 2]


def test_no_model_yet(tmp_path: Path) -> None:
    with pytest.raises(AttributeError, match="no model"):
        quiet_trainer().save_checkpoint(tmp_path / "a.ckpt")


def test_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.ckpt"
    trainer = fitted()
    trainer.save_checkpoint(path)
    before = path.read_bytes()

    def full_disk(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        trainer.save_checkpoint(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.ckpt"]


@pytest.mark.parametrize("damage", ["truncated", "foreign", "empty", "flipped"])
def test_damaged_files_are_refused_by_name(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "broken.ckpt"
    fitted().save_checkpoint(path)
    data = path.read_bytes()
    flipped = bytearray(data)
    flipped[-8] ^= 0xFF
    path.write_bytes(
        {"truncated": data[:-20], "foreign": b"not a checkpoint at all", "empty": b"", "flipped": bytes(flipped)}[
            damage
        ]
    )
    for load in (
        lambda: Net.load_from_checkpoint(path),
        lambda: quiet_trainer(max_epochs=2).fit(Net(), loader(), ckpt_path=path),
    ):
        with pytest.raises(CheckpointError, match="broken.ckpt"):
            load()


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save({"layer.weight": torch.ones(2)}, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of a Trainer"):
        Net.load_from_checkpoint(tmp_path / "weights.pt")


def test_a_file_of_version_1_goes_on_as_then() -> None:
    model = Net(dropout=0.5)
    quiet_trainer(max_epochs=2).fit(
        model, loader(shuffle=True), loader(), ckpt_path=Path(__file__).parent / "data" / "version_1.ckpt"
    )
    assert model.losses == pytest.approx([0.9684634208679199, 2.2181625366210938], rel=1e-6)


def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    trainer = fitted()
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    checkpoint = torch.load(tmp_path / "a.ckpt")
    checkpoint["loops"]["version"] = 99
    torch.save(checkpoint, tmp_path / "b.ckpt")
    with pytest.raises(CheckpointError, match=r"b\.ckpt.*version 99.*upgrade"):
        quiet_trainer(max_epochs=2).fit(Net(), loader(), ckpt_path=tmp_path / "b.ckpt")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere.ckpt"):
        quiet_trainer().fit(Net(), loader(), ckpt_path=tmp_path / "nowhere.ckpt")


# ---------------------------------------------------------------------- load_from_checkpoint


def test_load_from_checkpoint(tmp_path: Path) -> None:
    trained = Net(lr=0.05)
    fitted(trained).save_checkpoint(tmp_path / "a.ckpt")
    model = Net.load_from_checkpoint(tmp_path / "a.ckpt", map_location="cpu")
    assert model.hparams.lr == 0.05
    assert torch.equal(model.layer.weight, trained.layer.weight)
    assert Net.load_from_checkpoint(tmp_path / "a.ckpt", lr=0.5).hparams.lr == 0.5


def test_missing_argument_is_named(tmp_path: Path) -> None:
    class Needs(Net):
        def __init__(self, width: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)

    fitted().save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(TypeError, match=r"`__init__` needs 'width'.*'lr', 'dropout'.*width=\.\.\."):
        Needs.load_from_checkpoint(tmp_path / "a.ckpt")
    assert Needs.load_from_checkpoint(tmp_path / "a.ckpt", width=3).hparams.lr == 0.1


def test_strict(tmp_path: Path) -> None:
    class Bigger(Net):
        def __init__(self, lr: float = 0.1) -> None:
            super().__init__(lr)
            self.extra = torch.nn.Linear(1, 1)

    fitted().save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(RuntimeError, match=r"extra\.weight"):
        Bigger.load_from_checkpoint(tmp_path / "a.ckpt")
    Bigger.load_from_checkpoint(tmp_path / "a.ckpt", strict=False)


def test_hparams_file(tmp_path: Path) -> None:
    fitted().save_checkpoint(tmp_path / "a.ckpt")
    (tmp_path / "hparams.csv").write_text("key,value\nlr,0.25\n")
    assert Net.load_from_checkpoint(tmp_path / "a.ckpt", hparams_file=tmp_path / "hparams.csv").hparams.lr == 0.25
    pytest.importorskip("yaml")
    (tmp_path / "hparams.yaml").write_text("lr: 0.75\n")
    assert Net.load_from_checkpoint(tmp_path / "a.ckpt", hparams_file=tmp_path / "hparams.yaml").hparams.lr == 0.75


# ---------------------------------------------------------------------- ckpt_path


def test_last_and_best(tmp_path: Path) -> None:
    def checkpoints() -> pl.callbacks.ModelCheckpoint:
        return pl.callbacks.ModelCheckpoint(dirpath=tmp_path, monitor="val_loss", save_last=True)

    def trainer(epochs: int) -> pl.Trainer:
        return quiet_trainer(enable_checkpointing=True, callbacks=checkpoints(), max_epochs=epochs)

    first = trainer(2)
    model = Net()
    first.fit(model, loader(), loader())
    assert first.checkpoint_callback.best_model_path
    with torch.no_grad():
        model.layer.weight.zero_()
    [current] = first.test(model, loader(), verbose=False)
    [best] = first.test(model, loader(), ckpt_path="best", verbose=False)
    assert best["test_loss"] < current["test_loss"]
    assert first.ckpt_path == first.checkpoint_callback.best_model_path
    with pytest.warns(UserWarning, match="best checkpoint of the fit before") as caught:
        assert first.test(dataloaders=loader(), verbose=False) == [best]
    assert caught[0].filename == __file__

    second, resumed = trainer(3), Net()
    second.fit(resumed, loader(), loader(), ckpt_path="last")
    assert (second.global_step, second.current_epoch) == (12, 3)
    assert second.ckpt_path == str(tmp_path / "last.ckpt") and len(resumed.losses) == 4


def test_last_of_an_earlier_version(tmp_path: Path) -> None:
    def trainer(epochs: int) -> pl.Trainer:
        checkpoint = pl.callbacks.ModelCheckpoint(save_last=True)
        logger = pl.loggers.CSVLogger(tmp_path)
        return quiet_trainer(logger=logger, enable_checkpointing=True, callbacks=checkpoint, max_epochs=epochs)

    trainer(1).fit(Net(), loader())
    model = Net()
    trainer(2).fit(model, loader(), ckpt_path="last")
    assert len(model.losses) == 4


def test_no_best_and_no_last() -> None:
    with pytest.raises(ValueError, match="no best checkpoint"):
        quiet_trainer().test(Net(), loader(), ckpt_path="best")
    trainer = quiet_trainer()
    with pytest.warns(UserWarning, match="no last checkpoint") as caught:
        trainer.fit(Net(), loader(), ckpt_path="last")
    assert caught[0].filename == __file__
    assert trainer.global_step == 4
    with pytest.raises(NotImplementedError, match="hpc"):
        quiet_trainer().fit(Net(), loader(), ckpt_path="hpc")


def test_a_damaged_last_file_is_reported_and_the_one_before_is_taken(tmp_path: Path) -> None:
    def trainer(epochs: int) -> pl.Trainer:
        checkpoint = pl.callbacks.ModelCheckpoint(dirpath=tmp_path, save_last=True, save_top_k=-1)
        return quiet_trainer(enable_checkpointing=True, callbacks=checkpoint, max_epochs=epochs)

    trainer(2).fit(Net(), loader())
    last = tmp_path / "last.ckpt"
    data = bytearray(last.read_bytes())
    data[-9] ^= 1
    last.write_bytes(data)
    model, again = Net(), trainer(3)
    with pytest.warns(UserWarning, match=r"last\.ckpt.*checksum.*before it"):
        again.fit(model, loader(), ckpt_path="last")
    assert again.ckpt_path == str(tmp_path / "epoch=1-step=8.ckpt") and len(model.losses) == 4
    for path in tmp_path.glob("*.ckpt"):
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.warns(UserWarning), pytest.raises(CheckpointError, match="ends early"):
        trainer(4).fit(Net(), loader(), ckpt_path="last")


# ---------------------------------------------------------------------- resuming


class Busy(Net):
    """Dropout, augmentation, momentum, and every kind of scheduler: much that a resume can get wrong."""

    def __init__(self, scheduler: str = "epoch") -> None:
        super().__init__(dropout=0.3)
        self.scheduler = scheduler
        self.seen: list[list[float]] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        x = x + 0.01 * random.random() + 0.01 * float(np.random.rand())  # noqa: NPY002
        self.seen.append(y.flatten().tolist())
        loss = self.loss((x, y))
        self.losses.append(loss.item())
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=0.05)
        kinds = torch.optim.lr_scheduler
        if self.scheduler == "plateau":
            plateau = kinds.ReduceLROnPlateau(optimizer, patience=0, threshold=10.0)
            return {"optimizer": optimizer, "lr_scheduler": plateau, "monitor": "val_loss"}
        scheduler = kinds.StepLR(optimizer, 1, 0.9)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": self.scheduler}}


class SaveAt(pl.Callback):
    """Write a checkpoint in a hook, when ``global_step`` is reached."""

    def __init__(self, hook: str, step: int, path: Path) -> None:
        self.path = path

        def save(trainer: pl.Trainer, *args: Any) -> None:
            if trainer.global_step == step and not trainer.sanity_checking and not path.exists():
                trainer.save_checkpoint(path)

        setattr(self, hook, save)


@pytest.mark.parametrize("scheduler", ["epoch", "step", "plateau"])
@pytest.mark.parametrize(
    ("hook", "step"),
    [
        ("on_train_epoch_end", 4),
        ("on_train_epoch_end", 8),
        ("on_train_epoch_start", 4),
        ("on_validation_end", 4),
        ("on_train_batch_end", 2),
        ("on_train_batch_end", 4),
        ("on_train_batch_end", 7),
        ("on_train_batch_start", 6),
    ],
)
def test_resumed_run_equals_the_uninterrupted_one(hook: str, step: int, scheduler: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    pl.seed_everything(11, verbose=False)
    whole, callback, logs = Busy(scheduler), SaveAt(hook, step, path), [MemoryLogger(), MemoryLogger()]
    trainer = quiet_trainer(max_epochs=3, callbacks=callback, logger=logs[0], log_every_n_steps=1)
    trainer.fit(whole, loader(shuffle=True), loader())

    pl.seed_everything(99, verbose=False)  # the random state comes from the checkpoint
    resumed = Busy(scheduler)
    again = quiet_trainer(max_epochs=3, logger=logs[1], log_every_n_steps=1)
    again.fit(resumed, loader(shuffle=True), loader(), ckpt_path=path)
    assert resumed.losses == whole.losses[step:]
    assert resumed.seen == whole.seen[step:]
    assert logs[1].metrics == logs[0].metrics[-len(logs[1].metrics) :]
    assert len(logs[1].values("train_loss_epoch")) == 3 - (
        step // 4 if hook == "on_train_epoch_start" else (step - 1) // 4
    )
    assert torch.equal(resumed.layer.weight, whole.layer.weight)
    assert (again.global_step, again.current_epoch) == (trainer.global_step, trainer.current_epoch)
    rates = [t.optimizers[0].param_groups[0]["lr"] for t in (again, trainer)]
    assert rates[0] == rates[1]
    metrics = [{k: v.item() for k, v in t.callback_metrics.items()} for t in (again, trainer)]
    assert metrics[0] == metrics[1]


def test_run_cut_by_max_steps_goes_on_inside_the_epoch(tmp_path: Path) -> None:
    pl.seed_everything(11, verbose=False)
    whole = Busy()
    quiet_trainer(max_epochs=2).fit(whole, loader(shuffle=True))

    pl.seed_everything(11, verbose=False)
    trainer = quiet_trainer(max_epochs=2, max_steps=2)
    trainer.fit(Busy(), loader(shuffle=True))
    assert (trainer.global_step, trainer.current_epoch) == (2, 1)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    rest = Busy()
    quiet_trainer(max_epochs=2).fit(rest, loader(shuffle=True), ckpt_path=tmp_path / "a.ckpt")
    assert rest.losses == whole.losses[2:]


def test_callbacks_get_their_state_back(tmp_path: Path) -> None:
    class Counting(pl.Callback):
        count = 0

        def on_train_batch_end(self, *args: Any) -> None:
            self.count += 1

        def state_dict(self) -> dict[str, Any]:
            return {"count": self.count}

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            self.count = state_dict["count"]

    fitted(callbacks=Counting()).save_checkpoint(tmp_path / "a.ckpt")
    callback = Counting()
    quiet_trainer(callbacks=callback, max_epochs=2).fit(Net(), loader(), ckpt_path=tmp_path / "a.ckpt")
    assert callback.count == 8
    with pytest.warns(UserWarning, match="does not have: .*Counting"):
        quiet_trainer(max_epochs=2).fit(Net(), loader(), ckpt_path=tmp_path / "a.ckpt")


def test_checkpoint_beyond_max_epochs(tmp_path: Path) -> None:
    fitted(max_epochs=3).save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="raise max_epochs"):
        quiet_trainer(max_epochs=2).fit(Net(), loader(), ckpt_path=tmp_path / "a.ckpt")


def test_other_optimizers_than_in_the_checkpoint(tmp_path: Path) -> None:
    fitted().save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="0 lr scheduler states"):
        quiet_trainer(max_epochs=2).fit(Busy(), loader(), loader(), ckpt_path=tmp_path / "a.ckpt")


def test_unstorable_hparams_are_named_and_can_be_passed(tmp_path: Path) -> None:
    class Odd(pl.LightningModule):
        def __init__(self, activation: Any, root: Path, width: int = 2) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(width, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.hparams.activation(self.layer(batch)).mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = quiet_trainer()
    trainer.fit(Odd(torch.tanh, tmp_path), [torch.ones(1, 2)])
    with pytest.warns(UserWarning, match="does not hold the hyper-parameters activation"):
        trainer.save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(TypeError, match="needs 'activation'"):
        Odd.load_from_checkpoint(tmp_path / "a.ckpt")
    model = Odd.load_from_checkpoint(tmp_path / "a.ckpt", activation=torch.tanh)
    assert model.hparams.root == str(tmp_path)
