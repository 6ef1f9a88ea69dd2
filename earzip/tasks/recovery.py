"""Recovery data of folders of archives and the pictures that they share, and what it brings back."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from earzip.batch.events import Work
from earzip.batch.jobs import Job
from earzip.errors import (
    ArchiveError,
    DamagedArchiveError,
    EarzipError,
    UnsupportedArchiveError,
    count,
)
from earzip.formats.names import is_shared_picture_name
from earzip.results import FileRecord, FileStatus, Progress
from earzip.runtime import Placement
from earzip.tasks.always import AlwaysToDo
from earzip.tasks.messages import first_few
from earzip.tasks.verify import DAMAGED_PICTURES, check_structure, lacks_only_pictures

if TYPE_CHECKING:
    from earzip.formats.archive.recovery import RecoveryData

_REPLACEABLE = "is gone: earzip repair brings it back, earzip protect --force forgets it"
BEYOND_REPAIR = (
    "is gone, with too little recovery data to bring it back; earzip protect --force forgets it"
)
"""Of a file that is gone, if `earzip repair` cannot bring back all that is gone from its folder."""


@dataclass(frozen=True)
class ProtectTask(AlwaysToDo):
    """Makes recovery data of the archives in a folder, the source of the job, unless it fits them."""

    redundancy: int
    force: bool = False
    name: ClassVar[str] = "protect"

    def up_to_date(self, job: Job) -> FileRecord | None:
        """Return the record of a folder whose recovery data fits its archives."""
        from earzip.formats.archive.recovery import RecoveryData  # noqa: PLC0415  # loads numpy

        try:
            data = None if self.force else RecoveryData.read(job.source)
            if data is None or not data.fits(job.source, self.redundancy):
                return None
        except EarzipError:  # the work will meet it again
            return None
        figures = {"recovery_bytes": data.path.stat().st_size}
        gone = data.gone(job.source)
        told = tuple(f"{name} {told_of_gone(data, gone)}" for name in first_few(gone))
        return FileRecord(
            FileStatus.UP_TO_DATE, job.source, data.path, warnings=told, figures=figures
        )

    @contextmanager
    def opened(self, _placement: Placement) -> Iterator[Work]:
        """Give the work. Raises UsageError without par2."""
        from earzip.formats.archive.recovery import require_par2  # noqa: PLC0415

        require_par2()
        yield self._protect

    def _protect(self, job: Job, on_progress: Progress) -> FileRecord:
        from earzip.formats.archive.recovery import RecoveryData, make_recovery  # noqa: PLC0415

        before = RecoveryData.read(job.source)
        gone = before.gone(job.source) if before else []
        try:
            data = make_recovery(job.source, self.redundancy, lambda: on_progress(0))
        except DamagedArchiveError as error:
            return FileRecord(FileStatus.DAMAGED, job.source, None, error.message)
        return FileRecord(
            FileStatus.WRITTEN,
            job.source,
            data.path,
            _contents(data.files),
            warnings=tuple(
                f"{name} is gone, and not protected any more" for name in first_few(gone)
            ),
            figures={
                "recovery_bytes": data.path.stat().st_size,
                "checked_bytes": sum(size for size, _ in data.files.values()),
            },
        )


def told_of_gone(data: RecoveryData, gone: Collection[str]) -> str:
    """Return what is told of each of the files that are ``gone`` from a folder, and what to do."""
    return _REPLACEABLE if data.can_replace(gone) else BEYOND_REPAIR


def _contents(names: Collection[str]) -> str:
    """Return how many archives and pictures there are of these names."""
    n_pictures = sum(map(is_shared_picture_name, names))
    archives = count(len(names) - n_pictures, "archive")
    return f"{archives}, {count(n_pictures, 'shared picture')}" if n_pictures else archives


@dataclass(frozen=True)
class RepairTask(AlwaysToDo):
    """Checks an archive, and puts back what is damaged or missing in its folder from recovery data.

    A shared picture that is damaged or missing may be a job too: archives that have it are intact once it
    is back.
    """

    name: ClassVar[str] = "repair"

    @contextmanager
    def opened(self, _placement: Placement) -> Iterator[Work]:
        """Give the work. Raises UsageError without par2."""
        from earzip.formats.archive.recovery import require_par2  # noqa: PLC0415

        require_par2()
        yield partial(_repair, _Mender())


@dataclass
class _Mender:
    """Mends each folder once, and knows why it could not be."""

    reasons: dict[Path, str] = field(default_factory=dict)
    put_back: set[Path] = field(default_factory=set)

    def mend(self, folder: Path, on_progress: Progress) -> str:
        """Mend ``folder``; return why an archive is damaged after it, if one is."""
        if folder not in self.reasons:
            self.reasons[folder] = self._mend(folder, on_progress)
        return self.reasons[folder]

    def _mend(self, folder: Path, on_progress: Progress) -> str:
        from earzip.formats.archive.recovery import RecoveryData, mend  # noqa: PLC0415

        try:
            data = RecoveryData.read(folder)
            if data is None:
                return "its directory has no recovery data (earzip protect)"
            for path in mend(data, folder, lambda: on_progress(0)):
                self.put_back.add(path)
        except EarzipError as error:
            return str(error)
        return "it was added or changed after the recovery data was made"


def _repair(mender: _Mender, job: Job, on_progress: Progress) -> FileRecord:
    found = _checked(job, on_progress)
    if found.status is FileStatus.INTACT:
        was_repaired = job.source in mender.put_back  # with another of its folder
        return replace(found, status=FileStatus.REPAIRED) if was_repaired else found
    reason = mender.mend(job.source.parent, on_progress)
    now = _checked(job, on_progress)
    if now.status is FileStatus.INTACT:
        if lacks_only_pictures(found):  # which have jobs of their own
            return now
        return replace(now, status=FileStatus.REPAIRED, message=found.message)
    why = f"; not repaired: {reason}"
    pictures = now.figures.get(DAMAGED_PICTURES)
    figures = dict(now.figures)
    if isinstance(pictures, Mapping):
        figures[DAMAGED_PICTURES] = {path: f"{fault}{why}" for path, fault in pictures.items()}
    return replace(now, message=f"{now.message}{why}", figures=figures)


def _checked(job: Job, on_progress: Progress) -> FileRecord:
    """Return the record of a check, for which what is missing or no archive is damaged too."""
    if not job.source.exists():
        return FileRecord(FileStatus.DAMAGED, job.source, message="is missing")
    if is_shared_picture_name(job.source.name):
        return _checked_picture(job)
    try:
        return check_structure(job, on_progress)[0]
    except UnsupportedArchiveError:
        raise
    except ArchiveError as error:
        return FileRecord(FileStatus.DAMAGED, job.source, message=error.message)


def _checked_picture(job: Job) -> FileRecord:
    from earzip.formats.archive.shared import (  # noqa: PLC0415  # loads numpy
        fault_of,
        holds_its_picture,
    )

    if not holds_its_picture(job.source):
        return FileRecord(FileStatus.DAMAGED, job.source, message=fault_of(job.source))
    return FileRecord(FileStatus.INTACT, job.source)
