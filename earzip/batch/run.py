"""Many files, one after the other: claimed, worked on, recorded. One bad file never stops a run."""

from __future__ import annotations

import os
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from filecmp import cmp
from pathlib import Path

from earzip.batch.claims import claim
from earzip.batch.plan import Bystander, Job, Plan
from earzip.batch.signals import StopRequested, StopSignal
from earzip.errors import EarzipError, LockedError, SourceError, TargetError
from earzip.formats.atomic import atomic_path, reap_stale
from earzip.options import Progress
from earzip.report import FileRecord, FileStatus, Report

Work = Callable[[Job, Progress], FileRecord]
"""Does one job, tells the seconds of audio done as it goes, returns the record."""
OnRecord = Callable[[FileRecord, Job | None], None]
"""Told of each record, and of the job that it ends, if it ends one."""


def run_batch(
    plan: Plan,
    work: Work,
    on_record: OnRecord,
    *,
    stop: StopSignal,
    on_progress: Progress | None = None,
    max_failures: int | None = None,
    copy_others: bool = False,
    force: bool = False,
) -> Report:
    """Do the jobs of ``plan`` in order and return the report.

    An `EarzipError` of ``work`` becomes the record of its file, and so does a bug, with its
    traceback: a night's run does not end at the one file that brings it out. A file whose target
    another run holds is tried once more after all others. ``copy_others`` copies the bystanders
    beside the results; ``force`` lets the copies replace files that differ. Once ``max_failures``
    files have failed the run gives up on the rest.
    """
    run = _Run(plan, work, on_record, stop, on_progress, max_failures)
    started = time.monotonic()
    try:
        run.do_all(copy_others=copy_others, force=force)
    except StopRequested:
        run.report.stopped = True
    except _TooManyFailuresError:
        run.report.gave_up = True
    run.report.elapsed_s = time.monotonic() - started
    return run.report


def plan_only(plan: Plan, on_record: OnRecord, *, copy_others: bool = False) -> Report:
    """Return the report of a dry run: what `run_batch` would work on. Nothing is written."""
    report = Report()
    records = [
        *plan.refused,
        *(_planned(job.source, job.target) for job in plan.jobs),
        *(
            _planned(b.source, b.target) if copy_others and b.target else _skipped(b)
            for b in plan.bystanders
        ),
    ]
    for record in records:
        report.add(record)
        on_record(record, None)
    return report


class _TooManyFailuresError(Exception):
    """Ends a run that has met ``max_failures``."""


@dataclass
class _Run:
    """The state of one run."""

    plan: Plan
    work: Work
    on_record: OnRecord
    stop: StopSignal
    on_progress: Progress | None
    max_failures: int | None
    report: Report = field(default_factory=Report)
    n_failed: int = 0
    prepared: set[Path] = field(default_factory=set)
    """Folders of targets that are there and clear of what killed runs have left."""

    def do_all(self, *, copy_others: bool, force: bool) -> None:
        self.report.n_undone = len(self.plan.jobs)
        for record in self.plan.refused:
            self._put_on_record(record)
        held = [job for job in self.plan.jobs if not self._do(job, wait_for_turn=True)]
        for job in held:
            self._do(job, wait_for_turn=False)
        for bystander in self.plan.bystanders:
            self._require_go()
            if copy_others and bystander.target is not None:
                self._put_on_record(self._copy(bystander, bystander.target, force=force))
            else:
                self._put_on_record(_skipped(bystander))

    def _do(self, job: Job, *, wait_for_turn: bool) -> bool:
        """Do ``job`` and put it on record; False if it is locked and may be tried later."""
        self._require_go()
        try:
            if job.target is None:
                record = self.work(job, self._advance)
            else:
                self._prepare_folder(job.target)
                with claim(job.target):
                    record = self.work(job, self._advance)
        except LockedError as error:
            if wait_for_turn:
                return False
            record = _problem(FileStatus.LOCKED, job.source, job.target, error)
        except EarzipError as error:
            record = _problem(FileStatus.FAILED, job.source, job.target, error)
        except Exception as error:  # recorded with its traceback, and exit code 1
            record = _bug(job, error)
        self.report.n_undone -= 1
        self._put_on_record(record, job)
        return True

    def _require_go(self) -> None:
        self.stop.check()
        if self.max_failures is not None and self.n_failed >= self.max_failures:
            raise _TooManyFailuresError

    def _advance(self, seconds: float) -> None:
        self.stop.check()
        self.report.coded_s += seconds
        if self.on_progress is not None:
            self.on_progress(seconds)

    def _put_on_record(self, record: FileRecord, job: Job | None = None) -> None:
        self.report.add(record)
        self.on_record(record, job)
        self.n_failed += record.status in (FileStatus.FAILED, FileStatus.DAMAGED)

    def _prepare_folder(self, target: Path) -> None:
        """Make the folder of ``target``, and clear it of what killed runs have left, once a run."""
        folder = target.parent
        if folder in self.prepared:
            return
        missing = [folder]
        try:
            # Not mkdir(parents=True), which recurses: folders may be nested deeper than calls.
            while not missing[-1].exists():
                missing.append(missing[-1].parent)
            for each in reversed(missing):
                each.mkdir(exist_ok=True)
        except OSError as error:
            reason = error.strerror or error
            raise TargetError(f"its folder cannot be made: {reason}", target) from error
        reap_stale(folder)
        self.prepared.add(folder)

    def _copy(self, bystander: Bystander, target: Path, *, force: bool) -> FileRecord:
        try:
            self._prepare_folder(target)
            with claim(target):
                status = _copy_file(bystander.source, target, force=force)
        except LockedError as error:
            return _problem(FileStatus.LOCKED, bystander.source, target, error)
        except EarzipError as error:
            return _problem(FileStatus.FAILED, bystander.source, target, error)
        return FileRecord(status, bystander.source, target)


def _copy_file(source: Path, target: Path, *, force: bool) -> FileStatus:
    """Copy ``source`` with its times and permissions, unless ``target`` holds the same bytes.

    Raises `SourceError` or `TargetError`; a file that differs is replaced only by ``force``.
    """
    try:
        if target.is_file() and cmp(source, target, shallow=False):
            return FileStatus.UP_TO_DATE
        with atomic_path(target, replace=force) as temporary:
            shutil.copy2(source, temporary)
    except OSError as error:
        raise SourceError(f"cannot be copied: {error.strerror or error}", source) from error
    return FileStatus.COPIED


def _problem(
    status: FileStatus, source: Path, target: Path | None, error: EarzipError
) -> FileRecord:
    about_source = error.path is None or error.path == str(source)
    return FileRecord(status, source, target, error.message if about_source else str(error))


def _bug(job: Job, error: Exception) -> FileRecord:
    message = f"internal error: {type(error).__name__}: {error}"
    where = "".join(traceback.format_exception(error))
    return FileRecord(FileStatus.FAILED, job.source, job.target, message, traceback=where)


def _skipped(bystander: Bystander) -> FileRecord:
    return FileRecord(FileStatus.SKIPPED, bystander.source, None, bystander.reason)


def _planned(source: Path, target: Path | None) -> FileRecord:
    exists = target is not None and os.path.lexists(target)
    message = "there is one, left if it is up to date" if exists else None
    return FileRecord(FileStatus.PLANNED, source, target, message)
