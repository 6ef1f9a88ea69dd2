"""Archives as a mirror of their sources: which have no source any more, and whose source was moved."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from earzip.batch.filters import Filters, Parts
from earzip.batch.plan import Job, Plan, Selection, is_folder, plan_batch
from earzip.errors import ArchiveError
from earzip.formats.names import MODEL_FOLDER, is_archive_name, name_without_archive_suffix
from earzip.results import FileRecord, FileStatus

TRASH = "trash"
"""Where archives without a source go, in `MODEL_FOLDER` of the directory that they are in."""

_ARCHIVES = Selection(takes=is_archive_name, otherwise="not an archive")


def orphans(
    plan: Plan, folders: Iterable[Path], sources: Iterable[Path], filters: Filters
) -> list[Path]:
    """Return the archives in ``folders`` that no source of ``plan`` has as its target.

    What the plan could not look at may have sources: its ``refused`` tell. An archive of what the
    ``filters`` leave out of ``sources`` is none, whether its source is there or not: the run does not
    look at it.
    """
    targets = {_real(job.target) for job in plan.jobs if job.target}
    targets |= {_real(record.target) for record in plan.refused if record.target}
    folders = [folder for folder in folders if is_folder(folder)]
    found = plan_batch(folders, _ARCHIVES)
    roots = [path for path in sources if is_folder(path)]
    filters = replace(filters, heeds_ignore_files=True)

    def is_left_out(path: Path) -> bool:
        folder = next(each for each in folders if path.is_relative_to(each))
        inner = path.relative_to(folder)
        parts = inner.with_name(name_without_archive_suffix(inner.name)).parts
        return any(_leaves_out(filters, root, parts) for root in roots)

    without = (job.source for job in found.jobs if _real(job.source) not in targets)
    return [path for path in without if not is_left_out(path)]


def _leaves_out(filters: Filters, root: Path, parts: Parts) -> bool:
    try:
        return isinstance(filters.down_to(root, parts, is_folder=False), str)
    except OSError:  # its ignore file cannot be read: it may name the file
        return True


def lacks_archive(job: Job) -> bool:
    """Return whether the target of ``job`` is not there yet."""
    return job.target is not None and not os.path.lexists(job.target)


def _real(path: Path) -> str:
    return os.path.join(os.path.realpath(path.parent), path.name)  # noqa: PTH118


def find_moved(plan: Plan, orphaned: Sequence[Path]) -> None:
    """Tell the jobs without an archive which of ``orphaned`` may be theirs under an earlier name.

    Size and time of modification say so; whoever does the job compares the bytes.
    """
    if not orphaned:
        return
    from earzip.formats.archive.reader import ArchiveReader  # noqa: PLC0415  # loads numpy

    known = defaultdict(list)
    for path in orphaned:
        with suppress(ArchiveError), ArchiveReader(path) as reader:
            source = reader.header.source
            known[source.n_bytes, source.mtime_ns].append((source.name, path))
    for i, job in enumerate(plan.jobs):
        if not lacks_archive(job):
            continue
        with suppress(OSError):
            candidates = known.get((job.n_bytes, job.source.stat().st_mtime_ns), [])
            same_name = [path for name, path in candidates if name == job.source.name]
            others = [path for _, path in candidates]
            plan.jobs[i] = replace(job, found=next(iter(same_name + others), None))


def prune(
    orphaned: Iterable[Path], folders: Sequence[Path], *, dry_run: bool
) -> Iterator[FileRecord]:
    """Move archives into the trash of that of ``folders`` which they are in; yield a record of each."""
    now = time.strftime("%Y-%m-%dT%H%M%S")
    for path in orphaned:
        folder = next(each for each in folders if path.is_relative_to(each))
        target = folder / MODEL_FOLDER / TRASH / now / path.relative_to(folder)
        if dry_run:
            yield FileRecord(FileStatus.PLANNED, path, target, "its source is gone")
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        except OSError as error:
            message = f"cannot be moved to the trash: {error.strerror or error}"
            yield FileRecord(FileStatus.FAILED, path, target, message)
            continue
        _remove_if_empty(path.parent, folder)
        yield FileRecord(FileStatus.PRUNED, path, target)


def _remove_if_empty(folder: Path, top: Path) -> None:
    with suppress(OSError):  # it is not
        while folder != top:
            folder.rmdir()
            folder = folder.parent
