"""The smallest module and datamodule with everything, for any library with Lightning's names."""

from __future__ import annotations

from typing import Any

QUIET = {
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
    "accelerator": "cpu",
}


def loaders_of(torch: Any) -> type:
    """All four loaders, over 64 rows of ones."""

    class Loaders:
        def _loader(self) -> Any:
            return torch.utils.data.DataLoader(torch.ones(64, 4))

        train_dataloader = val_dataloader = test_dataloader = predict_dataloader = _loader

    return Loaders


def boring_module(library: Any, torch: Any) -> type:
    """A module with every step, one optimizer and a scheduler per epoch."""

    class Boring(loaders_of(torch), library.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            return self.layer(x)

        def loss(self, batch: Any) -> Any:
            return (self(batch) ** 2).mean()

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return {"loss": self.loss(batch)}

        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            return {"x": self.loss(batch)}

        def test_step(self, batch: Any, batch_idx: int) -> Any:
            return {"y": self.loss(batch)}

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.layer.parameters(), lr=0.1)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, step_size=1)]

    return Boring


def boring_datamodule(library: Any, torch: Any) -> type:
    """A datamodule with every loader and a state."""

    class BoringData(loaders_of(torch), library.LightningDataModule):  # type: ignore[misc]
        def state_dict(self) -> dict[str, Any]:
            return {"position": 1}

    return BoringData
