"""``Trainer(precision=...)``: dtypes, autocast around the steps, and the scaled loss of 16-mixed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
import lit as pl
from lit.checkpoint import load_checkpoint
from tests.lit.boring import QUIET
from tests.lit.models import Net, loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*no validation loader", "ignore:An epoch has")

TRUE = {"32-true": engine.float32, "64-true": engine.float64, "16-true": engine.float16, "bf16-true": engine.bfloat16}
MIXED = {"16-mixed": engine.float16, "bf16-mixed": engine.bfloat16}


class Look(Net):
    """Notes the dtypes that each step sees: batch, weight, new tensor, output of the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, list[Any]] = {}

    def look(self, step: str, batch: Any) -> None:
        x = batch[0]
        self.seen[step] = [x.dtype, self.layer.weight.dtype, engine.zeros(1).dtype, self.layer(x).dtype]

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.look("training", batch)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.look("validation", batch)
        super().validation_step(batch, batch_idx)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.look("test", batch)

    def predict_step(self, batch: Any, batch_idx: int) -> None:
        self.look("predict", batch)

    def on_train_epoch_end(self) -> None:
        self.seen["hook"] = [engine.zeros(1).dtype]


def everywhere(precision: str) -> Look:
    model, trainer = Look(), quiet_trainer(precision=precision, max_epochs=8)
    trainer.fit(model, loader(), loader())
    trainer.test(model, loader(), verbose=False)
    trainer.predict(model, loader())
    assert model.losses[-1] < model.losses[0] or model.losses[-1] < 0.05
    return model


@pytest.mark.parametrize("precision", TRUE)
def test_true_precisions_convert_everything(precision: str) -> None:
    seen = everywhere(precision).seen
    assert seen.pop("hook") == [engine.float32]  # the default dtype changes inside the steps only
    assert seen == dict.fromkeys(("training", "validation", "test", "predict"), [TRUE[precision]] * 4)


@pytest.mark.parametrize("precision", MIXED)
def test_mixed_precisions_cast_products(precision: str) -> None:
    seen = everywhere(precision).seen
    del seen["hook"]
    single = [engine.float32] * 3
    assert seen == dict.fromkeys(("training", "validation", "test", "predict"), [*single, MIXED[precision]])


@pytest.mark.parametrize(
    ("given", "means"),
    [(None, "32-true"), (32, "32-true"), ("64", "64-true"), (16, "16-mixed"), ("16", "16-mixed"), ("bf16", "bf16-mixed")],
)
def test_aliases(given: Any, means: str) -> None:
    assert quiet_trainer(precision=given).precision == means


def test_configure_model_builds_in_the_dtype_of_the_weights() -> None:
    class Late(Net):
        def configure_model(self) -> None:
            self.built_in = engine.nn.Linear(1, 1).weight.dtype

    model = Late()
    quiet_trainer(precision="bf16-true").fit(model, loader())
    assert model.built_in is engine.bfloat16


@pytest.mark.parametrize("precision", ["16-true", "bf16-true"])
def test_half_weights_resume(precision: str, tmp_path: Path) -> None:
    whole, resumed = Net(), Net()
    trainer = quiet_trainer(precision=precision)
    trainer.fit(whole, loader())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    trainer.fit_loop.max_epochs = 2
    trainer.fit(whole, loader())
    quiet_trainer(precision=precision, max_epochs=2).fit(resumed, loader(), ckpt_path=tmp_path / "a.ckpt")
    assert engine.equal(whole.layer.weight, resumed.layer.weight)


# ---------------------------------------------------------------------- beside Lightning


def regression(library: Any, torch: Any, calls: list[str]) -> Any:
    """A small network with the same weights and data in both libraries, which keeps its losses."""
    draw = np.random.default_rng(0)
    arrays = [draw.normal(size=shape).astype("float32") * 0.5 for shape in ((16, 8), (16,), (1, 16), (1,))]
    x = draw.normal(size=(48, 8)).astype("float32")
    rows = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(x[:, :1] * 2 + 1))

    class Regression(library.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
            self.losses: list[float] = []
            self.norms: list[float] = []
            with torch.no_grad():
                for parameter, array in zip(self.parameters(), arrays, strict=True):
                    parameter.copy_(torch.from_numpy(array))

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            calls.append("step")
            loss = ((self.layers(batch[0]) - batch[1]) ** 2).mean()
            self.losses.append(loss.item())
            return loss

        def on_before_backward(self, loss: Any) -> None:
            calls.append(f"before_backward {float(loss) > 1000}")

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            calls.append("before_optimizer_step")
            self.norms.append(float(self.layers[0].weight.grad.norm()))

        def configure_gradient_clipping(self, *args: Any, **kwargs: Any) -> None:
            calls.append("clip")
            super().configure_gradient_clipping(*args, **kwargs)

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=0.02)

        def train_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(rows, batch_size=8)

    return Regression()


