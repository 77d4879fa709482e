"""StochasticWeightAveraging through the real Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import engine as torch
import lit as pl
from engine import nn
from tests.lit.models import Net, loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:Net has a `validation_step`", "ignore:Normed has a `validation_step`")


class Normed(Net):
    def __init__(self) -> None:
        super().__init__(lr=0.2)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: Any) -> Any:
        return self.layer(self.norm(x))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.2)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)]


def flat(module: Any) -> list[float]:
    return [value for weight in module.parameters() for value in weight.detach().reshape(-1).tolist()]


class Keep(pl.Callback):
    def __init__(self) -> None:
        self.weights: list[list[float]] = []
        self.rates: list[float] = []

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.weights.append(flat(pl_module))
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def swa(**options: Any) -> Any:
    defaults = {"swa_lrs": 0.05, "swa_epoch_start": 3, "annealing_epochs": 2, "annealing_strategy": "linear"}
    return pl.callbacks.StochasticWeightAveraging(**{**defaults, **options})


def test_the_last_epochs_are_averaged_with_annealed_rates() -> None:
    keep, model = Keep(), Normed()
    quiet_trainer(max_epochs=5, callbacks=[swa(), keep]).fit(model, loader())
    # Two epochs of the module's own scheduler, then from its last value to swa_lrs.
    assert keep.rates == pytest.approx([0.1, 0.05, 0.05, 0.05, 0.05])
    expected = [sum(column) / 3 for column in zip(*keep.weights[2:], strict=True)]
    assert flat(model) == pytest.approx(expected, abs=1e-6)


def test_batch_norm_gets_the_statistics_of_the_data() -> None:
    model = Normed()
    quiet_trainer(max_epochs=2, callbacks=swa(swa_epoch_start=0.5)).fit(model, loader())
    x = torch.cat([batch[0] for batch in loader()])
    assert model.norm.running_mean.tolist() == pytest.approx(x.mean(0).tolist(), abs=1e-6)
    assert model.norm.momentum == 0.1


@pytest.mark.parametrize("stop_after", [1, 2, 3, 4])
def test_averaging_resumes_exactly(stop_after: int, tmp_path: Path) -> None:
    def fit(max_epochs: int, ckpt_path: Any = None) -> Any:
        class Save(pl.callbacks.Checkpoint):
            def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
                trainer.save_checkpoint(tmp_path / f"{trainer.current_epoch + 1}.ckpt")

        torch.manual_seed(4)
        model = Normed()
        trainer = quiet_trainer(max_epochs=max_epochs, callbacks=[swa(), Save()], enable_checkpointing=True)
        trainer.fit(model, loader(shuffle=True), ckpt_path=ckpt_path)
        return flat(model), model.norm.running_var.tolist()

    whole = fit(5)
    assert fit(5, tmp_path / f"{stop_after}.ckpt") == whole


@pytest.mark.parametrize(
    "options", [{"swa_lrs": 0}, {"swa_lrs": []}, {"swa_epoch_start": 1.5}, {"annealing_strategy": "exp"}]
)
def test_impossible_settings(options: dict[str, Any]) -> None:
    with pytest.raises(pl.MisconfigurationException, match=next(iter(options))):
        swa(**options)


def test_batches_of_any_shape_renew_the_statistics() -> None:
    class Nested(Normed):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            (x, _), rest = batch
            loss = super().training_step((x, rest["y"]), batch_idx)
            self.log("nested", loss, on_epoch=True)
            return loss

    def collate(rows: Any) -> Any:
        x, y = (torch.stack(part) for part in zip(*rows))
        return (x, x), {"y": y}

    model, trainer = Nested(), quiet_trainer(max_epochs=2, callbacks=swa(swa_epoch_start=0.5), limit_val_batches=0)
    trainer.fit(model, loader(collate_fn=collate))
    plain = Normed()
    quiet_trainer(max_epochs=2, callbacks=swa(swa_epoch_start=0.5), limit_val_batches=0).fit(plain, loader())
    assert model.norm.running_mean.shape == plain.norm.running_mean.shape and trainer.global_step == 8
