"""Where a tensor lives: `cpu`, or `cuda:<index>`."""

from __future__ import annotations

import contextlib
from typing import Any

from . import backend, meta
from .gpu import copies


class device:
    """A place for tensors.

    >>> torch.device("cuda:1")
    device(type='cuda', index=1)
    >>> torch.device("cpu") == torch.tensor(1.0).device
    True
    """

    __slots__ = ("type", "index")

    type: str
    index: int | None

    def __init__(self, type: Any, index: int | None = None) -> None:
        if isinstance(type, device):
            type, index = type.type, type.index
        elif isinstance(type, int):
            type, index = "cuda", type
        elif ":" in type:
            if index is not None:
                raise RuntimeError(f"type (string) must not include an index because index was passed explicitly: {type}")
            type, _, number = type.partition(":")
            if not number.isdigit():
                raise RuntimeError(f"Invalid device string: '{type}:{number}'")
            index = int(number)
        if index is not None and index < 0:
            raise RuntimeError(f"Device index must not be negative, got {index}")
        if type not in ("cpu", "cuda", "meta"):
            raise RuntimeError(f"Expected one of cpu, cuda device type at start of device string: {type}")
        self.type = type
        self.index = index

    def __repr__(self) -> str:
        return f"device(type='{self.type}')" if self.index is None else f"device(type='{self.type}', index={self.index})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and self.type == other.type and self.index == other.index

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __reduce__(self) -> tuple:
        return device, (str(self),)

    def __enter__(self) -> device:
        """As a context, the place for new tensors."""
        _before.append(_default)
        set_default_device(self)
        return self

    def __exit__(self, *exc: object) -> None:
        set_default_device(_before.pop())


CPU, META = device("cpu"), device("meta")
_default = CPU
_before: list[device] = []  # the defaults outside of the contexts that are open


def get_default_device() -> device:
    """Where factories put tensors without `device=`."""
    return _default


def on_cpu() -> bool:
    """Whether that is the CPU."""
    return _default is CPU


def set_default_device(device: Any) -> None:
    """Set where factories put tensors without `device=`; None means the CPU."""
    global _default
    _default = as_device(device)


def as_device(value: Any) -> device:
    """`device` from a device, string, index or None (cpu). TypeError for anything else."""
    if value is None:
        return CPU
    if isinstance(value, device):
        return value
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return device(value)
    raise TypeError(f"device must be a torch.device, str or int, not {type(value).__name__}")


def device_of(array: Any) -> device:
    """The device of a raw array."""
    if isinstance(array, backend.ndarray):
        return META if type(array) is meta.Meta else CPU
    array = backend.plain(array)
    return CPU if isinstance(array, backend.ndarray) else device("cuda", backend.cuda_index(array))


def place(array: Any, where: device, pinned: bool = False) -> Any:
    """`array` on device `where`: itself when it is there already, otherwise a copy.

    `pinned`: the array is in page-locked memory and is copied to a GPU while the host goes on.
    """
    if where.type == "cpu":
        return array if device_of(array) == CPU else backend.to_numpy(array)
    if where.type == "meta":
        return array if type(array) is meta.Meta else meta.empty(array.shape, array.dtype)
    if type(array) is meta.Meta:
        raise meta.no_data()
    gpu = backend.require_cuda()
    index = gpu.cuda.Device().id if where.index is None else where.index
    if not isinstance(array, backend.ndarray) and backend.cuda_index(array) == index:
        return array
    with gpu.cuda.Device(index):
        if isinstance(array, backend.ndarray) and not array.ndim:
            return backend.scalar_on_device(array, False)
        return copies.put(gpu, array) if pinned else gpu.array(array)


_NOTHING = contextlib.nullcontext()


def current(where: device) -> Any:
    """A context in which a GPU is the current one; for the CPU nothing changes."""
    if where.type != "cuda" or where.index is None:
        return _NOTHING
    return backend.require_cuda().cuda.Device(where.index)


def module_for(where: device) -> Any:
    """numpy or cupy, for creating arrays on `where`."""
    if where.type == "cpu":
        import numpy

        return numpy
    if where.type == "meta":
        return meta.MODULE
    gpu = backend.require_cuda()
    return gpu if where.index in (None, gpu.cuda.Device().id) else _Elsewhere(gpu, where.index)


class _Elsewhere:
    """CuPy's functions, run with another GPU than the current one."""

    def __init__(self, gpu: Any, index: int) -> None:
        self._gpu, self._index = gpu, index

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._gpu, name)

        def run(*args: Any, **kwargs: Any) -> Any:
            with self._gpu.cuda.Device(self._index):
                return function(*args, **kwargs)

        return run
