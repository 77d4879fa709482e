"""From ``train_dataloader`` and its siblings to batches: asking for loaders, counting and limiting their batches."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from callbacks import MisconfigurationException
from engine.utils.data import DataLoader, RandomSampler, SequentialSampler
from engine.utils.data.sampler import draw_seed
from engine.utils.data.streams import Streams
from lit.combined_loader import CombinedLoader, length_of, resumed_iterator, state_between_epochs, state_in_pass
from lit.dataloader_iter import DataLoaderIter
from lit.datamodule import LightningDataModule
from lit.hooks import is_overridden
from lit.module import LightningModule
from lit.state import TrainerFn
from lit.validation_schedule import batches_between

if TYPE_CHECKING:
    from lit.trainer import Trainer


@dataclass
class LoaderSource:
    """Where the loaders of one kind come from: an argument of ``fit`` and so on, the datamodule, or the module."""

    hook: str  # "train_dataloader", "val_dataloader", ...
    given: Any = None

    def owner(self, trainer: Trainer) -> Any:
        """Who has the hook: the datamodule or the module; None if neither."""
        candidates = ((trainer.datamodule, LightningDataModule), (trainer.lightning_module, LightningModule))
        for candidate, base in candidates:
            if candidate is not None and is_overridden(self.hook, candidate, base):
                return candidate
        return None

    def is_defined(self, trainer: Trainer) -> bool:
        return self.given is not None or self.owner(trainer) is not None

    def request(self, trainer: Trainer, epoch: int | None = None) -> Any:
        """The loaders: the given ones, or what the hook returns now, or did in ``epoch`` of the run that goes on.

        Raises:
            MisconfigurationException: there are none, or the hook returned None.
        """
        if self.given is not None:
            return self.given
        owner = self.owner(trainer)
        if owner is None:
            raise MisconfigurationException(
                f"Trainer.{trainer.state.fn}(...): there is no `{self.hook}`. HINT: pass the loaders to the call, or"
                f" define `{self.hook}` in the LightningModule or in a LightningDataModule."
            )
        state = trainer.state
        outer, trainer.hooks.current = trainer.hooks.current, self.hook
        now, state.current_epoch = state.current_epoch, state.current_epoch if epoch is None else epoch
        try:
            loaders = getattr(owner, self.hook)()
        finally:
            state.current_epoch = now
        trainer.hooks.current = outer
        if loaders is None:
            raise MisconfigurationException(
                f"`{type(owner).__name__}.{self.hook}()` returned None; expected an iterable of batches."
                " HINT: is a `return` missing?"
            )
        return loaders


def accepts_batch_idx(step: Callable[..., Any]) -> bool:
    """Whether a step takes a second argument besides the batch."""
    parameters = inspect.signature(step).parameters
    many = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters.values())
    return many or len(parameters) >= 2


def checked_loader(loader: Any, hook: str) -> Any:
    """``loader`` itself if it can be iterated over.

    Raises:
        TypeError: it cannot.
    """
    try:
        iter_method = type(loader).__iter__
    except AttributeError:
        iter_method = None
    if iter_method is None and not hasattr(type(loader), "__getitem__"):
        raise TypeError(f"`{hook}`: expected an iterable of batches, got {type(loader).__name__}.")
    return loader


def number_of_batches(loader: Any, limit: int | float, flag: str, hook: str) -> int | float:
    """Batches to take from ``loader``: all, at most an int ``limit``, or a float share of them; inf if unknown.

    Raises:
        MisconfigurationException: the loader is empty, the share is less than one batch, or a share of an unknown
            number is asked for.
    """
    length = length_of(loader)
    if limit == 0:
        return 0
    if length == 0:
        raise MisconfigurationException(f"`{hook}`: the loader has no batches{_why_empty(loader)}.")
    if isinstance(limit, int):
        return min(length, limit)
    if length == inf:
        if limit == 1.0:
            return inf
        raise MisconfigurationException(
            f"Trainer({flag}={limit}): a share of a loader without a length cannot be taken. HINT: use an integer."
        )
    count = int(length * limit)
    if count == 0:
        raise MisconfigurationException(
            f"Trainer({flag}={limit}): {limit} of {length} batches is less than one batch."
            f" HINT: use at least {1 / length:.3g}, or an integer."
        )
    return count


def _why_empty(loader: Any) -> str:
    dataset = getattr(loader, "dataset", None)
    samples = length_of(dataset) if dataset is not None else inf
    if samples == inf:
        return ""
    drop = ", drop_last=True" if getattr(loader, "drop_last", False) else ""
    return f" (dataset of {samples} samples, batch_size={getattr(loader, 'batch_size', None)}{drop})"


def without_shuffling(loader: Any, kind: str) -> Any:
    """A loader over the same dataset in order, for ``overfit_batches``; the given one is left alone."""
    if not isinstance(loader, DataLoader) or not isinstance(loader.sampler, RandomSampler):
        return loader
    warnings.warn(
        f"[W108] Trainer(overfit_batches=...) takes the same batches every epoch, so the {kind} loader's shuffling is left"
        " out: batches come from a second loader over the same dataset, in order. HINT: shuffle=False says so yourself.",
        stacklevel=2,
    )
    return DataLoader(
        loader.dataset,
        batch_size=loader.batch_size,
        sampler=SequentialSampler(loader.dataset),  # type: ignore[arg-type]
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        drop_last=loader.drop_last,
    )


class TrainingData:
    """The training loaders of a run: asked for once, or again every few epochs."""

    def __init__(self, trainer: Trainer) -> None:
        self.source = LoaderSource("train_dataloader")
        self.loader: CombinedLoader | None = None
        self.max_batches: int | float = inf
        self.val_check_batch: int | float = inf
        self.exhausted = False  # a loader without a length has yielded its last batch
        self.iterator: DataLoaderIter | None = None  # from which training_step fetches its batches itself
        self._trainer = trainer
        self._loaded_in_epoch = -1
        self._ahead: _LookingAhead | None = None
        self._cut_at: dict[str, Any] | None = None
        self._saved: dict[str, Any] | None = None
        self._fetched_by_step = 0

    def forget(self) -> None:
        """The next ``setup`` asks for loaders again."""
        self.loader = None

    def setup(self) -> None:
        """Ask for the loaders if there are none yet, or if ``reload_dataloaders_every_n_epochs`` says so."""
        trainer = self._trainer
        every = trainer.reload_dataloaders_every_n_epochs
        stale = every and self.loader is not None and trainer.current_epoch - self._loaded_in_epoch >= every
        if stale:
            self._saved = None
        elif self.loader is not None:
            return
        loaders = self.source.request(trainer, None if self._saved is None else self._loaded_in_epoch)
        combined = loaders if isinstance(loaders, CombinedLoader) else CombinedLoader(loaders, "max_size_cycle")
        if combined.mode == "sequential":
            raise ValueError(
                "Trainer.fit(...): CombinedLoader(mode='sequential') cannot be used for training."
                " HINT: use 'min_size', 'max_size' or 'max_size_cycle'."
            )
        leaves = [checked_loader(leaf, self.source.hook) for leaf in combined.flattened]
        if not leaves:
            raise MisconfigurationException(f"`{self.source.hook}`: an empty list has no batches to train on.")
        if trainer.overfit_batches > 0:
            leaves = [without_shuffling(leaf, "training") for leaf in leaves]
        combined = _with_leaves(combined, leaves)
        limit = trainer.limit_train_batches
        combined.limits = [number_of_batches(leaf, limit, "limit_train_batches", self.source.hook) for leaf in leaves]
        self.loader = combined
        self.max_batches = combined.total()
        self.val_check_batch = batches_between(trainer, self.max_batches)
        if self._saved is None:  # else the loaders stand for those of the run that goes on
            self._loaded_in_epoch = trainer.current_epoch
        if stale:
            for leaf in leaves:  # Lightning begins a pass over new loaders and drops it: what follows must be the same
                if isinstance(leaf, DataLoader):
                    draw_seed(leaf.generator)
        self._warn_if_nothing_gets_logged()

    def _warn_if_nothing_gets_logged(self) -> None:
        trainer = self._trainer
        if trainer.loggers and self.max_batches < trainer.log_every_n_steps and not trainer.fast_dev_run:
            warnings.warn(
                f"[W109] An epoch has {self.max_batches} training batches, fewer than"
                f" Trainer(log_every_n_steps={trainer.log_every_n_steps}): step values may be missing in the logs."
                " HINT: lower log_every_n_steps.",
                stacklevel=7,
            )

    def set_epoch(self, epoch: int) -> None:
        """Tell samplers that want to know which epoch begins."""
        assert self.loader is not None
        for leaf in self.loader.flattened:
            set_sampler_epoch(leaf, epoch)

    def batches(self) -> Iterator[Any]:
        """The batches of one epoch; of an epoch that was taken up again, those that are left."""
        assert self.loader is not None
        self.exhausted, self._cut_at, self.iterator = False, None, None
        saved, self._saved = self._saved, None
        self._fetched_by_step = 0 if saved is None else saved.get("fetched_by_step") or 0
        leaf = self._only_leaf()
        if leaf is not None:  # the loader itself, with nothing between it and the loop
            batches = iter(leaf) if saved is None else resumed_iterator(leaf, saved["passes"][0])
        else:
            if saved is not None:
                self.loader.load_state_dict(saved["passes"])
            batches = (batch for batch, _, _ in self.loader)
        if self.max_batches == inf:
            self._ahead = _LookingAhead(batches, self, saved)
            return self._ahead
        return batches

    def _only_leaf(self) -> Any:
        assert self.loader is not None
        leaves = self.loader.flattened
        return leaves[0] if len(leaves) == 1 and leaves[0] is self.loader.iterables else None

    def state_dict(self, inside: bool, fetched: bool) -> dict[str, Any]:
        """Where the loaders are. ``inside``: an epoch has begun; ``fetched``: its next batch has been taken already."""
        place: dict[str, Any] = {"passes": None, "streams": None}
        if self._cut_at is not None:
            place = self._cut_at
        elif self.loader is not None:
            taken = self.taken + (fetched and self.iterator is None)
            place = self._ahead.before if inside and self._ahead is not None else self.place(inside, taken)
        fetched_by_step = None if self.iterator is None else self.iterator.fetched
        return {**place, "loaded_in_epoch": self._loaded_in_epoch, "fetched_by_step": fetched_by_step}

    @property
    def taken(self) -> int:
        """Batches of this epoch that were taken from the loaders."""
        return self._trainer.state.batches_done if self.iterator is None else self.iterator.fetched

    def is_last(self, taken: int) -> bool:
        """Whether an epoch has no more than ``taken`` batches."""
        return taken >= self.max_batches or self.exhausted

    def given_to_step(self, batches: Iterator[Any], note: Callable[[Any, int], None]) -> Iterator[Any]:
        """The iterator over ``batches``, again and again, for a ``training_step(self, dataloader_iter)``."""
        fetched = self._fetched_by_step
        items = ((batch, index, 0) for index, batch in enumerate(batches, fetched))
        self.iterator = DataLoaderIter(items, self.is_last, note, fetched)
        return self.iterator.until_done()

    def cut_epoch(self) -> None:
        """The epoch ends before its last batch: checkpoints from here on hold the place where it could go on."""
        self._cut_at = self.state_dict(inside=True, fetched=False)

    def place(self, inside: bool, taken: int) -> dict[str, Any]:
        """Where the loaders are after ``taken`` batches of an epoch."""
        assert self.loader is not None
        if not inside:
            passes = [state_between_epochs(leaf) for leaf in self.loader.flattened]
        elif (leaf := self._only_leaf()) is not None:
            passes = [state_in_pass(leaf, taken)]
        else:
            passes = self.loader.state_dict()
        return {"passes": passes, "streams": None}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """The next ``batches`` go on from where ``state_dict`` was taken."""
        self._saved = saved if saved["passes"] is not None else None
        self._loaded_in_epoch = saved["loaded_in_epoch"]

    def begin_epoch(self) -> None:
        """A new epoch begins: of a saved state only what outlives an epoch is left (generators, worker processes)."""
        assert self.loader is not None
        self._ahead = self._cut_at = None
        saved, self._saved = self._saved, None
        if saved is not None:
            for leaf, state in zip(self.loader.flattened, saved["passes"], strict=False):
                if state["loader"] is not None:
                    leaf.load_state_dict(state["loader"])


class EvaluationData:
    """The loaders of an evaluation loop, with the number of batches to take from each."""

    def __init__(self, trainer: Trainer, kind: str) -> None:
        self.source = LoaderSource(f"{kind}_dataloader")
        self.loaders: CombinedLoader | None = None
        self.max_batches: list[int | float] = []
        self._trainer = trainer
        self._flag = f"limit_{kind}_batches"
        self.loaded_in_epoch = -1
        self._saved: list[dict[str, Any]] | None = None

    def setup(self) -> None:
        """Ask for the loaders and count their batches; with a limit of 0 there is nothing to ask for."""
        trainer = self._trainer
        limit = getattr(trainer, self._flag)
        if limit == 0:
            return
        loaders = self.source.request(trainer, None if self._saved is None else self.loaded_in_epoch)
        combined = loaders if isinstance(loaders, CombinedLoader) else CombinedLoader(loaders, "sequential")
        leaves = [checked_loader(leaf, self.source.hook) for leaf in combined.flattened]
        if trainer.overfit_batches > 0 and trainer.state.fn == TrainerFn.FITTING:
            leaves = [without_shuffling(leaf, "validation") for leaf in leaves]
        fresh = CombinedLoader(combined.iterables, combined.mode)  # the user's CombinedLoader stays as it is
        fresh.flattened = leaves
        self.max_batches = [number_of_batches(leaf, limit, self._flag, self.source.hook) for leaf in leaves]
        self.loaders = fresh
        if self._saved is None:
            self.loaded_in_epoch = trainer.current_epoch
            return
        saved, self._saved = self._saved, None  # the loaders stand for those of the run that goes on
        for leaf, state in zip(leaves, saved, strict=False):
            if state["loader"] is not None:
                leaf.load_state_dict(state["loader"])

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The next loaders go on with what outlived the passes of those before."""
        self._saved = state["loaders"]
        self.loaded_in_epoch = state["loaded_in_epoch"]

    def is_stale(self) -> bool:
        every = self._trainer.reload_dataloaders_every_n_epochs
        return self.loaders is None or bool(every and self._trainer.current_epoch - self.loaded_in_epoch >= every)

    def forget(self) -> None:
        self.loaders = None
        self.max_batches = []


