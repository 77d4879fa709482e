"""The hooks of a LightningModule with their defaults. Most do nothing; the others do the ordinary thing.

Names, receivers, arguments and logging rules are in ``lit/hooks.py``; docs/hooks.md shows what runs when.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from callbacks import Callback, MisconfigurationException

if TYPE_CHECKING:
    import engine
    from engine.optim import Optimizer


def _missing(step: str) -> MisconfigurationException:
    return MisconfigurationException(f"`{step}` is not implemented in this LightningModule. HINT: define it.")


class ModelHooks:
    """What the Trainer calls on a module."""

    # ------------------------------------------------------------------ steps and configuration

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the loss of one batch; returns it, or a dict with "loss" in it, or None to skip the batch."""
        raise _missing("training_step")

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate one validation batch; the result goes to the batch-end hooks."""
        raise _missing("validation_step")

    def test_step(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate one test batch; the result goes to the batch-end hooks."""
        raise _missing("test_step")

    def predict_step(self, *args: Any, **kwargs: Any) -> Any:
        """Predict one batch; calls ``self(batch)`` by default."""
        batch = kwargs.get("batch", args[0] if args else None)
        return self(batch)  # type: ignore[operator]

    def configure_optimizers(self) -> Any:
        """The optimizers and schedulers to train with (see ``lit/optimizers.py`` for the forms)."""
        raise _missing("configure_optimizers")

    def configure_callbacks(self) -> Sequence[Callback] | Callback:
        """Callbacks that this module brings along; they replace those of the same type in the Trainer."""
        return []

    def configure_model(self) -> None:
        """Build large layers here, on the right device and in the right dtype; must do nothing the second time."""

    # ------------------------------------------------------------------ the optimizer step

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Step ``optimizer``; ``optimizer_closure`` runs training_step, zero_grad and backward and must be called."""
        optimizer.step(closure=optimizer_closure)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        """Clear the gradients."""
        optimizer.zero_grad()

    def backward(self, loss: engine.Tensor, *args: Any, **kwargs: Any) -> None:
        """Compute the gradients of ``loss``."""
        loss.backward(*args, **kwargs)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradients as the Trainer's flags say."""
        self.clip_gradients(  # type: ignore[attr-defined]
            optimizer, gradient_clip_val=gradient_clip_val, gradient_clip_algorithm=gradient_clip_algorithm
        )

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step ``scheduler``; ``metric`` is the monitored value, or None."""
        if metric is None:
            scheduler.step()
        else:
            scheduler.step(metric)

    # ------------------------------------------------------------------ training

    def on_fit_start(self) -> None:
        """``fit`` begins, after the optimizers were configured."""

    def on_fit_end(self) -> None:
        """``fit`` ended without an exception."""

    def on_train_start(self) -> None:
        """Training begins, after the sanity check."""

    def on_train_end(self) -> None:
        """Training ended."""

    def on_train_epoch_start(self) -> None:
        """A training epoch begins."""

    def on_train_epoch_end(self) -> None:
        """A training epoch ended, and the validation at its end too."""

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        """A training batch begins; return -1 to skip the rest of the epoch."""

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """A training batch ended; ``outputs`` is what ``training_step`` returned."""

    def on_before_zero_grad(self, optimizer: Optimizer) -> None:
        """Gradients are about to be cleared."""

    def on_before_backward(self, loss: engine.Tensor) -> None:
        """``loss.backward()`` comes next."""

    def on_after_backward(self) -> None:
        """Gradients are there, the optimizer has not stepped."""

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """The optimizer's step comes next; gradients are unscaled but not clipped."""

    # ------------------------------------------------------------------ validation

    def on_validation_model_zero_grad(self) -> None:
        """Gradients are cleared before validation inside ``fit``, to free their memory."""
        self.zero_grad()  # type: ignore[attr-defined]

    def on_validation_model_eval(self) -> None:
        """Switch to eval mode."""
        self.eval()  # type: ignore[attr-defined]

    def on_validation_model_train(self) -> None:
        """Switch back; if not overridden, each submodule gets the mode it had before."""
        self.train()  # type: ignore[attr-defined]

    def on_validation_start(self) -> None:
        """A validation loop begins."""

    def on_validation_end(self) -> None:
        """A validation loop ended."""

    def on_validation_epoch_start(self) -> None:
        """A validation epoch begins."""

    def on_validation_epoch_end(self) -> None:
        """A validation epoch ended; log what you gathered over it here."""

    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """A validation batch begins."""

    def on_validation_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """A validation batch ended; ``outputs`` is what ``validation_step`` returned."""

    # ------------------------------------------------------------------ test

    def on_test_model_eval(self) -> None:
        """Switch to eval mode."""
        self.eval()  # type: ignore[attr-defined]

    def on_test_model_train(self) -> None:
        """Switch back; if not overridden, each submodule gets the mode it had before."""
        self.train()  # type: ignore[attr-defined]

    def on_test_start(self) -> None:
        """A test loop begins."""

    def on_test_end(self) -> None:
        """A test loop ended."""

    def on_test_epoch_start(self) -> None:
        """A test epoch begins."""

    def on_test_epoch_end(self) -> None:
        """A test epoch ended; log what you gathered over it here."""

    def on_test_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """A test batch begins."""

    def on_test_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """A test batch ended; ``outputs`` is what ``test_step`` returned."""

    # ------------------------------------------------------------------ predict

    def on_predict_model_eval(self) -> None:
        """Switch to eval mode."""
        self.eval()  # type: ignore[attr-defined]

    def on_predict_start(self) -> None:
        """A prediction loop begins."""

    def on_predict_end(self) -> None:
        """A prediction loop ended."""

    def on_predict_epoch_start(self) -> None:
        """A prediction epoch begins."""

    def on_predict_epoch_end(self) -> None:
        """A prediction epoch ended."""

    def on_predict_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """A prediction batch begins."""

    def on_predict_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """A prediction batch ended; ``outputs`` is what ``predict_step`` returned."""

    # ------------------------------------------------------------------ checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A checkpoint is about to be written; ``checkpoint`` may be changed in place."""

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A checkpoint was read; ``checkpoint`` is its whole content."""
