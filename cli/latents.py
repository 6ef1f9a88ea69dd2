"""``earzip latents``: the latents of archives, for people who train on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from earzip.batch.events import Work
from earzip.batch.plan import Job, Selection
from earzip.cli.options import (
    EXIT_CODES,
    RunOptions,
    output_option,
    paths_argument,
    run_options,
)
from earzip.cli.piping import plan_run
from earzip.cli.run import run_command
from earzip.formats.names import is_archive_name, name_without_archive_suffix
from earzip.results import FileRecord, FileStatus, Progress

_SUFFIX = ".safetensors"


@click.command(epilog=EXIT_CODES, short_help="Archives into latents, as safetensors.")
@paths_argument
@output_option(
    "Folder for the results, in the same tree as the archives; or, for one archive, a file that "
    "ends in .safetensors.  [default: beside each archive]"
)
@run_options("force", "dry_run", "max_failures", "as_json")
def latents(
    *,
    paths: tuple[Path, ...],
    output: Path | None,
    run: RunOptions,
) -> int:
    """Write the latents of each archive: float32 [D, F], dequantised, as safetensors.

    A PATH is an archive or a folder, searched to its end for archives. song.flac.earz becomes
    song.flac.safetensors. Needs no model.
    """
    selection = Selection(
        takes=is_archive_name,
        otherwise="not an archive",
        target_name=lambda path: name_without_archive_suffix(path.name) + _SUFFIX,
    )

    @contextmanager
    def open_work() -> Iterator[Work]:
        from earzip.transcode.latents import extract_latents  # noqa: PLC0415  # loads numpy

        def work(job: Job, _on_progress: Progress) -> FileRecord:
            assert job.target is not None
            result = extract_latents(job.source, job.target, force=run.force)
            return FileRecord(
                FileStatus(result.status),
                result.archive,
                result.target,
                figures={"n_latents": result.n_latents, "n_frames": result.n_frames},
            )

        yield work

    with plan_run(paths, output, selection, {_SUFFIX}) as planned:
        planned.plan.bystanders.clear()
        return run_command(planned, open_work, run)
