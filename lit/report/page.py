"""The HTML page: everything in one file, with no address in it that a browser would load something from."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from lit.report.curves import SECTIONS, base_name, make_charts, section_of, short
from lit.report.runs import Run
from lit.report.svg import draw

LOWER_IS_BETTER = ("loss", "error", "mse", "mae", "perplexity", "rmse")


def make_page(runs: Sequence[Run], title: str) -> str:
    """The page about ``runs`` as text."""
    here = Path(__file__).parent
    css, script = ((here / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    charts = make_charts(runs)
    sections = [name for name in SECTIONS if any(chart.section == name for chart in charts)]
    parts = [_summary(runs[0])] if len(runs) == 1 else [_comparison(runs)]
    drawn = "".join(draw(chart, number) for number, chart in enumerate(charts))
    parts.append(f'<section aria-label="Curves"><h2>Curves</h2><div class="charts">{drawn}</div></section>')
    details = _details(runs[0]) if len(runs) == 1 else "".join(
        f"<details><summary>{escape(run.name)}</summary>{_details(run)}</details>" for run in runs
    )  # fmt: skip
    parts.append(f'<section id="details"><h2>Details</h2>{details}</section>')
    names = ["Runs" if len(runs) > 1 else "Summary", *sections, "Details"]
    first = {name: f"chart-{[chart.section for chart in charts].index(name)}" for name in sections}
    links = "".join(f'<a href="#{first.get(name, name.lower())}">{name}</a>' for name in names)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="icon" href="data:,"><style>\n{css}</style></head><body>'
        '<a class="skip" href="#main">To the content</a>'
        f"<header><h1>{escape(title)}</h1><p class=\"sub\">{_subtitle(runs)}</p></header>"
        f'<nav aria-label="Sections"><div>{links}<span class="controls">'
        '<label><input type="checkbox" id="log" autocomplete="off"> log scale</label>'
        '<label>smooth <input type="range" id="smooth" min="0" max="98" value="0" autocomplete="off"></label>'
        "</span></div></nav>"
        f'<main id="main">{"".join(parts)}</main>'
        f"<footer>Made by <code>lit report</code> on {time.strftime('%Y-%m-%d %H:%M')}.</footer>"
        f"<script>\n{script}</script></body></html>\n"
    )


def _subtitle(runs: Sequence[Run]) -> str:
    if len(runs) > 1:
        return f"{len(runs)} runs"
    run = runs[0]
    parts = []
    if run.started:
        parts.append("started " + time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started)))
    if run.started and run.finished > run.started:
        parts.append("took " + duration(run.finished - run.started))
    return escape(", ".join(parts))


def duration(seconds: float) -> str:
    """Seconds for people.

    Example:
        >>> from lit.report.page import duration
        >>> [duration(seconds) for seconds in (0.4, 75, 7384)]
        ['0.4 s', '1 min 15 s', '2 h 3 min']
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _best(name: str, values: Iterable[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return math.nan
    return min(finite) if any(word in name.lower() for word in LOWER_IS_BETTER) else max(finite)


def _key_metrics(runs: Sequence[Run], most: int) -> list[str]:
    """The metrics that tell most about a run: validation and test first, one per kind of value and stage."""
    names = list(dict.fromkeys(name for run in runs for name in run.metrics))
    wanted = [name for name in names if section_of(name) in ("Loss", "Metrics") and name not in ("epoch", "hp_metric")]
    wanted = [name for name in wanted if not (name.endswith("_step") and name[:-5] + "_epoch" in names)]
    rank = {"test": 0, "val": 1}
    wanted.sort(key=lambda name: (next((rank[word] for word in rank if name.startswith(word)), 2), base_name(name)))
    return wanted[:most]


def _summary(run: Run) -> str:
    tiles = []
    for name in _key_metrics([run], 6):
        values = run.metrics[name].values
        tiles.append((f"{name}, best of {len(values)}" if len(values) > 1 else name, short(_best(name, values))))
    steps = max((series.steps[-1] for series in run.metrics.values() if series.steps), default=None)
    if steps is not None:
        tiles.append(("last step", short(steps)))
    if run.tensors:
        tiles.append(("parameters", short(_parameters(run))))
    body = "".join(f'<div class="tile"><span>{escape(label)}</span><b>{value}</b></div>' for label, value in tiles)
    return f'<section id="summary" aria-label="Summary"><div class="tiles">{body}</div></section>'


def _parameters(run: Run) -> int:
    return sum(math.prod(about["shape"]) for about in run.tensors.values())


def _comparison(runs: Sequence[Run]) -> str:
    """One row per run: its best values, and the hyper-parameters in which the runs differ."""
    metrics = _key_metrics(runs, 6)
    names = list(dict.fromkeys(name for run in runs for name in run.hparams))
    differing = [name for name in names if len({run.hparams.get(name) for run in runs}) > 1]
    best_of = {
        name: _best(name, [_best(name, run.metrics[name].values) for run in runs if name in run.metrics]) for name in metrics
    }
    rows = []
    for run in runs:
        cells = [f"<td>{escape(run.name)}</td>"]
        for name in metrics:
            value = _best(name, run.metrics[name].values) if name in run.metrics else math.nan
            text = f"<b>{short(value)}</b>" if value == best_of[name] else "" if math.isnan(value) else short(value)
            cells.append(f'<td class="n" data-v="{_sortable(value)}">{text}</td>')
        cells += [f"<td>{escape(run.hparams.get(name, ''))}</td>" for name in differing]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    heads = [("run", ""), *((f"best {name}", "n") for name in metrics), *((name, "") for name in differing)]
    head = "".join(f'<th scope="col" class="{kind}"><button type="button">{escape(name)}</button></th>' for name, kind in heads)
    return (
        '<section id="runs"><h2>Runs</h2><div class="scroll" tabindex="0" role="region" aria-label="All runs">'
        f'<table class="sortable"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div></section>'
    )


def _sortable(value: float) -> str:
    return repr(value) if math.isfinite(value) else "1e999"


def _details(run: Run) -> str:
    blocks = [
        _pairs("Hyper-parameters", run.hparams),
        _checkpoint_table(run),
        _pairs("Environment", {name: str(value) for name, value in run.environment.items() if name != "started"}),
    ]
    model = _model_table(run)
    config = f"<details><summary>config.yaml</summary><pre>{escape(run.config)}</pre></details>" if run.config else ""
    columns = "".join(f"<div>{block}</div>" for block in blocks if block)
    return f'<div class="columns">{columns}</div>{model}{_values(run)}{config}'


def _pairs(title: str, pairs: dict[str, str]) -> str:
    rows = "".join(f'<tr><td>{escape(k)}</td><td class="wrap">{escape(v)}</td></tr>' for k, v in pairs.items())
    return f'<h3>{title}</h3><div class="scroll"><table><tbody>{rows}</tbody></table></div>' if pairs else ""


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int]) -> str:
    kind = ['class="n"' if column in numbers else "" for column in range(len(heads))]
    head = "".join(f'<th scope="col" {kind[i]}>{name}</th>' for i, name in enumerate(heads))
    body = "".join(f"<tr>{''.join(f'<td {kind[i]}>{escape(cell)}</td>' for i, cell in enumerate(row))}</tr>" for row in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{title}">{table}</div>'


def _checkpoint_table(run: Run) -> str:
    if not run.checkpoints:
        return ""
    rows = [
        [about["name"], str(about.get("epoch", "")), str(about.get("global_step", "")), f"{about['bytes'] / 1e6:,.2f} MB"]
        for about in sorted(run.checkpoints, key=lambda about: about["time"])
    ]
    return "<h3>Checkpoints</h3>" + _table("Checkpoints", ("file", "epoch", "step", "size"), rows, (1, 2, 3))


def _model_table(run: Run) -> str:
    if not run.tensors:
        return ""
    rows = [
        [name, " × ".join(map(str, about["shape"])) or "one number", about["dtype"], f"{math.prod(about['shape']):,}"]
        for name, about in run.tensors.items()
    ]
    table = _table("Model", ("tensor", "shape", "dtype", "numbers"), rows, (3,))
    return f"<details><summary>Model: {_parameters(run):,} numbers in {len(rows)} tensors</summary>{table}</details>"


def _values(run: Run) -> str:
    """The curves as numbers, for those who do not look at charts."""
    rows = []
    for name, series in sorted(run.metrics.items()):
        finite = [value for value in series.values if math.isfinite(value)] or [math.nan]
        rows.append([name, str(len(series.values)), *map(short, (series.values[-1], min(finite), max(finite)))])
    table = _table("Values", ("metric", "values", "last", "lowest", "highest"), rows, (1, 2, 3, 4))
    return f"<details><summary>All metrics as numbers</summary>{table}</details>" if rows else ""
