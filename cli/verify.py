"""``earzip verify``: whether archives are whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from earzip.batch.filters import Choice
from earzip.cli.choice import choice_options
from earzip.cli.options import (
    AMOUNT,
    EXIT_CODES,
    SCHEDULING,
    RunOptions,
    SectionedCommand,
    decoding_options,
    run_options,
)
from earzip.cli.piping import plan_reading
from earzip.cli.run import run as run_task
from earzip.cli.where import Query, matching, where_option
from earzip.runtime import Runtime
from earzip.tasks import VerifyTask


@click.command(cls=SectionedCommand, epilog=EXIT_CODES, short_help="Check archives for damage.")
@choice_options
@where_option
@click.option("--decode", is_flag=True, help="Also decode all audio, without writing it.")
@run_options("max_failures", "as_json", *AMOUNT, *SCHEDULING)
@decoding_options
def verify(
    *,
    paths: tuple[Path, ...],
    choice: Choice,
    where: Query | None,
    decode: bool,
    run: RunOptions,
    runtime: Runtime,
) -> int:
    """Check every byte of archives against their checksums, and their structure.

    PATH is an archive or a directory (searched recursively). Only --decode needs the model, and runs on
    every GPU. A file that is not an archive fails (3); a file named .earz that is empty or starts with
    zeros, as after a crash, is damaged (4).
    """
    if not decode:  # without a look at the GPUs, which would load torch
        runtime = replace(runtime, device="cpu")
    planning = matching(plan_reading(paths, choice), where)
    task = VerifyTask(decode)
    return run_task(planning, task, run, runtime, one_by_one=not decode, keeps_results=False)