class _LookingAhead:
    """Without a length, only the attempt to take one more tells whether a batch is the last."""

    def __init__(self, batches: Iterator[Any], data: TrainingData, saved: dict[str, Any] | None) -> None:
        self._batches, self._data = batches, data
        self._taken = 0
        if saved is not None:
            self._taken = int(saved["passes"][0]["batches"])
        if saved is not None and saved["streams"] is not None:
            Streams.from_state_dict(saved["streams"]).restore()
        self._fetch()
        data.exhausted = saved is not None and self._next is _END

    def _fetch(self) -> None:
        # The batch taken ahead is in no checkpoint: whoever goes on takes it again, with the random streams of now.
        self.before = {**self._data.place(True, self._taken), "streams": Streams().state_dict()}
        self._next = next(self._batches, _END)
        self._taken += 1

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._next is _END:
            raise StopIteration
        batch = self._next
        self._fetch()
        self._data.exhausted = self._next is _END
        return batch


_END = object()


def _with_leaves(combined: CombinedLoader, leaves: list[Any]) -> CombinedLoader:
    # A new object: limits are ours to set, and the user's CombinedLoader stays as it is.
    fresh = CombinedLoader(combined.iterables, combined.mode)
    if any(new is not old for new, old in zip(leaves, combined.flattened, strict=True)):
        fresh.flattened = leaves
    return fresh


def set_sampler_epoch(loader: Any, epoch: int) -> None:
    """Call ``set_epoch`` on the loader's sampler and batch sampler where they have it."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    for sampler in (getattr(loader, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None)):
        tell = getattr(sampler, "set_epoch", None)
        if callable(tell):
            tell(epoch)
