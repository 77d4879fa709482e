"""In a real Jupyter kernel: the bar, fit twice, and an interrupt that leaves the Trainer usable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).resolve().parents[2]
CELLS = [
    f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
import engine as torch, lit as pl
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
    def training_step(self, batch, batch_idx):
        loss = self.layer(batch).pow(2).mean()
        self.log("loss", loss, prog_bar=True)
        return loss
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)
loader = torch.utils.data.DataLoader(torch.ones(8, 1), batch_size=2)
model = Net()
trainer = pl.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, log_every_n_steps=1)
""",
    "trainer.fit(model, loader); print('STEPS', trainer.global_step)",
    "trainer.fit_loop.max_epochs = 2; trainer.fit(model, loader); print('STEPS', trainer.global_step)",
    """
class Interrupts(pl.Callback):
    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == 10:
            import os, signal
            os.kill(os.getpid(), signal.SIGINT)  # what the stop button does
trainer.callbacks.append(Interrupts()); trainer.fit_loop.max_epochs = 5
try:
    trainer.fit(model, loader)
except BaseException as error:
    print('ENDED', type(error).__name__)
print('INTERRUPTED', trainer.interrupted)
""",
    "trainer.callbacks.pop(); trainer.fit_loop.max_epochs = 4; trainer.fit(model, loader);"
    " print('STEPS', trainer.global_step, trainer.interrupted)",
]


def text_of(cell: Any) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


def test_a_notebook(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    _, first, second, interrupted, last = notebook.cells
    assert "STEPS 4" in text_of(first) and "Trainable params" in text_of(first)
    assert text_of(first).count("\n") < 40  # the bar does not print a line per update
    assert "100%" in text_of(first) or any(output.output_type == "display_data" for output in first.outputs)
    assert "STEPS 8" in text_of(second)
    assert "ENDED" in text_of(interrupted) and "INTERRUPTED True" in text_of(interrupted)
    assert "STEPS 1" in text_of(last) and "False" in text_of(last)
