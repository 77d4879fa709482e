"""lit: LightningModule, LightningDataModule and Trainer, with the names Lightning users know."""

from __future__ import annotations

import sys

import callbacks
import loggers
from callbacks import Callback, MisconfigurationException
from lit.combined_loader import CombinedLoader
from lit.datamodule import LightningDataModule
from lit.module import LightningModule
from lit.optimizers import LightningOptimizer
from lit.seed import seed_everything
from lit.trainer import Trainer

# `lit.callbacks` and `lit.loggers` are the same modules as `callbacks` and `loggers`, not copies.
sys.modules[f"{__name__}.callbacks"] = callbacks
sys.modules[f"{__name__}.loggers"] = loggers

__all__ = [
    "Callback",
    "CombinedLoader",
    "LightningDataModule",
    "LightningModule",
    "LightningOptimizer",
    "MisconfigurationException",
    "Trainer",
    "callbacks",
    "loggers",
    "seed_everything",
]
