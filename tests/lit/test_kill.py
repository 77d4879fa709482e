"""SIGKILL at any moment, and a run that goes on from its last checkpoint: in the end every byte is as without it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.lit import killed_job

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="forks"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded"),
]

KILLS_BY_EVENT, KILLS_BY_TIME = 14, 4  # for each of the kinds of fit


def wait(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def contents(folder: Path) -> dict[str, bytes]:
    """All files by their path. Not those that hold times (TensorBoard, environment), nor checkpoints that name them."""
    files = [path for path in folder.rglob("*") if path.is_file() and "tfevents" not in path.name]
    files = [path for path in files if path.name != "environment.json"]
    if (folder / "tb").exists():
        files = [path for path in files if path.suffix != ".ckpt"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every (step, value) in TensorBoard's files, by tag: none is purged, so a step shown twice is there twice."""
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.rglob("*tfevents*"), key=lambda path: path.stat().st_ctime_ns):
        for event in loader.LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return {tag: sorted(points) for tag, points in found.items()}


def forget_without_checkpoint(folder: Path) -> None:
    """Where there is nothing to go on from, the next run is a new one, and its logs would go into a second folder."""
    if not list(folder.rglob("*.ckpt")):
        shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", killed_job.KINDS)
def test_killed_anywhere(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")  # imported once, here, and not in every child
    folder = tmp_path / "run"
    began = time.monotonic()
    assert wait(killed_job.fork(folder, kind)) == 0, (tmp_path / "output").read_text()
    duration = time.monotonic() - began
    events = (tmp_path / "events").read_text().split("\n")
    expected, expected_scalars = contents(folder), scalars(folder)
    choose = random.Random(f"kill {kind}")
    by_event = [choose.randrange(1, len(events) + 1) for _ in range(KILLS_BY_EVENT)]
    by_time = [choose.uniform(0.1, duration) for _ in range(KILLS_BY_TIME)]
    for moment in [*by_event, *by_time]:
        shutil.rmtree(folder)
        where = events[moment - 1] if isinstance(moment, int) else "time"
        if isinstance(moment, int):
            code = wait(killed_job.fork(folder, kind, last=moment))
        else:
            process = killed_job.fork(folder, kind)
            time.sleep(moment)
            os.kill(process, signal.SIGKILL)
            code = wait(process)
        story = f"killed at {moment} ({where})"
        if code == -signal.SIGKILL and choose.random() < 0.3:  # and once more
            again = choose.randrange(1, len(events) // 2)
            story += f", then at {again}"
            forget_without_checkpoint(folder)
            wait(killed_job.fork(folder, kind, last=again))
        forget_without_checkpoint(folder)
        assert wait(killed_job.fork(folder, kind)) == 0, f"{story}: {(tmp_path / 'output').read_text()}"
        found = contents(folder)
        assert sorted(found) == sorted(expected), story
        assert [name for name, data in found.items() if data != expected[name]] == [], story
        assert scalars(folder) == expected_scalars, story
