"""DummyLogger: takes everything and writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loggers.base import Logger


class DummyExperiment:
    """Stands for any experiment object: every method exists, takes anything, and does nothing.

    Example:
        >>> from loggers import DummyLogger
        >>> print(DummyLogger().experiment.add_image("cat", object()))
        None
    """

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)
        return _do_nothing

    def __getitem__(self, index: int) -> DummyExperiment:
        return self


class DummyLogger(Logger):
    """Stands in for the user's loggers under ``fast_dev_run``, so that code which logs runs and leaves no files.

    Example:
        >>> from loggers import DummyLogger
        >>> logger = DummyLogger()
        >>> logger.log_metrics({"loss": 1.0}, step=0)
        >>> logger.name, logger.log_dir
        ('', None)
    """

    def __init__(self) -> None:
        self._experiment = DummyExperiment()

    @property
    def experiment(self) -> DummyExperiment:
        """An object whose every method does nothing."""
        return self._experiment

    @property
    def name(self) -> str:
        """The empty name."""
        return ""

    @property
    def version(self) -> str:
        """The empty version."""
        return ""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Do nothing."""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Methods that only the user's own logger has (``watch``, ``log_image``): they do nothing."""
        if name.startswith("__"):
            raise AttributeError(name)
        return _do_nothing


def _do_nothing(*args: Any, **kwargs: Any) -> None:
    pass
