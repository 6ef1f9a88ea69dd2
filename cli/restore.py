"""``earzip restore``: archives into sound files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import cast

import click
from click.core import ParameterSource

from earzip.batch.plan import (
    is_output_file,
)
from earzip.cli.options import (
    EXIT_CODES,
    BatchOptions,
    RunOptions,
    batch_options,
    output_option,
    parse_time,
    paths_argument,
    run_options,
)
from earzip.cli.piping import STDIO, PlannedRun, plan_run
from earzip.cli.run import Opening, Place, run_shared
from earzip.errors import UsageError
from earzip.formats.names import AUDIO_EXTENSIONS
from earzip.options import Bits, Container, RestoreOptions
from earzip.results import FileRecord

_CONTAINERS = ("flac", "wav")
_SUFFIXES = {".flac", ".wav"}


@click.command(epilog=EXIT_CODES, short_help="Archives into FLAC or WAV files.")
@paths_argument
@output_option(
    "Folder for the restored files, in the same tree as their archives; or, for one archive, a "
    "file that ends in .flac or .wav, or - for standard output.  [default: beside each archive]"
)
@click.option(
    "--format",
    "container",
    type=click.Choice(_CONTAINERS),
    help="What to write.  [default: what -o FILE ends in, else flac]",
)
@click.option(
    "--bits",
    type=click.Choice(["16", "24", "float"]),
    help="Sample format.  [default: 24 for lossless sources, 16 for lossy ones]",
)
@click.option("--no-dither", is_flag=True, help="Round to 16 bit without dither.")
@click.option(
    "--start", metavar="TIME", callback=parse_time, help="Begin here: seconds or [h:]m:s."
)
@click.option("--end", metavar="TIME", callback=parse_time, help="End here.")
@click.option(
    "--as-source",
    is_flag=True,
    help="Give the source's own sample rate and frame count, and mono if it was mono. From an archive "
    "with an exact copy: the source's samples to the bit, or the source file itself.",
)
@click.option(
    "--keep-going",
    is_flag=True,
    help="Put silence where an archive is damaged, leave out damaged tags, and exit with 3.",
)
@run_options("force", "copy_other", "dry_run", "max_failures", "as_json")
@batch_options
def restore(
    *,
    paths: tuple[Path, ...],
    output: Path | None,
    container: str | None,
    bits: str | None,
    no_dither: bool,
    start: float | None,
    end: float | None,
    as_source: bool,
    keep_going: bool,
    run: RunOptions,
    batch: BatchOptions,
) -> int:
    """Write a FLAC or WAV file from each archive, with its tags and pictures.

    A PATH is an archive, a folder (searched to its end for archives) or - for standard input.
    song.flac.earz becomes song.flac, and song.mp3.earz becomes song.mp3.flac: 44.1 kHz stereo of
    exactly the source's length. What was stored exactly is restored from that.
    """
    if run.copy_other and output in (None, STDIO):
        raise UsageError("--copy-other needs a folder to copy to: -o DIR")
    chosen: Container | None = _container(paths, output, container)
    # The source file itself may be wanted, if it is there: then the archive and the name decide.
    suffixes = _SUFFIXES
    if as_source and (container, bits, start, end) == 4 * (None,):
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

    def opening(_planned: PlannedRun) -> Opening:
        from earzip.tasks import OpenRestore  # noqa: PLC0415  # loads numpy

        return OpenRestore(options)

    def plan() -> AbstractContextManager[PlannedRun]:
        from earzip.tasks import archives_to_restore  # noqa: PLC0415  # loads numpy

        return plan_run(paths, output, archives_to_restore(chosen), suffixes)

    return run_shared(
        plan,
        opening,
        run,
        batch,
        Place("restore", paths, output),
        describe=partial(_describe, kept=bits == "float"),
    )


def _container(paths: tuple[Path, ...], output: Path | None, asked: str | None) -> Container:
    """Return what to write; `UsageError` if --format and the name of the output contradict."""
    named = None
    if output is not None and is_output_file(paths, output, _SUFFIXES):
        named = output.suffix.lower().removeprefix(".")
    source = click.get_current_context().get_parameter_source("container")
    if named and source is ParameterSource.DEFAULT_MAP:
        asked = None  # the command line stands above the configuration
    if asked and named and asked != named:
        raise UsageError(f"--format {asked} contradicts the name of the output", output)
    return cast(Container, asked or named or "flac")


def _describe(record: FileRecord, *, kept: bool) -> Iterator[str]:
    """Yield what did not come through whole; ``kept``: float samples go beyond full scale.

    And what is more than that: sound from an exact copy.
    """
    if record.figures.get("exact"):
        yield "exact: from the copy of the source in the archive"
    if n_overs := record.figures.get("n_overs"):
        fate = "kept" if kept else "saturated; --format wav --bits float keeps them"
        yield f"level: {n_overs} samples beyond full scale, {fate}"
    losses = record.figures.get("tag_losses", [])
    assert isinstance(losses, list)
    yield from (f"tags: {loss}" for loss in losses)
