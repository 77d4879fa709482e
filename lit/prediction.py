"""The prediction loop: batch by batch, kept or streamed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import engine
from engine.utils.data import DataLoader, SequentialSampler
from lit.evaluation import BatchLoop
from lit.transfer import move_data_to_device

if TYPE_CHECKING:
    from lit.trainer import Trainer


class PredictionLoop(BatchLoop):
    """One pass over the prediction loaders, keeping what ``predict_step`` returns."""

    def __init__(self, trainer: Trainer) -> None:
        super().__init__(trainer, "predict", "predict", "predict_step")
        self.return_predictions = True
        self.keep_predictions = False  # a callback wants ``predictions`` in on_predict_epoch_end of this run
        self._kept: list[list[Any]] = []

    @property
    def predictions(self) -> list[Any]:
        """What was kept so far: a list over batches, or a list of such lists when there are several loaders."""
        return self._kept[0] if len(self._kept) == 1 else self._kept

    def batch_indices(self, batch_idx: int, dataloader_idx: int) -> list[int] | None:
        """Positions in the dataset of one batch's samples, or None where the loader does not read it in order."""
        assert self.data.loaders is not None
        loader = self.data.loaders.flattened[dataloader_idx]
        size = getattr(loader, "batch_size", None)
        if not isinstance(loader, DataLoader) or size is None or not isinstance(loader.sampler, SequentialSampler):
            return None
        return list(range(batch_idx * size, min((batch_idx + 1) * size, len(loader.sampler))))

    @property
    def epoch_batch_indices(self) -> list[Any]:
        """``batch_indices`` of every kept batch: a list over the loaders, of one if there is one, of lists over batches."""
        return [
            [self.batch_indices(batch_idx, dataloader_idx) for batch_idx in range(len(kept))]
            for dataloader_idx, kept in enumerate(self._kept)
        ]

    def run(self) -> list[Any] | None:
        """The predictions of all batches: a list, or a list per loader when there are several."""
        if self.trainer.limit_predict_batches == 0:
            return None
        self.keep_predictions |= self.return_predictions
        try:
            for _ in self.stream():
                pass
            return self.predictions if self.return_predictions else None
        finally:
            self._kept, self.keep_predictions = [], False

    def stream(self) -> Iterator[Any]:
        """The predictions of each batch, on the CPU. They are kept only where somebody asked for that.

        Whoever stops early (``break``, ``close``) ends the loop in order. Gradients are off while the loop works, and
        as they were while the caller does.
        """
        if self.trainer.limit_predict_batches == 0:
            return
        self.data.setup()
        assert self.data.loaders is not None
        if self.data.loaders.mode != "sequential":
            raise ValueError("Trainer.predict(...): expected CombinedLoader(mode='sequential').")
        with self._grad_mode():
            self._prepare()
            mode = self._enter_eval_mode()
            self.call("start")
            self.call("epoch_start")
        self._kept = [[] for _ in self.data.max_batches]
        outputs = self._outputs()
        while True:
            with self._grad_mode():
                found = next(outputs, None)
            if found is None:
                break
            predictions = move_data_to_device(found[0], engine.device("cpu"))
            if self.keep_predictions:
                self._kept[found[1]].append(predictions)
            try:
                yield predictions
            except GeneratorExit:  # the caller has seen enough
                break
        with self._grad_mode():
            self.call("epoch_end")
            self.call("end")
        self._leave_eval_mode(mode)
