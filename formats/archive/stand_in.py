"""Files that stand in for ones kept elsewhere: of their names, sizes and times, and empty until filled.

Whoever makes such files registers their folder here, and is asked for the bytes that a reader is about
to read. An archive can so be read at a few places without being fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

Fill = Callable[[Path, int, int | None], None]
"""Puts bytes into a file: from an offset on so many, or all that follow. Raises OSError."""

_folders: dict[Path, Fill] = {}


@contextmanager
def standing_in(folder: Path, fill: Fill) -> Iterator[None]:
    """Let the files below ``folder`` be filled by ``fill`` before they are read."""
    _folders[folder] = fill
    try:
        yield
    finally:
        del _folders[folder]


def filler_of(path: Path) -> Callable[[int, int | None], None] | None:
    """Return what fills ``path``, given an offset and a number of bytes; None for any other file."""
    if not _folders:
        return None
    fill = next(filter(None, map(_folders.get, path.parents)), None)
    return fill and partial(fill, path)


def fill_whole(path: Path) -> None:
    """Fill all of ``path`` if it stands in for another file. Raises OSError."""
    if fill := filler_of(path):
        fill(0, None)
