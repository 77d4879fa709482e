"""What the numbers were measured on."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata as metadata
import os
import platform
import subprocess

from tests.benchmarks.starting import ROOT
from tests.benchmarks.timing import THREADS

PACKAGES = ("numpy", "numba", "torch", "lightning")


def processor() -> str:
    """The processor's name as Linux gives it, or what Python knows elsewhere."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB"
    except (ValueError, AttributeError):
        return "unknown memory"


def version(package: str) -> str:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return f"no {package}"


def commit() -> str:
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip() or "no commit"
    except OSError:
        return "no commit"


def description() -> str:
    """One line: processor, memory, system, versions, commit and day."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [processor(), f"{cores} cores, {memory()}", f"{THREADS} threads each", f"Python {platform.python_version()}"]
    parts += [*map(version, PACKAGES), f"{platform.system()} {platform.release()}", f"commit {commit()}"]
    return ", ".join([*parts, datetime.date.today().isoformat()])
