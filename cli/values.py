"""What users write on a command line, and what it stands for: paths, counts, times, parts."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import click

from earzip.cli.piping import STDIO
from earzip.errors import UsageError
from earzip.options import QUALITIES, quality_name
from earzip.stores.urls import SUPPORTED, is_other_url, is_url, parse_url


class NamedPath(click.Path):
    """A path that is not empty: a variable that a script has not set is not the working directory.

    A URL of a store is a path only to commands that take one, by `earzip.cli.stores.takes_urls`. Other
    URLs are none: as a path, ``file:///tmp/x`` would be a directory ``file:`` here.
    """

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        """Return the path. Raises BadParameter."""
        if not os.fspath(value):
            self.fail("the path is empty", param, ctx)
        if is_url(value):
            self.fail(f"{os.fspath(value)} is a URL, expected a path of this machine", param, ctx)
        if is_other_url(value):
            self.fail(f"{os.fspath(value)}: earzip takes paths and {SUPPORTED}", param, ctx)
        return super().convert(value, param, ctx)


class PathOrDash(NamedPath):
    """A path or a URL; only ``-`` as it stands is `STDIO`: ``./-`` is a file of that name."""

    def __init__(self) -> None:
        super().__init__(allow_dash=True, path_type=Path)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        """Return the path; an absolute one where it would be taken for `STDIO`."""
        takes_urls = ctx and getattr(ctx.command.callback, "takes_urls", False)
        if takes_urls and is_url(value):
            return parse_url(os.fspath(value))
        super().convert(value, param, ctx)
        path = Path(value)
        return path.absolute() if path == STDIO and value not in ("-", STDIO) else path


PATH = PathOrDash()
PLAIN_PATH = NamedPath(path_type=Path)
"""For a path that may not be `STDIO`, or is a file of that name."""


class Count(click.IntRange):
    """A whole number from 1 up."""

    name = "whole number"

    def __init__(self) -> None:
        super().__init__(min=1)


class _Parsed(Protocol):
    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what ``text`` stands for. Raises UsageError."""


_Kind = TypeVar("_Kind", bound=_Parsed)


class ParsedBy(click.ParamType[_Kind]):
    """What the method ``parse`` of a class ``kind`` makes of a text; ``name`` says what it is."""

    def __init__(self, kind: type[_Kind], name: str) -> None:
        self.kind, self.name = kind, name

    def convert(
        self, value: str | _Kind, param: click.Parameter | None, ctx: click.Context | None
    ) -> _Kind:
        """Return what the text stands for. Raises BadParameter."""
        try:
            return value if isinstance(value, self.kind) else self.kind.parse(str(value))
        except UsageError as error:
            self.fail(error.message, param, ctx)


def quality_from_text(text: str) -> str:
    """Return what archives call a quality; BadParameter for what is none."""
    try:
        return quality_name(text)
    except UsageError as error:
        expected = f"{', '.join(QUALITIES)} or a number from 0 to 10"
        raise click.BadParameter(f"{text!r} is not {expected}") from error


def parse_time(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """Return the seconds of a time in a track; an option's callback."""
    return None if value is None else seconds_from_text(value)


def seconds_from_text(value: str) -> float:
    """Return the seconds of a time: ``90.5`` or ``[h:]m:s``; BadParameter for what is none."""
    if len(value) > _MAX_TIME_LENGTH:
        raise click.BadParameter(f"a time has at most {_MAX_TIME_LENGTH} characters")
    found = _TIME.fullmatch(value)
    if not found:
        raise click.BadParameter(f"{value!r} is neither seconds (90.5) nor [h:]m:s (1:30.5)")
    hours, minutes, seconds = found["h"], found["m"], float(found["s"])
    if (minutes and seconds >= 60) or (hours and int(minutes) >= 60):
        raise click.BadParameter(f"{value!r}: minutes and seconds must be below 60")
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + seconds


_MAX_TIME_LENGTH = 32
_TIME = re.compile(r"(?:(?:(?P<h>\d+):)?(?P<m>\d+):)?(?P<s>\d+(?:\.\d*)?|\.\d+)", re.ASCII)
