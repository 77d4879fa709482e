"""Reading torch's own files: the zip archives of `torch.save` (Lightning's `.ckpt` too) and its files from before 2020.

    <root>/data.pkl     the object, as a pickle whose tensors refer to storages by key
    <root>/data/<key>   the bytes of one storage
    <root>/byteorder    "little" or "big"; little where it is missing
    <root>/version      a number

The pickle is not unpickled: torch_archive_pickle.py interprets it as data. Entries must be stored without compression
(as torch writes them) and fit together into the size of the file, so that no file can ask for more memory than it has.
Where it is described: torch's documentation, "Serialization semantics" (zip), and the order in which files of the
older format come: magic number, protocol, system, object, keys, then for each key a count and the bytes.
"""

from __future__ import annotations

import io
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from engine.serialization.container import Source
from engine.serialization.errors import CheckpointError
from engine.serialization.torch_archive_objects import MAKERS, Storage, StorageKind, build, resolve
from engine.serialization.torch_archive_pickle import Interpreter, described

Place = Callable[[Any, str], Any]

ZIP_START = b"PK\x03\x04"
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_START = b"\x8a\x0a" + LEGACY_MAGIC.to_bytes(10, "little") + b"."  # behind the protocol, and perhaps a frame
LEGACY_PROTOCOL = 1001
NEWEST_VERSION = 10  # torch 2 writes 3, and reads up to this

# What a file can provoke in zipfile and in the builders; the caller should hear which file it was.
PROBLEMS = (
    zipfile.BadZipFile, zlib.error, struct.error, RuntimeError, ValueError, LookupError, TypeError, AttributeError,
    OverflowError, EOFError, OSError,
)  # fmt: skip


def is_torch_file(source: Source) -> bool:
    """Whether the file begins as torch's do. Leaves the position as it was."""
    start = source.file.read(32)
    source.file.seek(source.start)
    return start[: len(ZIP_START)] == ZIP_START or (start[:1] == b"\x80" and LEGACY_START in start)


def read(source: Source, place: Place) -> Any:
    """The object in a file of torch's; `place(array, location)` puts each storage where it is wanted.

    Raises CheckpointError for a damaged file, and for one that holds anything but plain data and tensors.
    """
    with _explained(source):
        if source.file.read(len(ZIP_START)) == ZIP_START:
            return _read_zip(source, place)
        source.file.seek(source.start)
        return _read_legacy(source, place)


@contextmanager
def _explained(source: Source) -> Iterator[None]:
    try:
        yield
    except CheckpointError:
        raise
    except PROBLEMS as error:
        why = f"no {error} where one is needed" if isinstance(error, KeyError) else str(error)
        raise source.fail(f"this torch file is damaged or not admitted: {why}") from error


# ------------------------------------------------------------------------------------------------------ zip archives


def _read_zip(source: Source, place: Place) -> Any:
    with zipfile.ZipFile(source.file) as archive:
        records = _records(source, archive)
        _check_kind(source, archive, records)
        order = archive.read(records["byteorder"]).decode("ascii") if "byteorder" in records else "little"
        if order not in ("little", "big"):
            raise ValueError(f"its byte order is {order!r}")
        storages: dict[str, Storage] = {}

        def storage(kind: StorageKind, key: str, location: str, count: int) -> Storage:
            if key not in storages:
                if f"data/{key}" not in records:
                    raise ValueError(f"its storage {key!r} is not there")
                array = _read_record(archive, records[f"data/{key}"], kind, count)
                storages[key] = Storage(kind, place(kind.typed(array, order != sys.byteorder), location))
            return storages[key]

        pickle = archive.read(records["data.pkl"])
        return _interpret(io.BytesIO(pickle), len(pickle), storage)


