"""Arguments and options that several commands share, and how a group of them becomes one record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import click
from click.core import ParameterSource

from earzip.cli.values import PATH, quality_from_text
from earzip.errors import UsageError
from earzip.options import DEFAULT_MODEL, FIT_RANGE, PICTURES

Function = Callable[..., Any]

paths_argument = click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=PATH)


def output_option(help_text: str) -> Callable[[Function], Function]:
    """Return the option -o with the help of the command."""
    return click.option("-o", "--output", metavar="OUT", type=PATH, help=help_text)


def quality_options(*, quality: str, bitrate: str, model: str) -> Callable[[Function], Function]:
    """Add --quality, --bitrate and --model to a command, with a help text each."""
    return _adding(
        click.option(
            "--quality",
            type=quality_from_text,
            metavar="low|medium|high|0-10",
            default="medium",
            show_default=True,
            help=quality,
        ),
        click.option("--bitrate", metavar="KBPS", type=float, help=bitrate),
        click.option(
            "--model", metavar="NAME", default=DEFAULT_MODEL, show_default=True, help=model
        ),
    )


def picture_options(*, pictures: str, fit: str) -> Callable[[Function], Function]:
    """Add --pictures and --fit-pictures to a command, with a help text each."""
    return _adding(
        click.option("--pictures", type=click.Choice(PICTURES), help=pictures),
        click.option("--fit-pictures", metavar="PIXELS", type=click.IntRange(*FIT_RANGE), help=fit),
    )


def _adding(*options: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Return a decorator that adds ``options`` to a command, in this order."""

    def decorate(command: Function) -> Function:
        for add_option in reversed(options):
            command = add_option(command)
        return command

    return decorate


def given_bitrate(kbps: float | None) -> float | None:
    """Return the bitrate, None where a quality of the command line is to count instead of it."""
    source = click.get_current_context().get_parameter_source
    given = [source(name) == ParameterSource.COMMANDLINE for name in ("quality", "bitrate")]
    if all(given):
        raise UsageError("--bitrate and --quality exclude each other")
    return None if given[0] else kbps


def gathered(
    name: str, record: type, options: Mapping[str, Callable[[Function], Function]]
) -> Callable[[Function], Function]:
    """Return a decorator that adds ``options`` to a command and passes them on as one record."""

    def decorate(command: Function) -> Function:
        @wraps(command)
        def with_record(**arguments: Any) -> Any:
            values = {option: arguments.pop(option) for option in options}
            return command(**{name: record(**values)}, **arguments)

        return _adding(*options.values())(with_record)

    return decorate
