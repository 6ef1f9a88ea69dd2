"""Tags of a part of a track: chapters, cue sheets and timed lyrics begin where the part does."""

import shutil
import struct

import pytest
from mutagen.flac import FLAC
from mutagen.id3 import CHAP, ETCO, ID3, SYLT, TIT2, TLEN, TXXX, USLT
from mutagen.wave import WAVE

from earzip.formats.tag_payload import Chapter
from earzip.formats.tags.cue_text import cut_cue_text
from earzip.formats.tags.id3 import save_id3
from earzip.formats.tags.lyrics import cut_lrc
from earzip.formats.tags.model import Found, TagSet
from earzip.formats.tags.read import read_tags, tag_set
from earzip.formats.tags.timed import cut_tags
from earzip.formats.tags.vorbis import join_comments
from earzip.formats.tags.write import write_tags
from tests.formats.tags.tag_files import FRONT, blank, flac_with_cue_sheet

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")

CUE = """REM GENRE Jazz
FILE "a.flac" WAVE
  TRACK 01 AUDIO
    TITLE "One"
    INDEX 01 00:00:00
  TRACK 02 AUDIO
    TITLE "Two"
    INDEX 00 00:09:00
    INDEX 01 00:10:00
    INDEX 02 00:25:00
  TRACK 03 AUDIO
    TITLE "Three"
    INDEX 00 00:19:37
    INDEX 01 00:20:00
  TRACK 04 AUDIO
    TITLE "Four"
    INDEX 01 01:00:00
"""


def test_a_cue_sheet_is_cut_and_moved():
    text, n_dropped, n_tracks = cut_cue_text(CUE, 12_500, 30_000)
    assert (n_dropped, n_tracks) == (2, 4)
    assert (
        text
        == """REM GENRE Jazz
FILE "a.flac" WAVE
  TRACK 02 AUDIO
    TITLE "Two"
    INDEX 01 00:00:00
    INDEX 02 00:12:38
  TRACK 03 AUDIO
    TITLE "Three"
    INDEX 00 00:07:00
    INDEX 01 00:07:38
"""
    )


def test_a_cue_sheet_that_is_not_of_one_file_is_left_out():
    two = CUE + 'FILE "b.flac" WAVE\n  TRACK 05 AUDIO\n    INDEX 01 00:00:00\n'
    for sheet in (two, "FILE x", 'FILE "a" WAVE\n  TRACK 01 AUDIO\n'):
        assert cut_cue_text(sheet, 0, 1000) == ("", 0, 0)
        tags, losses = cut_tags(TagSet(fields={"cuesheet": [sheet]}), 0, 1000)
        assert tags.fields == {}
        assert losses == ["the cue sheet is left out: its times are not those of one file"]


LRC = (
    "[ar:Anna]\r\n[00:01.00]one\r\n[00:05.50][00:20]two\r\n\r\n[00:06.123]three <00:07.0>x <00:09>y"
)


@pytest.mark.parametrize(
    ("start", "end", "lines", "counts"),
    [
        (5_000, 8_000, ["[ar:Anna]", "[00:00.50]two", "", "[00:01.123]three <00:02.0>x "], (1, 3)),
        (5_250, 6_000, ["[ar:Anna]", "[00:00.25]two", ""], (2, 3)),
        (5_495, 6_000, ["[ar:Anna]", "[00:00.005]two", ""], (2, 3)),
        (15_000, 30_000, ["[ar:Anna]", "[00:05]two", ""], (2, 3)),
    ],
)
def test_timed_lyrics_are_cut_and_moved(start, end, lines, counts):
    text, *found = cut_lrc(LRC, start, end)
    assert text.splitlines() == lines
    assert tuple(found) == counts


def test_lyrics_without_times_stay():
    assert cut_lrc("just\n[Chorus]\nwords", 1000, 2000) == ("just\n[Chorus]\nwords", 0, 0)
    assert cut_lrc("[00:01]one", 2000, 3000) == ("", 1, 1)


def test_an_offset_of_timed_lyrics_counts():
    text = "[offset:+500]\n[00:01.40]a\n[00:02.60]b"
    assert cut_lrc(text, 1_000, 2_500) == ("[offset:+500]\n[00:01.60]b", 1, 2)


CHAPTERS = [
    Chapter(0, None, "before"),
    Chapter(1_000, None, "in progress"),
    Chapter(2_500, 2_900, "within"),
    Chapter(2_900, 5_000, "goes on"),
    Chapter(4_000, None, "behind"),
]


def test_chapters_are_cut_and_moved():
    tags, losses = cut_tags(TagSet(chapters=CHAPTERS), 2_000, 4_000)
    assert tags.chapters == [
        Chapter(0, None, "in progress"),
        Chapter(500, 900, "within"),
        Chapter(900, 2_000, "goes on"),
    ]
    assert losses == ["2 of 5 chapters are outside the range and are left out"]


