"""The same data in another home: cue sheets in Ogg, tags of chained streams, lyrics before ID3v1."""

import shutil
import struct
import subprocess

import pytest
from mutagen.flac import FLAC, CueSheet
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis

from earzip.formats.audio.source import open_source
from earzip.formats.tags.read import read_tags
from tests.formats.tags.tag_bytes import cue_sheet
from tests.formats.tags.tag_files import blank, encoded, flac_with_cue_sheet, restored
from tests.formats.tags.test_outer import id3v1

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")


def flac_block(code, body):
    return bytes([code]) + struct.pack(">I", len(body))[1:] + body


def with_block(path, block):
    """``path`` with a further block behind STREAMINFO."""
    data = path.read_bytes()
    path.write_bytes(data[:42] + block + data[42:])
    return path


@pytest.mark.skipif(shutil.which("flac") is None, reason="needs flac")
def test_a_cue_sheet_of_ogg_flac_is_that_of_flac(tmp_path):
    wav = blank(tmp_path / "in.wav")
    cue = tmp_path / "in.cue"
    cue.write_text(
        'FILE "in.wav" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n'
        "  TRACK 02 AUDIO\n    INDEX 01 00:00:30\n"
    )
    command = ["flac", "-s", f"--cuesheet={cue}", "-T", "TITLE=Album"]
    subprocess.run([*command, "-o", tmp_path / "in.flac", wav], check=True)
    subprocess.run([*command, "--ogg", "-o", tmp_path / "in.oga", wav], check=True)
    tags, expected = (read_tags(tmp_path / name) for name in ("in.oga", "in.flac"))
    assert "INDEX 01 00:00:30" in tags.fields["cuesheet"][0]
    assert tags.fields == expected.fields
    assert tags.problems == []
    # But for STREAMINFO's frame sizes, which Ogg's has not.
    (sheet,), (expected_sheet,) = (each.raw_bytes("flac-cuesheet") for each in (tags, expected))
    assert sheet[34:] == expected_sheet[34:]
    assert restored(tmp_path / "in.oga", tmp_path / "out.flac") == []
    assert FLAC(tmp_path / "out.flac").cuesheet == FLAC(tmp_path / "in.flac").cuesheet


def test_a_second_cue_sheet_block_is_archived_and_named(tmp_path):
    source = flac_with_cue_sheet(tmp_path / "in.flac")
    total = FLAC(source).info.total_samples
    second = CueSheet(cue_sheet(total))
    second.tracks[1].start_offset = 588 * 10
    with_block(source, flac_block(5, second.write()))
    tags = read_tags(source)
    assert len(tags.raw_bytes("flac-cuesheet")) == 2
    assert len(tags.problems) == 1
    assert "the FLAC cue sheet block disagrees with other tags about 'cuesheet'" in tags.problems[0]
    losses = restored(source, tmp_path / "out.flac")
    assert losses == ["1 more FLAC cue sheet block of the source; it stays in the archive"]


def test_blocks_of_other_programs_are_named(tmp_path):
    source = blank(tmp_path / "in.flac")
    with_block(source, flac_block(2, b"riffWAVE"))
    with_block(source, flac_block(100, b"?"))
    with_block(source, flac_block(2, b"earz" + bytes(24)))
    assert read_tags(source).problems == [
        "these metadata blocks were not archived: type 100, APPLICATION 'riff'"
    ]


def chained(tmp_path, class_, *options):
    """Two streams, one behind the other, whose tags have something in common."""
    parts = []
    for number, (title, mood) in enumerate((("First", None), ("Second", "calm"))):
        path = tmp_path / f"{number}{'.opus' if class_ is OggOpus else '.ogg'}"
        encoded(path, *options)
        file = class_(path)
        file.tags.clear()
        file.tags["TITLE"] = title
        file.tags["ARTIST"] = "Anna"
        if mood:
            file.tags["MOOD"] = mood
        file.save()
        parts.append(path.read_bytes())
    path = tmp_path / f"in{path.suffix}"
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize(
    ("class_", "options"), [(OggVorbis, ["-c:a", "libvorbis"]), (OggOpus, ["-c:a", "libopus"])]
)
def test_tags_of_a_later_chained_stream_are_archived_and_named(tmp_path, class_, options):
    source = chained(tmp_path, class_, *options)
    tags = read_tags(source)
    assert tags.fields == {"title": ["First"], "artist": ["Anna"], "mood": ["calm"]}
    assert len(tags.raw_bytes("ogg-comment")) == 2
    assert tags.problems == [
        "the Vorbis comment disagrees with other tags about 'title': "
        "what it says is archived and not restored"
    ]
    losses = restored(source, tmp_path / "out.flac")
    assert losses == ["1 more Vorbis comment of the source; it stays in the archive"]
    assert FLAC(tmp_path / "out.flac").tags.as_dict() == {
        "title": ["First"], "artist": ["Anna"], "mood": ["calm"],
    }  # fmt: skip


def test_chained_streams_of_the_same_tags_are_one(tmp_path):
    path = encoded(tmp_path / "in.ogg", "-c:a", "libvorbis", "-metadata", "title=T")
    alone = read_tags(path)
    path.write_bytes(path.read_bytes() * 2)
    assert read_tags(path) == alone
    assert read_tags(path).problems == []


LRC = "[00:01]first\r\n[00:02]second"


@pytest.mark.parametrize(("text", "name"), [("Just words", "lyrics"), (LRC, "syncedlyrics")])
@pytest.mark.parametrize("version", [1, 2])
def test_lyrics_before_id3v1_are_archived(tmp_path, version, text, name):
    source = encoded(tmp_path / "in.mp3", "-id3v2_version", "0")
    with open_source(source) as reader:
        n_frames = sum(block.shape[1] for block in reader.blocks())
    body = text.encode("latin-1")
    if version == 1:
        tag = b"LYRICSBEGIN" + body + b"LYRICSEND"
    else:
        fields = b"".join(
            each + b"%05d" % len(value) + value
            for each, value in ((b"IND", b"10"), (b"LYR", body), (b"EAR", b"Anna"), (b"IMG", b"x"))
        )
        size = len(b"LYRICSBEGIN" + fields)
        tag = b"LYRICSBEGIN" + fields + b"%06d" % size + b"LYRICS200"
    source.write_bytes(source.read_bytes() + tag + id3v1())
    tags = read_tags(source)
    artist = {"artist": ["Anna"]} if version == 2 else {}
    assert tags.fields == {name: [text], **artist, "title": ["Old title"], "genre": ["Rock"]}
    assert tags.raw_bytes("lyrics3") == [tag]
    assert tags.raw_only == ({"lyrics3": ["field 'IMG'"]} if version == 2 else {})
    assert tags.problems == []
    restored(source, tmp_path / "out.flac")
    assert FLAC(tmp_path / "out.flac").tags[name] == [text]
    with open_source(source) as reader:
        assert sum(block.shape[1] for block in reader.blocks()) == n_frames
