"""Tuner: look for a learning rate or a batch size before a run. The searches are those of the callbacks of that name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callbacks import BatchSizeFinder, LearningRateFinder, MisconfigurationException
from callbacks.lr_finder import LRFinder
from lit.datamodule import LightningDataModule

if TYPE_CHECKING:
    from lit.module import LightningModule
    from lit.trainer import Trainer

METHODS = ("fit", "validate", "test", "predict")


class Tuner:
    """Looks for good settings of a run. Weights, random streams and the Trainer are left as they were.

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
        >>> model.lr == found.suggestion(), 1e-8 < model.lr < 1
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
        datamodule: LightningDataModule | None = None,
        method: str = "fit",
        min_lr: float = 1e-8,
        max_lr: float = 1,
        num_training: int = 100,
        mode: str = "exponential",
        early_stop_threshold: float | None = 4.0,
        update_attr: bool = True,
        attr_name: str = "",
    ) -> LRFinder | None:
        """Train for a few steps with rising learning rates; weights and random streams are put back afterwards.

        Smith, "Cyclical Learning Rates for Training Neural Networks", 2017. The schedulers of ``configure_optimizers``
        have no say; the Trainer's ``max_epochs`` ends the search too.

        Args:
            model, train_dataloaders, datamodule: as for ``fit``.
            val_dataloaders: accepted as in Lightning; nothing is validated. ``dataloaders`` must be None.
            method: "fit".
            min_lr, max_lr, num_training: learning rates of the first and the last of so many optimizer steps.
            mode: "exponential" or "linear": how it rises.
            early_stop_threshold: stop when the smoothed loss is this many times the best one; None never stops.
            update_attr: whether to set the suggestion as the module's (or its hparams') ``lr`` or ``learning_rate``.
            attr_name: another name for it.

        Returns:
            what was found, with ``results``, ``suggestion()`` and ``plot()``; None under ``fast_dev_run``.

        Raises:
            MisconfigurationException: ``method`` is not "fit", loaders are passed under the wrong name, or there is more
                than one optimizer.
            AttributeError: the module has no such attribute.
            ValueError: ``mode`` is unknown, or the Trainer has a LearningRateFinder.
        """
        if method != "fit":
            raise MisconfigurationException(f"Tuner.lr_find(method={method!r}): expected 'fit'.")
        self._check(LearningRateFinder, method, train_dataloaders, val_dataloaders, dataloaders)
        finder = LearningRateFinder(min_lr, max_lr, num_training, mode, early_stop_threshold, update_attr, attr_name)
        if isinstance(train_dataloaders, LightningDataModule):
            train_dataloaders, datamodule = None, train_dataloaders
        finder.search(self._trainer, model, train_dataloaders, datamodule)
        finder.use(model)
        return finder.optimal_lr

    def scale_batch_size(
        self,
        model: LightningModule,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        dataloaders: Any = None,
        datamodule: LightningDataModule | None = None,
        method: str = "fit",
        mode: str = "power",
        steps_per_trial: int = 3,
        init_val: int = 2,
        max_trials: int = 25,
        batch_arg_name: str = "batch_size",
        margin: float = 0.05,
        max_val: int = 8192,
    ) -> int | None:
        """Try larger and larger batches until memory runs out; the largest size that fits is set and returned.

        Args:
            model, datamodule: what runs; one of them makes the loaders and has the batch size. Loaders themselves cannot
                be passed, but a datamodule may stand in the place of ``train_dataloaders`` or ``dataloaders``.
            method: "fit", "validate", "test" or "predict".
            mode: "power" doubles the size until memory runs out; "binsearch" goes on between the last two sizes.
            steps_per_trial, init_val, max_trials: steps with each size, the first size, how often it is raised.
            batch_arg_name: name of the attribute or hyper-parameter.
            margin: with "binsearch", the share by which the size found is lowered.
            max_val: the largest size that is considered.

        Raises:
            MisconfigurationException: loaders were passed, or nobody has such an attribute.
            ValueError: ``method``, ``mode`` or ``margin`` is unknown, or the Trainer has a BatchSizeFinder.
            MemoryError: a batch of one does not fit.
        """
        self._check(BatchSizeFinder, method, train_dataloaders, val_dataloaders, dataloaders)
        finder = BatchSizeFinder(mode, steps_per_trial, init_val, max_trials, batch_arg_name, margin, max_val)
        given = train_dataloaders if method == "fit" else dataloaders
        if isinstance(given, LightningDataModule):
            given, datamodule = None, given
        if given is not None or val_dataloaders is not None:
            raise MisconfigurationException(
                "Tuner.scale_batch_size(...): the batch size of loaders that are passed cannot be changed. HINT: return them"
                " from the hooks of the module or of a datamodule."
            )
        finder.check(model, datamodule)
        return finder.search(self._trainer, model, datamodule, method)

    def _check(self, kind: type, method: str, train_dataloaders: Any, val_dataloaders: Any, dataloaders: Any) -> None:
        if method not in METHODS:
            raise ValueError(f"Tuner(method={method!r}): expected one of {', '.join(map(repr, METHODS))}.")
        if method == "fit" and dataloaders is not None:
            raise MisconfigurationException(
                "Tuner(method='fit', dataloaders=...): HINT: for fit it is `train_dataloaders` and `val_dataloaders`."
            )
        if method != "fit" and (train_dataloaders is not None or val_dataloaders is not None):
            raise MisconfigurationException(
                f"Tuner(method={method!r}, train_dataloaders=...): HINT: for {method} it is `dataloaders`."
            )
        if any(isinstance(callback, kind) for callback in self._trainer.callbacks):
            raise ValueError(
                f"The Trainer has a {kind.__name__}, which searches when a run starts. HINT: remove it to use the Tuner."
            )
