"""Who is measured: torch, and this engine with and without the kernels of its extra `fast`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import ModuleType

import engine
from engine import fast
from tests.benchmarks.timing import THREADS, seconds_per_call

Work = Callable[[], object]


def modes() -> tuple[str, ...]:
    """The forms of the engine that can be measured here."""
    return ("fast", "numpy") if fast.is_available() else ("numpy",)


@contextlib.contextmanager
def kernels(mode: str) -> Iterator[None]:
    """Run the engine with its compiled kernels ("fast") or without ("numpy"); "theirs" changes nothing."""
    if mode == "theirs":
        yield
        return
    with engine.backends.fast.flags(enabled=mode == "fast"):
        yield


def libraries(torch: ModuleType | None) -> dict[str, ModuleType]:
    """Contestant -> the library it runs on."""
    return {**dict.fromkeys(modes(), engine), **({"theirs": torch} if torch else {})}


def takes(make: Callable[[ModuleType], Work], torch: ModuleType | None, least: float) -> dict[str, Callable[[], float]]:
    """For each contestant a function that measures the seconds of one call of its work."""
    return {name: _take(name, make, library, least) for name, library in libraries(torch).items()}


def _take(mode: str, make: Callable[[ModuleType], Work], library: ModuleType, least: float) -> Callable[[], float]:
    with kernels(mode):
        take = seconds_per_call(make(library), least)

    def measure() -> float:
        with kernels(mode):
            return take()

    return measure


@contextlib.contextmanager
def same_threads(*libraries: ModuleType | None) -> Iterator[None]:
    """Both libraries with `THREADS` threads."""
    present = [library for library in libraries if library is not None]
    before = [library.get_num_threads() for library in present]
    try:
        for library in present:
            library.set_num_threads(THREADS)
        yield
    finally:
        for library, count in zip(present, before):
            library.set_num_threads(count)
