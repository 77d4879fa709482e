"""What becomes of the numbers: JSON, tables inside a Markdown page, and a plot."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

from engine.serialization.atomic import replacing
from tests.benchmarks.timing import OURS, TITLES, Row, table

Groups = dict[str, list[Row]]
COLOURS = {"ours": "tab:blue", "fast": "tab:orange", "numpy": "tab:blue"}


def load(path: Path) -> tuple[str, Groups]:
    """The machine and the rows of a JSON file that `save` wrote; nothing if there is no such file."""
    if not path.exists():
        return "", {}
    found = json.loads(path.read_text())
    return found["machine"], {name: [Row(**row) for row in rows] for name, rows in found["groups"].items()}


def merged(before: Groups, measured: Groups) -> Groups:
    """`before` with what was measured anew in the place of what it had."""
    groups = {name: list(rows) for name, rows in before.items()}
    for name, rows in measured.items():
        fresh = {row.measure: row for row in rows}
        kept = [fresh.pop(row.measure, row) for row in groups.get(name, ())]
        groups[name] = [*kept, *fresh.values()]
    return groups


def save(path: Path, machine: str, groups: Groups) -> None:
    """Write everything, every round included."""
    found = {name: [dataclasses.asdict(row) for row in rows] for name, rows in groups.items()}
    with replacing(str(path)) as file:
        file.write(json.dumps({"machine": machine, "groups": found}, indent=1).encode())


def fill(path: Path, machine: str, groups: Groups) -> None:
    """Put each group's table between its marks; the rest stays."""
    put(path, {"machine": machine, **{name: table(rows) for name, rows in groups.items()}})


def put(path: Path, sections: dict[str, str]) -> None:
    """Put texts between their marks, `<!-- measured: NAME -->` and `<!-- end -->`.

    Those that have no marks are left out. Raises ValueError if no marks are found at all.
    """
    text = path.read_text(encoding="utf-8")

    def filled(mark: re.Match) -> str:
        content = sections.get(mark[2])
        return mark[0] if content is None else f"{mark[1]}\n\n{content}\n\n{mark[4]}"

    changed, count = re.subn(r"(<!-- measured: (\w+) -->)(.*?)(<!-- end -->)", filled, text, flags=re.DOTALL)
    if not count:
        raise ValueError(f"{path} has no marks like '<!-- measured: models -->' and '<!-- end -->'")
    with replacing(str(path)) as file:
        file.write(changed.encode())


def plot(path: Path, machine: str, groups: Groups) -> None:
    """A picture of all ratios to torch, a bar with the spread of its rounds for each, and a mark for its goal."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawn = {name: [row for row in rows if any(row.ratio(key) for key in OURS if key in row.rounds)]
             for name, rows in groups.items()}
    drawn = {name: rows for name, rows in drawn.items() if rows}
    heights = [len(rows) for rows in drawn.values()]
    figure, panels = pyplot.subplots(len(drawn), figsize=(11, 1.5 + 0.3 * sum(heights) + 0.7 * len(heights)), squeeze=False,
                                     height_ratios=[h + 1 for h in heights], layout="constrained")  # fmt: skip
    for panel, (name, rows) in zip(panels[:, 0], drawn.items()):
        _draw(panel, name, rows)
    figure.suptitle("Ratio to torch (left of 1: faster or smaller)", fontsize=12)
    figure.supxlabel(machine, fontsize=6)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw(panel: Any, name: str, rows: list[Row]) -> None:
    keys = [key for key in TITLES if key in OURS and any(key in row.rounds for row in rows)]
    thick = 0.8 / len(keys)
    for k, key in enumerate(keys):
        found = [(i, row) for i, row in enumerate(rows) if key in row.rounds and row.ratio(key)]
        places = [i + (k - (len(keys) - 1) / 2) * thick for i, _ in found]
        values: Any = [row.ratio(key) for _, row in found]
        panel.barh(places, values, thick * 0.9, color=COLOURS[key], label=TITLES[key])
        for place, value, (_, row) in zip(places, values, found):
            low, high = row.spread(key)
            panel.plot([low, high], [place, place], color="black", linewidth=0.8)
            if key in row.goals:
                goal = row.goals[key]
                panel.plot([goal, goal], [place - thick / 2, place + thick / 2], color="red", linewidth=2)
            panel.annotate(f"{value:.2f}", (high, place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=6)
    panel.set_yticks(range(len(rows)), [row.measure for row in rows], fontsize=7)
    panel.set_ylim(len(rows) - 0.4, -0.6)
    panel.axvline(1, color="grey", linewidth=0.8, linestyle="--")
    panel.set_title(name, fontsize=10, loc="left")
    panel.margins(x=0.08)
    if len(keys) > 1:
        panel.legend(fontsize=7, loc="lower right")
