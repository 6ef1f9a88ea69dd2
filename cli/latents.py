"""``earzip latents``: the latents of archives, for training."""

from __future__ import annotations

from pathlib import Path

import click

from earzip.cli.help import EXIT_CODES
from earzip.cli.options import output_option, paths_argument
from earzip.cli.piping import NO_ARCHIVES, plan_run
from earzip.cli.run import run as run_task
from earzip.cli.run_options import RunOptions, run_options
from earzip.tasks import LATENTS_SUFFIX, LatentsTask, latents_to_extract


@click.command(epilog=EXIT_CODES, short_help="Extract latents as safetensors.")
@paths_argument
@output_option(
    "Directory for the results, which mirrors the tree of the archives; for one archive also a file "
    "ending in .safetensors.  [default: beside each archive]"
)
@run_options("force", "dry_run", "max_failures", "as_json")
def latents(*, paths: tuple[Path, ...], output: Path | None, run: RunOptions) -> int:
    """Write the latents of each archive: float32 [D, F], dequantised, as safetensors.

    PATH is an archive or a directory (searched recursively). song.flac.earz becomes
    song.flac.safetensors. Needs no model.
    """
    planning = plan_run(
        paths,
        output,
        latents_to_extract(),
        {LATENTS_SUFFIX},
        with_others=False,
        if_empty=NO_ARCHIVES,
    )
    return run_task(planning, LatentsTask(run.force), run, one_by_one=True)
