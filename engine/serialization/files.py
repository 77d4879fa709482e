"""save, load and read_metadata: whole objects in one file."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from typing import Any, BinaryIO

from engine import backend
from engine.devices import as_device, place
from engine.serialization import kinds, modules  # noqa: F401  (they register the kinds of objects)
from engine.serialization.container import (
    DATA_SUM,
    DATA_SUM_OF_VERSION_1,
    HEADER_SUM,
    RESERVED,
    Header,
    Source,
    map_arrays,
    opened,
    read_arrays,
    read_header,
    write,
)
from engine.serialization.errors import CheckpointError, SaveError
from engine.serialization.tree import Reader, Writer
from engine.tensor import wrap

FORMAT_VERSION = 2
VERSION = f"{RESERVED}.version"
STRUCTURE = f"{RESERVED}.structure"

File = str | os.PathLike | BinaryIO


def save(
    obj: Any,
    f: File,
    *,
    plain: str = "state_dict",
    metadata: dict[str, str] | None = None,
    pickle_module: Any = None,
    pickle_protocol: Any = None,
    flush_later: Callable[[Callable[[], None]], None] | None = None,
) -> None:
    """Write an object to a file: a safetensors file that `load`, and for its tensors any safetensors reader, can read.

    What can be written: tensors and parameters (what shares memory still does after loading), NumPy arrays, whole
    modules, and any nesting of dicts, lists, tuples, sets, named tuples, enums, numbers, texts, bytes, paths, sizes,
    dtypes, devices and generators. Nothing is pickled. A path is replaced atomically and durably: when anything fails,
    the previous file is whole and nothing is left behind.

    Args:
        obj: the object.
        f: a path, or a binary file object open for writing.
        plain: when `obj` is a dict that holds a dict under this key, the tensors of that one get their plain names in
            the file, and all others get names that begin with ``__litengine__/``. In any other object a tensor is named
            by the dotted path to it.
        metadata: texts for the file's own table, found again by `read_metadata`.
        pickle_module, pickle_protocol: accepted for torch's sake and without effect.
        flush_later: a file of a new name is there at once, whole, and what makes it durable is handed to this function
            instead of being waited for. A file that is replaced is waited for in any case.

    Raises:
        SaveError: (a TypeError) something cannot be written; the message says what and where.
        RuntimeError: the directory does not exist.
        OSError: the disk is full, the path is a directory, and the like.

    >>> torch.save({"weight": torch.ones(2), "epoch": 3}, "model.pth")
    >>> torch.load("model.pth")
    {'weight': tensor([1., 1.]), 'epoch': 3}
    """
    if pickle_module is not None or pickle_protocol is not None:
        warnings.warn("save(): nothing is pickled, so pickle_module and pickle_protocol have no effect", stacklevel=2)
    if not isinstance(f, (str, os.PathLike)) and not hasattr(f, "write"):
        raise TypeError(f"save(): expected a path or a file object open for writing, got {type(f).__name__}")
    writer = Writer(plain)
    try:
        root = writer.root(obj)
    except RecursionError as error:
        raise SaveError("save(): the object is nested too deeply") from error
    pieces, structure = writer.finish(root)
    table = _checked_metadata(metadata)
    table[VERSION] = str(FORMAT_VERSION)
    table[STRUCTURE] = json.dumps(structure, allow_nan=False, separators=(",", ":"))
    write(f, pieces, table, flush_later)


def check_storable(obj: Any) -> None:
    """Raise SaveError, saying what and where, if `save` could not write an object."""
    Writer("").root(obj)


def _checked_metadata(metadata: dict[str, str] | None) -> dict[str, str]:
    table = dict(metadata or {})
    for key, text in table.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise SaveError(f"save(): metadata must be texts by text, got {key!r}: {text!r}")
        if key.startswith(RESERVED):
            raise SaveError(f"save(): metadata names that begin with {RESERVED} are reserved, got {key!r}")
    return table


def load(
    f: File,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
) -> Any:
    """Read what `save` wrote, the tensors of any other safetensors file as a dict, or a file of torch's or Lightning's.

    Executes nothing from the file. Whole modules are rebuilt, from files of `save`, out of classes of the engine and of
    modules that the program has already imported; a file that names any other class is refused. Of torch's files
    (`.pt`, `.pth`, `.ckpt`) tensors and plain data are read; other objects are refused by the name of their class.

    Args:
        f: a path, or a binary file object open for reading.
        map_location: where tensors go: a device or its name, a dict from recorded to wanted devices, or a function
            ``(storage, location) -> storage`` called with a 1-d tensor. None: where they were.
        pickle_module: accepted for torch's sake and without effect.
        weights_only: True refuses whole modules. None and False admit them: that is as safe here.
        mmap: True maps the file instead of reading it: pages come in when used, changes stay in memory, and the
            checksum of the data is not compared. Files of torch's are read in any case.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: (a RuntimeError) the file is damaged, foreign, of a newer version, or holds what may not be
            rebuilt; the message names the file.

    >>> torch.save(nn.Linear(2, 1), "linear.pth")
    >>> torch.load("linear.pth")
    Linear(in_features=2, out_features=1, bias=True)
    """
    if pickle_module is not None:
        warnings.warn("load(): nothing is unpickled, so pickle_module has no effect", stacklevel=2)
    where = _placer(map_location)
    with opened(f) as source:
        if _is_torch_file(source):
            return _load_torch(source, where)
        header = read_header(source)
        structure = _structure(source, header)
        entries = map_arrays(source, header) if mmap else read_arrays(source, header)
    if structure is None:
        return {name: wrap(where(array, "cpu")) for name, array in entries.items()}
    reader = Reader(structure, entries, where, not weights_only)
    try:
        return reader.root()
    except _Unplaceable as error:
        raise CheckpointError(f"cannot load {source.name}: {error}") from error.__cause__
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        # Whatever goes wrong while rebuilding comes from what the file says, and the caller should hear which file.
        why = f"no {error} where one is needed" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"cannot load {source.name}: {why}") from error


def _is_torch_file(source: Source) -> bool:
    start = source.file.read(1)
    source.file.seek(source.start)
    if start not in (b"P", b"\x80"):  # most files: the reader of the others is not even imported
        return False
    from engine.serialization import torch_archive

    return torch_archive.is_torch_file(source)


def _load_torch(source: Source, where: Callable[[Any, str], Any]) -> Any:
    from engine.serialization import torch_archive

    try:
        return torch_archive.read(source, where)
    except _Unplaceable as error:
        raise CheckpointError(f"cannot load {source.name}: {error}") from error.__cause__


def read_metadata(f: File) -> dict[str, Any]:
    """What a file says about itself, without reading its data.

    Returns a dict of ``version`` (of the format; None for files of other software), ``metadata`` (the texts given to
    `save`, or the other software's), ``tensors`` (name -> {"dtype", "shape"}), and ``structure`` (the saved object as
    JSON values, with ``{"$tensor": number}`` and the like in place of what is not JSON; None for other software).

    Raises FileNotFoundError and CheckpointError like `load`.

    >>> torch.save({"weight": torch.ones(2), "epoch": 3}, "model.pth")
    >>> engine.serialization.read_metadata("model.pth")["structure"]["epoch"]
    3
    """
    with opened(f) as source:
        header = read_header(source)
        structure = _structure(source, header)
    ours = {VERSION, STRUCTURE, DATA_SUM, DATA_SUM_OF_VERSION_1, HEADER_SUM}
    return {
        "version": None if structure is None else int(header.metadata[VERSION]),
        "metadata": {key: text for key, text in header.metadata.items() if key not in ours},
        "tensors": {
            name: {"dtype": entry.dtype.name, "shape": list(entry.shape)} for name, entry in header.entries.items()
        },
        "structure": None if structure is None else structure["root"],
    }


def _structure(source: Source, header: Header) -> dict[str, Any] | None:
    """The checked outline of the structure; None for a file of other software."""
    version = header.metadata.get(VERSION)
    if version is None:
        return None
    if not version.isdecimal():
        raise source.fail(f"its format version is {version!r}")
    if int(version) > FORMAT_VERSION:
        raise source.fail(
            f"it was written in version {version} of the format, and this litengine reads up to {FORMAT_VERSION}. "
            "HINT: pip install --upgrade litengine"
        )
    try:
        structure = json.loads(header.metadata.get(STRUCTURE, ""))
    except (ValueError, RecursionError) as error:
        raise source.fail(f"its structure is damaged ({error})") from error
    whole = isinstance(structure, dict) and "root" in structure
    if not whole or not all(isinstance(structure.get(table), list) for table in ("arrays", "tensors", "modules")):
        raise source.fail("its structure is damaged")
    return structure


class _Unplaceable(Exception):
    """Raised where an array cannot be put on its device; the cause says why."""


def _placer(map_location: Any) -> Callable[[Any, str], Any]:
    """The function (array, recorded device) -> array that `map_location` asks for."""
    if map_location is None:
        return _restore
    if isinstance(map_location, dict):
        return lambda array, recorded: place(array, as_device(map_location.get(recorded, recorded)))
    if callable(map_location) and not isinstance(map_location, type(as_device("cpu"))):
        return lambda array, recorded: _called(map_location, array, recorded)
    wanted = as_device(map_location)
    if wanted.type == "cuda":
        backend.require_cuda()  # before the file is looked at: it is not the file's fault
    return lambda array, recorded: place(array, wanted)


def _restore(array: Any, recorded: str) -> Any:
    try:
        return place(array, as_device(recorded))
    except (RuntimeError, NotImplementedError) as error:
        raise _Unplaceable(
            f"its tensors were on {recorded}, which is not there ({error}). HINT: load(..., map_location='cpu')"
        ) from error


def _called(function: Callable, array: Any, recorded: str) -> Any:
    answer = function(wrap(array.reshape(-1)), recorded)
    if answer is None:
        return _restore(array, recorded)
    if not backend.is_array(getattr(answer, "_array", None)):
        raise TypeError(f"load(): map_location must give the storage or None, got {type(answer).__name__}")
    return answer._array.reshape(array.shape)
