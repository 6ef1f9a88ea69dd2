"""When archives were last found intact: remembered for each user of a machine, not among the archives.

A copy of a library on another disk has not been checked, and a tree that cannot be written to can be.
So a database in the user's state folder has a row for each archive: where it is, its size and time of
modification before it was read, and when that was. What goes wrong with it never costs a check.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from earzip.batch.jobs import Plan
from earzip.batch.places import Places, status_of
from earzip.results import FileRecord, FileStatus

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")

_TABLE = """
CREATE TABLE IF NOT EXISTS checked (
    path BLOB PRIMARY KEY,       -- absolute, links to its folder resolved; or a URL
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    checked_s INTEGER NOT NULL,  -- seconds since 1970, UTC, as in decoded_s
    decoded_s INTEGER            -- when its sound was decoded too
) WITHOUT ROWID
"""
# A check without decoding says nothing new about the sound of a file that has not changed.
_NOTE = """
INSERT INTO checked VALUES (:path, :size, :mtime_ns, :now, :decoded_s)
ON CONFLICT (path) DO UPDATE SET
    decoded_s = CASE
        WHEN excluded.decoded_s IS NOT NULL THEN excluded.decoded_s
        WHEN size = excluded.size AND mtime_ns = excluded.mtime_ns THEN decoded_s
    END,
    size = excluded.size, mtime_ns = excluded.mtime_ns, checked_s = excluded.checked_s
"""
_LOOK_UP = "SELECT checked_s, decoded_s FROM checked WHERE path = ? AND size = ? AND mtime_ns = ?"
_WAIT_S = 5.0  # for another run that is writing
_BATCH = 1000
_BATCH_S = 5.0


def default_checked_path() -> Path | None:
    """Return where the database is; None for a user without a home."""
    try:
        folder = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    except RuntimeError:
        return None
    return Path(folder, "earzip", "checked.sqlite3")


class CheckedLog:
    """Remembers which archives were found intact. A context manager, which writes what is left.

    ``decoded``: whether their sound is decoded in this run; ``warn`` is called once if the database
    cannot be used, provided that `leave_out` was asked for, and whenever a damaged one was put aside.
    ``named`` returns what an absolute path is remembered as.
    """

    def __init__(
        self,
        path: Path | None,
        warn: Callable[[str], None],
        *,
        decoded: bool = False,
        named: Callable[[str], str] = str,
    ) -> None:
        self._path = path
        self._warn = warn
        self._decoded = decoded
        self._named = named
        self._is_relied_on = False
        self._known: dict[Path, tuple[bytes, int, int]] = {}
        """Of each archive of the plan its key, its size and its time before it is read."""
        self._pending: dict[bytes, dict[str, object] | None] = {}
        """Rows to write by their key; None: to delete."""
        self._written_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._write()

    def watch(self, plan: Plan) -> None:
        """Take down the state of the archives of ``plan``, which will be checked."""
        places = Places()
        for job in plan.jobs:
            if status := status_of(job.source):
                key = os.fsencode(self._named(places.of(job.source.absolute())))
                self._known[job.source] = key, status.st_size, status.st_mtime_ns

    def leave_out(self, plan: Plan, older_than_s: float) -> None:
        """Leave those archives of ``plan``, which is watched, that have not been checked for so long.

        The others are on record beforehand. One that has changed since has not been checked.
        """
        self._is_relied_on = True
        now = time.time()

        def find(database: sqlite3.Connection) -> dict[Path, int]:
            lately = {}
            for path, state in self._known.items():
                row = database.execute(_LOOK_UP, state).fetchone()
                at = row and row[self._decoded]
                if at is not None and 0 <= now - at < older_than_s:  # not one of a wrong clock
                    lately[path] = at
            return lately

        lately = self._with_database(find) or {}
        for path, at in lately.items():
            on = time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
            record = FileRecord(FileStatus.CHECKED_LATELY, path, message=f"on {on}")
            plan.beforehand.append(record)
        plan.jobs = [job for job in plan.jobs if job.source not in lately]

    def note(self, record: FileRecord) -> None:
        """Remember an archive that was found intact; forget one that is damaged or no archive."""
        if record.source not in self._known or record.status is FileStatus.CHECKED_LATELY:
            return
        key, size, mtime_ns = self._known[record.source]
        now = int(time.time())
        self._pending[key] = None
        if record.status is FileStatus.INTACT:
            decoded_s = now if self._decoded else None
            self._pending[key] = {
                "path": key, "size": size, "mtime_ns": mtime_ns, "now": now, "decoded_s": decoded_s
            }  # fmt: skip
        if len(self._pending) >= _BATCH or time.monotonic() - self._written_at > _BATCH_S:
            self._write()

    def _write(self) -> None:
        self._written_at = time.monotonic()
        if not self._pending:
            return
        gone = [(key,) for key, row in self._pending.items() if row is None]
        rows = [row for row in self._pending.values() if row is not None]

        def write(database: sqlite3.Connection) -> bool:
            database.executemany("DELETE FROM checked WHERE path = ?", gone)
            database.executemany(_NOTE, rows)
            return True

        if self._with_database(write):
            self._pending.clear()

    def _with_database(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Return ``work`` of the database, in one transaction; None if that cannot be used."""
        if self._path is None:
            self._complain("there is no home directory")
            return None
        try:
            import sqlite3  # noqa: PLC0415
        except ImportError:
            self._complain("this Python was built without SQLite")
            return None
        for _ in range(2):
            found = _identity(self._path)
            try:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with closing(sqlite3.connect(self._path, timeout=_WAIT_S)) as database, database:
                    database.execute(_TABLE)
                    return work(database)
            except (OSError, sqlite3.OperationalError) as error:
                self._complain(f"{self._path}: {getattr(error, 'strerror', None) or error}")
                return None
            except sqlite3.DatabaseError as error:
                self._put_aside(found, error)
        self._complain(f"{self._path}: is damaged")
        return None

    def _put_aside(self, found: tuple[int, int] | None, error: Exception) -> None:
        """Rename the damaged database, unless another run has done so."""
        assert self._path is not None
        if found is None or found != _identity(self._path):
            return
        aside = self._path.with_name(f"{self._path.name}.damaged")
        with suppress(OSError):
            # First: it would be played back into the new database.
            self._path.with_name(f"{self._path.name}-journal").unlink(missing_ok=True)
            self._path.replace(aside)
            self._warn(f"{self._path}: {error}; it is now {aside.name}, and all archives are due")

    def _complain(self, reason: str) -> None:
        if self._is_relied_on:
            self._is_relied_on = False
            self._warn(f"{reason}: it is not known, or not remembered, when archives were checked")


def _identity(path: Path) -> tuple[int, int] | None:
    status = status_of(path)
    return None if status is None else (status.st_dev, status.st_ino)
