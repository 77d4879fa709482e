"""Which bytes are written: arrays that share memory are written once, and share it again after loading.

Arrays are compared by the address range they touch. One alone in its range becomes an entry of its own, contiguous,
under its own name. Several with the very same layout (tied weights) become one entry that all refer to. Otherwise (a
tensor and views of it) the range is written once, and every array refers to it with offset, shape and strides.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from engine import backend, dtypes
from engine.devices import device, device_of
from engine.serialization.container import RESERVED, Piece


class Held:
    """An array to be written, the name its entry should get, and the addresses [low, high) that it touches."""

    __slots__ = ("array", "dtype", "high", "low", "name")

    def __init__(self, array: Any, name: str) -> None:
        self.array, self.name = array, name
        self.dtype = dtypes.from_numpy_dtype(array.dtype)
        first = address(array)
        if array.flags.c_contiguous:
            self.low, self.high = first, first + array.nbytes
        else:
            below, above = reach(array.shape, array.strides)
            self.low, self.high = first + below, first + above + array.itemsize

    def layout(self) -> tuple:
        first = address(self.array)
        return first, self.array.shape, self.array.strides, self.dtype

    def fits(self) -> bool:
        """Whether a contiguous copy is no larger than the memory touched (it is larger after `expand`)."""
        return self.array.size * self.array.itemsize <= self.high - self.low


def address(array: Any) -> int:
    """Where the first element is, in main or in device memory."""
    face = array.__array_interface__ if isinstance(array, np.ndarray) else array.__cuda_array_interface__
    return face["data"][0]


def reach(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, int]:
    """Offsets in bytes of the lowest and the highest element, seen from the first."""
    below = above = 0
    for size, stride in zip(shape, strides):
        if stride < 0:
            below += (size - 1) * stride
        else:
            above += (size - 1) * stride
    return below, above


def plan(held: list[Held]) -> tuple[dict[str, Piece], list[dict[str, Any]]]:
    """The entries to write, and for every array the reference that finds it again."""
    pieces: dict[str, Piece] = {}
    references: list[dict[str, Any]] = [{} for _ in held]
    for cluster in clusters(held):
        members = [held[i] for i in cluster]
        alone = len(members) == 1 or len({member.layout() for member in members}) == 1
        if alone and members[0].fits():
            name = _store(pieces, members[0])
            for i in cluster:
                references[i] = _whole(name, held[i])
            continue
        low, high = min(m.low for m in members), max(m.high for m in members)
        owner = next((m for m in members if (m.low, m.high) == (low, high) and m.array.flags.c_contiguous), None)
        if owner is not None:
            name = _store(pieces, owner)
        else:
            name = f"{RESERVED}/storage/{len(pieces)}"
            pieces[name] = Piece(memory_of(members, low, high), np.dtype(np.uint8), (high - low,))
        for i in cluster:
            references[i] = _whole(name, held[i]) if held[i] is owner else _view(name, held[i], low)
    return pieces, references


def clusters(held: list[Held]) -> list[list[int]]:
    """Indices grouped by overlapping address ranges of one device; in order of first appearance."""
    groups: list[list[int]] = []
    ends: dict[device, tuple[int, list[int]]] = {}
    for i in sorted(range(len(held)), key=lambda i: held[i].low):
        if held[i].array.size == 0:
            groups.append([i])
            continue
        where = device_of(held[i].array)
        end, group = ends.get(where, (-1, []))
        if held[i].low < end:
            group.append(i)
        else:
            group = [i]
            groups.append(group)
        ends[where] = max(end, held[i].high), group
    return sorted((sorted(group) for group in groups), key=lambda group: group[0])


def _store(pieces: dict[str, Piece], member: Held) -> str:
    name, number = member.name, 1
    while name in pieces:
        number += 1
        name = f"{member.name}#{number}"
    shape = tuple(member.array.shape)
    if member.dtype.is_complex:  # as (..., 2) real numbers, which every safetensors reader knows
        pieces[name] = Piece(member.array, member.dtype.to_real().np, (*shape, 2))
    else:
        pieces[name] = Piece(member.array, member.dtype.np, shape)
    return name


def _whole(name: str, member: Held) -> dict[str, Any]:
    return {"entry": name, "dtype": member.dtype.name} if member.dtype.is_complex else {"entry": name}


def _view(name: str, member: Held, low: int) -> dict[str, Any]:
    array = member.array
    return {
        "entry": name,
        "dtype": member.dtype.name,
        "offset": address(array) - low,
        "shape": list(array.shape),
        "strides": list(array.strides),
    }


def memory_of(members: list[Held], low: int, high: int) -> Any:
    """The bytes [low, high) that the members touch together, as one array that copies nothing."""
    array = next(m for m in members if m.low == low).array
    corner = tuple(slice(n - 1, n) if step < 0 else slice(0, 1) for n, step in zip(array.shape, array.strides))
    one = backend.strided(array[(..., *corner)], (1,), (array.itemsize,)).view(np.uint8)
    return backend.strided(one, (high - low,), (1,))


def find(entries: dict[str, Any], reference: dict[str, Any]) -> Any:
    """The array that a reference stands for, in the memory of its entry.

    Raises ValueError, KeyError or TypeError for a reference that does not fit its entry.
    """
    entry = entries[reference["entry"]]
    if "offset" in reference:
        return _strided(entry, reference)
    if "dtype" not in reference:
        return entry
    kind = dtype_named(reference["dtype"])
    if not kind.is_complex or entry.dtype != kind.to_real().np or entry.ndim == 0 or entry.shape[-1] != 2:
        raise ValueError(f"{reference['entry']!r} does not hold {kind}")
    if not entry.flags.c_contiguous:
        raise ValueError(f"{reference['entry']!r} is not contiguous")
    return entry.reshape(-1).view(kind.np).reshape(entry.shape[:-1])


def _strided(entry: Any, reference: dict[str, Any]) -> Any:
    kind = dtype_named(reference["dtype"])
    offset, shape, strides = reference["offset"], tuple(reference["shape"]), tuple(reference["strides"])
    numbers = (offset, *shape, *strides)
    if any(type(n) is not int or abs(n) > 2**62 for n in numbers) or len(shape) != len(strides) or min((1, *shape)) < 1:
        raise ValueError(f"the view {reference} is not well formed")
    below, above = reach(shape, strides)
    size = kind.np.itemsize
    span = above - below + size
    if offset + below < 0 or offset + above + size > entry.nbytes or math.gcd(offset, *strides, size) != size:
        raise ValueError(f"the view {reference} reaches out of its entry of {entry.nbytes} bytes")
    memory = entry.reshape(-1).view(np.uint8)[offset + below : offset + below + span].view(kind.np)
    return backend.strided(memory[-below // size :], shape, strides)


def dtype_named(name: Any) -> dtypes.dtype:
    """The element type of that name. ValueError where there is none."""
    for candidate in (*dtypes.ALL, *dtypes.FLOAT8):
        if candidate.name == name:
            return candidate
    raise ValueError(f"there is no element type {name!r}")
