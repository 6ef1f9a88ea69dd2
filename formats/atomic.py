"""Files that appear whole or not at all: a temporary in the target's folder, synced, then named.

A temporary is called ``.NAME.<16 hex digits>.earzip-tmp`` and is locked (flock) by the process that
writes it until it has its final name, so `reap_stale` can tell one that a dead run has left from
one that is being written. The kernel drops the lock with its owner, kill -9 included.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from earzip.errors import EarzipError, SourceError, TargetError

TEMPORARY_SUFFIX = ".earzip-tmp"
_TEMPORARY_NAME = re.compile(r"\..*\.[0-9a-f]{16}" + re.escape(TEMPORARY_SUFFIX), re.DOTALL)
_NAME_MAX_BYTES = 255  # of every common file system
# These are about the target's disk, whatever raised them.
_TARGET_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_NO_FOLDER_SYNC = {errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF, errno.EACCES}


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, replace: bool = True) -> Iterator[AtomicFile]:
    """Give a binary file (writable, seekable) that becomes ``path`` when the block ends well.

    Until then ``path`` is untouched; after an exception or ``discard()`` nothing is left. The bytes
    and the name are on the disk when this returns. An existing ``path`` is replaced, or refused
    without a race if ``replace`` is false; a symbolic link at ``path`` is replaced, not followed.
    Raises `TargetError` where the file cannot be written: no folder, no permission, disk full.
    """
    target = Path(path)
    with suppress(_DiscardedError), _temporary(target, replace=replace) as temporary:
        try:
            raw = _TargetFile(temporary, target)
        except OSError as error:
            raise _target_error(error, target) from error
        file = AtomicFile(raw, buffer_size=1 << 20)
        try:
            yield file
            if file.is_discarded:
                raise _DiscardedError
            file.flush()
        finally:
            with suppress(TargetError):  # writing the buffer may fail again
                file.close()


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, replace: bool = True) -> Iterator[Path]:
    """Give the path of an empty temporary file that becomes ``path`` when the block ends well.

    The same as `atomic_write`, for libraries that open files themselves (soundfile, mutagen); they
    may write into the temporary or replace it. It does not end in the target's extension.
    """
    target = Path(path)
    with _temporary(target, replace=replace) as temporary:
        yield temporary


class AtomicFile(io.BufferedWriter):
    """The file that `atomic_write` gives."""

    is_discarded = False

    def discard(self) -> None:
        """Leave everything as it was when the block ends, without an error."""
        self.is_discarded = True


class _DiscardedError(Exception):
    """Makes `_temporary` leave everything as it was."""


def sha256_of(path: Path, error: type[EarzipError] = SourceError) -> str:
    """Return the SHA-256 of a file in hexadecimal digits. Raises ``error`` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as cause:
        raise error(f"cannot be read: {cause.strerror or cause}", path) from cause


def make_folder(target: Path, *, is_folder: bool = False) -> None:
    """Make the folder of ``target``, or ``target`` itself, and those above it. Raises TargetError."""
    missing = [target if is_folder else target.parent]
    try:
        # Not mkdir(parents=True), which recurses: folders may be nested deeper than calls.
        while not missing[-1].exists():
            missing.append(missing[-1].parent)
        for each in reversed(missing):
            each.mkdir(exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        what = "" if is_folder else "its directory "
        raise TargetError(f"{what}cannot be created: {reason}", target) from error


def reap_stale(folder: str | os.PathLike[str]) -> list[Path]:
    """Remove the temporaries of dead runs directly in ``folder``; return their paths.

    One whose lock is held, by this process or another, is being written and stays. So does one
    that cannot be opened or locked: what is not proven dead is not deleted.
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if _TEMPORARY_NAME.fullmatch(e.name))
    except OSError:
        return []
    return [path for name in names if reap(path := Path(folder, name))]


def reap(path: Path) -> bool:
    """Remove the file ``path``, which its owner keeps locked (flock), if the owner is dead; say if so."""
    try:
        # NONBLOCK: opening a pipe of that name must not wait for its other end.
        lock = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(lock).st_mode):
            return False
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


@contextmanager
def _temporary(target: Path, *, replace: bool) -> Iterator[Path]:
    """Create and lock a temporary; then sync and name it, or on any exception remove it."""
    _refuse_early(target, replace=replace)
    temporary, lock = _create_locked(target)
    try:
        try:
            yield temporary
        except OSError as error:
            if error.errno in _TARGET_FULL:
                raise _target_error(error, target) from error
            raise
        try:
            _sync(temporary)
            if replace:
                temporary.replace(target)
            else:
                _rename_without_replacing(temporary, target)
            _sync_folder(target.parent)
        except OSError as error:
            raise _target_error(error, target) from error
    except BaseException:  # KeyboardInterrupt too
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    finally:
        # Only now: `reap_stale` must not find the temporary unlocked before it has its final name.
        os.close(lock)


def _refuse_early(target: Path, *, replace: bool) -> None:
    """Say before hours of work what the final rename would say after them."""
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise _target_error(error, target) from error
    if stat.S_ISDIR(mode):
        raise TargetError("cannot be written: it is a directory", target)
    if not replace:
        raise TargetError("already exists", target)


def _create_locked(target: Path) -> tuple[Path, int]:
    while True:
        temporary = target.with_name(_temporary_name(target.name))
        try:
            # 0o666 and the umask decide who may read it, as for a file made by any other program.
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            lock = os.open(temporary, flags, 0o666)
        except OSError as error:
            raise _target_error(error, target) from error
        # A file system without locks: `reap_stale` cannot lock there either, and deletes nothing.
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:
            return temporary, lock
        os.close(lock)  # a `reap_stale` came between open and lock: make another


def _temporary_name(name: str) -> str:
    tail = f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    head = os.fsencode(name)[: _NAME_MAX_BYTES - len(tail) - 1]
    # A cut in the middle of a character leaves bytes that some file systems refuse.
    return f".{head.decode('utf-8', 'ignore')}{tail}"


def _rename_without_replacing(temporary: Path, target: Path) -> None:
    """Give ``temporary`` its final name unless that name is taken, in one step of the kernel.

    A hard link does this on every POSIX system: link(2) fails if the name exists, where a test
    followed by rename(2) would replace a file that came in between. (renameat2 with
    RENAME_NOREPLACE does too, but Python has no call for it and not every kernel has it.) A kill
    between the two steps leaves a second name of the whole file, which `reap_stale` removes.
    """
    try:
        os.link(temporary, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # exFAT, some network file systems: claim the name with an empty file of our own, then
        # replace that. A kill in between leaves the empty file, hence only where links fail.
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        try:
            temporary.replace(target)
        except BaseException:
            target.unlink()
            raise
    else:
        temporary.unlink()


def _sync(path: Path) -> None:
    # Opened again: a library may have put another file in the temporary's place.
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _sync_folder(folder: Path) -> None:
    """Put the new name on the disk. Some file systems cannot be asked to, and need no asking."""
    try:
        _sync(folder)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def _target_error(error: OSError, target: Path) -> TargetError:
    if error.errno == errno.EEXIST:
        return TargetError("already exists", target)
    return TargetError(f"cannot be written: {error.strerror or error}", target)


class _TargetFile(io.FileIO):
    """A file whose failing writes blame the target, so that reads in the same block do not."""

    def __init__(self, temporary: Path, target: Path) -> None:
        super().__init__(temporary, "r+")
        self._target = target

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            raise _target_error(error, self._target) from error
