"""The way of batches to the device: page-locked memory, and copies that the host does not wait for."""

from __future__ import annotations

from collections import namedtuple

import engine
from engine.utils.data import DataLoader, TensorDataset

Pair = namedtuple("Pair", "x y")


def test_batches_are_pinned_and_copied_without_waiting(device, events):
    x = engine.arange(12.0).reshape(6, 2)
    loader = DataLoader(TensorDataset(x, engine.arange(6)), batch_size=2, pin_memory=True)
    events.clear()
    seen = []
    for a, b in loader:
        assert a.is_pinned() and b.is_pinned()
        seen.append((a.to(device, non_blocking=True), b.cuda(non_blocking=True)))
    assert events["pinned"] == 6 and not events["synchronize"] and not events["to_host"]
    assert engine.cat([a for a, _ in seen]).tolist() == x.tolist()
    assert engine.cat([b for _, b in seen]).tolist() == list(range(6))


def test_containers_keep_their_kind(device):
    batches = [{"a": Pair(engine.ones(2), [engine.ones(1), "text"])}]
    (batch,) = DataLoader(batches, batch_size=None, pin_memory=True, collate_fn=lambda b: b)
    assert batch["a"].x.is_pinned() and batch["a"].y[0].is_pinned() and batch["a"].y[1] == "text"
    assert isinstance(batch["a"], Pair)


def test_pinned_tensors_go_back_and_forth(device):
    x = engine.ones(3).pin_memory()
    assert x.is_pinned() and not x.is_cuda
    y = x.to(device, non_blocking=True)
    assert y.is_cuda and y.cpu().tolist() == [1.0] * 3
