"""Loaders that are asked for anew each epoch draw from the random numbers what Lightning's draw."""

from __future__ import annotations

from typing import Any

import pytest

import engine
import lit


def batches_seen(library: Any, lightning: Any, every: int, directory: Any) -> list:
    """The shuffled batches of three epochs, each with a random number drawn beside it."""
    seen: list = []

    class Model(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = library.nn.Linear(1, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            seen.append((batch.flatten().tolist(), library.rand(()).item()))
            return self.layer(batch).sum()

        def train_dataloader(self) -> Any:
            return library.utils.data.DataLoader(library.arange(6.0).reshape(6, 1), 2, shuffle=True)

        def configure_optimizers(self) -> Any:
            return library.optim.SGD(self.parameters(), 0.1)

    lightning.seed_everything(3)
    lightning.Trainer(max_epochs=3, reload_dataloaders_every_n_epochs=every, accelerator="cpu", devices=1, logger=False,
                      enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
                      default_root_dir=directory).fit(Model())
    return seen


@pytest.mark.parametrize("every", [0, 1, 2])
@pytest.mark.filterwarnings("ignore")
def test_batches_and_random_numbers(every: int, tmp_path: Any) -> None:
    torch = pytest.importorskip("torch")
    lightning = pytest.importorskip("lightning.pytorch")
    assert batches_seen(engine, lit, every, tmp_path) == batches_seen(torch, lightning, every, tmp_path)
