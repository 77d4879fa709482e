"""What it costs to have it: seconds to import, megabytes on disk, and memory over a long run."""

from __future__ import annotations

import importlib.metadata as metadata
import importlib.util
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.timing import Row, interleaved

ROOT = Path(__file__).resolve().parent.parent.parent
ROOMS = ("engine", "lit", "callbacks", "loggers")
STEPS = 10_000
MEMORY_PROGRAM = """
import gc, sys
import {library} as torch
from tests.benchmarks.training import STEPS_PER_EPOCH, data, hand_written

def resident():  # in MB
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * {page} / 1e6

epoch = hand_written(torch, list(data(torch)))
gc.disable()
sizes = []
for step in range(0, {steps}, STEPS_PER_EPOCH):
    epoch()
    sizes.append(resident())
print(sizes[-1] - sizes[len(sizes) // 10])
"""


def run(program: str) -> str:
    # As users have it: an installed package has its bytecode beside it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"a measured program failed:\n{done.stderr}")
    return done.stdout


def seconds_of(program: str) -> Callable[[], float]:
    def measure() -> float:
        start = time.perf_counter()
        run(program)
        return time.perf_counter() - start

    return measure


def import_time(theirs: bool, quick: bool) -> Row:
    programs = {"nothing": "pass", "ours": "import engine, lit"}
    if theirs:
        programs["theirs"] = "import torch, lightning.pytorch"
    for program in programs.values():
        run(program)  # so that all have their files in memory
    found = interleaved({name: seconds_of(program) for name, program in programs.items()}, 1 if quick else 7)
    took = {name: seconds - found["nothing"] for name, seconds in found.items()}
    return Row("import, without the interpreter's own start", "s", took["ours"], took.get("theirs"), "ratio 0.10")


def folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def closure(names: list[str], known: dict[str, metadata.Distribution]) -> dict[str, metadata.Distribution]:
    """The installed distributions that `names` need, without extras."""
    found: dict[str, metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found or name not in known:
            continue
        found[name] = known[name]
        for requirement in known[name].requires or ():
            if "extra ==" not in requirement:
                waiting.append(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0])
    return found


def installed_size(names: list[str]) -> float:
    """Megabytes of the distributions that `names` need, as their own lists of files say."""
    known = {re.sub(r"[-_.]+", "-", d.metadata["Name"]).lower(): d for d in metadata.distributions()}
    total = 0
    for distribution in closure(names, known).values():
        for file in distribution.files or ():
            path = Path(str(distribution.locate_file(file)))
            total += path.stat().st_size if path.is_file() else 0
    return total / 1e6


def size(theirs: bool) -> Row:
    needed = ["numpy", "tqdm", "tensorboardX", "safetensors", "ml_dtypes", "threadpoolctl"]
    ours = installed_size(needed) + sum(folder_size(ROOT / room) for room in ROOMS) / 1e6
    other = installed_size(["torch", "lightning"]) if theirs else None
    return Row("installed size with what it needs", "MB", ours, other, "100 MB")


def memory(theirs: bool, quick: bool) -> Row:
    import resource

    def growth(library: str) -> float:
        steps = 200 if quick else STEPS
        program = MEMORY_PROGRAM.format(library=library, page=resource.getpagesize(), steps=steps)
        return statistics.median(float(run(program)) for _ in range(1 if quick else 3))

    measure = f"memory grown over {STEPS:,} steps without gc"
    return Row(measure, "MB", growth("engine"), growth("torch") if theirs else None, "flat")


def measure(quick: bool) -> list[Row]:
    theirs = all(importlib.util.find_spec(name) for name in ("torch", "lightning"))
    return [import_time(theirs, quick), size(theirs), memory(theirs, quick)]
