"""StochasticWeightAveraging: the mean of the weights of the last epochs, trained with a learning rate that stays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import engine
from callbacks.averaged_weights import AveragedWeights
from callbacks.base import Callback
from callbacks.exceptions import MisconfigurationException
from engine.nn import BatchNorm1d, BatchNorm2d, BatchNorm3d

if TYPE_CHECKING:
    from engine import Tensor
    from lit import LightningModule, Trainer
    from lit.loop import FitLoop


class StochasticWeightAveraging(Callback):
    """Average the weights after each of the last epochs, and leave the mean in the module when training ends.

    From ``swa_epoch_start`` on the learning rates go to ``swa_lrs`` within ``annealing_epochs`` and stay there; the
    schedulers of ``configure_optimizers`` are out of use from then on. At the end the statistics of batch norm are
    computed anew: one pass over the training batches, each given to ``forward`` (a list or tuple: its first element).
    Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018.

    Args:
        swa_lrs: learning rate of all parameter groups, or a list with one for each.
        swa_epoch_start: first epoch (counted from 1) that is averaged, or, as a float, a share of ``max_epochs``.
        annealing_epochs: epochs in which the learning rate changes; 0 changes it at once.
        annealing_strategy: ``"cos"`` or ``"linear"``.
        avg_fn: ``avg_fn(averaged, current, num_averaged)`` gives the new average, elementwise; None is the mean.
        device: where the average is kept; None for the module's own device.

    Raises:
        MisconfigurationException: an argument is none of these; ``fit`` has several optimizers or no ``max_epochs``.

    Example:
        >>> from callbacks import StochasticWeightAveraging
        >>> swa = StochasticWeightAveraging(swa_lrs=0.25, annealing_epochs=2, annealing_strategy="linear")
        >>> [swa.annealed(start=0.75, end=0.25, epochs=n) for n in (0, 1, 2, 3)]
        [0.75, 0.5, 0.25, 0.25]
    """

    def __init__(
        self,
        swa_lrs: float | list[float],
        swa_epoch_start: int | float = 0.8,
        annealing_epochs: int = 10,
        annealing_strategy: Literal["cos", "linear"] = "cos",
        avg_fn: Callable[[Tensor, Tensor, int], Tensor] | None = None,
        device: engine.device | str | None = "cpu",
    ) -> None:
        super().__init__()
        rates = swa_lrs if isinstance(swa_lrs, (list, tuple)) else [swa_lrs]
        if not rates or not all(isinstance(rate, (int, float)) and rate > 0 for rate in rates):
            raise MisconfigurationException(
                f"StochasticWeightAveraging(swa_lrs={swa_lrs!r}): expected a number above 0, or a list of them."
            )
        is_share = isinstance(swa_epoch_start, float)
        if swa_epoch_start < (0 if is_share else 1) or (is_share and swa_epoch_start > 1):
            raise MisconfigurationException(
                f"StochasticWeightAveraging(swa_epoch_start={swa_epoch_start!r}): expected an epoch (int, 1 or more) or"
                " a share of max_epochs (float from 0.0 to 1.0)."
            )
        if annealing_strategy not in ("cos", "linear"):
            raise MisconfigurationException(
                f"StochasticWeightAveraging(annealing_strategy={annealing_strategy!r}): expected 'cos' or 'linear'."
            )
        self.swa_lrs = swa_lrs
        self.swa_epoch_start = swa_epoch_start
        self.annealing_epochs = annealing_epochs
        self.annealing_strategy = annealing_strategy
        self._average = AveragedWeights(device, use_buffers=False, avg_fn=avg_fn)
        self._first_epoch = 0
        self._has_ended = False
        self._lrs_before: list[float] | None = None  # of each group, when averaging began

    @property
    def swa_start(self) -> int:
        """First epoch (counted from 0) that is averaged."""
        return self._first_epoch

    def annealed(self, start: float, end: float, epochs: int) -> float:
        """Learning rate ``epochs`` epochs after averaging began, on its way from ``start`` to ``end``."""
        share = min(1.0, epochs / self.annealing_epochs) if self.annealing_epochs else 1.0
        if self.annealing_strategy == "cos":
            share = (1 - math.cos(math.pi * share)) / 2
        return start + (end - start) * share if share < 1 else end

    # ------------------------------------------------------------------ hooks

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check what this works with, and find the first epoch."""
        self._has_ended = False
        if len(trainer.optimizers) != 1:
            raise MisconfigurationException(
                "StochasticWeightAveraging works with one optimizer, but `configure_optimizers` returned"
                f" {len(trainer.optimizers)}."
            )
        epochs = trainer.max_epochs
        if epochs is None or epochs < 0:
            raise MisconfigurationException("StochasticWeightAveraging needs Trainer(max_epochs=...).")
        start = self.swa_epoch_start
        self._first_epoch = max(0, (int(epochs * start) if isinstance(start, float) else start) - 1)
        if self._lrs_before is not None:  # resumed while averaging: the schedulers were out of use already
            trainer.lr_scheduler_configs.clear()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the learning rates."""
        if trainer.current_epoch < self._first_epoch:
            return
        groups = trainer.optimizers[0].param_groups
        if self._lrs_before is None:
            self._lrs_before = [float(group["lr"]) for group in groups]
            trainer.lr_scheduler_configs.clear()
        ends = self.swa_lrs if isinstance(self.swa_lrs, (list, tuple)) else [self.swa_lrs] * len(groups)
        if len(ends) != len(groups):
            raise MisconfigurationException(
                f"StochasticWeightAveraging(swa_lrs={self.swa_lrs!r}): the optimizer has {len(groups)} groups."
            )
        for group, start, end in zip(groups, self._lrs_before, ends, strict=True):
            group["lr"] = self.annealed(start, end, trainer.current_epoch - self._first_epoch)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take this epoch's weights into the mean."""
        if trainer.current_epoch >= self._first_epoch:
            self._average.update(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the mean in the module."""
        self._has_ended = True
        if self._average.count:
            self._average.copy_to(pl_module)
            renew_batch_norm(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A run that goes on from the checkpoint of its last epoch has no ``on_train_end``."""
        if not self._has_ended:
            self.on_train_end(trainer, pl_module)

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """The learning rates when averaging began (None: it has not)."""
        return {"lrs_before": self._lrs_before}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what ``state_dict`` returned."""
        self._lrs_before = state_dict["lrs_before"]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the mean so far."""
        if self._average.count:
            mean = self._average.merged_into(checkpoint["state_dict"])
            weights = {name: mean[name] for name, _ in pl_module.named_parameters()}
            checkpoint["averaging_state"] = {"n_averaged": self._average.count, "weights": weights}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take the mean so far back."""
        saved = checkpoint.get("averaging_state")
        if trainer.state.fn == "fit" and saved is not None:
            self._average.load(pl_module, saved["weights"], saved["n_averaged"])


def renew_batch_norm(trainer: Trainer, module: LightningModule) -> None:
    """Compute the running statistics of every batch norm anew, as the mean over the training batches.

    ``training_step`` runs on them without gradients and logs nothing; in manual optimization it would train, so there
    the module itself is called with the first part of each batch. The random streams go on afterwards as if nothing had
    been drawn.
    """
    norms = [m for m in module.modules() if isinstance(m, (BatchNorm1d, BatchNorm2d, BatchNorm3d))]
    norms = [norm for norm in norms if norm.track_running_stats]
    if not norms:
        return
    before = [(norm, norm.momentum) for norm in norms]
    modes = [(inner, inner.training) for inner in module.modules()]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all batches
    module.train()
    try:
        with engine.random.fork_rng(), engine.no_grad(), _without_logging(trainer):
            for index, batch in enumerate(trainer.train_dataloader):
                if index >= trainer.num_training_batches:
                    break
                _pass_through(trainer.fit_loop, module, batch, index)
    finally:
        for norm, momentum in before:
            norm.momentum = momentum
        for inner, training in modes:
            inner.training = training


def _pass_through(loop: FitLoop, module: LightningModule, batch: Any, batch_idx: int) -> None:
    if loop.transfer is not None:
        batch = loop.transfer(batch, 0)
    if module.automatic_optimization:
        loop.call_step(*((batch, batch_idx) if loop.with_batch_idx else (batch,)))
    else:
        module(batch[0] if isinstance(batch, (list, tuple)) else batch)


@contextmanager
def _without_logging(trainer: Trainer) -> Iterator[None]:
    before, trainer.barebones = trainer.barebones, True  # ``self.log`` does nothing then
    try:
        yield
    finally:
        trainer.barebones = before
