"""fit, validate, test and predict do what they say."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import engine as torch
import lit as pl
from engine import nn
from engine.utils.data import DataLoader, IterableDataset
from tests.lit.models import Net, loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*no validation loader")


def test_learns() -> None:
    model = Net()
    quiet_trainer(max_epochs=20).fit(model, loader())
    assert model.losses[-1] < 0.1 * model.losses[0]


def test_same_losses_as_a_hand_written_loop() -> None:
    """The sanity check, validation and every default of the Trainer draw nothing from the user's random numbers."""
    pl.seed_everything(3, verbose=False)
    model = Net(dropout=0.5)
    data, val = loader(shuffle=True), loader(shuffle=True)
    optimizer = model.configure_optimizers()
    expected = []
    for _ in range(2):
        for batch in data:
            loss = model.loss(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            expected.append(loss.item())

    pl.seed_everything(3, verbose=False)
    model = Net(dropout=0.5)
    data = loader(shuffle=True)
    quiet_trainer(max_epochs=2, check_val_every_n_epoch=5).fit(model, data, val)
    assert model.losses == expected


def test_leaves_the_random_streams_alone() -> None:
    pl.seed_everything(5, verbose=False)
    model, data, val = Net(), loader(), loader()
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    quiet_trainer(limit_train_batches=0, num_sanity_val_steps=-1).fit(model, data, val)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before  # noqa: NPY002


def test_counters() -> None:
    trainer = quiet_trainer(max_epochs=3, accumulate_grad_batches=3)
    model = Net()
    trainer.fit(model, loader())  # 4 batches: steps after the third and the last
    assert (trainer.global_step, trainer.current_epoch) == (6, 3)
    assert (model.global_step, model.current_epoch) == (6, 3)
    assert trainer.num_training_batches == 4
    assert trainer.estimated_stepping_batches == 6
    assert trainer.state.finished and not trainer.interrupted
    assert trainer.state.fn == "fit"


def test_accumulated_gradient_is_the_mean() -> None:
    torch.manual_seed(1)
    big, small = Net(), Net()
    small.load_state_dict(big.state_dict())
    quiet_trainer().fit(big, loader(12, 6))
    quiet_trainer(accumulate_grad_batches=2).fit(small, loader(12, 3))
    assert torch.allclose(big.layer.weight, small.layer.weight, atol=1e-7)


def test_loss_in_outputs_is_detached_and_extras_are_kept() -> None:
    seen: list[Any] = []

    class Extra(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return {"loss": self.loss(batch), "idx": batch_idx}

        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            seen.append(outputs)

    quiet_trainer(limit_train_batches=2).fit(Extra(), loader())
    assert [outputs["idx"] for outputs in seen] == [0, 1]
    assert not seen[0]["loss"].requires_grad


def test_training_step_without_batch_idx() -> None:
    class Short(Net):
        def training_step(self, batch: Any) -> Any:
            return self.loss(batch)

    trainer = quiet_trainer()
    trainer.fit(Short(), loader())
    assert trainer.global_step == 4


def test_validation_runs_without_gradients_and_restores_modes() -> None:
    modes: list[tuple[bool, bool]] = []

    class Frozen(Net):
        def __init__(self) -> None:
            super().__init__()
            self.drop.eval()  # on purpose, and must stay so

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            modes.append((self.training, torch.is_grad_enabled()))

    model = Frozen()
    quiet_trainer().fit(model, loader(), loader())
    assert set(modes) == {(False, False)}
    assert (model.training, model.layer.training, model.drop.training) == (True, True, False)


@pytest.mark.parametrize("inference", [True, False])
def test_inference_mode(inference: bool) -> None:
    seen = []

    class Look(Net):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            seen.append(torch.is_inference_mode_enabled())

    quiet_trainer(inference_mode=inference).test(Look(), loader(), verbose=False)
    assert set(seen) == {inference}


def test_validate_and_test_return_the_metrics() -> None:
    model = Net()
    trainer = quiet_trainer()
    [metrics] = trainer.validate(model, loader(), verbose=False)
    expected = nn.functional.mse_loss(model(loader().dataset.tensors[0]), loader().dataset.tensors[1])
    assert metrics["val_loss"] == pytest.approx(expected.item())
    assert trainer.test(model, loader(), verbose=False) == [{"test_loss": metrics["val_loss"]}]
    assert trainer.callback_metrics["test_loss"].item() == pytest.approx(metrics["val_loss"])


def test_results_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    quiet_trainer().test(Net(), loader())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["test", "metric", "value"]
    assert lines[1].startswith("test_loss")


def test_mean_weighted_by_batch_size() -> None:
    model = Net()
    ragged = loader(count=7, batch_size=4)
    [metrics] = quiet_trainer().test(model, ragged, verbose=False)
    x, y = ragged.dataset.tensors
    assert metrics["test_loss"] == pytest.approx(nn.functional.mse_loss(model(x), y).item(), rel=1e-6)


def test_predict() -> None:
    class Predict(Net):
        def predict_step(self, batch: Any, batch_idx: int) -> Any:
            return batch[1].sum()

    trainer = quiet_trainer()
    predictions = trainer.predict(Predict(), loader())
    assert predictions is not None and len(predictions) == 4
    assert sum(p.item() for p in predictions) == pytest.approx(loader().dataset.tensors[1].sum().item())
    assert trainer.predict(Predict(), loader(), return_predictions=False) is None


def test_predict_calls_forward_by_default() -> None:
    class Doubler(pl.LightningModule):
        def forward(self, x: Any) -> Any:
            return x * 2

    assert [p.tolist() for p in quiet_trainer().predict(Doubler(), [torch.tensor([1.0])])] == [[2.0]]  # type: ignore[union-attr]


def test_several_loaders() -> None:
    class Many(Net):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            self.log("loader", float(dataloader_idx))
            self.log("plain", float(dataloader_idx), add_dataloader_idx=False)

        def on_validation_epoch_end(self) -> None:
            self.log("together", 9.0)

        def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> int:
            return dataloader_idx

    trainer = quiet_trainer()
    first, second = trainer.validate(Many(), [loader(), loader(6)], verbose=False)
    assert first["loader/dataloader_idx_0"] == 0 and second["loader/dataloader_idx_1"] == 1
    assert first["together"] == second["together"] == 9
    assert trainer.num_val_batches == [4, 2]
    assert trainer.predict(Many(), [loader(), loader(6)]) == [[0] * 4, [1] * 2]


def test_several_training_loaders() -> None:
    seen = []

    class Both(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            seen.append(sorted(batch))
            return self.loss(batch["a"]) + self.loss(batch["b"])

    trainer = quiet_trainer()
    trainer.fit(Both(), {"a": loader(12), "b": loader(6)})
    assert seen == [["a", "b"]] * 4  # the shorter one starts again


class Stream(IterableDataset):
    """Five rows, without a length."""

    def __iter__(self) -> Any:
        return iter([(torch.ones(4), torch.ones(1))] * 5)


def test_loader_without_length_validates_at_the_last_batch() -> None:
    class Count(Net):
        validations: list[int] = []

        def on_validation_start(self) -> None:
            self.validations.append(self.trainer.global_step)

    trainer = quiet_trainer(num_sanity_val_steps=0, max_epochs=2)
    model = Count()
    trainer.fit(model, DataLoader(Stream(), batch_size=1), loader())
    assert trainer.global_step == 10
    assert model.validations == [5, 10]
    assert trainer.num_training_batches == float("inf")


def test_generator_of_batches() -> None:
    trainer = quiet_trainer(max_steps=2, max_epochs=-1)
    trainer.fit(Net(), (batch for batch in loader()))
    assert trainer.global_step == 2


def test_fit_twice_goes_on() -> None:
    model, trainer = Net(), quiet_trainer(max_epochs=1)
    trainer.fit(model, loader())
    trainer.fit_loop.max_epochs = 2
    trainer.fit(model, loader())
    assert (trainer.current_epoch, trainer.global_step) == (2, 8)


def test_trainer_is_usable_after_ctrl_c() -> None:
    class Interrupted(Net):
        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            if self.global_step == 2:
                raise KeyboardInterrupt

    trainer, model = quiet_trainer(), Interrupted()
    with pytest.raises(SystemExit) as ended:
        trainer.fit(model, loader())
    assert ended.value.code == 1
    assert trainer.interrupted and trainer.global_step == 2
    trainer.fit(model, loader())
    assert trainer.state.finished and not trainer.interrupted
    assert trainer.global_step == 6  # the interrupted epoch from its start


def test_exception_goes_on_its_way() -> None:
    class Broken(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            raise ZeroDivisionError("mine")

    trainer = quiet_trainer()
    with pytest.raises(ZeroDivisionError, match="mine"):
        trainer.fit(Broken(), loader())
    assert trainer.interrupted and trainer.state.stage is None


def test_print_hooks(capsys: pytest.CaptureFixture[str]) -> None:
    class Watcher(pl.Callback):
        monitoring = True

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None: ...

    class WithHook(Net):
        def on_train_epoch_end(self) -> None: ...

    quiet_trainer(callbacks=Watcher()).print_hooks(WithHook())
    lines = capsys.readouterr().out.splitlines()
    assert "training_step                    WithHook" in lines
    assert "on_train_epoch_end               WithHook -> Watcher" in lines
    assert not any(line.startswith("on_fit_start") for line in lines)


def test_module_callbacks_replace_those_of_the_same_type() -> None:
    class Mine(pl.Callback):
        def __init__(self, name: str) -> None:
            self.name = name

    class Last(pl.Callback):
        runs_last = True

    class Brings(Net):
        def configure_callbacks(self) -> Any:
            return Mine("module")

    trainer = quiet_trainer(callbacks=[Last(), Mine("trainer")])
    trainer.fit(Brings(), loader())
    assert [type(callback).__name__ for callback in trainer.callbacks] == ["Mine", "Last"]
    assert trainer.callbacks[0].name == "module"  # type: ignore[attr-defined]


def test_setup_may_replace_a_hook() -> None:
    calls = []

    class Late(Net):
        def setup(self, stage: str) -> None:
            self.on_train_start = lambda: calls.append(stage)  # type: ignore[method-assign]

    quiet_trainer().fit(Late(), loader())
    assert calls == ["fit"]
