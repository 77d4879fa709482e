"""The data hooks that modules and datamodules share, each one doing nothing or the ordinary thing."""

from __future__ import annotations

from typing import Any

import engine
from callbacks import MisconfigurationException
from lit.transfer import move_data_to_device


class DataHooks:
    """Loaders and batch transfer. A loader hook that is not overridden raises when it is needed."""

    prepare_data_per_node: bool = True

    def prepare_data(self) -> None:
        """Download and write to disk, once; assign nothing to ``self`` here."""

    def setup(self, stage: str) -> None:
        """A run begins; ``stage`` is "fit", "validate", "test" or "predict"."""

    def teardown(self, stage: str) -> None:
        """A run ended; ``stage`` is "fit", "validate", "test" or "predict"."""

    def train_dataloader(self) -> Any:
        """An iterable over training batches, or a list or dict of them."""
        raise MisconfigurationException("`train_dataloader` must be implemented to be used with the Trainer.")

    def val_dataloader(self) -> Any:
        """An iterable over validation batches, or a list of them."""
        raise MisconfigurationException("`val_dataloader` must be implemented to be used with the Trainer.")

    def test_dataloader(self) -> Any:
        """An iterable over test batches, or a list of them."""
        raise MisconfigurationException("`test_dataloader` must be implemented to be used with the Trainer.")

    def predict_dataloader(self) -> Any:
        """An iterable over batches to predict, or a list of them."""
        raise MisconfigurationException("`predict_dataloader` must be implemented to be used with the Trainer.")

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Change a batch before it goes to the device; returns it."""
        return batch

    def transfer_batch_to_device(self, batch: Any, device: engine.device, dataloader_idx: int) -> Any:
        """Move a batch to ``device``; override it for batch types of your own."""
        return move_data_to_device(batch, device)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Change a batch on the device (augmentation); returns it."""
        return batch
