"""LightningModule and LightningDataModule by themselves, and hyper-parameters."""

from __future__ import annotations

import copy
from argparse import Namespace
from dataclasses import dataclass
from typing import Any

import pytest

import engine as torch
import lit as pl
from engine import nn
from engine.utils.data import DataLoader
from tests.lit.models import MemoryLogger, Net, loader, quiet_trainer, rows

pytestmark = pytest.mark.filterwarnings("ignore:.*no validation loader", "ignore:An epoch has")


def test_without_a_trainer() -> None:
    model = Net()
    assert (model.current_epoch, model.global_step, model.logger, model.loggers) == (0, 0, None, [])
    with pytest.raises(RuntimeError, match="not attached to a `Trainer`"):
        model.trainer  # noqa: B018
    assert model.device == torch.device("cpu") and model.dtype == torch.float32
    assert (model.global_rank, model.local_rank, model.on_gpu) == (0, 0, False)


def test_freeze() -> None:
    model = Net()
    model.freeze()
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    model.unfreeze()
    assert model.training and all(p.requires_grad for p in model.parameters())


def test_dtype_follows() -> None:
    assert Net().double().dtype == torch.float64


def test_a_copy_is_not_attached() -> None:
    model = Net()
    quiet_trainer().fit(model, loader())
    clone = copy.deepcopy(model)
    with pytest.raises(RuntimeError, match="not attached"):
        clone.trainer  # noqa: B018
    assert torch.equal(clone.layer.weight, model.layer.weight)
    assert clone.hparams == model.hparams


def test_modules_inside_see_the_trainer() -> None:
    class Outer(Net):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Net()

        def on_train_start(self) -> None:
            assert self.inner.trainer is self.trainer

    quiet_trainer().fit(Outer(), loader())


def test_print_without_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    class Talks(Net):
        def on_train_start(self) -> None:
            self.print("hello", "there", sep="-")

    Net().print("before")
    quiet_trainer().fit(Talks(), loader())
    assert capsys.readouterr().out == "before\nhello-there\n"


# ---------------------------------------------------------------------- hyper-parameters


