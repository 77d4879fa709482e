"""WeightAveraging and EMAWeightAveraging: validate, and end up, with an average of the weights along the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from callbacks.averaged_weights import AveragedWeights
from callbacks.base import Callback

if TYPE_CHECKING:
    import engine
    from callbacks.base import StepOutput
    from engine import Tensor
    from lit import LightningModule, Trainer


class WeightAveraging(Callback):
    """Keep an average of the module's weights: validated, written to checkpoints, and left in the module at the end.

    A checkpoint's ``state_dict`` is the average, so that tests and predictions use it; the weights in training are
    beside it under ``current_model_state``, and a resumed run takes both back exactly. Until the first update nothing
    is exchanged. Override ``should_update`` to choose the moments.

    Args:
        device: where the average is kept; None for the module's own device.
        use_buffers: whether buffers of floating point (batch norm's statistics) are averaged too; otherwise, and for
            integer buffers, the current value is used.
        avg_fn: ``avg_fn(averaged, current, num_averaged)`` gives the new average, elementwise; None is the mean of all.

    Raises:
        TypeError: another keyword.

    Example:
        >>> from callbacks import WeightAveraging
        >>> class EveryTenSteps(WeightAveraging):
        ...     def should_update(self, step_idx=None, epoch_idx=None):
        ...         return step_idx is not None and step_idx % 10 == 0
        >>> EveryTenSteps().should_update(step_idx=20)
        True
    """

    def __init__(
        self,
        device: engine.device | str | int | None = None,
        use_buffers: bool = True,
        *,
        avg_fn: Callable[[Tensor, Tensor, int], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self._average = AveragedWeights(device, use_buffers, avg_fn)
        self._latest_update_step = 0
        self._latest_update_epoch = -1
        self._swapped = False
        self._has_ended = False

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Whether to update after optimizer step ``step_idx`` or epoch ``epoch_idx`` (0-based): after every step."""
        return step_idx is not None

    # ------------------------------------------------------------------ updates

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: StepOutput, batch: Any, batch_idx: int
    ) -> None:
        """Update after an optimizer step; while gradients accumulate there is none."""
        step = trainer.global_step
        if step != self._latest_update_step and self.should_update(step_idx=step - 1):
            self._average.update(pl_module)
            self._latest_update_step = step

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Update after an epoch."""
        epoch = trainer.current_epoch
        if epoch > self._latest_update_epoch and self.should_update(epoch_idx=epoch):
            self._average.update(pl_module)
            self._latest_update_epoch = epoch

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the average in the module."""
        self._has_ended = True
        if self._average.count:
            self._average.copy_to(pl_module)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training has yet to end."""
        self._has_ended = False

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A run that goes on from the checkpoint of its last epoch has no ``on_train_end``."""
        if not self._has_ended:
            self.on_train_end(trainer, pl_module)

    # ------------------------------------------------------------------ validation with the average

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average into the module."""
        if trainer.state.fn == "fit" and self._average.count and not self._swapped:
            self._swap(pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the weights in training back."""
        self._swap_back(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """A validation that broke left the average in the module."""
        self._swap_back(pl_module)

    def _swap(self, pl_module: LightningModule) -> None:
        self._average.exchange(pl_module)
        self._swapped = not self._swapped

    def _swap_back(self, pl_module: LightningModule) -> None:
        if self._swapped:
            self._swap(pl_module)

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """When the last update was."""
        return {"latest_update_step": self._latest_update_step, "latest_update_epoch": self._latest_update_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back when the last update was."""
        self._latest_update_step = state_dict["latest_update_step"]
        self._latest_update_epoch = state_dict["latest_update_epoch"]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Make the average the checkpoint's ``state_dict``."""
        if not self._average.count:
            return
        present, kept = checkpoint["state_dict"], self._average.merged_into(checkpoint["state_dict"])
        training, average = (kept, present) if self._swapped else (present, kept)
        checkpoint["current_model_state"], checkpoint["state_dict"] = training, average
        inside = checkpoint["loops"]["fit_loop"]["progress"]["point"] == "validating"
        checkpoint["averaging_state"] = {"n_averaged": self._average.count, "swapped": inside and self._swapped}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take the average and, in ``fit``, the weights in training back."""
        if trainer.state.fn != "fit" or "current_model_state" not in checkpoint:
            return
        pl_module.load_state_dict(checkpoint["current_model_state"])
        self._average.load(pl_module, checkpoint["state_dict"], checkpoint["averaging_state"]["n_averaged"])
        if checkpoint["averaging_state"].get("swapped"):  # the run goes on inside a validation
            self._swap(pl_module)


class EMAWeightAveraging(WeightAveraging):
    """Keep an exponential moving average: ``decay * average + (1 - decay) * weights``.

    Args:
        device, use_buffers: as in ``WeightAveraging``.
        decay: weight of the old average, from 0 to 1.
        update_every_n_steps: update after every n-th optimizer step.
        update_starting_at_step: no updates before this step (0-based).
        update_starting_at_epoch: update at the end of each epoch from this one on; None never does.

    Raises:
        ValueError: ``decay`` is not between 0 and 1.

    Example:
        >>> from callbacks import EMAWeightAveraging
        >>> ema = EMAWeightAveraging(decay=0.99, update_every_n_steps=2, update_starting_at_step=10)
        >>> [ema.should_update(step_idx=step) for step in (8, 10, 11)]
        [False, True, False]
    """

    def __init__(
        self,
        device: engine.device | str | int | None = None,
        use_buffers: bool = True,
        decay: float = 0.999,
        update_every_n_steps: int = 1,
        update_starting_at_step: int | None = None,
        update_starting_at_epoch: int | None = None,
    ) -> None:
        if not 0.0 <= decay <= 1.0:
            raise ValueError(f"EMAWeightAveraging(decay={decay!r}): expected a number from 0 to 1.")
        super().__init__(device, use_buffers, avg_fn=lambda average, current, _: average.lerp_(current, 1 - decay))
        self.decay = decay
        self.update_every_n_steps = update_every_n_steps
        self.update_starting_at_step = update_starting_at_step
        self.update_starting_at_epoch = update_starting_at_epoch

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Whether the arguments of this callback ask for an update now."""
        if step_idx is not None:
            started = self.update_starting_at_step is None or step_idx >= self.update_starting_at_step
            return started and self.update_every_n_steps > 0 and step_idx % self.update_every_n_steps == 0
        first = self.update_starting_at_epoch
        return epoch_idx is not None and first is not None and epoch_idx >= first
