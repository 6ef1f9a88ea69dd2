"""Claims: a target is written by one run at a time."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from earzip.batch.plan import CLAIM_SUFFIX
from earzip.errors import LockedError
from earzip.formats.atomic import reap

_CLAIM_NAME = re.compile(r"\.[0-9a-f]{16}" + re.escape(CLAIM_SUFFIX))

_held: set[int] = set()  # the locks of claims, as file descriptors
# Taken around what opens or closes one, and by a fork: between the two no lock goes unnoted into a child.
_opening = threading.Lock()


def _let_go() -> None:
    """Close the locks of the parent in a forked process: they must not outlive a killed owner there."""
    for lock in _held:
        os.close(lock)
    _held.clear()
    _opening.release()


os.register_at_fork(
    before=_opening.acquire, after_in_parent=_opening.release, after_in_child=_let_go
)


@contextmanager
def claim(target: Path) -> Iterator[None]:
    """Hold ``target`` against other runs, on this machine and on those that share its locks.

    The claim is a lock (flock) on a small hidden file beside the target. The kernel drops it with
    its owner, kill -9 included; the file is then taken over by the next run. Where it cannot be
    made, as on a read-only disk, the target cannot be written either, and nothing is held. Raises
    `LockedError`.
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
            if not os.fstat(lock).st_nlink:
                continue  # its owner was done with it and has removed it: look anew
            if not locked:
                raise LockedError("another run is writing it", target)
            try:
                yield
            finally:
                with suppress(OSError):
                    path.unlink()  # before the lock goes, so that nobody can lock what has no name
            return
        finally:
            with _opening:
                _held.discard(lock)
                os.close(lock)


def _open_lock(path: Path) -> int:
    with _opening:
        lock = open_lock_file(path)
        _held.add(lock)
    return lock


def open_lock_file(path: Path) -> int:
    """Return a descriptor of the file ``path``, made if it is not there, to be locked. Raises OSError."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
    except PermissionError:
        return os.open(path, os.O_RDONLY | flags)  # another user's, whose lock holds all the same


def reap_claims(folder: Path) -> None:
    """Remove the lock files that dead runs have left directly in ``folder``."""
    try:
        with os.scandir(folder) as entries:
            paths = [Path(entry) for entry in entries if _CLAIM_NAME.fullmatch(entry.name)]
    except OSError:
        return
    for path in paths:
        reap(path)


def _try_lock(file: int) -> bool:
    """Return whether this process may go on: False if another one holds the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # no locks on this file system: atomic writes keep the results whole all the same
    return True
