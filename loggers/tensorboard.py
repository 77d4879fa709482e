"""TensorBoardLogger: metrics and hyper-parameters as TensorBoard reads them."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from loggers.folder import FolderLogger
from loggers.hparams import flatten, to_dict, to_simple

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

_file_numbers = itertools.count()
_OUR_SUFFIX = re.compile(r"\.\d+\.\d+$")  # process and number, see `experiment`


class TensorBoardLogger(FolderLogger):
    """Write event files to ``save_dir/name/version`` and hyper-parameters to ``hparams.yaml`` beside them.

    ``tensorboard --logdir <save_dir>`` shows them. The writing is done by ``tensorboardX``, which is imported with the
    first thing that is written.

    Args:
        save_dir: folder under which the experiments lie.
        name: name of the experiment; None or "" puts the versions directly into ``save_dir``.
        version: an int N names the folder ``version_N``, text is the folder's name; None takes the next free number.
        log_graph: whether ``log_graph`` writes anything.
        default_hp_metric: whether hyper-parameters logged without metrics get a placeholder metric ``hp_metric`` of -1;
            TensorBoard's HPARAMS page shows no run that has none.
        prefix: put before every metric name, joined by ``-``.
        sub_dir: folder inside the version's folder that takes the files.
        **kwargs: handed to ``tensorboardX.SummaryWriter`` (``max_queue``, ``flush_secs``, ``purge_step``, ...).

    Example:
        >>> from loggers import TensorBoardLogger
        >>> logger = TensorBoardLogger("logs", name="digits")
        >>> logger.log_hyperparams({"lr": 0.1}, metrics={"val_acc": 0.0})
        >>> logger.log_metrics({"loss": 0.5}, step=10)
        >>> logger.finalize("success")
        >>> import os
        >>> sorted(name.split(".")[0] for name in os.listdir("logs/digits/version_0"))
        ['events', 'hparams']
    """

    def __init__(
        self,
        save_dir: str | os.PathLike[str],
        name: str | None = "lightning_logs",
        version: int | str | None = None,
        log_graph: bool = False,
        default_hp_metric: bool = True,
        prefix: str = "",
        sub_dir: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(save_dir, name, version, prefix)
        self._log_graph = log_graph
        self._default_hp_metric = default_hp_metric
        self._sub_dir = None if sub_dir is None else os.fspath(sub_dir)
        self._writer_arguments = kwargs
        self._experiment: SummaryWriter | None = None

    @property
    def sub_dir(self) -> str | None:
        """Folder inside the version's folder that takes the files, or None."""
        return self._sub_dir

    @property
    def log_dir(self) -> str:
        """Folder of this run: ``save_dir/name/version`` and ``sub_dir``, if there is one."""
        folder = super().log_dir
        return folder if self._sub_dir is None else os.path.join(folder, self._sub_dir)

    @property
    def experiment(self) -> SummaryWriter:
        """The ``tensorboardX.SummaryWriter``, for images, histograms, text and all else that it can write.

        Its methods take whatever NumPy can read as an array, and tensors.
        """
        if self._experiment is None:
            # tensorboardX names a file by the second, and would overwrite what a run in the same second wrote.
            suffix = f"{self._writer_arguments.get('filename_suffix', '')}.{os.getpid()}.{next(_file_numbers)}"
            arguments = {**self._writer_arguments, "filename_suffix": suffix}
            self._experiment = _writer_class()(logdir=self.log_dir, **arguments)
        return self._experiment

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Record scalars; a dict as a value draws its entries as several lines in one diagram.

        Raises:
            ValueError: a value is neither a number nor a dict of numbers.
        """
        for name, value in self._prefixed(metrics).items():
            if isinstance(value, dict):
                self.experiment.add_scalars(name, value, step)
                continue
            try:
                number = float(value)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"log_metrics({{{name!r}: {value!r}}}): expected a number or a dict of numbers,"
                    f" got {type(value).__name__}."
                ) from error
            self.experiment.add_scalar(name, number, step)

    def log_hyperparams(
        self, params: Any, metrics: dict[str, float] | float | None = None, step: int | None = None
    ) -> None:
        """Record hyper-parameters for the HPARAMS page and in ``hparams.yaml``.

        Args:
            params: a dict, a namespace or a dataclass; nested keys are joined by ``/``.
            metrics: the values by which the HPARAMS page compares runs: a dict, or one number, named ``hp_metric``.
            step: step of ``metrics``.
        """
        super().log_hyperparams(params)
        if metrics is None:
            metrics = {"hp_metric": -1.0} if self._default_hp_metric else {}
        elif not isinstance(metrics, dict):
            metrics = {"hp_metric": metrics}
        if not metrics:
            return
        self.log_metrics(metrics, 0 if step is None else step)
        from tensorboardX.summary import hparams

        simple = {name: to_simple(value) for name, value in flatten(to_dict(params)).items()}
        for summary in hparams(simple, dict(self._prefixed(metrics))):
            self.experiment.file_writer.add_summary(summary, step)

    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Record which module of ``model`` feeds which, if the logger was made with ``log_graph=True``.

        Args:
            model: a module; it is run once, in eval mode.
            input_array: its input, a tuple for several; None takes ``model.example_input_array``.
        """
        if not self._log_graph:
            return
        inputs = getattr(model, "example_input_array", None) if input_array is None else input_array
        if inputs is None:
            warnings.warn(
                "[W302] TensorBoardLogger(log_graph=True): the graph is not logged, for the model has no"
                " `example_input_array` and `log_graph` got no `input_array`. HINT: set one of them.",
                stacklevel=2,
            )
            return
        self.experiment.add_graph(model, inputs)

    def save(self) -> None:
        """Flush what was logged to disk."""
        if self._experiment is not None:
            self._experiment.flush()

    def finalize(self, status: str) -> None:
        """Flush, and close the event file; what is logged later goes to a new one."""
        if self._experiment is not None:
            self._experiment.close()
            self._experiment = None

    def _sizes(self) -> dict[str, int]:
        """Bytes of the event files of this logger, those of runs that went on here before included, by path."""
        folder, sizes = self.log_dir, {}
        for path, _, names in os.walk(folder):
            for name in names:
                if name.startswith("events.out.tfevents.") and _OUR_SUFFIX.search(name):
                    file = os.path.join(path, name)
                    sizes[os.path.relpath(file, folder).replace(os.sep, "/")] = os.path.getsize(file)
        return dict(sorted(sizes.items()))

    def _files_state(self) -> dict[str, Any]:
        return {"bytes": self._sizes()}

    def _cut_files(self, state: dict[str, Any]) -> None:
        self.finalize("")  # nobody writes to the files while they are cut
        for name, size in self._sizes().items():
            path, saved = os.path.join(self.log_dir, name), state["bytes"].get(name, 0)
            if not saved:
                os.unlink(path)
            elif size > saved:  # whole records: everything was flushed when the size was taken
                os.truncate(path, saved)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_experiment": None}  # a writer has a thread and cannot be copied


