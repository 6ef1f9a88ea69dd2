"""``earzip restore``: archives into sound files."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import cast

import click
from click.core import ParameterSource

from earzip.batch.filters import Choice
from earzip.batch.plan import is_output_file
from earzip.cli.choice import choice_options
from earzip.cli.help import sectioned_command
from earzip.cli.mending import say_how_to_repair
from earzip.cli.options import output_option
from earzip.cli.piping import NO_ARCHIVES, STDIO, StandardOutput, plan_run
from earzip.cli.run import run as run_task
from earzip.cli.run_options import AMOUNT, SCHEDULING, RunOptions, run_options
from earzip.cli.runtime_options import decoding_options
from earzip.cli.stores import takes_urls
from earzip.cli.values import parse_time
from earzip.cli.where import Query, matching, where_option
from earzip.errors import UsageError, count
from earzip.formats.names import AUDIO_EXTENSIONS, is_archive_name
from earzip.options import (
    CONTAINER_OF_SUFFIX,
    CONTAINERS,
    Bits,
    Container,
    Lossy,
    RestoreOptions,
    as_lossy,
)
from earzip.results import FileRecord, FileStatus
from earzip.runtime import Runtime
from earzip.tasks import RestoreTask, archives_to_restore

_SUFFIXES = set(CONTAINER_OF_SUFFIX)


@sectioned_command("Restore archives to sound files.")
@choice_options
@where_option
@output_option(
    "Directory for the restored files, which mirrors the tree of the archives; for one archive also a "
    "file ending in .flac, .wav, .opus, .mp3 or .m4a, or - for standard output, as it is decoded.  "
    "[default: beside each archive]"
)
@click.option(
    "--format",
    "container",
    type=click.Choice(CONTAINERS),
    help="Output format; for players with little room opus (96 kbps), mp3 (190 kbps) or aac (m4a of "
    "160 kbps), which need PyAV.  [default: the ending of -o FILE, else flac]",
)
@click.option(
    "--bits",
    type=click.Choice(["16", "24", "float"]),
    help="Sample format.  [default: 24 for lossless sources, 16 for lossy ones]",
)
@click.option("--no-dither", is_flag=True, help="Round to 16 bits without dither.")
@click.option(
    "--start", metavar="TIME", callback=parse_time, help="Start time: seconds or [h:]m:s."
)
@click.option("--end", metavar="TIME", callback=parse_time, help="End time.")
@click.option(
    "--split",
    is_flag=True,
    help="Restore an archive that has a cue sheet, in its tags or beside it, or chapters as a directory "
    "of tracks: 'Album/01 Title.flac'.",
)
@click.option(
    "--as-source",
    is_flag=True,
    help="Restore the source's sample rate and frame count, and mono if it was mono; from an archive "
    "with an exact copy, the source's exact samples or the source file itself.",
)
@click.option(
    "--keep-going",
    is_flag=True,
    help="Replace damaged audio with silence, drop damaged tags, and exit with 3.",
)
@run_options(
    "force", "copy_other", "dry_run", "max_failures", "as_json", "no_lock", *AMOUNT, *SCHEDULING
)
@decoding_options
@takes_urls
def restore(
    *,
    paths: tuple[Path, ...],
    choice: Choice,
    where: Query | None,
    output: Path | None,
    container: str | None,
    bits: str | None,
    no_dither: bool,
    start: float | None,
    end: float | None,
    split: bool,
    as_source: bool,
    keep_going: bool,
    run: RunOptions,
    runtime: Runtime,
) -> int:
    """Write a sound file from each archive, with its tags and pictures.

    PATH is an archive, a directory (searched recursively), or - for standard input. song.flac.earz
    becomes song.flac, and song.mp3.earz becomes song.mp3.flac: 44.1 kHz stereo of exactly the source's
    length. With --format opus it becomes song.opus. Exact copies are restored exactly. Up-to-date files
    are skipped.
    """
    if run.copy_other and output in (None, STDIO):
        raise UsageError("--copy-other needs an output directory: -o DIR")
    if split:
        _refuse_one_file(paths, output, start, end)
    chosen: Container | None = container_of(paths, output, container)
    if lossy := as_lossy(chosen):
        if output == STDIO:
            raise UsageError(f"standard output gets FLAC or WAV; name a file for {lossy}")
        as_source, bits = _only_of_sound(as_source, bits, lossy)
        _require_encoder(lossy)
    # The source file itself may be requested: then the archive and the name decide.
    suffixes = _SUFFIXES
    if as_source and not split and (container, bits, start, end) == 4 * (None,):
        chosen, suffixes = None, _SUFFIXES | AUDIO_EXTENSIONS
    options = RestoreOptions(
        container=chosen,
        bits=cast(Bits | None, int(bits) if bits in ("16", "24") else bits),
        dither=not no_dither,
        start_s=start,
        end_s=end,
        as_source=as_source,
        keep_going=keep_going,
        force=run.force,
    )

    selection = archives_to_restore(chosen, split=split)
    planning = plan_run(paths, output, selection, suffixes, choice, if_empty=NO_ARCHIVES)
    damaged: list[Path] = []

    def note(record: FileRecord) -> None:
        # Of damage, and of nothing else, the reason says what --keep-going does.
        failed = record.status is FileStatus.FAILED and "--keep-going" in (record.message or "")
        if failed or record.status is FileStatus.INCOMPLETE:
            damaged.append(record.source)

    code = run_task(
        matching(planning, where),
        RestoreTask(options, StandardOutput if output == STDIO else None, split),
        run,
        runtime,
        describe=partial(
            _describe,
            kept=bits == "float",
            is_named=output is not None and is_output_file(paths, output, suffixes),
        ),
        noted=note,
    )
    if damaged and not run.quiet:
        say_how_to_repair(damaged, paths)
    return code


def container_of(
    paths: tuple[Path, ...],
    output: Path | None,
    asked: str | None,
    suffixes: Collection[str] = _SUFFIXES,
) -> Container:
    """Return what to write; `UsageError` if --format and the name of the output contradict.

    ``suffixes``: those of the command's results.
    """
    named = None
    if output is not None and is_output_file(paths, output, suffixes):
        named = CONTAINER_OF_SUFFIX[output.suffix.lower()]
    source = click.get_current_context().get_parameter_source("container")
    if named and source is ParameterSource.DEFAULT_MAP:
        asked = None  # the command line overrides the configuration
    if asked and named and asked != named:
        raise UsageError(f"--format {asked} contradicts the name of the output", output)
    return cast(Container, asked or named or "flac")


def _refuse_one_file(
    paths: tuple[Path, ...], output: Path | None, start: float | None, end: float | None
) -> None:
    """Refuse --split where there is one file, or part of one. Raises UsageError."""
    if STDIO in (*paths, output) or (output and is_output_file(paths, output, _SUFFIXES)):
        raise UsageError("--split makes several files, which need a directory: -o DIR")
    if start is not None or end is not None:
        raise UsageError("--split and --start or --end exclude each other")


def _only_of_sound(as_source: bool, bits: str | None, container: Lossy) -> tuple[bool, str | None]:
    """Return --as-source and --bits for a lossy format: none; UsageError if the command line has them."""
    source = click.get_current_context().get_parameter_source
    for name, value in (("as_source", as_source), ("bits", bits)):
        if value and source(name) == ParameterSource.COMMANDLINE:
            option = name.replace("_", "-")
            raise UsageError(f"--{option} is for FLAC and WAV, not for --format {container}")
    return False, None


def _require_encoder(container: Lossy) -> None:
    from earzip.formats.audio.encode import require_encoder  # noqa: PLC0415  # loads numpy

    require_encoder(container)


def _describe(record: FileRecord, *, kept: bool, is_named: bool) -> Iterator[str]:
    """Yield what was lost, whether the sound is exact, and why it is not called as usual.

    ``kept``: float samples exceed full scale; ``is_named``: the user has named the file.
    """
    archive, target = record.source.name, record.target
    may_differ = is_archive_name(archive) and not is_named
    if may_differ and target and target.name.startswith(f"{archive}."):
        yield "name: after its archive, since another archive is restored to the usual one"
    if record.figures.get("exact"):
        yield "exact: from the copy of the source in the archive"
    if tracks := record.figures.get("tracks"):
        assert isinstance(tracks, list)
        yield f"tracks: {len(tracks)}"
    yield from describe_level(record, kept=kept)
    losses = record.figures.get("tag_losses", [])
    assert isinstance(losses, list)
    yield from (f"tags: {loss}" for loss in losses)


def describe_level(record: FileRecord, *, kept: bool) -> Iterator[str]:
    """Yield how many samples exceed full scale, if any; ``kept``: as float samples they do no harm."""
    if n_overs := record.figures.get("n_overs"):
        assert isinstance(n_overs, int)
        fate = "kept" if kept else "saturated; --format wav --bits float keeps them"
        yield f"level: {count(n_overs, 'sample')} beyond full scale, {fate}"
