"""Tuner: look for a learning rate before training. It leaves the Trainer, the weights and the random streams alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from callbacks import Callback, MisconfigurationException
from lit.rng import isolate_rng

if TYPE_CHECKING:
    from lit.module import LightningModule
    from lit.trainer import Trainer

SMOOTHING = 0.98  # weight of the past in the running mean of the loss


class LRFinder:
    """What ``Tuner.lr_find`` found: ``results`` holds the learning rates under "lr" and the smoothed losses under "loss".

    Example:
        >>> from lit.tuner import LRFinder
        >>> found = LRFinder({"lr": [0.001, 0.01, 0.1, 1.0], "loss": [1.0, 0.9, 0.3, 2.0]})
        >>> found.suggestion(skip_begin=0, skip_end=1)
        0.1
    """

    def __init__(self, results: dict[str, list[float]], mode: str = "exponential") -> None:
        self.results, self.mode = results, mode

    def suggestion(self, skip_begin: int = 10, skip_end: int = 1) -> float | None:
        """The learning rate where the loss falls fastest, or None where there are too few finite losses.

        Args:
            skip_begin, skip_end: points at both ends that are left out.
        """
        stop = len(self.results["loss"]) - skip_end
        losses = np.asarray(self.results["loss"][skip_begin:stop])
        rates = np.asarray(self.results["lr"][skip_begin:stop])
        finite = np.isfinite(losses)
        losses, rates = losses[finite], rates[finite]
        if len(losses) < 2:
            return None
        return float(rates[np.gradient(losses).argmin()])

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

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = self.rates[min(trainer.global_step, len(self.rates) - 1)]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if step == len(self.results["lr"]) or not outputs:  # gradients are still accumulating
            return
        loss = float(outputs["loss"]) * trainer.accumulate_grad_batches
        self.mean = SMOOTHING * self.mean + (1 - SMOOTHING) * loss
        smooth = self.mean / (1 - SMOOTHING**step)
        self.results["lr"].append(self.rates[step - 1])
        self.results["loss"].append(smooth)
        self.best = min(self.best, smooth)
        if self.threshold is not None and step > 1 and smooth > self.threshold * self.best:
            trainer.should_stop = True


class Tuner:
    """Looks for good settings of a run.

    Args:
        trainer: the Trainer that will train; its device, precision, accumulation and clipping are used.

    Example:
        >>> from lit.tuner import Tuner
        >>> class Line(pl.LightningModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.lr, self.layer = 0.0, nn.Linear(1, 1)
        ...     def training_step(self, batch, batch_idx):
        ...         return (self.layer(batch) - 3).pow(2).mean()
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=self.lr)
        >>> model = Line()
        >>> trainer = pl.Trainer(accelerator="cpu", logger=False)
        >>> found = Tuner(trainer).lr_find(model, torch.utils.data.DataLoader(torch.ones(4, 1)), num_training=40)
        >>> model.lr == found.suggestion(), 1e-4 < model.lr < 1
        (True, True)
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    def lr_find(
        self,
        model: LightningModule,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        dataloaders: Any = None,
        datamodule: Any = None,
        method: str = "fit",
        min_lr: float = 1e-8,
        max_lr: float = 1,
        num_training: int = 100,
        mode: str = "exponential",
        early_stop_threshold: float | None = 4.0,
        update_attr: bool = True,
        attr_name: str = "",
    ) -> LRFinder:
        """Train for a few steps with rising learning rates; weights and random streams are put back afterwards.

        Smith, "Cyclical Learning Rates for Training Neural Networks", 2017. The schedulers of ``configure_optimizers``
        have no say, the module's buffers are put back too.

        Args:
            model, train_dataloaders, datamodule: as for ``fit``.
            val_dataloaders, dataloaders: accepted as in Lightning; nothing is validated.
            method: "fit".
            min_lr, max_lr, num_training: learning rates of the first and the last of so many optimizer steps.
            mode: "exponential" or "linear": how it rises.
            early_stop_threshold: stop when the smoothed loss is this many times the best one; None never stops.
            update_attr: whether to set the suggestion as the module's (or its hparams') ``lr`` or ``learning_rate``.
            attr_name: another name for it.

        Raises:
            MisconfigurationException: ``method`` or ``mode`` is unknown, or the module has no such attribute.
        """
        if method != "fit" or mode not in ("exponential", "linear"):
            raise MisconfigurationException(
                f"Tuner.lr_find(method={method!r}, mode={mode!r}): expected method 'fit', mode 'exponential' or 'linear'."
            )
        owner, name = _owner_of_lr(model, attr_name) if update_attr else (None, "")
        spaced = np.geomspace if mode == "exponential" else np.linspace
        sweep = _Sweep(spaced(min_lr, max_lr, num_training).tolist(), early_stop_threshold)
        self._run(model, train_dataloaders, datamodule, sweep)
        found = LRFinder(sweep.results, mode)
        suggestion = found.suggestion()
        if owner is not None and suggestion is not None:
            if isinstance(owner, dict):
                owner[name] = suggestion
            else:
                setattr(owner, name, suggestion)
        return found

    def _run(self, model: LightningModule, train_dataloaders: Any, datamodule: Any, sweep: _Sweep) -> None:
        outer = self._trainer
        inner = type(outer)(
            accelerator="gpu" if outer.root_device.type == "cuda" else "cpu",
            devices=outer.device_ids if outer.root_device.type == "cuda" else 1,
            precision=outer.precision,
            accumulate_grad_batches=outer.accumulate_grad_batches,
            gradient_clip_val=outer.gradient_clip_val,
            gradient_clip_algorithm=outer.gradient_clip_algorithm,
            max_epochs=-1,
            max_steps=len(sweep.rates),
            callbacks=[sweep],
            barebones=True,
            limit_val_batches=0,
            default_root_dir=outer.default_root_dir,
        )
        weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
        try:
            with isolate_rng():
                inner.fit(model, train_dataloaders, datamodule=datamodule)
        finally:
            model.load_state_dict(weights)
            model.zero_grad()
            model.trainer = outer


def _owner_of_lr(model: LightningModule, attr_name: str) -> tuple[Any, str]:
    """Where the learning rate is kept: the module, or its hyper-parameters."""
    for name in [attr_name] if attr_name else ["lr", "learning_rate"]:
        for owner in (model, model.hparams):
            if name in owner if isinstance(owner, dict) else hasattr(owner, name):
                return owner, name
    raise MisconfigurationException(
        f"Tuner.lr_find(...): {type(model).__name__} has no attribute"
        f" {attr_name or 'lr or learning_rate'!r}, nor has its hparams. HINT: attr_name=..., or update_attr=False."
    )
