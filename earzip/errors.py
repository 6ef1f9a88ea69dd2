"""The one tree of errors a user can meet, each class with the exit code it ends a command with.

Exit codes: 0 ok, 1 fatal, 2 usage, 3 finished but some files failed, 4 verify found damage,
75 stopped early or locked (run again to go on), 130 second interrupt.
"""

from __future__ import annotations

import os


class EarzipError(Exception):
    """An error to show to the user as ``path: message``, without a traceback.

    ``message`` says what is wrong and what was expected; ``path`` is the file it is about, if any.
    """

    exit_code = 1

    def __init__(self, message: str, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = None if path is None else os.fspath(path)

    def __str__(self) -> str:
        return self.message if self.path is None else f"{self.path}: {self.message}"

    def __reduce__(self) -> tuple[type[EarzipError], tuple[str, str | None]]:
        # The default would rebuild the error from str(self) alone and repeat the path.
        return type(self), (self.message, self.path)


class UsageError(EarzipError):
    """The command line or an API argument contradicts itself or is out of range."""

    exit_code = 2


class SourceError(EarzipError):
    """A source file cannot be read as audio, or is too damaged to be archived."""

    exit_code = 3


class BelowFloorError(EarzipError):
    """A track comes out worse than the floor that was asked for."""

    exit_code = 3


class TagError(EarzipError):
    """A tag block cannot be read or written."""

    exit_code = 3


class TargetError(EarzipError):
    """An output cannot be written: it exists, the disk is full, the folder is read-only."""

    exit_code = 3


class ArchiveError(EarzipError):
    """A file cannot be used as an archive."""

    exit_code = 3


class NotAnArchiveError(ArchiveError):
    """The file does not begin with the archive magic."""


class UnsupportedArchiveError(ArchiveError):
    """The archive needs a newer earzip: an unknown format version or critical field."""


class DamagedArchiveError(ArchiveError):
    """Bytes of the archive are missing, added or changed."""

    exit_code = 4


class ModelNotFoundError(EarzipError):
    """The model that is asked for, or that an archive names, is not installed."""


class ModelDamagedError(EarzipError):
    """A model's files do not match their recorded SHA-256, or are malformed."""


class DeviceError(EarzipError):
    """The device that the network runs on cannot do what is asked of it."""


class LockedError(EarzipError):
    """Another run holds the lock on this target."""

    exit_code = 75


class RunEndedError(EarzipError):
    """The run that this process is part of has ended without it."""

    exit_code = 75
