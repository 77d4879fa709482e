"""The default random generator and the functions that seed it, save it and put it back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from .rng import Generator

__all__ = ["default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"]

default_generator = Generator()
_on_devices: dict[int, Generator] = {}  # the default generators of the GPUs, by index, made when they are first drawn from
_device_seed: int | None = None  # what `manual_seed` gave before that


def of_device(where: Any) -> Generator:
    """The default generator of a device: the CPU's, or that of a GPU."""
    if where.type == "cpu":
        return default_generator
    if where.type == "meta":
        from .rng_meta import GENERATOR

        return GENERATOR
    from . import backend
    from .rng_device import generator_on

    index = backend.require_cuda().cuda.Device().id if where.index is None else where.index
    found = _on_devices.get(index)
    if found is None:
        found = _on_devices[index] = generator_on(index)
        if _device_seed is not None:
            found.manual_seed(_device_seed)
    return found


def on_devices() -> list:
    """The default generators of the GPUs that were drawn from."""
    return list(_on_devices.values())


def device_states() -> dict[str, Any]:
    """Where the default generators of the GPUs stand, as tensors and plain numbers; empty while no GPU is in use."""
    from . import backend

    if not backend.devices_in_use:
        return {}
    return {"seed": _device_seed, "states": {str(index): generator.get_state() for index, generator in _on_devices.items()}}


def set_device_states(saved: dict[str, Any]) -> None:
    """Put back what `device_states` gave; on a machine without these GPUs nothing happens."""
    from . import backend
    from .devices import device

    global _device_seed
    if not saved or not backend.cuda_available():
        return
    _device_seed = saved["seed"]
    for index, state in saved["states"].items():
        if int(index) < backend.gpu().cuda.runtime.getDeviceCount():
            of_device(device("cuda", int(index))).set_state(state)


def seed_devices(seed: int) -> None:
    """Seed the default generators of all GPUs, those to come as well. Without a GPU nothing is looked for."""
    global _device_seed
    _device_seed = seed
    for generator in _on_devices.values():
        generator.manual_seed(seed)


def manual_seed(seed: Any) -> Generator:
    """Seed the default generators of the CPU and of all GPUs, and return the CPU's.

    `seed` is anything `int()` takes, in [-2**63, 2**64).

    Raises ValueError for a seed out of that range.

    >>> _ = torch.manual_seed(0)
    >>> torch.rand(2)
    tensor([0.4963, 0.7682])
    """
    default_generator.manual_seed(int(seed))
    seed_devices(int(seed))
    return default_generator


def seed() -> int:
    """Seed the default generator from the operating system's entropy; returns the seed."""
    drawn = default_generator.seed()
    seed_devices(drawn)
    return drawn


def initial_seed() -> int:
    """The seed of the default generator.

    >>> _ = torch.manual_seed(7)
    >>> torch.initial_seed()
    7
    """
    return default_generator.initial_seed()


def get_rng_state() -> Any:
    """The default generator's state, a ByteTensor of shape [5056] in torch's layout."""
    return default_generator.get_state()


def set_rng_state(new_state: Any) -> None:
    """Put back a state from `get_rng_state`. TypeError for another type, RuntimeError for a wrong size or content.

    >>> state = torch.get_rng_state()
    >>> numbers = torch.rand(3).tolist()
    >>> torch.set_rng_state(state)
    >>> torch.rand(3).tolist() == numbers
    True
    """
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(devices: Any = None, enabled: bool = True, device_type: str | None = None) -> Iterator[None]:
    """A context after which the default generators continue as if nothing had been drawn inside.

    Those of all GPUs in use are put back, or of those in `devices` (indices or devices).

    >>> with torch.random.fork_rng():
    ...     _ = torch.manual_seed(1)
    >>> torch.initial_seed() == 1
    False
    """
    if not enabled:
        yield
        return
    chosen = set(_on_devices) if devices is None else {getattr(d, "index", d) for d in devices}
    kept = [(g, g.state_array()) for g in (default_generator, *(g for i, g in _on_devices.items() if i in chosen))]
    try:
        yield
    finally:
        for generator, state in kept:
            generator.set_state_array(state)
