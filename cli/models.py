"""``earzip models``: the models that are installed, and how others come and go."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from earzip.batch.places import is_folder
from earzip.cli.help import EXIT_CODES
from earzip.cli.output import Printer
from earzip.cli.run_options import RunOptions, run_options
from earzip.cli.runtime_options import one_device_options
from earzip.cli.stores import fetched, knows_urls, put_by
from earzip.cli.streams import printable
from earzip.cli.values import PATH, PLAIN_PATH
from earzip.errors import (
    EarzipError,
    ExitCode,
    ModelDamagedError,
    SourceError,
    TargetError,
    UsageError,
)
from earzip.metrics import require_eval
from earzip.models.pool import CodecPool
from earzip.models.spec import ModelSpec
from earzip.models.store import find_model, list_models, verify_model
from earzip.options import QUALITIES
from earzip.results import FileRecord, FileStatus, Report
from earzip.runtime import Runtime
from earzip.stores.urls import Url


@click.group()
def models() -> None:
    """List, check, fetch, import, calibrate, measure and export models."""


@models.command("list", short_help="List the models.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines, one object a model.")
def list_(as_json: bool) -> int:
    """List the models: name, SHA-256 as in archives, latents, kbps, licence, file.

    The rates of low, medium and high are for the music that calibrated the model. Files that are not
    models are reported on stderr, and the exit code is 3.
    """
    specs, problems = list_models()
    width = max((len(spec.name) for spec in specs), default=0)
    for spec in specs:
        click.echo(json.dumps(_to_json(spec)) if as_json else _line(spec, width))
    for problem in problems:
        click.echo(f"earzip: {printable(str(problem))}", err=True)
    return ExitCode.SOME_FAILED if problems else ExitCode.OK


@models.command("verify", epilog=EXIT_CODES, short_help="Check the weights of models.")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@run_options("as_json")
def verify(*, names: tuple[str, ...], run: RunOptions) -> int:
    """Check the weights of models, all of them by default, against their SHA-256."""
    printer, report = Printer(run.as_json), Report()
    named = [find_model(name) for name in names]
    specs, problems = (named, []) if named else list_models()
    for record in [*map(_verify, specs), *map(_problem, problems)]:
        report.add(record)
        printer.record(record)
    printer.summary(report)
    return report.exit_code


_music_option = click.option(
    "--music",
    "music",
    metavar="PATH",
    multiple=True,
    required=True,
    type=PLAIN_PATH,
    help="Music to calibrate with: a file, or a directory (20 tracks are used). Repeatable.",
)


@models.command("import", epilog=EXIT_CODES, short_help="Install a trained or a published model.")
@click.argument("checkpoint", metavar="RUN|FILE", type=PATH)
@_music_option
@click.option(
    "--name", metavar="NAME", help="Name of the model.  [default: the file's name, with - for _]"
)
@click.option(
    "--config",
    metavar="JSON",
    type=PLAIN_PATH,
    help="Published configuration of the network.  [default: that of ear_vae_44k]",
)
@click.option(
    "--licence",
    metavar="TEXT",
    default="not stated",
    help="Licence of the weights, stored with them.",
)
@click.option(
    "--source", metavar="TEXT", default="", help="Origin of the weights, stored with them."
)
@one_device_options("device", "precision")
@run_options("force")
@knows_urls
def import_(
    *,
    checkpoint: Path,
    music: tuple[Path, ...],
    name: str | None,
    config: Path | None,
    licence: str,
    source: str,
    runtime: Runtime,
    run: RunOptions,
) -> int:
    """Convert a trained network, calibrate it on music, and install it.

    RUN is the directory of a finished `earzip train run`. FILE is a published εar-VAE: its .pyt, from
    which only tensors are unpickled, or a safetensors file with the same keys. The model is installed in
    earzip/models under $XDG_DATA_HOME (~/.local/share).
    """
    from earzip.models.install import ImportOptions, import_model  # noqa: PLC0415  # loads torch

    options = ImportOptions(
        name=name if name is not None else checkpoint.resolve().stem.replace("_", "-"),
        licence=licence,
        source=source,
        config=config,
        runtime=runtime,
        force=run.force,
        on_unreadable=_report_unreadable,
    )
    with fetched(checkpoint) as here:
        spec = import_model(here, music, options)
    click.echo(_line(spec, len(spec.name)))
    return ExitCode.OK


@models.command("fetch", epilog=EXIT_CODES, short_help="Fetch and install a published model.")
@click.argument("name", metavar="NAME")
@_music_option
@click.option("--revision", metavar="REV", help="Require this commit, tag or branch.")
@click.option("--sha256", metavar="HEX", help="Require this SHA-256 of the published file.")
@one_device_options("device", "precision")
@run_options("force")
def fetch(
    *,
    name: str,
    music: tuple[Path, ...],
    revision: str | None,
    sha256: str | None,
    runtime: Runtime,
    run: RunOptions,
) -> int:
    """Fetch a published checkpoint from the Hugging Face hub and install it like `import`.

    NAME is ear-vae-44k. The file's revision and SHA-256 are shown and stored with the model. Files in the
    hub's cache are not fetched again.
    """
    from earzip.models.hub import fetch_checkpoint  # noqa: PLC0415  # loads huggingface_hub
    from earzip.models.install import ImportOptions, import_model  # noqa: PLC0415  # loads torch

    fetched = fetch_checkpoint(name, revision=revision, sha256=sha256)
    click.echo(f"fetched {printable(fetched.source)}", err=True)
    options = ImportOptions(
        name=name,
        licence=fetched.publication.licence,
        source=fetched.source,
        runtime=runtime,
        force=run.force,
        on_unreadable=_report_unreadable,
    )
    spec = import_model(fetched.path, music, options)
    click.echo(_line(spec, len(spec.name)))
    return ExitCode.OK


@models.command("calibrate", epilog=EXIT_CODES, short_help="Calibrate a model on your music.")
@click.argument("name", metavar="NAME")
@_music_option
@one_device_options("device", "precision")
def calibrate(*, name: str, music: tuple[Path, ...], runtime: Runtime) -> int:
    """Recalibrate the quantiser steps of an imported model on your own music.

    The resulting rate of each quality is shown and stored. Existing archives stay readable; the next
    `compress` replaces them.
    """
    from earzip.models.install import calibrate_model  # noqa: PLC0415  # loads torch

    spec = calibrate_model(
        find_model(name),
        music,
        runtime,
        _report_unreadable,
    )
    click.echo(_line(spec, len(spec.name)))
    return ExitCode.OK


@models.command("export", epilog=EXIT_CODES, short_help="Copy what archives need to a directory.")
@click.argument("name", metavar="NAME")
@click.option("-o", "--output", metavar="DIR", required=True, type=PATH)
@run_options("force")
@knows_urls
def export(*, name: str, output: Path, run: RunOptions) -> int:
    """Copy a model and the archive format's specification to a directory, to keep with archives.

    Set EARZIP_MODELS=DIR to use the model there.
    """
    from earzip.models.install import export_model  # noqa: PLC0415  # loads torch

    spec = find_model(name)
    if isinstance(output, Url):
        export = partial(export_model, spec)
        places: Sequence[Path] = put_by(export, output, replace=run.force)
    else:
        places = export_model(spec, output, force=run.force)
    for path in places:
        click.echo(printable(str(path)))
    return ExitCode.OK


@models.command("thd", epilog=EXIT_CODES, short_help="Measure a model's distortion of a sine.")
@click.argument("name", metavar="NAME")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=PLAIN_PATH,
    help="Also draw the spectra to this .png file.",
)
@run_options("force", "as_json")
@one_device_options("device", "precision", "threads", "batch_size")
def thd(*, name: str, output: Path | None, run: RunOptions, runtime: Runtime) -> int:
    """Measure distortion and noise (THD+N) of a 997 Hz sine at each quality of a model.

    NAME is a name from `earzip models list`, or a .json file.
    """
    _require_picture(output, force=run.force)
    require_eval()
    verify_model(find_model(name))
    from earzip.evaluate.tones import evaluate_tones  # noqa: PLC0415  # loads numpy

    tones = []
    with CodecPool(runtime).checked() as codecs:
        if not run.as_json:
            click.echo("quality  sine dBFS  restored dBFS  THD+N dB  THD+N %")
        for found in evaluate_tones(name, codecs=codecs):
            tones.append(found)
            if run.as_json:
                click.echo(json.dumps(found.to_json()))
                continue
            click.echo(
                f"{found.quality:<7}  {found.level_dbfs:9.1f}  {found.thd_n.level_dbfs:13.2f}  "
                f"{found.thd_n.db:8.1f}  {found.thd_n.percent:7.3g}"
            )
    if output is not None:
        from earzip.evaluate.tones_plot import draw_tones  # noqa: PLC0415  # loads matplotlib

        draw_tones(tones, output, replace=run.force)
    return ExitCode.OK


def _require_picture(output: Path | None, *, force: bool) -> None:
    """Raise before the work if ``output`` is no picture that can be written."""
    if output is None:
        return
    if output.suffix.lower() != ".png":
        raise UsageError("a picture must end in .png", output)
    if is_folder(output):
        raise UsageError("is a directory; expected a file for the picture", output)
    if not is_folder(output.parent):
        raise TargetError("its directory does not exist", output)
    if not force and os.path.lexists(output):
        raise TargetError("already exists; add --force to replace it", output)


def _report_unreadable(error: SourceError) -> None:
    click.echo(f"earzip: skipped: {printable(str(error))}", err=True)


def _verify(spec: ModelSpec) -> FileRecord:
    try:
        verify_model(spec)
    except EarzipError as error:
        return _problem(error)
    return FileRecord(FileStatus.INTACT, spec.weights_path, figures={"name": spec.name})


def _problem(error: EarzipError) -> FileRecord:
    assert error.path is not None
    damaged = isinstance(error, ModelDamagedError)
    status = FileStatus.DAMAGED if damaged else FileStatus.FAILED
    return FileRecord(status, Path(error.path), message=error.message)


def _line(spec: ModelSpec, width: int) -> str:
    return (
        f"{spec.name:<{width}}  {spec.sha256[:16]}  {spec.n_latents} latents  {_rates(spec)}  "
        f"{printable(spec.licence)}  {printable(str(spec.path))}"
    )


def _rates(spec: ModelSpec) -> str:
    """Return the rates of the presets in words, ``?`` for one that was not measured."""
    rates = {quality: spec.presets[quality].kbps for quality in QUALITIES}
    words = [f"{name} {'?' if rate is None else f'{rate:.1f}'}" for name, rate in rates.items()]
    return f"{', '.join(words)} kbps"


def _to_json(spec: ModelSpec) -> dict[str, object]:
    return {
        "name": spec.name,
        "sha256": spec.sha256,
        "architecture": spec.architecture,
        "n_latents": spec.n_latents,
        "kbps": {quality: spec.presets[quality].kbps for quality in QUALITIES},
        "licence": spec.licence,
        "source": spec.source,
        "path": str(spec.path),
    }
