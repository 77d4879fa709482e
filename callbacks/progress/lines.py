"""Progress as plain lines, for output that goes to a file or a pipe, where a bar cannot be drawn over."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol

_WIDTH = 5


class Bar(Protocol):
    """The part of tqdm's interface that our callbacks use."""

    n: Any
    total: Any
    initial: Any
    disable: Any

    def reset(self, total: float | None = None) -> None: ...
    def set_description(self, desc: str, refresh: bool = True) -> None: ...
    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None: ...
    def refresh(self) -> None: ...
    def close(self) -> None: ...
    def write(self, s: str, file: Any = None, end: str = "\n") -> None: ...


class LineBar:
    """A ``Bar`` that prints its state as a line whenever it is refreshed.

    Args:
        desc: text in front.
        total: number of steps; None if it is not known.
        disable: whether to print nothing at all.
        leave: whether ``close`` prints the final state.

    Example:
        >>> from callbacks.progress.lines import LineBar
        >>> bar = LineBar("Epoch 0", total=8)
        >>> bar.n = 4
        >>> bar.set_postfix_str("loss=0.500", refresh=False)
        >>> bar.refresh()
        Epoch 0: 4/8 [00:00<00:00, ...it/s, loss=0.500]
    """

    def __init__(self, desc: str = "", total: float | None = None, disable: bool = False, leave: bool = True) -> None:
        self.desc = desc
        self.total = total
        self.disable = disable
        self.leave = leave
        self.postfix = ""
        self.initial = 0
        self.reset()

    def reset(self, total: float | None = None) -> None:
        """Begin again at 0."""
        self.n = 0
        self.total = self.total if total is None else total
        self._started = time.monotonic()
        self._shown: int | None = None

    def set_description(self, desc: str, refresh: bool = True) -> None:
        """Set the text in front; it is shown with the next line."""
        self.desc = desc

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """Set the text at the end; it is shown with the next line."""
        self.postfix = s

    def refresh(self) -> None:
        """Print the state as a line."""
        if not self.disable:
            self._shown = self.n
            print(self, flush=True)

    def close(self) -> None:
        """Print the final state, if ``leave`` and if it is not the last line already."""
        if self.leave and self.n and self.n != self._shown:
            self.refresh()
        self.disable = True

    def write(self, s: str, file: Any = None, end: str = "\n") -> None:
        """Print ``s``."""
        print(s, file=file or sys.stdout, end=end)

    def __str__(self) -> str:
        elapsed = time.monotonic() - self._started
        rate = self.n / elapsed if elapsed > 0 else 0.0
        remaining = "?" if self.total is None or not rate else format_time((self.total - self.n) / rate)
        counts = f"{self.n}/{'?' if self.total is None else self.total}"
        end = f", {self.postfix}" if self.postfix else ""
        return f"{self.desc}: {counts} [{format_time(elapsed)}<{remaining}, {rate:.2f}it/s{end}]"


def format_time(seconds: float) -> str:
    """Seconds as ``mm:ss``, or ``h:mm:ss`` from an hour on.

    Example:
        >>> from callbacks.progress.lines import format_time
        >>> format_time(61), format_time(3661)
        ('01:01', '1:01:01')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def format_metrics(metrics: Mapping[str, Any]) -> str:
    """Metrics as text: floats with three significant digits and of even width, so that the line does not flicker.

    Example:
        >>> from callbacks.progress.lines import format_metrics
        >>> format_metrics({"v_num": 3, "loss": 0.12, "acc": 1.0, "lr": 3e-06})
        'v_num=3, loss=0.120, acc=1.000, lr=3e-6'
    """
    return ", ".join(f"{name}={_format_value(value)}" for name, value in metrics.items())


def _format_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + format_metrics(value) + "}"
    if isinstance(value, (int, str)):
        return str(value)
    number = float(value)
    text = f"{number:.3g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        return f"{mantissa}e{int(exponent):+d}".replace("e+", "e")
    if not math.isfinite(number):
        return text
    return (text if "." in text or len(text) >= _WIDTH else text + ".").ljust(_WIDTH, "0")
