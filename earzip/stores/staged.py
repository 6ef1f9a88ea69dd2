"""A task whose jobs are objects: each is fetched into a temporary folder, done there, and put back.

The task itself sees files, in any process and on any machine: a job brings its URLs.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from earzip.batch.events import Reads, Task, Work
from earzip.batch.jobs import Job
from earzip.batch.remote import Remote
from earzip.errors import ArchiveError, EarzipError, SourceError, TargetError
from earzip.formats.archive.stand_in import filler_of, standing_in
from earzip.formats.names import archive_name, is_archive_name, is_shared_picture_name
from earzip.results import FileRecord, FileStatus, Progress
from earzip.runtime import Placement
from earzip.stores.holes import FilledFile, StandIn
from earzip.stores.names import renamed
from earzip.stores.store import Clients, Store, Stored
from earzip.stores.urls import Url

_TRIES = 3
"""Times that a source is fetched that changes in the meantime."""

_LOST = "another run has written it in the meantime"

Forget = Callable[[Path | None], None]


@dataclass(frozen=True)
class StagedTask:
    """``task``, done with objects. ``forget`` is called with each file that was only looked at."""

    task: Task
    forget: Forget | None = field(default=None, compare=False)

    def __getstate__(self) -> dict[str, object]:
        # Only the process that plans looks at what stands in for objects.
        return {"task": self.task, "forget": None}

    @property
    def name(self) -> str:
        """The command's name."""
        return self.task.name

    @property
    def reads(self) -> Reads:
        """How much of a job's files the task reads."""
        return self.task.reads

    def up_to_date(self, job: Job) -> FileRecord | None:
        """Return what the task does, of files that stand in for objects: their beginnings are read."""
        if self.reads is Reads.FACTS:
            return self.task.up_to_date(job)  # what --where has read is for the work
        if job.remote and job.remote.is_there and job.target:
            _fill_origin(job.target)
        return self._looked(job, lambda: self.task.up_to_date(job))

    def planned(self, job: Job, on_progress: Progress) -> FileRecord | None:
        """Return what the task does, of files that stand in for objects.

        A source is fetched only if it may have changed since it was archived.
        """
        if job.remote and job.remote.is_there and job.target:
            _fill_origin(job.target)
        return self._looked(job, lambda: self.task.planned(job, on_progress))

    @contextmanager
    def opened(self, placement: Placement) -> Iterator[Work]:
        """Give the work, of objects. Raises as the task does."""
        with self.task.opened(placement) as work:
            clients = Clients()

            def staged(job: Job, on_progress: Progress) -> FileRecord:
                if job.remote is None:
                    return work(job, on_progress)
                if self.reads in (Reads.FACTS, Reads.STATE):
                    record = self._looked(job, lambda: work(job, on_progress))
                    assert record
                    return record
                with TemporaryDirectory(prefix="earzip-") as folder:
                    stage = _Stage(Path(folder), job, job.remote, self.reads, clients)
                    return stage.run(work, on_progress)

            yield staged

    def _looked(self, job: Job, look: Callable[[], FileRecord | None]) -> FileRecord | None:
        try:
            return look()
        finally:
            if self.forget:
                self.forget(job.source)
                self.forget(job.target)


def _fill_origin(target: Path) -> None:
    """Fetch the places of a restored file at which it says what it was restored from."""
    fill = filler_of(target)
    if fill is None or is_archive_name(target.name):
        return
    from earzip.formats.tags.provenance import provenance_in  # noqa: PLC0415  # loads mutagen

    with suppress(OSError), FilledFile(target, fill) as file:
        provenance_in(file)


