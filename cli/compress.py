"""``earzip compress``: sound files into archives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from earzip.cli.options import (
    EXIT_CODES,
    SCHEDULING,
    RunOptions,
    SectionedCommand,
    output_option,
    paths_argument,
    quality_from_text,
    run_options,
    runtime_options,
)
from earzip.cli.output import measures_text, size
from earzip.cli.piping import STDIO, plan_run
from earzip.cli.run import run as run_task
from earzip.errors import UsageError
from earzip.formats.names import ARCHIVE_SUFFIX, name_without_archive_suffix
from earzip.metrics import require_eval
from earzip.models.store import find_model
from earzip.options import BELOW_FLOOR, DEFAULT_MODEL, BelowFloor, CompressOptions, Floor
from earzip.results import FileRecord
from earzip.runtime import Runtime
from earzip.tasks import CompressTask, sources_to_compress


@click.command(cls=SectionedCommand, epilog=EXIT_CODES, short_help="Compress audio files.")
@paths_argument
@output_option(
    "Directory for the archives, which mirrors the tree of the sources; for one source also a file "
    "ending in .earz, or - for standard output.  [default: beside each source]"
)
@click.option(
    "--quality",
    type=quality_from_text,
    metavar="low|medium|high|0-10",
    default="medium",
    show_default=True,
    help="About 6, 11 or 23 kbps with mini; on the scale from 0 to 10 they are 2, 5 and 8. "
    "`earzip models list` has the rates of other models.",
)
@click.option(
    "--bitrate",
    metavar="KBPS",
    type=float,
    help="Rate of each track, without pictures, instead of a quality.",
)
@click.option(
    "--model",
    metavar="NAME",
    default=DEFAULT_MODEL,
    show_default=True,
    help="Model to encode with: a name from `earzip models list`, or a .json file.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Decode each archive and store in it how closely it matches the source. Needs the extra eval: "
    "pip install '.[eval]' in the clone of earzip.",
)
@click.option(
    "--min-si-sdr",
    metavar="DB",
    type=float,
    help="Quality floor: minimum SI-SDR of a track, in dB. Implies --check.",
)
@click.option(
    "--max-mel",
    metavar="X",
    type=float,
    help="Quality floor: maximum mel distance of a track. Implies --check.",
)
@click.option(
    "--below-floor",
    type=click.Choice(BELOW_FLOOR),
    default="keep",
    show_default=True,
    help="What to do with a track below the floor: keep the archive and warn, fail and write none, raise "
    "the quality until the floor is met, or also store the track losslessly in the archive. A track "
    "that no quality brings above the floor is stored losslessly too.",
)
@click.option(
    "--verify-sources",
    is_flag=True,
    help="Compare sources with their archives by SHA-256 and read archives in full, instead of comparing "
    "size and times.",
)
@run_options("force", "copy_other", "dry_run", "max_failures", "as_json", "no_lock", *SCHEDULING)
@runtime_options
def compress(
    *,
    paths: tuple[Path, ...],
    output: Path | None,
    quality: str,
    bitrate: float | None,
    model: str,
    check: bool,
    min_si_sdr: float | None,
    max_mel: float | None,
    below_floor: BelowFloor,
    verify_sources: bool,
    run: RunOptions,
    runtime: Runtime,
) -> int:
    """Write an archive of each audio file: song.flac becomes song.flac.earz.

    PATH is an audio file, a directory (searched recursively), or - for standard input. Up-to-date
    archives are skipped; archives of another quality or model are replaced. Unreadable files are reported
    and the run continues. Sources are never changed.
    """
    if run.copy_other and output in (None, STDIO):
        raise UsageError("--copy-other needs an output directory: -o DIR")
    floor = _floor(min_si_sdr, max_mel, below_floor)
    options = CompressOptions(
        model=model,
        quality=quality,
        bitrate_kbps=_bitrate(bitrate),
        force=run.force,
        check=check,
        floor=floor,
        verify_sources=verify_sources,
    )
    if options.checks:
        require_eval()
    find_model(model)  # a dry run reports a missing one too

    selection, name = sources_to_compress(), _name_of_stdin(output)
    planning = plan_run(paths, output, selection, {ARCHIVE_SUFFIX}, stdin_name=name)
    return run_task(planning, CompressTask(options), run, runtime, describe=_describe)


def _bitrate(kbps: float | None) -> float | None:
    """Return the bitrate, None where a quality of the command line is to count instead of it."""
    source = click.get_current_context().get_parameter_source
    given = [source(name) == ParameterSource.COMMANDLINE for name in ("quality", "bitrate")]
    if all(given):
        raise UsageError("--bitrate and --quality exclude each other")
    return None if given[0] else kbps


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
