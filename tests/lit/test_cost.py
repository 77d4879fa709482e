"""What the Trainer costs: Python calls per step, calls of hooks nobody listens to, and imports."""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import engine as torch
import lit as pl
from engine import nn
from tests.lit.models import loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:An epoch has")

STEPS = range(20, 60)  # measured after a warm-up
MOST_CALLS = 60


class Digits(pl.LightningModule):
    """One layer and one logged value: what remains is the Trainer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, _ = batch
        loss = self.layer(x).mean()
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Calls:
    """Counts Python calls while it is on."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        self.count += event == "call"

    def switch(self, batch_idx: int) -> None:
        if batch_idx == STEPS.start:
            sys.setprofile(self)
        elif batch_idx == STEPS.stop:
            sys.setprofile(None)


def test_python_calls_added_per_step(tmp_path: Path) -> None:
    by_hand, by_trainer = Calls(), Calls()
    model = Digits()
    optimizer = model.configure_optimizers()
    for batch_idx, (x, _) in enumerate(loader(count=200)):
        by_hand.switch(batch_idx)
        loss = model.layer(x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    class Switch(pl.Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            by_trainer.switch(batch_idx)

    # The defaults: bar, summary, TensorBoard logger, checkpoint.
    trainer = pl.Trainer(max_epochs=1, default_root_dir=tmp_path, callbacks=[Switch()], accelerator="cpu")
    trainer.fit(Digits(), loader(count=200))
    assert by_hand.count > 0
    added = (by_trainer.count - by_hand.count) / len(STEPS)
    assert added <= MOST_CALLS, f"the Trainer adds {added:.1f} Python calls per step"


def test_inherited_hooks_cost_nothing() -> None:
    trainer = quiet_trainer(callbacks=[pl.Callback() for _ in range(3)])
    trainer.fit(Digits(), loader())
    assert trainer.hooks.active == {"training_step", "configure_optimizers"}


def test_memory_is_flat_without_gc() -> None:
    class Watch(pl.Callback):
        at: list[int] = []

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx in (100, 399):
                self.at.append(tracemalloc.get_traced_memory()[0])

    watch = Watch()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        quiet_trainer(callbacks=watch).fit(Digits(), loader(count=400, batch_size=1))
    finally:
        tracemalloc.stop()
        gc.enable()
    # Bytes over 300 steps. Python keeps up to 2,000 freed tuples of 64 bytes for later; a tensor kept would be far more.
    assert watch.at[1] - watch.at[0] < 30_000


def run_python(code: str) -> str:
    root = Path(pl.__file__).parent.parent
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def test_heavy_packages_are_not_imported() -> None:
    heavy = ("tqdm", "tensorboardX", "safetensors", "torch", "cupy", "yaml", "numba", "unittest")
    found = run_python(f"import engine, lit, sys; print([name for name in {heavy} if name in sys.modules])")
    assert found == "[]"


def test_callbacks_and_loggers_are_the_same_modules() -> None:
    code = """
import lit.callbacks, lit.loggers, callbacks, loggers
from lit.callbacks.early_stopping import EarlyStopping
from lit.callbacks import EarlyStopping as again
from lit.loggers.csv_logs import CSVLogger
from lit.utilities import rank_zero_only
import lit as pl
assert lit.callbacks is callbacks and lit.loggers is loggers and pl.callbacks is callbacks
assert EarlyStopping is again is callbacks.EarlyStopping and CSVLogger is loggers.CSVLogger
assert EarlyStopping.__module__ == "callbacks.early_stopping"
import callbacks.early_stopping as module, sys
assert sys.modules["lit.callbacks.early_stopping"] is module and module.__spec__.name == "callbacks.early_stopping"
try:
    import lit.callbacks.nonsense
except ModuleNotFoundError as error:
    print(error.name)
"""
    assert run_python(code) == "callbacks.nonsense"
