"""``earzip decode-latents``: latents that were edited or made, to sound files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import cast

import click

from earzip.cli.help import EXIT_CODES, SectionedCommand
from earzip.cli.options import output_option, paths_argument
from earzip.cli.piping import STDIO, PlannedRun, plan_run
from earzip.cli.restore import container_of, describe_level
from earzip.cli.run import run as run_task
from earzip.cli.run_options import AMOUNT, RunOptions, run_options
from earzip.cli.runtime_options import one_device_options
from earzip.errors import UsageError
from earzip.options import LOSSLESS, Bits, DecodeOptions, Lossless
from earzip.runtime import Runtime
from earzip.tasks import DecodeLatentsTask, latents_to_decode, plan_tar_samples

_SUFFIXES = {f".{container}" for container in LOSSLESS}


@click.command(
    "decode-latents",
    cls=SectionedCommand,
    epilog=EXIT_CODES,
    short_help="Decode latents to sound files.",
)
@paths_argument
@output_option(
    "Directory for the sound files, which mirrors the tree of PATH; for one file of latents also a file "
    "ending in .flac or .wav.  [default: beside each file]"
)
@click.option(
    "--model",
    metavar="NAME",
    help="The model that the latents are of: a name from 'earzip models list', or a .json file.  "
    "[default: the one that they name]",
)
@click.option(
    "--format",
    "container",
    type=click.Choice(LOSSLESS),
    help="File format.  [default: what -o FILE ends in, else flac]",
)
@click.option(
    "--bits",
    type=click.Choice(["16", "24", "float"]),
    default="24",
    show_default=True,
    help="Sample format; float for WAV only. 16 bits are dithered.",
)
@run_options("force", "dry_run", "max_failures", "as_json", *AMOUNT)
@one_device_options("device", "precision", "threads", "batch_size", decodes=True)
def decode_latents(
    *,
    paths: tuple[Path, ...],
    output: Path | None,
    model: str | None,
    container: str | None,
    bits: str,
    run: RunOptions,
    runtime: Runtime,
) -> int:
    """Write a sound file from each file of latents: 44.1 kHz stereo.

    PATH is a .npy or .safetensors file of floats [D, F], a .tar of such .npy files, or a directory
    (searched recursively): what latents writes, or a network has made. song.flac.npy becomes song.flac.
    Model, length and gain are those in the .json beside it, or in the metadata.
    """
    if STDIO in (*paths, output):
        raise UsageError("latents are read from files, and decoded to files, not through -")
    chosen = cast(Lossless, container_of(paths, output, container, _SUFFIXES))
    if chosen == "flac" and bits == "float":
        raise UsageError("--bits float needs --format wav")
    options = DecodeOptions(
        model, chosen, cast(Bits, bits if bits == "float" else int(bits)), run.force
    )
    planning = plan_run(
        paths,
        output,
        latents_to_decode(chosen),
        _SUFFIXES,
        with_others=False,
        if_empty="contains no latents",
    )
    return run_task(
        _with_samples(planning, chosen),
        DecodeLatentsTask(options),
        run,
        runtime,
        describe=partial(describe_level, kept=bits == "float"),
    )


@contextmanager
def _with_samples(
    planning: AbstractContextManager[PlannedRun], container: Lossless
) -> Iterator[PlannedRun]:
    with planning as planned:
        plan_tar_samples(planned.plan, container)
        yield planned
