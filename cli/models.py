"""``earzip models``: the models that are installed."""

from __future__ import annotations

import json
from pathlib import Path

import click

from earzip.checkpoints import ModelSpec, find_model, list_models, verify_model
from earzip.cli.options import EXIT_CODES, RunOptions, run_options
from earzip.cli.output import Printer, printable
from earzip.errors import EarzipError, ModelDamagedError
from earzip.report import FileRecord, FileStatus, Report

_SOME_FAILED = 3


@click.group()
def models() -> None:
    """List and check the models that are installed."""


@models.command("list", short_help="List the models.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines, one object a model.")
def list_(as_json: bool) -> int:
    """List the models: name, SHA-256 that archives name, latents, licence, file.

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
        f"{spec.name:<{width}}  {spec.sha256[:16]}  {spec.n_latents} latents  "
        f"{printable(spec.licence)}  {printable(str(spec.path))}"
    )


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