def vorbis():
    comments = [
        b"TITLE=Book",
        b"CHAPTER001=00:00:00.000",
        b"CHAPTER001NAME=One",
        b"CHAPTER001URL=x",
        b"CHAPTER002=00:00:00.600",
        b"CHAPTER002NAME=Two",
        b"CUESHEET=" + CUE.encode(),
        b"LYRICS=[00:00.10]a\n[00:00.70]b",
        b"ARTIST=Anna",
    ]
    return tag_set(Found(blocks=[("ogg-comment", join_comments(b"v", comments))]))


def id3():
    tags = ID3()
    for frame in (
        TIT2(encoding=3, text="Book"),
        TLEN(encoding=3, text="1000"),
        USLT(encoding=3, lang="eng", desc="", text="[00:00.10]a\n[00:00.70]b"),
        SYLT(encoding=3, lang="eng", format=2, type=1, desc="", text=[("c", 100), ("d", 700)]),
        TXXX(encoding=3, desc="CUESHEET", text=CUE),
        TXXX(encoding=3, desc="Mood", text="calm"),
        ETCO(format=2, events=[(0, 1), (1, 600)]),
        CHAP(element_id="c0", start_time=0, end_time=600, sub_frames=[TIT2(text="One")]),
        CHAP(element_id="c1", start_time=600, end_time=900, sub_frames=[TIT2(text="Two")]),
    ):
        tags.add(frame)
    return tag_set(Found(blocks=[("id3v2", save_id3(tags))]))


@pytest.mark.parametrize("target", ["out.flac", "out.wav"])
@pytest.mark.parametrize("family", ["vorbis", "id3"])
def test_what_is_written_of_a_part_is_of_that_part(tmp_path, family, target):
    whole = {"vorbis": vorbis, "id3": id3}[family]()
    tags, losses = cut_tags(whole, 500, 950)
    path = blank(tmp_path / target, seconds=0.45)
    losses += write_tags(path, tags)
    got = read_tags(path)
    assert [(each.start_ms, each.title) for each in got.chapters] == [(0, "One"), (100, "Two")]
    assert got.fields["lyrics"] == ["[00:00.20]b"]
    assert got.fields["cuesheet"] == [cut_cue_text(CUE, 500, 950)[0]]
    assert got.fields["title"] == ["Book"]
    assert "1 of 2 lines of the timed lyrics are outside the range and are left out" in losses
    assert "3 of 4 tracks of the cue sheet are outside the range and are left out" in losses
    assert "length" not in got.fields
    if family == "id3":
        assert got.fields["syncedlyrics"] == ["[00:00.200]d"]
        assert got.fields["mood"] == ["calm"]
        assert any("ETCO frame" in loss for loss in losses)
        assert any("'length'" in loss for loss in losses)
    else:
        assert any("'chapter001url'" in loss for loss in losses)
        assert "chapter001url" not in got.fields
    if target.endswith("wav"):
        assert not {"ETCO", "TLEN"} & WAVE(path).tags.keys()
    assert not any("is changed" in loss or "chapters;" in loss for loss in losses)


def test_blocks_without_times_are_written_as_they_are(tmp_path):
    tags = ID3()
    tags.add(TIT2(encoding=1, text="Book"))
    block = save_id3(tags)
    comment = join_comments(b"", [b"Title=Book", b"odd", b"METADATA_BLOCK_PICTURE=" + FRONT])
    whole = tag_set(Found(blocks=[("id3v2", block), ("ogg-comment", comment)]))
    part, losses = cut_tags(whole, 500, 950)
    assert losses == []
    assert part.raw_bytes("id3v2") == [block]
    assert part.raw_bytes("ogg-comment") == [comment]


def test_a_cue_sheet_block_becomes_the_text_of_the_part(tmp_path):
    tags = read_tags(flac_with_cue_sheet(tmp_path / "in.flac"))
    part, losses = cut_tags(tags, 100, 400)
    losses += write_tags(blank(tmp_path / "out.flac", seconds=0.3), part)
    file = FLAC(tmp_path / "out.flac")
    assert file.cuesheet is None
    assert "INDEX 01 00:00:13" in file.tags["cuesheet"][0]  # 20 frames less 7.5
    assert losses == ["the cue sheet block becomes a comment"]


def test_a_damaged_block_is_no_error():
    broken = b"ID3\x04\0\0" + struct.pack(">I", 99)
    tags = tag_set(Found(blocks=[("id3v2", broken), ("ogg-comment", b"OpusTags")]))
    assert cut_tags(tags, 0, 100)[1] == []
