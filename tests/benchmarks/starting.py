"""How long a user waits: from the start of a process to the end of its first training step through a Trainer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent.parent
TRAINERS = {"torch": "lightning.pytorch", "engine": "lit"}
FIRST_STEP = """
import os, tempfile
import {torch} as torch
import {trainer} as lit
from tests.benchmarks.training import data, network

class Digits(lit.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = network(torch)
    def training_step(self, batch, batch_idx):
        images, labels = batch
        return torch.nn.functional.cross_entropy(self.layers(images), labels)
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)
    def on_train_batch_end(self, *args):
        os._exit(0)

with tempfile.TemporaryDirectory() as folder:
    lit.Trainer(max_epochs=1, accelerator="cpu", default_root_dir=folder).fit(Digits(), data(torch))
raise SystemExit("no step was taken")
"""


def run(program: str) -> str:
    """Run a program in a fresh interpreter and return what it printed."""
    # As users have it: an installed package has its bytecode beside it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"a measured program failed:\n{done.stderr}")
    return done.stdout


def first_step(torch: ModuleType) -> Callable[[], str]:
    """A fresh process that trains the digits network with a Trainer's defaults and ends after the first batch."""
    program = FIRST_STEP.format(torch=torch.__name__, trainer=TRAINERS[torch.__name__])
    return lambda: run(program)
