"""Plain safetensors files: names and tensors, nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from engine.devices import as_device, place
from engine.dtypes import from_numpy_dtype
from engine.serialization.container import CODES, RESERVED, Piece, opened, read_arrays, read_header, write
from engine.tensor import Tensor, wrap


def save_file(
    tensors: Mapping[str, Tensor], filename: str | os.PathLike, metadata: dict[str, str] | None = None
) -> None:
    """Write a state dict as a safetensors file, atomically, for any software that reads the format.

    Tensors that share memory are written once per name. For Hugging Face's readers give ``metadata={"format": "pt"}``.

    Raises:
        TypeError: a name is not a text, or a value is not a tensor of an element type the format has.

    >>> from engine.serialization import save_file, load_file
    >>> save_file({"weight": torch.ones(2)}, "weights.safetensors")
    >>> load_file("weights.safetensors")
    {'weight': tensor([1., 1.])}
    """
    pieces = {}
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise TypeError(f"save_file(): expected tensors by name, got {name!r}: {type(tensor).__name__}")
        kind = from_numpy_dtype(tensor._array.dtype).np
        if kind not in CODES.values():
            raise TypeError(f"save_file(): {name!r} is of {tensor.dtype}, which the format does not have. HINT: save()")
        pieces[name] = Piece(tensor._array, kind, tuple(tensor._array.shape))
    write(filename, pieces, dict(metadata or {}))


def load_file(filename: str | os.PathLike, device: Any = "cpu") -> dict[str, Tensor]:
    """The tensors of a safetensors file by name; of a file from `save`, those under plain names.

    Raises FileNotFoundError, and CheckpointError for a file that is damaged or of another format.
    """
    where = as_device(device)
    with opened(filename) as source:
        arrays = read_arrays(source, read_header(source))
    return {name: wrap(place(array, where)) for name, array in arrays.items() if not name.startswith(RESERVED)}
