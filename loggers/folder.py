"""What loggers that write into ``save_dir/name/version_N`` have in common."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loggers.base import Logger
from loggers.files import replace_file
from loggers.hparams import to_dict, to_yaml


class FolderLogger(Logger):
    """A logger with a folder per experiment (``name``) and, in it, a folder per run (``version``).

    Args:
        save_dir: folder under which the experiments lie; created when something is written.
        name: name of the experiment; None or "" puts the versions directly into ``save_dir``.
        version: an int N names the folder ``version_N``, text is the folder's name;
            None takes the next free number.
        prefix: put before every metric name, joined by ``-``.

    Example:
        >>> from loggers import CSVLogger
        >>> logger = CSVLogger("logs", name="digits", version=3)
        >>> print(logger.log_dir)
        logs/digits/version_3
    """

    NAME_HPARAMS_FILE = "hparams.yaml"
    NAME_ENVIRONMENT_FILE = "environment.json"
    LOGGER_JOIN_CHAR = "-"

    def __init__(
        self,
        save_dir: str | os.PathLike[str],
        name: str | None = "lightning_logs",
        version: int | str | None = None,
        prefix: str = "",
    ) -> None:
        self._save_dir = os.fspath(save_dir)
        self._name = name or ""
        self._version = version
        self._prefix = prefix
        self.hparams: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """Name of the experiment; "" if it has none."""
        return self._name

    @property
    def version(self) -> int | str:
        """Version of the run; the next free number is taken when it is first asked for."""
        if self._version is None:
            self._version = next_version(self.root_dir)
        return self._version

    @property
    def save_dir(self) -> str:
        """Folder under which the experiments lie, as given."""
        return self._save_dir

    @property
    def root_dir(self) -> str:
        """Folder of all versions: ``save_dir/name``, with ``~`` and ``$VARIABLES`` resolved."""
        return os.path.expanduser(os.path.expandvars(os.path.join(self._save_dir, self._name)))

    @property
    def log_dir(self) -> str:
        """Folder of this run: ``save_dir/name/version``."""
        version = self.version
        return os.path.join(self.root_dir, version if isinstance(version, str) else f"version_{version}")

    def state_dict(self) -> dict[str, Any]:
        """Which run this is, and where its files end, after everything logged so far is in them."""
        self.save()
        return {
            "root_dir": os.path.abspath(self.root_dir),
            "version": self.version,
            "log_dir": os.path.abspath(self.log_dir),
            **self._files_state(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Cut off what was logged after the checkpoint, if this is the folder it was logged to."""
        self.continues = os.path.isdir(self.log_dir) and os.path.abspath(self.log_dir) == state_dict.get("log_dir")
        if self.continues:
            self._cut_files(state_dict)

    def continue_run(self, state_dict: dict[str, Any]) -> None:
        """Take the version of the run, where none was given and the experiment is the same."""
        if self._version is None and state_dict.get("root_dir") == os.path.abspath(self.root_dir):
            self._version = state_dict["version"]

    def _files_state(self) -> dict[str, Any]:
        """Where the files end."""
        return {}

    def _cut_files(self, state: dict[str, Any]) -> None:
        """Shorten the files to where ``_files_state`` says."""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Merge ``params`` into ``hparams`` and write them to ``hparams.yaml``, if they changed anything."""
        merged = {**self.hparams, **to_dict(params)}
        path = Path(self.log_dir, self.NAME_HPARAMS_FILE)
        text = to_yaml(merged)
        if not merged or (path.is_file() and path.read_text(encoding="utf-8") == text):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text)
        self.hparams = merged

    def log_environment(self, facts: dict[str, Any]) -> None:
        """Write ``facts`` to ``environment.json``, unless a run in this folder has done so before."""
        path = Path(self.log_dir, self.NAME_ENVIRONMENT_FILE)
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, json.dumps(facts, indent=1) + "\n")

    def _prefixed(self, metrics: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._prefix:
            return metrics
        return {f"{self._prefix}{self.LOGGER_JOIN_CHAR}{name}": value for name, value in metrics.items()}


class RowLogger(FolderLogger):
    """A ``FolderLogger`` that holds what it is given in memory for a while.

    Raises:
        ValueError: ``flush_logs_every_n_steps`` is below 1.
    """

    def __init__(
        self,
        save_dir: str | os.PathLike[str],
        name: str | None = "lightning_logs",
        version: int | str | None = None,
        prefix: str = "",
        flush_logs_every_n_steps: int = 100,
    ) -> None:
        super().__init__(save_dir, name, version, prefix)
        if flush_logs_every_n_steps < 1:
            raise ValueError(
                f"{type(self).__name__}(flush_logs_every_n_steps={flush_logs_every_n_steps}): expected an int of at least 1."
            )
        self._flush_logs_every_n_steps = flush_logs_every_n_steps


def next_version(root_dir: str) -> int:
    """One more than the highest N of the folders ``version_N`` in ``root_dir``; 0 if there are none.

    Example:
        >>> from loggers.folder import next_version
        >>> next_version("no_such_folder")
        0
    """
    try:
        entries = [entry for entry in os.scandir(root_dir) if entry.is_dir() and entry.name.startswith("version_")]
    except FileNotFoundError:
        return 0
    numbers = [entry.name.removeprefix("version_") for entry in entries]
    return max((int(number) for number in numbers if number.isdecimal()), default=-1) + 1
