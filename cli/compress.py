"""``earzip compress``: sound files into archives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click

from earzip.cli.options import (
    EXIT_CODES,
    BatchOptions,
    RunOptions,
    batch_options,
    output_option,
    paths_argument,
    run_options,
)
from earzip.cli.output import measures_text, size
from earzip.cli.piping import STDIO, PlannedRun, plan_run
from earzip.cli.run import Opening, Place, run_shared
from earzip.errors import UsageError
from earzip.formats.names import ARCHIVE_SUFFIX, name_without_archive_suffix
from earzip.metrics import require_eval
from earzip.models.spec import DEFAULT_MODEL, QUALITIES
from earzip.models.store import find_model
from earzip.options import (
    BELOW_FLOOR,
    BelowFloor,
    CompressOptions,
    Floor,
)
from earzip.results import FileRecord


@click.command(epilog=EXIT_CODES, short_help="Sound files into archives.")
@paths_argument
@output_option(
    "Folder for the archives, in the same tree as their sources; or, for one source, a file that "
    "ends in .earz, or - for standard output.  [default: beside each source]"
)
@click.option(
    "--quality",
    type=click.Choice(QUALITIES),
    default="medium",
    show_default=True,
    help="About 6, 11 or 23 kbps with mini; `earzip models list` has the rates of other models.",
)
@click.option(
    "--model",
    metavar="NAME",
    default=DEFAULT_MODEL,
    show_default=True,
    help="The model to encode with: a name of `earzip models list`, or a .json file.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Decode what was written, and store in the archive how near it comes to the source.",
)
@click.option(
    "--min-si-sdr",
    metavar="DB",
    type=float,
    help="Floor: the least SI-SDR of a track, in dB. Implies --check.",
)
@click.option(
    "--max-mel",
    metavar="X",
    type=float,
    help="Floor: the greatest mel distance of a track. Implies --check.",
)
@click.option(
    "--below-floor",
    type=click.Choice(BELOW_FLOOR),
    default="keep",
    show_default=True,
    help="A track below the floor: keep the archive and say so, fail and write none, or store the "
    "track lossless inside of the archive.",
)
@click.option(
    "--verify-sources",
    is_flag=True,
    help="Compare sources with their archives by SHA-256, and read archives whole, instead of "
    "comparing size and time of modification.",
)
@run_options("force", "copy_other", "dry_run", "max_failures", "as_json")
@batch_options
def compress(
    *,
    paths: tuple[Path, ...],
    output: Path | None,
    quality: str,
    model: str,
    check: bool,
    min_si_sdr: float | None,
    max_mel: float | None,
    below_floor: BelowFloor,
    verify_sources: bool,
    run: RunOptions,
    batch: BatchOptions,
) -> int:
    """Write an archive of each sound file: song.flac becomes song.flac.earz.

    A PATH is a file, a folder (searched to its end for sound files) or - for standard input.
    Archives that are up to date are skipped; one of another quality or model is made anew. A file
    that cannot be read is named and the others go on. Sources are never touched.
    """
    if run.copy_other and output in (None, STDIO):
        raise UsageError("--copy-other needs a folder to copy to: -o DIR")
    floor = _floor(min_si_sdr, max_mel, below_floor)
    options = CompressOptions(
        model=model,
        quality=quality,
        force=run.force,
        check=check,
        floor=floor,
        verify_sources=verify_sources,
    )
    if options.checks:
        require_eval()
    find_model(model)  # one that is not there is told of in a dry run too

    def opening(planned: PlannedRun) -> Opening:
        from earzip.tasks import OpenCompress  # noqa: PLC0415  # loads numpy

        names = dict.fromkeys(planned.piped, _name_of_stdin(output))
        return OpenCompress(options, names)

    def plan() -> AbstractContextManager[PlannedRun]:
        from earzip.tasks import sources_to_compress  # noqa: PLC0415  # loads numpy

        return plan_run(paths, output, sources_to_compress(), {ARCHIVE_SUFFIX})

    return run_shared(
        plan,
        opening,
        run,
        batch,
        Place("compress", paths, output),
        describe=_describe,
    )


def _floor(min_si_sdr_db: float | None, max_mel: float | None, below: BelowFloor) -> Floor | None:
    """Return the floor that the options ask for, None for none; UsageError if they contradict."""
    if (min_si_sdr_db, max_mel) != (None, None):
        return Floor(min_si_sdr_db, max_mel, below)
    if below != "keep":
        raise UsageError(f"--below-floor {below} needs a floor: --min-si-sdr or --max-mel")
    return None


def _name_of_stdin(output: Path | None) -> str:
    """Return the name that the archive gives its source: what the archive's own name says."""
    return name_without_archive_suffix(output.name) if output and output != STDIO else ""


def _describe(record: FileRecord) -> Iterator[str]:
    """Yield what the check found, and why a track is stored exactly."""
    figures: Any = record.figures
    if figures.get("measures"):
        yield f"check: {measures_text(figures['measures'])}"
    if n_bytes := figures.get("exact_bytes"):
        why = ", ".join(figures["below_floor"]) or "kept from an earlier run"
        if figures["measures"] is None:
            why = "silence, or too short to measure"
        yield f"exact copy: {size(n_bytes)}; {why}"
