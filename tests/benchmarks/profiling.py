"""Where the time of a row goes: by operator and direction, by Python function, in products of matrices, and in torch."""

from __future__ import annotations

import contextlib
import cProfile
import io
import pstats
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from types import FrameType, FunctionType, ModuleType
from typing import Any

import numpy as np

import engine
from engine.autograd.driver import Run
from engine.ops.base import CARDS, FUNCTIONAL, FUNCTIONS, apply
from engine.optim import Optimizer
from tests.benchmarks.contestants import kernels
from tests.benchmarks.rows import Case

PRODUCTS = ("matmul", "dot")
SHOWN = 18  # lines of a table


class Clock:
    """Time per label, read off the calls of Python functions in this thread: the outermost labelled call counts.

    Operators are the calls of public functions of `engine.ops`, of `apply`, and of the short paths of pointwise operators,
    which hold their card in a variable of that name; gradients are the calls of the driver's formula.
    """

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        named = {**FUNCTIONS, **FUNCTIONAL}
        self.names = {function.__code__: name for name, function in named.items() if isinstance(function, FunctionType)}
        functions = [getattr(card, name, apply) for card in CARDS.values() for name in ("call", "dunder")]
        self.carded = {apply.__code__, *[f.__code__ for f in functions if "card" in f.__code__.co_freevars]}
        self._outer: tuple[FrameType, str, float] | None = None

    def label(self, frame: FrameType) -> str | None:
        code = frame.f_code
        if code in self.carded:
            return f"{frame.f_locals['card'].name}, forward"
        if code in self.names:
            return f"{self.names[code]}, forward"
        if code is Run._formula.__code__:
            return f"{frame.f_locals['node'].name().removesuffix('Backward0')}, backward"
        if code.co_name in ("step", "zero_grad") and isinstance(frame.f_locals.get("self"), Optimizer):
            return f"optimizer.{code.co_name}"
        return None

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and self._outer is None:
            label = self.label(frame)
            if label is not None:
                self._outer = (frame, label, time.perf_counter())
        elif event == "return" and self._outer is not None and self._outer[0] is frame:
            _, label, start = self._outer
            self.seconds[label] += time.perf_counter() - start
            self.calls[label] += 1
            self._outer = None


class Products:
    """Seconds of all threads inside `numpy.matmul` and `numpy.dot` (the operator `@` on small arrays is not seen)."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lock = threading.Lock()

    def _timed(self, product: Callable) -> Callable:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return product(*args, **kwargs)
            finally:
                took = time.perf_counter() - start
                with self._lock:
                    self.seconds += took

        return timed

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        before = {name: getattr(np, name) for name in PRODUCTS}
        try:
            for name, product in before.items():
                setattr(np, name, self._timed(product))
            yield
        finally:
            for name, product in before.items():
                setattr(np, name, product)


def repeated(work: Callable[[], object], count: int) -> float:
    """Seconds per call."""
    start = time.perf_counter()
    for _ in range(count):
        work()
    return (time.perf_counter() - start) / count


def by_operator(work: Callable[[], object], count: int) -> str:
    """Milliseconds per step of every operator forward and backward, and of what lies between them."""
    clock = Clock()
    before = sys.getprofile()
    sys.setprofile(clock)
    try:
        whole = repeated(work, count)
    finally:
        sys.setprofile(before)
    rest = whole - sum(clock.seconds.values()) / count
    lines = [f"{'ms a step':>10} {'share':>6} {'calls':>6}  operator ({1e3 * whole:.3f} ms a step under this profile)"]
    for label, seconds in clock.seconds.most_common(SHOWN):
        lines.append(f"{1e3 * seconds / count:10.3f} {seconds / count / whole:6.1%} {clock.calls[label] / count:6.0f}  {label}")
    return "\n".join([*lines, f"{1e3 * rest:10.3f} {rest / whole:6.1%} {'':>6}  Python between operators"])


def by_function(work: Callable[[], object], count: int) -> str:
    """cProfile's table of functions by their own time."""
    profile = cProfile.Profile()
    profile.enable()
    repeated(work, count)
    profile.disable()
    text = io.StringIO()
    pstats.Stats(profile, stream=text).strip_dirs().sort_stats("tottime").print_stats(SHOWN)
    return text.getvalue().strip()


def of_torch(torch: Any, work: Callable[[], object], count: int) -> str:
    """torch's own profiler on the same row."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        repeated(work, count)
    return profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=SHOWN, max_name_column_width=40)


def report(case: Case, torch: ModuleType | None, mode: str, least: float) -> str:
    """The text of `--profile`."""
    with kernels(mode):
        work = case.make(engine)
        repeated(work, 2)
        count = max(1, int(least / repeated(work, 1)))
        took = repeated(work, count)
        products = Products()
        with products.watched():
            watched = repeated(work, count)
        parts = [f"{case.name} ({mode}): {1e3 * took:.3f} ms a step, mean of {count}",
                 f"matrix products: {1e3 * products.seconds / count:.3f} thread-ms a step"
                 f" of {1e3 * watched:.3f} ms on {engine.get_num_threads()} threads",
                 by_operator(work, count), by_function(work, count)]  # fmt: skip
    if torch is not None:
        work = case.make(torch)
        repeated(work, 2)
        parts += [f"torch: {1e3 * repeated(work, count):.3f} ms a step", of_torch(torch, work, count)]
    return "\n\n".join(parts)
