"""Tuner, LearningRateFinder and BatchSizeFinder find what Lightning's find, and leave everything else as it was."""

from __future__ import annotations

import random
import warnings
from pathlib import Path
from typing import Any

import pytest

import engine as torch
import lit as pl
from lit.tuner import Tuner
from tests.lit.models import Net, loader, quiet_trainer, rows


def find(model: Any, trainer: Any = None, **options: Any) -> Any:
    return Tuner(trainer or quiet_trainer(max_epochs=-1)).lr_find(model, loader(shuffle=True), **options)


def test_the_suggestion_is_set_and_nothing_else_changes() -> None:
    torch.manual_seed(5)
    random.seed(5)
    model, trainer = Net(dropout=0.5), quiet_trainer(max_epochs=20)
    model.eval()
    model.register_buffer("seen", torch.zeros(2), persistent=False)
    before = {name: value.tolist() for name, value in model.state_dict().items()}
    generator = torch.Generator().manual_seed(3)
    data = loader(sampler=torch.utils.data.RandomSampler(rows(), generator=generator))
    streams = torch.get_rng_state().tolist(), random.getstate(), generator.get_state().tolist()
    found = Tuner(trainer).lr_find(model, data, num_training=50, early_stop_threshold=None)
    assert found is not None and len(found.results["lr"]) == 50
    assert (found.results["lr"][0], found.results["lr"][-1]) == pytest.approx((1e-8, 1.0))
    assert model.hparams.lr == found.suggestion()
    assert {name: value.tolist() for name, value in model.state_dict().items()} == before
    assert (torch.get_rng_state().tolist(), random.getstate(), generator.get_state().tolist()) == streams
    assert trainer.global_step == 0 and model.trainer is trainer and not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    trainer.fit(model, loader())
    assert trainer.optimizers[0].param_groups[0]["lr"] == found.suggestion()


def test_a_loss_that_explodes_ends_the_search() -> None:
    found = find(Net(), max_lr=1e6, num_training=60, update_attr=False)
    assert 2 < len(found.results["lr"]) < 60


def test_accumulation_counts_optimizer_steps() -> None:
    options = {"num_training": 7, "mode": "linear", "max_lr": 0.01, "early_stop_threshold": None}
    found = find(Net(), quiet_trainer(max_epochs=-1, accumulate_grad_batches=2), **options)
    assert found.results["lr"] == pytest.approx([0.01 * share / 7 for share in (0, 2, 3, 4, 5, 6, 7)], abs=2e-8)


def test_impossible_settings() -> None:
    with pytest.raises(ValueError, match="mode='cubic'"):
        find(Net(), mode="cubic")
    with pytest.raises(AttributeError, match="attr_name"):
        find(Net(), attr_name="rate")
    with pytest.raises(pl.MisconfigurationException, match="expected 'fit'"):
        find(Net(), method="test")
    with pytest.raises(pl.MisconfigurationException, match="train_dataloaders"):
        Tuner(quiet_trainer()).lr_find(Net(), dataloaders=loader())
    with pytest.raises(ValueError, match="has a LearningRateFinder"):
        find(Net(), quiet_trainer(callbacks=pl.callbacks.LearningRateFinder()))

    class Two(Net):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def configure_optimizers(self) -> Any:
            return [super().configure_optimizers(), super().configure_optimizers()]

    with pytest.raises(pl.MisconfigurationException, match="2 optimizers"):
        find(Two())


def test_the_plot_marks_the_suggestion() -> None:
    pytest.importorskip("matplotlib").use("agg")
    found = find(Net(), num_training=40, early_stop_threshold=None)
    figure = found.plot(suggest=True)
    (axes,) = figure.axes
    curve, mark = axes.get_lines()
    assert list(curve.get_xdata()) == found.results["lr"] and list(mark.get_xdata()) == [found.suggestion()]
    assert axes.get_xscale() == "log" and (axes.get_xlabel(), axes.get_ylabel()) == ("Learning rate", "Loss")
    again = find(Net(), num_training=5, mode="linear", max_lr=0.1)
    assert again.plot(ax=axes) is figure
    __import__("matplotlib.pyplot").pyplot.close("all")


# ---------------------------------------------------------------------- LearningRateFinder


def test_the_callback_finds_the_rate_before_training_and_not_again_after_resuming(tmp_path: Path) -> None:
    finder = pl.callbacks.LearningRateFinder(num_training_steps=40, early_stop_threshold=None)
    torch.manual_seed(1)
    model = Net()
    trainer = quiet_trainer(callbacks=finder, max_epochs=2)
    trainer.fit(model, loader(60, shuffle=True), loader())
    assert finder.optimal_lr is not None
    rate = finder.optimal_lr.suggestion()
    assert model.hparams.lr == trainer.optimizers[0].param_groups[0]["lr"] == rate
    trainer.save_checkpoint(tmp_path / "found.ckpt")

    torch.manual_seed(1)
    plain = Net(lr=rate)  # type: ignore[arg-type]
    quiet_trainer(max_epochs=2).fit(plain, loader(60, shuffle=True), loader())
    assert torch.equal(plain.layer.weight, model.layer.weight)

    resumed, again = Net(), pl.callbacks.LearningRateFinder()
    quiet_trainer(callbacks=again, max_epochs=3).fit(resumed, loader(60), loader(), ckpt_path=tmp_path / "found.ckpt")
    assert again.optimal_lr is not None and again.optimal_lr.results == finder.optimal_lr.results
    assert resumed.hparams.lr == rate and len(resumed.losses) == 20