def _records(source: Source, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The entries by their name below the one root folder, checked."""
    records: dict[str, zipfile.ZipInfo] = {}
    roots = set()
    for info in archive.infolist():
        root, _, name = info.orig_filename.partition("/")
        parts = (root, *name.split("/"))
        if "\\" in info.orig_filename or "\0" in info.orig_filename or {"", ".", ".."} & set(parts):
            raise ValueError(f"its entry {info.orig_filename!r} is not named as torch names them")
        if name in records:
            raise ValueError(f"its entry {name!r} is there twice, or in two folders")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.file_size != info.compress_size:
            raise ValueError(f"its entry {name!r} is compressed or encrypted, which torch's entries never are")
        records[name] = info
        roots.add(root)
    if len(roots) > 1:
        raise ValueError(f"it has several top folders: {', '.join(sorted(roots))}")
    if sum(info.file_size for info in records.values()) > source.total:
        raise ValueError(f"its entries claim more bytes than the {source.total} of the file")
    return records


def _check_kind(source: Source, archive: zipfile.ZipFile, records: dict[str, zipfile.ZipInfo]) -> None:
    if "constants.pkl" in records:
        raise source.fail(
            "this is a TorchScript archive (torch.jit.save), which holds code. "
            "HINT: where torch is, torch.save(model.state_dict(), path)"
        )
    if "data.pkl" not in records or "version" not in records:
        raise source.fail("this is a zip archive, but not one of torch.save (data.pkl or version is not in it)")
    version = archive.read(records["version"]).decode("ascii").strip()
    if not version.isdecimal() or len(version) > 9 or int(version) > NEWEST_VERSION:
        raise source.fail(f"it is of version {version[:20]!r} of torch's format, and {NEWEST_VERSION} is the newest known")


def _read_record(archive: zipfile.ZipFile, info: zipfile.ZipInfo, kind: StorageKind, count: int) -> np.ndarray:
    """The bytes of one storage, in memory of their own. zipfile compares the checksum."""
    if info.file_size != count * kind.itemsize:
        raise ValueError(f"its storage {info.filename!r} has {info.file_size} bytes where {count * kind.itemsize} belong")
    array = np.empty(info.file_size, np.uint8)
    view, done = array.data, 0
    with archive.open(info) as file:
        while piece := file.read(1 << 20):
            view[done : done + len(piece)] = piece
            done += len(piece)
    if done != len(view):
        raise EOFError(f"its storage {info.filename!r} ends early")
    return array


# ----------------------------------------------------------------------------------------------------- before 2020


def _read_legacy(source: Source, place: Place) -> Any:
    stream = io.BytesIO(source.read(source.total))
    magic, protocol, system = (_interpret(stream, source.total, _no_storage) for _ in range(3))
    if magic != LEGACY_MAGIC or protocol != LEGACY_PROTOCOL or not isinstance(system, dict):
        raise ValueError("its first values are not those of torch's format")
    swap = sys.byteorder == "big"  # this format is little-endian whatever machine wrote it
    begin = stream.tell()
    # The bytes of the storages come after the object and do not say their types: the object is gone through twice.
    storages: dict[str, Storage] = {}
    locations: dict[str, str] = {}
    left = source.total

    def declared(kind: StorageKind, key: str, location: str, count: int) -> Storage:
        nonlocal left
        if key not in storages:
            left -= count * kind.itemsize
            if left < 0:
                raise ValueError(f"its storages claim more bytes than the {source.total} of the file")
            storages[key] = Storage(kind, kind.typed(np.zeros(count * kind.itemsize, np.uint8), False))
            locations[key] = location
        return storages[key]

    _interpret(stream, source.total, declared)
    keys = _interpret(stream, source.total, _no_storage)
    whole = isinstance(keys, list) and all(type(key) is str for key in keys)
    if not whole or set(keys) != set(storages) or len(keys) != len(storages):
        raise ValueError("its list of storages does not fit its object")
    for key in keys:
        kind, array = storages[key].kind, storages[key].array
        count = int.from_bytes(stream.read(8), "little")
        if count != array.size:
            raise ValueError(f"its storage {key!r} has {count} elements where {array.size} belong")
        data = stream.read(array.nbytes)
        if len(data) != array.nbytes:
            raise EOFError(f"the file ends early (in storage {key!r})")
        filled = kind.typed(np.frombuffer(bytearray(data), np.uint8), swap)
        storages[key] = Storage(kind, place(filled, locations[key]))
    stream.seek(begin)
    return _interpret(stream, source.total, declared)


def _no_storage(kind: StorageKind, key: str, location: str, count: int) -> Storage:
    raise ValueError("a storage where none belongs")


# --------------------------------------------------------------------------------------------------------- the object


def _interpret(stream: io.BytesIO, size: int, storage: Callable[..., Storage]) -> Any:
    def persistent(pid: Any) -> Storage:
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage" or pid[5:] not in ((), (None,)):
            raise ValueError(f"the reference {described(pid)} is not one to a storage")
        _, kind, key, location, count = pid[:5]
        types = (type(kind), type(key), type(location), type(count))
        if types != (StorageKind, str, str, int) or not 0 <= count < 2**60:
            raise ValueError("a reference to a storage is not well formed")
        found = storage(kind, key, location, count)
        if found.kind is not kind or found.array.size != count:
            raise ValueError(f"the storage {key!r} is met with two types or sizes")
        return found

    return Interpreter(stream, size, MAKERS, resolve, persistent, build).run()
