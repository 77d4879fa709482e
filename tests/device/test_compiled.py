"""Trainer(compile=True): captured steps train as eager ones do, and what can't be captured is said and trained eagerly."""

from __future__ import annotations

import contextlib
import warnings

import numpy as np
import pytest

import engine
import lit
from engine import nn
from lit import compiled

pytestmark = pytest.mark.usefixtures("products")


class Model(lit.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch["x"], batch["y"]
        loss = nn.functional.cross_entropy(self.net(x), y)
        self.log("loss", loss, on_step=True, on_epoch=True, prog_bar=True)
        return {"loss": loss, "largest": x.max()}

    def configure_optimizers(self):
        optimizer = engine.optim.AdamW(self.parameters(), lr=0.05)
        schedule = engine.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Seen(lit.Callback):
    """What callbacks see of each batch."""

    def __init__(self):
        self.losses, self.outputs, self.steps, self.hooks = [], [], [], []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.hooks.append(("start", batch_idx, trainer.global_step))

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.outputs.append(outputs)
        self.hooks.append(("end", batch_idx, trainer.global_step))


def loader(size=22):
    rng = np.random.default_rng(0)
    rows = [{"x": engine.from_numpy(rng.normal(size=4).astype(np.float32)), "y": i % 3} for i in range(size)]
    return engine.utils.data.DataLoader(rows, batch_size=4, shuffle=True)  # 5 batches of four, one of two


def fitted(folder, compile, model=None, epochs=5, callbacks=(), ckpt_path=None, warn=False, **options):
    engine.manual_seed(1)
    model = model or Model()
    seen = Seen()
    trainer = lit.Trainer(max_epochs=epochs, accelerator="gpu", devices=1, logger=False, enable_progress_bar=False,
                          enable_model_summary=False, enable_checkpointing=False, default_root_dir=folder, compile=compile,
                          callbacks=[seen, *callbacks], **options)
    with contextlib.nullcontext() if warn else warnings.catch_warnings():
        if not warn:
            warnings.filterwarnings("error", "\\[W127\\]")
        trainer.fit(model, loader(), ckpt_path=ckpt_path)
    return trainer, model, seen


def numbers(trainer, model, seen):
    state = trainer.optimizers[0].state_dict()["state"]
    return {"losses": [o["loss"].item() for o in seen.outputs],
            "extra": [o["largest"].item() for o in seen.outputs if "largest" in o],
            "hooks": seen.hooks, "metrics": {k: float(v) for k, v in trainer.callback_metrics.items()},
            "weights": [p.tolist() for p in (*model.parameters(), *model.buffers())],
            "moments": [t.tolist() for entry in state.values() for t in entry.values()],
            "rates": [g["lr"] for g in trainer.optimizers[0].param_groups]}


OPTIONS = {"plain": {}, "clipped": {"gradient_clip_val": 0.5}, "mixed": {"precision": "16-mixed", "gradient_clip_val": 1.0},
           "bf16": {"precision": "bf16-true"}, "accumulated": {"accumulate_grad_batches": 4, "epochs": 8}}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_the_numbers_are_those_of_eager_training(device, tmp_path, events, monkeypatch, name):
    """Losses, outputs, metrics, weights, running means, moments and rates; dropout draws the same masks. To the last bit, where
    the host has not worked out the eager step's numbers by another `pow`."""
    eager = numbers(*fitted(tmp_path, False, **OPTIONS[name]))
    assert not events["graph_launch"]
    captured = fitted(tmp_path, True, **OPTIONS[name])
    assert len(captured[0].fit_loop.take_step.graphs) >= 2 and events["graph_launch"] >= 12
    monkeypatch.setattr(compiled, "WARM_UP", 1000)
    never_captured = numbers(*fitted(tmp_path, True, **OPTIONS[name]))
    ours = numbers(*captured)
    assert ours == never_captured
    assert ours["hooks"] == eager["hooks"]
    for what in ("losses", "extra", "metrics", "weights", "moments", "rates"):
        np.testing.assert_allclose(flat(ours[what]), flat(eager[what]), rtol=2e-3, atol=2e-4, err_msg=what)


@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 4}], ids=["plain", "accumulated"])
def test_a_run_goes_on_from_its_checkpoint_bit_for_bit(device, tmp_path, options):
    class Save(lit.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            if (trainer.current_epoch, batch_idx) == (3, 2):
                trainer.save_checkpoint(tmp_path / "middle.ckpt")

    whole = numbers(*fitted(tmp_path, True, callbacks=[Save()], epochs=6, **options))
    again = numbers(*fitted(tmp_path, True, epochs=6, ckpt_path=tmp_path / "middle.ckpt", **options))
    for what in ("metrics", "weights", "moments", "rates"):
        assert again[what] == whole[what], what
    assert again["losses"] == whole["losses"][-len(again["losses"]) :]


def test_a_captured_step_makes_the_host_wait_for_nothing(device, tmp_path, events):
    waits = []

    class Count(lit.Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            events.clear()

        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            waits.append((events["graph_launch"], events["synchronize"], events["to_host"]))

    fitted(tmp_path, True, callbacks=[Count()], precision="16-mixed")
    assert waits[-4:] == [(1, 0, 0)] * 4


def training(step):
    """A module whose training_step is this function of it, the batch, its index and the loss."""

    class Other(Model):
        def __init__(self):
            super().__init__()
            self.seen, self.count, self.accuracy = [], 0, lit.metrics.MeanMetric()

        def training_step(self, batch, batch_idx):
            loss = nn.functional.cross_entropy(self.net(batch["x"]), batch["y"])
            return step(self, batch, batch_idx, loss) or loss

    return Other()


def overriding(**methods):
    return type("Overriding", (Model,), methods)()


REFUSED = {
    "the host waits": (lambda: training(lambda s, b, i, loss: loss.item() and None), r"sync.*test_compiled.py:\d+.*HINT"),
    "batch_idx": (lambda: training(lambda s, b, i, loss: loss * 2 if i % 2 else None), "looks at batch_idx.*HINT"),
    "global_step": (lambda: training(lambda s, b, i, loss: loss * (1 + s.global_step)), "looks at global_step.*HINT"),
    "epoch": (lambda: training(lambda s, b, i, loss: loss * (1 + s.current_epoch)), "looks at current_epoch.*HINT"),
    "a number is logged": (lambda: training(lambda s, b, i, loss: s.log("lr", 0.1)), "'lr', 0.1.*number of the host.*HINT"),
    "an attribute": (lambda: training(lambda s, b, i, loss: setattr(s, "count", s.count + 1)), "changes self.count"),
    "a list": (lambda: training(lambda s, b, i, loss: s.seen.append(loss.detach())), "changes self.seen.*HINT"),
    "a metric": (lambda: training(lambda s, b, i, loss: s.accuracy.update(loss.detach())), "HINT: take what waits"),
    "a hook": (lambda: overriding(on_before_optimizer_step=lambda self, optimizer: None), "`on_before_optimizer_step` runs"),
    "optimizer_step": (lambda: overriding(optimizer_step=lambda self, epoch, batch_idx, optimizer, optimizer_closure=None:
                                          optimizer.step(closure=optimizer_closure)), "`optimizer_step` is overridden"),
    "the optimizer": (lambda: overriding(configure_optimizers=lambda self: engine.optim.NAdam(self.parameters(), lr=0.05)),
                      "NAdam.*HINT"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_graph_cannot_repeat_is_said_and_trained_eagerly(device, tmp_path, name):
    make, message = REFUSED[name]
    found = []
    for compile in (False, True):
        engine.manual_seed(1)
        model = make()
        if compile:
            with pytest.warns(UserWarning, match=rf"W127.*eagerly.*{message}") as caught:
                run = fitted(tmp_path, True, model, warn=True)
            assert sum("W127" in str(w.message) for w in caught) == 1
        else:
            run = fitted(tmp_path, False, model)
        found.append((flat(numbers(*run)["losses"]), getattr(model, "count", 0), len(getattr(model, "seen", ()))))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-4, atol=1e-5)
    assert found[1][1:] == found[0][1:]


def test_on_the_cpu_it_says_that_there_is_nothing_to_capture(tmp_path):
    trainer = lit.Trainer(accelerator="cpu", fast_dev_run=True, compile=True, default_root_dir=tmp_path)
    with pytest.warns(UserWarning, match="W127.*on the CPU"):
        trainer.fit(Model(), loader())


def test_parameters_that_begin_to_learn_are_captured_anew(device, tmp_path):
    class Unfreeze(lit.Callback):
        def on_train_epoch_start(self, trainer, module):
            module.net[0].requires_grad_(trainer.current_epoch >= 3)

    eager = numbers(*fitted(tmp_path, False, callbacks=[Unfreeze()], epochs=7))
    trainer, *rest = fitted(tmp_path, True, callbacks=[Unfreeze()], epochs=7)
    np.testing.assert_allclose(flat(numbers(trainer, *rest)["losses"]), flat(eager["losses"]), rtol=2e-3, atol=2e-4)
    assert trainer.fit_loop.take_step.graphs


def flat(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [x for v in value for x in flat(v)]
    return [float(value)] if not isinstance(value, str) else []
