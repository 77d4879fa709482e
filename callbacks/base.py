"""The base class of every callback: all hooks, each one doing nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from engine import Tensor
    from engine.optim import Optimizer
    from lit import LightningModule, Trainer

    StepOutput = Tensor | Mapping[str, Any] | None


class Callback:
    """Self-contained behaviour that the Trainer runs at named moments (hooks).

    Subclass it and override the hooks you need. The Trainer collects the overridden hooks when a run starts,
    so a hook that nobody overrides costs nothing.

    The class attributes tell the Trainer what a callback *is*; the Trainer knows no concrete callback:

    - ``monitoring``: its ``on_train_epoch_end`` runs after the module's, so that it sees what the module logs there.
    - ``runs_first`` / ``runs_last``: it is moved to the front / the back of the callback list.
    - ``role``: ``"checkpoint"``, ``"early_stopping"``, ``"progress_bar"``, ``"model_summary"``, ``"timer"`` or None;
      ``trainer.checkpoint_callback`` and its siblings find a callback by its role.

    Example:
        >>> from callbacks import Callback
        >>> class Greeter(Callback):
        ...     def on_train_start(self, trainer, pl_module):
        ...         print("training starts")
        >>> Greeter().on_train_start(trainer=None, pl_module=None)
        training starts
        >>> Greeter().state_key
        'Greeter'
    """

    monitoring: ClassVar[bool] = False
    runs_first: ClassVar[bool] = False
    runs_last: ClassVar[bool] = False
    role: ClassVar[str | None] = None

    # ------------------------------------------------------------------ state in checkpoints

    @property
    def state_key(self) -> str:
        """Name under which a checkpoint keeps this callback's state; unique per instance that must keep its own."""
        return type(self).__qualname__

    def _generate_state_key(self, **kwargs: Any) -> str:
        """A state key made of the class name and the settings that tell two instances apart."""
        return f"{type(self).__qualname__}{kwargs!r}"

    def state_dict(self) -> dict[str, Any]:
        """State to keep in a checkpoint (plain containers, numbers, strings, arrays); empty by default."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what ``state_dict`` returned when the checkpoint was written."""

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """A checkpoint is about to be written; ``checkpoint`` may be changed in place."""

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """A checkpoint was read; ``checkpoint`` is its whole content."""

    # ------------------------------------------------------------------ a run as a whole

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """A run begins; ``stage`` is "fit", "validate", "test" or "predict"."""

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """A run ended; ``stage`` is "fit", "validate", "test" or "predict"."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """``fit`` begins, after the optimizers were configured."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """``fit`` ended without an exception."""

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The few validation batches before training begin."""

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The few validation batches before training ended."""

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """``exception`` (KeyboardInterrupt included) is ending the run."""

    # ------------------------------------------------------------------ training

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training begins, after the sanity check."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training ended."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A training epoch begins."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A training epoch ended."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """A training batch begins; ``batch`` is already on the device."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: StepOutput, batch: Any, batch_idx: int
    ) -> None:
        """A training batch ended; ``outputs`` is what ``training_step`` returned."""

    def on_before_zero_grad(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Gradients are about to be cleared."""

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """``loss.backward()`` comes next."""

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gradients are there, the optimizer has not stepped."""

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """The optimizer's step comes next; gradients are unscaled but not clipped."""

    # ------------------------------------------------------------------ validation

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A validation loop begins (in the sanity check too: see ``trainer.sanity_checking``)."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A validation loop ended; its metrics are in ``trainer.callback_metrics``."""

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A validation epoch begins."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A validation epoch ended; its metrics are not reduced yet."""

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """A validation batch begins."""

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: StepOutput,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """A validation batch ended."""

    # ------------------------------------------------------------------ test

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A test loop begins."""

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A test loop ended."""

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A test epoch begins."""

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A test epoch ended."""

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """A test batch begins."""

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: StepOutput,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """A test batch ended."""

    # ------------------------------------------------------------------ predict

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A prediction loop begins."""

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A prediction loop ended."""

    def on_predict_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A prediction epoch begins."""

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A prediction epoch ended."""

    def on_predict_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """A prediction batch begins."""

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """A prediction batch ended."""
