"""engine.optim.lr_scheduler: schedules of the learning rate. One family per file; `base.py` has what they share."""

from __future__ import annotations

from engine.errors import no_attribute
from engine.optim.lr_scheduler.base import LRScheduler
from engine.optim.lr_scheduler.compose import ChainedScheduler, SequentialLR
from engine.optim.lr_scheduler.cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from engine.optim.lr_scheduler.cyclic import CyclicLR
from engine.optim.lr_scheduler.decay import ExponentialLR, MultiStepLR, StepLR
from engine.optim.lr_scheduler.lambdas import LambdaLR, MultiplicativeLR
from engine.optim.lr_scheduler.onecycle import OneCycleLR
from engine.optim.lr_scheduler.plateau import ReduceLROnPlateau
from engine.optim.lr_scheduler.warmup import ConstantLR, LinearLR, PolynomialLR

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "_LRScheduler",
]


class _LRScheduler(LRScheduler):
    """The old name of LRScheduler, which published programs still subclass."""


def __getattr__(name: str) -> None:
    raise no_attribute(__name__, name, __all__)
