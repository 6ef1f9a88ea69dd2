"""Files that fail at a call: what a broken disk, or a share that is gone, does to a reader."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest

EIO = os.strerror(errno.EIO)


class FaultyFile(io.FileIO):
    """A file whose read number ``nth`` fails; the other ones give half of what is asked for."""

    def __init__(self, path: Path, nth: int) -> None:
        super().__init__(path, "r")
        self.left = nth

    @property
    def has_failed(self) -> bool:
        """Whether a read has failed."""
        return self.left <= 0

    def readinto(self, buffer: Any, /) -> int:
        self.left -= 1
        if not self.left:
            raise OSError(errno.EIO, EIO)
        view = memoryview(buffer).cast("B")
        return super().readinto(view[: max(1, len(view) // 2)]) or 0

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self.read(1 << 16) or b"", b""))

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return self.readall()
        buffer = bytearray(size)
        return bytes(buffer[: self.readinto(buffer)])


class FailingFile:
    """A file that fails wherever it is to be read."""

    def seek(self, offset: int) -> int:
        raise OSError(errno.EIO, EIO)


def buffered(path: Path, nth: int) -> BinaryIO:
    """Return a faulty file as `open` gives files, but with a buffer so small that it is read often."""
    return io.BufferedReader(FaultyFile(path, nth), 512)


def raw_of(file: BinaryIO) -> FaultyFile:
    """Return the faulty file under a buffer."""
    assert isinstance(file, io.BufferedReader)
    assert isinstance(file.raw, FaultyFile)
    return file.raw


@contextmanager
def opened_faultily(
    monkeypatch: pytest.MonkeyPatch, path: Path, nth: int
) -> Iterator[Callable[[], bool]]:
    """Let `Path.open` give a faulty file for ``path``; give a function that says if it has failed."""
    real = Path.open
    files: list[BinaryIO] = []

    def open_(self: Path, *arguments: Any, **options: Any) -> Any:
        if self != path:
            return real(self, *arguments, **options)
        files.append(buffered(path, nth))
        return files[-1]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_)
        yield lambda: any(raw_of(file).has_failed for file in files)
