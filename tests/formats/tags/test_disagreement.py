"""Blocks that say different things: which value is restored, and that the other is named."""

import shutil
import struct
import subprocess

import pytest
from mutagen.apev2 import APEv2
from mutagen.flac import FLAC
from mutagen.id3 import ID3, TCON, TDRC, TIT2, TPE1, TRCK
from mutagen.wave import WAVE

from earzip.formats.tags.model import Found
from earzip.formats.tags.read import read_tags, tag_set
from tests.formats.tags.tag_bytes import info_chunk
from tests.formats.tags.tag_files import encoded, restored, tagged_flac

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")

LONG = "Symphony No. 5 in C minor, Op. 67: I. Allegro con brio"
PEOPLE = ["Some Philharmonic", "Some Conductor"]


def id3v1(title, artist="", year="", genre=255, track=0, encoding="latin-1"):
    texts = [text.encode(encoding, "replace") for text in (title, artist, "", year)]
    return struct.pack("<3s30s30s30s4s28sBBB", b"TAG", *texts, b"", 0, track, genre)


def with_ape_and_id3v1(path, v1, before=b"", **items):
    encoded(path, "-id3v2_version", "0")
    tags = APEv2()
    tags.update(items)
    tags.save(path)
    path.write_bytes(before + path.read_bytes() + v1)
    return path


@pytest.mark.parametrize("target", ["out.flac", "out.wav"])
def test_id3v1_is_the_last_of_all(tmp_path, target):
    """It has 30 characters of a title, and stands where readers look first."""
    v1 = id3v1(LONG[:30], ", ".join(PEOPLE)[:30], "1998", genre=32)
    source = with_ape_and_id3v1(
        tmp_path / "in.mp3", v1, Title=LONG, Artist=PEOPLE, Year="1998-11-03", Genre="Classical"
    )
    tags = read_tags(source)
    assert tags.family == "apev2"
    assert tags.fields == {
        "title": [LONG],
        "artist": PEOPLE,
        "date": ["1998-11-03"],
        "genre": ["Classical"],
    }
    assert tags.problems == []  # what was cut to fit says nothing else
    assert tags.raw_only == {}
    assert restored(source, tmp_path / target) == []
    assert read_tags(tmp_path / target).fields == tags.fields


@pytest.mark.parametrize(
    ("encoding", "title"),
    [
        ("utf-8", "Größenwahn"),
        ("utf-8", "Ночь на лысой горе"),
        ("cp1251", "Ночь"),
        ("cp932", "夜の歌"),
    ],
)
def test_an_id3v1_tag_in_another_encoding_says_nothing_else(tmp_path, encoding, title):
    v1 = id3v1(title, encoding=encoding)
    source = with_ape_and_id3v1(tmp_path / "in.mp3", v1, Title=title)
    assert read_tags(source).problems == []


def test_an_id3v1_tag_in_another_encoding_may_say_something_else(tmp_path):
    v1 = id3v1("Ночь", encoding="utf-8")
    source = with_ape_and_id3v1(tmp_path / "in.mp3", v1, Title="День")
    assert "disagrees with other tags about 'title'" in str(read_tags(source).problems)


def test_a_value_that_loses_is_named_when_archived_and_when_restored(tmp_path):
    v1 = id3v1("Another title", "Some Philharmonic", genre=17)
    source = with_ape_and_id3v1(tmp_path / "in.mp3", v1, Title=LONG, Artist=PEOPLE, Genre="Jazz")
    tags = read_tags(source)
    assert tags.fields["title"] == [LONG]
    assert tags.problems == [
        "the ID3v1 tag disagrees with other tags about 'title', 'genre': "
        "what it says is archived and not restored"
    ]
    for target in ("out.flac", "out.wav"):
        assert restored(source, tmp_path / target) == [
            "ID3v1 tag: other 'title' ('Another title') is not written to "
            f"a {target[4:].upper()} file; it stays in the archive",
            "ID3v1 tag: other 'genre' ('Rock') is not written to "
            f"a {target[4:].upper()} file; it stays in the archive",
        ]


def test_a_block_that_does_not_lead_does_not_win_in_wav(tmp_path):
    source = tagged_flac(tmp_path / "in.flac")
    tags = ID3()
    tags.add(TIT2(encoding=3, text="not this"))
    tags.save(tmp_path / "only.id3")
    source.write_bytes((tmp_path / "only.id3").read_bytes() + source.read_bytes())
    losses = restored(source, tmp_path / "out.wav")
    assert WAVE(tmp_path / "out.wav").tags["TIT2"] == "Ein Stück ☃"
    assert any("ID3v2 tag: other 'title' ('not this')" in loss for loss in losses)


