"""URLs on the command line: what is below them is planned as files that stand in for the objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from earzip.batch.filters import Choice
from earzip.batch.rendezvous import Launch
from earzip.cli.streams import naming
from earzip.errors import EarzipError, UsageError
from earzip.stores.urls import Url

if TYPE_CHECKING:
    from earzip.stores.stand_ins import StandIns

_KEY = "earzip.stores"
_ONLY_FILES = {
    "copy_other": "--copy-other",
    "prune": "--prune",
    "split": "--split",
    "with_model": "--with-model",
}
"""Options that are about directories of this machine."""


def takes_urls(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command work with URLs among its paths: it gets paths of files that stand in for objects.

    Put it right above the command. Without a URL it changes nothing, and loads nothing.
    """

    @wraps(command)
    def with_files(**arguments: Any) -> Any:
        urls = set(_urls_in(arguments.values()))
        if not urls:
            return command(**arguments)
        _refuse_only_files(arguments, min(urls))
        from earzip.stores.stand_ins import StandIns  # noqa: PLC0415  # loads fsspec

        with StandIns() as files, naming(files.named), _errors_named(files.named):
            click.get_current_context().meta[_KEY] = files
            if not _is_led():
                others = {url for url in urls if url == arguments.get("output")}
                files.make(urls - others, others)
            here = {name: _with_files(value, files) for name, value in arguments.items()}
            return command(**here)

    with_files.takes_urls = True  # type: ignore[attr-defined]  # the wrappers around it pass it on
    return with_files


def knows_urls(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command have `Url`s among its paths as they are."""
    command.takes_urls = True  # type: ignore[attr-defined]
    return command


@contextmanager
def fetched(path: Path) -> Iterator[Path]:
    """Give the file or directory ``path``, of a URL a copy. Raises SourceError."""
    if not isinstance(path, Url):
        yield path
        return
    from earzip.stores.copies import fetch  # noqa: PLC0415  # loads fsspec

    with TemporaryDirectory(prefix="earzip-") as folder:
        here = fetch(path, Path(folder))
        with _called(path, here):
            yield here


def put_by(make: Callable[[Path], Sequence[Path]], url: Url, *, replace: bool) -> list[Url]:
    """Put the files below ``url`` that ``make`` makes in a directory. Raises TargetError."""
    from earzip.stores.copies import put  # noqa: PLC0415  # loads fsspec

    with TemporaryDirectory(prefix="earzip-") as folder:
        here = Path(folder)
        with _called(url, here):
            return put(make(here), url, replace=replace)


@contextmanager
def _called(url: Url, path: Path) -> Iterator[None]:
    """Let the errors of a block say ``url`` where they say ``path``."""
    with _errors_named(lambda text: text.replace(str(path), str(url))):
        yield


@contextmanager
def _errors_named(named: Callable[[str], str]) -> Iterator[None]:
    try:
        yield
    except EarzipError as error:
        error.message = named(error.message)
        error.path = error.path and named(error.path)
        raise


def _is_led() -> bool:
    """Return whether this process gets its jobs from another one of a launcher, which lists."""
    launch = Launch.from_environment()
    return launch is not None and launch.rank > 0


def stand_ins() -> StandIns | None:
    """Return what stands in for the objects of the command that is running; None without a URL."""
    context = click.get_current_context(silent=True)
    files: StandIns | None = context.meta.get(_KEY) if context else None
    return files


def _urls_in(values: Any) -> Iterator[Url]:
    for value in values:
        if isinstance(value, Url):
            yield value
        elif isinstance(value, tuple):
            yield from _urls_in(value)
        elif isinstance(value, Choice):
            yield from _urls_in(value.listed or ())


def _with_files(value: Any, files: StandIns) -> Any:
    if isinstance(value, Url):
        return files.path_of(value)
    if isinstance(value, tuple):
        return tuple(_with_files(each, files) for each in value)
    if isinstance(value, Choice) and value.listed:
        return replace(value, listed=_with_files(value.listed, files))
    return value


def _refuse_only_files(arguments: Mapping[str, Any], url: Url) -> None:
    given = {**vars(arguments["run"]), **arguments}
    for name, option in _ONLY_FILES.items():
        if given.get(name):
            raise UsageError(
                f"{option} works with directories of this machine alone, not with URLs", url
            )
