"""Strong Wolfe line search: a bracketing phase, then zoom (Nocedal and Wright, Numerical Optimization, alg. 3.5, 3.6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["strong_wolfe"]

C1, C2 = 1e-4, 0.9  # sufficient decrease, curvature


class Point(NamedTuple):
    """A step length, and there: the loss, its gradient, and its slope along the direction."""

    t: float
    f: float
    g: Any
    slope: float


def cubic_minimum(a: Point, b: Point, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic through two points with their slopes is least, kept within `bounds` (default: between them)."""
    low, high = bounds if bounds is not None else (min(a.t, b.t), max(a.t, b.t))
    d1 = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    square = d1**2 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2.0
    left, right = (a, b) if a.t <= b.t else (b, a)
    root = square**0.5
    t = right.t - (right.t - left.t) * ((right.slope + root - d1) / (right.slope - left.slope + 2 * root))
    return min(max(t, low), high)


def strong_wolfe(evaluate: Callable[[float], Point], start: Point, t: float, length: float,
                 tolerance_change: float, most: int) -> tuple[Point, int]:
    """Find a step length that satisfies the strong Wolfe conditions.

    Args:
        evaluate: the point at a step length.
        start: the point at 0, with a negative slope.
        t: the first step length to try.
        length: the largest element of the direction; the bracket is small enough when `length` times its width is.
        most: how many steps may follow the first; then the better end of the bracket is taken.

    Returns: the best point, and how often `evaluate` was called.
    """

    def too_high(p: Point) -> bool:
        return p.f > start.f + C1 * p.t * start.slope

    def flat(p: Point) -> bool:
        return abs(p.slope) <= -C2 * start.slope

    before, now, evaluations, done = start, evaluate(t), 1, False
    steps = 0
    while steps < most:
        if too_high(now) or (steps > 1 and now.f >= before.f) or (not flat(now) and now.slope >= 0):
            bracket = [before, now]
            break
        if flat(now):
            return now, evaluations
        bounds = (now.t + 0.01 * (now.t - before.t), now.t * 10)
        before, now = now, evaluate(cubic_minimum(before, now, bounds))
        evaluations += 1
        steps += 1
    else:
        bracket = [start, now]

    stuck = False
    low, high = (0, 1) if bracket[0].f <= bracket[1].f else (1, 0)
    while not done and steps < most and abs(bracket[1].t - bracket[0].t) * length >= tolerance_change:
        t, stuck = _step_inside(cubic_minimum(bracket[0], bracket[1]), bracket, stuck)
        now = evaluate(t)
        evaluations += 1
        steps += 1
        if too_high(now) or now.f >= bracket[low].f:
            bracket[high] = now
            low, high = (0, 1) if bracket[0].f <= bracket[1].f else (1, 0)
            continue
        if flat(now):
            done = True
        elif now.slope * (bracket[high].t - bracket[low].t) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = now
    return bracket[low], evaluations


def _step_inside(t: float, bracket: list[Point], stuck: bool) -> tuple[float, bool]:
    """Keep the next step a tenth of the bracket away from its ends, if it comes near one for the second time."""
    low, high = min(p.t for p in bracket), max(p.t for p in bracket)
    margin = 0.1 * (high - low)
    if min(high - t, t - low) >= margin:
        return t, False
    if not stuck and low < t < high:
        return t, True
    return (high - margin if abs(t - high) < abs(t - low) else low + margin), False