class _Stage:
    """A job in a temporary folder."""

    def __init__(
        self, folder: Path, job: Job, remote: Remote, reads: Reads, clients: Clients
    ) -> None:
        self._clients = clients
        self._job = job
        self._remote = remote
        self._reads = reads
        self._in, self._out, self._elsewhere = (folder / name for name in ("in", "out", "found"))
        self._opened = ExitStack()
        # What is there before the work, by its size, time and inode: all else is new.
        self._before: dict[Path, tuple[int, ...]] = {}

    def run(self, work: Work, on_progress: Progress) -> FileRecord:
        """Return the record of the job, in which files are named as in the job itself."""
        job = self._job
        try:
            with self._opened:
                record = work(self._fetched(on_progress), on_progress)
                on_progress(0)
                if not self._put_back(on_progress):
                    return FileRecord(FileStatus.LOCKED, job.source, job.target, _LOST)
        except EarzipError as error:
            error.message = self._named(error.message)
            error.path = error.path and self._named(error.path)
            raise
        except OSError as error:
            place = self._named(os.fsdecode(error.filename or job.source))
            raise EarzipError(f"cannot be worked on: {error.strerror or error}", place) from error
        return renamed(record, self._named, job.source, record.target and job.target)

    def _fetched(self, on_progress: Progress) -> Job:
        """Return the job with files of the temporary folder."""
        job, remote = self._job, self._remote
        source, target, found = job.source, job.target, job.found
        if remote.source:
            source = self._in / job.source.name
            self._fetch_source(Url(remote.source), source, on_progress)
        if remote.target and job.target:
            target = self._out / job.target.name
            self._out.mkdir()
            if remote.is_there:
                self._fetch_target(Url(remote.target), target)
        if remote.found:
            found = tuple(
                self._fetch_found(Url(url), self._elsewhere / str(i))
                for i, url in enumerate(remote.found)
            )
        self._before = {path: _state(path) for path in _files_below(self._out)}
        return replace(job, source=source, target=target, found=found, remote=None)

    def _fetch_source(self, url: Url, path: Path, on_progress: Progress) -> None:
        path.parent.mkdir()
        store = self._clients.store(url)
        stored = Stored(store.root, self._job.n_bytes, self._remote.mtime_ns, self._remote.version)
        try:
            if self._reads is Reads.PARTS:
                file = StandIn(path, store, stored)
                file.make()
                here = standing_in(path.parent, lambda _path, offset, n: file.fill(offset, n))
                self._opened.enter_context(here)
            else:
                stored = _fetch_unchanged(store, stored, path, on_progress)
            os.utime(path, ns=(stored.mtime_ns, stored.mtime_ns))
            self._fetch_pictures(url, path)
        except OSError as error:
            raise SourceError(f"cannot be fetched: {error.strerror or error}", path) from error

    def _fetch_target(self, url: Url, path: Path) -> None:
        store = self._clients.store(url)
        try:
            store.get(store.root, path)
            self._fetch_pictures(url, path)
            if not is_archive_name(path.name):
                # What is there may be the source of this archive, which is told by its name.
                beside = url.with_name(archive_name(url.name))
                self._fetch_if_there(beside, self._out / beside.name)
        except OSError as error:
            raise TargetError(f"cannot be fetched: {error.strerror or error}", path) from error

    def _fetch_found(self, url: Url, folder: Path) -> Path:
        folder.mkdir(parents=True)
        path = folder / url.name
        try:
            store = self._clients.store(url)
            store.get(store.root, path)
            self._fetch_pictures(url, path)
        except OSError as error:
            raise SourceError(f"cannot be fetched: {error.strerror or error}", path) from error
        return path

    def _fetch_pictures(self, url: Url, archive: Path) -> None:
        """Fetch the pictures that an archive shares with others, as far as they are there."""
        if not is_archive_name(archive.name):
            return
        from earzip.formats.archive.reader import ArchiveReader  # noqa: PLC0415  # loads numpy

        with suppress(ArchiveError), ArchiveReader(archive, salvage=True) as reader:
            for picture in reader.header.shared or ():
                self._fetch_if_there(url.with_name(picture.name), archive.with_name(picture.name))

    def _fetch_if_there(self, url: Url, path: Path) -> None:
        if path.exists():
            return
        store = self._clients.store(url)
        try:
            store.get(store.root, path)
        except FileNotFoundError:
            path.unlink(missing_ok=True)

    def _put_back(self, on_progress: Progress) -> bool:
        """Write what is new to the store, the target last; False if another has written that."""
        if self._remote.target is None:
            return True
        url = Url(self._remote.target)
        changed = [
            path for path in _files_below(self._out) if _state(path) != self._before.get(path)
        ]
        target = self._out / url.name
        for path in sorted(changed, key=lambda each: each == target):
            store = self._clients.store(url.with_name(path.name))
            must_be_new = path == target and not self._remote.is_there
            try:
                if path == target or not _is_kept(store, path):
                    store.put(path, store.root, lambda: on_progress(0), must_be_new=must_be_new)
            except FileExistsError:
                return False
            except OSError as error:
                raise TargetError(f"cannot be written: {error.strerror or error}", path) from error
        return True

    def _named(self, text: str) -> str:
        """Return ``text`` with the names of the job in place of those of the temporary folder."""
        job = self._job
        text = text.replace(str(self._in), str(job.source.parent))
        if job.target:
            text = text.replace(str(self._out), str(job.target.parent))
        for i, path in enumerate(job.found):
            text = text.replace(str(self._elsewhere / str(i)), str(path.parent))
        return text


def _fetch_unchanged(store: Store, stored: Stored, path: Path, on_progress: Progress) -> Stored:
    """Fetch an object, and return its state, which is that of the bytes. Raises OSError."""
    for _ in range(_TRIES):
        store.get(stored.key, path, lambda: on_progress(0))
        now = store.look_up(stored.key)
        if now is None:
            raise FileNotFoundError(errno.ENOENT, "is not there any more")
        if now.version == stored.version and path.stat().st_size == now.n_bytes:
            return now
        stored = now
    raise OSError(errno.EAGAIN, "it changes again and again")


def _is_kept(store: Store, path: Path) -> bool:
    """Return whether a picture that archives share, whose name is its SHA-256, is in the store."""
    found = store.look_up(store.root) if is_shared_picture_name(path.name) else None
    return found is not None and found.n_bytes == path.stat().st_size


def _files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _state(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino
