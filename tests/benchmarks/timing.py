"""How the measures are taken: interleaved in one run, so that whatever else the machine does hits all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

THREADS = 2  # for either library
# Who takes part: ours, or ours in its two forms where the extra `fast` can make a difference, and theirs.
TITLES = {"theirs": "torch / Lightning", "ours": "litengine", "fast": "with fast", "numpy": "NumPy only"}
OURS = ("ours", "fast", "numpy")


@dataclass
class Row:
    """One line of a table: what is measured, and what each contestant's rounds gave.

    `goals` are the most that a ratio to theirs may be, by contestant. `limit` is a goal of another kind.
    """

    measure: str
    unit: str
    rounds: dict[str, list[float]]
    goals: dict[str, float] = field(default_factory=dict)
    limit: str = ""

    def median(self, name: str) -> float:
        return statistics.median(self.rounds[name])

    def ratio(self, name: str) -> float | None:
        """The median of the rounds' ratios to theirs; None where there is nothing to compare with."""
        ratios = self._ratios(name)
        return statistics.median(ratios) if ratios else None

    def spread(self, name: str) -> tuple[float, float]:
        """The lowest and the highest ratio of a round."""
        ratios = self._ratios(name)
        return min(ratios), max(ratios)

    def _ratios(self, name: str) -> list[float]:
        return [a / b for a, b in zip(self.rounds[name], self.rounds.get("theirs", ())) if b]

    def _cells(self, name: str) -> list[str]:
        if name not in self.rounds:
            return ["-"] * (1 if name == "theirs" else 4)
        if name == "theirs":
            return [f"{self.median(name):.4g}"]
        ratios = self._ratios(name)
        ratio = f"{statistics.median(ratios):.2f}" if ratios else "-"
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}" if len(ratios) > 1 else "-"
        return [f"{self.median(name):.4g}", ratio, spread, f"{self.goals[name]:g}" if name in self.goals else self.limit]

    def cells(self, names: list[str]) -> list[str]:
        return [self.measure, self.unit, *[cell for name in names for cell in self._cells(name)]]


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table, with columns for the contestants that took part."""
    names = [name for name in TITLES if any(name in row.rounds for row in rows)]
    head = ["measure", "unit"]
    for name in names:
        head += [TITLES[name]] if name == "theirs" else [TITLES[name], "ratio", "of rounds", "goal"]
    lines = [head, *(row.cells(names) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths)) + " |" for line in lines)


def in_turns(contestants: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """`rounds` results of each function, called in turn: a b c, a b c, ..."""
    results: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, measure in contestants.items():
            results[name].append(measure())
    return results


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


def scaled(results: dict[str, list[float]], scale: float) -> dict[str, list[float]]:
    return {name: [value * scale for value in values] for name, values in results.items()}
