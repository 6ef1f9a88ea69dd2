"""Lines on standard output and standard error: safe for a terminal, and left out where that is lost."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from earzip.cli.lines import fitted
from earzip.errors import EarzipError

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_TERMINALS = {number for number in (1, 2) if os.isatty(number)}
"""Standard output and error, if they were terminals when the process began."""


_naming: list[Callable[[str], str]] = []
"""What gives files other names in what is printed."""


@contextmanager
def naming(named: Callable[[str], str]) -> Iterator[None]:
    """Print ``named`` of each line: what the user calls the files that it names."""
    _naming.append(named)
    try:
        yield
    finally:
        _naming.remove(named)


_results: TextIO | None = None
"""Standard output, while it is kept from others."""


@contextmanager
def only_results_on_stdout() -> Iterator[None]:
    """Send what libraries print to standard error: standard output has results alone."""
    global _results  # of the process, as sys.stdout is
    _results, sys.stdout = sys.stdout, sys.stderr
    try:
        yield
    finally:
        sys.stdout, _results = _results, None


def echo(text: str, *, err: bool = False) -> None:
    """Print a line on standard output, or with ``err`` on standard error.

    If that is a terminal that has been lost since, or an error stream that cannot be written, it is
    left out, and so is what follows: the work goes on, and its exit code tells. Raises OSError where
    results cannot be written.
    """
    try:
        for named in _naming:
            text = named(text)
        click.echo(text, None if err else _results, err=err)
    except OSError as error:
        number = 2 if err else 1
        is_lost = error.errno == errno.EIO and number in _TERMINALS
        if not is_lost and (not err or error.errno == errno.EPIPE):
            raise
        os.dup2(open_null(), number)


def open_null() -> int:
    """Return a descriptor that discards what is written to it; where there is no /dev too."""
    try:
        return os.open(os.devnull, os.O_RDWR)
    except OSError:
        return os.memfd_create("null")


def printable(text: str) -> str:
    """Return ``text`` on one line, safe for a terminal: control characters are spelt out."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def log(level: str, text: str, rank: int | None = None, path: Path | None = None) -> None:
    """Print on stderr: ``earzip: rank 1: warning: path: …``, without a rank or a path if it is None."""
    who = "" if rank is None else f"rank {rank}: "
    what = "" if path is None else f"{path}: "
    tell(text, f"{who}{level}: {what}")


def complain(error: EarzipError) -> None:
    """Print an error on stderr: ``earzip: path: …``."""
    tell(error.message, "" if error.path is None else f"{error.path}: ")


def tell(text: str, head: str = "") -> None:
    """Print ``earzip: `` and ``text`` on stderr, within the width of a terminal; ``head`` stays whole."""
    echo(fitted(f"earzip: {printable(head)}", printable(text)), err=True)
