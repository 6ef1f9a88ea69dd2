"""A command over many files, from its plan to its exit code: bar, printing, signals."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace

from earzip.batch.plan import Job
from earzip.batch.run import Work, plan_only, run_batch
from earzip.batch.signals import StopSignal
from earzip.cli.options import RunOptions
from earzip.cli.output import Describe, Printer, Table
from earzip.cli.piping import PlannedRun
from earzip.cli.progress import ProgressBar
from earzip.errors import UsageError
from earzip.options import Progress
from earzip.report import FileRecord

OpenWork = Callable[[], AbstractContextManager[Work]]
"""Loads what the work needs, the network above all, and gives the work."""


def run_command(
    planned: PlannedRun,
    open_work: OpenWork,
    options: RunOptions,
    *,
    describe: Describe | None = None,
    table: Table | None = None,
) -> int:
    """Work on the jobs of a plan, print what becomes of them, and return the exit code.

    ``open_work`` is called only if there is something to do.
    """
    if options.as_json and planned.to_stdout:
        raise UsageError("--json and the result cannot both go to standard output")
    if not options.dry_run:
        planned.fetch()
    plan, piped = planned.plan, planned.piped
    n_bytes = sum(job.n_bytes for job in plan.jobs)
    with StopSignal(_say_that_it_stops) as stop, ProgressBar(len(plan.jobs), n_bytes) as bar:
        printer = Printer(options.as_json, describe, table, planned.to_stdout, bar.aside)

        def on_record(record: FileRecord, job: Job | None) -> None:
            if piped:
                source = piped.get(record.source, record.source)
                target = record.target and piped.get(record.target, record.target)
                record = replace(record, source=source, target=target)
            printer.record(record)
            if job is not None:
                bar.file_done(job.n_bytes)

        if options.dry_run:
            report = plan_only(plan, on_record, copy_others=options.copy_other)
        else:
            with open_work() if plan.jobs else nullcontext(_no_work) as work:
                report = run_batch(
                    plan,
                    work,
                    on_record,
                    stop=stop,
                    on_progress=bar.advance,
                    max_failures=options.max_failures,
                    copy_others=options.copy_other,
                    force=options.force,
                )
    printer.summary(report)
    return report.exit_code


def _say_that_it_stops() -> None:
    # Not through sys.stderr: a signal may come in the midst of a print, which cannot be entered twice.
    with suppress(OSError):
        os.write(2, b"\nearzip: stopping; a second Ctrl-C ends it at once\n")


def _no_work(job: Job, _on_progress: Progress) -> FileRecord:
    raise AssertionError(f"no work was opened for {job.source}")
