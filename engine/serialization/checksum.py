"""The checksum of a file's data: SHA-256 over the SHA-256 of every 4 MiB, so that two processors share the work.

One thread writes (or reads) the data while another computes; both let go of the interpreter for that. Hash trees: Merkle,
"A Digital Signature Based on a Conventional Encryption Function", 1987; this one has a single level below its root.
"""

from __future__ import annotations

import hashlib
import threading
from queue import Empty, SimpleQueue

from engine.pool import get_num_threads

CHUNK = 1 << 22
WAITING = 8  # chunks; with more of them the caller helps, so that it does not run ahead of the helper


class Checksum:
    """Takes the data in order, by pieces of any size, and gives the checksum of all of it.

    Used in a ``with`` block, since a thread may have to end. The bytes handed over must stay as they are until then.

    >>> from engine.serialization.checksum import Checksum
    >>> with Checksum() as checksum:
    ...     checksum.update(memoryview(b"some bytes"))
    ...     checksum.hexdigest()[:16]
    'fde469469b076fad'
    """

    def __init__(self) -> None:
        self._parts: list[memoryview] = []  # of the chunk that is not full yet
        self._room = CHUNK
        self._digests: list[bytes] = []
        self._waiting: SimpleQueue[tuple[int, list[memoryview]] | None] = SimpleQueue()
        self._helper: threading.Thread | None = None

    def __enter__(self) -> Checksum:
        return self

    def __exit__(self, *error: object) -> None:
        if self._helper is not None:
            self._waiting.put(None)
            self._helper.join()

    def update(self, data: memoryview) -> None:
        """Take the next bytes."""
        while len(data):
            self._parts.append(data[: self._room])
            self._room -= len(self._parts[-1])
            data = data[len(self._parts[-1]) :]
            if not self._room:
                self._close_chunk()
                if self._helper is None and get_num_threads() > 1:
                    self._helper = threading.Thread(target=self._help, name="engine-checksum")
                    self._helper.start()
                self._work_off(WAITING if self._helper else 0)

    def hexdigest(self) -> str:
        """The checksum of everything taken; nothing can be added after it."""
        if self._parts:
            self._close_chunk()
        self._work_off(0)
        self.__exit__()
        self._helper = None
        return hashlib.sha256(b"".join(self._digests)).hexdigest()

    def _close_chunk(self) -> None:
        self._waiting.put((len(self._digests), self._parts))
        self._digests.append(b"")
        self._parts, self._room = [], CHUNK

    def _work_off(self, most: int) -> None:
        """Compute what waits until no more than `most` chunks do."""
        while self._waiting.qsize() > most:
            try:
                self._compute(self._waiting.get_nowait())
            except Empty:  # the helper was faster
                return

    def _help(self) -> None:
        while (chunk := self._waiting.get()) is not None:
            self._compute(chunk)

    def _compute(self, chunk: tuple[int, list[memoryview]] | None) -> None:
        assert chunk is not None
        digest = hashlib.sha256()
        for part in chunk[1]:
            digest.update(part)
        self._digests[chunk[0]] = digest.digest()
