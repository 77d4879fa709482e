"""The base class of progress bars: what there is to show, and nothing about how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callbacks.base import Callback

if TYPE_CHECKING:
    from lit import LightningModule, Trainer


class ProgressBar(Callback):
    """Totals, descriptions and metrics for a progress bar. Subclass it to show them your way.

    Example:
        >>> from callbacks import ProgressBar
        >>> class Percent(ProgressBar):
        ...     def disable(self):
        ...         self.on_train_batch_end = lambda *args: None
        ...     def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        ...         print(f"{(batch_idx + 1) / self.total_train_batches:.0%}")
        >>> Percent().train_description
        'Training'
    """

    role = "progress_bar"

    def __init__(self) -> None:
        self._trainer: Trainer | None = None
        self._current_eval_dataloader_idx: int | None = None

    @property
    def trainer(self) -> Trainer:
        """The Trainer whose progress is shown.

        Raises:
            TypeError: no run has started yet.
        """
        if self._trainer is None:
            raise TypeError(f"{type(self).__name__}.trainer: no Trainer has started a run with this progress bar yet.")
        return self._trainer

    # ------------------------------------------------------------------ descriptions

    @property
    def sanity_check_description(self) -> str:
        """Text in front of the bar in the sanity check."""
        return "Sanity Checking"

    @property
    def train_description(self) -> str:
        """Text in front of the bar before the first training epoch."""
        return "Training"

    @property
    def validation_description(self) -> str:
        """Text in front of the bar in validation."""
        return "Validation"

    @property
    def test_description(self) -> str:
        """Text in front of the bar in a test."""
        return "Testing"

    @property
    def predict_description(self) -> str:
        """Text in front of the bar in prediction."""
        return "Predicting"

    # ------------------------------------------------------------------ totals; infinite loaders give inf

    @property
    def total_train_batches(self) -> int | float:
        """Batches in this training epoch."""
        trainer = self.trainer
        if trainer.max_epochs == -1 and trainer.max_steps > 0:
            return min(trainer.num_training_batches, trainer.max_steps - trainer.global_step)
        return trainer.num_training_batches

    @property
    def total_val_batches_current_dataloader(self) -> int | float:
        """Batches of the validation loader in use, in the sanity check those that are checked."""
        trainer = self.trainer
        return self._of_current(trainer.num_sanity_val_batches if trainer.sanity_checking else trainer.num_val_batches)

    @property
    def total_test_batches_current_dataloader(self) -> int | float:
        """Batches of the test loader in use."""
        return self._of_current(self.trainer.num_test_batches)

    @property
    def total_predict_batches_current_dataloader(self) -> int | float:
        """Batches of the prediction loader in use."""
        return self._of_current(self.trainer.num_predict_batches)

    @property
    def total_val_batches(self) -> int | float:
        """Batches of all validation loaders together; 0 if this epoch has no validation."""
        trainer = self.trainer
        every = trainer.check_val_every_n_epoch
        runs = every is None or (trainer.current_epoch + 1) % every == 0
        return sum(trainer.num_val_batches) if runs else 0

    def _evaluation(self, trainer: Trainer) -> tuple[str, str, int | float]:
        """Of the evaluation that runs: its kind, the text in front of its bar, and the batches of the loader in use."""
        if trainer.state.fn == "test":
            return "test", self.test_description, self.total_test_batches_current_dataloader
        if trainer.state.fn == "predict":
            return "predict", self.predict_description, self.total_predict_batches_current_dataloader
        sanity = trainer.sanity_checking
        description = self.sanity_check_description if sanity else self.validation_description
        return "sanity" if sanity else "val", description, self.total_val_batches_current_dataloader

    def _of_current(self, batches: list[int | float]) -> int | float:
        return batches[self._current_eval_dataloader_idx or 0]

    def has_dataloader_changed(self, dataloader_idx: int) -> bool:
        """Whether this is another loader than in the last call; remembers it."""
        before, self._current_eval_dataloader_idx = self._current_eval_dataloader_idx, dataloader_idx
        return before != dataloader_idx

    def reset_dataloader_idx_tracker(self) -> None:
        """Forget which loader was in use."""
        self._current_eval_dataloader_idx = None

    # ------------------------------------------------------------------ what a subclass gives

    def disable(self) -> None:
        """Show nothing from now on."""
        raise NotImplementedError(
            f"{type(self).__name__}.disable() is missing: a progress bar needs a way to be quiet."
        )

    def enable(self) -> None:
        """Show progress again."""
        raise NotImplementedError(f"{type(self).__name__}.enable() is missing: it takes back what disable() does.")

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print without breaking the bar."""
        print(*args, **kwargs)

    # ------------------------------------------------------------------ what is shown

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remember the Trainer; only the first process shows a bar."""
        self._trainer = trainer
        if not trainer.is_global_zero:
            self.disable()

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, int | str | float]:
        """What stands behind the bar: the logger's version, and what was logged with ``prog_bar=True``.

        Override it to add to this or take from it.
        """
        return {**_version_number(trainer), **trainer.progress_bar_metrics}


class DrawnProgressBar(ProgressBar):
    """A bar that is drawn at a rate, and can be switched off: by ``disable``, or by a rate of 0."""

    def __init__(self, refresh_rate: int) -> None:
        super().__init__()
        self._refresh_rate, self._enabled = refresh_rate, True

    @property
    def refresh_rate(self) -> int:
        """As given; 0 shows nothing."""
        return self._refresh_rate

    @property
    def is_enabled(self) -> bool:
        """Whether anything is shown."""
        return self._enabled and self._refresh_rate > 0

    @property
    def is_disabled(self) -> bool:
        """Whether nothing is shown."""
        return not self.is_enabled

    def disable(self) -> None:
        """Show nothing from the next bar on."""
        self._enabled = False

    def enable(self) -> None:
        """Show progress again, from the next bar on."""
        self._enabled = True


def _version_number(trainer: Trainer) -> dict[str, int | str]:
    version = trainer.loggers[0].version if trainer.loggers else None
    if version in ("", None):
        return {}
    return {"v_num": version[-4:] if isinstance(version, str) else version}
