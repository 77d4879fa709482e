"""OperatorProfiler: every operator, forward and backward, as a table and as a Chrome trace."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from engine.profiler.recording import Recording, Total
from engine.profiler.watching import clock
from lit.profilers.base import Profiler
from loggers.files import replace_file

if TYPE_CHECKING:
    from lit.trainer import Trainer

SORT_KEYS = ("self", "total", "calls")


class OperatorProfiler(Profiler):
    """Measure every operator of a run, with the shapes that went in.

    The report is a table; the trace (``chrome://tracing``, https://ui.perfetto.dev) shows when what ran, with the
    Trainer's actions around it. Watching costs about two microseconds per operator; off, it costs nothing.

    Args:
        dirpath, filename: as in ``Profiler``.
        record_shapes: whether the table tells shapes apart, and the trace names them.
        export_to_chrome: whether the trace is written, to ``dirpath/<stage>-operators.json``.
        row_limit: rows of the table, the costliest first; -1 for all.
        sort_by: "self" (time inside the operator alone), "total" or "calls".
        max_events: how many operators the trace holds; later ones count in the table only.

    Raises:
        ValueError: ``sort_by`` is unknown, or an action is stopped that was not started.

    Example:
        >>> from lit.profilers import OperatorProfiler
        >>> profiler = OperatorProfiler(export_to_chrome=False)
        >>> with profiler.watch():
        ...     loss = nn.Linear(3, 2)(torch.ones(4, 3)).sum()
        ...     loss.backward()
        >>> "linear" in profiler.summary(), "AddmmBackward0" in profiler.summary()
        (True, True)
    """

    def __init__(
        self,
        dirpath: str | os.PathLike[str] | None = None,
        filename: str | None = None,
        record_shapes: bool = True,
        export_to_chrome: bool = True,
        row_limit: int = 20,
        sort_by: str = "self",
        max_events: int = 200_000,
    ) -> None:
        super().__init__(dirpath, filename)
        if sort_by not in SORT_KEYS:
            raise ValueError(f"OperatorProfiler(sort_by={sort_by!r}): expected one of {', '.join(SORT_KEYS)}.")
        self.record_shapes, self.export_to_chrome = record_shapes, export_to_chrome
        self.row_limit, self.sort_by, self.max_events = row_limit, sort_by, max_events
        self.reset()

    def reset(self) -> None:
        """Forget what was measured."""
        self.recording = Recording(self.record_shapes, self.max_events)
        self._actions: dict[str, float] = {}

    @property
    def totals(self) -> dict[tuple[str, str], Total]:
        """{(operator, shapes): what is known of it}."""
        return self.recording.totals

    @contextmanager
    def watch(self) -> Iterator[OperatorProfiler]:
        """Measure the operators of a ``with`` block, without a Trainer."""
        with self.recording.watch():
            yield self

    @contextmanager
    def run(self, stage: str, trainer: Trainer) -> Iterator[None]:
        """Measure and report a run of ``trainer``."""
        if self._in_run:
            with super().run(stage, trainer):
                yield
            return
        with super().run(stage, trainer), self.watch():
            yield

    def start(self, action_name: str) -> None:
        """An action of the Trainer begins."""
        self._actions[action_name] = clock()

    def stop(self, action_name: str) -> None:
        """The action ends."""
        if action_name not in self._actions:
            raise ValueError(f"Attempting to stop recording an action ({action_name}) which was never started.")
        self.recording.events.append((action_name, "action", self._actions.pop(action_name), clock(), ""))

    def summary(self) -> str:
        """A table of operators, the costliest first."""
        if not self.totals:
            return ""
        keys = {"self": lambda t: t.own, "total": lambda t: t.total, "calls": lambda t: t.calls}
        rows = sorted(self.totals.items(), key=lambda item: -keys[self.sort_by](item[1]))
        whole = sum(total.own for _, total in rows) or 1e-12
        shown = rows if self.row_limit == -1 else rows[: self.row_limit]
        width = max(len(name) for (name, _), _ in shown)
        shapes = max((len(text) for (_, text), _ in shown), default=0)
        head = f"{'operator':<{width}}  {'shapes':<{shapes}}  {'calls':>8}  {'self s':>9}  {'self %':>6}  {'total s':>9}"
        lines = [f"Operators of {self._stage}" if self._stage else "Operators", head]
        lines += [
            f"{name:<{width}}  {text:<{shapes}}  {total.calls:>8}  {total.own:>9.4f}  {100 * total.own / whole:>6.2f}"
            f"  {total.total:>9.4f}"
            for (name, text), total in shown
        ]
        if len(rows) > len(shown):
            lines.append(f"and {len(rows) - len(shown)} more")
        lines.append(f"all operators together: {whole:.4f} s")
        return "\n".join(lines) + "\n"

    def teardown(self, stage: str | None) -> None:
        """Write the trace."""
        if self.export_to_chrome:
            path = self.path_of(".json", None if self.filename else "operators")
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, json.dumps(self.recording.chrome_trace()))
