"""The base class of every logger: what the Trainer asks a logger to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def rank_zero_experiment(fn: Function) -> Function:
    """``fn`` itself: loggers of programs for several processes mark their ``experiment`` with it."""
    return fn


class Logger(ABC):
    """A place where metrics, hyper-parameters and the model's graph go.

    Metrics arrive as plain floats, already read back from the device. A subclass gives ``name``, ``version``,
    ``log_metrics`` and ``log_hyperparams``; all else has a default that does nothing.

    Example:
        >>> from loggers import Logger
        >>> class Printer(Logger):
        ...     name, version = "printer", 0
        ...     def log_metrics(self, metrics, step=None):
        ...         print(step, metrics)
        ...     def log_hyperparams(self, params, *args, **kwargs):
        ...         print(params)
        >>> Printer().log_metrics({"loss": 0.5}, step=3)
        3 {'loss': 0.5}
        >>> print(Printer().save_dir)
        None
    """

    continues = False  # the run at hand goes on in files that an earlier process began

    @property
    @abstractmethod
    def name(self) -> str | None:
        """Name of the experiment."""

    @property
    @abstractmethod
    def version(self) -> int | str | None:
        """Version of the experiment: a number, or any text."""

    @property
    def save_dir(self) -> str | None:
        """Folder under which the logger keeps its experiments, or None if it writes no files."""
        return None

    @property
    def root_dir(self) -> str | None:
        """Folder of all versions of this experiment, or None if it writes no files."""
        return None

    @property
    def log_dir(self) -> str | None:
        """Folder of this version, or None if it writes no files."""
        return None

    @property
    def group_separator(self) -> str:
        """What joins the parts of a grouped metric name, as in ``train/loss``."""
        return "/"

    @property
    def experiment(self) -> Any:
        """The object that does the writing, for what this interface does not cover; None if there is none."""
        return None

    @abstractmethod
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Record ``metrics`` at ``step``."""

    @abstractmethod
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Record the hyper-parameters ``params``: a mapping, or an object whose attributes are taken."""

    def log_graph(self, model: Any, input_array: Any = None) -> None:  # noqa: B027 (optional)
        """Record the graph of ``model``."""

    def log_environment(self, facts: dict[str, Any]) -> None:  # noqa: B027 (optional)
        """Record where the run takes place: versions, machine, device."""

    def save(self) -> None:  # noqa: B027 (optional)
        """Write out what is held in memory."""

    def finalize(self, status: str) -> None:
        """The run is over; ``status`` is "success" or "failed"."""
        self.save()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, so that a run that goes on from it shows no step twice; empty by default."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # noqa: B027 (optional)
        """Go on where ``state_dict`` was taken, and forget what was logged after it; called before anything is logged."""

    def continue_run(self, state_dict: dict[str, Any]) -> None:  # noqa: B027 (optional)
        """``fit(ckpt_path="last")`` goes on with the run of this state: take its place, unless one was chosen."""

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:  # noqa: B027 (optional)
        """``checkpoint_callback`` has just written a checkpoint; with ``reads_checkpoints`` its file is there."""

    @property
    def reads_checkpoints(self) -> bool:
        """Whether ``after_save_checkpoint`` reads the file, which with ``AsyncCheckpointIO`` is still on its way."""
        return False
