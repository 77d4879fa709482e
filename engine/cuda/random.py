"""The random generators of the GPUs: one each, seeded apart from the CPU's or, by `torch.manual_seed`, together with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine import backend, random
from engine.devices import as_device, device

from .devices import device_count, is_available


def _generator(where: Any) -> Any:
    backend.require_cuda()
    return random.of_device(as_device(where))


def manual_seed(seed: int) -> None:
    """Seed the current GPU's generator. Without a GPU nothing happens, as in torch."""
    if is_available():
        _generator("cuda").manual_seed(int(seed))


def manual_seed_all(seed: int) -> None:
    """Seed the generators of all GPUs. Without a GPU nothing happens."""
    random.seed_devices(int(seed))


def seed() -> None:
    """Seed the current GPU's generator from the operating system's entropy; nothing without a GPU."""
    if is_available():
        _generator("cuda").seed()


def seed_all() -> None:
    """Seed the generators of all GPUs from the operating system's entropy, alike."""
    if is_available():
        manual_seed_all(_generator("cuda").seed())


def initial_seed() -> int:
    """The seed of the current GPU's generator. RuntimeError without a GPU."""
    return _generator("cuda").initial_seed()


def get_rng_state(device: Any = "cuda") -> Any:
    """The state of a GPU's generator, a ByteTensor on the CPU. RuntimeError without a GPU."""
    return _generator(device).get_state()


def set_rng_state(new_state: Any, device: Any = "cuda") -> None:
    """Put back a state from `get_rng_state`; nothing without a GPU."""
    if is_available():
        _generator(device).set_state(new_state)


def get_rng_state_all() -> list[Any]:
    """The states of all GPUs' generators; empty without one."""
    return [get_rng_state(device("cuda", i)) for i in range(device_count())]


def set_rng_state_all(new_states: Iterable[Any]) -> None:
    """Take up what `get_rng_state_all` gave; nothing for an empty list."""
    for i, state in enumerate(new_states):
        set_rng_state(state, device("cuda", i))
