"""``earzip latents``: the latents of archives, for training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import click
from click.core import ParameterSource

from earzip.batch.filters import Choice
from earzip.cli.choice import choice_options
from earzip.cli.help import sectioned_command
from earzip.cli.options import output_option
from earzip.cli.output import size
from earzip.cli.piping import NO_ARCHIVES, STDIO, PlannedRun, plan_run
from earzip.cli.run import run as run_task
from earzip.cli.run_options import RunOptions, run_options
from earzip.cli.values import Count
from earzip.cli.where import Query, matching, where_option
from earzip.errors import UsageError
from earzip.options import LATENT_DTYPES, LatentDtype, ShardForm
from earzip.results import FileRecord
from earzip.tasks import LatentsTask, ShardsTask, latents_to_extract, plan_shards

_SHARDS = ("webdataset", "webdataset-earz")
_FILES = ("safetensors", "npy")


@sectioned_command("Extract latents for training.")
@choice_options
@where_option
@output_option(
    "Directory for the results, which mirrors the tree of the archives; for one archive also a file "
    "ending in .safetensors or .npy; for shards the directory that holds them, which is required.  "
    "[default: beside each archive]"
)
@click.option(
    "--format",
    "form",
    type=click.Choice((*_FILES, *_SHARDS)),
    default="safetensors",
    show_default=True,
    help="A file for each archive: safetensors, or npy with the tags in a .json beside it. Or shards, "
    "tar files of many samples: webdataset (.npy and .json), webdataset-earz (the archives themselves, "
    "for earzip.webdataset.decode, and .json).",
)
@click.option(
    "--dtype",
    type=click.Choice(LATENT_DTYPES),
    default="float32",
    show_default=True,
    help="Number format of the latents. float16 has 11 bits of precision.",
)
@click.option(
    "--samples-per-shard",
    metavar="N",
    type=Count(),
    default=100,
    show_default=True,
    help="Tracks in a shard.",
)
@run_options("force", "dry_run", "max_failures", "as_json")
def latents(
    *,
    paths: tuple[Path, ...],
    choice: Choice,
    where: Query | None,
    output: Path | None,
    form: str,
    dtype: LatentDtype,
    samples_per_shard: int,
    run: RunOptions,
) -> int:
    """Write the latents of archives: [D, F], dequantised, for training.

    PATH is an archive or a directory (searched recursively). song.flac.earz becomes
    song.flac.safetensors, or with --format webdataset a sample of DIR/latents-000000.tar. Needs no model.
    """
    _refuse_contradictions(form)
    if form in _FILES:
        suffix = f".{form}"
        if form == "npy" and output == STDIO:
            raise UsageError("--format npy writes two files; name a file or a directory with -o")
        selection = latents_to_extract(suffix)
        planning = plan_run(
            paths, output, selection, {suffix}, choice, with_others=False, if_empty=NO_ARCHIVES
        )
        return run_task(
            matching(planning, where), LatentsTask(run.force, dtype), run, one_by_one=True
        )
    if output is None or STDIO in (*paths, output):
        raise UsageError("shards hold archives of files and need a directory: -o DIR")
    shard_form = ShardForm(dtype, of_archives=form == "webdataset-earz")
    planning = plan_run(
        paths, output, latents_to_extract(), (), choice, with_others=False, if_empty=NO_ARCHIVES
    )
    return run_task(
        _in_shards(matching(planning, where), output, shard_form, samples_per_shard),
        ShardsTask(shard_form, run.force),
        run,
        one_by_one=True,
        describe=_describe,
    )


def _refuse_contradictions(form: str) -> None:
    """Refuse options of the command line that are of another format. Raises UsageError."""
    source = click.get_current_context().get_parameter_source
    if form not in _SHARDS and source("samples_per_shard") == ParameterSource.COMMANDLINE:
        raise UsageError(f"--samples-per-shard is for {' and '.join(_SHARDS)}, not for {form}")
    if form == "webdataset-earz" and source("dtype") == ParameterSource.COMMANDLINE:
        raise UsageError("--dtype is for arrays; archives decode to float32")


@contextmanager
def _in_shards(
    planning: AbstractContextManager[PlannedRun], output: Path, form: ShardForm, n_samples: int
) -> Iterator[PlannedRun]:
    with planning as planned:
        plan_shards(planned.plan, output, form, n_samples)
        yield planned


def _describe(record: FileRecord) -> Iterator[str]:
    n_bytes = record.figures.get("shard_bytes")
    if isinstance(n_bytes, int):
        yield f"tracks: {record.figures['n_tracks']}, {size(n_bytes)}"
