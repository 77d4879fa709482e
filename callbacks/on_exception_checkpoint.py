"""OnExceptionCheckpoint: a checkpoint of the moment when a run breaks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from callbacks.checkpoint import Checkpoint

if TYPE_CHECKING:
    from lit import LightningModule, Trainer


class OnExceptionCheckpoint(Checkpoint):
    """Save a checkpoint when an exception (Ctrl-C included) ends ``fit``; remove it when a later ``fit`` ends well.

    The file is written while the exception is on its way, so it holds what was true then: a batch may be half done.

    Args:
        dirpath: folder of the file.
        filename: its name, without ``.ckpt``.

    Raises:
        ValueError: ``filename`` is empty.

    Example:
        >>> from callbacks import OnExceptionCheckpoint
        >>> OnExceptionCheckpoint("run", filename="broken").ckpt_path
        'run/broken.ckpt'
    """

    FILE_EXTENSION = ".ckpt"

    def __init__(self, dirpath: str | os.PathLike[str], filename: str = "on_exception") -> None:
        super().__init__()
        if not filename:
            raise ValueError(f"OnExceptionCheckpoint(filename={filename!r}): expected a name.")
        self.dirpath = os.fspath(dirpath)
        self.filename = filename

    @property
    def ckpt_path(self) -> str:
        """Path of the file."""
        return os.path.join(self.dirpath, self.filename + self.FILE_EXTENSION)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save."""
        if trainer.state.fn == "fit" and not trainer.fast_dev_run:
            trainer.save_checkpoint(self.ckpt_path)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """The run ended well: what an earlier one left is no longer needed."""
        if stage == "fit":
            Path(self.ckpt_path).unlink(missing_ok=True)
