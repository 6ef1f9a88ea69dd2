"""A command over many files, from its plan to its exit code: bar, printing, signals, processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from earzip.batch.events import Crew, OpenWork, Work
from earzip.batch.launched import Launch, Launched, Meeting, take_part
from earzip.batch.locks import RunLock
from earzip.batch.metrics_file import MetricsWriter
from earzip.batch.plan import Job, Plan, estimated_s, is_folder
from earzip.batch.processes import Processes
from earzip.batch.run import Already, Muster, plan_only, run_batch
from earzip.batch.shard import only_shard
from earzip.batch.signals import StopSignal
from earzip.batch.workers import Threads
from earzip.cli.options import BatchOptions, RunOptions
from earzip.cli.output import Describe, Printer, Table, count, log
from earzip.cli.piping import PlannedRun
from earzip.cli.progress import ProgressBar
from earzip.errors import UsageError
from earzip.results import FileRecord, FileStatus, Report
from earzip.runtime import Placement, placements, tracks_at_once


def run_command(
    planned: PlannedRun,
    open_work: Callable[[], AbstractContextManager[Work]],
    options: RunOptions,
    *,
    describe: Describe | None = None,
    table: Table | None = None,
) -> int:
    """Work on the jobs of a plan one after the other, print what becomes of them, return the exit code.

    ``open_work`` loads what the work needs; it is called only if there is something to do.
    """
    printer = Printer(options.as_json, describe, table, planned.to_stdout)
    _fetch(planned, options)
    with StopSignal(_say_that_it_stops) as stop:
        return _run(planned, lambda _: Threads(lambda _: open_work()), options, stop, printer)


class Opening(Protocol):
    """How the work of a command is opened in a process, and what is done without it."""

    def __call__(self, placement: Placement) -> AbstractContextManager[Work]:
        """Load what the work needs, and give it; an `earzip.batch.events.OpenWork`."""

    def already(self, job: Job) -> FileRecord | None:
        """Return the record of a job that is done already, seen at a glance."""


@dataclass(frozen=True)
class Place:
    """What a command line is about: a command, its paths and where the results go."""

    command: str
    paths: Sequence[Path]
    output: Path | None

    @property
    def folders(self) -> list[Path]:
        """The folders that a run holds a lock on: none if it is not over a folder."""
        folders = [path for path in self.paths if is_folder(path)]
        return [self.output] if folders and self.output is not None else folders


def run_shared(
    plan: Callable[[], AbstractContextManager[PlannedRun]],
    opening: Callable[[PlannedRun], Opening],
    options: RunOptions,
    batch: BatchOptions,
    place: Place,
    *,
    describe: Describe | None = None,
) -> int:
    """Share the jobs of a plan out among processes, print what becomes of them, return the exit code.

    ``opening`` tells how the work is opened in each process. Under `accelerate launch` and torchrun the
    process of rank 0 plans and prints; what it returns is the exit code of the run.
    """
    launch = Launch.from_environment()
    stop = StopSignal(lambda: _say_that_it_stops(batch.grace_s), grace_s=batch.grace_s)
    with ExitStack() as stack:
        if launch:
            # Some of its processes may be signalled again, or later: until all have left.
            stack.enter_context(stop)
        meeting = stack.enter_context(Meeting(launch)) if launch else None
        if launch and meeting and launch.rank:
            placement = _placement_of(launch, batch)
            take_part(
                meeting,
                opening(PlannedRun(Plan())),
                placement,
                stop,
                tracks_at_once(placement.runtime),
            )
            return 0
        if launch and batch.processes:
            log("warning", "--processes is for the launcher to say here, and is ignored")
        planned = stack.enter_context(plan())
        if batch.shard:
            planned = replace(planned, plan=only_shard(planned.plan, batch.shard, place.paths))
        elif not (planned.plan.jobs or planned.plan.refused):
            log("warning", f"nothing to {place.command} in {', '.join(map(str, place.paths))}")
        printer = Printer(options.as_json, describe, None, planned.to_stdout)
        path = None if options.dry_run else batch.metrics
        metrics = MetricsWriter(path, place.command, place.output, batch.shard)
        lock = None
        # A shard without files is done too: the marks of all go when all are.
        has_part = bool(planned.plan.jobs or batch.shard)
        if has_part and not (options.dry_run or batch.no_lock):
            lock = stack.enter_context(RunLock(place.command, place.folders, batch.shard))
            for note in lock.notes:
                log("info", note)
        _fetch(planned, options)
        if not launch:
            # Not before: while no file is in hand a signal ends planning, or standard input, at once.
            stack.enter_context(stop)
        stack.enter_context(metrics)  # now that the file is no other run's

        def muster(n_jobs: int) -> Crew:
            open_work = opening(planned)
            if launch and meeting:
                placement = _placement_of(launch, batch)
                crew: Crew = Launched(
                    meeting, open_work, placement, tracks_at_once(placement.runtime)
                )
            else:
                with printer.aside():
                    crew = _crew(open_work, batch, n_jobs, stop)
            printer.names_ranks = crew.n_processes > 1
            return crew

        already = opening(planned).already
        return _run(planned, muster, options, stop, printer, already, metrics, lock)


def _crew(open_work: OpenWork, batch: BatchOptions, n_jobs: int, stop: StopSignal) -> Crew:
    places = placements(batch.runtime, batch.processes, n_jobs)
    n_threads = tracks_at_once(places[0].runtime)
    if len(places) == 1:
        return Threads(open_work, places[0], n_threads)
    devices = ", ".join(dict.fromkeys(_device_name(placement) for placement in places))
    threads = count(places[0].runtime.threads or 0, "thread")
    log("info", f"{len(places)} processes on {devices}, {threads} each")
    crew = Processes(open_work, places, n_threads)
    stop.at_once = crew.kill
    return crew


def _device_name(placement: Placement) -> str:
    return "the CPU" if placement.runtime.device in ("auto", "cpu") else placement.runtime.device


def _placement_of(launch: Launch, batch: BatchOptions) -> Placement:
    """Return where this of the processes of a launcher works: they take turns at their machine's GPUs."""
    local = placements(batch.runtime, launch.local_world_size, launch.local_world_size)
    placement = local[launch.local_rank]
    # What accelerate takes would be a matter for all processes together.
    device = "cpu" if placement.runtime.device == "auto" else placement.runtime.device
    return Placement(launch.rank, replace(placement.runtime, device=device))


