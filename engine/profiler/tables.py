"""The tables of `torch.profiler`: averages per operator, and how they print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.profiler.recording import Recording


@dataclass
class FunctionEvent:
    """One operator call; times in microseconds since the recording began."""

    name: str
    start: float
    cpu_time_total: float
    input_shapes: str


@dataclass
class FunctionEventAvg:
    """All calls of one operator (of the same shapes, if asked for); times in microseconds."""

    key: str
    count: int = 0
    cpu_time_total: float = 0.0
    self_cpu_time_total: float = 0.0
    input_shapes: str = ""
    device_time_total: float = 0.0  # GPU work is not timed apart from the calls that start it
    self_device_time_total: float = 0.0

    @property
    def cpu_time(self) -> float:
        """Microseconds per call."""
        return self.cpu_time_total / max(1, self.count)


_SORT_KEYS = ("cpu_time", "cpu_time_total", "self_cpu_time_total", "count", "device_time_total", "self_device_time_total")


class EventList(list):
    """What `key_averages()` gives: a list with a `table()`."""

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds of all operators together."""
        return sum(row.self_cpu_time_total for row in self)

    def total_average(self) -> FunctionEventAvg:
        """All rows as one."""
        calls, total = sum(row.count for row in self), sum(row.cpu_time_total for row in self)
        return FunctionEventAvg("Total", calls, total, self.self_cpu_time_total)

    def table(self, sort_by: str | None = None, row_limit: int = 100, max_src_column_width: int = 75,
              max_name_column_width: int = 55, max_shapes_column_width: int = 80, header: str | None = None,
              top_level_events_only: bool = False, time_unit: str | None = None) -> str:
        """The rows as text, sorted by an attribute of theirs (largest first).

        Raises ValueError for an unknown `sort_by`; None keeps the order of the first calls.
        """
        key = (sort_by or "").replace("cuda_time", "device_time")
        if sort_by is not None and key not in _SORT_KEYS:
            raise ValueError(f"table(sort_by={sort_by!r}): expected one of {', '.join(_SORT_KEYS)}")
        rows = sorted(self, key=lambda row: -getattr(row, key)) if key else list(self)
        whole = self.self_cpu_time_total or 1e-12
        cells = [["Name", "Self CPU %", "Self CPU", "CPU total %", "CPU total", "CPU time avg", "# of Calls"]]
        shapes = any(row.input_shapes for row in rows)
        if shapes:
            cells[0].append("Input Shapes")
        for row in rows[: row_limit if row_limit >= 0 else None]:
            cells.append([
                _short(row.key, max_name_column_width), f"{100 * row.self_cpu_time_total / whole:.2f}%",
                _time(row.self_cpu_time_total), f"{100 * row.cpu_time_total / whole:.2f}%", _time(row.cpu_time_total),
                _time(row.cpu_time), str(row.count), *([_short(row.input_shapes, max_shapes_column_width)] if shapes else []),
            ])  # fmt: skip
        widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
        rule = "  ".join("-" * w for w in widths)
        lines = ["  ".join(f"{cell:>{w}}" for cell, w in zip(line, widths)) for line in cells]
        head = [] if header is None else [header]
        return "\n".join([*head, rule, lines[0], rule, *lines[1:], rule, f"Self CPU time total: {_time(whole)}"])

    __str__ = table


def averages(recording: Recording, by_shape: bool) -> EventList:
    """One row for every operator, or for every operator and shapes."""
    rows: dict[Any, FunctionEventAvg] = {}
    for (name, shapes), total in recording.totals.items():
        shown = shapes if by_shape else ""
        row = rows.setdefault((name, shown), FunctionEventAvg(name, input_shapes=shown))
        row.count += total.calls
        row.cpu_time_total += total.total * 1e6
        row.self_cpu_time_total += total.own * 1e6
    return EventList(rows.values())


def _short(text: str, width: int | None) -> str:
    return text if width is None or len(text) <= width else text[: width - 3] + "..."


def _time(microseconds: float) -> str:
    if microseconds >= 1e6:
        return f"{microseconds / 1e6:.3f}s"
    return f"{microseconds / 1e3:.3f}ms" if microseconds >= 1e3 else f"{microseconds:.3f}us"