class Base(pl.LightningModule):
    def __init__(self, width: int, lr: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters()


class Child(Base):
    def __init__(self, depth: int, *args: Any, act: str = "relu", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


def test_arguments_of_all_constructors_are_kept() -> None:
    assert Base(3).hparams == {"width": 3, "lr": 0.1}
    assert Child(2, width=8).hparams == {"depth": 2, "width": 8, "lr": 0.1, "act": "relu"}


def test_attribute_access() -> None:
    hparams = Base(3).hparams
    hparams.new = 5
    assert hparams["new"] == 5 and hparams.width == 3
    with pytest.raises(AttributeError, match="Missing attribute 'widht'. Did you mean 'width'"):
        hparams.widht  # noqa: B018


@pytest.mark.parametrize(
    ("arguments", "options", "kept"),
    [
        (("a",), {}, {"a": 1}),
        (("a", "c"), {}, {"a": 1, "c": 3}),
        ((), {"ignore": "b"}, {"a": 1, "c": 3}),
        ((), {"ignore": ["a", "b"]}, {"c": 3}),
    ],
)
def test_choosing(arguments: tuple[str, ...], options: dict[str, Any], kept: dict[str, int]) -> None:
    class Chooses(pl.LightningModule):
        def __init__(self, a: int, b: int = 2, *, c: int = 3) -> None:
            super().__init__()
            self.save_hyperparameters(*arguments, **options)

    assert Chooses(1).hparams == kept


def test_unknown_name() -> None:
    class Wrong(pl.LightningModule):
        def __init__(self, a: int) -> None:
            super().__init__()
            self.save_hyperparameters("b")

    with pytest.raises(ValueError, match="'b' is not an argument of __init__.*has: a"):
        Wrong(1)


@dataclass
class Settings:
    lr: float = 0.5


@pytest.mark.parametrize("given", [{"lr": 0.5}, Namespace(lr=0.5), Settings()], ids=["dict", "Namespace", "dataclass"])
def test_one_object_with_all(given: Any) -> None:
    class Takes(pl.LightningModule):
        def __init__(self, settings: Any) -> None:
            super().__init__()
            self.save_hyperparameters(settings)

    assert Takes(given).hparams == {"lr": 0.5}


def test_one_object_comes_back_under_its_name(tmp_path: Any) -> None:
    class Takes(Net):
        def __init__(self, settings: Namespace) -> None:
            super().__init__()
            self.save_hyperparameters(settings)
            self.lr = settings.lr

    trainer = quiet_trainer()
    trainer.fit(Takes(Namespace(lr=0.25)), loader())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    assert Takes.load_from_checkpoint(tmp_path / "a.ckpt").lr == 0.25


def test_something_else() -> None:
    class Wrong(pl.LightningModule):
        def __init__(self, a: int) -> None:
            super().__init__()
            self.save_hyperparameters(3.5)

    with pytest.raises(ValueError, match="got float"):
        Wrong(1)


def test_modules_among_them_are_pointed_out() -> None:
    class Takes(pl.LightningModule):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.save_hyperparameters()

    with pytest.warns(UserWarning, match=r"'net' is a Module.*ignore=\['net'\]") as caught:
        Takes(nn.Linear(1, 1))
    assert caught[0].filename == __file__


def test_initial_hparams_do_not_follow_changes() -> None:
    class Takes(pl.LightningModule):
        def __init__(self, sizes: list[int]) -> None:
            super().__init__()
            self.save_hyperparameters()

    sizes = [1, 2]
    model = Takes(sizes)
    sizes.append(3)
    model.hparams.extra = 1
    assert model.hparams_initial == {"sizes": [1, 2]}


def test_hparams_go_to_the_loggers() -> None:
    class Data(pl.LightningDataModule):
        def __init__(self, batch_size: int) -> None:
            super().__init__()
            self.save_hyperparameters()

        def train_dataloader(self) -> Any:
            return loader(batch_size=self.hparams.batch_size)

    logger = MemoryLogger()
    quiet_trainer(logger=logger).fit(Net(), datamodule=Data(6))
    assert logger.hparams == {"batch_size": 6, "lr": 0.1, "dropout": 0.0}
    assert logger.status == "success"
    quiet = MemoryLogger()
    quiet_trainer(logger=quiet, enable_autolog_hparams=False).fit(Net(), datamodule=Data(6))
    assert quiet.hparams == {}


# ---------------------------------------------------------------------- datamodules


class Data(pl.LightningDataModule):
    """Notes its stages; all loaders over the same rows."""

    def __init__(self, batch_size: int = 3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.stages: list[str] = []
        self.position = 0

    def setup(self, stage: str) -> None:
        self.stages.append(f"setup {stage}")

    def teardown(self, stage: str) -> None:
        self.stages.append(f"teardown {stage}")

    def _loader(self) -> DataLoader:
        return DataLoader(rows(), batch_size=self.hparams.batch_size)

    train_dataloader = val_dataloader = test_dataloader = _loader

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.position = state_dict["position"]


def test_datamodule_runs_all_stages() -> None:
    data, trainer, model = Data(), quiet_trainer(), Net()
    trainer.fit(model, data)  # in the place of the loaders, as Lightning allows
    trainer.validate(model, datamodule=data, verbose=False)
    trainer.test(model, datamodule=data, verbose=False)
    assert data.stages == [f"{moment} {fn}" for fn in ("fit", "validate", "test") for moment in ("setup", "teardown")]
    assert trainer.datamodule is data and data.trainer is trainer


def test_datamodule_state_and_hparams_are_in_the_checkpoint(tmp_path: Any) -> None:
    data, trainer = Data(batch_size=4), quiet_trainer()
    data.position = 17
    trainer.fit(Net(), datamodule=data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    again = Data()
    quiet_trainer(max_epochs=2).fit(Net(), datamodule=again, ckpt_path=tmp_path / "a.ckpt")
    assert again.position == 17
    rebuilt = Data.load_from_checkpoint(tmp_path / "a.ckpt")
    assert (rebuilt.position, rebuilt.hparams.batch_size) == (17, 4)  # type: ignore[attr-defined]


def test_from_datasets() -> None:
    data = pl.LightningDataModule.from_datasets(rows(), [rows(6), rows(3)], test_dataset={"a": rows()}, batch_size=2)
    assert len(data.train_dataloader()) == 6
    assert [len(part) for part in data.val_dataloader()] == [3, 2]
    assert len(data.test_dataloader()["a"]) == 6
    with pytest.raises(pl.MisconfigurationException, match="predict_dataloader"):
        data.predict_dataloader()
    quiet_trainer(limit_val_batches=0).fit(Net(), datamodule=data)


def test_transfer_hooks_prefer_the_datamodule() -> None:
    class Moves(Data):
        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            return [tensor * 0 for tensor in batch]

    class Look(Net):
        def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            return [tensor + 1 for tensor in batch]

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            assert batch[0].abs().sum() == 0
            return self.loss(batch)

    quiet_trainer().fit(Look(), datamodule=Moves())
