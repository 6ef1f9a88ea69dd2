"""What of a tree a run leaves out: globs of the user, and those in `.earzipignore` files.

    Demos         a file or directory of that name, at any depth; so does *.tmp
    Jazz/*.mp3    with a slash: a path below the directory that is walked, or that has the file
    **/Demos/*    ** stands for any directories, or none
    Demos/        directories only

As in a shell, ``*`` and ``?`` stand for no slash, and ``[ab]`` and ``[!ab]`` for one character. Upper and
lower case differ. What is below a directory that matches matches too. An archive has the name of its
source as well: ``*.mp3`` takes ``song.mp3.earz``.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import translate
from pathlib import Path

from earzip.errors import UsageError
from earzip.formats.names import is_archive_name, name_without_archive_suffix

IGNORE_FILE = ".earzipignore"
"""In a directory of sources: a glob a line, of what is left out below it."""

_MAX_IGNORE_BYTES = 1 << 20

Parts = tuple[str, ...]
"""A path below a directory, in parts: the last one is its name."""


@dataclass(frozen=True)
class Glob:
    """A pattern; ``segments`` are the regular expressions of its parts, None for ``**``."""

    segments: tuple[re.Pattern[str] | None, ...]
    of_name: bool
    """It has no slash, and is compared with the name alone."""
    folders_only: bool

    @classmethod
    def parse(cls, text: str) -> Glob:
        """Return the pattern that ``text`` spells. Raises UsageError for one that is empty."""
        names = [name for name in text.split("/") if name not in ("", ".")]
        if not names or ".." in names:
            raise UsageError(f"{text!r} is not a pattern of names below a directory")
        segments = tuple(None if name == "**" else re.compile(translate(name)) for name in names)
        return cls(segments, "/" not in text.rstrip("/"), text.endswith("/"))

    def matches(self, parts: Parts, *, is_folder: bool) -> bool:
        """Return whether a file or folder at ``parts`` is meant."""
        if self.folders_only and not is_folder:
            return False
        if self.of_name:
            parts = parts[-1:]
        if self._fits(parts):
            return True
        name = parts[-1]
        if is_folder or not is_archive_name(name):
            return False
        return self._fits((*parts[:-1], name_without_archive_suffix(name)))

    def _fits(self, parts: Parts) -> bool:
        if len(self.segments) == len(parts) == 1:
            only = self.segments[0]
            return only is None or only.match(parts[0]) is not None
        # The segments that may come next, after each part: no pattern takes long.
        at = self._over_any({0})
        for part in parts:
            at = self._over_any(
                {i for i in at if i < len(self.segments) and self.segments[i] is None}
                | {
                    i + 1
                    for i in at
                    if i < len(self.segments)
                    and (segment := self.segments[i]) is not None
                    and segment.match(part)
                }
            )
        return len(self.segments) in at

    def _over_any(self, at: set[int]) -> set[int]:
        """Return ``at`` with what follows a ``**`` that stands for nothing."""
        for i in range(len(self.segments)):
            if i in at and self.segments[i] is None:
                at.add(i + 1)
        return at


@dataclass(frozen=True)
class _IgnoreFile:
    """The lines of an ignore file, last first; ``depth`` is that of its folder. True: taken back in."""

    depth: int
    globs: tuple[tuple[Glob, bool], ...]


@dataclass(frozen=True)
class Filters:
    """What a run leaves out: of the user, and of the ignore files on the way down."""

    exclude: tuple[Glob, ...] = ()
    include: tuple[Glob, ...] = ()
    """If there are any, other files are left out."""
    heeds_ignore_files: bool = False
    ignored: tuple[_IgnoreFile, ...] = ()
    """The deepest first."""

    @classmethod
    def of(cls, exclude: Iterable[str], include: Iterable[str]) -> Filters:
        """Return the filters of these patterns. Raises UsageError."""
        return cls(tuple(map(Glob.parse, exclude)), tuple(map(Glob.parse, include)))

    def met(self, parts: Parts, *, is_folder: bool) -> Filters | str:
        """Return the filters for what is below a file or folder at ``parts``, or why it is left out."""
        if reason := self._why_not(parts, is_folder=is_folder):
            return reason
        if any(glob.matches(parts, is_folder=is_folder) for glob in self.include):
            return replace(self, include=())
        return NOT_INCLUDED if self.include and not is_folder else self

    def _why_not(self, parts: Parts, *, is_folder: bool) -> str | None:
        if any(glob.matches(parts, is_folder=is_folder) for glob in self.exclude):
            return EXCLUDED
        for file in self.ignored:
            for glob, is_taken in file.globs:
                if glob.matches(parts[file.depth :], is_folder=is_folder):
                    return None if is_taken else f"excluded by {IGNORE_FILE}"
        return None

    def entered(self, folder: Path, depth: int) -> Filters:
        """Return the filters for what is in ``folder``, so many folders down. Raises OSError."""
        globs = _read_ignore_file(folder / IGNORE_FILE) if self.heeds_ignore_files else ()
        if not globs:
            return self
        return replace(self, ignored=(_IgnoreFile(depth, globs), *self.ignored))

    def down_to(self, root: Path, parts: Parts, *, is_folder: bool) -> Filters | str:
        """Return what `met` gives for what is at ``parts`` in a walk through ``root``.

        Nothing need be there. Raises OSError for an ignore file that cannot be read.
        """
        filters = self
        for depth in range(len(parts)):
            goes_on = is_folder or depth < len(parts) - 1
            filters = filters.entered(root.joinpath(*parts[:depth]), depth)
            found = filters.met(parts[: depth + 1], is_folder=goes_on)
            if isinstance(found, str):
                return found
            filters = found
        return filters


EXCLUDED = "excluded"
NOT_INCLUDED = "not included"
"""Why a file is left out that none of the patterns of ``include`` matches."""


@dataclass(frozen=True)
class Choice:
    """The files of a run, of those that its paths hold."""

    filters: Filters = Filters()
    listed: tuple[Path, ...] | None = None
    """Files and directories below the paths, which alone are taken."""
    is_from_list: bool = False
    """A file lists them, or the paths themselves: a part of a tree, in general."""


ALL = Choice()


def _read_ignore_file(path: Path) -> tuple[tuple[Glob, bool], ...]:
    """Return the lines of an ignore file, the last first; none if it is not there. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_IGNORE_BYTES:
            raise OSError(f"is not a file of at most {_MAX_IGNORE_BYTES} bytes")
        lines = os.fsdecode(file.read()).split("\n")
    globs = []
    for line in reversed(lines):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        is_taken = text.startswith("!")
        # A backslash in front of a name that begins so.
        text = text[1:] if is_taken or text.startswith(("\\#", "\\!")) else text
        try:
            globs.append((Glob.parse(text), is_taken))
        except UsageError as error:
            raise OSError(error.message) from error
    return tuple(globs)