def test_schedulers_start_from_the_rate_that_was_found() -> None:
    class Scheduled(Net):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            return [optimizer], [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5**epoch)]

    finder = pl.callbacks.LearningRateFinder(num_training_steps=40, early_stop_threshold=None)
    trainer = quiet_trainer(callbacks=finder, max_epochs=2)
    trainer.fit(Scheduled(), loader(60), loader())
    rate = finder.optimal_lr.suggestion()  # type: ignore[union-attr]
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.25 * rate)  # type: ignore[operator]


def test_searching_again_in_the_middle_leaves_the_optimizer_alone() -> None:
    class Again(pl.callbacks.LearningRateFinder):
        def on_fit_start(self, trainer: Any, pl_module: Any) -> None: ...

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == 1:
                self.lr_find(trainer, pl_module)

    class Adam(Net):
        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)

    weights = []
    for callbacks in ([Again(num_training_steps=20, update_attr=False)], []):
        torch.manual_seed(2)
        model = Adam(dropout=0.3)
        quiet_trainer(callbacks=callbacks, max_epochs=3).fit(model, loader(shuffle=True), loader())
        weights.append(model.layer.weight.tolist())
    assert weights[0] == weights[1]


def test_fast_dev_run_searches_nothing() -> None:
    finders = [pl.callbacks.LearningRateFinder(), pl.callbacks.BatchSizeFinder()]
    with pytest.warns(UserWarning, match=r"W206"), pytest.warns(UserWarning, match=r"W208"):
        quiet_trainer(callbacks=finders, fast_dev_run=True).fit(Sized(), datamodule=None)
    assert finders[0].optimal_lr is None and finders[1].optimal_batch_size == 2


# ---------------------------------------------------------------------- batch size


class Sized(Net):
    """Runs out of memory with more than ``fits`` samples, in any step."""

    def __init__(self, batch_size: int = 2, fits: int = 10**9, samples: int = 1000) -> None:
        super().__init__()
        self.batch_size, self.fits, self.samples = batch_size, fits, samples
        self.tried: list[int] = []

    def loss(self, batch: Any) -> Any:
        self.tried.append(len(batch[0]))
        if len(batch[0]) > self.fits:
            raise RuntimeError("CUDA error: out of memory")
        return super().loss(batch)

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        return self.loss(batch)

    def train_dataloader(self) -> Any:
        return loader(self.samples, self.batch_size)

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


CASES = [
    ("power", {}, 100, 64), ("power", {"init_val": 16}, 5, 4), ("power", {"max_trials": 3}, 10**9, 8),
    ("power", {"max_val": 100}, 10**9, 100), ("power", {"steps_per_trial": 1}, 10**9, 1024),
    ("binsearch", {}, 100, 95), ("binsearch", {"margin": 0.0}, 100, 100), ("binsearch", {"max_val": 100}, 10**9, 95),
    ("binsearch", {"margin": 0.3, "init_val": 7}, 12, 8), ("binsearch", {"max_trials": 3}, 10**9, 7),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "options", "fits", "size"), CASES, ids=str)
def test_the_largest_batch_is_found_and_set(mode: str, options: dict[str, Any], fits: int, size: int) -> None:
    model, trainer = Sized(fits=fits), quiet_trainer()
    before = model.layer.weight.tolist()
    assert Tuner(trainer).scale_batch_size(model, mode=mode, **options) == model.batch_size == size
    assert model.layer.weight.tolist() == before and trainer.global_step == 0


@pytest.mark.parametrize(("mode", "options", "fits", "size"), [CASES[1], CASES[2], CASES[8], CASES[9]], ids=str)
def test_lightning_finds_the_same(mode: str, options: dict[str, Any], fits: int, size: int) -> None:
    assert lightning_finds(mode, options, fits) == size


