"""``earzip compress``: sound files into archives."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import click

from earzip.batch.filters import Choice
from earzip.batch.mirror import shares_pictures
from earzip.batch.places import is_folder
from earzip.batch.plan import is_output_file
from earzip.cli.choice import choice_options
from earzip.cli.help import sectioned_command
from earzip.cli.mirror import Mirror
from earzip.cli.options import given_bitrate, output_option, picture_options, quality_options
from earzip.cli.output import measures_text, size
from earzip.cli.piping import STDIO, PlannedRun, plan_run
from earzip.cli.run import run as run_task
from earzip.cli.run_options import AMOUNT, SCHEDULING, RunOptions, run_options
from earzip.cli.runtime_options import runtime_options
from earzip.cli.stores import stand_ins, takes_urls
from earzip.cli.streams import log
from earzip.errors import TargetError, UsageError
from earzip.formats.names import ARCHIVE_SUFFIX, name_without_archive_suffix
from earzip.metrics import require_eval
from earzip.models.beside import is_kept, keep_model, kept_weights
from earzip.models.spec import ModelSpec
from earzip.models.store import find_model
from earzip.options import (
    BELOW_FLOOR,
    TRUNCATED,
    BelowFloor,
    CompressOptions,
    Floor,
    Pictures,
    Truncated,
)
from earzip.results import FileRecord, FileStatus, Report
from earzip.runtime import Runtime
from earzip.tasks import CompressTask, require_scaling, sources_to_compress

_KEPT_QUALITY = re.compile(r"is of quality (\S+), \S+ is lower; ")
"""In the message of a refusal, which is all that comes back from the process that refused."""


@sectioned_command("Compress audio files.")
@choice_options
@output_option(
    "Directory for the archives, which mirrors the tree of the sources; for one source also a file "
    "ending in .earz, or - for standard output.  [default: beside each source]"
)
@quality_options(
    quality="About 3.5, 5.5 or 9 kbps with mini-2; on the scale from 0 to 10 they are 2, 5 and 8. "
    "`earzip models list` has the rates of other models.",
    bitrate="Rate of each track, without pictures, instead of a quality.",
    model="Model to encode with: a name from `earzip models list`, or a .json file.",
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
    "--truncated",
    type=click.Choice(TRUNCATED),
    help="What to do with a source that is cut short or damaged: keep archives it as far as it can be "
    "read, with a warning, fail writes no archive.  [default: fail for FLAC, keep for others]",
)
@picture_options(
    pictures="Where pictures go: embed them in each archive, share each as one file beside the archives "
    "of a directory, or drop them.  [default: an archive that is there keeps its way; a new one embeds, "
    "also where others of its directory share]",
    fit="Scale larger pictures down, so that they fit a square of so many pixels. Needs the extra "
    "pictures: pip install '.[pictures]' in the clone of earzip.",
)
@click.option(
    "--verify-sources",
    is_flag=True,
    help="Compare sources with their archives by SHA-256 and read archives in full, instead of comparing "
    "size and times.",
)
@click.option(
    "--with-model",
    is_flag=True,
    help="Keep the model beside the archives too, once, in .earzip of the output directory: any later "
    "earzip restores them with it.",
)
@click.option(
    "--prune",
    is_flag=True,
    help="Move archives whose source is gone, and shared pictures that no archive has, to .earzip/trash "
    "in their directory, after asking. PATHs must name all sources of the archives there.",
)
@click.option("--yes", is_flag=True, help="Do not ask before --prune.")
@run_options(
    "force", "copy_other", "dry_run", "max_failures", "as_json", "no_lock", *AMOUNT, *SCHEDULING
)
@runtime_options
@takes_urls
def compress(
    *,
    paths: tuple[Path, ...],
    choice: Choice,
    output: Path | None,
    quality: str,
    bitrate: float | None,
    model: str,
    check: bool,
    min_si_sdr: float | None,
    max_mel: float | None,
    below_floor: BelowFloor,
    truncated: Truncated | None,
    pictures: Pictures | None,
    fit_pictures: int | None,
    verify_sources: bool,
    with_model: bool,
    prune: bool,
    yes: bool,
    run: RunOptions,
    runtime: Runtime,
) -> int:
    """Write an archive of each audio file: song.flac becomes song.flac.earz.

    PATH is an audio file, a directory (searched recursively), or - for standard input. Up-to-date
    archives are skipped; archives of another quality or model are replaced, those of a higher quality
    only with --force. Where only tags have changed, or a source was moved, its sound is not encoded
    again. Unreadable files are reported and the run continues. Sources are never changed.
    """
    if run.copy_other and output in (None, STDIO):
        raise UsageError("--copy-other needs an output directory: -o DIR")
    if yes and not prune:
        raise UsageError("--yes needs --prune")
    if prune and run.shard:
        raise UsageError("--prune and --shard exclude each other: prune in a run over all sources")
    if pictures == "share" and output == STDIO:
        raise UsageError("--pictures share needs a directory to put them in, not standard output")
    if with_model and output == STDIO:
        raise UsageError("--with-model needs a directory to put it in, not standard output")
    floor = _floor(min_si_sdr, max_mel, below_floor)
    options = CompressOptions(
        model=model,
        quality=quality,
        bitrate_kbps=given_bitrate(bitrate),
        force=run.force,
        check=check,
        floor=floor,
        verify_sources=verify_sources,
        truncated=truncated,
        pictures=pictures,
        fit_pictures=fit_pictures,
    )
    if options.checks:
        require_eval()
    if fit_pictures is not None:
        require_scaling()
    spec = find_model(model)  # a dry run reports a missing one too

    selection, name = sources_to_compress(), _name_of_stdin(output)
    mirror = Mirror(prune, not yes, run.dry_run, run.quiet)
    planning = plan_run(paths, output, selection, {ARCHIVE_SUFFIX}, choice, stdin_name=name)

    embedding: set[Path] = set()
    """Directories in which an archive with its own pictures is new."""

    def note(record: FileRecord) -> None:
        is_new = record.status is FileStatus.WRITTEN and not stand_ins()
        if is_new and record.target and record.figures.get("picture_bytes"):
            embedding.add(record.target.parent)

    def afterwards(planned: PlannedRun, report: Report) -> Iterator[FileRecord]:
        yield from mirror.pruned(planned, report)
        if pictures is None and not run.quiet:
            _advise_sharing(report, embedding)
        if not run.quiet:
            _advise_quality(report)

    def beforehand(planned: PlannedRun, dry_run: bool) -> list[FileRecord]:
        mirror.ask()
        return _keep_model(spec, planned, dry_run) if with_model else []

    return run_task(
        mirror.watched(planning),
        CompressTask(options, prune),
        run,
        runtime,
        beforehand=beforehand,
        afterwards=afterwards,
        describe=_describe,
        noted=note,
    )


def _advise_sharing(report: Report, embedding: Collection[Path]) -> None:
    """Tell of --pictures share where archives have it, or those that were written are mostly pictures.

    ``embedding``: directories in which an archive with its own pictures is new.
    """
    sharing = next((folder for folder in sorted(embedding) if shares_pictures(folder)), None)
    if sharing:
        message = (
            "its archives share their pictures, and a new one embeds them; add --pictures share"
        )
        log("info", message, path=sharing)
        return
    pictures, total = (report.totals[name] for name in ("picture_bytes", "archive_bytes"))
    if report.counts[FileStatus.WRITTEN] > 1 and pictures > total / 2:
        percent = round(100 * pictures / total)
        log(
            "info",
            f"{percent} % of the archives are pictures; --pictures share keeps one that tracks of a "
            "directory have in common only once",
        )


def _advise_quality(report: Report) -> None:
    """Name the quality of the archives that a run over many was refused to lower."""
    found = (_KEPT_QUALITY.search(record.message or "") for record in report.problems)
    kept = Counter(match[1] for match in found if match)
    for quality, n in kept.items():
        if n > 1:
            log("info", f"{n} archives stay of quality {quality}: run with --quality {quality}")


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


def _keep_model(spec: ModelSpec, planned: PlannedRun, dry_run: bool) -> list[FileRecord]:
    """Put the model of a run beside its archives, and return a record of each place where it was not.

    A place where it cannot be put fails; ModelNotFoundError or ModelDamagedError concern the whole run.
    """
    records = []
    for folder in _folders_of_archives(planned):
        target, status, message = kept_weights(spec, folder), FileStatus.COPIED, None
        try:
            if is_kept(spec, folder):
                continue
            if dry_run:
                status = FileStatus.PLANNED
            else:
                keep_model(spec, folder)
        except TargetError as error:
            status, message = FileStatus.FAILED, str(error)
        records.append(FileRecord(status, spec.weights_path, target, message))
    return records


def _folders_of_archives(planned: PlannedRun) -> list[Path]:
    """Return the directories below which a run puts archives: its output, or those of its sources."""
    paths, output = planned.paths, planned.output
    if output is None:
        folders = [path if is_folder(path) else path.parent for path in paths]
    elif STDIO in paths or is_output_file(paths, output, {ARCHIVE_SUFFIX}):
        folders = [output.parent]
    else:
        folders = [output]
    targets = [job.target for job in planned.plan.jobs if job.target]
    return [
        folder
        for folder in dict.fromkeys(folders)
        if any(target.is_relative_to(folder) for target in targets)
    ]


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
