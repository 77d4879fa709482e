"""Scalars out of TensorBoard's event files, without TensorBoard: records of protocol buffers, read by hand."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
Field = tuple[int, int, int, int]  # number, kind, value (or start), end


def read_scalars(path: Path) -> Iterator[tuple[str, int, float, float]]:
    """(tag, step, value, seconds since 1970) of every scalar, up to where a killed run left the file cut off."""
    data = path.read_bytes()
    position = 0
    while position + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, position)
        start, end = position + 12, position + 12 + length  # a length and its checksum stand before the record
        if end + 4 > len(data):
            return
        yield from _event(data, start, end)
        position = end + 4


def _event(data: bytes, start: int, end: int) -> Iterator[tuple[str, int, float, float]]:
    time, step = 0.0, 0
    for number, kind, value, stop in _fields(data, start, end):
        if number == 1 and kind == FIXED64:
            (time,) = struct.unpack_from("<d", data, value)
        elif number == 2 and kind == VARINT:
            step = value
        elif number == 5 and kind == BYTES:  # the summary; its first field, repeated, is a value
            for inner, inner_kind, begin, finish in _fields(data, value, stop):
                if inner == 1 and inner_kind == BYTES:
                    found = _value(data, begin, finish)
                    if found is not None:
                        yield found[0], step, found[1], time


def _value(data: bytes, start: int, end: int) -> tuple[str, float] | None:
    tag, number_found = "", None
    for number, kind, value, stop in _fields(data, start, end):
        if number == 1 and kind == BYTES:
            tag = data[value:stop].decode("utf-8", "replace")
        elif number == 2 and kind == FIXED32:
            (number_found,) = struct.unpack_from("<f", data, value)
    return None if number_found is None else (tag, number_found)


def _fields(data: bytes, position: int, end: int) -> Iterator[Field]:
    while position < end:
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, position = _varint(data, position)
            yield number, kind, value, position
        elif kind == BYTES:
            length, position = _varint(data, position)
            yield number, kind, position, position + length
            position += length
        elif kind in (FIXED64, FIXED32):
            yield number, kind, position, position
            position += 8 if kind == FIXED64 else 4
        else:
            return  # a damaged record


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
