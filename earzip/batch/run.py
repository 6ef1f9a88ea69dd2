"""A run: a backend works on many files, and each finished file is recorded."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from earzip.batch.durations import longest_first
from earzip.batch.events import (
    Backend,
    Event,
    Exited,
    Failed,
    Finished,
    Opened,
    Progressed,
    Started,
    Waiting,
)
from earzip.batch.locks import claim, reap_claims
from earzip.batch.plan import Job, OtherFile, Plan
from earzip.batch.same_names import refuse_same_names
from earzip.batch.signals import Stop, StopRequested, StopSignal
from earzip.batch.threads import problem
from earzip.errors import EarzipError, LockedError, SourceError, TargetError
from earzip.formats.atomic import (
    atomic_write,
    look_again,
    make_folder,
    private_as,
    reap_stale,
    set_mtime,
)
from earzip.results import FileRecord, FileStatus, LostProcess, Progress, Report

OnRecord = Callable[[FileRecord, Job | None], None]
"""Called with each record, and the job that it finishes, if any."""
MakeBackend = Callable[[int], Backend]
"""Returns the backend for a number of jobs."""

OnProcess = Callable[[Opened | Waiting | LostProcess], None]
"""Called with each process that is ready to work, and with each that is lost."""

_TICK_S = 0.2
_COPY_BYTES = 1 << 20


def run_batch(
    plan: Plan,
    make_backend: MakeBackend,
    on_record: OnRecord,
    *,
    stop: StopSignal,
    up_to_date: Callable[[Job], FileRecord | None] = lambda _job: None,
    on_progress: Progress | None = None,
    on_tick: Callable[[Report], None] = lambda _report: None,
    on_process: OnProcess = lambda _process: None,
    max_failures: int | None = None,
    copy_others: bool = False,
    force: bool = False,
) -> Report:
    """Do the jobs of ``plan`` and return the report.

    Jobs that are ``up_to_date`` are recorded first. The backend of ``make_backend`` does the others. One
    process takes jobs in the order of the plan, several take the longest first. Temporary files of killed
    runs beside the targets are removed. ``copy_others`` copies the other files beside the results;
    ``force`` lets the copies replace files that differ. The run gives up once ``max_failures`` files have
    failed. ``on_tick`` is called at the start, with each job that is looked at, and several times a
    second. The files of a process that is lost are done by others; the run ends early once no process is
    left.

    Raises errors that stop every process: ModelNotFoundError, UsageError for the device, and the like.
    """
    run = _Run(plan, on_record, stop, on_progress, on_tick, on_process, max_failures)
    started = time.monotonic()
    refuse_same_names(plan, copies=copy_others)
    run.report.n_undone = len(plan.jobs)
    on_tick(run.report)
    for record in [*plan.beforehand, *plan.refused]:
        run.put_on_record(record)
    folders = _target_folders(plan, copies=copy_others)
    _reap(folders)
    jobs = run.settle(up_to_date)
    if jobs and run.goes_on:
        backend = make_backend(len(jobs))
        run.work(backend, longest_first(jobs) if backend.n_processes > 1 else jobs)
    run.handle_other_files(copy_others=copy_others, force=force)
    if jobs:
        _reap(folders)  # a killed run may have left some since the start
    return run.finished(time.monotonic() - started)


def plan_only(
    plan: Plan,
    on_record: OnRecord,
    planned: Callable[[Job, Progress], FileRecord | None] = lambda _job, _on_progress: None,
    *,
    stop: Stop,
    copy_others: bool = False,
) -> Report:
    """Return the report of a dry run: the files of `run_batch`. Nothing is written.

    ``planned`` returns the record of a job, or None; it calls what it is given as it reads.
    """
    report = Report(n_undone=len(plan.jobs))

    def record_of(job: Job) -> FileRecord:
        if stop.requested:
            raise StopRequested
        record = planned(job, lambda _seconds: stop.check())
        report.n_undone -= 1
        return record or _planned(job.source, job.target)

    records = chain(
        plan.beforehand,
        plan.refused,
        map(record_of, plan.jobs),
        (
            _planned(b.source, b.target) if copy_others and b.target else _skipped(b)
            for b in plan.other_files
        ),
    )
    try:
        for record in records:
            report.add(record)
            on_record(record, None)
    except StopRequested:
        report.stopped = True
    return report


@dataclass
class _Run:
    """The state of one run."""

    plan: Plan
    on_record: OnRecord
    stop: StopSignal
    on_progress: Progress | None
    on_tick: Callable[[Report], None]
    on_process: OnProcess
    max_failures: int | None
    report: Report = field(default_factory=Report)
    n_failed: int = 0
    n_jobs_done: int = 0
    n_other_files_seen: int = 0

    def settle(self, up_to_date: Callable[[Job], FileRecord | None]) -> list[Job]:
        """Record the jobs that are done already; return the others."""
        left = []
        for job in self.plan.jobs:
            if not self.goes_on:
                break
            record = up_to_date(job)
            if record is None:
                left.append(job)
            else:
                self.put_on_record(record, job)
            self.on_tick(self.report)
        return left

    def work(self, backend: Backend, jobs: Sequence[Job]) -> None:
        """Do ``jobs`` with ``backend``."""
        self.report.n_processes = backend.n_processes
        in_flight = _InFlight(jobs)
        with closing(backend):
            backend.start(jobs, self.stop)
            while not backend.is_done:
                event = backend.receive(_TICK_S)
                if event is not None:
                    self._take(event, in_flight)
                self.on_tick(self.report)
                if self.is_too_much:
                    self.stop.request(0)
        self.report.n_processes = backend.n_processes  # some may have come later
        self.report.died = in_flight.n_left > 0 and not self.stop.requested

    def handle_other_files(self, *, copy_others: bool, force: bool) -> None:
        """Copy the other files, or record that they are skipped."""
        for other in self.plan.other_files:
            if not self.goes_on:
                break
            self.n_other_files_seen += 1
            if copy_others and other.target is not None:
                try:
                    record = _copy(other, other.target, self.stop, force=force)
                except StopRequested:
                    self.n_other_files_seen -= 1
                    break
                self.put_on_record(record)
            else:
                self.put_on_record(_skipped(other))

    def finished(self, elapsed_s: float) -> Report:
        """Return the report of the run, which has ended."""
        report = self.report
        report.elapsed_s = elapsed_s
        if report.n_undone or self.n_other_files_seen < len(self.plan.other_files):
            report.gave_up = self.is_too_much
            report.stopped = self.stop.requested and not report.gave_up
        return report

    def put_on_record(self, record: FileRecord, job: Job | None = None) -> None:
        """Count a record and pass it on; ``job``: the one it finishes."""
        self.report.add(record)
        self.n_failed += record.status in (FileStatus.FAILED, FileStatus.DAMAGED)
        self.n_jobs_done += job is not None
        self.report.n_undone = len(self.plan.jobs) - self.n_jobs_done
        self.on_record(record, job)

    @property
    def goes_on(self) -> bool:
        """Whether further files are started."""
        return not self.stop.requested and not self.is_too_much

    @property
    def is_too_much(self) -> bool:
        """Whether ``max_failures`` files have failed."""
        return self.max_failures is not None and self.n_failed >= self.max_failures

    def _take(self, event: Event, in_flight: _InFlight) -> None:
        match event:
            case Started(index, rank):
                in_flight.owners[index] = rank
            case Progressed(seconds):
                self.report.coded_s += seconds
                if self.on_progress is not None:
                    self.on_progress(seconds)
            case Finished(index, record):
                # A process considered dead may still send a record.
                if in_flight.done(index):
                    self.put_on_record(in_flight.with_history(index, record), in_flight.jobs[index])
            case Opened() | Waiting():
                self.on_process(event)
            case Exited(rank, cause, device, _):
                if cause:
                    in_flight.lost(rank)
                    lost = LostProcess(rank, device, cause)
                    self.report.lost_processes.append(lost)
                    self.on_process(lost)
            case Failed(error):
                raise error


class _InFlight:
    """The jobs that are not done, and their ranks."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.owners: dict[int, int] = {}
        """The rank that works on a job."""
        self._lost_by: dict[int, int] = {}
        self._left = set(range(len(jobs)))

    @property
    def n_left(self) -> int:
        """Jobs without a record."""
        return len(self._left)

    def done(self, index: int) -> bool:
        """Remove a job; False if it was removed already."""
        self.owners.pop(index, None)
        was_left = index in self._left
        self._left.discard(index)
        return was_left

    def lost(self, rank: int) -> None:
        """Note that ``rank`` finishes none of its jobs."""
        for index in [index for index, owner in self.owners.items() if owner == rank]:
            self._lost_by[index] = self.owners.pop(index)

    def with_history(self, index: int, record: FileRecord) -> FileRecord:
        """Return ``record`` of a job with a warning if another rank was lost while it worked on it."""
        rank = self._lost_by.get(index)
        if rank in (None, record.rank) or record.status is FileStatus.FAILED:
            return record
        note = f"done again, since rank {rank} was lost while it worked on it"
        return replace(record, warnings=(*record.warnings, note))


