"""The one tree of errors a user can meet, each class with the exit code it ends a command with."""

from __future__ import annotations

import os
from enum import IntEnum


class ExitCode(IntEnum):
    """What a command ends with."""

    OK = 0
    FATAL = 1
    USAGE = 2
    SOME_FAILED = 3
    """Finished, but some files failed."""
    DAMAGED = 4
    """An archive is damaged."""
    STOPPED = 75
    """Stopped early or locked: run again to continue."""
    INTERRUPTED = 130
    """Interrupted for the second time."""


class EarzipError(Exception):
    """An error to show to the user as ``path: message``, without a traceback.

    ``message`` says what is wrong and what was expected; ``path`` is the file it is about, if any.
    """

    exit_code: int = ExitCode.FATAL

    def __init__(self, message: str, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = None if path is None else os.fspath(path)

    def __str__(self) -> str:
        return self.message if self.path is None else f"{self.path}: {self.message}"

    def __reduce__(self) -> tuple[type[EarzipError], tuple[str, str | None]]:
        # The default would rebuild the error from str(self) alone and repeat the path.
        return type(self), (self.message, self.path)


def count(n: int, noun: str) -> str:
    """Return ``1 file`` or ``2 files``, for a message."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


class UsageError(EarzipError):
    """The command line or an API argument contradicts itself or is out of range."""

    exit_code = ExitCode.USAGE


class SourceError(EarzipError):
    """A source file cannot be read as audio, or is too damaged to be archived."""

    exit_code = ExitCode.SOME_FAILED


class NoSoundError(SourceError):
    """A file of a kind that can hold sound, such as a film, holds none."""


class BelowFloorError(EarzipError):
    """The decoded track is below the requested quality floor."""

    exit_code = ExitCode.SOME_FAILED


class TagError(EarzipError):
    """A tag block cannot be read or written."""

    exit_code = ExitCode.SOME_FAILED


class TargetError(EarzipError):
    """An output cannot be written: it exists, the disk is full, the folder is read-only."""

    exit_code = ExitCode.SOME_FAILED


class ArchiveError(EarzipError):
    """A file cannot be used as an archive."""

    exit_code = ExitCode.SOME_FAILED


class NotAnArchiveError(ArchiveError):
    """The file does not begin with the archive magic."""


class UnsupportedArchiveError(ArchiveError):
    """The archive needs a newer earzip: an unknown format version or critical field."""


class DamagedArchiveError(ArchiveError):
    """Bytes of the archive are missing, added or changed."""

    exit_code = ExitCode.DAMAGED


class MissingPictureError(DamagedArchiveError):
    """A picture that an archive shares with others is not beside it."""


class TooMuchWorkError(DamagedArchiveError):
    """An archive would keep a reader busy for far longer than one of its size may."""


class ModelNotFoundError(EarzipError):
    """The model that the user or an archive names is not installed."""


class ModelDamagedError(EarzipError):
    """A model's files do not match their recorded SHA-256, or are malformed."""


class DeviceError(EarzipError):
    """The device of the network cannot do the requested operation."""


class PlayerError(EarzipError):
    """The player of the system cannot be started, or has failed."""


class LockedError(EarzipError):
    """Another run holds the lock on this target."""

    exit_code = ExitCode.STOPPED


class RunEndedError(EarzipError):
    """The run that this process is part of has ended without it."""

    exit_code = ExitCode.STOPPED
