"""torch.utils.benchmark: how long a statement takes, measured often enough to be believed."""

from __future__ import annotations

import statistics
import timeit
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["Compare", "Measurement", "Timer"]


@dataclass(frozen=True)
class Measurement:
    """What a Timer found. `raw_times` are seconds of `number_per_run` executions each."""

    number_per_run: int
    raw_times: list[float]
    stmt: str = "pass"
    setup: str = "pass"
    label: str | None = None
    sub_label: str | None = None
    description: str | None = None
    num_threads: int = 1

    @property
    def times(self) -> list[float]:
        """Seconds per execution, for every run."""
        return [t / self.number_per_run for t in self.raw_times]

    @property
    def mean(self) -> float:
        """Seconds per execution."""
        return statistics.fmean(self.times)

    @property
    def median(self) -> float:
        """Seconds per execution."""
        return statistics.median(self.times)

    @property
    def iqr(self) -> float:
        """The interquartile range of `times`; 0 for a single run."""
        if len(self.times) < 2:
            return 0.0
        quarters = statistics.quantiles(self.times, n=4, method="inclusive")
        return quarters[2] - quarters[0]

    @property
    def title(self) -> str:
        """What was measured, in words."""
        title = self.label or self.stmt
        return f"{title}: {self.sub_label}" if self.sub_label else title

    def __repr__(self) -> str:
        runs = f"{len(self.times)} measurement{'s' if len(self.times) > 1 else ''}, {self.number_per_run} runs "
        spread = f"  IQR: {_seconds(self.iqr)}\n" if len(self.times) > 1 else ""
        return (f"<{__name__}.Measurement of {self.title}>\n{self.description or 'Median'}: {_seconds(self.median)}\n{spread}"
                f"  {runs}per measurement, {self.num_threads} thread{'s' if self.num_threads > 1 else ''}")


class Timer:
    """Time a statement, like `timeit.Timer`, on a set number of threads and after a warm-up.

    Args:
        stmt, setup: Python code; `globals` are the names that it sees.
        timer: the clock.
        label, sub_label, description: words for `Measurement` and `Compare`.
        num_threads: threads of the engine while measuring.
        language: only "python"; NotImplementedError for C++.

    >>> from engine.utils.benchmark import Timer
    >>> found = Timer("x + 1", globals={"x": torch.ones(3)}).timeit(10)
    >>> found.number_per_run, found.median > 0
    (10, True)
    """

    def __init__(self, stmt: str = "pass", setup: str = "pass", global_setup: str = "",
                 timer: Callable[[], float] = timeit.default_timer, globals: dict[str, Any] | None = None,
                 label: str | None = None, sub_label: str | None = None, description: str | None = None,
                 env: str | None = None, num_threads: int = 1, language: Any = "python") -> None:
        if str(getattr(language, "name", language)).lower() not in ("python", "py"):
            raise NotImplementedError("Timer(language=...) other than Python is not supported: nothing is compiled here")
        self._words = {"stmt": stmt, "setup": setup, "label": label, "sub_label": sub_label, "description": description,
                       "num_threads": num_threads}
        self._num_threads = num_threads
        names = dict(globals or {})
        if "torch" not in names:
            import engine

            names["torch"] = engine
        self._timer = timeit.Timer(stmt, setup, timer, names)

    def _run(self, number: int) -> float:
        from engine.settings import get_num_threads, set_num_threads

        before = get_num_threads()
        set_num_threads(self._num_threads)
        try:
            return max(self._timer.timeit(number), 1e-9)
        finally:
            set_num_threads(before)

    def _measured(self, number: int, times: list[float]) -> Measurement:
        return Measurement(number, times, **self._words)  # type: ignore[arg-type]

    def timeit(self, number: int = 1_000_000) -> Measurement:
        """One run of `number` executions, after a warm-up of a hundredth."""
        self._run(max(number // 100, 2))
        return self._measured(number, [self._run(number)])

    def _number_for(self, seconds: float) -> int:
        """How many executions take about that long: tenfold until they do."""
        number = 1
        while True:
            took = self._run(number)
            if took >= seconds or number >= 10**9:
                return number
            number *= 10

    def blocked_autorange(self, callback: Callable | None = None, min_run_time: float = 0.2) -> Measurement:
        """Runs of as many executions as make the clock's own cost small, for `min_run_time` seconds altogether.

        `callback(number, seconds)` is called after every run.
        """
        number = self._number_for(min_run_time / 1000)
        times: list[float] = []
        while sum(times) < min_run_time:
            times.append(self._run(number))
            if callback is not None:
                callback(number, times[-1])
        return self._measured(number, times)

    def adaptive_autorange(self, threshold: float = 0.1, *, min_run_time: float = 0.01, max_run_time: float = 10.0,
                           callback: Callable | None = None) -> Measurement:
        """Like `blocked_autorange`, until the spread (IQR / median) is below `threshold` or `max_run_time` has passed."""
        number = self._number_for(min_run_time / 10)
        times: list[float] = []
        while True:
            times.append(self._run(number))
            if callback is not None:
                callback(number, times[-1])
            found = self._measured(number, times)
            settled = len(times) > 3 and sum(times) > min_run_time and found.iqr / found.median < threshold
            if settled or sum(times) > max_run_time:
                return found


class Compare:
    """A table of measurements: a row for every label, a column for every description."""

    def __init__(self, results: Iterable[Measurement]) -> None:
        self._results = list(results)

    def extend_results(self, results: Iterable[Measurement]) -> None:
        """Add measurements."""
        self._results += results

    def __str__(self) -> str:
        columns = list(dict.fromkeys(m.description or "" for m in self._results))
        rows: dict[tuple, dict[str, str]] = {}
        for m in self._results:
            rows.setdefault((m.title, m.num_threads), {})[m.description or ""] = _seconds(m.median)
        table = [["", "threads", *columns]]
        table += [[title, str(threads), *(cells.get(c, "") for c in columns)] for (title, threads), cells in rows.items()]
        widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
        return "\n".join("  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths)) for row in table)

    def print(self) -> None:
        """Print the table."""
        print(self)


def _seconds(value: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return f"{value / 1e-9:.2f} ns"
