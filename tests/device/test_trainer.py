"""The Trainer on a device: it trains as on the CPU, and its ordinary step makes the host wait for nothing."""

from __future__ import annotations

import numpy as np
import pytest

import engine
import lit
from engine import nn
from tests.fake_cupy.kernels import compiler


class Model(lit.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = nn.functional.cross_entropy(self.net(x), y)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return engine.optim.Adam(self.parameters(), lr=0.1)


def data():
    rng = np.random.default_rng(0)
    x = engine.from_numpy(rng.normal(size=(24, 4)).astype(np.float32))
    return engine.utils.data.DataLoader(engine.utils.data.TensorDataset(x, engine.arange(24) % 3), batch_size=4,
                                        pin_memory=True)


def fitted(accelerator, folder, *callbacks, **options):
    engine.manual_seed(1)
    model = Model()
    trainer = lit.Trainer(max_epochs=2, accelerator=accelerator, devices=1, logger=False, enable_checkpointing=False,
                          enable_progress_bar=False, enable_model_summary=False, callbacks=list(callbacks),
                          default_root_dir=folder, **options)
    trainer.fit(model, data())
    return trainer, model


@pytest.fixture(autouse=True)
def a_compiler(request):
    if request.config.getoption("--device") == "fake-cuda" and compiler() is None:
        pytest.skip("no g++")


def test_it_trains_as_on_the_cpu(device, tmp_path):
    here, expected = fitted("cpu", tmp_path)
    there, ours = fitted("gpu", tmp_path)
    assert there.strategy.root_device == engine.device("cuda", 0) and ours.device.type == "cuda"
    assert float(there.callback_metrics["loss"]) == pytest.approx(float(here.callback_metrics["loss"]), rel=1e-4)
    for p, q in zip(expected.parameters(), ours.parameters()):
        np.testing.assert_allclose(q.detach().cpu().numpy(), p.detach().cpu().numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "16-mixed"])
def test_lower_precisions(device, tmp_path, precision):
    trainer, _ = fitted("gpu", tmp_path, precision=precision)
    assert np.isfinite(float(trainer.callback_metrics["loss"]))


def test_an_ordinary_step_makes_the_host_wait_for_nothing(device, tmp_path, events):
    waits = []

    class Count(lit.Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            events.clear()

        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            waits.append((events["synchronize"], events["to_host"]))

    fitted("gpu", tmp_path, Count())
    assert waits == [(0, 0)] * 12
