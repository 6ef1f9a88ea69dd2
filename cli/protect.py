"""``earzip protect``: recovery data of archives and the pictures that they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import click

from earzip.batch.jobs import Job
from earzip.batch.places import is_folder
from earzip.cli.help import sectioned_command
from earzip.cli.options import paths_argument
from earzip.cli.piping import PlannedRun, plan_reading
from earzip.cli.run import run as run_task
from earzip.cli.run_options import AMOUNT, RunOptions, run_options
from earzip.errors import UsageError
from earzip.tasks import ProtectTask


@sectioned_command("Make recovery data of archives, with par2.")
@paths_argument
@click.option(
    "--redundancy",
    metavar="PERCENT",
    type=click.IntRange(1, 100),
    default=10,
    show_default=True,
    help="How much of a directory's archives and shared pictures may be lost and repaired.",
)
@run_options("force", "max_failures", "as_json", *AMOUNT, "processes", "no_lock")
def protect(*, paths: tuple[Path, ...], redundancy: int, run: RunOptions) -> int:
    """Make recovery data for each directory of archives, with which earzip repair mends them.

    PATH is a directory (searched recursively). The data is .earzip/recovery.par2 in each directory, in
    the format PAR 2.0, and covers pictures that the archives share too. It is made anew when archives
    were added or changed, if all are intact (else 4). Where nothing has changed no archive is checked:
    earzip verify finds damage. Needs the program par2 (par2cmdline).
    """
    for path in paths:
        if path.exists() and not is_folder(path):
            raise UsageError("is not a directory; recovery data is of whole directories", path)
    return run_task(
        _by_folder(plan_reading(paths)), ProtectTask(redundancy, run.force), run, one_by_one=True
    )


@contextmanager
def _by_folder(planning: AbstractContextManager[PlannedRun]) -> Iterator[PlannedRun]:
    """Give the plan with a job for each directory of archives."""
    with planning as planned:
        n_bytes: Counter[Path] = Counter()
        for job in planned.plan.jobs:
            n_bytes[job.source.parent] += job.n_bytes
        planned.plan.jobs = [Job(folder, None, n) for folder, n in n_bytes.items()]
        yield planned
