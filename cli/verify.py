"""``earzip verify``: whether archives are whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import click

from earzip.batch.checked import CheckedLog, default_checked_path
from earzip.batch.filters import ALL, Choice
from earzip.batch.shard import Subset, only_subset
from earzip.cli.choice import choice_options
from earzip.cli.help import sectioned_command
from earzip.cli.lost import lost_archives
from earzip.cli.mending import say_how_to_archive_again, say_how_to_repair
from earzip.cli.piping import PlannedRun, plan_reading
from earzip.cli.run import run as run_task
from earzip.cli.run_options import AMOUNT, SCHEDULING, RunOptions, run_options
from earzip.cli.runtime_options import decoding_options
from earzip.cli.stores import stand_ins, takes_urls
from earzip.cli.streams import log
from earzip.cli.values import ParsedBy
from earzip.cli.where import Query, matching, where_option
from earzip.errors import count
from earzip.results import FileRecord, FileStatus
from earzip.runtime import Runtime
from earzip.tasks import VerifyTask
from earzip.tasks.recovery import BEYOND_REPAIR

_AGE = re.compile(r"(\d{1,6})([hdw])", re.ASCII)
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}


class _Age(click.ParamType[float]):
    name = "age"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds that an age stands for."""
        if isinstance(value, float):
            return value
        found = _AGE.fullmatch(value)
        if not found:
            expected = "a whole number of hours, days or weeks, as 36h, 30d or 4w"
            self.fail(f"{value!r} is not an age, expected {expected}", param, ctx)
        return 3600.0 * int(found[1]) * _HOURS[found[2]]


@sectioned_command("Check archives for damage.")
@choice_options
@where_option
@click.option("--decode", is_flag=True, help="Also decode all audio, without writing it.")
@click.option(
    "--subset",
    metavar="I/N",
    type=ParsedBy(Subset, "subset"),
    help="Check the I-th of N parts of the archives, counted from 1. Its archives stay in it as others "
    "come and go. auto/N takes the next part each day.",
)
@click.option(
    "--older-than",
    "older_than_s",
    metavar="AGE",
    type=_Age(),
    help="Check only archives that you have not found intact on this machine for so long, as 36h, 30d or "
    "4w, or that have changed since. With --decode only checks with --decode count.",
)
@run_options("max_failures", "as_json", *AMOUNT, *SCHEDULING)
@decoding_options
@takes_urls
def verify(
    *,
    paths: tuple[Path, ...],
    choice: Choice,
    where: Query | None,
    decode: bool,
    subset: Subset | None,
    older_than_s: float | None,
    run: RunOptions,
    runtime: Runtime,
) -> int:
    """Check every byte of archives against their checksums, and their structure.

    PATH is an archive or a directory (searched recursively). Only --decode needs the model, and runs on
    every GPU. A file that is not an archive fails (3); a file named .earz that is empty or starts with
    zeros, as after a crash, is damaged (4). So counts an archive of a directory that earzip protect has
    seen there, and that is gone.
    """
    if not decode:  # without a look at the GPUs, which would load torch
        runtime = replace(runtime, device="cpu")
    files = stand_ins()
    with CheckedLog(
        default_checked_path(),
        lambda text: log("warning", text),
        decoded=decode,
        named=files.named if files else str,
    ) as checked:
        planning = plan_reading(paths, choice)
        if choice == ALL and not where and not files:
            planning = _with_lost(planning)
        planning = _due(planning, checked, subset, older_than_s, quiet=run.quiet)
        damaged: list[Path] = []
        mendable: list[Path] = []

        def note(record: FileRecord) -> None:
            checked.note(record)
            if record.status is FileStatus.DAMAGED:
                damaged.append(record.source)
                if record.message != BEYOND_REPAIR:
                    mendable.append(record.source)

        code = run_task(
            matching(planning, where),
            VerifyTask(decode),
            run,
            runtime,
            one_by_one=not decode,
            keeps_results=older_than_s is not None,  # it leaves out what this one has checked
            noted=note,
        )
    if damaged and not run.quiet:
        say_how_to_repair(mendable, paths)
        say_how_to_archive_again(damaged, paths)
    return code


@contextmanager
def _with_lost(planning: AbstractContextManager[PlannedRun]) -> Iterator[PlannedRun]:
    """Give the plan with a record of each archive that is gone from directories with recovery data."""
    with planning as planned:
        planned.plan.beforehand += lost_archives(planned.paths)
        yield planned


@contextmanager
def _due(
    planning: AbstractContextManager[PlannedRun],
    checked: CheckedLog,
    subset: Subset | None,
    older_than_s: float | None,
    *,
    quiet: bool,
) -> Iterator[PlannedRun]:
    """Give the plan with the archives that are due."""
    with planning as planned:
        if subset:
            n_all = len(planned.plan.jobs)
            only_subset(planned.plan, subset, planned.paths)
            if not quiet:
                n = len(planned.plan.jobs)
                log(
                    "info",
                    f"part {subset.number} of {subset.count}: {n} of {count(n_all, 'archive')}",
                )
        checked.watch(planned.plan)
        if older_than_s is not None:
            checked.leave_out(planned.plan, older_than_s)
        is_part = subset is not None or older_than_s is not None
        yield replace(planned, is_part=is_part)
