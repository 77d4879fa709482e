"""What a run left in its folder: metrics of any of our loggers, hyper-parameters, checkpoints, environment."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import serialization
from lit.report.events import read_scalars
from loggers.jsonl import read_json_lines

METRIC_FILES = ("metrics.csv", "metrics.jsonl")
EVENTS = "events.out.tfevents."


@dataclass
class Series:
    """One metric over steps; values may be NaN or infinite."""

    steps: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


@dataclass
class Run:
    """Everything that is known of one run."""

    name: str
    folder: Path
    metrics: dict[str, Series] = field(default_factory=dict)
    hparams: dict[str, str] = field(default_factory=dict)
    checkpoints: list[dict[str, Any]] = field(default_factory=list)
    tensors: dict[str, dict[str, Any]] = field(default_factory=dict)  # of the newest checkpoint's model
    environment: dict[str, Any] = field(default_factory=dict)
    config: str = ""
    started: float = 0.0
    finished: float = 0.0


def find_runs(folders: Sequence[Path]) -> list[Run]:
    """All runs in ``folders``, at any depth, with names that tell them apart.

    Raises:
        FileNotFoundError: a folder does not exist, or there is no run in any of them.
    """
    found: list[Path] = []
    for folder in folders:
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"there is no folder {str(folder)!r}")
        found += [path for path in _run_folders(Path(folder)) if path not in found]
    if not found:
        raise FileNotFoundError(
            f"no run in {', '.join(map(str, folders))}: expected metrics.csv, metrics.jsonl or TensorBoard event files"
        )
    common = os.path.commonpath([path.resolve() for path in found]) if len(found) > 1 else str(found[0].resolve().parent)
    return [read_run(path, os.path.relpath(path.resolve(), common)) for path in sorted(found, key=_natural)]


def _natural(path: Path) -> list[Any]:
    """``version_10`` after ``version_9``."""
    return [(part.rstrip("0123456789"), int(part[len(part.rstrip("0123456789")) :] or 0)) for part in path.parts]


def _run_folders(root: Path) -> Iterator[Path]:
    for folder, inside, files in os.walk(root):
        inside.sort()
        if any(name in METRIC_FILES or name.startswith(EVENTS) or name == "hparams.yaml" for name in files):
            yield Path(folder)


def read_run(folder: Path, name: str) -> Run:
    """One run's folder; what is damaged or missing is left out."""
    run = Run(name, folder)
    with os.scandir(folder) as entries:
        files = sorted((entry for entry in entries if entry.is_file()), key=lambda entry: entry.stat().st_mtime)
    for entry in files:
        if entry.name == "metrics.csv":
            _read_csv(run, Path(entry.path))
        elif entry.name == "metrics.jsonl":
            _read_jsonl(run, Path(entry.path))
        elif entry.name.startswith(EVENTS):
            for tag, step, value, time in read_scalars(Path(entry.path)):
                _add(run, tag, step, value, time)
        elif entry.name == "hparams.yaml":
            run.hparams = flat_yaml(Path(entry.path).read_text(encoding="utf-8"))
        elif entry.name == "config.yaml":
            run.config = Path(entry.path).read_text(encoding="utf-8")
        elif entry.name == "environment.json":
            run.environment = json.loads(Path(entry.path).read_text(encoding="utf-8"))
        if entry.name in METRIC_FILES or entry.name.startswith(EVENTS):
            run.finished = max(run.finished, entry.stat().st_mtime)
    run.started = float(run.environment.get("started") or run.started or 0.0)
    _read_checkpoints(run)
    return run


def _add(run: Run, name: str, step: float, value: float, time: float = 0.0) -> None:
    series = run.metrics.get(name)
    if series is None:
        series = run.metrics[name] = Series()
    series.steps.append(step)
    series.values.append(value)
    if time and (not run.started or time < run.started):
        run.started = time


def _read_csv(run: Run, path: Path) -> None:
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        names = next(rows, [])
        where = names.index("step") if "step" in names else None
        for number, row in enumerate(rows):
            step = _number(row[where]) if where is not None and where < len(row) else number
            for name, text in zip(names, row, strict=False):  # rows from before a metric existed are shorter
                if text and name != "step" and (value := _number(text)) is not None and step is not None:
                    _add(run, name, step, value)


def _read_jsonl(run: Run, path: Path) -> None:
    for line in read_json_lines(path):
        for name, text in line.items():
            value = _number(text)
            if name not in ("step", "time") and value is not None:
                _add(run, name, line.get("step", 0), value, line.get("time", 0.0))


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def flat_yaml(text: str) -> dict[str, str]:
    """The entries of a YAML file as our loggers write it, nested names joined by ``/``; values stay text.

    Example:
        >>> from lit.report.runs import flat_yaml
        >>> flat_yaml("lr: 0.1\\noptim:\\n  betas:\\n  - 0.9\\n  - 0.99\\n")
        {'lr': '0.1', 'optim/betas': '0.9, 0.99'}
    """
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        bare = line.strip()
        depth = len(line) - len(line.lstrip())
        if bare.startswith("- ") and path:
            name = "/".join(key for _, key in path)
            found[name] = f"{found[name]}, {bare[2:]}" if found.get(name) else bare[2:]
            continue
        key, colon, value = bare.partition(":")
        if not colon or bare.startswith("#"):
            continue
        while path and path[-1][0] >= depth:
            path.pop()
        path.append((depth, key.strip('"')))
        if value.strip():
            found["/".join(key for _, key in path)] = value.strip().strip('"')
    return found


def _read_checkpoints(run: Run) -> None:
    """Name, size, time and progress of each checkpoint, from its header alone."""
    newest = 0.0
    for path in sorted([*run.folder.glob("checkpoints/*.ckpt"), *run.folder.glob("*.ckpt")]):
        about = path.stat()
        known: dict[str, Any] = {"name": path.name, "bytes": about.st_size, "time": about.st_mtime}
        try:
            header = serialization.read_metadata(path)
        except (serialization.CheckpointError, OSError):
            header = {"structure": None, "tensors": {}}
        structure = header["structure"]
        if isinstance(structure, dict):
            known.update({key: structure[key] for key in ("epoch", "global_step") if isinstance(structure.get(key), int)})
        run.checkpoints.append(known)
        if about.st_mtime >= newest and header["tensors"]:
            newest = about.st_mtime
            run.tensors = {name: about for name, about in header["tensors"].items() if not name.startswith("__")}
