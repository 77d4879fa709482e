"""Amounts with a unit, as users write them: "10 min", "500 steps", "0.25 epoch", "00:12:00:00"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta

from callbacks.exceptions import MisconfigurationException

UNITS = {
    "second": ("s", "sec", "secs", "second", "seconds"),
    "minute": ("m", "min", "mins", "minute", "minutes"),
    "hour": ("h", "hr", "hrs", "hour", "hours"),
    "day": ("d", "day", "days"),
    "step": ("step", "steps"),
    "batch": ("batch", "batches"),
    "epoch": ("epoch", "epochs"),
}
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
TIMES = "a timedelta, a dict such as {'hours': 2}, text such as '10 min', '2 h', '30 s', or 'DD:HH:MM:SS'"
_AMOUNT = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zA-Z]+)\s*")
_CLOCK = re.compile(r"\s*(\d+):(\d+):(\d+):(\d+)\s*")


def amount_of(text: str) -> tuple[float, str] | None:
    """The number and the unit (a key of ``UNITS``) of an amount; None if it is none.

    Example:
        >>> from callbacks.durations import amount_of
        >>> amount_of("0.25 epoch"), amount_of("500steps"), amount_of("soon")
        ((0.25, 'epoch'), (500.0, 'step'), None)
    """
    found = _AMOUNT.fullmatch(text)
    unit = None if found is None else next((unit for unit, names in UNITS.items() if found[2].lower() in names), None)
    return None if found is None or unit is None else (float(found[1]), unit)


def seconds_of(argument: str, value: str | timedelta | Mapping[str, float]) -> float:
    """Seconds from a timedelta, a dict of its arguments, ``"DD:HH:MM:SS"``, or a number with a unit of time.

    Args:
        argument: how the user wrote it, with one place for the value: ``"Trainer(max_time={})"``.
        value: what the user gave.

    Raises:
        MisconfigurationException: it is none of these.

    Example:
        >>> from callbacks.durations import seconds_of
        >>> [seconds_of("Timer(duration={})", value) for value in ("00:01:30:05", {"minutes": 2}, "1.5 h")]
        [5405.0, 120.0, 5400.0]
    """
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return timedelta(**value).total_seconds()
    if isinstance(value, str):
        clock, amount = _CLOCK.fullmatch(value), amount_of(value)
        if clock is not None:
            days, hours, minutes, seconds = map(int, clock.groups())
            return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()
        if amount is not None and amount[1] in SECONDS:
            return amount[0] * SECONDS[amount[1]]
    raise MisconfigurationException(f"{argument.format(repr(value))}: expected {TIMES}.")
