"""From metrics to charts: what belongs together, thinned out to what a screen can show."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from lit.report.runs import Run, Series

SECTIONS = ("Loss", "Metrics", "Learning rate", "Gradients", "Throughput and device")
STAGES = ("train", "training", "val", "valid", "validation", "test")
STAGE = re.compile(rf"^(?:{'|'.join(STAGES)})[_/. -]|(?:_step|_epoch)(?=/|$)|/dataloader_idx_\d+$")
POINTS_PER_LINE, POINTS_PER_CHART = 400, 24_000
THROUGHPUT = ("per_sec", "/time", "/batches", "/samples", "flops", "device_stats", "devicestats", "cpu_", "memory", "mfu")


@dataclass
class Line:
    """One line of a chart, in steps and values that are finite."""

    label: str
    steps: list[float]
    values: list[float]
    lost: int = 0  # values that are NaN or infinite
    last: float = math.nan
    lowest: float = math.nan
    highest: float = math.nan


@dataclass
class Chart:
    """Lines over the same kind of value."""

    title: str
    section: str
    lines: list[Line] = field(default_factory=list)


def section_of(name: str) -> str:
    """The section that a metric belongs to.

    Example:
        >>> from lit.report.curves import section_of
        >>> [section_of(name) for name in ("val_loss", "lr-Adam", "grad_2.0_norm_total", "train/samples_per_sec", "acc")]
        ['Loss', 'Learning rate', 'Gradients', 'Throughput and device', 'Metrics']
    """
    low = name.lower()
    if low.startswith(("lr-", "lr/", "lr_")) or low in ("lr", "learning_rate") or low.endswith(("/lr", "_lr", "-momentum")):
        return "Learning rate"
    if "grad" in low and ("norm" in low or low.startswith("grad")):
        return "Gradients"
    if any(part in low for part in THROUGHPUT):
        return "Throughput and device"
    if "loss" in low or "perplexity" in low:
        return "Loss"
    return "Metrics"


def base_name(name: str) -> str:
    """A metric's name without its stage and reduction, so that training and validation share a chart.

    Example:
        >>> from lit.report.curves import base_name
        >>> [base_name(name) for name in ("train_loss_epoch", "val/acc", "lr-Adam")]
        ['loss', 'acc', 'lr-Adam']
    """
    return STAGE.sub("", name) or name


def make_charts(runs: Sequence[Run]) -> list[Chart]:
    """The charts in the order of their sections: of one run by what is measured, of several by metric."""
    charts: dict[tuple[str, str], Chart] = {}
    for run in runs:
        for name, series in run.metrics.items():
            if name == "epoch" or (name == "hp_metric" and len(series.values) == 1):
                continue
            title = base_name(name) if len(runs) == 1 else name
            chart = charts.setdefault((section_of(name), title), Chart(title, section_of(name)))
            chart.lines.append(make_line(name if len(runs) == 1 else run.name, series))
    if len(runs) == 1:  # the norms of all parameters in one chart
        _merge_gradients(charts)
    for chart in charts.values():
        limit = max(40, min(POINTS_PER_LINE, POINTS_PER_CHART // len(chart.lines)))
        for line in chart.lines:
            line.steps, line.values = thinned(line.steps, line.values, limit)
    order = {name: number for number, name in enumerate(SECTIONS)}
    return sorted(charts.values(), key=lambda chart: (order[chart.section], chart.title.lower()))


def _merge_gradients(charts: dict[tuple[str, str], Chart]) -> None:
    keys = [key for key in charts if key[0] == "Gradients" and "/" in key[1]]
    if len(keys) > 1:
        together = Chart("gradient norms by parameter", "Gradients", [line for key in keys for line in charts.pop(key).lines])
        charts["Gradients", together.title] = together


def make_line(label: str, series: Series) -> Line:
    """The finite points of ``series``, in the order of their steps."""
    points = sorted(zip(series.steps, series.values, strict=True), key=lambda point: point[0])
    kept = [(step, value) for step, value in points if math.isfinite(value)]
    values = [value for _, value in kept]
    line = Line(label, [step for step, _ in kept], values, lost=len(points) - len(kept))
    if points:
        line.last = points[-1][1]
    if values:
        line.lowest, line.highest = min(values), max(values)
    return line


def thinned(steps: list[float], values: list[float], limit: int) -> tuple[list[float], list[float]]:
    """At most ``limit`` points: of each stretch the lowest and the highest, so that no spike is lost.

    Example:
        >>> from lit.report.curves import thinned
        >>> steps, values = thinned(list(range(1000)), [9.0 if i == 500 else 0.0 for i in range(1000)], 10)
        >>> len(steps) <= 10, 9.0 in values
        (True, True)
    """
    if len(steps) <= limit:
        return steps, values
    stretches = max(1, (limit - 2) // 2)
    inner = len(steps) - 2
    kept = {0, len(steps) - 1}
    for stretch in range(stretches):
        part = range(1 + inner * stretch // stretches, 1 + inner * (stretch + 1) // stretches)
        kept.update((min(part, key=values.__getitem__), max(part, key=values.__getitem__)) if part else ())
    chosen = sorted(kept)
    return [steps[i] for i in chosen], [values[i] for i in chosen]


def short(value: float) -> str:
    """A number for people: four significant digits.

    Example:
        >>> from lit.report.curves import short
        >>> [short(value) for value in (0.123456, 1500.0, 2e-07, 12.0, float("nan"))]
        ['0.1235', '1,500', '2e-07', '12', 'NaN']
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == int(value) and abs(value) < 1e7:
        return f"{int(value):,}"
    return f"{value:,.1f}" if 1000 <= abs(value) < 1e6 else f"{value:.4g}"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About ``count`` round numbers from ``low`` to ``high``.

    Example:
        >>> from lit.report.curves import ticks
        >>> ticks(0.0, 1.0)
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) + 0.0 for number in range(first, last + 1)]
