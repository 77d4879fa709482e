"""What it costs to have it: seconds to import, megabytes on disk, memory over a long run, and checkpoints."""

from __future__ import annotations

import importlib
import importlib.metadata as metadata
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engine
from tests.benchmarks.starting import ROOT, run
from tests.benchmarks.timing import Row, in_turns

ROOMS = ("engine", "lit", "callbacks", "loggers")
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


def seconds_of(program: str) -> Callable[[], float]:
    def measure() -> float:
        start = time.perf_counter()
        run(program)
        return time.perf_counter() - start

    return measure


def import_time(theirs: bool, rounds: int) -> Row:
    programs = {"nothing": "pass", "ours": "import engine, lit"}
    if theirs:
        programs["theirs"] = "import torch, lightning.pytorch"
    for program in programs.values():
        run(program)  # so that all have their files in memory
    found = in_turns({name: seconds_of(program) for name, program in programs.items()}, rounds)
    nothing = statistics.median(found.pop("nothing"))
    took = {name: [seconds - nothing for seconds in values] for name, values in found.items()}
    return Row("import engine, lit (torch, lightning.pytorch), without the interpreter's own start", "s", took, {"ours": 0.08})


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
    found = {"ours": [ours], **({"theirs": [installed_size(["torch", "lightning"])]} if theirs else {})}
    return Row("installed size with what it needs", "MB", found, limit="100 MB")


def memory(theirs: bool, rounds: int, steps: int) -> Row:
    import resource

    def growth(library: str) -> list[float]:
        program = MEMORY_PROGRAM.format(library=library, page=resource.getpagesize(), steps=steps)
        return [float(run(program)) for _ in range(rounds)]

    found = {"ours": growth("engine"), **({"theirs": growth("torch")} if theirs else {})}
    return Row(f"memory grown over {steps:,} steps without gc", "MB", found, limit="flat")


def checkpoint_of(torch: Any, parameters: int) -> dict[str, Any]:
    """Weights, and what Adam remembers of them, in layers of four million parameters."""
    sizes = [min(1 << 22, parameters - start) for start in range(0, parameters, 1 << 22)]
    weights = {f"layers.{i}.weight": torch.ones(size) for i, size in enumerate(sizes)}
    remembered = {i: {"exp_avg": torch.ones(size), "exp_avg_sq": torch.ones(size)} for i, size in enumerate(sizes)}
    return {"state_dict": weights, "optimizer_states": [{"state": remembered}]}


def flush(path: Path) -> None:
    handle = os.open(path, os.O_RDWR)
    os.fsync(handle)
    os.close(handle)


def checkpoints(theirs: bool, rounds: int, parameters: int) -> list[Row]:
    """Until the file is there, which is what a training waits for, and until it is on the disk."""
    libraries = {"ours": engine, **({"theirs": importlib.import_module("torch")} if theirs else {})}
    states = {name: checkpoint_of(torch, parameters) for name, torch in libraries.items()}

    def saving(name: str, durable: bool) -> Callable[[], float]:
        def save() -> float:
            with tempfile.TemporaryDirectory(dir=".") as folder:
                path, waiting = Path(folder, "checkpoint"), list[Callable[[], None]]()
                options = {"flush_later": waiting.append} if name == "ours" and not durable else {}
                start = time.perf_counter()
                libraries[name].save(states[name], path, **options)
                if durable and name == "theirs":
                    flush(path)
                seconds = time.perf_counter() - start
                for job in waiting:
                    job()
            return seconds

        return save

    what = f"checkpoint of {parameters / 1e6:g} million parameters with Adam"
    return [
        Row(f"{what}, until {moment}", "s", in_turns({n: saving(n, durable) for n in libraries}, rounds), {"ours": 1.0})
        for moment, durable in (("it is there", False), ("it is on the disk", True))
    ]


def measure(theirs: bool, rounds: int, steps: int, parameters: int) -> list[Row]:
    """What the installed packages, a long run and a checkpoint cost."""
    return [
        import_time(theirs, rounds), size(theirs), memory(theirs, min(rounds, 3), steps),
        *checkpoints(theirs, min(rounds, 3), parameters),
    ]  # fmt: skip
