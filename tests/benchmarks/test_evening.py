"""The evening: its library, how archives are damaged, and what is written of a command."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.evening import HEAD, TAIL, Evening, Step, damage, report
from benchmarks.evening_library import CODINGS, RARE, STRANGE_NAMES, Library, retitle
from earzip.formats.tags.read import read_tags
from tests.cli.batch_runs import run

N_TRACKS = 8


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """An album of each format, and that of the rare ones."""
    folder = tmp_path_factory.mktemp("evening")
    made = Library(folder / "Music", folder / "sounds")
    for number in range(len(CODINGS)):
        made.add_album(number, N_TRACKS)
    return made


def test_the_library_has_every_format_and_all_of_it_can_be_archived(library, tmp_path):
    out = tmp_path / "archives"
    ended = run(tmp_path / "logs", "compress", "--model", "tiny", library.root, "-o", out)
    assert (ended.exit_code, ended.summary["written"]) == (0, N_TRACKS * len(CODINGS))
    suffixes = {Path(record["source"]).suffix[1:] for record in ended.records}
    assert suffixes >= {ending.rpartition(".")[2] for ending in (*CODINGS, *RARE)}
    assert {os.fsencode(path.name) for path in library.tracks(0)} > set(STRANGE_NAMES)


@pytest.mark.parametrize("number", [n for n in range(2, len(CODINGS)) if n % 3])
def test_another_title_leaves_the_other_tags_and_the_cover(library, number):
    path = library.tracks(number)[0]
    before = read_tags(path)
    retitle(path, "another title")
    after = read_tags(path)
    assert after.fields["title"] == ["another title"] != before.fields["title"]
    assert after.fields["album"] == before.fields["album"] != []
    assert [picture.data for picture in after.pictures] == [p.data for p in before.pictures] != []


def test_damage_is_one_byte_and_leaves_the_time(tmp_path):
    path = tmp_path / "a.earz"
    path.write_bytes(bytes(100))
    os.utime(path, (1, 1))
    damage(path)
    assert sum(byte != 0 for byte in path.read_bytes()) == 1
    assert (path.stat().st_size, path.stat().st_mtime) == (100, 1)


def test_the_report_tells_head_and_tail_of_what_was_printed_and_a_wrong_exit_code(tmp_path):
    lines = [f"line {i}" for i in range(HEAD + TAIL + 2)]
    steps = [
        Step(("verify", "an album"), expected=4, exit_code=0, wall_s=1.26, lines=lines),
        Step(("status",), expected=3, exit_code=3, wall_s=2, lines=["3 planned"]),
    ]
    text = report(Evening(tmp_path, [*steps, "An album comes."]))
    assert "| `earzip verify 'an album'` | 0 instead of 4 | 1.3 |" in text
    assert "| `earzip status` | 3 | 2.0 |" in text
    shown = [*lines[:HEAD], "… 2 lines", *lines[-TAIL:]]
    assert "\n".join(["```console", "$ earzip verify 'an album'", *shown, "```"]) in text
    assert text.endswith("An album comes.\n")
