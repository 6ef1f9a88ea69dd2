"""``earzip models``: the models that are installed."""

from __future__ import annotations

import json

import click

from earzip.checkpoints import ModelSpec, find_model, list_models, verify_model
from earzip.cli.options import EXIT_CODES, RunOptions, run_options
from earzip.cli.output import Printer, printable
from earzip.errors import EarzipError, ModelDamagedError
from earzip.report import FileRecord, FileStatus, Report


@click.group()
def models() -> None:
    """List and check the models that are installed."""


@models.command("list", short_help="List the models.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines, one object a model.")
def list_(as_json: bool) -> None:
    """List the models: name, SHA-256 that archives name, latents, licence, file."""
    specs = list_models()
    if as_json:
        for spec in specs:
            click.echo(json.dumps(_to_json(spec)))
        return
    width = max((len(spec.name) for spec in specs), default=0)
    for spec in specs:
        click.echo(
            f"{spec.name:<{width}}  {spec.sha256[:16]}  {spec.n_latents} latents  "
            f"{spec.licence}  {printable(str(spec.path))}"
        )


@models.command("verify", epilog=EXIT_CODES, short_help="Check the weights of models.")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@run_options("as_json")
def verify(*, names: tuple[str, ...], run: RunOptions) -> int:
    """Check the weights of models, all of them by default, against their SHA-256."""
    printer, report = Printer(run.as_json), Report()
    for spec in [find_model(name) for name in names] or list_models():
        record = _verify(spec)
        report.add(record)
        printer.record(record)
    printer.summary(report)
    return report.exit_code


def _verify(spec: ModelSpec) -> FileRecord:
    try:
        verify_model(spec)
    except EarzipError as error:
        damaged = isinstance(error, ModelDamagedError)
        status = FileStatus.DAMAGED if damaged else FileStatus.FAILED
        return FileRecord(status, spec.weights_path, message=error.message)
    return FileRecord(FileStatus.INTACT, spec.weights_path, figures={"name": spec.name})


def _to_json(spec: ModelSpec) -> dict[str, object]:
    return {
        "name": spec.name,
        "sha256": spec.sha256,
        "architecture": spec.architecture,
        "n_latents": spec.n_latents,
        "licence": spec.licence,
        "source": spec.source,
        "path": str(spec.path),
    }
