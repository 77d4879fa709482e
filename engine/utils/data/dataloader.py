"""DataLoader: dataset + sampler + collation, as an iterable over batches."""

from __future__ import annotations

import math
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ... import backend
from ...rng import Generator
from . import position
from .collate import default_collate, default_convert
from .dataset import Dataset, IterableDataset
from .fetch import make_fetch
from .pinning import pinned
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, draw_seed

if TYPE_CHECKING:
    from .pool import WorkerPool

T_co = TypeVar("T_co", covariant=True)

_FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")


class _NoIndices(Sampler[None]):
    """The sampler of a stream: it has no indices, only an order for one more sample, again and again."""

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


class DataLoader(Generic[T_co]):
    """Batches of a dataset, in this process or from `num_workers` worker processes.

    Arguments as torch's: `dataset` (map-style or IterableDataset); `batch_size` samples per batch (None: no batching);
    `shuffle`, or an own `sampler` (indices) or `batch_sampler` (lists of indices); `num_workers` processes, each
    fetching `prefetch_factor` batches ahead (2; at most 32), kept between epochs with `persistent_workers`;
    `collate_fn` makes a batch of a list of samples (`default_collate`, or `default_convert` without batching);
    `drop_last` leaves out an incomplete last batch; `timeout` in seconds to wait for a worker (0: for ever);
    `worker_init_fn(worker_id)` runs in each worker after seeding; `multiprocessing_context` a context or start method
    ("fork" on Linux unless the program chose another); `generator` for the shuffle and the workers' seeds;
    `in_order=False` gives batches out as they arrive. `pin_memory` puts batches into page-locked memory where there is a
    GPU, so that `.to("cuda", non_blocking=True)` copies while the host goes on; `pin_memory_device` is accepted.

    The same seed gives torch's order. Worker i is seeded with base_seed + i (engine, `random`; NumPy by a mix of both).
    An exception in a worker is raised here, same class, with the worker's traceback in the message; a worker that is
    killed raises RuntimeError with its pid and signal.

    Raises ValueError for contradicting arguments, TypeError for a wrong `multiprocessing_context`.

    >>> loader = torch.utils.data.DataLoader(range(5), batch_size=2)
    >>> list(loader), len(loader)
    ([tensor([0, 1]), tensor([2, 3]), tensor([4])], 3)
    """

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler | Iterable | None = None,
        batch_sampler: Sampler[list] | Iterable[list] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], Any] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        _check_sampling(dataset, batch_size, shuffle, sampler, batch_sampler, drop_last)
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers > 0 and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.generator = generator
        self.persistent_workers = persistent_workers
        self.in_order = in_order
        if sampler is None:
            sampler = self._default_sampler(bool(shuffle))
        if batch_sampler is not None:
            batch_size, drop_last = None, False
        elif batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.collate_fn = collate_fn or (default_collate if self._auto_collation else default_convert)
        self._pool: WorkerPool | None = None
        self._beginning: position.Beginning | None = None
        self._running: Any = _nothing  # a weak reference to the latest iterator
        self._saved: dict[str, Any] | None = None  # where the next iteration goes on
        self._promised: int | None = None  # what `len` said about an IterableDataset
        self._complete = True

    def _default_sampler(self, shuffle: bool) -> Sampler:
        if isinstance(self.dataset, IterableDataset):
            return _NoIndices()
        dataset: Any = self.dataset
        return RandomSampler(dataset, generator=self.generator) if shuffle else SequentialSampler(dataset)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED and getattr(self, "_complete", False):
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        if name == "multiprocessing_context":
            value = _checked_context(value, self.num_workers)
        super().__setattr__(name, value)

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _is_stream(self) -> bool:
        return isinstance(self.dataset, IterableDataset)

    @property
    def _index_sampler(self) -> Any:
        return self.batch_sampler if self._auto_collation else self.sampler

    def __iter__(self) -> Iterator[Any]:
        saved, self._saved = self._saved, None
        if saved is None or saved["epoch"] is None:  # a new epoch; of an earlier process only the workers go on
            batches = self._batches(None, None if saved is None else saved["workers"])
        else:
            with position.streams_undisturbed():
                batches = self._batches(saved["epoch"], None)
            position.restore_generators(self, saved)
        counted = batches if self._promised is None else _Counted(batches, self)
        return map(pinned, counted) if self.pin_memory and backend.cuda_available() else counted

    def _batches(self, epoch: dict[str, Any] | None, workers: dict[str, Any] | None) -> Iterator[Any]:
        """The batches of one epoch; of a saved one those that are left."""
        if epoch is not None:
            position.restore_beginning(self, epoch["beginning"])
        self._beginning = position.Beginning(self)
        if self.num_workers > 0:
            batches: Any = self._from_workers(workers if epoch is None else epoch)
        else:
            indices = iter(self._index_sampler)
            draw_seed(self.generator)  # not needed without workers, but torch draws it: what follows must be the same
            if not isinstance(self.sampler, SequentialSampler):
                indices = self._beginning.watched(indices, epoch)
            if epoch is not None and epoch["dataset"] is not None:
                self.dataset.load_state_dict(epoch["dataset"])  # type: ignore[attr-defined]
            fetch = make_fetch(self.dataset, self._auto_collation, self.collate_fn, self.drop_last)
            batches = position.InProcess(self, fetch, indices, epoch)
        self._running = weakref.ref(batches)
        return batches

    def _from_workers(self, saved: dict[str, Any] | None) -> WorkerPool:
        from .pool import WorkerPool

        if not self.persistent_workers:
            return WorkerPool(self, saved)
        if self._pool is None or not self._pool.alive or saved is not None:
            self._pool = WorkerPool(self, saved)
        else:
            self._pool.restart()
        return self._pool

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is, as tensors and plain numbers: after the last batch that was given out.

        It holds the random states that the epoch began with and the number of batches since (so the shuffle is made
        again, not stored), the states of the worker processes, the `state_dict()` of the dataset and of the sampler
        where they have one, and the loader's own generators. The process's random streams are not part of it.

        >>> loader = torch.utils.data.DataLoader(range(6), batch_size=2, shuffle=True)
        >>> epoch = iter(loader)
        >>> first, state = next(epoch), loader.state_dict()
        >>> rest = list(epoch)
        >>> loader.load_state_dict(state)
        >>> all(map(torch.equal, rest, loader))
        True
        """
        running = self._running()
        epoch = None
        if running is not None and not running.used_up:
            assert self._beginning is not None
            epoch = {"beginning": self._beginning.state_dict(), **running.state_dict()}
        workers = None if self._pool is None or not self._pool.alive else self._pool.workers_state()
        return {"epoch": epoch, "workers": workers, **position.sources_state(self)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`: the next iteration gives the batches that were left, later ones whole epochs.

        A dataset that is a stream without `state_dict` is read again up to its place; nothing else is.
        Set the process's random streams before that iteration begins; it leaves them as they are.
        """
        self._saved = state_dict
        position.restore_sources(self, state_dict)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_running": _nothing, "_pool": None}  # a copy runs nothing

    def __len__(self) -> int:
        """Batches per epoch. TypeError when the dataset or sampler has no length."""
        if not isinstance(self.dataset, IterableDataset):
            return len(self._index_sampler)
        dataset: Any = self.dataset
        self._promised = length = len(dataset)
        if self.batch_size is None:
            return length
        return length // self.batch_size if self.drop_last else math.ceil(length / self.batch_size)


