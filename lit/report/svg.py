"""A chart as SVG, complete without JavaScript; the script on the page redraws it from the same numbers."""

from __future__ import annotations

import json
from html import escape

from lit.report.curves import Chart, Line, short, ticks

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 12, 30
COLOURS = 8  # as many as the style sheet has; then lines are dashed


def limits(lines: list[Line]) -> tuple[float, float, float, float]:
    """Lowest and highest step and value, with some air around the values."""
    steps = [step for line in lines for step in line.steps] or [0.0]
    values = [value for line in lines for value in line.values] or [0.0]
    low, high = min(values), max(values)
    air = (high - low) * 0.05 or abs(high) * 0.05 or 0.5
    return min(steps), max(steps), low - air, high + air


def draw(chart: Chart, number: int) -> str:
    """The SVG, the legend, and the numbers for the script."""
    x0, x1, y0, y1 = limits(chart.lines)
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(step: float) -> float:
        return LEFT + (across * (step - x0) / (x1 - x0) if x1 > x0 else across / 2)

    def y(value: float) -> float:
        return TOP + down * (1 - (value - y0) / (y1 - y0))

    grid = [
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(v):.1f}" y2="{y(v):.1f}"/>'
        f'<text class="y" x="{LEFT - 8}" y="{y(v) + 4:.1f}">{short(v)}</text>'
        for v in ticks(y0, y1)
    ]
    grid += [f'<text class="x" x="{x(v):.1f}" y="{HEIGHT - 10}">{short(v)}</text>' for v in ticks(x0, x1, 6)]
    paths = []
    for index, line in enumerate(chart.lines):
        points = " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in zip(line.steps, line.values, strict=True))
        if len(line.steps) == 1:
            s, v = line.steps[0], line.values[0]
            paths.append(f'<circle class="{style(index)}" cx="{x(s):.1f}" cy="{y(v):.1f}" r="4"/>')
        elif points:
            paths.append(f'<polyline class="{style(index)}" points="{points}"/>')
    many = " many" if len(chart.lines) > COLOURS else ""
    data = [[line.label, [_round(s) for s in line.steps], [_round(v) for v in line.values]] for line in chart.lines]
    return (
        f'<figure class="chart{many}" id="chart-{number}">'
        f"<figcaption><small>{chart.section}</small>{escape(chart.title)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(spoken(chart))}">'
        f'<g class="grid">{"".join(grid)}</g><g class="lines">{"".join(paths)}</g></svg>'
        f"{_legend(chart)}"
        f'<script type="application/json">{json.dumps(data, separators=(",", ":")).replace("<", chr(92) + "u003c")}</script>'
        f"</figure>"
    )


def style(index: int) -> str:
    """The class of a line: a colour, and dashes once the colours are used up."""
    return f"c{index % COLOURS}" + (" dashed" if index // COLOURS % 2 else "")


def _round(value: float) -> float | int:
    return int(value) if value == int(value) and abs(value) < 1e15 else float(f"{value:.6g}")


def _legend(chart: Chart) -> str:
    shown = chart.lines[:COLOURS]
    items = "".join(
        f'<li class="{style(index)}"><i></i>{escape(line.label)} <b>{short(line.last)}</b>'
        + (f' <em>{line.lost} not finite</em>' if line.lost else "")
        + "</li>"
        for index, line in enumerate(shown)
    )
    rest = len(chart.lines) - len(shown)
    return f'<ul class="legend">{items}{f"<li>and {rest} more</li>" if rest else ""}</ul>'


def spoken(chart: Chart) -> str:
    """What the chart shows, for those who listen to the page."""
    parts = []
    for line in chart.lines[:COLOURS]:
        if not line.values:
            parts.append(f"{line.label}: no finite value")
            continue
        parts.append(
            f"{line.label}: from {short(line.values[0])} at step {short(line.steps[0])} to {short(line.values[-1])}"
            f" at step {short(line.steps[-1])}, lowest {short(line.lowest)}, highest {short(line.highest)}"
        )
    rest = len(chart.lines) - COLOURS
    return f"Line chart of {chart.title}. " + "; ".join(parts) + (f"; and {rest} more lines" if rest > 0 else "") + "."
