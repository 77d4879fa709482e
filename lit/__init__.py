"""lit: LightningModule, LightningDataModule and Trainer, with the names Lightning users know."""

from __future__ import annotations

import importlib
from typing import Any

import callbacks
import loggers
from callbacks import Callback, MisconfigurationException
from lit import accelerators, aliases, plugins, profilers, strategies, tuner, utilities
from lit.combined_loader import CombinedLoader
from lit.datamodule import LightningDataModule
from lit.module import LightningModule
from lit.notices import silence, silence_from_environment
from lit.optimizers import LightningOptimizer
from lit.seed import seed_everything
from lit.trainer import Trainer

aliases.install()
silence_from_environment()


def __getattr__(name: str) -> Any:
    """What is loaded when somebody names it."""
    if name in ("cli", "core", "demos", "metrics", "pytorch"):
        return importlib.import_module(f"lit.{name}")
    if name == "LightningCLI":
        return importlib.import_module("lit.cli").LightningCLI
    raise AttributeError(f"module 'lit' has no attribute {name!r}")


__all__ = [
    "Callback",
    "CombinedLoader",
    "LightningCLI",
    "LightningDataModule",
    "LightningModule",
    "LightningOptimizer",
    "MisconfigurationException",
    "Trainer",
    "accelerators",
    "callbacks",
    "loggers",
    "metrics",
    "plugins",
    "profilers",
    "seed_everything",
    "silence",
    "strategies",
    "tuner",
    "utilities",
]
