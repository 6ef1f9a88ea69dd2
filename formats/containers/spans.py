"""A read-only file made of pieces of another file and of bytes in memory."""

from __future__ import annotations

import bisect
import io
import itertools
from typing import BinaryIO

Span = bytes | tuple[int, int]
"""Either bytes, or (offset, length) in the underlying file."""
_LAST = (1 << 63) - 1  # more, of sizes in a crafted file, is no offset to libraries in C


class SpanFile(io.RawIOBase):
    """The spans one after the other, seekable. Closing it leaves the underlying file open.

    It has no ``name`` on purpose: FFmpeg would guess the format from it.
    """

    def __init__(self, file: BinaryIO, spans: list[Span]) -> None:
        super().__init__()
        self._file = file
        self._spans = spans
        lengths = [len(span) if isinstance(span, bytes) else span[1] for span in spans]
        self._starts = [0, *itertools.accumulate(lengths)]
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in the joined spans."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a position in the joined spans, or behind them: at most to 2**63 − 1."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._starts[-1]}[whence]
        self._position = min(max(0, base + offset), _LAST)
        return self._position

    def readinto(self, buffer: object, /) -> int:
        """Fill the buffer as far as the spans reach, return the number of bytes."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        done = 0
        while done < len(view) and self._position < self._starts[-1]:
            piece = self._read_in_span(len(view) - done)
            if not piece:
                break
            view[done : done + len(piece)] = piece
            done += len(piece)
            self._position += len(piece)
        return done

    def _read_in_span(self, n_bytes: int) -> bytes:
        index = bisect.bisect_right(self._starts, self._position) - 1
        within = self._position - self._starts[index]
        n_bytes = min(n_bytes, self._starts[index + 1] - self._position)
        span = self._spans[index]
        if isinstance(span, bytes):
            return span[within : within + n_bytes]
        self._file.seek(span[0] + within)
        return self._file.read(n_bytes)


class DecoderFile(SpanFile):
    """A SpanFile for libraries that read from C, where an exception is printed and then lost.

    A read error is kept in ``error`` and looks like the end of the file; `require_readable` raises it.
    """

    def __init__(self, file: BinaryIO, spans: list[Span]) -> None:
        super().__init__(file, spans)
        self.error: OSError | None = None

    def readinto(self, buffer: object, /) -> int:
        """Fill the buffer as far as the spans reach and can be read."""
        try:
            return super().readinto(buffer)
        except OSError as error:
            self.error = error
            return 0

    def require_readable(self) -> None:
        """Raise the OSError that reading has met, if any."""
        if self.error is not None:
            raise self.error
