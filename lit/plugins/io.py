"""How checkpoints are written, read and removed: ``Trainer(plugins=...)``."""

from __future__ import annotations

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from callbacks import MisconfigurationException
from engine import serialization
from engine.errors import not_supported
from lit.plugins.background import Background

PathLike = str | os.PathLike[str]


class CheckpointIO(ABC):
    """Writes, reads and removes checkpoints. Subclass it to keep them somewhere else.

    Example:
        >>> class Logged(pl.plugins.FileCheckpointIO):
        ...     def save_checkpoint(self, checkpoint, path, storage_options=None):
        ...         print("saving", checkpoint["global_step"])
        ...         super().save_checkpoint(checkpoint, path, storage_options)
        >>> trainer = pl.Trainer(plugins=Logged(), logger=False)
        >>> type(trainer.strategy.checkpoint_io).__name__
        'Logged'
    """

    @abstractmethod
    def save_checkpoint(self, checkpoint: dict[str, Any], path: PathLike, storage_options: Any = None) -> None:
        """Keep ``checkpoint``, a nested dict of tensors and plain values, under ``path``."""

    @abstractmethod
    def load_checkpoint(self, path: PathLike, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """The checkpoint under ``path``."""

    @abstractmethod
    def remove_checkpoint(self, path: PathLike) -> None:
        """Forget ``path``, which newer checkpoints replace: not before those are durable."""

    def afterwards(self, job: Callable[[], None]) -> None:
        """Do ``job``, which needs the files given so far to be there."""
        job()

    def wait(self) -> None:  # noqa: B027 (optional)
        """Return when everything given so far is durable.

        Raises:
            OSError: it could not be made so.
        """

    def teardown(self) -> None:
        """The run is over."""
        self.wait()


class FileCheckpointIO(CheckpointIO):
    """Files on a disk: there when ``save_checkpoint`` returns, and durable soon after.

    A new file is flushed in the background, and a file that it replaces is removed only after that; a file of the same
    name is replaced when the new one is durable.
    """

    def __init__(self) -> None:
        self._background = Background()
        self._superseded: list[PathLike] = []
        self._removed: list[int] = []  # handles of files whose names are gone

    def save_checkpoint(self, checkpoint: dict[str, Any], path: PathLike, storage_options: Any = None) -> None:
        """Write the file ``path``, in a folder that is made where it is missing.

        Raises:
            OSError: it cannot be written; an older file of that name is as it was.
            TypeError: ``storage_options`` are given; a file has none.
        """
        if storage_options is not None:
            raise TypeError(
                f"save_checkpoint(storage_options={storage_options!r}): files have no storage options. HINT: a"
                " CheckpointIO of your own may take them: Trainer(plugins=...)."
            )
        folder = os.path.dirname(path)
        if folder and not os.path.isdir(folder):
            os.makedirs(folder, exist_ok=True)
        serialization.save(checkpoint, path, plain="state_dict", flush_later=self._flush_later)

    def _flush_later(self, flush: Callable[[], None]) -> None:
        removed, self._removed = self._removed, []

        def flush_and_close() -> None:
            try:
                flush()
            finally:
                _close(removed)

        self._background.submit(flush_and_close)

    def load_checkpoint(self, path: PathLike, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """Read the file ``path``; ``weights_only`` is accepted: nothing in a file is executed.

        Raises:
            FileNotFoundError: there is no such file.
            engine.serialization.CheckpointError: it is truncated, not a checkpoint, or from a newer version.
        """
        if not os.path.isfile(path):
            raise FileNotFoundError(f"There is no checkpoint at {str(path)!r}.")
        return serialization.load(path, map_location=map_location)

    def remove_checkpoint(self, path: PathLike) -> None:
        """Remove the file ``path`` when everything written before is durable: at the next ``wait``."""
        self._superseded.append(path)

    def wait(self) -> None:
        """Return when every file is flushed, and what they replace is removed."""
        self._background.wait()
        while self._superseded:
            self._remove(self._superseded.pop())

    def _remove(self, path: PathLike) -> None:
        """Take the name ``path`` away; the disk gives the space back when the handle is closed, which takes longer."""
        if os.name == "posix":  # elsewhere an open file keeps its name
            with suppress(OSError):
                self._removed.append(os.open(path, os.O_RDONLY))
        Path(path).unlink(missing_ok=True)

    def teardown(self) -> None:
        """``wait``, and let the thread go."""
        try:
            self.wait()
        finally:
            self._background.close()
            _close(self._removed)


class AsyncCheckpointIO(CheckpointIO):
    """Writes in a thread what was copied at the moment of the call, while training goes on.

    A checkpoint holds one step and nothing of later ones. There is one copy at most: before the next is made, the file
    of the one before is waited for. What a write raises is raised by the next call, or at the end of the run.

    Args:
        checkpoint_io: what writes and reads; files, if it is not given.

    Example:
        >>> trainer = pl.Trainer(plugins=[pl.plugins.AsyncCheckpointIO()], logger=False)
        >>> type(trainer.strategy.checkpoint_io.checkpoint_io).__name__
        'FileCheckpointIO'
    """

    def __init__(self, checkpoint_io: CheckpointIO | None = None) -> None:
        self.checkpoint_io = FileCheckpointIO() if checkpoint_io is None else checkpoint_io
        self._background = Background()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: PathLike, storage_options: Any = None) -> None:
        """Copy ``checkpoint`` and begin to write it."""
        self.wait()
        snapshot = copy.deepcopy(checkpoint)

        def write() -> None:
            self.checkpoint_io.save_checkpoint(snapshot, path, storage_options)
            self.checkpoint_io.wait()

        self._background.submit(write)

    def load_checkpoint(self, path: PathLike, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """Read ``path`` when everything is written."""
        self.wait()
        return self.checkpoint_io.load_checkpoint(path, map_location, weights_only)

    def remove_checkpoint(self, path: PathLike) -> None:
        """Remove ``path`` when everything before is written."""
        self._background.submit(lambda: self.checkpoint_io.remove_checkpoint(path))

    def afterwards(self, job: Callable[[], None]) -> None:
        """Do ``job`` when everything before is written."""
        self._background.submit(job)

    def wait(self) -> None:
        """Return when everything is written and durable."""
        self._background.wait()
        self.checkpoint_io.wait()

    def teardown(self) -> None:
        """Return when everything is written and durable, and let the thread go."""
        self._background.close()
        self.checkpoint_io.teardown()


def _close(handles: list[int]) -> None:
    while handles:
        os.close(handles.pop())


def choose_checkpoint_io(plugins: Any) -> CheckpointIO:
    """The one that ``Trainer(plugins=...)`` holds, or the default.

    Raises:
        NotImplementedError: a plugin is of another kind.
        MisconfigurationException: there are several.
    """
    given = list(plugins) if isinstance(plugins, (list, tuple)) else [] if plugins is None else [plugins]
    for plugin in given:
        if not isinstance(plugin, CheckpointIO):
            raise not_supported(
                f"Trainer(plugins={plugins!r})", "plugins holds a lit.plugins.CheckpointIO; precision has its own flag."
            )
    if len(given) > 1:
        raise MisconfigurationException(f"Trainer(plugins={plugins!r}): expected one CheckpointIO.")
    return given[0] if given else FileCheckpointIO()
