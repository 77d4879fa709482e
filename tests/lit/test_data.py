"""Loaders: collections of them, empty ones, missing ones, and moving batches."""

from __future__ import annotations

from collections import defaultdict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest

import engine as torch
import lit as pl
from engine.utils.data import DataLoader, IterableDataset
from lit.combined_loader import CombinedLoader
from lit.transfer import map_tensors, move_data_to_device
from tests.lit.models import Net, loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*no validation loader")

A, B = [1, 2, 3], [10, 20]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("min_size", [[1, 10], [2, 20]]),
        ("max_size_cycle", [[1, 10], [2, 20], [3, 10]]),
        ("max_size", [[1, 10], [2, 20], [3, None]]),
    ],
)
def test_modes(mode: str, expected: list[list[Any]]) -> None:
    combined = CombinedLoader([A, B], mode)
    assert len(combined) == len(expected)
    for _ in range(2):  # it can be iterated over again
        assert list(combined) == [(batch, index, 0) for index, batch in enumerate(expected)]


def test_sequential() -> None:
    assert [item[0] for item in CombinedLoader({"a": A, "b": B}, "sequential")] == [1, 2, 3, 10, 20]
    assert len(CombinedLoader([A, B], "sequential")) == 5


def test_limits() -> None:
    for mode, expected in (("min_size", [[1, 10]]), ("max_size_cycle", [[1, 10], [2, 10]])):
        combined = CombinedLoader([A, B], mode)
        combined.limits = [2, 1]
        assert [batch for batch, _, _ in combined] == expected


def test_nested_structure() -> None:
    [(batch, _, _), *_] = list(CombinedLoader({"x": A, "more": [B, {"y": A}]}))
    assert batch == {"x": 1, "more": [10, {"y": 1}]}
    assert CombinedLoader({"x": A, "more": [B, {"y": A}]}).flattened == [A, B, A]


def test_unknown_mode() -> None:
    with pytest.raises(ValueError, match="'longest'.*'max_size'"):
        CombinedLoader([A], "longest")


def test_length_is_unknown_without_lengths() -> None:
    with pytest.raises(NotImplementedError, match="length"):
        len(CombinedLoader([A, iter(B)], "max_size"))
    assert len(CombinedLoader([A], "min_size")) == 3


def test_combined_loader_in_fit_keeps_its_mode() -> None:
    class Both(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.loss(batch[0]) + self.loss(batch[1])

    combined = CombinedLoader([loader(12), loader(6)], "min_size")
    trainer = quiet_trainer(limit_train_batches=10)
    trainer.fit(Both(), combined)
    assert trainer.global_step == 2
    assert combined.limits is None  # the user's object is as it was
    with pytest.raises(ValueError, match="sequential"):
        quiet_trainer().fit(Both(), CombinedLoader([loader()], "sequential"))


# ---------------------------------------------------------------------- bad loaders


class Empty(IterableDataset):
    """A stream that yields nothing."""

    def __iter__(self) -> Any:
        return iter(())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "no batches"),
        (DataLoader([], batch_size=2), "dataset of 0 samples, batch_size=2"),
        (DataLoader([1, 2], batch_size=4, drop_last=True), "dataset of 2 samples, batch_size=4, drop_last=True"),
        (DataLoader(Empty()), "yielded no batch"),
    ],
    ids=["list", "dataset", "drop_last", "stream"],
)
def test_empty_training_loader(data: Any, words: str) -> None:
    with pytest.raises(pl.MisconfigurationException) as refused:
        quiet_trainer().fit(Net(), data)
    assert words in str(refused.value) and "train" in str(refused.value)


def test_empty_evaluation_loaders() -> None:
    for data in (DataLoader([], batch_size=2), DataLoader(Empty())):
        with pytest.raises(pl.MisconfigurationException, match="test_dataloader.*no batch"):
            quiet_trainer().test(Net(), data, verbose=False)
    trainer = quiet_trainer()
    trainer.fit(Net(), loader(), [])  # an empty list of loaders means no validation
    assert trainer.num_val_batches == [] and trainer.global_step == 4


