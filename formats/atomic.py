"""Files that appear whole or not at all: a temporary in the target's folder, synced, then named.

A temporary is called ``.NAME.<16 hex digits>.earzip-tmp`` and is locked (flock) by the process that
writes it until it has its final name, so `reap_stale` can tell one that a dead run has left from
one that is being written. The kernel drops the lock with its owner, kill -9 included.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import hashlib
import io
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from earzip.errors import EarzipError, SourceError, TargetError

T = TypeVar("T")

TEMPORARY_SUFFIX = ".earzip-tmp"
_TEMPORARY_NAME = re.compile(r"\..*\.[0-9a-f]{16}" + re.escape(TEMPORARY_SUFFIX), re.DOTALL)
_NAME_MAX_BYTES = 255  # of every common file system
# These are about the target's disk, whatever raised them.
_TARGET_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_NO_SUCH_RENAME = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
_NO_FOLDER_SYNC = {errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF, errno.EACCES}


_ANYONE = 0o666  # and the umask decide who may read a file, as for one made by any other program
_MAX_ATTEMPTS = 32  # each of many runs that begin at once may take one away


@contextmanager
def atomic_write(
    path: str | os.PathLike[str], *, replace: bool = True, mode: int = _ANYONE
) -> Iterator[AtomicFile]:
    """Give a binary file (writable, seekable) that becomes ``path`` when the block ends well.

    Until then ``path`` is untouched; after an exception or ``discard()`` nothing is left. The bytes
    and the name are on the disk when this returns. An existing ``path`` is replaced, or refused
    without a race if ``replace`` is false; a symbolic link at ``path`` is replaced, not followed.
    ``mode``: its permissions, less the umask, from its first byte on; see `private_as`.
    Raises `TargetError` where the file cannot be written: no folder, no permission, disk full.
    """
    target = Path(path)
    with suppress(_DiscardedError), _temporary(target, replace, mode) as temporary:
        try:
            raw = _TargetFile(temporary, target)
        except OSError as error:
            raise _target_error(error, target) from error
        file = AtomicFile(raw, buffer_size=1 << 20)
        try:
            yield file
            if file.is_discarded:
                raise _DiscardedError
            file.close()  # some file systems say only now that they could not write
        finally:
            with suppress(TargetError):  # writing the buffer may fail again
                file.close()


@contextmanager
def atomic_path(
    path: str | os.PathLike[str], *, replace: bool = True, mode: int = _ANYONE
) -> Iterator[Path]:
    """Give the path of an empty temporary file that becomes ``path`` when the block ends well.

    The same as `atomic_write`, for libraries that open files themselves (soundfile, mutagen); they
    may write into the temporary or replace it. It does not end in the target's extension.
    """
    target = Path(path)
    with _temporary(target, replace, mode) as temporary:
        yield temporary


def private_as(status: os.stat_result) -> int:
    """Return the mode of a file that nobody may read or write who may not do so with another's."""
    return 0o600 | status.st_mode & _ANYONE


def set_mtime(file: Path | int, mtime_ns: int | None, target: Path) -> None:
    """Give ``file`` a time of modification, nanoseconds since 1970 (None: leave it).

    A file system that stores no such time stores the nearest. Raises `TargetError`, about ``target``.
    """
    if mtime_ns is None:
        return
    try:
        os.utime(file, ns=(mtime_ns, mtime_ns))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TargetError(f"its time cannot be set: {reason}", target) from error


def look_again(work: Callable[[], T]) -> T:
    """Return ``work()``, called again if the file that it makes came into being meanwhile.

    Two runs that do not see each other's locks, as on two machines, or on a file system without
    locks, may make the same file. The one that comes second has to find that it is done. It is called
    again too where such a run took its temporary for a dead one's. The last call's errors are raised.
    """
    for _ in range(_MAX_ATTEMPTS - 1):
        with suppress(_TakenError, _TemporaryGoneError):
            return work()
    return work()


class AtomicFile(io.BufferedWriter):
    """The file that `atomic_write` gives."""

    is_discarded = False

    def discard(self) -> None:
        """Leave everything as it was when the block ends, without an error."""
        self.is_discarded = True


class _DiscardedError(Exception):
    """Makes `_temporary` leave everything as it was."""


class _TakenError(TargetError):
    """There is a file of that name, which may not be replaced."""


