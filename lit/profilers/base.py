"""Profiler: the base class, the one that is off, and how functions of a run are tied to it."""

from __future__ import annotations

import functools
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loggers.files import replace_file

if TYPE_CHECKING:
    from lit.trainer import Trainer


class Profiler(ABC):
    """Measures named actions. Subclasses say what ``start`` and ``stop`` measure and what ``summary`` tells.

    Args:
        dirpath: folder of the report; None: the folder of the first logger's run.
        filename: name of the report, without ``.txt``; None prints it instead.

    Example:
        >>> from lit.profilers import SimpleProfiler
        >>> profiler = SimpleProfiler()
        >>> with profiler.profile("load the data"):
        ...     rows = list(range(3))
        >>> profiler.calls
        {'load the data': 1}
    """

    def __init__(self, dirpath: str | os.PathLike[str] | None = None, filename: str | None = None) -> None:
        self.dirpath = dirpath
        self.filename = filename
        self._stage = ""
        self._log_dir: str | None = None
        self._in_run = False

    @abstractmethod
    def start(self, action_name: str) -> None:
        """The action begins."""

    @abstractmethod
    def stop(self, action_name: str) -> None:
        """The action ends."""

    def summary(self) -> str:
        """The report as text."""
        return ""

    def reset(self) -> None:  # noqa: B027 (optional)
        """Forget what was measured."""

    @contextmanager
    def profile(self, action_name: str) -> Iterator[str]:
        """Measure a ``with`` block."""
        self.start(action_name)
        try:
            yield action_name
        finally:
            self.stop(action_name)

    @contextmanager
    def run(self, stage: str, trainer: Trainer) -> Iterator[None]:
        """Measure a whole run of ``trainer`` and report it; a run inside another one is part of that one's report."""
        if self._in_run:
            with self.profile(stage):
                yield
            return
        self._in_run = True
        self.setup(stage, None if self.filename is None else trainer.log_dir)
        try:
            with self.profile(stage):
                yield
        finally:
            self._in_run = False
            self.describe(trainer.print)
            self.teardown(stage)

    def setup(self, stage: str, log_dir: str | None = None) -> None:
        """A run of ``stage`` begins: what is measured from now on belongs to it."""
        self._stage, self._log_dir = stage, log_dir
        self.reset()

    def describe(self, print_text: Callable[[str], None] = print) -> None:
        """Print the report, or write it to ``dirpath/stage-filename.txt``."""
        text = self.summary()
        if not text:
            return
        if self.filename is None:
            print_text(text)
            return
        path = self.path_of(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text)

    def path_of(self, extension: str, action_name: str | None = None) -> Path:
        """Path of a file of this run's stage."""
        parts = [self._stage, self.filename, action_name]
        name = "-".join(part.replace("/", "_") for part in parts if part)
        return Path(self.dirpath or self._log_dir or ".", name + extension)

    def teardown(self, stage: str | None) -> None:  # noqa: B027 (optional)
        """The run of ``stage`` is over and reported."""


class PassThroughProfiler(Profiler):
    """Measures nothing: what a Trainer has unless told otherwise.

    Example:
        >>> from lit.profilers import PassThroughProfiler
        >>> PassThroughProfiler().summary()
        ''
    """

    def start(self, action_name: str) -> None:
        """Nothing."""

    def stop(self, action_name: str) -> None:
        """Nothing."""


def profiled(profiler: Profiler, action_name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, measured under ``action_name``; the function itself where the profiler is off.

    Example:
        >>> from lit.profilers import PassThroughProfiler
        >>> from lit.profilers.base import profiled
        >>> profiled(PassThroughProfiler(), "print", print) is print
        True
    """
    if isinstance(profiler, PassThroughProfiler):
        return function

    @functools.wraps(function)
    def measured(*args: Any, **kwargs: Any) -> Any:
        profiler.start(action_name)
        try:
            return function(*args, **kwargs)
        finally:
            profiler.stop(action_name)

    return measured


def profiled_items(profiler: Profiler, action_name: str, items: Iterator[Any]) -> Iterator[Any]:
    """``items``, with the wait for each measured; the iterator itself where the profiler is off."""
    if isinstance(profiler, PassThroughProfiler):
        return items
    end = object()
    return iter(profiled(profiler, action_name, lambda: next(items, end)), end)


def action_of(owner: Any, hook: str) -> str:
    """Name of a hook's action: who runs it, and which.

    Example:
        >>> from lit.profilers.base import action_of
        >>> action_of(pl.callbacks.Timer(), "on_train_start")
        '[Callback]Timer.on_train_start'
    """
    kinds = ("Callback", "LightningModule", "LightningDataModule")
    kind = next((base.__name__ for base in type(owner).__mro__ if base.__name__ in kinds), "")
    return f"[{kind}]{type(owner).__name__}.{hook}"
