"""A command over many files, from its plan to its exit code: bar, printing, signals, processes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from earzip.batch.events import Backend, Reads, Task
from earzip.batch.jobs import Job, estimated_s
from earzip.batch.launched import LaunchedBackend, run_worker
from earzip.batch.locks import RunLock
from earzip.batch.metrics_file import MetricsWriter
from earzip.batch.processes import ProcessBackend
from earzip.batch.rendezvous import Launch, Rendezvous
from earzip.batch.run import plan_only, run_batch
from earzip.batch.shard import Shard, only_shard
from earzip.batch.signals import StopSignal
from earzip.batch.threads import ThreadBackend
from earzip.cli.output import USUAL, Describe, Printer, Table, usual_in
from earzip.cli.piping import PlannedRun
from earzip.cli.progress import ProgressBar
from earzip.cli.run_options import RunOptions
from earzip.cli.stores import stand_ins
from earzip.cli.streams import echo, log, only_results_on_stdout
from earzip.errors import ExitCode, LockedError, UsageError, count
from earzip.results import FileRecord, FileStatus, Report
from earzip.runtime import (
    AUTOMATIC,
    GPU_BATCH,
    Placement,
    Runtime,
    has_unused_gpu,
    keep_freed_memory,
    placements,
    tracks_at_once,
)

Beforehand = Callable[[PlannedRun, bool], list[FileRecord]]
"""Called with a plan and whether the run is a dry one; returns records of what it has done."""

Afterwards = Callable[[PlannedRun, Report], Iterable[FileRecord]]
"""Called with a plan of which nothing is left to do, and what came of it; yields further records."""


def run(
    planning: AbstractContextManager[PlannedRun],
    task: Task,
    options: RunOptions,
    runtime: Runtime | None = None,
    *,
    one_by_one: bool = False,
    beforehand: Beforehand | None = None,
    afterwards: Afterwards = lambda _planned, _report: (),
    failing: frozenset[FileStatus] = frozenset(),
    usual: frozenset[FileStatus] = USUAL,
    keeps_results: bool = True,
    describe: Describe | None = None,
    table: Table | None = None,
    noted: Callable[[FileRecord], None] = lambda _record: None,
) -> int:
    """Plan, share the jobs among processes, print a record of each, return the exit code.

    ``runtime`` says where the processes work, this one on the CPU if it is None; ``one_by_one``: each
    works on one file at a time; ``beforehand`` does what comes before the jobs, if there are any,
    ``afterwards`` what follows them unless the run ends early; a file of a status in ``failing`` counts
    as failed, of a directory those of a status in ``usual`` are only counted; without ``keeps_results``
    a run that is stopped leaves nothing to go on from; ``noted`` is called with each record once it is
    printed. Under `accelerate launch` and torchrun the process of
    rank 0 plans and prints; what it returns is the exit code of the run.
    """
    keep_freed_memory()
    files = stand_ins()
    task = files.staged(task) if files else task
    workers = _Workers(task, runtime or Runtime("cpu"), options, one_by_one)
    launch = Launch.from_environment() if runtime else None
    if options.engine == "ray" and launch:
        raise UsageError("--engine ray and a launcher, accelerate or torchrun, exclude each other")
    stop = StopSignal(lambda: _say_stopping(options.grace_s), grace_s=options.grace_s)
    with ExitStack() as stack:
        rendezvous = None
        if launch:
            # Processes may be signalled again, or later, until all have exited.
            stack.enter_context(stop)
            rendezvous = stack.enter_context(Rendezvous(launch))
            if launch.rank:
                workers.join_run(rendezvous, stop)
                return ExitCode.OK
            if options.processes:
                log("warning", "--processes is ignored: the launcher sets the number of processes")
        planned = _own_part(stack.enter_context(planning), options.shard, task)
        is_part = options.shard or planned.is_part
        if runtime and not (is_part or planned.plan.jobs or planned.plan.refused):
            log("warning", f"nothing to {task.name} in {', '.join(map(str, planned.paths))}")
        _require_streams(planned, options)
        path = None if options.dry_run else options.metrics
        output = planned.output and ((files and files.url_of(planned.output)) or planned.output)
        metrics = MetricsWriter(path, task.name, output, options.shard, _warn)
        if planned.plan.jobs and not (options.dry_run or options.no_lock):
            with _recorded(planned, as_json=options.as_json):
                stack.enter_context(RunLock(task.name, planned.folders, options.shard))
        if not options.dry_run:
            planned.fetch()
        if beforehand and planned.plan.jobs:
            planned.plan.beforehand += beforehand(planned, options.dry_run)
        if not launch:
            # Not before: while no file is in progress a signal ends planning, or standard input, at once.
            stack.enter_context(stop)
        stack.enter_context(metrics)  # now that no other run holds the file
        printer = Printer(options.as_json, describe, table, planned.to_stdout, quiet=options.quiet)
        if not options.verbose:
            named = {(files and files.url_of(path)) or path for path in planned.named}
            printer.counts_only = usual_in(named, usual)
        printer.keeps_results = keeps_results
        report = _run(
            planned,
            workers,
            options,
            stop,
            printer,
            metrics,
            rendezvous,
            afterwards,
            failing,
            noted,
        )
        return report.exit_code


@contextmanager
def _recorded(planned: PlannedRun, *, as_json: bool) -> Iterator[None]:
    """Print as JSON that another run holds the lock of a directory; who called says it in text."""
    try:
        yield
    except LockedError as error:
        if as_json:
            folder = Path(error.path) if error.path else planned.folders[0]
            report = Report(n_undone=len(planned.plan.jobs))
            record = FileRecord(FileStatus.LOCKED, folder, None, error.message)
            report.add(record)
            for line in (record, report):
                echo(json.dumps(line.to_json()))
        raise


def _require_streams(planned: PlannedRun, options: RunOptions) -> None:
    """Raise UsageError for a run that standard input or output does not do for."""
    if options.engine == "ray" and (planned.piped or planned.to_stdout):
        raise UsageError("--engine ray needs files that all machines of the cluster see")
    if options.as_json and planned.to_stdout:
        raise UsageError("--json and the result cannot both go to standard output")


@dataclass(frozen=True)
class _Workers:
    """Makes the backend of a run."""

    task: Task
    runtime: Runtime
    options: RunOptions
    one_by_one: bool

    def join_run(self, rendezvous: Rendezvous, stop: StopSignal) -> None:
        """Work as another rank than 0 of a launcher."""
        placement = self._placement(rendezvous.launch)
        run_worker(rendezvous, self.task, placement, stop, self._n_threads(placement))

    def of_launcher(self, rendezvous: Rendezvous) -> Backend:
        """Return the processes of a launcher."""
        placement = self._placement(rendezvous.launch)
        return LaunchedBackend(rendezvous, self.task, placement, self._n_threads(placement))

    def of_ray(self, n_jobs: int, cluster: ExitStack) -> Backend:
        """Return actors of a Ray cluster; ``cluster`` ends the connection to it."""
        from earzip.batch.ray_backend import (  # noqa: PLC0415  # an extra
            RayBackend,
            connected,
            require_device,
        )

        require_device(self.runtime)
        cluster.enter_context(only_results_on_stdout())
        cluster.enter_context(connected())
        return RayBackend(
            self.task,
            n_jobs,
            self.runtime,
            n_actors=self.options.processes,
            gpus=self.options.gpus_per_process,
        )

    def of_this_machine(self, n_jobs: int, stop: StopSignal) -> Backend:
        """Return threads of this process, or processes of this machine."""
        places = placements(self.runtime, self.options.processes, n_jobs)
        n_threads = self._n_threads(places[0])
        if len(places) == 1:
            return ThreadBackend(self.task, places[0], n_threads)
        devices = ", ".join(dict.fromkeys(_device_name(each.runtime.device) for each in places))
        threads = count(places[0].runtime.threads or 0, "thread")
        if not self.options.quiet:
            log("info", f"{len(places)} processes on {devices}, {threads} each")
        backend = ProcessBackend(self.task, places, n_threads)
        stop.at_once = backend.kill
        return backend

    def _n_threads(self, placement: Placement) -> int:
        return 1 if self.one_by_one else tracks_at_once(placement.runtime)

    def _placement(self, launch: Launch) -> Placement:
        """Return where this process of a launcher works: they take turns at their machine's GPUs."""
        local = placements(self.runtime, launch.local_world_size, launch.local_world_size)
        here = local[launch.local_rank]
        runtime = here.runtime
        # Under accelerate all processes would have to agree.
        device = "cpu" if runtime.device == "auto" else runtime.device
        return Placement(launch.rank, replace(runtime, device=device), here.is_named)


