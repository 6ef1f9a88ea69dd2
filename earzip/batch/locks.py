"""Locks: a claim on each target while it is written, and one run over a directory at a time.

    .compress.earzip-lock           held by a run over the whole directory; runs of shards share it
    .compress.3-of-8.earzip-lock    held by the run of a shard

The kernel drops a lock with its owner, kill -9 included.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

from earzip.batch.plan import CLAIM_SUFFIX, RUN_LOCK_SUFFIX
from earzip.batch.shard import Shard
from earzip.errors import LockedError, TargetError
from earzip.formats.atomic import make_folder, reap

_CLAIM_NAME = re.compile(r"\.[0-9a-f]{16}" + re.escape(CLAIM_SUFFIX))

_held: set[int] = set()  # the locks of claims, as file descriptors
# Held while one is opened or closed, and by a fork: so a child always knows all locks.
_opening = threading.Lock()


def _let_go() -> None:
    """Close the parent's locks in a forked process: they must not outlive a killed parent."""
    for lock in _held:
        os.close(lock)
    _held.clear()
    _opening.release()


os.register_at_fork(
    before=_opening.acquire, after_in_parent=_opening.release, after_in_child=_let_go
)


@contextmanager
def claim(target: Path) -> Iterator[None]:
    """Lock ``target`` against other runs, on this machine and on those that share its locks.

    The claim is a lock (flock) on a small hidden file beside the target. The kernel drops it with
    its owner, kill -9 included; the next run then takes the file over. If the file cannot be
    created, as on a read-only disk, the target cannot be written either, and nothing is locked.
    Raises `LockedError`.
    """
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    path = target.with_name(f".{digest}{CLAIM_SUFFIX}")
    while True:
        try:
            lock = _open_lock(path)
        except OSError:
            yield
            return
        try:
            locked = _try_lock(lock)
            if not _has_name(lock):
                continue  # its owner has removed it: look again
            if not locked:
                raise LockedError("another run is writing it", target)
            try:
                yield
            finally:
                with suppress(OSError):
                    path.unlink()  # before unlocking, so that nobody locks a nameless file
            return
        finally:
            with _opening, suppress(OSError):
                _held.discard(lock)
                os.close(lock)


def _has_name(lock: int) -> bool:
    try:
        return os.fstat(lock).st_nlink > 0
    except OSError:  # not to be told: better two runs at one file than none
        return True


def _open_lock(path: Path) -> int:
    with _opening:
        lock = open_lock_file(path)
        _held.add(lock)
    return lock


def open_lock_file(path: Path) -> int:
    """Open the file ``path`` to lock it, created if missing; return its descriptor. Raises OSError."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
    except PermissionError:
        return os.open(path, os.O_RDONLY | flags)  # another user's file can be locked too


def reap_claims(folder: Path) -> None:
    """Remove the lock files of dead runs directly in ``folder``."""
    try:
        with os.scandir(folder) as entries:
            paths = [Path(entry) for entry in entries if _CLAIM_NAME.fullmatch(entry.name)]
    except OSError:
        return
    for path in paths:
        reap(path)


def _try_lock(file: int) -> bool:
    """Lock ``file``; False if another process holds the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # no locks on this file system: atomic writes still keep the results whole
    return True


_MAX_NOTE_BYTES = 500
_GO_ON = "wait for it to finish, or use --no-lock"
_UNSIGNED_S = 1.0
"""A run that starts or ends holds its lock briefly without a note in it: wait for it."""
_POLL_S = 0.01


class RunLock:
    """The lock of a run of ``command`` that writes below ``folders``. A context manager.

    Entering raises LockedError while another run works there. If the lock file cannot be created, nothing
    can be written either, and nothing is locked.
    """

    def __init__(self, command: str, folders: Iterable[Path], shard: Shard | None = None) -> None:
        folders = {Path(os.path.realpath(folder)) for folder in folders}
        self._locks = [_FolderLock(folder, command, shard) for folder in sorted(folders)]
        self._held = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as held:
            for lock in self._locks:
                lock.take()
                held.callback(lock.give_back)
            self._held = held.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._held.close()


