"""Small models and data that the lit tests share."""

from __future__ import annotations

from typing import Any

import engine as torch
import lit as pl
from engine import nn
from engine.utils.data import DataLoader, TensorDataset

QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
}


def quiet_trainer(**flags: Any) -> pl.Trainer:
    """A Trainer on the CPU that writes and prints nothing unless asked to."""
    return pl.Trainer(**{**QUIET, "max_epochs": 1, **flags})


def rows(count: int = 12) -> TensorDataset:
    """``count`` rows of four numbers with a target that a linear layer can learn."""
    x = torch.arange(count * 4, dtype=torch.float32).reshape(count, 4) / (count * 4)
    return TensorDataset(x, x.sum(1, keepdim=True))


def loader(count: int = 12, batch_size: int = 3, **options: Any) -> DataLoader:
    return DataLoader(rows(count), batch_size=batch_size, **options)


class Net(pl.LightningModule):
    """Linear regression that logs its loss; ``losses`` keeps it for every training batch."""

    def __init__(self, lr: float = 0.1, dropout: float = 0.0) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = nn.Linear(4, 1)
        self.drop = nn.Dropout(dropout)
        self.losses: list[float] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.drop(x))

    def loss(self, batch: Any) -> torch.Tensor:
        x, y = batch
        return nn.functional.mse_loss(self(x), y)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self.loss(batch)
        self.losses.append(loss.item())
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.loss(batch))

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test_loss", self.loss(batch))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)


class MemoryLogger(pl.loggers.Logger):
    """Keeps what it is told."""

    name, version = "memory", 0

    def __init__(self) -> None:
        self.metrics: list[tuple[int, dict[str, float]]] = []
        self.hparams: dict[str, Any] = {}
        self.status: str | None = None
        self.saves = 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert step is not None
        self.metrics.append((step, dict(metrics)))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.hparams = dict(params)

    def save(self) -> None:
        self.saves += 1

    def finalize(self, status: str) -> None:
        self.status = status

    def values(self, name: str) -> list[tuple[int, float]]:
        """(step, value) of every time ``name`` was logged."""
        return [(step, metrics[name]) for step, metrics in self.metrics if name in metrics]