def _fetch(planned: PlannedRun, options: RunOptions) -> None:
    """Read what is piped in, unless it is a dry run. Raises UsageError."""
    if options.as_json and planned.to_stdout:
        raise UsageError("--json and the result cannot both go to standard output")
    if not options.dry_run:
        planned.fetch()


def _run(
    planned: PlannedRun,
    muster: Muster,
    options: RunOptions,
    stop: StopSignal,
    printer: Printer,
    already: Already = lambda _job: None,
    metrics: MetricsWriter | None = None,
    lock: RunLock | None = None,
) -> int:
    plan, piped = planned.plan, planned.piped
    n_bytes = sum(job.n_bytes for job in plan.jobs)
    with ProgressBar(len(plan.jobs), n_bytes, sum(map(estimated_s, plan.jobs))) as bar:
        printer.aside = bar.aside

        def on_record(record: FileRecord, job: Job | None) -> None:
            if piped:
                source = piped.get(record.source, record.source)
                target = record.target and piped.get(record.target, record.target)
                record = replace(record, source=source, target=target)
            printer.record(record)
            if job is not None:
                bar.file_done(job.n_bytes, _seconds_of_work(record))

        if options.dry_run:
            report = plan_only(plan, on_record, copy_others=options.copy_other)
        else:
            report = run_batch(
                plan,
                muster,
                on_record,
                stop=stop,
                already=already,
                on_progress=bar.advance,
                on_tick=metrics.tick if metrics else _ignore,
                max_failures=options.max_failures,
                copy_others=options.copy_other,
                force=options.force,
            )
    if lock and not report.n_undone:
        lock.done()
    if metrics and not options.dry_run:
        metrics.finish(report)
    printer.summary(report)
    return report.exit_code


def _seconds_of_work(record: FileRecord) -> float | None:
    """Return the seconds of audio that went into a file that is done; None where nobody counts them."""
    if record.status in (FileStatus.UP_TO_DATE, FileStatus.FAILED, FileStatus.LOCKED):
        return 0.0
    seconds = record.figures.get("duration_s")
    return seconds if isinstance(seconds, int | float) else None


def _ignore(_report: Report) -> None:
    pass


def _say_that_it_stops(grace_s: float = 0.0) -> None:
    more = f"files in hand have {grace_s:g} s more; " if grace_s else ""
    # Not through sys.stderr: a signal may come in the midst of a print, which cannot be entered twice.
    with suppress(OSError):
        os.write(2, f"\nearzip: stopping; {more}a second Ctrl-C ends it at once\n".encode())
