"""Checkpoints of Lightning: modules are rebuilt and runs go on from them here, and from ours there."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

import engine as torch
import lit as pl
from engine.serialization import save_torch
from lit.tools import convert
from tests.lit.models import Net, loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*no validation loader")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file by other software, in torch's format: it does not say where in the training it was written."""
    checkpoint = {
        "epoch": 1, "global_step": 8, "pytorch-lightning_version": "2.6.6",
        "state_dict": Net().state_dict(), "loops": {"fit_loop": {"state_dict": {}}}, "callbacks": {"Recorder": {"count": 3}},
        "optimizer_states": [{"state": {}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]}],
        "lr_schedulers": [], "hparams_name": "kwargs", "hyper_parameters": {"lr": 0.25},
    }  # fmt: skip
    checkpoint["state_dict"]["layer.weight"] = torch.full((1, 4), 7.0)
    save_torch(checkpoint, tmp_path / "theirs.ckpt")
    return tmp_path / "theirs.ckpt"


def test_a_module_is_rebuilt(path: Path) -> None:
    model = Net.load_from_checkpoint(path)
    assert model.hparams == {"lr": 0.25, "dropout": 0.0}
    assert model.layer.weight.tolist() == [[7.0] * 4]
    assert Net.load_from_checkpoint(path, lr=0.5, map_location="cpu").hparams["lr"] == 0.5


def test_evaluation_takes_the_weights(path: Path) -> None:
    trainer, model = quiet_trainer(), Net()
    trainer.validate(model, loader(), ckpt_path=path, verbose=False)
    assert model.layer.weight.tolist() == [[7.0] * 4]


def test_training_does_not_go_on_from_a_file_without_a_place(path: Path) -> None:
    with pytest.raises(KeyError, match="written by other software.*fit_loop.*HINT: .*load_from_checkpoint"):
        quiet_trainer().fit(Net(), loader(), loader(), ckpt_path=path)


# ---------------------------------------------------------------------- both libraries, one program


def program(torch: Any, pl: Any) -> tuple[Any, Any]:
    """A module and a function that makes a Trainer; the same lines for both libraries."""

    class Count(pl.Callback):
        def __init__(self) -> None:
            self.batches = 0

        def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
            self.batches += 1

        def state_dict(self) -> dict[str, int]:
            return {"batches": self.batches}

        def load_state_dict(self, state_dict: dict[str, int]) -> None:
            self.batches = state_dict["batches"]

    class Model(pl.LightningModule):
        def __init__(self, lr: float = 0.05) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return ((self.layer(batch) - batch.sum(1, keepdim=True)) ** 2).mean()

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", self.training_step(batch, batch_idx))

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)]

        def train_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(torch.arange(48.0).reshape(12, 4) / 48, batch_size=3)

        val_dataloader = train_dataloader

    def trainer(folder: Path, max_epochs: int, **flags: Any) -> Any:
        callbacks = [
            Count(), pl.callbacks.EarlyStopping("val_loss", patience=7), pl.callbacks.Timer(),
            pl.callbacks.ModelCheckpoint(folder, "step-{step}", every_n_train_steps=1, save_top_k=-1),
            pl.callbacks.ModelCheckpoint(folder, "end-{step}", save_top_k=-1, save_on_train_epoch_end=True),
            pl.callbacks.ModelCheckpoint(folder, "val-{step}", "val_loss", save_top_k=-1, save_on_train_epoch_end=False),
        ]
        return pl.Trainer(
            max_epochs=max_epochs, callbacks=callbacks, accelerator="cpu", logger=False, enable_progress_bar=False,
            enable_model_summary=False, **flags,
        )  # fmt: skip

    return Model, trainer


def libraries() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    return (torch, pl), (pytest.importorskip("torch"), pytest.importorskip("lightning.pytorch"))


def run(library: tuple[Any, Any], folder: Path, ckpt_path: Any = None, max_epochs: int = 3) -> tuple[Any, Any]:
    make_model, make_trainer = program(*library)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice about workers, folders and the like
        library[1].seed_everything(4)
        model, trainer = make_model(), make_trainer(folder, max_epochs)
        trainer.fit(model, ckpt_path=ckpt_path)
    return model, trainer


def assert_same(ours: tuple[Any, Any], theirs: tuple[Any, Any]) -> None:
    (model, trainer), (other, reference) = ours, theirs
    for one, two in zip(model.parameters(), other.parameters()):
        assert one.detach().numpy() == pytest.approx(two.detach().numpy(), abs=1e-5)
    assert trainer.global_step == reference.global_step and trainer.current_epoch == reference.current_epoch
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(reference.optimizers[0].param_groups[0]["lr"])
    assert trainer.callbacks[0].batches == reference.callbacks[0].batches


NAMES = ["step-step=2", "step-step=4", "step-step=6", "end-step=4", "end-step=8", "val-step=4", "val-step=8"]


def test_a_run_goes_on_from_a_file_of_lightning(tmp_path: Path) -> None:
    ours, theirs = libraries()
    whole = run(theirs, tmp_path / "theirs")
    for name in NAMES:
        resumed = run(ours, tmp_path / f"ours-{name}", tmp_path / "theirs" / f"{name}.ckpt")
        assert_same(resumed, whole)
        assert resumed[1].callbacks[0].batches == 12
    model = program(*ours)[0].load_from_checkpoint(tmp_path / "theirs" / "end-step=8.ckpt")
    assert model.hparams.lr == 0.05


def test_a_run_goes_on_in_lightning_from_a_converted_file(tmp_path: Path) -> None:
    ours, theirs = libraries()
    whole = run(ours, tmp_path / "ours")
    for name in ("end-step=4", "end-step=8", "step-step=6"):
        converted = tmp_path / f"{name}.ckpt"
        convert(tmp_path / "ours" / f"{name}.ckpt", converted)
        resumed = run(theirs, tmp_path / f"theirs-{name}", converted)
        if name.startswith("end"):
            assert_same(whole, resumed)
        assert (resumed[1].global_step, resumed[1].current_epoch) == (12, 3)  # inside an epoch Lightning repeats batches


def test_a_converted_file_of_lightning_goes_on_too(tmp_path: Path) -> None:
    ours, theirs = libraries()
    whole = run(theirs, tmp_path / "theirs")
    convert(tmp_path / "theirs" / "step-step=6.ckpt", tmp_path / "ours.ckpt")
    assert_same(run(ours, tmp_path / "ours", tmp_path / "ours.ckpt"), whole)


def test_what_a_callback_does_not_understand_is_reported(tmp_path: Path) -> None:
    _, theirs = libraries()
    run(theirs, tmp_path / "theirs", max_epochs=1)

    class Count(pl.Callback):
        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            self.seen = state_dict["seen"]

    state_key = "program.<locals>.Count"
    Count.__qualname__ = state_key
    trainer = quiet_trainer(callbacks=Count(), max_epochs=2)
    with pytest.warns(UserWarning, match=r"W128.*KeyError"), pytest.warns(UserWarning, match=r"W117.*EarlyStopping"):
        trainer.fit(program(torch, pl)[0](), ckpt_path=tmp_path / "theirs" / "end-step=4.ckpt")
    assert trainer.global_step == 8