_UNUSED_GPU = (
    "the network runs on the CPU: this machine has an NVIDIA GPU, but this PyTorch is built without "
    "CUDA; install its default build, or say --devices cpu"
)


def _how_on_gpu(runtime: Runtime) -> str:
    precision = "float32" if runtime.precision == AUTOMATIC else runtime.precision
    return f"in {precision}, up to {runtime.batch_size or GPU_BATCH} windows of sound at a time"


def _device_name(device: str) -> str:
    return "the CPU" if device in ("auto", "cpu") else device


def _own_part(planned: PlannedRun, shard: Shard | None, task: Task) -> PlannedRun:
    """Return what of a plan is this run's to do. Raises SourceError where a store cannot be asked."""
    files = stand_ins()
    if files:
        files.refuse_odd(planned.plan)
    if shard:
        planned = replace(planned, plan=only_shard(planned.plan, shard, planned.paths))
    if files:
        files.with_remotes(planned.plan)
        files.expect(planned.plan, with_tags=task.reads is Reads.FACTS)
    return planned


def _run(
    planned: PlannedRun,
    workers: _Workers,
    options: RunOptions,
    stop: StopSignal,
    printer: Printer,
    metrics: MetricsWriter,
    rendezvous: Rendezvous | None,
    afterwards: Afterwards,
    failing: frozenset[FileStatus],
    noted: Callable[[FileRecord], None],
) -> Report:
    plan, piped = planned.plan, planned.piped
    n_bytes = sum(job.n_bytes for job in plan.jobs)
    expected_s = sum(map(estimated_s, plan.jobs))
    bar_shown = ProgressBar(len(plan.jobs), n_bytes, expected_s, shown=not options.quiet)
    with bar_shown as bar, ExitStack() as cluster:
        printer.aside = bar.aside

        def on_record(record: FileRecord, job: Job | None) -> None:
            planned.deliver(record.target)  # first: what says that it is written must be true
            if piped:
                source = piped.get(record.source, record.source)
                target = record.target and piped.get(record.target, record.target)
                message = record.message and record.message.replace(str(record.source), str(source))
                record = replace(record, source=source, target=target, message=message)
            files = stand_ins()
            printer.record(files.renamed(record) if files else record)
            if job is not None:
                n_read = record.figures.get("checked_bytes", 0)
                assert isinstance(n_read, int)
                bar.file_done(job.n_bytes, _seconds_of_work(record), n_read=n_read)
            noted(record)

        def make_backend(n_jobs: int) -> Backend:
            with printer.aside():
                if options.engine == "ray":
                    backend = workers.of_ray(n_jobs, cluster)
                elif rendezvous:
                    backend = workers.of_launcher(rendezvous)
                else:
                    backend = workers.of_this_machine(n_jobs, stop)
                    if n_jobs > 1 and workers.runtime.device == "auto" and has_unused_gpu():
                        _warn(_UNUSED_GPU)
                if n_jobs > 1:  # a single file is soon done, wherever
                    printer.how_on_gpu = _how_on_gpu(workers.runtime)
            printer.names_ranks = backend.n_processes > 1
            return backend

        if options.dry_run:
            report = plan_only(
                plan, on_record, workers.task.planned, stop=stop, copy_others=options.copy_other
            )
        else:
            report = run_batch(
                plan,
                make_backend,
                on_record,
                stop=stop,
                up_to_date=workers.task.up_to_date,
                on_progress=bar.advance,
                on_tick=metrics.tick,
                on_process=printer.process,
                max_failures=options.max_failures,
                copy_others=options.copy_other,
                force=options.force,
            )
        if not (report.stopped or report.gave_up or report.died):
            for record in afterwards(planned, report):
                report.add(record)
                on_record(record, None)
    report.failing = failing
    if not options.dry_run:
        metrics.finish(report)
    printer.summary(report)
    return report


_NO_WORK = {
    FileStatus.UP_TO_DATE,
    FileStatus.RETAGGED,
    FileStatus.REPICTURED,
    FileStatus.MOVED,
    FileStatus.FAILED,
    FileStatus.LOCKED,
}


def _seconds_of_work(record: FileRecord) -> float | None:
    """Return the seconds of audio that went into a file that is done; None if they are not known."""
    if record.status in _NO_WORK:
        return 0.0
    seconds = record.figures.get("duration_s")
    return seconds if isinstance(seconds, int | float) else None


def _warn(text: str) -> None:
    log("warning", text)


def _say_stopping(grace_s: float) -> None:
    more = f"files in progress have {grace_s:g} s; " if grace_s else ""
    # Not through sys.stderr: a signal may interrupt a print, which is not reentrant.
    with suppress(OSError):
        os.write(2, f"\nearzip: stopping; {more}press Ctrl-C again to exit at once\n".encode())
