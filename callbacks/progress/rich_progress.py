"""RichProgressBar: a progress bar drawn by ``rich`` (extra ``rich``)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from time import monotonic
from typing import TYPE_CHECKING, Any

from callbacks.progress.progress_bar import DrawnProgressBar
from callbacks.rich_package import require_rich

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, Task
    from rich.style import Style

    from callbacks.base import StepOutput
    from lit import LightningModule, Trainer

SECONDS_BETWEEN_UPDATES = 0.1  # rich draws ten times a second; more often nobody sees


@dataclass
class RichProgressBarTheme:
    """Styles of the parts of a ``RichProgressBar``, as ``rich`` writes them ("green", "bold #6206E0").

    Args:
        description, progress_bar, progress_bar_finished, progress_bar_pulse, batch_progress, time, processing_speed,
            metrics: styles; the pulse is shown for loaders without a length.
        metrics_text_delimiter: what stands between metrics.
        metrics_format: how their numbers are written.
    """

    description: str | Style = ""
    progress_bar: str | Style = "#6206E0"
    progress_bar_finished: str | Style = "#6206E0"
    progress_bar_pulse: str | Style = "#6206E0"
    batch_progress: str | Style = ""
    time: str | Style = "dim"
    processing_speed: str | Style = "dim underline"
    metrics: str | Style = "italic"
    metrics_text_delimiter: str = " "
    metrics_format: str = ".3f"


class RichProgressBar(DrawnProgressBar):
    """Show progress with ``rich``.

    Args:
        refresh_rate: how often the bar is drawn, per second at most; 0 shows nothing.
        leave: whether every epoch leaves its bar in the terminal.
        theme: styles.
        console_kwargs: arguments of ``rich.console.Console``.

    Override ``configure_columns`` to show other columns, ``get_metrics`` to change what stands behind them.

    Raises:
        ModuleNotFoundError: ``rich`` is not installed.

    Example:
        >>> from callbacks import RichProgressBar
        >>> bar = RichProgressBar(leave=True)
        >>> bar.is_enabled, RichProgressBar(refresh_rate=0).is_enabled
        (True, False)
    """

    def __init__(
        self,
        refresh_rate: int = 100,
        leave: bool = False,
        theme: RichProgressBarTheme = RichProgressBarTheme(),  # noqa: B008
        console_kwargs: dict[str, Any] | None = None,
    ) -> None:
        require_rich("RichProgressBar")
        super().__init__(refresh_rate)
        self._leave, self.theme = leave, theme
        self._console_kwargs = console_kwargs or {}
        self.progress: Progress | None = None
        self._tasks: dict[str, Any] = {}  # id of the bar by its kind: train, sanity, val, test, predict
        self._next_update = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "progress": None, "_tasks": {}}  # what is drawn holds a lock, and cannot be copied

    # ------------------------------------------------------------------ settings and bars

    @property
    def train_progress_bar(self) -> Task:
        """The training bar."""
        return self._task("train")

    @property
    def val_sanity_check_bar(self) -> Task:
        """The sanity check's bar."""
        return self._task("sanity")

    @property
    def val_progress_bar(self) -> Task:
        """The validation bar."""
        return self._task("val")

    @property
    def test_progress_bar(self) -> Task:
        """The test bar."""
        return self._task("test")

    def _task(self, kind: str) -> Task:
        if self.progress is None or kind not in self._tasks:
            raise TypeError(f"RichProgressBar: the bar of {kind} has not been shown yet.")
        return next(task for task in self.progress.tasks if task.id == self._tasks[kind])

    def configure_columns(self, trainer: Trainer) -> list[Any]:
        """The columns in front of the metrics."""
        from rich.progress import BarColumn, TextColumn

        theme = self.theme
        bar = BarColumn(
            complete_style=theme.progress_bar, finished_style=theme.progress_bar_finished,
            pulse_style=theme.progress_bar_pulse,
        )  # fmt: skip
        batches, clock, speed = _columns()
        return [
            TextColumn("[progress.description]{task.description}"),
            bar, batches(theme.batch_progress), clock(theme.time), speed(theme.processing_speed),
        ]  # fmt: skip

    # ------------------------------------------------------------------ showing

    def _open(self, trainer: Trainer) -> None:
        """Begin to draw, unless it is done already."""
        if self.is_disabled or self.progress is not None:
            return
        from rich import get_console, reconfigure
        from rich.progress import Progress, TextColumn

        if self._console_kwargs:
            reconfigure(**self._console_kwargs)
        metrics = TextColumn("{task.fields[metrics]}", style=self.theme.metrics, markup=False)
        self.progress = Progress(
            *self.configure_columns(trainer), metrics,
            console=get_console(), refresh_per_second=min(self._refresh_rate, 1 / SECONDS_BETWEEN_UPDATES),
        )  # fmt: skip
        self.progress.start()

    def _close(self) -> None:
        if self.progress is not None:
            self.progress.stop()
        self.progress, self._tasks = None, {}

    def _begin(self, kind: str, description: str, total: float) -> None:
        """Show a bar at 0 of ``total``."""
        if self.progress is None:
            return
        if self.theme.description:
            description = f"[{self.theme.description}]{description}"
        known = None if math.isinf(total) else total
        self._hide(kind)
        self._tasks[kind] = self.progress.add_task(description, total=known, metrics="")
        self._next_update = 0.0

    def _hide(self, kind: str) -> None:
        if self.progress is not None and kind in self._tasks:
            self.progress.remove_task(self._tasks.pop(kind))

    def _show(self, kind: str, done: int) -> None:
        """Bring a bar up to date, if it is time to draw again."""
        now = monotonic()
        if self.progress is None or now < self._next_update or kind not in self._tasks:
            return
        self._next_update = now + SECONDS_BETWEEN_UPDATES
        self.progress.update(self._tasks[kind], completed=done)

    def _finish(self, kind: str, done: int) -> None:
        self._next_update = 0.0
        self._show(kind, done)

    def _show_metrics(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.progress is None or "train" not in self._tasks:
            return
        values = self.get_metrics(trainer, pl_module)
        words = [f"{name}: {self._number(value)}" for name, value in values.items()]
        self.progress.update(self._tasks["train"], metrics=self.theme.metrics_text_delimiter.join(words))

    def _number(self, value: Any) -> str:
        try:
            return format(value, self.theme.metrics_format if isinstance(value, float) else "")
        except (TypeError, ValueError):
            return str(value)

    def print(self, *args: Any, sep: str = " ", **kwargs: Any) -> None:
        """Print above the bars."""
        if self.progress is None:
            print(*args, sep=sep, **kwargs)
        else:
            self.progress.console.print(sep.join(map(str, args)), markup=False, highlight=False, soft_wrap=True)

    # ------------------------------------------------------------------ training

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to draw."""
        self._open(trainer)

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The sanity check's bar goes."""
        self._hide("sanity")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to draw."""
        self._open(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the training bar at 0."""
        if self._leave and "train" in self._tasks:
            self._close()
            self._open(trainer)
        self._begin_train(trainer)

    def _begin_train(self, trainer: Trainer) -> None:
        last = "" if trainer.max_epochs in (None, -1) else f"/{trainer.max_epochs - 1}"
        description = f"Epoch {trainer.current_epoch}{last}".ljust(len(self.validation_description))
        self._begin("train", description, self.total_train_batches)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: StepOutput, batch: Any, batch_idx: int
    ) -> None:
        """Look at the clock."""
        if monotonic() < self._next_update or self.progress is None:
            return
        if "train" not in self._tasks:  # a run that goes on inside an epoch
            self._begin_train(trainer)
        self._show_metrics(trainer, pl_module)
        self._show("train", batch_idx + 1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the epoch's final state."""
        self._show_metrics(trainer, pl_module)
        self._finish("train", trainer.fit_loop.batch_idx + 1)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop drawing."""
        self._close()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop drawing."""
        self._close()

    # ------------------------------------------------------------------ validation, test, prediction

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to draw."""
        self._open(trainer)

    on_test_start = on_predict_start = on_validation_start

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Show a bar at 0 with every loader."""
        if self.has_dataloader_changed(dataloader_idx):
            self._begin(*self._evaluation(trainer))

    on_test_batch_start = on_predict_batch_start = on_validation_batch_start

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Look at the clock."""
        kind, _, _ = self._evaluation(trainer)
        self._show(kind, batch_idx + 1)

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The validation bar goes, and the new metrics stand behind the training bar."""
        if trainer.state.fn == "fit":
            self._hide("val")
            self._show_metrics(trainer, pl_module)
        self.reset_dataloader_idx_tracker()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the final state."""
        kind, _, total = self._evaluation(trainer)
        if not math.isinf(total):
            self._finish(kind, int(total))
        self.reset_dataloader_idx_tracker()

    on_predict_end = on_test_end


@cache
def _columns() -> tuple[Callable[[Any], ProgressColumn], ...]:
    """Columns that rich has in another form: batches done, time elapsed and left, batches per second."""
    from datetime import timedelta

    from rich.progress import ProgressColumn
    from rich.text import Text

    class Column(ProgressColumn):
        def __init__(self, style: Any) -> None:
            self.style = style
            super().__init__()

        def render(self, task: Task) -> Text:
            return Text(self.words(task), style=self.style)

        def words(self, task: Task) -> str:
            raise NotImplementedError

    class Batches(Column):
        def words(self, task: Task) -> str:
            return f"{int(task.completed)}/{'--' if task.total is None else int(task.total)}"

    class Clock(Column):
        max_refresh = 0.5

        def words(self, task: Task) -> str:
            times = (task.finished_time if task.finished else task.elapsed, task.time_remaining)
            return " • ".join("-:--:--" if t is None else str(timedelta(seconds=int(t))) for t in times)

    class Speed(Column):
        def words(self, task: Task) -> str:
            return f"{task.speed or 0:.2f}it/s"

    return Batches, Clock, Speed
