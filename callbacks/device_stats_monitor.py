"""DeviceStatsMonitor: memory and load of the device, as metrics."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import engine
from callbacks.base import Callback
from callbacks.exceptions import MisconfigurationException

if TYPE_CHECKING:
    from lit import LightningModule, Trainer


class DeviceStatsMonitor(Callback):
    """Log statistics of the device at the start and end of every ``trainer.log_every_n_steps``-th training batch.

    The names are ``DeviceStatsMonitor.on_train_batch_start/<statistic>``. Everything comes from the operating system's
    own tables and from the allocator; no other package is needed.

    Args:
        cpu_stats: whether to log the CPU's as well; None: only when the CPU is the device.

    Raises:
        MisconfigurationException: the Trainer has no logger; raised when a run starts.

    Example:
        >>> from callbacks.device_stats_monitor import CPUStatistics
        >>> sorted(CPUStatistics().read())
        [...'process_memory_bytes'...]
    """

    def __init__(self, cpu_stats: bool | None = None) -> None:
        super().__init__()
        self._cpu_stats = cpu_stats
        self._cpu = CPUStatistics()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """There must be a logger."""
        if stage == "fit" and not trainer.loggers:
            raise MisconfigurationException(
                "DeviceStatsMonitor: the Trainer has no logger to log to. HINT: remove the callback, or the Trainer's"
                " `logger=False`."
            )

    def _log(self, trainer: Trainer, moment: str) -> None:
        every = trainer.log_every_n_steps
        if not every or (trainer.state.batches_that_stepped + 1) % every:
            return
        device = trainer.root_device
        stats = cuda_statistics(device) if device.type == "cuda" else {}
        if self._cpu_stats or (self._cpu_stats is None and device.type == "cpu"):
            stats.update(self._cpu.read())
        metrics = {f"{type(self).__qualname__}.{moment}/{name}": value for name, value in stats.items()}
        step = trainer.state.batches_that_stepped
        trainer.tell_loggers(lambda logger: logger.log_metrics(metrics, step=step))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Log at the start of a batch."""
        self._log(trainer, "on_train_batch_start")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log at the end of a batch."""
        self._log(trainer, "on_train_batch_end")


def cuda_statistics(device: engine.device) -> dict[str, float]:
    """Bytes of the allocator, and bytes free on the GPU."""
    free, total = engine.cuda.mem_get_info(device)
    return {
        "allocated_bytes": float(engine.cuda.memory_allocated(device)),
        "allocated_bytes_peak": float(engine.cuda.max_memory_allocated(device)),
        "reserved_bytes": float(engine.cuda.memory_reserved(device)),
        "free_bytes": float(free),
        "total_bytes": float(total),
    }


class CPUStatistics:
    """What Linux tells under /proc; elsewhere only the process's own numbers.

    ``cpu_percent`` (all cores) and ``process_cpu_percent`` (100 per core) are over the time since the last ``read``.
    """

    def __init__(self) -> None:
        self._ticks = _cpu_ticks()
        self._process = (time.perf_counter(), time.process_time())

    def read(self) -> dict[str, float]:
        """Statistics by name: percent, and bytes."""
        now, busy = time.perf_counter(), time.process_time()
        seconds = max(now - self._process[0], 1e-9)
        stats = {"process_cpu_percent": 100.0 * (busy - self._process[1]) / seconds}
        self._process = (now, busy)
        ticks = _cpu_ticks()
        if ticks is not None and self._ticks is not None and ticks[1] > self._ticks[1]:
            stats["cpu_percent"] = 100.0 * (ticks[0] - self._ticks[0]) / (ticks[1] - self._ticks[1])
        self._ticks = ticks
        memory = _memory()
        if memory:
            stats["cpu_vm_percent"] = 100.0 * (1 - memory["MemAvailable"] / memory["MemTotal"])
            swap = memory.get("SwapTotal", 0)
            stats["cpu_swap_percent"] = 100.0 * (1 - memory["SwapFree"] / swap) if swap else 0.0
        stats["process_memory_bytes"] = _process_memory()
        return stats


def _cpu_ticks() -> tuple[int, int] | None:
    """(busy, all) ticks of all cores since the machine started."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            fields = [int(field) for field in file.readline().split()[1:9]]
    except OSError:
        return None
    return sum(fields) - fields[3] - fields[4], sum(fields)  # the fourth and fifth are idle and waiting for a disk


def _memory() -> dict[str, int]:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            pairs = (line.split() for line in file)
            return {words[0].rstrip(":"): int(words[1]) for words in pairs}
    except OSError:
        return {}


def _process_memory() -> float:
    """Resident bytes; the peak where the system tells only that, 0 where it tells nothing."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return float(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # bytes on macOS
