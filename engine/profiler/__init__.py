"""torch.profiler: which operators a program spends its time in.

>>> from engine.profiler import ProfilerActivity, profile, record_function
>>> with profile(activities=[ProfilerActivity.CPU]) as prof:
...     with record_function("model"):
...         _ = nn.Linear(3, 2)(torch.ones(4, 3))
>>> sorted(row.key for row in prof.key_averages() if row.key in ("linear", "model"))
['linear', 'model']
"""

from __future__ import annotations

import functools
import gzip
import json
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from enum import Enum
from typing import Any

from engine.profiler.recording import Recording, running
from engine.profiler.tables import EventList, FunctionEvent, averages
from engine.profiler.watching import clock
from engine.serialization.atomic import replacing

__all__ = ["ProfilerAction", "ProfilerActivity", "profile", "record_function", "schedule", "supported_activities",
           "tensorboard_trace_handler"]  # fmt: skip


class ProfilerActivity(Enum):
    """What may be watched. Operators are timed on the CPU, wherever they compute."""

    CPU = 0
    XPU = 1
    CUDA = 2


class ProfilerAction(Enum):
    """What a schedule says about a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def supported_activities() -> set[ProfilerActivity]:
    """What can be watched here."""
    return {ProfilerActivity.CPU}


def schedule(*, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0,
             skip_first_wait: int = 0) -> Callable[[int], ProfilerAction]:
    """A schedule: skip `skip_first` steps, then in turns wait, warm up and record, `repeat` times (0: for ever).

    With `skip_first_wait` the first turn does not wait. ValueError for negative numbers and `active` below 1.

    >>> from engine.profiler import schedule
    >>> [schedule(wait=1, warmup=0, active=2)(step).name for step in range(4)]
    ['NONE', 'RECORD', 'RECORD_AND_SAVE', 'NONE']
    """
    if min(wait, warmup, repeat, skip_first) < 0 or active < 1:
        raise ValueError("schedule(): expected numbers of 0 or more, and active of 1 or more, got "
                         f"wait={wait}, warmup={warmup}, active={active}, repeat={repeat}, skip_first={skip_first}")
    turn = wait + warmup + active

    def action(step: int) -> ProfilerAction:
        step -= skip_first
        if step < 0:
            return ProfilerAction.NONE
        if skip_first_wait:
            step += wait
        if repeat and step >= repeat * turn:
            return ProfilerAction.NONE
        place = step % turn
        if place < wait:
            return ProfilerAction.NONE
        if place < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD if place < turn - 1 else ProfilerAction.RECORD_AND_SAVE

    return action


class record_function:  # noqa: N801 - torch's name
    """A context (or decorator) that appears in the tables and the trace under `name` while a profiler watches."""

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name, self.args = name, args

    def __enter__(self) -> record_function:
        self._start = clock()
        return self

    def __exit__(self, *exc: object) -> None:
        for recording in running:
            recording.note(self.name, False, self._start, clock(), [])

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name, self.args):
                return function(*args, **kwargs)

        return recorded


_RECORDING = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)


class profile:  # noqa: N801 - torch's name
    """A context that watches every operator, forward and backward; about two microseconds per operator.

    Args:
        activities: accepted; operators are timed where they are called.
        schedule: {step: ProfilerAction}, for `step()`; without one everything is recorded.
        on_trace_ready: called with this profiler when a recording is complete.
        record_shapes: whether `key_averages(group_by_input_shape=True)` can tell shapes apart.
        profile_memory, with_stack, with_flops, with_modules: warned about, not recorded: see
            `torch.utils.flop_counter.FlopCounterMode` for FLOPs.
        acc_events: whether events of all recordings of a schedule are kept; otherwise those of the last.
    """

    def __init__(self, *, activities: Iterable[ProfilerActivity] | None = None,
                 schedule: Callable[[int], ProfilerAction] | None = None,
                 on_trace_ready: Callable[..., Any] | None = None, record_shapes: bool = False, profile_memory: bool = False,
                 with_stack: bool = False, with_flops: bool = False, with_modules: bool = False,
                 experimental_config: Any = None, execution_trace_observer: Any = None, acc_events: bool = False,
                 use_cuda: bool | None = None, custom_trace_id_callback: Any = None,
                 post_processing_timeout_s: float | None = None) -> None:
        self.activities = set(activities) if activities else supported_activities()
        self.schedule, self.on_trace_ready = schedule, on_trace_ready
        self.record_shapes, self.acc_events = record_shapes, acc_events
        asked = {"profile_memory": profile_memory, "with_stack": with_stack, "with_flops": with_flops,
                 "with_modules": with_modules}
        ignored = [name for name, on in asked.items() if on]
        if ignored:
            warnings.warn(f"torch.profiler.profile({', '.join(f'{name}=True' for name in ignored)}): not recorded here, only "
                          "times, calls and shapes are.", UserWarning, stacklevel=2)
        self.step_num = 0
        self.current_action = self._action()
        self.metadata: dict[str, str] = {}
        self._recording = Recording(record_shapes)
        self._watch: ExitStack | None = None
        self._step_start = 0.0

    def _action(self) -> ProfilerAction:
        return ProfilerAction.RECORD if self.schedule is None else self.schedule(self.step_num)

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to watch, if the schedule says so."""
        self._step_start = clock()
        if self.current_action in _RECORDING:
            self._begin()

    def stop(self) -> None:
        """Stop watching; a recording that was on is handed to `on_trace_ready`."""
        if self._end() and self.on_trace_ready is not None:
            self.on_trace_ready(self)

    def step(self) -> None:
        """Say that a step of the program is done, for the schedule."""
        before = self.current_action
        if self._watch is not None and self.schedule is not None:
            self._recording.note(f"ProfilerStep#{self.step_num}", False, self._step_start, clock(), [])
        self.step_num += 1
        self.current_action = self._action()
        if before is ProfilerAction.RECORD_AND_SAVE:
            self.stop()
        if self.current_action in _RECORDING:
            if self._watch is None:
                self._begin()
        else:
            self._end()
        self._step_start = clock()

    def _begin(self) -> None:
        if not self.acc_events:
            self._recording = Recording(self.record_shapes)
        self._watch = ExitStack()
        self._watch.enter_context(self._recording.watch())

    def _end(self) -> bool:
        was_on = self._watch is not None
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        return was_on

    def events(self) -> EventList:
        """Every call, in the order of their ends."""
        origin = self._recording._origin
        return EventList(FunctionEvent(name, (start - origin) * 1e6, (end - start) * 1e6, shapes)
                         for name, _, start, end, shapes in self._recording.events)  # fmt: skip

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0,
                     group_by_overload_name: bool = False) -> EventList:
        """One row for every operator (and shapes); `print(prof.key_averages().table(sort_by="self_cpu_time_total"))`."""
        return averages(self._recording, group_by_input_shape)

    def add_metadata(self, key: str, value: str) -> None:
        """A text for the trace file."""
        self.metadata[key] = value

    def add_metadata_json(self, key: str, value: str) -> None:
        """JSON for the trace file."""
        self.metadata[key] = json.loads(value)

    def export_chrome_trace(self, path: str) -> None:
        """Write the trace, gzipped where the name ends in .gz, for chrome://tracing or https://ui.perfetto.dev."""
        text = json.dumps({**self._recording.chrome_trace(), **self.metadata}).encode()
        with replacing(path) as file:
            file.write(gzip.compress(text) if str(path).endswith(".gz") else text)

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total") -> None:
        """NotImplementedError: stacks are not recorded. HINT: python -m cProfile."""
        raise NotImplementedError("profile.export_stacks() is not supported: stacks are not recorded. HINT: python -m cProfile")


def tensorboard_trace_handler(dir_name: str, worker_name: str | None = None,
                              use_gzip: bool = False) -> Callable[[profile], None]:
    """An `on_trace_ready` that writes `<dir_name>/<worker_name>.<time>.pt.trace.json` (or .json.gz)."""

    def handler(prof: profile) -> None:
        os.makedirs(dir_name, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        name = f"{worker}.{time.time_ns()}.pt.trace.json{'.gz' if use_gzip else ''}"
        prof.export_chrome_trace(os.path.join(dir_name, name))

    return handler
