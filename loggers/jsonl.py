"""JSONLinesLogger: one JSON object per line, for programs that read logs."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

from loggers.files import append_text
from loggers.folder import RowLogger


class JSONLinesLogger(RowLogger):
    """Append metrics to ``save_dir/name/version/metrics.jsonl``; hyper-parameters go to ``hparams.yaml`` beside it.

    Each line is complete and stands for itself: ``{"step": 10, "time": 1763846400.25, "loss": 0.5}``, with ``time`` in
    seconds since 1970. Metrics that appear later need no change to earlier lines. JSON has no NaN and no infinity: they
    are the texts ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``, which Python's ``float`` reads.

    Args:
        save_dir: folder under which the experiments lie.
        name: name of the experiment; None or "" puts the versions directly into ``save_dir``.
        version: an int N names the folder ``version_N``, text is the folder's name; None takes the next free number.
            A file that is already there is continued.
        prefix: put before every metric name, joined by ``-``.
        flush_logs_every_n_steps: lines are held in memory for at most this many calls.

    Raises:
        ValueError: ``flush_logs_every_n_steps`` is below 1.

    Example:
        >>> from loggers import JSONLinesLogger
        >>> from loggers.jsonl import read_json_lines
        >>> logger = JSONLinesLogger("logs", name="digits")
        >>> logger.log_metrics({"loss": 0.5}, step=0)
        >>> logger.log_metrics({"val_acc": 0.75}, step=1)
        >>> logger.save()
        >>> [(line["step"], line.get("loss"), line.get("val_acc")) for line in read_json_lines(logger.path)]
        [(0, 0.5, None), (1, None, 0.75)]
    """

    NAME_METRICS_FILE = "metrics.jsonl"

    def __init__(
        self,
        save_dir: str | os.PathLike[str], name: str | None = "lightning_logs", version: int | str | None = None,
        prefix: str = "", flush_logs_every_n_steps: int = 100,
    ) -> None:  # fmt: skip
        super().__init__(save_dir, name, version, prefix, flush_logs_every_n_steps)
        self._lines: list[str] = []
        self._count = 0

    @property
    def path(self) -> str:
        """Path of the file."""
        return os.path.join(self.log_dir, self.NAME_METRICS_FILE)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Record one line; ``step`` None counts the lines of this run."""
        line = {"step": self._count if step is None else step, "time": round(time.time(), 3)}
        line.update({name: _storable(value) for name, value in self._prefixed(metrics).items()})
        self._lines.append(json.dumps(line, allow_nan=False) + "\n")
        self._count += 1
        if len(self._lines) >= self._flush_logs_every_n_steps:
            self.save()

    def save(self) -> None:
        """Append the lines held in memory to the file.

        Raises:
            OSError: the disk is full or the folder cannot be made; the lines stay in memory and are written next time.
        """
        if not self._lines:
            return
        path = Path(self.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        cut_off = "\n" if _ends_inside_a_line(path) else ""  # an earlier run was killed while it wrote
        append_text(path, cut_off + "".join(self._lines))
        self._lines = []

    def _files_state(self) -> dict[str, Any]:
        path = Path(self.path)
        return {"bytes": path.stat().st_size if path.is_file() else 0, "count": self._count}

    def _cut_files(self, state: dict[str, Any]) -> None:
        if os.path.isfile(self.path) and os.path.getsize(self.path) > state["bytes"]:
            os.truncate(self.path, state["bytes"])
        self._count, self._lines = state["count"], []


def read_json_lines(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The lines of a file of ``JSONLinesLogger``, without one that a killed run left unfinished.

    Example:
        >>> from loggers.jsonl import read_json_lines
        >>> _ = Path("metrics.jsonl").write_text('{"step": 0, "loss": "NaN"}\\n{"step": 1, "lo')
        >>> read_json_lines("metrics.jsonl")
        [{'step': 0, 'loss': 'NaN'}]
    """
    found = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def _storable(value: Any) -> Any:
    if isinstance(value, (bool, int, str)):
        return value
    number = float(value)
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _ends_inside_a_line(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"
