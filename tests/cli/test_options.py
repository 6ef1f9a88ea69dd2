"""Times as users write them."""

from __future__ import annotations

import click
import pytest

from earzip.cli.options import parse_time

_PARAMETER = click.Option(["--start"])
_CONTEXT = click.Context(click.Command("restore"))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("90.5", 90.5),
        ("3600", 3600.0),
        (".25", 0.25),
        ("1:30", 90.0),
        ("01:02.5", 62.5),
        ("90:00", 5400.0),
        ("1:00:00.001", 3600.001),
        (None, None),
    ],
)
def test_a_time_is_seconds_or_has_colons(text, seconds):
    assert parse_time(_CONTEXT, _PARAMETER, text) == seconds


@pytest.mark.parametrize("text", ["", "x", "-1", "1:60", "1:60:00", "1:2:3:4", "1e3", "nan", "٣"])
def test_anything_else_is_refused(text):
    with pytest.raises(click.BadParameter):
        parse_time(_CONTEXT, _PARAMETER, text)
