"""Curves in the terminal: dots of Braille characters, two by four in each."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from lit.report.curves import Chart, Line, make_charts, short
from lit.report.runs import Run

ROWS = 10
BRAILLE = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # by row and column inside a character
MARGIN = 11


def draw_runs(runs: Sequence[Run], width: int | None = None) -> str:
    """All charts of ``runs``, one below the other.

    Example:
        >>> from pathlib import Path
        >>> from lit.report.runs import Run, Series
        >>> from lit.report.terminal import draw_runs
        >>> print(draw_runs([Run("one", Path("one"), {"loss": Series([0, 1], [1.0, 0.0])})], width=20))
        loss
               1.05 ┤⡄
        ...
              -0.05 ┤       ⠘
                     0      1
        loss: 1 → 0, lowest 0, highest 1
    """
    width = width or min(shutil.get_terminal_size((80, 24)).columns, 160)
    return "\n\n".join(draw_chart(chart, width) for chart in make_charts(runs))


def draw_chart(chart: Chart, width: int) -> str:
    """One chart; several lines are drawn one after the other into the same dots, and told apart by their numbers."""
    columns = max(8, width - MARGIN - 1)
    cells = [[0] * columns for _ in range(ROWS)]
    steps = [step for line in chart.lines for step in line.steps]
    values = [value for line in chart.lines for value in line.values]
    if not values:
        return f"{chart.title}\n  no finite value"
    x0, x1, low, high = min(steps), max(steps), min(values), max(values)
    air = (high - low) * 0.05 or abs(high) * 0.05 or 0.5
    low, high = low - air, high + air
    for line in chart.lines:
        _trace(cells, line, (x0, x1, low, high))
    rows = []
    for number, row in enumerate(cells):
        at = high - (high - low) * number / (ROWS - 1)
        label = short(at) if number % 3 == 0 or number == ROWS - 1 else ""
        dots = "".join(chr(BRAILLE + cell) if cell else " " for cell in row).rstrip()
        rows.append(f"{label:>{MARGIN}} {'┤' if label else '│'}{dots}".rstrip())
    first, last = short(x0), short(x1)
    axis = " " * (MARGIN + 2) + first + " " * max(1, columns - len(first) - len(last)) + last
    numbers = [
        f"{line.label}: {short(line.values[0])} → {short(line.last)}, lowest {short(line.lowest)},"
        f" highest {short(line.highest)}" + (f", {line.lost} not finite" if line.lost else "")
        for line in chart.lines[:12]
        if line.values
    ]
    if len(chart.lines) > 12:
        numbers.append(f"and {len(chart.lines) - 12} more")
    return "\n".join([chart.title, *rows, axis, *numbers])


def _trace(cells: list[list[int]], line: Line, box: tuple[float, float, float, float]) -> None:
    """Set the dots of a line, straight from point to point."""
    x0, x1, low, high = box
    across, down = len(cells[0]) * 2 - 1, len(cells) * 4 - 1
    points = [
        (
            (across * (step - x0) / (x1 - x0)) if x1 > x0 else across / 2,
            down * (high - value) / (high - low),
        )
        for step, value in zip(line.steps, line.values, strict=True)
    ]
    for (ax, ay), (bx, by) in zip(points, points[1:] or points, strict=False):
        count = max(1, round(max(abs(bx - ax), abs(by - ay))))
        for part in range(count + 1):
            x, y = round(ax + (bx - ax) * part / count), round(ay + (by - ay) * part / count)
            cells[y // 4][x // 2] |= DOTS[y % 4][x % 2]