def lightning_finds(mode: str, options: dict[str, Any], fits: int) -> int:
    oracle = pytest.importorskip("torch")
    lightning = pytest.importorskip("lightning.pytorch")
    from lightning.pytorch.tuner import Tuner as Theirs

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.batch_size = options.get("init_val", 2)  # else the first trial is of another size than it says
            self.layer = oracle.nn.Linear(4, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if len(batch) > fits:
                raise RuntimeError("CUDA error: out of memory")
            return self.layer(batch).sum()

        def configure_optimizers(self) -> Any:
            return oracle.optim.SGD(self.parameters(), lr=0.1)

        def train_dataloader(self) -> Any:
            return oracle.utils.data.DataLoader(oracle.ones(1000, 4), batch_size=self.batch_size)

    flags = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(max_epochs=1, enable_checkpointing=False, **flags)
        return Theirs(trainer).scale_batch_size(Module(), mode=mode, **options)


@pytest.mark.parametrize("method", ["fit", "validate", "test", "predict"])
def test_every_entry_point_can_be_tried(method: str) -> None:
    model = Sized(fits=40)
    assert Tuner(quiet_trainer()).scale_batch_size(model, method=method) == 32
    finder, model = pl.callbacks.BatchSizeFinder(), Sized(fits=40, samples=64)
    trainer = quiet_trainer(callbacks=finder)
    getattr(trainer, method)(model)
    assert finder.optimal_batch_size == 32 and model.tried[-2:] == [32, 32]


def test_what_runs_out_of_memory_really_is_caught() -> None:
    class Huge(Sized):
        def loss(self, batch: Any) -> Any:
            if len(batch[0]) > 16:
                torch.zeros(1 << 60)
            return super().loss(batch)

    assert Tuner(quiet_trainer()).scale_batch_size(Huge()) == 16


def test_a_datamodule_has_the_batch_size() -> None:
    class Data(pl.LightningDataModule):
        def __init__(self, batch_size: int = 2) -> None:
            super().__init__()
            self.save_hyperparameters()

        def train_dataloader(self) -> Any:
            return loader(100, self.hparams.batch_size)

    data, model = Data(), Net()
    assert Tuner(quiet_trainer(max_epochs=1)).scale_batch_size(model, datamodule=data, max_val=30) == 30
    assert data.hparams.batch_size == 30 and data.trainer is None


def test_a_resumed_run_keeps_the_size_that_was_found(tmp_path: Path) -> None:
    trainer = quiet_trainer(callbacks=pl.callbacks.BatchSizeFinder())
    trainer.fit(Sized(fits=40, samples=64))
    trainer.save_checkpoint(tmp_path / "found.ckpt")
    model = Sized(fits=40, samples=64)
    quiet_trainer(callbacks=pl.callbacks.BatchSizeFinder(), max_epochs=2).fit(model, ckpt_path=tmp_path / "found.ckpt")
    assert model.batch_size == 32 and set(model.tried) == {32}


def test_batch_size_refused() -> None:
    with pytest.raises(ValueError, match="mode='cubic'"):
        pl.callbacks.BatchSizeFinder(mode="cubic")
    with pytest.raises(ValueError, match="margin"):
        pl.callbacks.BatchSizeFinder(margin=1.0)
    with pytest.raises(pl.MisconfigurationException, match="train_dataloader"):
        quiet_trainer(callbacks=pl.callbacks.BatchSizeFinder()).fit(Sized(), loader())
    with pytest.raises(pl.MisconfigurationException, match="batch_arg_name='size'"):
        quiet_trainer(callbacks=pl.callbacks.BatchSizeFinder(batch_arg_name="size")).fit(Sized())
    with pytest.raises(MemoryError, match="batch_size=1"):
        Tuner(quiet_trainer()).scale_batch_size(Sized(fits=0))
    with pytest.raises(RuntimeError, match="shapes"):
        Tuner(quiet_trainer()).scale_batch_size(Broken())


class Broken(Sized):
    def loss(self, batch: Any) -> Any:
        raise RuntimeError("shapes do not fit")


# ---------------------------------------------------------------------- beside Lightning


@pytest.mark.parametrize("mode, epochs", [("exponential", 3), ("linear", 3), ("exponential", 2)])
def test_the_same_rates_losses_and_suggestion_as_in_lightning(mode: str, epochs: int) -> None:
    oracle = pytest.importorskip("torch")
    lightning = pytest.importorskip("lightning.pytorch")
    from lightning.pytorch.tuner import Tuner as Theirs

    def search(torch: Any, pl: Any, tuner: Any) -> Any:
        class Model(pl.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.layer, self.lr = torch.nn.Linear(4, 1), 0.1

            def training_step(self, batch: Any, batch_idx: int) -> Any:
                return ((self.layer(batch) - batch.sum(1, keepdim=True)) ** 2).mean()

            def configure_optimizers(self) -> Any:
                return torch.optim.SGD(self.parameters(), lr=self.lr)

        pl.seed_everything(3)
        flags = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer = pl.Trainer(max_epochs=epochs, enable_checkpointing=False, **flags)
            data = torch.utils.data.DataLoader(torch.randn(60, 4), batch_size=3, shuffle=True)
            return tuner(trainer).lr_find(Model(), data, mode=mode, num_training=60)

    ours, theirs = search(torch, pl, Tuner), search(oracle, lightning, Theirs)
    assert len(theirs.results["lr"]) <= min(60, 20 * epochs)
    assert ours.results["lr"] == pytest.approx(theirs.results["lr"])
    assert ours.results["loss"] == pytest.approx(theirs.results["loss"], rel=1e-4)
    assert ours.suggestion() == pytest.approx(theirs.suggestion())