class _TemporaryGoneError(TargetError):
    """Another run, which could not see that this one is alive, has removed its temporary."""


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
def _temporary(target: Path, replace: bool, mode: int) -> Iterator[Path]:
    """Create and lock a temporary; then sync and name it, or on any exception remove it."""
    _refuse_early(target, replace=replace)
    temporary, lock = _create_locked(target, mode)
    is_named = False
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
            is_named = True
            _sync_folder(target.parent)
        except OSError as error:
            raise _target_error(error, target) from error
    except BaseException as error:  # KeyboardInterrupt too
        is_gone = not (is_named or os.path.lexists(temporary))
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if is_gone and isinstance(error, OSError | EarzipError):
            message = "cannot be written: another run has removed its temporary file"
            raise _TemporaryGoneError(message, target) from error
        raise
    finally:
        # Only now: `reap_stale` must not find the temporary unlocked before it has its final name.
        with suppress(OSError):  # what was written is synced
            os.close(lock)


def is_taken(target: Path) -> bool:
    """Return whether there is a file at ``target``, which a new one would replace.

    Raises TargetError for a directory, which none replaces, and where that cannot be told.
    """
    try:
        mode = target.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _target_error(error, target) from error
    if stat.S_ISDIR(mode):
        raise TargetError("cannot be written: it is a directory", target)
    return True


def _refuse_early(target: Path, *, replace: bool) -> None:
    """Say before hours of work what the final rename would say after them."""
    if is_taken(target) and not replace:
        raise _TakenError("already exists", target)


def _create_locked(target: Path, mode: int) -> tuple[Path, int]:
    while True:
        temporary = target.with_name(_temporary_name(target.name))
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            lock = os.open(temporary, flags, mode)
        except OSError as error:
            raise _target_error(error, target) from error
        # A file system without locks: `reap_stale` cannot lock there either, and deletes nothing.
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if os.fstat(lock).st_nlink:
                return temporary, lock
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            os.close(lock)
            raise _target_error(error, target) from error
        os.close(lock)  # a `reap_stale` came between open and lock: make another


def _temporary_name(name: str) -> str:
    tail = f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    head = os.fsencode(name)[: _NAME_MAX_BYTES - len(tail) - 1]
    # A cut in the middle of a character leaves bytes that some file systems refuse.
    return f".{os.fsdecode(head.decode('utf-8', 'ignore').encode())}{tail}"


def _rename_without_replacing(temporary: Path, target: Path) -> None:
    """Give ``temporary`` its final name unless that name is taken, in one step of the kernel.

    renameat2(2) with RENAME_NOREPLACE does this; where a file system or a system has no such call,
    link(2), which fails if the name exists. A kill between link and unlink leaves a second name of
    the whole file, which `reap_stale` removes.
    """
    try:
        _renameat2(temporary, target)
    except OSError as error:
        if error.errno not in _NO_SUCH_RENAME:
            raise
    else:
        return
    try:
        os.link(temporary, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # Neither, as on some network file systems: look, then rename. A file that comes in between
        # is replaced. A claim on the name would leave an empty file if it were killed.
        try:
            target.lstat()
        except FileNotFoundError:
            temporary.replace(target)
        else:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
    else:
        temporary.unlink()


def _renameat2(temporary: Path, target: Path) -> None:
    """Rename without replacing. Raises OSError; ENOSYS where there is no such call."""
    call = _load_renameat2()
    at_fdcwd, noreplace = -100, 1
    if call(at_fdcwd, os.fsencode(temporary), at_fdcwd, os.fsencode(target), noreplace):
        import ctypes  # noqa: PLC0415  # loaded by now

        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@functools.cache
def _load_renameat2() -> Callable[..., int]:
    import ctypes  # noqa: PLC0415  # most commands write nothing

    try:
        call: Callable[..., int] = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError) as error:  # another system than Linux, or an old one
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from error
    return call


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
        return _TakenError("already exists", target)
    return TargetError(f"cannot be written: {error.strerror or error}", target)


class _TargetFile(io.FileIO):
    """A file whose failing calls blame the target, so that reads in the same block do not."""

    def __init__(self, temporary: Path, target: Path) -> None:
        super().__init__(temporary, "r+")
        self._target = target

    def write(self, data: object) -> int:
        with self._blamed():
            return super().write(data)  # type: ignore[arg-type]

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        with self._blamed():
            return super().seek(offset, whence)

    def tell(self) -> int:
        with self._blamed():
            return super().tell()

    def truncate(self, size: int | None = None, /) -> int:
        with self._blamed():
            return super().truncate(size)

    def close(self) -> None:
        with self._blamed():
            super().close()

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _target_error(error, self._target) from error
