"""Archives as a mirror of their sources: which have no source any more, and whose source was moved."""

from __future__ import annotations

import os
import shutil
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain, count, groupby
from pathlib import Path

from earzip.batch.filters import Filters, Parts
from earzip.batch.jobs import Job, Plan
from earzip.batch.places import Places, is_folder
from earzip.batch.plan import Selection, plan_batch
from earzip.errors import ArchiveError
from earzip.formats.names import (
    MODEL_FOLDER,
    RECOVERY_NAME,
    TRASH,
    archive_name,
    is_archive_name,
    is_shared_picture_name,
    name_without_archive_suffix,
)
from earzip.results import FileRecord, FileStatus

_ARCHIVES = Selection(takes=is_archive_name, otherwise="not an archive")
_PICTURES = Selection(takes=is_shared_picture_name, otherwise="no picture that archives share")
_UNNAMED = "a picture that no archive beside it has"


@dataclass(frozen=True)
class Orphan:
    """An archive without a source, as it was found."""

    path: Path
    state: tuple[int, ...]
    """Changes with the file and its content."""


@dataclass
class Orphans:
    """The archives without a source in some folders."""

    found: list[Orphan]
    unseen: list[FileRecord]
    """What could not be looked at."""


def orphans(
    plan: Plan, folders: Iterable[Path], sources: Iterable[Path], filters: Filters
) -> Orphans:
    """Return the archives in ``folders`` that no source of ``plan`` has as its target.

    What the plan could not look at may have sources: its ``refused`` tell. An archive of what the
    ``filters`` leave out of ``sources`` is none, whether its source is there or not: the run does not
    look at it.
    """
    folders = [folder for folder in folders if is_folder(folder)]
    archives = plan_batch(folders, _ARCHIVES)
    if not archives.jobs:
        return Orphans([], archives.refused)
    places = Places()
    targets = {places.of(job.target) for job in plan.jobs if job.target}
    targets |= {places.of(record.target) for record in plan.refused if record.target}
    for other in plan.other_files:  # which may have been named, and archived, in another run
        path = other.target or other.source
        targets.add(places.of(path.with_name(archive_name(path.name))))
    roots = [path for path in sources if is_folder(path)]
    filters = replace(filters, heeds_ignore_files=True)

    def is_left_out(path: Path) -> bool:
        folder = next(each for each in folders if path.is_relative_to(each))
        inner = path.relative_to(folder)
        parts = inner.with_name(name_without_archive_suffix(inner.name)).parts
        return any(_leaves_out(filters, root, parts) for root in roots)

    without = {places.of(job.source): job.source for job in archives.jobs}
    paths = [path for real, path in without.items() if real not in targets]
    if paths:  # a name in other letters, or composed otherwise, may be the same file
        identities = {_identity(job.target) for job in plan.jobs if job.target} - {None}
        paths = [path for path in paths if _identity(path) not in identities]
    found = [Orphan(path, _state(path)) for path in paths if not is_left_out(path)]
    return Orphans(found, archives.refused)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _state(path: Path) -> tuple[int, ...]:
    try:
        status = path.lstat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _leaves_out(filters: Filters, root: Path, parts: Parts) -> bool:
    try:
        return isinstance(filters.down_to(root, parts, is_folder=False), str)
    except OSError:  # its ignore file cannot be read: it may name the file
        return True


def lacks_archive(job: Job) -> bool:
    """Return whether the target of ``job`` is not there yet."""
    return job.target is not None and not os.path.lexists(job.target)


def find_moved(plan: Plan, orphaned: Sequence[Orphan]) -> None:
    """Tell the jobs without an archive which of ``orphaned`` may be theirs under an earlier name.

    Size and time of modification say so; whoever does the job compares the bytes.
    """
    if not orphaned:
        return
    from earzip.formats.archive.reader import ArchiveReader  # noqa: PLC0415  # loads numpy

    known = defaultdict(list)
    for path in (each.path for each in orphaned):
        with suppress(ArchiveError), ArchiveReader(path) as reader:
            source = reader.header.source
            known[source.n_bytes, source.mtime_ns].append((source.name, path))
    for i, job in enumerate(plan.jobs):
        if not lacks_archive(job):
            continue
        with suppress(OSError):
            candidates = known.get((job.n_bytes, job.source.stat().st_mtime_ns), [])
            same_name = [path for name, path in candidates if name == job.source.name]
            others = [path for name, path in candidates if name != job.source.name]
            plan.jobs[i] = replace(job, found=(*same_name, *others))


@dataclass
class Trash:
    """Where a run puts what is pruned: a new directory in `MODEL_FOLDER` of each of ``folders``."""

    folders: Sequence[Path]
    _of: dict[Path, Path] = field(default_factory=dict)

    def folder_of(self, path: Path) -> Path:
        """Return the one of the folders that ``path`` is in."""
        return next(each for each in self.folders if path.is_relative_to(each))

    def place_for(self, path: Path) -> Path:
        """Return where ``path`` goes."""
        folder = self.folder_of(path)
        if folder not in self._of:
            self._of[folder] = _unused_trash(folder)
        return self._of[folder] / path.relative_to(folder)