class _FolderLock:
    """The lock of one folder."""

    def __init__(self, folder: Path, command: str, shard: Shard | None) -> None:
        self._folder = folder
        self._command = command
        self._shard = shard
        self._whole = folder / f".{command}{RUN_LOCK_SUFFIX}"
        self._files: list[
            tuple[Path, int]
        ] = []  # descriptors: of the whole folder, then of the shard

    def take(self) -> None:
        try:
            make_folder(self._whole)
            self._take()
        except LockedError:
            self.give_back()
            raise
        except (OSError, TargetError):
            self.give_back()

    def _take(self) -> None:
        if self._shard is None:
            self._lock(self._whole, fcntl.LOCK_EX, _who_and_since())
            for path, _ in self._shard_files():  # of killed runs: live ones would share this lock
                path.unlink(missing_ok=True)
            return
        self._lock(self._whole, fcntl.LOCK_SH, "")  # removes the note of a dead run
        for _, other in self._shard_files():
            self._require_same_count(self._shard, other)
        self._lock(self._file_of(self._shard), fcntl.LOCK_EX, _who_and_since())

    def give_back(self) -> None:
        for path, file in reversed(self._files):
            with suppress(OSError):
                # Only its last owner removes it.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            with suppress(OSError):
                os.close(file)
        self._files.clear()

    def _require_same_count(self, shard: Shard, other: Shard) -> None:
        """Refuse to work beside a shard of another count, and drop the file of one that was killed."""
        if other.count == shard.count:
            return
        path = self._file_of(other)
        try:
            # Shared, so that two readers do not take each other for its owner.
            file = self._locked(path, fcntl.LOCK_SH)
        except LockedError as error:
            raise LockedError(
                f"locked by shard {other} ({_read(path)}): shards of {other.count} and of "
                f"{shard.count} overlap; use the same N, or wait",
                self._folder,
            ) from error
        path.unlink(missing_ok=True)
        os.close(file)

    def _shard_files(self) -> list[tuple[Path, Shard]]:
        pattern = re.compile(
            rf"\.{self._command}\.(\d+)-of-(\d+){re.escape(RUN_LOCK_SUFFIX)}", re.ASCII
        )
        found = []
        for name in sorted(os.listdir(self._folder)):  # noqa: PTH208  # names are all that is asked
            if match := pattern.fullmatch(name):
                number, count = int(match[1]), int(match[2])
                if 1 <= number <= count:
                    found.append((self._folder / name, Shard(number, count)))
        return found

    def _shard_at_work(self) -> str:
        """Return the owner of a shard's lock, "" for none."""
        for path, shard in self._shard_files():
            try:
                with path.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return f"shard {shard}, {_read(path)}"
            except OSError:  # it is gone by now
                continue
        return ""

    def _file_of(self, shard: Shard) -> Path:
        name = f".{self._command}.{shard.number}-of-{shard.count}{RUN_LOCK_SUFFIX}"
        return self._folder / name

    def _lock(self, path: Path, kind: int, note: str) -> None:
        self._files.append((path, self._locked(path, kind)))
        _write(self._files[-1][1], note)

    def _locked(self, path: Path, kind: int) -> int:
        """Return a descriptor of ``path``, locked. Raises LockedError, or OSError if it cannot be."""
        until = time.monotonic() + _UNSIGNED_S
        while True:
            file = open_lock_file(path)
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
            except BlockingIOError as error:
                owner = _read(path)
                os.close(file)
                if not owner and time.monotonic() < until:
                    time.sleep(_POLL_S)
                    continue
                who = owner or self._shard_at_work()
                who = f" ({who})" if who else ""
                what = f"locked by another {self._command} run{who}; {_GO_ON}"
                raise LockedError(what, self._folder) from error
            except OSError:  # a file system without locks: an empty file has no owner
                if not os.fstat(file).st_size:
                    path.unlink(missing_ok=True)
                os.close(file)
                raise
            if os.fstat(file).st_nlink:
                return file
            os.close(file)  # its owner has removed it: look again


def _who_and_since() -> str:
    now = time.strftime("%Y-%m-%d %H:%M:%S %z")
    return f"process {os.getpid()} on {socket.gethostname()} since {now}"


def _write(file: int, text: str) -> None:
    with suppress(OSError):  # the lock holds even if the disk is full
        os.ftruncate(file, 0)
        os.pwrite(file, text.encode(), 0)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_NOTE_BYTES).decode("utf-8", "replace").strip()
    except OSError:
        return ""
