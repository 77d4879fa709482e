"""Checkpoints for a service: which it should get, and the loggers with ``log_model`` that hand them over."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loggers.base import Logger

SETTINGS = ("monitor", "mode", "save_last", "save_top_k", "save_weights_only", "_every_n_train_steps", "_every_n_epochs")


class CheckpointUploads:
    """Remembers which checkpoint files were handed over, and finds those that were not, or have changed since.

    Args:
        log_model: "all" (each as it is written), True (at the end of the run; as they are written where all are kept)
            or False (none).
    """

    def __init__(self, log_model: bool | str) -> None:
        if log_model not in (True, False, "all"):
            raise ValueError(f"log_model={log_model!r}: expected True, False or 'all'.")
        self._log_model = log_model
        self._waiting: dict[int, Any] = {}
        self._sent: dict[str, float] = {}

    @property
    def wanted(self) -> bool:
        """Whether any file is handed over."""
        return bool(self._log_model)

    def due_now(self, callback: Any) -> bool:
        """Whether the files of ``callback`` are handed over now; if not, they may be at the end."""
        if self._log_model == "all" or (self._log_model is True and getattr(callback, "save_top_k", 1) == -1):
            return True
        if self._log_model:
            self._waiting[id(callback)] = callback
        return False

    def due_at_the_end(self) -> list[Any]:
        """The callbacks whose files are handed over when the run is over."""
        return list(self._waiting.values())

    def new_files(self, callback: Any) -> Iterator[tuple[Path, dict[str, Any], list[str]]]:
        """(path, what is known of it, its aliases) of each file, the oldest first."""
        scores = {getattr(callback, "last_model_path", ""): getattr(callback, "current_score", None)}
        scores[callback.best_model_path] = getattr(callback, "best_model_score", None)
        scores.update(getattr(callback, "best_k_models", {}))
        files = [(Path(name).stat().st_mtime, name) for name in scores if name and Path(name).is_file()]
        for changed, name in sorted(files):
            if self._sent.get(name, 0.0) >= changed:
                continue
            score = scores[name]
            known = {key: getattr(callback, key) for key in SETTINGS if hasattr(callback, key)}
            metadata = {"score": None if score is None else float(score), "original_filename": Path(name).name}
            yield Path(name), {**metadata, type(callback).__name__: known}, (
                ["latest", "best"] if name == callback.best_model_path else ["latest"]
            )
            self._sent[name] = changed


class ServiceLogger(Logger):
    """A logger whose service may get the checkpoints: ``_uploads`` says which, ``_upload`` hands them over."""

    _uploads: CheckpointUploads

    @abstractmethod
    def _upload(self, callback: Any) -> None:
        """Hand over the new files of a checkpoint callback."""

    @property
    def reads_checkpoints(self) -> bool:
        """Whether checkpoints are handed over."""
        return self._uploads.wanted

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Hand the new checkpoint over, if ``log_model`` says so."""
        if self._uploads.due_now(checkpoint_callback):
            self._upload(checkpoint_callback)
