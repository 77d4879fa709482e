"""Names for annotations, as Lightning's programs import them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from engine import Tensor
from engine.optim import Optimizer
from engine.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from lit.optimizers import LRSchedulerConfig

STEP_OUTPUT = Tensor | Mapping[str, Any] | None
TRAIN_DATALOADERS = Any  # an iterable over batches, or a (nested) list or dict of them
EVAL_DATALOADERS = Any
LRSchedulerTypeUnion = LRScheduler | ReduceLROnPlateau
LRSchedulerPLType = LRSchedulerTypeUnion
OptimizerLRScheduler = Optimizer | Sequence[Optimizer] | tuple[Sequence[Optimizer], Sequence[Any]] | Mapping[str, Any] | None


class OptimizerLRSchedulerConfig(TypedDict, total=False):
    """What ``configure_optimizers`` may return."""

    optimizer: Optimizer
    lr_scheduler: Any
    monitor: str


__all__ = [
    "EVAL_DATALOADERS", "STEP_OUTPUT", "TRAIN_DATALOADERS", "LRSchedulerConfig", "LRSchedulerPLType",
    "LRSchedulerTypeUnion", "OptimizerLRScheduler", "OptimizerLRSchedulerConfig",
]  # fmt: skip