def _target_folders(plan: Plan, *, copies: bool) -> set[Path]:
    targets = [job.target for job in plan.jobs]
    targets += [other.target for other in plan.other_files if copies]
    return {target.parent for target in targets if target is not None}


def _reap(folders: Iterable[Path]) -> None:
    """Remove the temporary files of killed runs in ``folders``."""
    for folder in folders:
        reap_stale(folder)
        reap_claims(folder)


def _copy(other: OtherFile, target: Path, stop: Stop, *, force: bool) -> FileRecord:
    try:
        make_folder(target)
        with claim(target):
            status = look_again(lambda: _copy_file(other.source, target, stop, force=force))
    except LockedError as error:
        return problem(FileStatus.LOCKED, other.source, target, error)
    except EarzipError as error:
        return problem(FileStatus.FAILED, other.source, target, error)
    return FileRecord(status, other.source, target)


def _copy_file(source: Path, target: Path, stop: Stop, *, force: bool) -> FileStatus:
    """Copy ``source`` with its time, as private as it is, unless ``target`` holds the same bytes.

    Nothing in a copy may be run by who could not run it before, so it is not executable. Raises
    `SourceError`, `TargetError`, or `StopRequested`; a file that differs is replaced only by ``force``.
    """
    try:
        # NONBLOCK: what has become a pipe in the meantime must not be waited for.
        with open(source, "rb", opener=_open_without_waiting) as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise SourceError("cannot copy: is not a regular file", source)
            if _holds_the_same(target, file, before.st_size, stop):
                return FileStatus.UP_TO_DATE
            file.seek(0)
            with atomic_write(target, replace=force, mode=private_as(before)) as copy:
                while block := file.read(_COPY_BYTES):
                    stop.check()
                    copy.write(block)
                copy.flush()
                set_mtime(copy.fileno(), before.st_mtime_ns, target)
                after = os.fstat(file.fileno())
                if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                    raise SourceError("changed while it was copied", source)
    except OSError as error:
        raise SourceError(f"cannot copy: {error.strerror or error}", source) from error
    return FileStatus.COPIED


def _holds_the_same(target: Path, source: BinaryIO, n_bytes: int, stop: Stop) -> bool:
    """Return whether ``target`` is a file of the bytes of ``source``, of which there are ``n_bytes``."""
    if not os.path.isfile(target):  # noqa: PTH113  # raises nothing
        return False
    try:
        with target.open("rb") as file:
            if os.fstat(file.fileno()).st_size != n_bytes:
                return False
            while block := source.read(_COPY_BYTES):
                stop.check()
                if file.read(len(block)) != block:
                    return False
    except OSError as error:
        raise TargetError(f"cannot be read: {error.strerror or error}", target) from error
    return True


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _skipped(other: OtherFile) -> FileRecord:
    return FileRecord(FileStatus.SKIPPED, other.source, None, other.reason)


def _planned(source: Path, target: Path | None) -> FileRecord:
    exists = target is not None and os.path.lexists(target)
    message = "exists; will be kept if up to date" if exists else None
    return FileRecord(FileStatus.PLANNED, source, target, message)
