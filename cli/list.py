"""``earzip list``: a line for each archived track."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from earzip.batch.filters import Choice
from earzip.cli.choice import choice_options
from earzip.cli.help import EXIT_CODES
from earzip.cli.lines import in_columns
from earzip.cli.output import Table, size
from earzip.cli.piping import plan_reading
from earzip.cli.run import run as run_task
from earzip.cli.run_options import RunOptions, run_options
from earzip.cli.stores import takes_urls
from earzip.cli.where import Query, matching, where_option
from earzip.errors import UsageError
from earzip.formats.geometry import clock
from earzip.tasks import ListTask


@click.command("list", epilog=EXIT_CODES, short_help="List archived tracks, a line each.")
@choice_options
@where_option
@click.option(
    "--csv", "as_csv", is_flag=True, help="Print CSV, with more columns, and nothing cut."
)
@run_options("as_json")
@takes_urls
def list_(
    *,
    paths: tuple[Path, ...],
    choice: Choice,
    where: Query | None,
    as_csv: bool,
    run: RunOptions,
) -> int:
    """List archived tracks, a line each: time, artist, title, album, size, kbps, quality.

    PATH is an archive or a directory (searched recursively). Needs no model. Lines are cut to the width
    of a terminal; elsewhere nothing is. --json has all tags. The rate leaves out pictures.
    """
    if as_csv and run.as_json:
        raise UsageError("--csv and --json exclude each other")
    table = _csv_table() if as_csv else _text_table(_text_width())
    planning = matching(plan_reading(paths, choice), where)
    return run_task(planning, ListTask(), run, one_by_one=True, keeps_results=False, table=table)


list = list_  # noqa: A001  # the name of the command

_TAGS = ("artist", "title", "album", "albumartist", "date", "discnumber", "tracknumber", "genre")
_FIGURES = ("duration_s", "archive_bytes", "picture_bytes", "kbps", "quality", "model")


def _csv_table() -> Table:
    def row(figures: Mapping[str, Any], name: str) -> str:
        tags = ["; ".join(figures["fields"].get(tag, ())) for tag in _TAGS]
        facts = [figures[figure] for figure in _FIGURES]
        return _csv_line([name, *tags, *facts, " ".join(figures["format"])])

    return Table(_csv_line(["path", *_TAGS, *_FIGURES, "format"]), row, counted="track")


def _csv_line(cells: Any) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


def _text_width() -> int | None:
    """Return how many columns the terminal at stdout has; None if it is none, or does not say."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except OSError:
        return None


_SHARES = (3, 4, 3)
"""How artist, title and album share what a line has for them."""
_FIXED = 38  # columns: all else
_USUAL = 110  # columns, if no terminal says how many there are
_LEAST = 30  # columns, for the three


def _text_table(width: int | None) -> Table:
    """Return the table for a terminal of ``width`` columns; None: nothing is cut."""
    free = max(_LEAST, (width or _USUAL) - _FIXED)
    widths = [free * share // sum(_SHARES) for share in _SHARES]

    def line(time: str, texts: Any, n_bytes: str, kbps: str, quality: str) -> str:
        cells = [
            in_columns(text, n, cut=width is not None)
            for text, n in zip(texts, widths, strict=True)
        ]
        return f"{time:>7}  {'  '.join(cells)}  {n_bytes:>7}  {kbps:>5}  {quality}"

    def row(figures: Mapping[str, Any], name: str) -> str:
        fields = figures["fields"]
        artist, title, album = (
            "; ".join(fields.get(tag, ())) for tag in ("artist", "title", "album")
        )
        return line(
            clock(figures["duration_s"]),
            (artist, title or Path(name).name, album),
            size(figures["archive_bytes"]),
            f"{figures['kbps']:.1f}",
            figures["quality"],
        )

    heading = line("time", ("artist", "title", "album"), "size", "kbps", "quality")
    return Table(heading, row, counted="track")
