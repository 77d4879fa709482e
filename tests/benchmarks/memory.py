"""Peak memory and page faults of a row: every contestant in a process of its own.

`python -m tests.benchmarks.memory CONTESTANT ROW` measures one and prints two numbers.
"""

from __future__ import annotations

import gc
import importlib
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import engine
from tests.benchmarks import rows
from tests.benchmarks.contestants import kernels, modes, same_threads
from tests.benchmarks.starting import ROOT
from tests.benchmarks.timing import Row

WARM, STEPS = 3, 5


def of_process(field: str) -> float:
    """A line of /proc/self/status, in MB."""
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def measured_here(case: rows.Case, contestant: str) -> tuple[float, float]:
    """(MB that the first steps need above what was there before them, page faults per step after that)."""
    import resource

    torch = importlib.import_module("torch") if contestant == "theirs" else engine
    with same_threads(torch), kernels(contestant):
        work = case.make(torch)
        gc.collect()
        before = of_process("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        for _ in range(WARM):
            work()
        peak = of_process("VmHWM") - before
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(STEPS):
            work()
        return peak, (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults) / STEPS


def in_fresh_process(case: rows.Case, contestant: str) -> tuple[float, float]:
    command = [sys.executable, "-m", "tests.benchmarks.memory", contestant, case.name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"measuring the memory of {case.name!r} failed:\n{done.stderr}")
    peak, faults = done.stdout.split()
    return float(peak), float(faults)


def measure(cases: list[rows.Case], theirs: bool) -> list[Row]:
    """Two lines for each case that compares memory. Two processes at a time: what else runs changes neither number."""
    found = []
    names = (*modes(), *(("theirs",) if theirs else ()))
    compared = [case for case in cases if case.memory]
    with ThreadPoolExecutor(2) as pool:
        running = {(case.name, name): pool.submit(in_fresh_process, case, name) for case in compared for name in names}
        for case in compared:
            pairs = {name: running[case.name, name].result() for name in names}
            peaks, faults = ({name: [pair[i]] for name, pair in pairs.items()} for i in (0, 1))
            found.append(Row(f"{case.name}: peak", "MB", peaks, dict.fromkeys(modes(), 1.0)))
            found.append(Row(f"{case.name}: page faults", "a step", faults))
            print(case.name, peaks, faults, file=sys.stderr, flush=True)  # a full run takes minutes
    return found


if __name__ == "__main__":
    chosen = next(case for case in rows.CASES if case.name == sys.argv[2])
    print(*measured_here(chosen, sys.argv[1]))
