"""Training leaves no cycles behind: memory goes when the last reference goes, without the garbage collector."""

from __future__ import annotations

import gc
import sys

import engine as torch
from engine import nn


def test_memory_is_flat_over_training_steps_without_gc() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    inputs, labels = torch.randn(32, 8), torch.randint(0, 4, (32,))

    def steps(count: int) -> int:
        """Train and give the number of memory blocks in use afterwards."""
        for _ in range(count):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
        return sys.getallocatedblocks()

    gc.collect()
    gc.disable()
    try:
        before = steps(1500)  # until caches of small numbers are full
        after = steps(1000)
    finally:
        gc.enable()
    # One block lost per step would be 1000.
    assert after - before < 100
