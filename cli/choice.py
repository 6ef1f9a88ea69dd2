"""The options that choose files: what of the paths of a command it works on."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click

from earzip.batch.filters import Choice, Filters
from earzip.batch.places import is_folder
from earzip.batch.rendezvous import Launch
from earzip.cli.options import Function
from earzip.cli.piping import STDIO
from earzip.cli.values import PATH
from earzip.errors import UsageError
from earzip.stores.urls import SUPPORTED, Url, is_other_url, is_url, parse_url

_EXCLUDE = click.option(
    "--exclude",
    metavar="GLOB",
    multiple=True,
    help="Leave out files and directories of this name, or with a slash at this path below PATH: "
    "'*.mp3', Demos/, 'Jazz/**/live'. Repeatable.",
)
_INCLUDE = click.option(
    "--include",
    metavar="GLOB",
    multiple=True,
    help="Take only what matches, less what is excluded. Repeatable.",
)
_FILES_FROM = click.option(
    "--files-from",
    metavar="FILE",
    type=PATH,
    help="Take the files and directories that FILE lists, a path a line (or ended by NUL bytes); - is "
    "standard input. With PATHs, they must be below these, and results keep their tree.",
)
_ARGUMENT = click.argument("paths", metavar="PATH...", nargs=-1, type=PATH)


def filter_options(command: Function) -> Function:
    """Add --exclude and --include, which a command gets as ``filters``."""

    @wraps(command)
    def with_filters(*, exclude: Sequence[str], include: Sequence[str], **arguments: Any) -> Any:
        return command(filters=Filters.of(exclude, include), **arguments)

    decorated: Function = _EXCLUDE(_INCLUDE(with_filters))
    return decorated


def choice_options(command: Function) -> Function:
    """Add the argument PATH..., --exclude, --include and --files-from: ``paths`` and ``choice``."""

    @wraps(command)
    def with_choice(
        *, paths: tuple[Path, ...], files_from: Path | None, filters: Filters, **arguments: Any
    ) -> Any:
        if files_from is None:
            if not paths:
                raise click.UsageError("Missing argument 'PATH...'.", click.get_current_context())
            return command(paths=paths, choice=Choice(filters), **arguments)
        if STDIO in paths:
            raise UsageError("--files-from and standard input exclude each other")
        folders = (path for path in paths if not isinstance(path, Url))
        if others := [path for path in folders if not is_folder(path)]:
            raise UsageError("is not a directory, whose files --files-from could list", others[0])
        launch = Launch.from_environment()
        if launch and launch.rank and files_from == STDIO:
            listed: tuple[Path, ...] = ()  # it is read once, by rank 0, which plans for all
        else:
            listed = _read_list(files_from, takes_urls=getattr(command, "takes_urls", False))
        choice = Choice(filters, listed if paths else None, is_from_list=True)
        return command(paths=paths or listed, choice=choice, **arguments)

    decorated: Function = _ARGUMENT(filter_options(_FILES_FROM(with_choice)))
    return decorated


def _read_list(path: Path, *, takes_urls: bool) -> tuple[Path, ...]:
    """Return the paths that a file lists; URLs only if the command takes them. Raises UsageError."""
    try:
        data = sys.stdin.buffer.read() if path == STDIO else path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror or error}", path) from error
    lines = data.split(b"\0" if b"\0" in data else b"\n")
    names = ((i, os.fsdecode(line)) for i, line in enumerate(lines, 1) if line.strip())
    return tuple(_listed(name, f"line {i} of {path}", takes_urls) for i, name in names)


def _listed(name: str, place: str, takes_urls: bool) -> Path:
    """Return the path or URL of one line of a list, ``place``. Raises UsageError."""
    if is_other_url(name):
        raise UsageError(f"{name}: earzip takes paths and {SUPPORTED}", place)
    if not is_url(name):
        return Path(name)
    if not takes_urls:
        raise UsageError(f"{name} is a URL, expected a path of this machine", place)
    try:
        return parse_url(name)
    except UsageError as error:
        raise UsageError(f"{name}: {error.message}", place) from error