@pytest.mark.parametrize("precision", MIXED)
@pytest.mark.parametrize("flags", [{}, {"gradient_clip_val": 0.5, "accumulate_grad_batches": 2}], ids=["plain", "clipped"])
@pytest.mark.filterwarnings("ignore")
def test_losses_beside_lightning(precision: str, flags: dict[str, Any]) -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    torch = pytest.importorskip("torch")
    from lightning.pytorch.plugins import MixedPrecision

    # Without a plugin, Lightning turns 16-mixed into bf16-mixed on the CPU.
    scaler = torch.amp.GradScaler("cpu") if precision == "16-mixed" else None
    their_calls: list[str] = []
    our_calls: list[str] = []
    theirs, ours = regression(lightning, torch, their_calls), regression(pl, engine, our_calls)
    lightning.Trainer(**QUIET, max_epochs=4, plugins=MixedPrecision(precision, "cpu", scaler), **flags).fit(theirs)
    trainer = pl.Trainer(**QUIET, max_epochs=4, precision=precision, **flags)
    trainer.fit(ours)
    tolerance = 0.02 if precision == "16-mixed" else 0.1
    assert our_calls == their_calls
    assert ours.losses == pytest.approx(theirs.losses, rel=tolerance)
    assert ours.norms == pytest.approx(theirs.norms, rel=5 * tolerance, nan_ok=True)  # the first steps overflow, in both
    state = trainer.precision_plugin.state_dict()
    assert state == (scaler.state_dict() if scaler else {})


# ---------------------------------------------------------------------- the scaler


def scaling_trainer(**flags: Any) -> pl.Trainer:
    """A Trainer whose scale starts low enough for ordinary gradients to fit into float16."""
    trainer = quiet_trainer(precision="16-mixed", **flags)
    scaler = trainer.precision_plugin.scaler
    assert scaler is not None
    scaler.load_state_dict({**scaler.state_dict(), "scale": 256.0})
    return trainer


class Overflowing(Net):
    """The second batch's gradients are infinite."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Any] = []
        self.scales: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        return loss * float("inf") if self.trainer.global_step == 1 else loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.weights.append(self.layer.weight.detach().clone())
        self.scales.append(self.trainer.precision_plugin.scaler.get_scale())


def test_a_step_that_overflows_is_skipped() -> None:
    model, trainer = Overflowing(), scaling_trainer()
    trainer.fit(model, loader())
    unchanged = [engine.equal(a, b) for a, b in zip(model.weights, model.weights[1:], strict=False)]
    assert unchanged == [True, False, False]
    assert model.scales == [256.0, 128.0, 128.0, 128.0]
    assert trainer.global_step == 4  # as Lightning counts


@pytest.mark.parametrize("at", range(1, 6))
def test_resuming_with_a_scaler_is_exact(at: int, tmp_path: Path) -> None:
    flags: dict[str, Any] = {"max_epochs": 2, "accumulate_grad_batches": 2}

    class Save(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
            if trainer.fit_loop.total_batch_idx == at:
                trainer.save_checkpoint(tmp_path / "a.ckpt")

    whole, resumed = Overflowing(), Overflowing()
    trainer = scaling_trainer(**flags, callbacks=Save())
    trainer.fit(whole, loader())
    assert set(load_checkpoint(tmp_path / "a.ckpt")["MixedPrecision"]) == set(trainer.precision_plugin.state_dict())
    again = quiet_trainer(precision="16-mixed", **flags)
    again.fit(resumed, loader(), ckpt_path=tmp_path / "a.ckpt")
    assert engine.equal(whole.layer.weight, resumed.layer.weight)
    assert whole.losses[at + 1 :] == resumed.losses
    assert trainer.precision_plugin.state_dict() == again.precision_plugin.state_dict()


def test_manual_optimization_scales_too() -> None:
    class Manual(Net):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> None:
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(self.loss(batch))
            self.scaled = float(self.layer.weight.grad.abs().max())
            optimizer.step()
            self.unscaled = float(self.layer.weight.grad.abs().max())

    model = Manual()
    scaling_trainer().fit(model, loader())
    assert model.scaled == model.unscaled * 256


def test_a_skipped_batch_leaves_the_scaler_alone() -> None:
    class Skips(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return None if batch_idx == 1 else super().training_step(batch, batch_idx)

    trainer = scaling_trainer()
    with pytest.warns(UserWarning, match="W111"):
        trainer.fit(Skips(), loader())
    assert trainer.precision_plugin.state_dict()["_growth_tracker"] == 3


def test_lbfgs_and_a_scaler_are_refused() -> None:
    class Quasi(Net):
        def configure_optimizers(self) -> Any:
            return engine.optim.LBFGS(self.parameters())

    with pytest.raises(pl.MisconfigurationException, match="LBFGS"):
        quiet_trainer(precision="16-mixed").fit(Quasi(), loader())