def _nothing() -> None:
    """A weak reference to nothing."""


class _Counted:
    """Warns when a stream gives more batches than its `len` said it has samples."""

    def __init__(self, batches: Iterator[Any], loader: DataLoader) -> None:
        self._batches = batches
        self._loader = loader
        self._promised = loader._promised or 0
        self._count = 0

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> Any:
        batch = next(self._batches)
        self._count += 1
        if self._count > self._promised:
            workers = self._loader.num_workers
            hint = " HINT: each worker reads the whole dataset unless it asks get_worker_info()." if workers else ""
            warnings.warn(
                f"Length of IterableDataset {self._loader.dataset} was reported to be {self._promised} "
                f"(when accessing len(dataloader)), but {self._count} samples have been fetched.{hint}",
                stacklevel=2,
            )
        return batch


def _check_workers(num_workers: int, timeout: float, prefetch_factor: int | None, persistent_workers: bool) -> None:
    if num_workers < 0:
        raise ValueError(
            f"num_workers option should be non-negative, got {num_workers}. HINT: num_workers=0 loads in this process"
        )
    if timeout < 0:
        raise ValueError(f"timeout option should be non-negative, got {timeout}")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing. "
            "HINT: let num_workers > 0, or leave prefetch_factor out"
        )
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError(f"prefetch_factor option should be non-negative, got {prefetch_factor}")
    if persistent_workers and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")


def _check_sampling(
    dataset: Any, batch_size: int | None, shuffle: bool | None, sampler: Any, batch_sampler: Any, drop_last: bool
) -> None:
    if isinstance(dataset, IterableDataset):
        for name, value, empty in (
            ("shuffle", shuffle, not shuffle),
            ("sampler", sampler, sampler is None),
            ("batch_sampler", batch_sampler, batch_sampler is None),
        ):
            if not empty:
                raise ValueError(
                    f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}"
                )
    if sampler is not None and shuffle:
        raise ValueError("sampler option is mutually exclusive with shuffle")
    if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
        raise ValueError("batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last")
    if batch_sampler is None and batch_size is None and drop_last:
        raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")


def _checked_context(context: Any, num_workers: int) -> Any:
    if context is None:
        return None
    if num_workers == 0:
        raise ValueError(
            "multiprocessing_context can only be used with multi-process loading (num_workers > 0), "
            f"but got num_workers={num_workers}"
        )
    import multiprocessing

    if isinstance(context, str):
        methods = multiprocessing.get_all_start_methods()
        if context not in methods:
            raise ValueError(
                f"multiprocessing_context option should specify a valid start method in {methods!r}, "
                f"but got multiprocessing_context={context!r}"
            )
        return multiprocessing.get_context(context)
    if not isinstance(context, multiprocessing.context.BaseContext):
        raise TypeError(
            "multiprocessing_context option should be a valid context object or a string specifying the start method, "
            f"but got multiprocessing_context={context}"
        )
    return context
