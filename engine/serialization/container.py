"""The bytes of a file: a safetensors file, written and checked here so that no second copy of the data is needed.

    8 bytes   length of the header, little-endian
    header    JSON: {"__metadata__": {str: str}, name: {"dtype", "shape", "data_offsets": [begin, end]}, ...}, padded
              with spaces to a multiple of 8
    data      the arrays, without gaps, in the order of their offsets

Format: https://huggingface.co/docs/safetensors (section "Format"). Ours adds two checksums to the metadata, written
last into places kept for them: one of the data section (checksum.py; version 1 had one SHA-256 of all of it), and one
of the header with its own place blank.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from engine import backend, dtypes
from engine.serialization.atomic import Later, replacing
from engine.serialization.checksum import CHUNK, Checksum
from engine.serialization.errors import CheckpointError, EmptyFileError, SaveError

METADATA = "__metadata__"
RESERVED = "__litengine__"
DATA_SUM = f"{RESERVED}.data_sha256_tree"
DATA_SUM_OF_VERSION_1 = f"{RESERVED}.data_sha256"
HEADER_SUM = f"{RESERVED}.header_sha256"
BLANK_SUM = "0" * 64
MAX_HEADER = 100_000_000  # the safetensors package refuses longer ones too

# safetensors' names of element types. Complex numbers are not in every reader's list; layout.py stores their parts.
CODES: dict[str, np.dtype] = {
    "BOOL": np.dtype(np.bool_), "U8": np.dtype(np.uint8), "I8": np.dtype(np.int8),
    "U16": np.dtype(np.uint16), "I16": np.dtype(np.int16), "U32": np.dtype(np.uint32), "I32": np.dtype(np.int32),
    "U64": np.dtype(np.uint64), "I64": np.dtype(np.int64),
    "F16": np.dtype(np.float16), "BF16": dtypes.bfloat16.np, "F32": np.dtype(np.float32), "F64": np.dtype(np.float64),
    "C64": np.dtype(np.complex64), "F8_E4M3": dtypes.float8_e4m3fn.np, "F8_E5M2": dtypes.float8_e5m2.np,
    "F8_E8M0": dtypes.float8_e8m0fnu.np,
}  # fmt: skip
CODE_OF = {np_dtype: code for code, np_dtype in CODES.items()}


@dataclass(slots=True)
class Piece:
    """An array to write, and the element type and shape it has in the file (of the same total size)."""

    array: Any
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def bytes(self) -> memoryview:
        """The contiguous bytes, copied only where the array is on a device, strided or of foreign byte order."""
        array = backend.to_numpy(self.array)
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


@dataclass(frozen=True)
class Entry:
    """One array of the data section: its element type, shape, and bytes [begin, end)."""

    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """What stands before the data, after checking."""

    metadata: dict[str, str]
    entries: dict[str, Entry]
    data_start: int
    data_length: int


# ---------------------------------------------------------------------------------------------------------- writing


def write(
    file: str | os.PathLike | BinaryIO, pieces: dict[str, Piece], metadata: dict[str, str], later: Later | None = None
) -> None:
    """Write `pieces` by name, brought to the CPU one at a time, and `metadata`; see `writable`."""
    with writable(file, later) as handle:
        _write_to(handle, pieces, metadata)


@contextmanager
def writable(file: str | os.PathLike | BinaryIO, later: Later | None = None) -> Iterator[BinaryIO]:
    """Something to write to that can seek.

    A path is replaced atomically (see atomic.py, for `later` too). A file object is written at its position; one that
    cannot seek gets the bytes in one piece at the end.
    """
    if isinstance(file, (str, os.PathLike)):
        with replacing(file, later) as handle:
            yield handle
    elif getattr(file, "seekable", lambda: False)():
        yield file
    else:
        import io

        buffer = io.BytesIO()
        yield buffer
        file.write(buffer.getbuffer())


def _write_to(file: BinaryIO, pieces: dict[str, Piece], metadata: dict[str, str]) -> None:
    # Widest elements first, so that every array begins at a multiple of its element size.
    names = sorted(pieces, key=lambda name: -pieces[name].dtype.itemsize)
    header: dict[str, Any] = {METADATA: {**metadata, DATA_SUM: BLANK_SUM, HEADER_SUM: BLANK_SUM}}
    position = 0
    for name in names:
        piece = pieces[name]
        end = position + piece.nbytes
        if piece.dtype not in CODE_OF:
            raise SaveError(f"cannot save {name!r}: safetensors files hold no {piece.dtype}. "
                            "HINT: save_torch(), or convert it.")
        header[name] = {"dtype": CODE_OF[piece.dtype], "shape": list(piece.shape), "data_offsets": [position, end]}
        position = end
    text = _header_bytes(header)
    start = file.tell()
    file.write(text)
    with Checksum() as checksum:
        for name in names:
            data = pieces[name].bytes()
            for begin in range(0, len(data), CHUNK):  # by turns, so that both threads find the bytes in the cache
                checksum.update(data[begin : begin + CHUNK])
                file.write(data[begin : begin + CHUNK])
        text = _with_sum(text, DATA_SUM, checksum.hexdigest())
    text = _with_sum(text, HEADER_SUM, hashlib.sha256(text[8:]).hexdigest())
    finish = file.tell()
    file.seek(start)
    file.write(text)
    file.seek(finish)


def _place_of_sum(text: bytes, key: str) -> slice:
    """Where the text of a checksum stands in the header; an empty place if it is not there."""
    mark = f'"{key}":"'.encode()
    begin = text.find(mark) + len(mark)
    return slice(begin, begin + len(BLANK_SUM)) if begin >= len(mark) else slice(0, 0)


def _with_sum(text: bytes, key: str, value: str) -> bytes:
    place = _place_of_sum(text, key)
    return text[: place.start] + value.encode() + text[place.stop :]


def _header_bytes(header: dict[str, Any]) -> bytes:
    text = json.dumps(header, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(f"save(): the structure takes {len(text)} bytes, more than the {MAX_HEADER} of a header")
    return len(text).to_bytes(8, "little") + text


# ---------------------------------------------------------------------------------------------------------- reading


@dataclass
class Source:
    """A file being read: `name` for messages, `total` bytes from `start` on."""

    file: BinaryIO
    name: str
    start: int = field(init=False)
    total: int = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.file.tell()
        self.total = self.file.seek(0, os.SEEK_END) - self.start
        self.file.seek(self.start)

    def fail(self, why: str) -> CheckpointError:
        return CheckpointError(f"cannot load {self.name}: {why}")

    def read(self, count: int) -> bytes:
        data = self.file.read(count)
        if len(data) != count:
            raise self.fail(f"the file ends early ({len(data)} bytes where {count} were expected)")
        return data

    def fill(self, array: np.ndarray) -> memoryview:
        """Read into a contiguous array, and give its bytes."""
        view = array.reshape(-1).view(np.uint8).data
        done = 0
        while done < len(view):
            count = self.file.readinto(view[done:])  # type: ignore[attr-defined]
            if not count:
                raise self.fail(f"the file ends early (inside an array of {len(view)} bytes)")
            done += count
        return view


@contextmanager
def opened(file: str | os.PathLike | BinaryIO) -> Iterator[Source]:
    """A path or a file object as a Source.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the path is a directory or another thing that is no file.
    """
    if isinstance(file, (str, os.PathLike)):
        name = os.fspath(file)
        if os.path.exists(name) and not os.path.isfile(name):
            kind = "a directory" if os.path.isdir(name) else "not a regular file"
            raise CheckpointError(f"cannot load {name}: it is {kind}")
        with open(name, "rb") as handle:
            yield Source(handle, name)
    elif hasattr(file, "read"):
        if not (hasattr(file, "readinto") and getattr(file, "seekable", lambda: False)()):
            import io

            file = io.BytesIO(file.read())
        yield Source(file, f"<{type(file).__name__}>")
    else:
        raise TypeError(f"load(): expected a path or a file object open for reading, got {type(file).__name__}")


def read_header(source: Source) -> Header:
    """Read and check everything before the data. CheckpointError for whatever is not as it must be."""
    if source.total == 0:
        raise EmptyFileError(f"cannot load {source.name}: the file is empty")
    start = source.read(min(8, source.total))
    length = int.from_bytes(start, "little")
    if len(start) < 8 or 8 + length > source.total:
        _refuse_foreign(source, start)
        if len(start) < 8 or length > MAX_HEADER:
            raise source.fail("this is not a safetensors file (no sensible header length at its start)")
        raise source.fail(f"the file ends early (its header of {length} bytes is cut off at {source.total - 8})")
    if length > MAX_HEADER:
        raise source.fail(f"its header takes {length} bytes, more than the {MAX_HEADER} that are allowed")
    raw = source.read(length)
    fields = _parse_json(source, raw)
    metadata = _checked_metadata(source, fields.pop(METADATA, {}))
    _check_header_sum(source, raw, metadata)
    entries = {name: _checked_entry(source, name, value) for name, value in fields.items()}
    data_length = source.total - 8 - length
    _check_layout(source, entries, data_length)
    return Header(metadata, entries, source.start + 8 + length, data_length)


def _refuse_foreign(source: Source, start: bytes) -> None:
    if start[:4] == b"PK\x03\x04":
        raise source.fail(
            "this is a zip archive, as torch.save writes them. HINT: engine.load(path) reads the tensors and plain data in it"
        )
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05":
        raise source.fail(
            "this is a pickle, which is never executed here. "
            "HINT: where it can be trusted, write the weights with safetensors.torch.save_file(state_dict, path)"
        )


def _parse_json(source: Source, raw: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name occurs twice")
        return found

    try:
        fields = json.loads(raw.decode(), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise source.fail(f"this is not a safetensors file, or its header is damaged ({error})") from error
    if not isinstance(fields, dict):
        raise source.fail("this is not a safetensors file (its header is not a JSON object)")
    return fields


def _checked_metadata(source: Source, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise source.fail(f"its {METADATA} is not a table of texts")
    return value


def _check_header_sum(source: Source, raw: bytes, metadata: dict[str, str]) -> None:
    expected = metadata.get(HEADER_SUM)
    if expected is None or not {DATA_SUM, DATA_SUM_OF_VERSION_1} & set(metadata):
        if any(name.startswith(RESERVED) for name in metadata):
            raise source.fail("its checksums are missing")
        return  # written by other software
    place = _place_of_sum(raw, HEADER_SUM)
    blank = _with_sum(raw, HEADER_SUM, BLANK_SUM)
    if raw[place] != expected.encode() or hashlib.sha256(blank).hexdigest() != expected:
        raise source.fail("its header was changed after it was written (the checksum does not match)")


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _checked_entry(source: Source, name: str, value: Any) -> Entry:
    if not isinstance(value, dict) or not {"dtype", "shape", "data_offsets"} <= set(value):
        raise source.fail(f"the description of {name!r} is damaged")
    shape, offsets = value["shape"], value["data_offsets"]
    if not isinstance(value["dtype"], str) or value["dtype"] not in CODES:
        raise source.fail(f"{name!r} has the element type {value['dtype']!r}; known are {', '.join(CODES)}")
    if not isinstance(shape, list) or len(shape) > 64 or not all(map(_is_count, shape)):
        raise source.fail(f"{name!r} has the shape {shape!r}")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_count, offsets)):
        raise source.fail(f"{name!r} has the data offsets {offsets!r}")
    dtype = CODES[value["dtype"]]
    begin, end = offsets
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise source.fail(f"{name!r} of shape {shape} and type {value['dtype']} does not take {end - begin} bytes")
    return Entry(dtype, tuple(shape), begin, end)


def _check_layout(source: Source, entries: dict[str, Entry], data_length: int) -> None:
    """The arrays must fill the data section: no gap, no overlap, nothing behind the end."""
    position = 0
    for name, entry in in_order(entries):
        if entry.begin != position:
            raise source.fail(f"the data of {name!r} overlaps other data or leaves a gap (at byte {entry.begin})")
        position = entry.end
    if position > data_length:
        raise source.fail(f"the file ends early (its data takes {position} bytes, {data_length} are there)")
    if position < data_length:
        raise source.fail(f"{data_length - position} bytes follow the data")


def in_order(entries: dict[str, Entry]) -> list[tuple[str, Entry]]:
    """Entries by their place in the file."""
    return sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end))


def read_arrays(source: Source, header: Header) -> dict[str, np.ndarray]:
    """All arrays, each in memory of its own, with the checksum of the data compared where the file has one."""
    arrays = {}
    with Checksum() as checksum:
        taken = hashlib.sha256() if DATA_SUM_OF_VERSION_1 in header.metadata else checksum
        for name, entry in in_order(header.entries):
            try:
                array = np.empty(entry.shape, entry.dtype)
            except (ValueError, MemoryError) as error:
                raise source.fail(f"{name!r} of shape {list(entry.shape)} cannot be made ({error})") from error
            view = source.fill(array)
            if HEADER_SUM in header.metadata:
                taken.update(view)
            arrays[name] = _checked_bool(source, name, array)
        expected = header.metadata.get(DATA_SUM, header.metadata.get(DATA_SUM_OF_VERSION_1))
        if expected is not None and taken.hexdigest() != expected:
            raise source.fail("its data was changed after it was written (the checksum does not match)")
    return arrays


def map_arrays(source: Source, header: Header) -> dict[str, np.ndarray]:
    """All arrays as views of the mapped file: pages are read when used, and writing to them stays in memory.

    The data's checksum is not compared, since that would read everything.
    """
    if not isinstance(source.name, str) or not os.path.isfile(source.name):
        raise TypeError("load(): mmap=True needs a path, not a file object")
    arrays = {}
    whole = np.memmap(source.name, np.uint8, mode="c")
    for name, entry in header.entries.items():
        piece = whole[header.data_start + entry.begin : header.data_start + entry.end]
        try:
            array = np.ndarray(entry.shape, entry.dtype, buffer=piece if len(piece) else None)
        except ValueError as error:
            raise source.fail(f"{name!r} of shape {list(entry.shape)} cannot be made ({error})") from error
        arrays[name] = _checked_bool(source, name, array if array.flags.aligned else array.copy())
    return arrays


def _checked_bool(source: Source, name: str, array: np.ndarray) -> np.ndarray:
    # NumPy computes nonsense with bool bytes other than 0 and 1.
    if array.dtype == np.bool_ and array.size and array.view(np.uint8).max() > 1:
        raise source.fail(f"{name!r} is of type BOOL and holds other bytes than 0 and 1")
    return array

