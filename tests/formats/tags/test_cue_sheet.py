"""Cue sheets: what is read of them, and which belongs to a sound file."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from earzip.errors import TagError
from earzip.formats.tags.cue_file import sheet_beside, sheet_text
from earzip.formats.tags.cue_sheet import parse_cue

ALBUM = """\
REM GENRE Rock
REM DATE 1973
PERFORMER "Die Band"
TITLE "Das \u00e4lbum"
FILE "{file}" WAVE
  TRACK 01 AUDIO
    TITLE "Eins"
    INDEX 01 00:00:00
  TRACK 02 AUDIO
    TITLE "Zwei"
    PERFORMER Gast
    FLAGS DCP
    INDEX 00 01:02:70
    INDEX 01 01:03:10
    INDEX 02 01:30:00
"""
TWO_SIDES = """\
TITLE "Album"
FILE "Side A.wav" WAVE
  TRACK 01 AUDIO
    INDEX 01 00:00:00
  TRACK 02 AUDIO
    INDEX 01 01:00:00
  TRACK 03 AUDIO
    TITLE "Drei"
    INDEX 00 02:00:00
FILE "Side B.wav" WAVE
    INDEX 01 00:00:00
  TRACK 04 AUDIO
    INDEX 01 03:00:01
"""


def test_the_fields_and_places_of_a_sheet():
    sheet = parse_cue(ALBUM.format(file="C:\\rips\\CDImage.wav"))
    assert sheet.fields == {
        "genre": "Rock", "date": "1973", "performer": "Die Band", "title": "Das älbum",
    }  # fmt: skip
    assert sheet.files == ["CDImage.wav"]
    assert [(t.number, t.start) for t in sheet.tracks] == [(1, 0), (2, 63 * 75 + 10)]
    assert sheet.tracks[1].fields["performer"] == "Gast"


def test_a_gap_at_the_end_of_the_file_before_is_no_place_of_a_track():
    sheet = parse_cue(TWO_SIDES)
    assert [(t.number, t.file, t.start) for t in sheet.tracks] == [
        (1, 0, 0), (2, 0, 60 * 75), (3, 1, 0), (4, 1, 180 * 75 + 1),
    ]  # fmt: skip


def test_a_hostile_sheet_is_read_in_no_time():
    text = "TRACK 01 AUDIO\nINDEX 01 0:0:0\n" + ("REM x" + " " * 500_000 + "y\n") * 2
    before = time.monotonic()
    assert len(parse_cue(text).tracks) == 1
    assert time.monotonic() - before < 2


def test_tracks_of_data_are_left_out():
    text = "FILE x WAVE\nTRACK 01 MODE1/2352\nINDEX 01 00:00:00\nTRACK 2 AUDIO\nINDEX 1 01:00:00\n"
    assert [track.number for track in parse_cue(text).tracks] == [2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it has no track"),
        ("TRACK 01 AUDIO\n", "track 1 has no index"),
        ("TRACK one AUDIO\n", "a track is called 'one AUDIO'"),
        ("TRACK 01 AUDIO\nINDEX 01 1:2\n", "index '01 1:2' of track 1 is no time"),
        (
            "TRACK 01 AUDIO\nINDEX 01 00:10:00\nTRACK 02 AUDIO\nINDEX 01 00:10:00\n",
            "track 2 does not begin behind track 1",
        ),
        ("TRACK 01 AUDIO\nINDEX 01 00:00:00\n" * 1001, "more than 1000 tracks"),
    ],
)
def test_sheets_that_cannot_be_used_say_why(text, message):
    with pytest.raises(TagError, match=message):
        parse_cue(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_are_found_out(encoding):
    assert sheet_text("Größe – ä".encode(encoding)) == "Größe – ä"


def test_bytes_that_windows_leaves_undefined_lose_nothing():
    assert sheet_text(b"\xe4\x81 \x80") == "ä\x81 €"


def _folder(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / name.replace("__", " ").replace("_", ".")).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("sheet_name", "file"),
    [
        ("x_cue", "Album.flac"),  # the very file
        ("x_cue", "ALBUM.FLAC"),
        ("x_cue", "Album.wav"),  # as it was called before it was converted
        ("Album_cue", "CDImage.wav"),  # by the name of the sheet
        ("Album_flac_cue", "CDImage.wav"),
        ("Album_CUE", "Range.ape"),
    ],
)
def test_a_sheet_belongs_to_a_file_by_what_it_names_or_how_it_is_called(tmp_path, sheet_name, file):
    text = ALBUM.format(file=file)
    assert sheet_beside(_folder(tmp_path, **{sheet_name: text}), "Album.flac") == text


def test_a_sheet_of_another_file_that_is_there_is_not_taken(tmp_path):
    folder = _folder(tmp_path, Album_cue=ALBUM.format(file="Other.flac"), Other_flac="")
    assert sheet_beside(folder, "Album.flac") is None
    assert sheet_beside(folder, "Other.flac") is not None


def test_the_surest_sheet_wins(tmp_path):
    by_name = ALBUM.format(file="Album.flac")
    folder = _folder(tmp_path, Album_cue=ALBUM.format(file="a.wav"), z_cue=by_name)
    assert sheet_beside(folder, "Album.flac") == by_name


def test_sheets_of_single_tracks_and_broken_ones_are_passed_over(tmp_path):
    one = 'FILE "Album.flac" WAVE\nTRACK 01 AUDIO\nINDEX 01 00:00:00\n'
    folder = _folder(tmp_path, Album_cue=one, b_cue="TRACK 01 AUDIO", c_cue="x" * (2 << 20))
    (folder / "d.cue").mkdir()
    assert sheet_beside(folder, "Album.flac") is None
    assert sheet_beside(tmp_path / "nowhere", "Album.flac") is None


def test_of_a_sheet_of_several_files_the_part_about_one_is_kept(tmp_path):
    folder = _folder(tmp_path, Album_cue=TWO_SIDES)
    for name, numbers, starts in (("A", [1, 2], [0, 4500]), ("B", [3, 4], [0, 13_501])):
        text = sheet_beside(folder, f"Side {name}.flac")
        assert text is not None
        sheet = parse_cue(text)
        assert [track.number for track in sheet.tracks] == numbers
        assert [track.start for track in sheet.tracks] == starts
        assert (sheet.fields["title"], sheet.fields["totaltracks"]) == ("Album", "4")
    assert "Drei" in str(sheet_beside(folder, "Side B.flac"))
