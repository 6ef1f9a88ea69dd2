"""Times, paths and counts as users write them."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from earzip.cli.piping import STDIO
from earzip.cli.values import PATH, Count, parse_time

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


@pytest.mark.parametrize("text", ["9" * 400, f"{'9' * 400}:00", f"{'9' * 5000}:00:00"])
def test_a_time_without_end_is_refused(text):
    with pytest.raises(click.BadParameter, match="at most 32 characters"):
        parse_time(_CONTEXT, _PARAMETER, text)


@pytest.mark.parametrize(
    "arguments",
    [
        ["compress", ""],
        ["compress", "x.wav", ""],
        ["compress", "x.wav", "-o", ""],
        ["compress", "x.wav", "--metrics="],
        ["restore", "x.earz", "-o", ""],
        ["evaluate", "", "y.wav"],
        ["report", "x.earz", "-o", "x.html", "--originals", ""],
        ["models", "export", "mini", "-o", ""],
        ["models", "import", "", "--music", "x.wav"],
        ["train", "prepare", "x.wav", "-o", ""],
    ],
)
def test_an_empty_path_is_not_the_working_directory(earzip, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    outcome = earzip(*arguments)
    assert outcome.exit_code == 2
    assert "the path is empty" in outcome.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["compress", "x.wav", "-o", "file:///tmp/x"],
        ["compress", "https://host/x.wav"],
        ["verify", "ftp://host/x.earz"],
        ["evaluate", "S3://bucket/x", "y.wav"],
        ["models", "export", "mini", "-o", "http://host/x"],
    ],
)
def test_a_url_of_no_store_is_not_a_directory_here(earzip, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    outcome = earzip(*arguments)
    assert outcome.exit_code == 2
    url = next(text for text in arguments if "://" in text)
    assert f"{url}: earzip takes paths and s3://, gs://, az:// and hf://" in outcome.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_called_like_a_scheme_is_named_with_a_dot():
    assert PATH("./file://x") == Path("file:/x")


def test_only_the_dash_itself_is_a_pipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    converted = {text: PATH(text) for text in ("-", "./-", "././-", "a/-", "./a")}
    assert converted == {
        "-": STDIO,
        "./-": tmp_path / "-",
        "././-": tmp_path / "-",
        "a/-": Path("a/-"),
        "./a": Path("a"),
    }


@pytest.mark.parametrize("text", ["2.5", "x"])
def test_a_count_that_is_none_says_what_is_expected(text):
    with pytest.raises(click.BadParameter, match=f"'{text}' is not a valid whole number"):
        Count()(text)
