"""A small module and its data, for runs that log."""

from __future__ import annotations

import engine as torch
import lit as pl
from engine import nn


class Model(pl.LightningModule):
    """Logs a training loss and a validation loss; breaks in epoch 9."""

    def __init__(self, lr: float = 0.25, hidden: int = 2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Linear(hidden, 1)

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        if self.trainer.current_epoch == 9:
            raise RuntimeError("broken")
        loss = self.net(batch[0]).pow(2).mean()
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        self.log("val_loss", float(self.trainer.current_epoch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)


def loader() -> torch.utils.data.DataLoader:
    """Four batches of one row."""
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 2)), batch_size=1)
