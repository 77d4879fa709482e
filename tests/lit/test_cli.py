"""LightningCLI: what the command line and YAML files make of a Trainer, a module and data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import engine
import lit as pl
from callbacks import MisconfigurationException

pytest.importorskip("jsonargparse")
yaml = pytest.importorskip("yaml")

QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


class Net(pl.LightningModule):
    """Predicts zeros.

    Args:
        width: size of the input.
        rate: learning rate.
    """

    def __init__(self, width: int = 2, rate: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = engine.nn.Linear(width, 1)

    def loss(self, batch: Any) -> Any:
        return self.layer(batch).pow(2).mean()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.loss(batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.loss(batch))

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test_loss", self.loss(batch))

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        return self.layer(batch)

    def configure_optimizers(self) -> Any:
        return engine.optim.SGD(self.parameters(), lr=self.hparams.rate)


class Wide(Net):
    """A module with its own optimizer argument."""

    def __init__(self, optimizer: dict | None = None, width: int = 4) -> None:
        super().__init__(width)
        self.optimizer = optimizer


class Ones(pl.LightningDataModule):
    """Rows of ones."""

    def __init__(self, width: int = 2, batch_size: int = 4) -> None:
        super().__init__()
        self.width, self.batch_size = width, batch_size

    def train_dataloader(self) -> Any:
        return engine.utils.data.DataLoader(engine.ones(8, self.width), batch_size=self.batch_size)

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


class LinkedCLI(pl.LightningCLI):
    def add_arguments_to_parser(self, parser: Any) -> None:
        parser.link_arguments("data.width", "model.width")
        parser.add_lightning_class_args(pl.callbacks.EarlyStopping, "stopping")
        parser.set_defaults({"stopping.monitor": "val_loss", "stopping.patience": 7})


def made(*args: str, cls: type = pl.LightningCLI, **options: Any) -> Any:
    options = {"model_class": Net, "datamodule_class": Ones, "run": False, **options}
    return cls(args=[*QUIET, *args], **options)


def test_objects_without_running() -> None:
    cli = made("--model.width=3", "--data.batch_size=2", "--trainer.max_epochs=5", "--seed_everything=3")
    assert (cli.model.layer.in_features, cli.datamodule.batch_size, cli.trainer.max_epochs) == (3, 2, 5)
    assert cli.config["seed_everything"] == 3 and cli.trainer.global_step == 0


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_each_subcommand_runs_and_saves_its_configuration(command: str) -> None:
    cli = pl.LightningCLI(Net, Ones, args=[command, *QUIET, "--trainer.max_epochs=1", "--model.rate=0.5"])
    assert cli.trainer.state.fn == command and cli.trainer.state.finished
    saved = yaml.safe_load(Path(cli.trainer.log_dir, "config.yaml").read_text())
    assert saved["model"] == {"width": 2, "rate": 0.5} and saved["trainer"]["max_epochs"] == 1
    assert saved["seed_everything"] is not True  # the seed that was drawn


def test_a_saved_configuration_makes_the_same_run_again() -> None:
    first = pl.LightningCLI(Net, Ones, args=["fit", *QUIET, "--trainer.max_epochs=1", "--model.rate=0.5"])
    config = str(Path(first.trainer.log_dir, "config.yaml"))
    second = pl.LightningCLI(Net, Ones, args=["fit", "--config", config])
    assert second.trainer.log_dir != first.trainer.log_dir
    assert engine.equal(first.model.layer.weight, second.model.layer.weight)


def test_an_existing_configuration_is_not_overwritten(tmp_path: Path) -> None:
    Path("config.yaml").write_text("mine")
    args = ["fit", *QUIET, "--trainer.max_epochs=1", "--trainer.logger=false", "--trainer.enable_checkpointing=false"]
    with pytest.raises(RuntimeError, match="to NOT exist"):
        pl.LightningCLI(Net, Ones, args=args)
    assert Path("config.yaml").read_text() == "mine"
    pl.LightningCLI(Net, Ones, args=args, save_config_kwargs={"overwrite": True})
    assert "trainer:" in Path("config.yaml").read_text()
    pl.LightningCLI(Net, Ones, args=args, save_config_callback=None)


def test_classes_are_chosen_by_class_path() -> None:
    config = {
        "model": {"class_path": f"{__name__}.Net", "init_args": {"width": 6}},
        "data": {"class_path": f"{__name__}.Ones", "init_args": {"width": 6}},
        "trainer": {
            "logger": {"class_path": "lit.loggers.CSVLogger", "init_args": {"save_dir": "logs", "name": "chosen"}},
            "callbacks": [{"class_path": "lit.callbacks.Timer", "init_args": {"duration": "00:00:01:00"}}],
            "profiler": {"class_path": "lit.profilers.SimpleProfiler", "init_args": {"filename": "where"}},
        },
        "optimizer": {"class_path": "engine.optim.AdamW", "init_args": {"lr": 0.25}},
        "lr_scheduler": {"class_path": "engine.optim.lr_scheduler.StepLR", "init_args": {"step_size": 3}},
    }
    with pytest.warns(UserWarning, match="replaces Net.configure_optimizers"):
        cli = pl.LightningCLI(args=config, run=False)
    assert cli.model.layer.in_features == cli.datamodule.width == 6
    assert cli.trainer.logger.name == "chosen" and cli.trainer.profiler.filename == "where"
    assert any(isinstance(callback, pl.callbacks.Timer) for callback in cli.trainer.callbacks)
    (optimizer,), (scheduler,) = cli.model.configure_optimizers()
    assert type(optimizer).__name__ == "AdamW" and optimizer.param_groups[0]["lr"] == 0.25 and scheduler.step_size == 3


def test_plateau_schedulers_are_monitored() -> None:
    with pytest.warns(UserWarning, match="configure_optimizers"):
        cli = made(
            "--optimizer=SGD", "--optimizer.lr=0.1", "--lr_scheduler=ReduceLROnPlateau",
            "--lr_scheduler.monitor=val_acc", "--lr_scheduler.factor=0.25",
        )  # fmt: skip
    found = cli.model.configure_optimizers()["lr_scheduler"]
    assert found["monitor"] == "val_acc" and found["scheduler"].factor == 0.25
    with pytest.raises(SystemExit):
        made("--optimizer=SGD", "--optimizer.lr=0.1", "--lr_scheduler=ReduceLROnPlateau")  # of which metric?


def test_links_and_callbacks_of_a_subclass() -> None:
    cli = made("--data.width=5", cls=LinkedCLI)
    assert cli.model.layer.in_features == 5
    (stopping,) = [callback for callback in cli.trainer.callbacks if isinstance(callback, pl.callbacks.EarlyStopping)]
    assert stopping.patience == 7
    fitted = LinkedCLI(Net, Ones, args=["fit", *QUIET, "--trainer.max_epochs=1", "--data.width=3"])
    assert yaml.safe_load(Path(fitted.trainer.log_dir, "config.yaml").read_text())["data"]["width"] == 3


def test_an_optimizer_is_linked_to_an_argument_of_the_module() -> None:
    class OptimizerCLI(pl.LightningCLI):
        def add_arguments_to_parser(self, parser: Any) -> None:
            parser.add_optimizer_args(engine.optim.SGD, nested_key="sgd", link_to="model.optimizer")
            parser.set_defaults({"sgd.lr": 0.75})

    cli = made(cls=OptimizerCLI, model_class=Wide, datamodule_class=None)
    optimizer = pl.cli.instantiate_class(cli.model.parameters(), cli.model.optimizer)
    assert isinstance(optimizer, engine.optim.SGD) and optimizer.param_groups[0]["lr"] == 0.75


def test_only_one_automatic_optimizer() -> None:
    class TwoCLI(pl.LightningCLI):
        def add_arguments_to_parser(self, parser: Any) -> None:
            parser.add_optimizer_args(engine.optim.SGD, nested_key="one")
            parser.add_optimizer_args(engine.optim.SGD, nested_key="two")

    with pytest.raises(MisconfigurationException, match="AUTOMATIC"):
        made("--one.lr=0.1", "--two.lr=0.1", cls=TwoCLI)


def test_hooks_around_the_run_and_trainer_defaults() -> None:
    heard: list[str] = []

    class HookedCLI(pl.LightningCLI):
        def before_instantiate_classes(self) -> None:
            heard.append("before objects")

        def after_instantiate_classes(self) -> None:
            heard.append("after objects")

        def before_fit(self) -> None:
            heard.append("before fit")

        def after_fit(self) -> None:
            heard.append("after fit")

    cli = HookedCLI(
        Net, Ones, args=["fit", *QUIET], seed_everything_default=5,
        trainer_defaults={"max_epochs": 1, "callbacks": pl.callbacks.LambdaCallback(), "fast_dev_run": True},
    )  # fmt: skip
    assert heard == ["before objects", "after objects", "before fit", "after fit"]
    assert cli.trainer.max_epochs == 1 and cli.config.fit.seed_everything == 5


def test_hyper_parameters_come_with_the_checkpoint() -> None:
    fitted = pl.LightningCLI(Net, Ones, args=["fit", *QUIET, "--trainer.max_epochs=1", "--model.width=3", "--data.width=3"])
    path = fitted.trainer.checkpoint_callback.best_model_path
    tested = pl.LightningCLI(Net, Ones, args=["test", *QUIET, "--data.width=3", "--ckpt_path", path])
    assert tested.model.layer.in_features == 3


def test_functions_make_objects() -> None:
    def make(width: int = 9) -> Net:
        return Net(width)

    assert made("--model.width=7", model_class=make).model.layer.in_features == 7


def test_printing_and_mistakes(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import lit\nclass Net(lit.LightningModule):\n"
        "    def __init__(self, width: int = 2):\n        super().__init__()\n"
        "if __name__ == '__main__':\n    lit.LightningCLI(Net)\n"
    )

    def run(*args: str) -> Any:
        return subprocess.run([sys.executable, str(script), *args], capture_output=True, text=True, timeout=120)

    printed = run("fit", "--print_config", "--model.width=4")
    assert yaml.safe_load(printed.stdout)["model"] == {"width": 4}, printed.stderr
    wrong = run("fit", "--model.width=wide")
    assert wrong.returncode == 2 and "width" in wrong.stderr and "wide" in wrong.stderr
    unknown = run("fit", "--trainer.maximum=3")
    assert unknown.returncode == 2 and "maximum" in unknown.stderr
