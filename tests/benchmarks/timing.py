"""How the measures are taken: interleaved in one run, so that whatever else the machine does hits all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Row:
    """One line of the table: the measure, ours, theirs (None where not installed), and the most that ours may be.

    `spread` are the lowest and the highest ratio of a round, where rounds were compared one by one.
    """

    measure: str
    unit: str
    ours: float
    theirs: float | None = None
    goal: str = ""
    spread: tuple[float, float] | None = None

    def cells(self) -> list[str]:
        theirs = "-" if self.theirs is None else f"{self.theirs:.4g}"
        ratio = "-" if not self.theirs else f"{self.ours / self.theirs:.2f}"
        spread = "-" if self.spread is None else f"{self.spread[0]:.2f} to {self.spread[1]:.2f}"
        return [self.measure, self.unit, f"{self.ours:.4g}", theirs, ratio, spread, self.goal]


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    head = ["measure", "unit", "litengine", "torch / Lightning", "ratio", "of rounds", "goal"]
    lines = [head, *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths)) + " |" for line in lines)


def compared(measure: str, unit: str, scale: float, works: dict[str, Callable[[], object]], goal: str, quick: bool) -> Row:
    """A row from rounds in which ours and theirs take turns; the ratio's spread is that of the rounds."""
    least, rounds = (0.001, 1) if quick else (0.1, 5)
    contestants = {name: seconds_per_call(work, least) for name, work in works.items()}
    results: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, take in contestants.items():
            results[name].append(take() * scale)
    ours, theirs = results["ours"], results.get("theirs")
    if theirs is None:
        return Row(measure, unit, statistics.median(ours), None, goal)
    ratios = [a / b for a, b in zip(ours, theirs)]
    return Row(measure, unit, statistics.median(ours), statistics.median(theirs), goal, (min(ratios), max(ratios)))


def interleaved(contestants: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The median of `rounds` results of each function, called in turn: a b c, a b c, ..."""
    results: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, measure in contestants.items():
            results[name].append(measure())
    return {name: statistics.median(values) for name, values in results.items()}


def seconds_per_call(work: Callable[[], object], least: float) -> Callable[[], float]:
    """A function that repeats `work` for at least `least` seconds and returns the seconds of one call."""
    work()
    count = 1
    while True:
        start = time.perf_counter()
        for _ in range(count):
            work()
        took = time.perf_counter() - start
        if took >= least:
            break
        count = max(count + 1, int(1.2 * count * least / max(took, 1e-9)))

    def measure() -> float:
        start = time.perf_counter()
        for _ in range(count):
            work()
        return (time.perf_counter() - start) / count

    return measure
