"""LearningRateFinder: the learning rate at which the loss falls fastest. ``Tuner.lr_find`` is the same search."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import engine
from callbacks.base import Callback
from callbacks.exceptions import MisconfigurationException
from callbacks.trial import holders_of, set_in, trial

if TYPE_CHECKING:
    from lit import LightningModule, Trainer

SMOOTHING = 0.98  # weight of the past in the running mean of the loss
MODES = ("linear", "exponential")


class LRFinder:
    """What the search has found: ``results`` holds the learning rates under "lr" and the smoothed losses under "loss".

    Example:
        >>> from callbacks.lr_finder import LRFinder
        >>> found = LRFinder({"lr": [0.001, 0.01, 0.02, 0.03, 0.1], "loss": [1.0, 0.9, 0.3, 0.2, 2.0]})
        >>> found.suggestion(skip_begin=0, skip_end=1)
        0.02
    """

    def __init__(self, results: dict[str, list[float]], mode: str = "exponential") -> None:
        self.results, self.mode = results, mode

    def suggestion(self, skip_begin: int = 10, skip_end: int = 1) -> float | None:
        """The learning rate where the loss falls fastest, or None where there are too few finite losses.

        Args:
            skip_begin, skip_end: points at both ends that are left out.
        """
        losses, rates = self.results["loss"], self.results["lr"]
        points = [point for point in range(skip_begin, len(losses) - skip_end) if math.isfinite(losses[point])]
        if len(points) < 2:
            return None
        spacing = engine.tensor([rates[point] for point in points])
        slopes = engine.gradient(engine.tensor([losses[point] for point in points]), spacing=[spacing])[0]
        return rates[points[int(slopes.argmin())]]

    def plot(self, suggest: bool = False, show: bool = False, ax: Any = None) -> Any:
        """Draw the smoothed loss over the learning rate with Matplotlib.

        Args:
            suggest: mark the suggestion.
            show: open a window, or show it in the notebook.
            ax: the axes to draw on; None makes a figure.

        Returns:
            the figure.

        Raises:
            MisconfigurationException: Matplotlib is not installed.
        """
        try:
            from matplotlib import pyplot
        except ModuleNotFoundError as error:
            raise MisconfigurationException("LRFinder.plot() needs Matplotlib. HINT: pip install matplotlib.") from error
        figure, ax = pyplot.subplots() if ax is None else (ax.figure, ax)
        rates, losses = self.results["lr"], self.results["loss"]
        ax.plot(rates, losses)
        if self.mode == "exponential":
            ax.set_xscale("log")
        ax.set_xlabel("Learning rate")
        ax.set_ylabel("Loss")
        suggestion = self.suggestion() if suggest else None
        if suggestion is not None:
            ax.plot(suggestion, losses[rates.index(suggestion)], markersize=10, marker="o", color="red")
        if show:
            pyplot.show()
        return figure


class _Sweep(Callback):
    """Sets the learning rate before each optimizer step and keeps the smoothed loss after it."""

    def __init__(self, rates: list[float], threshold: float | None) -> None:
        self.rates, self.threshold = rates, threshold
        self.results: dict[str, list[float]] = {"lr": [], "loss": []}
        self.mean = 0.0
        self.best = float("inf")

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """There must be one optimizer; schedulers have no say."""
        if len(trainer.optimizers) != 1:
            raise MisconfigurationException(
                f"`configure_optimizers` returned {len(trainer.optimizers)} optimizers: the search for a learning rate"
                " works with one."
            )
        trainer.lr_scheduler_configs = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = self.rates[min(trainer.global_step, len(self.rates) - 1)]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if step == len(self.results["lr"]):  # gradients are still accumulating
            return
        self.results["lr"].append(self.rates[step - 1])
        if not outputs:  # training_step returned None
            self.results["loss"].append(float("nan"))
            return
        self.mean = SMOOTHING * self.mean + (1 - SMOOTHING) * float(outputs["loss"])
        smooth = self.mean / (1 - SMOOTHING ** (step + 1))  # of one more than there were, as Lightning does
        self.results["loss"].append(smooth)
        if self.threshold is not None and step > 1 and smooth > self.threshold * self.best:
            trainer.should_stop = True
        self.best = smooth if step == 1 else min(self.best, smooth)


def rates_to_try(min_lr: float, max_lr: float, number: int, mode: str) -> list[float]:
    """The learning rates from ``min_lr`` to ``max_lr``; after the first one the second is left out, as in Lightning.

    Example:
        >>> from callbacks.lr_finder import rates_to_try
        >>> rates_to_try(0.0, 1.0, 4, "linear")
        [0.0, 0.5, 0.75, 1.0]
    """
    shares = [0.0, *((step + 1) / number for step in range(1, number))]
    if mode == "linear":
        return [min_lr + share * (max_lr - min_lr) for share in shares]
    return [min_lr * (max_lr / min_lr) ** share for share in shares]


class LearningRateFinder(Callback):
    """Look for a good learning rate before training, and train with it.

    A few steps with rising learning rates are run (Smith, "Cyclical Learning Rates for Training Neural Networks",
    2017) by a Trainer of their own; weights and random streams are put back afterwards. To look again in certain epochs,
    override ``on_fit_start`` and call ``lr_find`` in ``on_train_epoch_start``.

    Args:
        min_lr, max_lr, num_training_steps: learning rates of the first and the last of so many optimizer steps.
        mode: "exponential" or "linear": how it rises.
        early_stop_threshold: stop when the smoothed loss is this many times the best one; None never stops.
        update_attr: whether to set the suggestion as the module's (or its hparams') ``lr`` or ``learning_rate``, and in
            the optimizer.
        attr_name: another name for it.

    Attributes:
        optimal_lr: the ``LRFinder`` with ``results``, ``suggestion()`` and ``plot()``; None before.

    Raises:
        ValueError: the mode is unknown.
        AttributeError: the module has no such attribute; raised when ``fit`` starts.
        MisconfigurationException: there is more than one optimizer.

    A run that goes on from a checkpoint does not search again. A search ends with the last epoch of the training, too.

    Example:
        >>> from callbacks import LearningRateFinder
        >>> finder = LearningRateFinder(num_training_steps=50)
        >>> finder.optimal_lr is None
        True
    """

    runs_first = True
    SUPPORTED_MODES = MODES

    def __init__(
        self,
        min_lr: float = 1e-8,
        max_lr: float = 1,
        num_training_steps: int = 100,
        mode: str = "exponential",
        early_stop_threshold: float | None = 4.0,
        update_attr: bool = True,
        attr_name: str = "",
    ) -> None:
        if mode.lower() not in MODES:
            raise ValueError(f"LearningRateFinder(mode={mode!r}): expected 'exponential' or 'linear'.")
        self._min_lr, self._max_lr, self._num_training_steps = min_lr, max_lr, num_training_steps
        self._mode = mode.lower()
        self._early_stop_threshold = early_stop_threshold
        self._update_attr, self._attr_name = update_attr, attr_name
        self.optimal_lr: LRFinder | None = None

    def state_dict(self) -> dict[str, Any]:
        """What was found."""
        return {} if self.optimal_lr is None else {"results": self.optimal_lr.results, "mode": self.optimal_lr.mode}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The run that goes on had found its learning rate."""
        self.optimal_lr = LRFinder(state_dict["results"], state_dict["mode"])

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Search, unless the checkpoint says what was found."""
        if trainer.ckpt_path is None or self.optimal_lr is None:
            self.lr_find(trainer, pl_module)
        else:
            self._use_now(trainer, pl_module)

    def lr_find(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Search now, with the data of ``trainer``, and set the suggestion."""
        self.search(trainer, pl_module, trainer.fit_loop.data.source.given, trainer.datamodule)
        self._use_now(trainer, pl_module)

    def search(self, trainer: Trainer, pl_module: LightningModule, train_dataloaders: Any, datamodule: Any) -> None:
        """Search, and leave the result in ``optimal_lr``."""
        if trainer.fast_dev_run:
            warnings.warn(
                "[W206] LearningRateFinder: under fast_dev_run there is no search. HINT: Trainer(fast_dev_run=False).",
                stacklevel=2,
            )
            return
        if self._update_attr:
            self._attribute(pl_module)
        number = self._num_training_steps
        sweep = _Sweep(rates_to_try(self._min_lr, self._max_lr, number, self._mode), self._early_stop_threshold)
        flags: dict[str, Any] = {"max_epochs": _epochs_of(trainer), "max_steps": number, "callbacks": [sweep]}
        flags["limit_val_batches"] = 0
        flags["limit_train_batches"] = trainer.limit_train_batches
        with trial(trainer, pl_module, datamodule, train_dataloaders, **flags) as inner:
            inner.fit(pl_module, train_dataloaders, datamodule=datamodule)
        self.optimal_lr = LRFinder(sweep.results, self._mode)

    def _attribute(self, pl_module: LightningModule) -> str:
        """The name under which the module keeps its learning rate."""
        names = [self._attr_name] if self._attr_name else ["lr", "learning_rate"]
        found = next((name for name in names if holders_of(pl_module, None, name)), None)
        if found is None:
            raise AttributeError(
                f"The search for a learning rate: {type(pl_module).__name__} has no attribute"
                f" {' or '.join(map(repr, names))}, nor have its hparams. HINT: attr_name=..., or update_attr=False."
            )
        return found

    def use(self, pl_module: LightningModule) -> float | None:
        """Make the suggestion the learning rate of the module, unless ``update_attr`` is False; returns it."""
        suggestion = None if self.optimal_lr is None or not self._update_attr else self.optimal_lr.suggestion()
        if suggestion is not None:
            name = self._attribute(pl_module)
            set_in(holders_of(pl_module, None, name), name, suggestion)
        return suggestion

    def _use_now(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same for optimizers and schedulers that are there already."""
        suggestion = self.use(pl_module)
        if suggestion is None:
            return
        trainer.print(f"The learning rate is set to {suggestion:.6g}.")
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = suggestion
                if "initial_lr" in group:  # what schedulers start from
                    group["initial_lr"] = suggestion
        for config in trainer.lr_scheduler_configs:
            if hasattr(config.scheduler, "base_lrs"):
                config.scheduler.base_lrs = [suggestion] * len(config.scheduler.base_lrs)


def _epochs_of(trainer: Trainer) -> int:
    """How many epochs a search may take: as many as the training has left; all where it is over. -1: any number."""
    epochs = trainer.max_epochs
    if epochs is None or epochs < 0:
        return -1
    return epochs - trainer.current_epoch if trainer.current_epoch < epochs else epochs
