"""BatchSizeFinder: the largest batch that fits into memory. ``Tuner.scale_batch_size`` is the same search."""

from __future__ import annotations

import gc
import warnings
from typing import TYPE_CHECKING, Any

import engine
from callbacks.base import Callback
from callbacks.exceptions import MisconfigurationException
from callbacks.trial import holders_of, set_in, trial

if TYPE_CHECKING:
    from lit import LightningModule, Trainer

MODES = ("power", "binsearch")
LOADERS = {"fit": "train", "validate": "val", "test": "test", "predict": "predict"}


class BatchSizeFinder(Callback):
    """Look for the largest batch size that does not run out of memory, and use it.

    Each size is tried for a few steps by a Trainer of its own; weights and random streams are put back afterwards. The
    module or the datamodule must have the batch size as an attribute or hyper-parameter, and make its loaders with it.
    To look again in certain epochs, override ``on_fit_start`` and call ``scale_batch_size`` in another hook.

    Args:
        mode: "power" doubles the size until memory runs out; "binsearch" goes on between the last two sizes.
        steps_per_trial: steps with each size.
        init_val: the first size.
        max_trials: how often the size is raised.
        batch_arg_name: the name of the attribute, which is looked for in the module, its hparams and the datamodule.
        margin: with "binsearch", the share by which the size found is lowered.
        max_val: the largest size that is considered.

    Attributes:
        optimal_batch_size: what was found; ``init_val`` before.

    Raises:
        ValueError: the mode is unknown, or ``margin`` is not in [0, 1).
        MisconfigurationException: loaders were passed to the run instead of hooks that make them, or nobody has an
            attribute of that name; raised when the run starts.

    A run that goes on from a checkpoint does not search again.

    Example:
        >>> from callbacks import BatchSizeFinder
        >>> BatchSizeFinder(mode="binsearch", init_val=8).optimal_batch_size
        8
    """

    runs_first = True
    SUPPORTED_MODES = MODES

    def __init__(
        self,
        mode: str = "power",
        steps_per_trial: int = 3,
        init_val: int = 2,
        max_trials: int = 25,
        batch_arg_name: str = "batch_size",
        margin: float = 0.05,
        max_val: int = 8192,
    ) -> None:
        if mode.lower() not in MODES:
            raise ValueError(f"BatchSizeFinder(mode={mode!r}): expected 'power' or 'binsearch'.")
        if not 0.0 <= margin < 1.0:
            raise ValueError(f"BatchSizeFinder(margin={margin}): expected a share from 0 up to, but not, 1.")
        self.optimal_batch_size = init_val
        self._mode = mode.lower()
        self._steps_per_trial, self._max_trials = steps_per_trial, max_trials
        self._init_val, self._max_val, self._margin = init_val, max_val, margin
        self._batch_arg_name = batch_arg_name
        self._found = False

    def state_dict(self) -> dict[str, Any]:
        """What was found."""
        return {"optimal_batch_size": self.optimal_batch_size} if self._found else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The run that goes on had found its batch size."""
        self.optimal_batch_size, self._found = state_dict["optimal_batch_size"], True

    # ------------------------------------------------------------------ hooks

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """The search needs loaders that it can ask for again, and an attribute to set."""
        if self._loop(trainer).data.source.given is not None:
            raise MisconfigurationException(
                f"BatchSizeFinder cannot change the batch size of loaders that are passed to Trainer.{stage}(...)."
                f" HINT: return them from `{LOADERS[stage]}_dataloader` of the module or of a datamodule."
            )
        self.check(pl_module, trainer.datamodule)

    def check(self, pl_module: LightningModule, datamodule: Any) -> None:
        """Refuse a batch size that nobody has, and point out one that is there twice."""
        name = self._batch_arg_name
        if not holders_of(pl_module, datamodule, name):
            raise MisconfigurationException(
                f"BatchSizeFinder(batch_arg_name={name!r}): neither the module nor the datamodule has an attribute or"
                " hyper-parameter of this name. HINT: self.save_hyperparameters(), or self.batch_size = batch_size."
            )
        if hasattr(pl_module, name) and name in pl_module.hparams:
            warnings.warn(
                f"[W207] BatchSizeFinder: {type(pl_module).__name__} has {name!r} as an attribute and as a hyper-parameter;"
                " both are set. HINT: keep one of them.",
                stacklevel=2,
            )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Search, unless the checkpoint says what was found."""
        if trainer.ckpt_path is None or not self._found:
            self.scale_batch_size(trainer, pl_module)
        else:
            self._set(pl_module, trainer.datamodule, self.optimal_batch_size)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Search in ``Trainer.validate``."""
        if trainer.state.fn == "validate":
            self.scale_batch_size(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Search in ``Trainer.test``."""
        self.scale_batch_size(trainer, pl_module)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Search in ``Trainer.predict``."""
        self.scale_batch_size(trainer, pl_module)

    # ------------------------------------------------------------------ the search

    def scale_batch_size(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Search now, for the run at hand, and let its loaders be made anew."""
        assert trainer.state.fn is not None
        self.search(trainer, pl_module, trainer.datamodule, str(trainer.state.fn))
        loop = self._loop(trainer)
        loop.data.forget()
        if trainer.state.fn == "fit":
            trainer.val_loop.data.forget()
        else:
            loop.data.setup()

    def search(self, trainer: Trainer, pl_module: LightningModule, datamodule: Any, method: str) -> int | None:
        """Search, and set the size found in the module and the datamodule; None where there was no search."""
        if trainer.fast_dev_run:
            warnings.warn(
                "[W208] BatchSizeFinder: under fast_dev_run there is no search. HINT: Trainer(fast_dev_run=False).",
                stacklevel=2,
            )
            return None
        scale = self._double if self._mode == "power" else self._bisect
        size = scale(lambda size: self._try(trainer, pl_module, datamodule, method, size))
        self._set(pl_module, datamodule, size)
        self.optimal_batch_size, self._found = size, True
        trainer.print(f"{self._batch_arg_name} is set to {size}.")
        return size

    def _double(self, try_size: Any) -> int:
        size, fitted = self._init_val, False
        for trial_number in range(self._max_trials):
            if size >= self._max_val:
                break
            samples = try_size(size)
            if samples is None:
                size = self._half_of(size)
                if fitted:
                    break
            elif trial_number + 1 == self._max_trials or size >= samples:
                break
            else:
                size, fitted = min(2 * size, self._max_val), True
        return size

    def _bisect(self, try_size: Any) -> int:
        size, low, high, trials = self._init_val, 1, None, 0
        while size < self._max_val:
            samples = try_size(size)
            if samples is None:
                high = size
                if high <= 1:
                    self._half_of(size)
                size = (high + low) // 2
            else:
                low, trials = size, trials + 1
                if trials >= self._max_trials or size >= samples:
                    break
                size = min(2 * size if high is None else (high + low) // 2, self._max_val)
            if high is not None and high - low <= 1:
                size = low
                break
        return max(1, int(size * (1 - self._margin)))

    def _half_of(self, size: int) -> int:
        if size <= 1:
            raise MemoryError(f"BatchSizeFinder: memory runs out with {self._batch_arg_name}=1 already.")
        return size // 2

    def _try(self, trainer: Trainer, pl_module: LightningModule, datamodule: Any, method: str, size: int) -> float | None:
        """The number of samples there are, inf if unknown; None where memory runs out."""
        self._set(pl_module, datamodule, size)
        steps, kind = self._steps_per_trial, LOADERS[method]
        flags: dict[str, Any] = {f"limit_{kind}_batches": steps}
        arguments: dict[str, Any] = {"datamodule": datamodule}
        if method == "fit":
            flags = {"max_epochs": -1, "max_steps": steps, "limit_val_batches": steps}
        elif method == "predict":
            arguments["return_predictions"] = False
        else:
            arguments["verbose"] = False
        gc.collect()
        engine.cuda.empty_cache()
        with trial(trainer, pl_module, datamodule, None, **flags) as inner:
            try:
                getattr(inner, method)(pl_module, **arguments)
            except (MemoryError, RuntimeError) as error:
                if not is_oom_error(error):
                    raise
                return None
            data = self._loop(inner).data
            return _samples(data.loader if method == "fit" else data.loaders)

    @staticmethod
    def _loop(trainer: Trainer) -> Any:
        return getattr(trainer, f"{trainer.state.fn}_loop")

    def _set(self, pl_module: LightningModule, datamodule: Any, size: int) -> None:
        set_in(holders_of(pl_module, datamodule, self._batch_arg_name), self._batch_arg_name, size)


def is_oom_error(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on the CPU or on a GPU.

    Example:
        >>> from callbacks.batch_size_finder import is_oom_error
        >>> is_oom_error(RuntimeError("CUDA error: out of memory")), is_oom_error(RuntimeError("shape mismatch"))
        (True, False)
    """
    text = str(error)
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def _samples(combined: Any) -> float:
    """Samples in the datasets behind loaders, inf if unknown."""
    lengths: list[int] = []
    for loader in combined.flattened:
        try:
            lengths.append(len(loader.dataset))
        except (AttributeError, TypeError, NotImplementedError):
            continue
    if not lengths:
        return float("inf")
    if combined.mode == "sequential":
        return sum(lengths)
    return min(lengths) if combined.mode == "min_size" else max(lengths)
