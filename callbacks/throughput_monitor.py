"""ThroughputMonitor: batches, samples and items per second."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from callbacks.base import Callback

if TYPE_CHECKING:
    from lit import LightningModule, Trainer


class Throughput:
    """Rates over a window of the last updates.

    Args:
        available_flops: what the device can do per second, for ``device/mfu``; None leaves it out.
        window_size: number of updates in the window; rates are there once it is full.
        separator: what joins the parts of a name.

    Example:
        >>> from callbacks.throughput_monitor import Throughput
        >>> throughput = Throughput(window_size=2)
        >>> for batch in range(1, 4):
        ...     throughput.update(time=batch * 0.5, batches=batch, samples=batch * 32)
        >>> throughput.compute()
        {'time': 1.5, 'batches': 3, 'samples': 96, 'device/batches_per_sec': 2.0, 'device/samples_per_sec': 64.0}
    """

    def __init__(self, available_flops: float | None = None, window_size: int = 100, separator: str = "/") -> None:
        if window_size < 1:
            raise ValueError(f"Throughput(window_size={window_size}): expected 1 or more.")
        self.available_flops = available_flops
        self.separator = separator
        # One more than the window: a rate needs both of its ends.
        self._seen: deque[tuple[float, int, int, int | None, int | None]] = deque(maxlen=window_size + 1)

    def update(
        self, *, time: float, batches: int, samples: int, lengths: int | None = None, flops: int | None = None
    ) -> None:
        """Note totals since the start: seconds, batches, samples, items (tokens, ...), floating point operations."""
        self._seen.append((time, batches, samples, lengths, flops))

    def compute(self) -> dict[str, float]:
        """The totals, and the rates over the window once it is full."""
        if not self._seen:
            return {}
        first, last = self._seen[0], self._seen[-1]
        totals = {"time": last[0], "batches": last[1], "samples": last[2], "lengths": last[3]}
        metrics = {name: value for name, value in totals.items() if value is not None}
        seconds = last[0] - first[0]
        if len(self._seen) < (self._seen.maxlen or 0) or seconds <= 0:
            return metrics
        for name, old, new in zip(("batches", "samples", "items", "flops"), first[1:], last[1:], strict=True):
            if old is not None and new is not None:
                metrics[f"device{self.separator}{name}_per_sec"] = (new - old) / seconds
        rate = metrics.get(f"device{self.separator}flops_per_sec")
        if rate is not None and self.available_flops:
            metrics[f"device{self.separator}mfu"] = rate / self.available_flops
        return metrics

    def reset(self) -> None:
        """Start anew."""
        self._seen.clear()


class ThroughputMonitor(Callback):
    """Log how fast each stage goes, every ``trainer.log_every_n_steps`` batches: ``train/device/samples_per_sec``, ...

    The time of validation is left out of training's. If the module has an attribute ``flops_per_batch``, operations per
    second are logged too.

    Args:
        batch_size_fn: number of samples of a batch.
        length_fn: number of items of a batch (for example tokens), for ``items_per_sec``.
        **kwargs: ``available_flops``, ``window_size`` and ``separator`` of ``Throughput``.

    Example:
        >>> from callbacks import ThroughputMonitor
        >>> monitor = ThroughputMonitor(batch_size_fn=lambda batch: len(batch[0]), window_size=50)
        >>> monitor.batch_size_fn([torch.zeros(32, 4), torch.zeros(32)])
        32
    """

    def __init__(
        self, batch_size_fn: Callable[[Any], int], length_fn: Callable[[Any], int] | None = None, **kwargs: Any
    ) -> None:
        super().__init__()
        self.batch_size_fn = batch_size_fn
        self.length_fn = length_fn
        self.kwargs = kwargs
        Throughput(**kwargs)  # complains about wrong ones now
        self._stages: dict[str, _Stage] = {}

    def _start(self, stage: str) -> None:
        self._stages[stage] = _Stage(Throughput(**self.kwargs), time.perf_counter())

    def _update(self, trainer: Trainer, pl_module: LightningModule, stage: str, batch: Any) -> None:
        found = self._stages[stage]
        found.batches += 1
        found.samples += self.batch_size_fn(batch)
        if self.length_fn is not None:
            found.lengths += self.length_fn(batch)
        flops = getattr(pl_module, "flops_per_batch", None)
        found.throughput.update(
            time=time.perf_counter() - found.start,
            batches=found.batches,
            samples=found.samples,
            lengths=None if self.length_fn is None else found.lengths,
            flops=None if flops is None else found.batches * flops,
        )
        every = trainer.log_every_n_steps
        if trainer.loggers and every and found.batches % every == 0:
            separator = found.throughput.separator
            metrics = {f"{stage}{separator}{name}": value for name, value in found.throughput.compute().items()}
            step = trainer.state.batches_that_stepped
            trainer.tell_loggers(lambda logger: logger.log_metrics(metrics, step=step))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of training."""
        self._start("train")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a batch."""
        self._update(trainer, pl_module, "train", batch)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of an evaluation."""
        self._start(_evaluation(trainer))

    on_test_start = on_predict_start = on_validation_start

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Count a batch."""
        if not trainer.sanity_checking:
            self._update(trainer, pl_module, _evaluation(trainer), batch)

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take validation's time out of training's."""
        if "train" in self._stages and trainer.state.fn == "fit":
            self._stages["train"].start += time.perf_counter() - self._stages["validate"].start


def _evaluation(trainer: Trainer) -> str:
    """The stage that runs, other than training."""
    return "validate" if trainer.state.fn == "fit" else str(trainer.state.fn)


class _Stage:
    """The counts of one stage."""

    def __init__(self, throughput: Throughput, start: float) -> None:
        self.throughput = throughput
        self.start = start
        self.batches = self.samples = self.lengths = 0
