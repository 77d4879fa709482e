"""Checkpoints that Lightning wrote: weights and hyper-parameters are taken, a run is not resumed from them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

import engine as torch
import lit as pl
from engine.serialization import save_torch
from tests.lit.models import Net, loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*no validation loader")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with the keys of Lightning's, in torch's format."""
    progress = {"total": {"ready": 2, "completed": 2}, "current": {"ready": 2, "completed": 2}}
    checkpoint = {
        "epoch": 1, "global_step": 8, "pytorch-lightning_version": "2.6.6",
        "state_dict": Net().state_dict(),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": progress}},
        "callbacks": {"Recorder": {"count": 3}},
        "optimizer_states": [{"state": {}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]}],
        "lr_schedulers": [], "hparams_name": "kwargs", "hyper_parameters": {"lr": 0.25},
    }  # fmt: skip
    checkpoint["state_dict"]["layer.weight"] = torch.full((1, 4), 7.0)
    save_torch(checkpoint, tmp_path / "theirs.ckpt")
    return tmp_path / "theirs.ckpt"


class Recorder(pl.Callback):
    state_key = "Recorder"

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        raise AssertionError("the state of Lightning's callback is not ours")


def test_a_module_is_rebuilt(path: Path) -> None:
    model = Net.load_from_checkpoint(path)
    assert model.hparams == {"lr": 0.25, "dropout": 0.0}
    assert model.layer.weight.tolist() == [[7.0] * 4]
    assert Net.load_from_checkpoint(path, lr=0.5, map_location="cpu").hparams["lr"] == 0.5


def test_evaluation_takes_the_weights_and_leaves_the_callbacks(path: Path) -> None:
    trainer, model = quiet_trainer(callbacks=Recorder()), Net()
    trainer.validate(model, loader(), ckpt_path=path, verbose=False)
    assert model.layer.weight.tolist() == [[7.0] * 4]


def test_training_does_not_go_on_from_it(path: Path) -> None:
    with pytest.raises(KeyError, match="written by other software.*2.6.6.*fit_loop.progress.*HINT: .*load_from_checkpoint"):
        quiet_trainer(callbacks=Recorder()).fit(Net(), loader(), loader(), ckpt_path=path)


def test_a_real_file_of_lightning(tmp_path: Path) -> None:
    oracle = pytest.importorskip("torch")
    lightning = pytest.importorskip("lightning.pytorch")

    class Theirs(lightning.LightningModule):
        def __init__(self, lr: float = 0.1, dropout: float = 0.0) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.layer = oracle.nn.Linear(4, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.layer(batch).sum()

        def configure_optimizers(self) -> Any:
            return oracle.optim.Adam(self.parameters(), lr=self.hparams.lr)

    flags = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=1, enable_checkpointing=False, **flags)
    theirs = Theirs(lr=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice about loggers, workers and the like
        trainer.fit(theirs, oracle.utils.data.DataLoader(oracle.ones(6, 4), batch_size=3))
    trainer.save_checkpoint(tmp_path / "theirs.ckpt")
    ours = Net.load_from_checkpoint(tmp_path / "theirs.ckpt")
    assert ours.hparams == {"lr": 0.5, "dropout": 0.0}
    assert ours.layer.weight.tolist() == theirs.layer.weight.tolist()
