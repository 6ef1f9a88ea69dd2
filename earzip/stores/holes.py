"""A file that stands in for an object, and is filled with its bytes as far as they are read."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path

from earzip.stores.store import MOST_AT_ONCE_BYTES, Store, Stored

HEAD_BYTES = 8192
"""What is fetched first: header and index of an archive of some hours."""
_AHEAD_BYTES = 64 << 10
"""The least that is fetched later: four segments of an archive."""
_MOST_AHEAD_BYTES = 4 << 20


class StandIn:
    """The file ``path``, of the size and time of ``stored``, without its bytes until they are needed.

    Safe to use from several threads.
    """

    def __init__(self, path: Path, store: Store, stored: Stored) -> None:
        self.path = path
        self._store = store
        self._stored = stored
        self._known: list[tuple[int, int]] = []
        """Spans that are filled, in the order in which they were fetched."""
        self._ahead = _AHEAD_BYTES
        self._filling = threading.Lock()

    def make(self) -> None:
        """Make the file, or empty it. Raises OSError."""
        with self._filling:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("wb") as file:
                file.truncate(self._stored.n_bytes)  # a hole: it takes no room on the disk
            self._known.clear()
            self._set_time()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was filled yet."""
        return not self._known

    def fill(self, offset: int, n_bytes: int | None) -> None:
        """Have ``n_bytes`` from ``offset`` on, or all that follow; what exceeds the file is left out.

        Reading on where the last span ended fetches more at a time. Raises OSError.
        """
        size = self._stored.n_bytes
        stop = size if n_bytes is None else min(size, offset + n_bytes)
        with self._filling:
            start = self._first_missing(offset, stop)
            if start >= stop:
                return
            if not self._known:
                ahead = HEAD_BYTES
            else:
                goes_on = start == self._known[-1][1]
                self._ahead = min(2 * self._ahead, _MOST_AHEAD_BYTES) if goes_on else _AHEAD_BYTES
                ahead = self._ahead
            stop = min(size, max(stop, start + ahead))
            for begin in range(start, stop, MOST_AT_ONCE_BYTES):
                end = min(stop, begin + MOST_AT_ONCE_BYTES)
                self._write(begin, self._store.read(self._stored.key, begin, end))

    def put(self, start: int, data: bytes) -> None:
        """Fill the file with what was fetched otherwise. Raises OSError."""
        with self._filling:
            self._write(start, data)

    def _first_missing(self, start: int, stop: int) -> int:
        """Return where the first byte of a span is that is not filled; ``stop`` if there is none."""
        for first, last in sorted(self._known):
            if first <= start < last:
                start = last
        return min(start, stop)

    def _write(self, start: int, data: bytes) -> None:
        with self.path.open("r+b") as file:
            file.seek(start)
            file.write(data)
        self._known.append((start, start + len(data)))
        self._set_time()

    def _set_time(self) -> None:
        os.utime(self.path, ns=(self._stored.mtime_ns, self._stored.mtime_ns))


class FilledFile(io.FileIO):
    """The file ``path``, of which ``fill`` fetches what is read. Reading raises OSError."""

    def __init__(self, path: Path, fill: Callable[[int, int | None], None]) -> None:
        super().__init__(path, "rb")
        self._fill = fill

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to ``size`` bytes."""
        self._fill(self.tell(), None if size is None or size < 0 else size)
        return super().read(size) or b""
