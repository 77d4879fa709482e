"""Gradients of several batches are those of one large batch, however the batches are cut."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

import engine as torch
import lit as pl
from callbacks import MisconfigurationException
from engine.utils.data import DataLoader, IterableDataset
from tests.lit.models import quiet_trainer, rows

pytestmark = pytest.mark.filterwarnings("ignore:.*training_step. returned None", "ignore:.*validation loader")


class Sum(pl.LightningModule):
    """Keeps the gradient that each optimizer step sees."""

    def __init__(self, weighted: bool = True) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1).double()
        self.weighted = weighted
        self.seen: list[torch.Tensor] = []

    def loss(self, batch: Any) -> Any:
        x, y = batch
        return torch.nn.functional.mse_loss(self.layer(x.double()), y.double())

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return {"loss": self.loss(batch), "loss_weight": len(batch[0])} if self.weighted else self.loss(batch)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.seen.append(self.layer.weight.grad.clone())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def cut(sizes: list[int]) -> list[Any]:
    x, y = rows(sum(sizes)).tensors
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [(x[a : a + n], y[a : a + n]) for a, n in zip(starts, sizes, strict=True)]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("known_length", [True, False])
def test_weighted_batches_equal_one_large_batch(seed: int, known_length: bool) -> None:
    choose = random.Random(seed)
    sizes = [choose.randint(1, 5) for _ in range(choose.randint(1, 9))]
    every = choose.randint(2, 4)
    model, batches = Sum(), cut(sizes)

    class Stream(IterableDataset):
        def __iter__(self) -> Iterator[Any]:
            return iter(batches)

    loader = batches if known_length else DataLoader(Stream(), batch_size=None)
    quiet_trainer(accumulate_grad_batches=every).fit(model, loader)
    windows = [batches[i : i + every] for i in range(0, len(batches), every)]
    assert len(model.seen) == len(windows)
    for window, gradient in zip(windows, model.seen, strict=True):
        whole = tuple(torch.cat(parts) for parts in zip(*window, strict=True))
        model.zero_grad()
        model.loss(whole).backward()
        assert torch.allclose(model.layer.weight.grad, gradient, rtol=1e-12)


@pytest.mark.parametrize("known_length", [True, False])
def test_the_last_window_is_divided_by_its_own_batches(known_length: bool) -> None:
    batches = cut([2] * 5)
    model = Sum(weighted=False)
    quiet_trainer(accumulate_grad_batches=3).fit(model, batches if known_length else iter(batches))
    whole = tuple(torch.cat(parts) for parts in zip(*batches[3:], strict=True))
    model.zero_grad()
    model.loss(whole).backward()
    assert torch.allclose(model.layer.weight.grad, model.seen[1], rtol=1e-12)


def test_a_skipped_batch_does_not_count() -> None:
    class Skips(Sum):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return None if batch_idx == 1 else super().training_step(batch, batch_idx)

    batches = cut([2, 2])
    model = Skips(weighted=False)
    quiet_trainer(accumulate_grad_batches=2).fit(model, batches)
    model.zero_grad()
    model.loss(batches[0]).backward()
    assert torch.allclose(model.layer.weight.grad, model.seen[0], rtol=1e-12)


def test_weights_for_some_batches_only_are_refused() -> None:
    class Mixed(Sum):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.weighted = batch_idx == 0
            return super().training_step(batch, batch_idx)

    with pytest.raises(MisconfigurationException, match="for some batches"):
        quiet_trainer(accumulate_grad_batches=2).fit(Mixed(), cut([1, 1]))


def test_the_trainer_draws_nothing_from_the_programs_streams() -> None:
    import numpy as np

    from engine.utils.data.streams import Streams

    class Still(Sum):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", self.loss(batch))

    model, before = Still(), Streams()
    trainer = quiet_trainer(max_epochs=2, accumulate_grad_batches=2)
    trainer.fit(model, cut([2] * 3), cut([2] * 2))
    trainer.validate(model, cut([2]), verbose=False)
    assert Streams() == before
    assert isinstance(np.random.rand(), float) and Streams() != before