def test_ape_before_an_mp3_is_read(tmp_path):
    plain = encoded(tmp_path / "in.mp3", "-id3v2_version", "0").read_bytes()
    tags = APEv2()
    tags["Title"] = LONG
    (tmp_path / "only.ape").write_bytes(b"")
    tags.save(tmp_path / "only.ape")
    tag = (tmp_path / "only.ape").read_bytes()
    size, count, flags = struct.unpack_from("<3I", tag, 12)
    without_footer = tag[:12] + struct.pack("<3I", size - 32, count, flags | 1 << 30) + tag[24:-32]
    for block in (tag, without_footer):
        source = tmp_path / "in.mp3"
        source.write_bytes(block + plain)
        found = read_tags(source)
        assert found.fields == {"title": [LONG]}
        assert found.raw_bytes("apev2") == [block]
        assert found.problems == []


def id3v2(*frames):
    tags = ID3()
    for each in frames:
        tags.add(each)
    return tags


@pytest.mark.parametrize(
    ("first", "second", "disagrees"),
    [
        ({b"INAM": b"a"}, {b"INAM": b"a"}, []),
        ({b"INAM": b"a"}, {b"INAM": b"b"}, ["title"]),
        ({b"ICRD": b"1998-11-03"}, {b"ICRD": b"1998"}, []),
        ({b"ICRD": b"1998"}, {b"ICRD": b"1998-11-03"}, ["date"]),
        ({b"ITRK": b"03"}, {b"ITRK": b"3"}, []),
        ({b"ITRK": b"3/12"}, {b"ITRK": b"3/13"}, ["tracktotal"]),
        ({b"IART": b"a"}, {b"INAM": b"b"}, []),
    ],
)
def test_only_what_says_more_or_something_else_disagrees(first, second, disagrees):
    blocks = [("riff-info", info_chunk(*each.items())[8:]) for each in (first, second)]
    tags = tag_set(Found(blocks=blocks))
    assert len(tags.problems) == bool(disagrees)
    for name in disagrees:
        assert repr(name) in tags.problems[0]
        assert any(f"other {name!r}" in each for each in tags.raw_only["riff-info"])


def test_an_id3v1_tag_that_was_cut_from_the_id3v2_tag_is_no_disagreement(tmp_path):
    source = encoded(tmp_path / "in.mp3", "-id3v2_version", "0")
    tags = id3v2(
        TIT2(encoding=3, text=f"☃ {LONG}"),
        TPE1(encoding=3, text=PEOPLE),
        TDRC(encoding=3, text="1998-11-03"),
        TCON(encoding=3, text="Vaporwave"),
        TRCK(encoding=3, text="03/12"),
    )
    tags.save(source, v1=0)
    v1 = id3v1(f"? {LONG}"[:30], "/".join(PEOPLE)[:30], "1998", genre=12, track=3)
    source.write_bytes(source.read_bytes() + v1)
    assert read_tags(source).problems == []
    assert restored(source, tmp_path / "out.flac") == []


def with_chapters(path, n_chapters, title="C{}"):
    lines = [";FFMETADATA1"]
    for i in range(n_chapters):
        lines += ["[CHAPTER]", "TIMEBASE=1/1000", f"START={i}", f"END={i + 1}"]
        lines.append("title=" + title.format(i + 1))
    metadata = path.with_suffix(".txt")
    metadata.write_text("\n".join(lines))
    plain = encoded(path.with_suffix(".m4a"))
    command = ["ffmpeg", "-v", "error", "-i", plain, "-i", metadata, "-map_metadata", "1"]
    command += ["-map_chapters", "1", "-c", "copy", "-f", "mp4", path]
    subprocess.run(command, check=True)
    return path


def test_chapters_behind_the_255_of_the_list_come_from_the_track(tmp_path):
    source = with_chapters(tmp_path / "in.m4b", 300)
    tags = read_tags(source)
    assert [chapter.title for chapter in tags.chapters] == [f"C{i}" for i in range(1, 301)]
    assert tags.problems == []
    restored(source, tmp_path / "out.flac")
    assert FLAC(tmp_path / "out.flac").tags["chapter300name"] == ["C300"]


def test_long_titles_of_chapters_come_from_the_track(tmp_path):
    source = with_chapters(tmp_path / "in.m4b", 2, "C{} " + "x" * 300)
    assert [chapter.title for chapter in read_tags(source).chapters] == [
        f"C{i} " + "x" * 300 for i in (1, 2)
    ]


def test_a_chapter_track_that_says_something_else_is_named(tmp_path):
    source = with_chapters(tmp_path / "in.m4b", 2)
    data = source.read_bytes()
    at = data.index(b"chpl")
    source.write_bytes(data[:at] + data[at:].replace(b"\x02C2", b"\x02D2", 1))
    tags = read_tags(source)
    assert [chapter.title for chapter in tags.chapters] == ["C1", "D2"]
    assert tags.problems == [
        "the chapter track disagrees with the chapter list and is not archived"
    ]
