"""``earzip list``: a line a track."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from earzip.cli.lines import in_columns
from earzip.cli.list import _text_table
from tests.formats.archive.samples import sample_header, write_sample

FIGURES: dict[str, Any] = {
    "duration_s": 3723.0,
    "archive_bytes": 2_560_000,
    "kbps": 5.46,
    "quality": "medium",
    "fields": {"artist": ["Nina Simone"], "title": ["Sinnerman"], "album": ["Pastel Blues"]},
}


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    header = sample_header(44_100)
    for name in ("B/2.flac", "A/1.flac", "x.flac"):
        path = tmp_path / "Archive" / f"{name}.earz"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_sample(path, replace(header, source=replace(header.source, name=path.stem)))
    return tmp_path / "Archive"


def test_tracks_are_listed_in_the_order_of_the_tree(earzip, library):
    outcome = earzip("list", "Archive", "--csv")
    assert outcome.exit_code == 0
    rows = [*csv.DictReader(io.StringIO(outcome.stdout))]
    assert [row["path"] for row in rows] == [
        f"Archive/{name}.flac.earz" for name in ("x", "A/1", "B/2")
    ]
    assert (rows[0]["artist"], rows[0]["title"], rows[0]["album"]) == ("B; A", "Ærø", "")
    assert (rows[0]["duration_s"], rows[0]["quality"], rows[0]["format"]) == (
        "1.0", "medium", "FLAC PCM_16",
    )  # fmt: skip
    assert outcome.stderr.startswith("3 tracks; 0:03 of audio; ")


def test_a_line_has_what_people_look_for(earzip, library):
    outcome = earzip("list", library / "x.flac.earz")
    heading, line = outcome.stdout.splitlines()
    assert heading.split() == ["time", "artist", "title", "album", "size", "kbps", "quality"]
    assert line.split()[:4] == ["0:01", "B;", "A", "Ærø"]
    assert line.split()[-1] == "medium"
    assert outcome.stderr.startswith("1 track; ")


def test_json_has_all_tags(earzip, library):
    *records, summary = earzip("list", "Archive", "--json").records
    assert [record["fields"] for record in records] == 3 * [
        {"title": ["Ærø"], "artist": ["B", "A"]}
    ]
    assert summary["read"] == 3
    assert summary["archive_bytes"] == sum(record["archive_bytes"] for record in records) > 0


def test_where_and_problems(earzip, library):
    (library / "x.flac.earz").write_bytes(b"")
    outcome = earzip("list", "Archive", "--where", "title:ær", "--exclude", "A", "--csv")
    assert outcome.exit_code == 3
    assert [line.split(",")[0] for line in outcome.stdout.splitlines()] == [
        "path", "Archive/B/2.flac.earz",
    ]  # fmt: skip
    assert "Archive/x.flac.earz" in outcome.stderr
    assert earzip("list", "--csv", "--json", "Archive").exit_code == 2


@pytest.mark.parametrize("width", [80, 100, 200])
def test_lines_fit_the_terminal(width):
    table = _text_table(width)
    fields = {"artist": ["Ärzte " * 30], "title": ["東京" * 50], "album": ["e\u0301" * 200]}
    lines = [table.heading, table.row(FIGURES, "x"), table.row(FIGURES | {"fields": fields}, "x")]
    wide = sum(character in "東京" for character in lines[2])
    marks = lines[2].count("\u0301")
    assert width - 2 <= len(lines[0]) <= width
    assert (
        len(lines[1])
        == len(lines[2]) + wide - marks
        == len(lines[0]) - len("quality") + len("medium")
    )
    assert lines[1].split("  ")[0] == "1:02:03"


def test_nothing_is_cut_where_no_terminal_is():
    fields = {"artist": ["a" * 100], "title": ["b" * 100]}
    line = _text_table(None).row(FIGURES | {"fields": fields}, "x")
    assert "a" * 100 in line
    assert "b" * 100 in line


def test_a_track_without_a_title_has_the_name_of_its_archive():
    line = _text_table(100).row(FIGURES | {"fields": {}}, "Archive/x.flac.earz")
    assert "x.flac.earz" in line


@pytest.mark.parametrize(
    ("text", "fitted"),
    [("abc", "abc  "), ("abcde", "abcde"), ("abcdef", "abcd…"), ("東京都", "東京…"), ("a\n b", "a b  "),
     ("a東京都", "a東… ")],
)  # fmt: skip
def test_texts_are_fitted_into_columns(text, fitted):
    assert in_columns(text, 5, cut=True) == fitted
