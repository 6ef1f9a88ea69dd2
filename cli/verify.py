"""``earzip verify``: whether archives are whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import click

from earzip.batch.events import Work
from earzip.batch.plan import Job, Selection, plan_batch
from earzip.cli.options import (
    EXIT_CODES,
    RunOptions,
    network_options,
    paths_argument,
    run_options,
)
from earzip.cli.piping import PlannedRun
from earzip.cli.run import run_command
from earzip.formats.names import is_archive_name
from earzip.results import FileRecord, FileStatus, Progress
from earzip.runtime import Runtime


@click.command(epilog=EXIT_CODES, short_help="Check archives for damage.")
@paths_argument
@click.option(
    "--decode", is_flag=True, help="Also run the decoder over all of the sound, writing nothing."
)
@run_options("max_failures", "as_json")
@network_options
def verify(
    *,
    paths: tuple[Path, ...],
    decode: bool,
    run: RunOptions,
    runtime: Runtime,
) -> int:
    """Check every byte of archives against their checksums, and their structure.

    A PATH is an archive or a folder, searched to its end for archives. Only --decode needs the
    model. A file that is no archive at all has failed (3); one that is named .earz and is empty or
    begins with zeros is damaged (4), as what a crash has left.
    """
    selection = Selection(takes=is_archive_name, otherwise="not an archive")
    plan = plan_batch(paths, selection)
    plan.bystanders.clear()
    if (
        not plan.jobs and not plan.refused
    ):  # a wrong folder, or a disk that is not mounted, is not intact
        for path in paths:
            plan.refuse(path, "holds no archive")

    @contextmanager
    def open_decoder() -> Iterator[Work]:
        from earzip.models.pool import CodecPool  # noqa: PLC0415  # loads numpy
        from earzip.transcode.sound import decode_check  # noqa: PLC0415  # loads numpy

        with CodecPool(runtime.checked()) as codecs:

            def work(job: Job, on_progress: Progress) -> FileRecord:
                record = _check_structure(job, on_progress)
                if record.status is not FileStatus.INTACT:
                    return record
                problems = decode_check(job.source, codecs=codecs, on_progress=on_progress)
                return _record(job.source, problems, record.figures["lost_segments"])

            yield work

    open_work = open_decoder if decode else lambda: nullcontext(_check_structure)
    return run_command(PlannedRun(plan), open_work, run)


def _check_structure(job: Job, _on_progress: Progress) -> FileRecord:
    from earzip.transcode.inspect import verify_archive  # noqa: PLC0415  # loads numpy

    result = verify_archive(job.source)
    problems = [f"{damage.part}: {damage.message}" for damage in result.damages]
    return _record(job.source, problems, list(result.lost_segments))


def _record(archive: Path, problems: list[str], lost_segments: object) -> FileRecord:
    return FileRecord(
        FileStatus.DAMAGED if problems else FileStatus.INTACT,
        archive,
        message=_in_short(problems),
        figures={"damages": problems, "lost_segments": lost_segments},
    )


def _in_short(problems: list[str]) -> str | None:
    """Return the first of ``problems`` as one sentence; the records in JSON have all."""
    left_out = len(problems) - _MAX_NAMED
    more = [f"and {left_out} more"] if left_out > 0 else []
    return "; ".join(problems[:_MAX_NAMED] + more) or None


_MAX_NAMED = 5
