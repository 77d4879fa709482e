"""TQDMProgressBar: the default progress bar, in a terminal, in a notebook, and as lines in a file."""

from __future__ import annotations

import functools
import math
import sys
from time import monotonic
from typing import TYPE_CHECKING, Any

from callbacks.progress.lines import Bar, LineBar, format_metrics
from callbacks.progress.progress_bar import DrawnProgressBar

if TYPE_CHECKING:
    from tqdm import tqdm

    from callbacks.base import StepOutput
    from lit import LightningModule, Trainer


class TQDMProgressBar(DrawnProgressBar):
    """Show progress with ``tqdm`` bars in a terminal or a notebook, and as plain lines where output goes to a file.

    Bars are drawn a few times a second, lines are printed every ten seconds and at the end of every epoch, however
    fast the steps are: a step costs one look at the clock. Epochs too short to be seen are not drawn one by one.

    Args:
        refresh_rate: 0 shows nothing. Other values are accepted for Lightning's sake: time decides, not batches.
        process_position: number of lines to leave free above the bars.
        leave: whether every epoch leaves its bar in the terminal.

    To change a bar, override ``init_train_tqdm`` and its siblings; to change what stands behind it, ``get_metrics``.

    Example:
        >>> from callbacks import TQDMProgressBar
        >>> bar = TQDMProgressBar(leave=True)
        >>> bar.is_enabled, TQDMProgressBar(refresh_rate=0).is_enabled
        (True, False)
    """

    BAR_FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]"
    SECONDS_BETWEEN_DRAWINGS = 0.2
    SECONDS_BETWEEN_LINES = 10.0
    _BARS = ("_train_progress_bar", "_val_progress_bar", "_test_progress_bar", "_predict_progress_bar")

    def __init__(self, refresh_rate: int = 1, process_position: int = 0, leave: bool = False) -> None:
        if refresh_rate < 0:
            raise ValueError(f"TQDMProgressBar(refresh_rate={refresh_rate}): expected 0 (show nothing) or more.")
        super().__init__(refresh_rate)
        self._process_position = process_position
        self._leave = leave
        self._train_progress_bar: Bar | None = None
        self._val_progress_bar: Bar | None = None
        self._test_progress_bar: Bar | None = None
        self._predict_progress_bar: Bar | None = None
        self._train_batches_done = 0
        self._eval_batches_done = 0
        self._next_refresh = 0.0
        self._epoch_began = 0.0
        self._brief = False  # the epoch before was over in less than the time between two drawings

    def __getstate__(self) -> dict[str, Any]:
        # A bar holds a lock and a stream, and cannot be copied.
        return {name: None if name in self._BARS else value for name, value in vars(self).items()}

    # ------------------------------------------------------------------ settings and bars

    @property
    def process_position(self) -> int:
        """Number of lines left free above the bars."""
        return self._process_position

    @property
    def train_progress_bar(self) -> Bar:
        """The training bar. Raises TypeError before it exists, as the other three do."""
        return self._existing("_train_progress_bar")

    @property
    def val_progress_bar(self) -> Bar:
        """The validation bar; the sanity check's too."""
        return self._existing("_val_progress_bar")

    @property
    def test_progress_bar(self) -> Bar:
        """The test bar."""
        return self._existing("_test_progress_bar")

    @property
    def predict_progress_bar(self) -> Bar:
        """The prediction bar."""
        return self._existing("_predict_progress_bar")

    def _existing(self, name: str) -> Bar:
        bar = getattr(self, name)
        if bar is None:
            raise TypeError(f"{type(self).__name__}.{name.removeprefix('_')}: this bar has not been shown yet.")
        return bar

    def init_sanity_tqdm(self) -> Bar:
        """Make the bar of the sanity check."""
        return self._new_bar(self.sanity_check_description, leave=False)

    def init_train_tqdm(self) -> Bar:
        """Make the training bar."""
        return self._new_bar(self.train_description, leave=True, smoothing=0)

    def init_validation_tqdm(self) -> Bar:
        """Make the validation bar: below the training bar, if there is one."""
        within_fit = self.trainer.state.fn == "fit"
        return self._new_bar(self.validation_description, leave=not within_fit, below=int(within_fit))

    def init_test_tqdm(self) -> Bar:
        """Make the test bar."""
        return self._new_bar(self.test_description, leave=True)

    def init_predict_tqdm(self) -> Bar:
        """Make the prediction bar."""
        return self._new_bar(self.predict_description, leave=True, smoothing=0)

    def _new_bar(self, desc: str, leave: bool, below: int = 0, smoothing: float = 0.3) -> Bar:
        bar_class = None if self.is_disabled else _bar_class()
        if bar_class is None:
            return LineBar(desc, disable=self.is_disabled, leave=leave)
        return bar_class(
            desc=desc,
            leave=leave,
            position=2 * self._process_position + below,
            smoothing=smoothing,
            dynamic_ncols=True,
            file=sys.stdout,
            bar_format=self.BAR_FORMAT,
        )

    # ------------------------------------------------------------------ showing

    def _begin(self, bar: Bar, desc: str, total: float, draw: bool = True) -> None:
        """Start a bar at 0 of ``total``."""
        bar.set_description(desc, refresh=False)
        bar.total = None if math.isinf(total) else total
        bar.initial = 0
        bar.reset()
        if draw:
            if not isinstance(bar, LineBar):
                bar.refresh()
            self._wait(bar)

    def _show(self, bar: Bar, batches_done: int) -> None:
        bar.n = batches_done
        bar.refresh()
        self._wait(bar)

    def _wait(self, bar: Bar) -> None:
        """Set the time before which nothing is shown."""
        if bar.disable:
            self._next_refresh = math.inf
        else:
            lines = isinstance(bar, LineBar)
            self._next_refresh = monotonic() + (self.SECONDS_BETWEEN_LINES if lines else self.SECONDS_BETWEEN_DRAWINGS)

    def _show_train(self, trainer: Trainer, pl_module: LightningModule) -> None:
        bar = self.train_progress_bar
        if not bar.disable:
            bar.set_postfix_str(format_metrics(self.get_metrics(trainer, pl_module)), refresh=False)
        self._show(bar, self._train_batches_done)

    def _finish_eval(self, bar: Bar) -> None:
        bar.n = self._eval_batches_done
        if not isinstance(bar, LineBar):
            bar.refresh()
        bar.close()
        self.reset_dataloader_idx_tracker()

    def print(self, *args: Any, sep: str = " ", **kwargs: Any) -> None:
        """Print above the bars."""
        bars = [getattr(self, name) for name in self._BARS]
        active = next((bar for bar in bars if bar is not None and not bar.disable), None)
        if active is None:
            print(*args, sep=sep, **kwargs)
        else:
            active.write(sep.join(map(str, args)), **kwargs)

    # ------------------------------------------------------------------ training

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the sanity check's bar."""
        self._val_progress_bar = self.init_sanity_tqdm()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the training bar."""
        self._train_progress_bar = self.init_train_tqdm()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the training bar at 0."""
        if self.train_progress_bar.disable and self.is_enabled:
            self._train_progress_bar = self.init_train_tqdm()
        self._train_batches_done = 0
        self._epoch_began = monotonic()
        self._begin(self.train_progress_bar, f"Epoch {trainer.current_epoch}", self.total_train_batches, not self._brief)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: StepOutput, batch: Any, batch_idx: int
    ) -> None:
        """Look at the clock."""
        self._train_batches_done = batch_idx + 1
        if monotonic() >= self._next_refresh:
            self._show_train(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the epoch's final state."""
        now, bar = monotonic(), self.train_progress_bar
        redrawn = not self._leave and not isinstance(bar, LineBar)  # every epoch in the same place
        self._brief = redrawn and now - self._epoch_began < self.SECONDS_BETWEEN_DRAWINGS
        if not self._brief or now >= self._next_refresh:
            self._show_train(trainer, pl_module)
        if self._leave:
            bar.close()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the final state, and close the training bar."""
        if self._brief:
            self._show_train(trainer, pl_module)
        self.train_progress_bar.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close all bars, so that the message starts on a line of its own."""
        for name in self._BARS:
            if (bar := getattr(self, name)) is not None:
                bar.close()

    # ------------------------------------------------------------------ validation, test, prediction

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the validation bar."""
        if not trainer.sanity_checking:
            self._val_progress_bar = self.init_validation_tqdm()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the test bar."""
        self._test_progress_bar = self.init_test_tqdm()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the prediction bar."""
        self._predict_progress_bar = self.init_predict_tqdm()

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Start the bar at 0 with every loader."""
        if self.has_dataloader_changed(dataloader_idx):
            _, description, total = self._evaluation(trainer)
            self._begin(self._evaluation_bar(trainer), f"{description} DataLoader {dataloader_idx}", total)

    on_test_batch_start = on_predict_batch_start = on_validation_batch_start

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Look at the clock."""
        self._eval_batches_done = batch_idx + 1
        if monotonic() >= self._next_refresh:
            self._show(self._evaluation_bar(trainer), self._eval_batches_done)

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the validation bar, and show the new metrics behind the training bar."""
        self._finish_eval(self.val_progress_bar)
        bar = self._train_progress_bar
        if bar is None or trainer.sanity_checking or trainer.state.fn != "fit":
            return
        if isinstance(bar, LineBar):
            self._wait(bar)
        else:
            self._show_train(trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        self._finish_eval(self._evaluation_bar(trainer))

    on_predict_end = on_test_end

    def _evaluation_bar(self, trainer: Trainer) -> Bar:
        kind, _, _ = self._evaluation(trainer)
        return self._existing(f"_{'val' if kind == 'sanity' else kind}_progress_bar")


def _bar_class() -> Any:
    """The tqdm class for where the output goes, or None where lines are to be printed."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None and "IPKernelApp" in shell.config:
        from tqdm.auto import tqdm

        return tqdm
    return _terminal_class() if sys.stdout.isatty() else None


@functools.cache
def _terminal_class() -> type[tqdm]:
    from tqdm import tqdm

    class TerminalBar(tqdm):
        """tqdm without its monitor thread, which watches over refreshing by step count: ours goes by time."""

        monitor_interval = 0
        disable: bool

        def reset(self, total: float | None = None) -> None:
            """Begin again at 0, without a drawing."""
            disabled, self.disable = self.disable, True
            super().reset(total)
            self.disable = disabled
            self.start_t = self.last_print_t = self._time()

    return TerminalBar
