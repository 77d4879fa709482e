"""BasePredictionWriter: predictions go to disk instead of piling up in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from callbacks.base import Callback
from callbacks.exceptions import MisconfigurationException

if TYPE_CHECKING:
    from lit import LightningModule, Trainer

INTERVALS = ("batch", "epoch", "batch_and_epoch")


class BasePredictionWriter(Callback):
    """Subclass it and override ``write_on_batch_end``, ``write_on_epoch_end`` or both.

    Args:
        write_interval: ``"batch"``, ``"epoch"`` or ``"batch_and_epoch"``: which of the two is called.
            With ``"batch"``, ``Trainer.predict(return_predictions=False)`` holds one batch at a time.

    Raises:
        MisconfigurationException: ``write_interval`` is none of these.

    Example:
        >>> from callbacks import BasePredictionWriter
        >>> class Printer(BasePredictionWriter):
        ...     def write_on_batch_end(self, trainer, pl_module, prediction, batch_indices, *batch_and_indices):
        ...         print(batch_indices, prediction.tolist())
        >>> class Double(pl.LightningModule):
        ...     def predict_step(self, batch, batch_idx):
        ...         return batch * 2
        >>> loader = torch.utils.data.DataLoader(torch.arange(3), batch_size=2)
        >>> options = dict(logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu")
        >>> trainer = pl.Trainer(callbacks=[Printer("batch")], **options)
        >>> trainer.predict(Double(), loader, return_predictions=False)
        [0, 1] [0, 2]
        [2] [4]
    """

    def __init__(self, write_interval: Literal["batch", "epoch", "batch_and_epoch"] = "batch") -> None:
        super().__init__()
        if write_interval not in INTERVALS:
            raise MisconfigurationException(
                f"{type(self).__name__}(write_interval={write_interval!r}): expected one of"
                f" {', '.join(map(repr, INTERVALS))}."
            )
        self.interval = write_interval

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Write one batch's ``prediction``.

        ``batch_indices`` are the samples' positions in the dataset, or None where the loader does not read in order.

        Raises:
            NotImplementedError: the subclass does not override it.
        """
        raise NotImplementedError(f"{type(self).__name__}: override `write_on_batch_end`.")

    def write_on_epoch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        predictions: Sequence[Any],
        batch_indices: Sequence[Any],
    ) -> None:
        """Write all ``predictions``: a list over batches, or a list of such lists when there are several loaders.

        ``batch_indices`` is always a list over the loaders, of lists over batches.

        Raises:
            NotImplementedError: the subclass does not override it.
        """
        raise NotImplementedError(f"{type(self).__name__}: override `write_on_epoch_end`.")

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Ask the loop to keep the predictions if they are wanted at the end."""
        if stage == "predict" and self.interval != "batch":
            trainer.predict_loop.keep_predictions = True

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write this batch."""
        if self.interval != "epoch":
            indices = trainer.predict_loop.batch_indices(batch_idx, dataloader_idx)
            self.write_on_batch_end(trainer, pl_module, outputs, indices, batch, batch_idx, dataloader_idx)

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write everything."""
        if self.interval != "batch":
            loop = trainer.predict_loop
            self.write_on_epoch_end(trainer, pl_module, loop.predictions, loop.epoch_batch_indices)