def test_batch_size_zero() -> None:
    with pytest.raises(ValueError, match="batch_size"):
        DataLoader([1, 2], batch_size=0)


def test_not_iterable() -> None:
    with pytest.raises(TypeError, match="train_dataloader.*got int"):
        quiet_trainer().fit(Net(), 5)


@pytest.mark.parametrize(
    ("limit", "words"), [(0.1, "less than one batch. HINT: use at least 0.25"), ("all", "limit_train_batches='all'")]
)
def test_limits_that_mean_nothing(limit: Any, words: str) -> None:
    with pytest.raises(pl.MisconfigurationException) as refused:
        quiet_trainer(limit_train_batches=limit).fit(Net(), loader())
    assert words in str(refused.value)


def test_share_of_an_unknown_number() -> None:
    with pytest.raises(pl.MisconfigurationException, match="without a length"):
        quiet_trainer(limit_train_batches=0.5).fit(Net(), DataLoader(Empty()))
    with pytest.raises(pl.MisconfigurationException, match="val_check_interval=0.5"):
        quiet_trainer(val_check_interval=0.5).fit(Net(), DataLoader(Empty()), loader())


def test_val_check_interval_beyond_the_epoch() -> None:
    with pytest.raises(ValueError, match="only 4 training batches.*check_val_every_n_epoch=None"):
        quiet_trainer(val_check_interval=5).fit(Net(), loader(), loader())


def test_hook_without_return() -> None:
    class Forgot(Net):
        def train_dataloader(self) -> Any:
            loader()

    with pytest.raises(pl.MisconfigurationException, match=r"Forgot.train_dataloader\(\).*return"):
        quiet_trainer().fit(Forgot())


def test_none_from_the_training_loader() -> None:
    trainer = quiet_trainer()
    with pytest.warns(UserWarning, match="yielded None"):
        trainer.fit(Net(), [None, next(iter(loader()))])
    assert trainer.global_step == 1


# ---------------------------------------------------------------------- moving batches

Point = namedtuple("Point", "x y")


@dataclass
class Item:
    x: Any
    name: str


class HasTo:
    where = "here"

    def to(self, device: Any) -> HasTo:
        self.where = str(device)
        return self


def test_any_structure_is_moved() -> None:
    one = torch.ones(1)
    batch = {"l": [one, "s"], "t": (one, 3), "p": Point(one, 2), "d": Item(one, "n"), "dd": defaultdict(list, a=one)}
    moved = map_tensors(batch, lambda tensor: tensor * 2)
    assert moved["l"][0].item() == moved["t"][0].item() == moved["p"].x.item() == moved["d"].x.item() == 2
    assert moved["dd"]["a"].item() == 2 and moved["dd"]["new"] == []
    assert (moved["l"][1], moved["t"][1], moved["p"].y, moved["d"].name) == ("s", 3, 2, "n")
    assert one.item() == 1


def test_objects_with_to_are_moved() -> None:
    assert move_data_to_device([HasTo()], "cpu")[0].where == "cpu"


@pytest.mark.parametrize("mode", ["min_size", "max_size", "max_size_cycle"])
def test_loaders_draw_their_seeds_before_the_first_batch(mode):
    """As Lightning's: first every loader's own seed, then every sampler's, so that shuffled batches come in its order."""

    def shuffled(size):
        return DataLoader(torch.arange(size), batch_size=2, shuffle=True)

    torch.manual_seed(0)
    together = [[part.tolist() for part in batch] for batch, _, _ in CombinedLoader([shuffled(4), shuffled(4)], mode)]
    torch.manual_seed(0)
    first, second = iter(shuffled(4)), iter(shuffled(4))
    assert together == [[a.tolist(), b.tolist()] for a, b in zip(first, second)]