@functools.cache
def _writer_class() -> type[SummaryWriter]:
    """``SummaryWriter`` whose methods take whatever NumPy can read, made when tensorboardX is first needed."""
    with _torch_hidden():
        from tensorboardX import SummaryWriter

    class ArrayWriter(SummaryWriter):
        """tensorboardX itself takes NumPy arrays, and tensors of libraries that it knows by name.

        It hands events to a thread, and its ``flush`` does not wait for that, but for the disk. A checkpoint says where
        the file ends, so here every event is in the file, or in its buffer, when the call returns, and ``flush`` empties
        the buffer: what is logged outlives the process.
        """

        def _get_file_writer(self) -> Any:
            file_writer = super()._get_file_writer()
            event_writer = file_writer.event_writer
            event_writer.add_event = event_writer._ev_writer.write_event
            records = event_writer._ev_writer._py_recordio_writer
            records.flush = records._writer.flush
            return file_writer

        def add_graph(self, model: Any, input_to_model: Any = None, verbose: bool = False, **kwargs: Any) -> None:
            """Which module feeds which, on TensorBoard's GRAPHS page, after a run of `model` on `input_to_model`."""
            from loggers.graph import graph_event

            self._get_file_writer().event_writer.add_event(graph_event(model, input_to_model))

    for name in ("scalar", "scalars", "hparams", "histogram", "image", "images", "image_with_boxes", "video", "audio",
                 "embedding", "pr_curve", "mesh"):  # fmt: skip
        setattr(ArrayWriter, f"add_{name}", _with_arrays(getattr(SummaryWriter, f"add_{name}")))
    return ArrayWriter


def _with_arrays(method: Callable[..., Any]) -> Callable[..., Any]:
    """``method`` with every argument that can be read as an array, or holds one, turned into one."""

    def read(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: read(item) for name, item in value.items()}
        if hasattr(value, "detach"):  # a tensor, which may require grad and be on a GPU
            value = value.detach().cpu()
        return np.asarray(value) if hasattr(value, "__array__") else value

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return method(self, *map(read, args), **{name: read(value) for name, value in kwargs.items()})

    return call


@contextlib.contextmanager
def _torch_hidden() -> Iterator[None]:
    """Keep an import from loading PyTorch.

    tensorboardX imports it wherever it is installed, which costs two seconds and some hundred megabytes, and needs it
    for PyTorch's own models only.
    """
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["torch"]
