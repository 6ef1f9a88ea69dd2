"""``earzip models``: the models that are installed, and how others come and go."""

from __future__ import annotations

import json
from pathlib import Path

import click

from earzip.cli.options import (
    EXIT_CODES,
    RunOptions,
    device_option,
    precision_option,
    run_options,
)
from earzip.cli.output import Printer, printable
from earzip.errors import EarzipError, ModelDamagedError, SourceError
from earzip.models.spec import QUALITIES, ModelSpec
from earzip.models.store import find_model, list_models, verify_model
from earzip.results import FileRecord, FileStatus, Report
from earzip.runtime import choose_device

_SOME_FAILED = 3


@click.group()
def models() -> None:
    """List, check, fetch, import, calibrate and export models."""


@models.command("list", short_help="List the models.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines, one object a model.")
def list_(as_json: bool) -> int:
    """List the models: name, SHA-256 that archives name, latents, kbps, licence, file.

    The rates of low, medium and high are those on the music that the model was calibrated with.
    A file among them that is no model is named on stderr, and the exit code is 3.
    """
    specs, problems = list_models()
    width = max((len(spec.name) for spec in specs), default=0)
    for spec in specs:
        click.echo(json.dumps(_to_json(spec)) if as_json else _line(spec, width))
    for problem in problems:
        click.echo(f"earzip: {printable(str(problem))}", err=True)
    return _SOME_FAILED if problems else 0


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
    type=click.Path(path_type=Path),
    help="Music to calibrate with: a file or a folder, of which 20 tracks are taken. May be repeated.",
)


@models.command("import", epilog=EXIT_CODES, short_help="Install a trained or a published model.")
@click.argument("checkpoint", metavar="RUN|FILE", type=click.Path(path_type=Path))
@_music_option
@click.option(
    "--name", metavar="NAME", help="What to call the model.  [default: the file's name, - for _]"
)
@click.option(
    "--config",
    metavar="JSON",
    type=click.Path(path_type=Path),
    help="The network's configuration, as published.  [default: that of ear_vae_44k]",
)
@click.option(
    "--licence",
    metavar="TEXT",
    default="not stated",
    help="Under what terms the weights come, to be kept with them.",
)
@click.option("--source", metavar="TEXT", default="", help="Where the weights come from.")
@device_option
@precision_option
@run_options("force")
def import_(
    *,
    checkpoint: Path,
    music: tuple[Path, ...],
    name: str | None,
    config: Path | None,
    licence: str,
    source: str,
    device: str,
    precision: str,
    run: RunOptions,
) -> int:
    """Convert a trained network, calibrate it on music, and install it.

    RUN is the folder of a finished run of `earzip train run`. FILE is a published εar-VAE: its .pyt,
    of which only tensors are unpickled, or a safetensors file with the same keys. The model goes to
    earzip/models under $XDG_DATA_HOME (~/.local/share).
    """
    from earzip.models.install import ImportOptions, import_model  # noqa: PLC0415  # loads torch

    options = ImportOptions(
        name=name if name is not None else checkpoint.resolve().stem.replace("_", "-"),
        licence=licence,
        source=source,
        config=config,
        device=choose_device(device, precision),
        precision=precision,
        force=run.force,
        on_unreadable=_tell_unreadable,
    )
    spec = import_model(checkpoint, music, options)
    click.echo(_line(spec, len(spec.name)))
    return 0


@models.command("fetch", epilog=EXIT_CODES, short_help="Fetch and install a published model.")
@click.argument("name", metavar="NAME")
@_music_option
@click.option("--revision", metavar="REV", help="Require this commit, tag or branch.")
@click.option("--sha256", metavar="HEX", help="Require this SHA-256 of the published file.")
@device_option
@precision_option
@run_options("force")
def fetch(
    *,
    name: str,
    music: tuple[Path, ...],
    revision: str | None,
    sha256: str | None,
    device: str,
    precision: str,
    run: RunOptions,
) -> int:
    """Fetch a published checkpoint from the Hugging Face hub and install it as `import` does.

    NAME is ear-vae-44k. The file's revision and SHA-256 are shown and kept with the model. What the
    hub's own cache holds is not fetched again.
    """
    from earzip.models.hub import fetch_checkpoint  # noqa: PLC0415  # loads huggingface_hub
    from earzip.models.install import ImportOptions, import_model  # noqa: PLC0415  # loads torch

    fetched = fetch_checkpoint(name, revision=revision, sha256=sha256)
    click.echo(f"fetched {printable(fetched.source)}", err=True)
    options = ImportOptions(
        name=name,
        licence=fetched.publication.licence,
        source=fetched.source,
        device=choose_device(device, precision),
        precision=precision,
        force=run.force,
        on_unreadable=_tell_unreadable,
    )
    spec = import_model(fetched.path, music, options)
    click.echo(_line(spec, len(spec.name)))
    return 0


@models.command("calibrate", epilog=EXIT_CODES, short_help="Measure a model's steps on music.")
@click.argument("name", metavar="NAME")
@_music_option
@device_option
@precision_option
def calibrate(*, name: str, music: tuple[Path, ...], device: str, precision: str) -> int:
    """Measure the quantiser's steps of an imported model anew, on music of your own.

    The rates that the qualities give on that music are shown and kept.

    Archives that were made before stay readable; a folder that is compressed again is written anew.
    """
    from earzip.models.install import calibrate_model  # noqa: PLC0415  # loads torch

    spec = calibrate_model(
        find_model(name), music, choose_device(device, precision), precision, _tell_unreadable
    )
    click.echo(_line(spec, len(spec.name)))
    return 0


@models.command("export", epilog=EXIT_CODES, short_help="Copy what archives need to a folder.")
@click.argument("name", metavar="NAME")
@click.option("-o", "--output", metavar="DIR", required=True, type=click.Path(path_type=Path))
@run_options("force")
def export(*, name: str, output: Path, run: RunOptions) -> int:
    """Copy a model and the text of the archive format to a folder, to be kept beside archives.

    EARZIP_MODELS=DIR makes earzip find the model there.
    """
    from earzip.models.install import export_model  # noqa: PLC0415  # loads torch

    for path in export_model(find_model(name), output, force=run.force):
        click.echo(printable(str(path)))
    return 0


def _tell_unreadable(error: SourceError) -> None:
    click.echo(f"earzip: left out: {printable(str(error))}", err=True)


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
