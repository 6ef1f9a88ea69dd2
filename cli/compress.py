"""``earzip compress``: sound files into archives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from earzip.batch.plan import (
    ARCHIVE_SUFFIX,
    Job,
    Selection,
    archive_name,
    is_archive_name,
    name_without_archive_suffix,
)
from earzip.batch.run import Work
from earzip.checkpoints import DEFAULT_MODEL, find_model, verify_model
from earzip.cli.options import (
    EXIT_CODES,
    NetworkOptions,
    RunOptions,
    network_options,
    output_option,
    paths_argument,
    run_options,
)
from earzip.cli.output import measures_text, size
from earzip.cli.piping import STDIO, plan_run
from earzip.cli.run import run_command
from earzip.errors import UsageError
from earzip.metrics import require_eval
from earzip.model_spec import QUALITIES
from earzip.options import (
    BELOW_FLOOR,
    BelowFloor,
    CompressOptions,
    CompressResult,
    Floor,
    Progress,
)
from earzip.report import FileRecord, FileStatus


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
@run_options("force", "copy_other", "dry_run", "max_failures", "as_json")
@network_options
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
    run: RunOptions,
    network: NetworkOptions,
) -> int:
    """Write an archive of each sound file: song.flac becomes song.flac.earz.

    A PATH is a file, a folder (searched to its end for sound files) or - for standard input.
    Archives that are up to date are skipped; one of another quality or model is made anew. A file
    that cannot be read is named and the others go on. Sources are never touched.
    """
    from earzip.formats.audio import AUDIO_EXTENSIONS  # noqa: PLC0415  # loads soundfile

    if run.copy_other and output in (None, STDIO):
        raise UsageError("--copy-other needs a folder to copy to: -o DIR")
    floor = _floor(min_si_sdr, max_mel, below_floor)
    options = CompressOptions(
        model=model, quality=quality, force=run.force, check=check, floor=floor
    )
    if options.checks:
        require_eval()
    spec = find_model(model)  # one that is not there is told of in a dry run too
    selection = Selection(
        takes=lambda name: Path(name).suffix.lower() in AUDIO_EXTENSIONS,
        otherwise="not sound",
        target_name=lambda path: archive_name(path.name),
        refuses=lambda name: "already an archive" if is_archive_name(name) else None,
    )

    @contextmanager
    def open_work() -> Iterator[Work]:
        from earzip.transcode import CodecPool, compress_file  # noqa: PLC0415  # loads numpy

        # What is wrong with the model is wrong with every file: said once, before them.
        verify_model(spec)
        with CodecPool(**network.checked()) as codecs:

            def work(job: Job, on_progress: Progress) -> FileRecord:
                assert job.target is not None
                result = compress_file(
                    job.source,
                    job.target,
                    options,
                    codecs=codecs,
                    source_name=_name_of_stdin(output) if job.source in planned.piped else None,
                    on_progress=on_progress,
                )
                return _record(result)

            yield work

    with plan_run(paths, output, selection, {ARCHIVE_SUFFIX}) as planned:
        return run_command(planned, open_work, run, describe=_describe)


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


def _record(result: CompressResult) -> FileRecord:
    cut_short: tuple[str, ...] = ()
    if result.truncated:
        cut_short = (f"cut short, archived as far as it decodes: {result.truncated}",)
    shortfalls = ", ".join(result.below_floor)
    low = (f"below the floor: {shortfalls}",) if shortfalls and not result.exact_bytes else ()
    return FileRecord(
        FileStatus(result.status),
        result.source,
        result.target,
        warnings=result.warnings + cut_short + low,
        figures={
            "duration_s": result.duration_s,
            "source_bytes": result.source_bytes,
            "archive_bytes": result.archive_bytes,
            "picture_bytes": result.picture_bytes,
            "exact_bytes": result.exact_bytes,
            "kbps": round(result.kbps, 3),
            "truncated": result.truncated,
            "measures": result.measures,
            "below_floor": list(result.below_floor),
        },
    )


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
