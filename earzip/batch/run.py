"""A run: many files worked on by a crew, each put on record as it is done."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from filecmp import cmp
from pathlib import Path

from earzip.batch.events import Advanced, Began, Broke, Crew, Ended, Event, Recorded
from earzip.batch.locks import claim, reap_claims
from earzip.batch.plan import Bystander, Job, Plan, longest_first
from earzip.batch.signals import StopSignal
from earzip.batch.workers import problem
from earzip.errors import EarzipError, LockedError, SourceError
from earzip.formats.atomic import atomic_path, make_folder, reap_stale
from earzip.results import FileRecord, FileStatus, Progress, Report

OnRecord = Callable[[FileRecord, Job | None], None]
"""Told of each record, and of the job that it ends, if it ends one."""
Already = Callable[[Job], FileRecord | None]
"""Gives the record of a job that is done already, seen at a glance; None for one to be worked on."""

Muster = Callable[[int], Crew]
"""Gives the crew for a number of jobs."""

_TICK_S = 0.2


def run_batch(
    plan: Plan,
    muster: Muster,
    on_record: OnRecord,
    *,
    stop: StopSignal,
    already: Already = lambda _job: None,
    on_progress: Progress | None = None,
    on_tick: Callable[[Report], None] = lambda _report: None,
    max_failures: int | None = None,
    copy_others: bool = False,
    force: bool = False,
) -> Report:
    """Have the jobs of ``plan`` done and return the report.

    Jobs that are done ``already`` are put on record first. If others are left, the crew that ``muster``
    gives does them. One process takes jobs in the order of the plan, several take the longest first.
    What killed runs have left beside the targets is removed. ``copy_others`` copies the bystanders beside
    the results; ``force`` lets the copies replace files that differ. Once ``max_failures`` files have
    failed the run gives up on the rest. ``on_tick`` is called at the beginning, and some times a second.

    Raises what keeps the whole crew from its work: ModelNotFoundError, UsageError for its device, and the
    like.
    """
    run = _Run(plan, on_record, stop, on_progress, on_tick, max_failures)
    run.report.n_undone = len(plan.jobs)
    started = time.monotonic()
    on_tick(run.report)
    for record in plan.refused:
        run.put_on_record(record)
    folders = _target_folders(plan, copies=copy_others)
    _reap(folders)
    jobs = run.settle(already)
    if jobs and run.goes_on:
        crew = muster(len(jobs))
        run.work(crew, longest_first(jobs) if crew.n_processes > 1 else jobs)
    run.see_to_others(copy_others=copy_others, force=force)
    if jobs:
        _reap(folders)  # the last process of a killed run may still have been dying
    return run.finished(time.monotonic() - started)


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


@dataclass
class _Run:
    """The state of one run."""

    plan: Plan
    on_record: OnRecord
    stop: StopSignal
    on_progress: Progress | None
    on_tick: Callable[[Report], None]
    max_failures: int | None
    report: Report = field(default_factory=Report)
    n_failed: int = 0
    n_jobs_done: int = 0
    n_bystanders_seen: int = 0

    def settle(self, already: Already) -> list[Job]:
        """Put on record what is done already; return the other jobs."""
        left = []
        for job in self.plan.jobs:
            if not self.goes_on:
                break
            record = already(job)
            if record is None:
                left.append(job)
            else:
                self.put_on_record(record, job)
        return left

    def work(self, crew: Crew, jobs: Sequence[Job]) -> None:
        """Have ``jobs`` done."""
        self.report.n_processes = crew.n_processes
        hands = _Hands(jobs)
        with closing(crew):
            crew.start(jobs, self.stop)
            while not crew.is_done:
                event = crew.receive(_TICK_S)
                if event is not None:
                    self._take(event, hands)
                self.on_tick(self.report)
                if self.is_too_much:
                    self.stop.request(0)
        if self.stop.requested:
            return
        # All has been dealt out, unless nobody was left to take it.
        for index in hands.never_heard_of() if hands.some_ended_well else ():
            self._lose(jobs[index], "the process that took it ended")
        self.report.died = not hands.some_ended_well

    def see_to_others(self, *, copy_others: bool, force: bool) -> None:
        """Copy the bystanders, or say that they are left aside."""
        for bystander in self.plan.bystanders:
            if not self.goes_on:
                break
            self.n_bystanders_seen += 1
            if copy_others and bystander.target is not None:
                self.put_on_record(_copy(bystander, bystander.target, force=force))
            else:
                self.put_on_record(_skipped(bystander))

    def finished(self, elapsed_s: float) -> Report:
        """Return the report of the run, which has ended."""
        report = self.report
        report.elapsed_s = elapsed_s
        if report.n_undone or self.n_bystanders_seen < len(self.plan.bystanders):
            report.gave_up = self.is_too_much
            report.stopped = self.stop.requested and not report.gave_up
        return report

    def put_on_record(self, record: FileRecord, job: Job | None = None) -> None:
        """Count a record and pass it on; ``job``: the one that it ends."""
        self.report.add(record)
        self.n_failed += record.status in (FileStatus.FAILED, FileStatus.DAMAGED)
        self.n_jobs_done += job is not None
        self.report.n_undone = len(self.plan.jobs) - self.n_jobs_done
        self.on_record(record, job)

    @property
    def goes_on(self) -> bool:
        """Whether further files are begun."""
        return not self.stop.requested and not self.is_too_much

    @property
    def is_too_much(self) -> bool:
        """Whether as many files have failed as the run puts up with."""
        return self.max_failures is not None and self.n_failed >= self.max_failures

    def _take(self, event: Event, hands: _Hands) -> None:
        match event:
            case Began(index, rank):
                hands.holders[index] = rank
            case Advanced(seconds):
                self.report.coded_s += seconds
                if self.on_progress is not None:
                    self.on_progress(seconds)
            case Recorded(index, record):
                # Not that of a process that was silent, is back, and was taken to have lost the file.
                if hands.done(index):
                    self.put_on_record(record, hands.jobs[index])
            case Ended(rank, cause):
                hands.some_ended_well |= cause is None
                if cause:
                    self.report.lost_ranks[rank] = cause
                for index in hands.held_by(rank) if cause and not self.stop.requested else ():
                    if hands.done(index):
                        self._lose(hands.jobs[index], f"the process that worked on it {cause}")
            case Broke(error):
                raise error

    def _lose(self, job: Job, why: str) -> None:
        message = f"{why}; run again to do it"
        self.put_on_record(FileRecord(FileStatus.FAILED, job.source, job.target, message), job)


class _Hands:
    """Which jobs are in whose hands."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.holders: dict[int, int] = {}
        """The rank that has a job in hand."""
        self.some_ended_well = False
        self._left = set(range(len(jobs)))

    def done(self, index: int) -> bool:
        """Take a job off; False if it was off already."""
        self.holders.pop(index, None)
        was_left = index in self._left
        self._left.discard(index)
        return was_left

    def held_by(self, rank: int) -> list[int]:
        """Return the jobs that ``rank`` has in hand."""
        return [index for index, holder in self.holders.items() if holder == rank]

    def never_heard_of(self) -> list[int]:
        """Return the jobs of which nobody has said what became of them."""
        return sorted(self._left)


def _target_folders(plan: Plan, *, copies: bool) -> set[Path]:
    targets = [job.target for job in plan.jobs]
    targets += [bystander.target for bystander in plan.bystanders if copies]
    return {target.parent for target in targets if target is not None}


def _reap(folders: Iterable[Path]) -> None:
    """Remove what killed runs have left in ``folders``."""
    for folder in folders:
        reap_stale(folder)
        reap_claims(folder)


def _copy(bystander: Bystander, target: Path, *, force: bool) -> FileRecord:
    try:
        make_folder(target)
        with claim(target):
            status = _copy_file(bystander.source, target, force=force)
    except LockedError as error:
        return problem(FileStatus.LOCKED, bystander.source, target, error)
    except EarzipError as error:
        return problem(FileStatus.FAILED, bystander.source, target, error)
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


def _skipped(bystander: Bystander) -> FileRecord:
    return FileRecord(FileStatus.SKIPPED, bystander.source, None, bystander.reason)


def _planned(source: Path, target: Path | None) -> FileRecord:
    exists = target is not None and os.path.lexists(target)
    message = "there is one, left if it is up to date" if exists else None
    return FileRecord(FileStatus.PLANNED, source, target, message)
