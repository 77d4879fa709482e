"""CSVLogger: metrics in one CSV file that grows by whole rows."""

from __future__ import annotations

import csv
import io
import itertools
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loggers.files import append_text, replace_file
from loggers.folder import RowLogger


class CSVLogger(RowLogger):
    """Write metrics to ``save_dir/name/version/metrics.csv`` and hyper-parameters to ``hparams.yaml`` beside it.

    Rows are appended, so that logging costs the same in the first hour and in the last, and the file can be read at
    any time. A metric that appears later becomes a new last column; ``ExperimentWriter`` says how.

    Args:
        save_dir: folder under which the experiments lie.
        name: name of the experiment; None or "" puts the versions directly into ``save_dir``.
        version: an int N names the folder ``version_N``, text is the folder's name; None takes the next free number.
            A file that is already there is continued.
        prefix: put before every metric name, joined by ``-``.
        flush_logs_every_n_steps: rows are held in memory for at most this many steps.

    Example:
        >>> from loggers import CSVLogger
        >>> logger = CSVLogger("logs", name="digits")
        >>> logger.log_metrics({"loss": 0.5}, step=0)
        >>> logger.log_metrics({"val_acc": 0.9}, step=1)
        >>> logger.save()
        >>> print(Path(logger.log_dir, "metrics.csv").read_text(), end="")
        step,loss,val_acc
        0,0.5,
        1,,0.9
    """

    def __init__(
        self,
        save_dir: str | os.PathLike[str], name: str | None = "lightning_logs", version: int | str | None = None,
        prefix: str = "", flush_logs_every_n_steps: int = 100,
    ) -> None:  # fmt: skip
        super().__init__(save_dir, name, version, prefix, flush_logs_every_n_steps)
        self._first_step_held: int | None = None
        self._experiment: ExperimentWriter | None = None

    @property
    def experiment(self) -> ExperimentWriter:
        """The writer of the file; it, and the folder, are made when first asked for."""
        if self._experiment is None:
            self._experiment = ExperimentWriter(self.log_dir, continues=self.continues)
        return self._experiment

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Record one row; ``step`` None counts the rows."""
        writer = self.experiment
        step = writer.row_count if step is None else step
        writer.log_metrics(dict(self._prefixed(metrics)), step)
        if self._first_step_held is None:
            self._first_step_held = step
        if step - self._first_step_held + 1 >= self._flush_logs_every_n_steps:
            self.save()

    def save(self) -> None:
        """Append the rows held in memory to the file."""
        if self._experiment is not None:
            self._experiment.save()
        self._first_step_held = None

    def _files_state(self) -> dict[str, Any]:
        writer = self.experiment
        return {"columns": list(writer.metrics_keys), "rows": writer.row_count}

    def _cut_files(self, state: dict[str, Any]) -> None:
        path = Path(self.log_dir, ExperimentWriter.NAME_METRICS_FILE)
        if path.is_file():
            cut_rows(path, state["columns"] if state["rows"] else [], state["rows"])
        self._experiment = None


class ExperimentWriter:
    """Appends rows to ``log_dir/metrics.csv``.

    The columns are ``step`` and then the metrics in the order of their first appearance. New ones come last, and rows
    written before a metric existed get empty fields at their end. The wider file is made as a copy beside the old one
    and renamed over it: one copy each time new names appear (usually twice in a run: with the first training and the
    first validation metrics), and never one because of more rows.

    Example:
        >>> from loggers.csv_logs import ExperimentWriter
        >>> writer = ExperimentWriter("run")
        >>> writer.log_metrics({"loss": 0.25}, step=7)
        >>> writer.save()
        >>> Path("run/metrics.csv").read_text()
        'step,loss\\n7,0.25\\n'
    """

    NAME_METRICS_FILE = "metrics.csv"

    def __init__(self, log_dir: str | os.PathLike[str], continues: bool = False) -> None:
        self.log_dir = os.fspath(log_dir)
        self.metrics_file_path = os.path.join(self.log_dir, self.NAME_METRICS_FILE)
        self.metrics_keys: list[str] = ["step"]
        self._known = {"step"}
        self._lines: list[tuple[str, int]] = []  # rows that are not in the file yet, and how many fields they have
        self.row_count = 0
        os.makedirs(self.log_dir, exist_ok=True)
        self._header = ""
        if os.path.exists(self.metrics_file_path):
            self._continue_file(quietly=continues)

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Hold one row in memory; ``step`` None counts the rows."""
        row = {**metrics, "step": self.row_count if step is None else step}
        for key in row:
            if key not in self._known:
                self._known.add(key)
                self.metrics_keys.append(key)
        self._lines.append((_csv_line([row.get(key) for key in self.metrics_keys]), len(self.metrics_keys)))
        self.row_count += 1

    def save(self) -> None:
        """Append what is held in memory to the file.

        Raises:
            OSError: the disk is full or the folder is gone; the rows stay in memory and are written next time.
        """
        if not self._lines:
            return
        header = _csv_line(self.metrics_keys)
        if header != self._header:
            self._write_header(header)
        width = len(self.metrics_keys)
        append_text(self.metrics_file_path, "".join([_widened(line, width - fields) for line, fields in self._lines]))
        self._lines = []

    def _write_header(self, header: str) -> None:
        new = len(self.metrics_keys) - len(next(csv.reader([self._header]), []))

        def parts() -> Iterator[str]:
            yield header
            if self._header:
                with open(self.metrics_file_path, encoding="utf-8", newline="") as file:
                    file.readline()
                    yield from (_widened(line, new) for line in file)

        replace_file(self.metrics_file_path, parts())
        self._header = header

    def _continue_file(self, quietly: bool) -> None:
        """Take over the columns of a file that an earlier run left here."""
        path = Path(self.metrics_file_path)
        with open(path, encoding="utf-8", newline="") as file:
            self._header = file.readline()
            self.row_count = sum(1 for _ in file)
            file.seek(max(0, os.path.getsize(path) - 1))
            ends_whole = file.read() in ("\n", "")
        columns = next(csv.reader([self._header]), [])
        if not columns:
            self._header = ""
            return
        if "step" not in columns:
            raise ValueError(
                f"CSVLogger: {path} exists and is not a file of metrics (no column 'step' in {columns})."
                " HINT: choose another `version`, or move the file away."
            )
        if not quietly:
            warnings.warn(
                f"[W301] {path} exists: new rows are appended. HINT: another `version` for a new file.", stacklevel=4
            )
        self.metrics_keys, self._known = columns, set(columns)
        if not ends_whole:  # the earlier run was killed while it wrote
            append_text(path, "\n")


def cut_rows(path: Path, columns: list[str], rows: int) -> None:
    """Keep the first ``rows`` rows of a file, under a header of ``columns``."""
    with open(path, encoding="utf-8", newline="") as file:
        later = len(next(csv.reader([file.readline()]), [])) - len(columns)
        kept = [line.rstrip("\n").removesuffix("," * later) + "\n" for line in itertools.islice(file, rows)]
    replace_file(path, [_csv_line(columns) if columns else "", *kept])


def _widened(line: str, fields: int) -> str:
    return line.rstrip("\n") + "," * fields + "\n" if fields else line


def _csv_line(values: list[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()
