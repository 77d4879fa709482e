"""LearningRateMonitor: learning rates, momentum and weight decay as metrics."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

from callbacks.base import Callback
from callbacks.exceptions import MisconfigurationException
from callbacks.monitor import as_scalar_tensor

if TYPE_CHECKING:
    from engine.optim import Optimizer
    from lit import LightningModule, Trainer


class LearningRateMonitor(Callback):
    """Log the learning rate of every optimizer to every logger.

    A rate is named after its optimizer: ``lr-Adam``; a second Adam is ``lr-Adam-1``; parameter groups are
    ``lr-Adam/pg1``, ``lr-Adam/pg2``. A scheduler's ``name`` stands for ``lr-Adam``, a group's ``name`` for ``pg1``.

    Args:
        logging_interval: ``"step"`` (every ``trainer.log_every_n_steps`` steps) or ``"epoch"``; None follows the
            interval of each scheduler.
        log_momentum: whether to log momentum (or the first of ``betas``) as ``<name>-momentum``.
        log_weight_decay: whether to log weight decay as ``<name>-weight_decay``.

    Attributes:
        lrs: all learning rates logged so far, by name.
        last_momentum_values, last_weight_decay_values: the values logged last, by name.

    Raises:
        MisconfigurationException: ``logging_interval`` is none of these; the Trainer has no logger; two parameter
            groups of one optimizer have the same name.

    Example:
        >>> from callbacks import LearningRateMonitor
        >>> LearningRateMonitor(logging_interval="step").lrs
        {}
    """

    def __init__(
        self,
        logging_interval: Literal["step", "epoch"] | None = None,
        log_momentum: bool = False,
        log_weight_decay: bool = False,
    ) -> None:
        super().__init__()
        if logging_interval not in (None, "step", "epoch"):
            raise MisconfigurationException(
                f"LearningRateMonitor(logging_interval={logging_interval!r}): expected 'step', 'epoch' or None."
            )
        self.logging_interval = logging_interval
        self.log_momentum = log_momentum
        self.log_weight_decay = log_weight_decay
        self.lrs: dict[str, list[float]] = {}
        self.last_momentum_values: dict[str, float | None] = {}
        self.last_weight_decay_values: dict[str, float | None] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the names."""
        if not trainer.loggers:
            raise MisconfigurationException(
                "LearningRateMonitor: the Trainer has no logger to log to. HINT: remove the callback, or the"
                " Trainer's `logger=False`."
            )
        self.lrs, self.last_momentum_values, self.last_weight_decay_values = {}, {}, {}
        without = [type(o).__name__ for o in trainer.optimizers if not {"momentum", "betas"} & o.defaults.keys()]
        if self.log_momentum and without:
            warnings.warn(
                f"[W201] LearningRateMonitor(log_momentum=True): {', '.join(without)} has no momentum; 0 is logged for it."
                " HINT: log_momentum=False.",
                RuntimeWarning,
                stacklevel=2,
            )
        for _, _, names in _named_optimizers(trainer):
            self.lrs.update({name: [] for name in names})

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Log what goes by steps."""
        due = (trainer.state.batches_that_stepped + 1) % trainer.log_every_n_steps == 0
        if due and self.logging_interval != "epoch":
            self._log(trainer, "step")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log what goes by epochs."""
        if self.logging_interval != "step":
            self._log(trainer, "epoch")

    def _log(self, trainer: Trainer, interval: str) -> None:
        metrics: dict[str, float] = {}
        for optimizer, own_interval, names in _named_optimizers(trainer):
            if self.logging_interval is None and own_interval not in (interval, None):
                continue
            for group, name in zip(optimizer.param_groups, names, strict=True):
                metrics.update(self._values(group, name))
        trainer.callback_metrics.update({name: as_scalar_tensor(value) for name, value in metrics.items()})
        if metrics:
            step = trainer.state.batches_that_stepped
            trainer.tell_loggers(lambda logger: logger.log_metrics(metrics, step=step))

    def _values(self, group: dict[str, Any], name: str) -> dict[str, float]:
        values = {name: float(group["lr"])}
        self.lrs.setdefault(name, []).append(values[name])
        if self.log_momentum:
            momentum = group["betas"][0] if "betas" in group else group.get("momentum", 0)
            values[f"{name}-momentum"] = self.last_momentum_values[f"{name}-momentum"] = float(momentum)
        if self.log_weight_decay:
            decay = float(group["weight_decay"])
            values[f"{name}-weight_decay"] = self.last_weight_decay_values[f"{name}-weight_decay"] = decay
        return values


def _named_optimizers(trainer: Trainer) -> list[tuple[Optimizer, str | None, list[str]]]:
    """Every optimizer with its scheduler's interval (None without a scheduler) and a name for each parameter group.

    Optimizers with schedulers come first, in the schedulers' order.
    """
    found: list[tuple[Optimizer, str | None, list[str]]] = []
    seen: set[int] = set()
    times: Counter[str] = Counter()
    scheduled = [(c.scheduler.optimizer, c.interval, c.name) for c in trainer.lr_scheduler_configs]
    for optimizer, interval, name in [*scheduled, *((o, None, None) for o in trainer.optimizers)]:
        if interval is None and id(optimizer) in seen:
            continue
        seen.add(id(optimizer))
        if name is None:
            kind = type(optimizer).__name__
            name = f"lr-{kind}-{times[kind]}" if times[kind] else f"lr-{kind}"
            times[kind] += 1
        found.append((optimizer, interval, _group_names(optimizer, name)))
    return found


def _group_names(optimizer: Optimizer, name: str) -> list[str]:
    groups = optimizer.param_groups
    if len(groups) == 1 and "name" not in groups[0]:
        return [name]
    own = [group.get("name", f"pg{index}") for index, group in enumerate(groups, start=1)]
    twice = sorted(group for group, times in Counter(own).items() if times > 1)
    if twice:
        raise MisconfigurationException(
            f"LearningRateMonitor: two parameter groups of {type(optimizer).__name__} have the same name: {twice}."
        )
    return [f"{name}/{group}" for group in own]