def prune(
    orphaned: Iterable[Orphan], trash: Trash, sources: Sequence[Path], *, dry_run: bool
) -> Iterator[FileRecord]:
    """Move archives into the ``trash``, with the pictures that they share; yield a record of each.

    One that has changed since it was found, or whose source is in one of ``sources`` now, stays.
    """
    for orphan in orphaned:
        path, target = orphan.path, trash.place_for(orphan.path)
        if dry_run:
            yield FileRecord(FileStatus.PLANNED, path, target, "its source is gone")
            continue
        inner = path.relative_to(trash.folder_of(path))
        source_name = name_without_archive_suffix(path.name)
        is_back = any(os.path.lexists(root / inner.with_name(source_name)) for root in sources)
        if is_back or _state(path) != orphan.state:
            yield FileRecord(
                FileStatus.SKIPPED, path, None, "it or its source has changed meanwhile"
            )
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_shared_pictures(path, target.parent)
            path.rename(target)
        except OSError as error:
            yield _not_moved(error, path, target)
            continue
        _remove_if_empty(path.parent, trash.folder_of(path))
        yield FileRecord(FileStatus.PRUNED, path, target)


def prune_pictures(
    trash: Trash, pruned: Collection[Path] = (), *, dry_run: bool
) -> Iterator[FileRecord]:
    """Move pictures that no archive beside them names into the ``trash``; yield a record of each.

    ``pruned``: archives that a run would have pruned, were it not a dry one. Pictures beside an archive
    that cannot be read stay: it may name them.
    """
    for path in _unnamed_pictures(trash.folders, pruned):
        target = trash.place_for(path)
        if dry_run:
            yield FileRecord(FileStatus.PLANNED, path, target, _UNNAMED)
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
            if _is_named(path):  # by an archive that has come meanwhile
                target.replace(path)
                continue
        except OSError as error:
            yield _not_moved(error, path, target)
            continue
        _remove_if_empty(path.parent, trash.folder_of(path))
        yield FileRecord(FileStatus.PRUNED, path, target, _UNNAMED)


def _not_moved(error: OSError, path: Path, target: Path) -> FileRecord:
    message = f"cannot be moved to the trash: {error.strerror or error}"
    return FileRecord(FileStatus.FAILED, path, target, message)


def _unnamed_pictures(folders: Sequence[Path], pruned: Collection[Path]) -> Iterator[Path]:
    jobs = plan_batch(folders, _PICTURES).jobs
    by_folder = groupby(sorted(job.source for job in jobs), key=lambda path: path.parent)
    for folder, paths in by_folder:
        with suppress(ArchiveError, OSError):
            named = _names_in(folder, pruned)
            yield from (path for path in paths if path.name not in named)


def shares_pictures(folder: Path) -> bool:
    """Return whether archives in ``folder`` share pictures that are there, as far as they can be read."""
    try:
        names = {path.name for path in folder.iterdir() if is_shared_picture_name(path.name)}
        return bool(names) and bool(names & _names_in(folder))
    except (ArchiveError, OSError):
        return False


def _is_named(picture: Path) -> bool:
    """Return whether an archive in the folder of ``picture`` may share it."""
    try:
        return picture.name in _names_in(picture.parent)
    except (ArchiveError, OSError):
        return True


def _names_in(folder: Path, but: Collection[Path] = ()) -> set[str]:
    """Return the names of the pictures that the archives in ``folder`` share.

    Raises ArchiveError for an archive that cannot be read, and OSError.
    """
    from earzip.formats.archive.reader import ArchiveReader  # noqa: PLC0415  # loads numpy

    names: set[str] = set()
    for path in folder.iterdir():
        if is_archive_name(path.name) and path not in but and not path.is_dir():
            with ArchiveReader(path, salvage=True) as reader:
                names |= {picture.name for picture in reader.header.shared or ()}
    return names


def copy_shared_pictures(archive: Path, folder: Path) -> None:
    """Put the pictures that ``archive`` shares into ``folder`` too, as far as they are there.

    Raises OSError.
    """
    from earzip.formats.archive.reader import ArchiveReader  # noqa: PLC0415  # loads numpy
    from earzip.formats.archive.shared import shared_paths  # noqa: PLC0415

    with suppress(ArchiveError), ArchiveReader(archive, salvage=True) as reader:
        for picture in reader.header.shared or ():
            target = folder / picture.name
            found = next(filter(Path.exists, shared_paths(archive, picture)), None)
            if found and not target.exists():
                shutil.copy2(found, target)


def _unused_trash(folder: Path) -> Path:
    """Return a directory for one run, which is not there yet."""
    name = time.strftime("%Y-%m-%dT%H%M%S")
    trash = folder / MODEL_FOLDER / TRASH
    names = chain([name], (f"{name}-{i}" for i in count(2)))
    return next(trash / each for each in names if not os.path.lexists(trash / each))


def _remove_if_empty(folder: Path, top: Path) -> None:
    _remove_unused_recovery(folder)
    with suppress(OSError):  # it is not
        while folder != top:
            folder.rmdir()
            folder = folder.parent


def _remove_unused_recovery(folder: Path) -> None:
    """Remove the recovery data of archives and pictures that are all gone: it would count as a loss."""
    inner = folder / MODEL_FOLDER
    with suppress(OSError):
        names = [path.name for path in folder.iterdir()]
        if not any(is_archive_name(name) or is_shared_picture_name(name) for name in names):
            (inner / RECOVERY_NAME).unlink(missing_ok=True)
            inner.rmdir()
