"""Tags around a file proper, wherever taggers have put them, and containers whose tags are not read."""

from __future__ import annotations

import struct
import subprocess
from io import BytesIO

import pytest
from mutagen.apev2 import APEv2
from mutagen.id3 import ID3, TALB, TIT2, TXXX

from earzip.formats.audio.source import open_source
from earzip.formats.tags.read import read_tags
from tests.formats.tags.tag_files import MAKERS, blank, encoded, restored, tagged_id3


def id3(*frames, footer=False):
    tags = ID3()
    for frame in frames or (TXXX(encoding=3, desc="outer", text="yes"),):
        tags.add(frame)
    file = BytesIO()
    tags.save(file, v1=0, padding=lambda _: 0)
    data = file.getvalue()
    if footer:
        data = data[:5] + b"\x10" + data[6:]
        data += b"3DI" + data[3:10]
    return data


def id3v1(title=b"Old title"):
    return b"TAG" + title.ljust(30, b"\0") + bytes(94) + b"\x11"


def apev2(tmp_path, **items):
    tags = APEv2()
    tags.update(items or {"Mood": "calm"})
    path = tmp_path / "only.ape"
    path.write_bytes(b"")
    tags.save(path)
    return path.read_bytes()


def lyrics3():
    body = b"LYRICSBEGIN" + b"IND00002" + b"10" + b"LYR00005" + b"words"
    return body + b"%06d" % len(body) + b"LYRICS200"


@pytest.mark.parametrize("name", ["flac", "ogg", "opus", "wav", "aiff", "m4a", "wma"])
@pytest.mark.parametrize("footer", [False, True])
@pytest.mark.parametrize("n_tags", [1, 2])
def test_tags_in_a_container_are_read_behind_id3_tags(tmp_path, name, n_tags, footer):
    source = tmp_path / f"in.{name}"
    MAKERS[name](source)
    alone = read_tags(source)
    assert alone.pictures
    outer = n_tags * id3(footer=footer)
    source.write_bytes(outer + source.read_bytes())
    tags = read_tags(source)
    assert {key: tags.fields[key] for key in alone.fields} == alone.fields
    assert tags.fields["outer"] == ["yes"]
    assert tags.pictures == alone.pictures
    assert len(tags.raw_bytes("id3v2")) == n_tags + len(alone.raw_bytes("id3v2"))
    assert tags.problems == alone.problems


def test_every_tag_behind_an_mp3_is_taken(tmp_path):
    source = tagged_id3(tmp_path / "in.mp3")
    tail = apev2(tmp_path) + lyrics3() + id3(TALB(encoding=3, text="end"), footer=True) + id3v1()
    source.write_bytes(id3() + source.read_bytes() + tail)
    tags = read_tags(source)
    assert tags.fields["mood"] == ["calm"]
    assert tags.fields["outer"] == ["yes"]
    assert [kind for block in tags.raw if (kind := block.kind)] == [
        "id3v2", "id3v2", "id3v2", "lyrics3", "apev2", "id3v1",
    ]  # fmt: skip
    assert tags.problems == [
        f"the {name} tag disagrees with other tags about {field!r}: "
        "what it says is archived and not restored"
        for name, field in (("ID3v2", "album"), ("Lyrics3", "lyrics"), ("ID3v1", "title"))
    ]


@pytest.mark.parametrize("outer", [b"", id3()], ids=["", "another tag"])
@pytest.mark.parametrize("n_junk", [1, 100_000])
def test_an_id3_tag_behind_other_bytes_is_taken(tmp_path, outer, n_junk):
    """There the sound of an MP3 is found too."""
    source = tagged_id3(tmp_path / "in.mp3")
    alone = read_tags(source)
    source.write_bytes(outer + n_junk * b"\1" + source.read_bytes())
    tags = read_tags(source)
    assert {key: tags.fields[key] for key in alone.fields} == alone.fields
    assert tags.pictures == alone.pictures
    assert len(tags.raw_bytes("id3v2")) == len(alone.raw_bytes("id3v2")) + bool(outer)
    assert tags.problems == []


@pytest.mark.parametrize("junk", [b"ID3", b"ID3\3\0\0\x7f\x7f\x7f\x7f", b"ID3\5\0\0\0\0\0\7"])
def test_what_is_no_id3_tag_behind_other_bytes_is_passed_over(tmp_path, junk):
    source = tagged_id3(tmp_path / "in.mp3")
    alone = read_tags(source)
    source.write_bytes(b"HTTP/1.1 200 OK" + junk + source.read_bytes())
    tags = read_tags(source)
    assert tags.fields == alone.fields
    assert tags.problems == []


def test_a_tag_in_the_midst_of_sound_is_not_one_behind_other_bytes(tmp_path):
    """Of joined files the first one's tags are those of the whole."""
    sound = encoded(tmp_path / "in.mp3", "-id3v2_version", "0").read_bytes()
    (tmp_path / "joined.mp3").write_bytes(sound + id3() + sound)
    assert read_tags(tmp_path / "joined.mp3").fields == {}


def test_tags_behind_a_flac_are_taken(tmp_path):
    source = tmp_path / "in.flac"
    MAKERS["flac"](source)
    alone = read_tags(source)
    source.write_bytes(source.read_bytes() + apev2(tmp_path) + id3v1())
    tags = read_tags(source)
    assert tags.fields["mood"] == ["calm"]
    assert tags.pictures == alone.pictures
    assert {block.kind for block in tags.raw} >= {"apev2", "id3v1", "flac-comment"}


def test_an_enhanced_id3v1_tag_is_named(tmp_path):
    source = encoded(tmp_path / "in.mp3")
    source.write_bytes(source.read_bytes() + b"TAG+" + bytes(223) + id3v1())
    tags = read_tags(source)
    assert tags.problems == ["the enhanced ID3v1 tag is not archived"]
    assert tags.fields["title"] == ["Old title"]


def test_a_second_id3_tag_is_named_where_wav_carries_one(tmp_path):
    source = tagged_id3(tmp_path / "in.mp3")
    source.write_bytes(id3(TIT2(encoding=3, text="first")) + source.read_bytes())
    losses = restored(source, tmp_path / "out.wav")
    assert "1 more ID3v2 tag of the source; it stays in the archive" in losses


def test_what_only_looks_like_a_lyrics3_tag_is_sound(tmp_path):
    plain = encoded(tmp_path / "in.mp3").read_bytes()
    source = tmp_path / "odd.mp3"
    source.write_bytes(plain + b"000005LYRICS200")
    assert read_tags(source).problems == []
    tail = lyrics3()
    wrong_size = tail[:-15] + b"%06d" % (len(tail) + 5) + b"LYRICS200"
    for end in (b"", tail, wrong_size):
        source.write_bytes(plain + end)
        with open_source(source) as reader:
            n_frames = sum(block.shape[1] for block in reader.blocks())
        if not end:
            whole = n_frames
        assert n_frames == whole


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("in.mka", "tags, chapters and pictures of Matroska files are not archived"),
        ("in.caf", "the tags (info chunk) of the CAF file are not archived"),
        ("in.w64", "tags and markers of the W64 file are not archived"),
    ],
)
def test_tags_of_containers_that_are_not_read_are_named(tmp_path, name, problem):
    wav = blank(tmp_path / "in.wav")
    command = ["ffmpeg", "-v", "error", "-i", wav, "-metadata", "title=T", tmp_path / name]
    subprocess.run(command, check=True)
    path = tmp_path / name
    if name.endswith("w64"):
        guid = b"bext" + bytes.fromhex("f3acd3118cd100c04f8edb8a")
        path.write_bytes(path.read_bytes() + guid + struct.pack("<Q", 24 + 8) + bytes(8))
    assert read_tags(path).problems == [problem]


@pytest.mark.parametrize("name", ["in.caf", "in.au", "in.w64"])
def test_untagged_containers_are_not_complained_of(tmp_path, name):
    wav = blank(tmp_path / "in.wav")
    options = ["-bitexact", "-map_metadata", "-1"]
    subprocess.run(["ffmpeg", "-v", "error", "-i", wav, *options, tmp_path / name], check=True)
    assert read_tags(tmp_path / name).problems == []


def test_bytes_like_a_cut_ape_tag_are_told_where_such_a_tag_may_stand(tmp_path):
    footer = b"APETAGEX" + struct.pack("<4I", 2000, 1 << 30, 0, 0) + bytes(8)
    mp3, wav = encoded(tmp_path / "in.mp3"), blank(tmp_path / "in.wav")
    for path in (mp3, wav):
        path.write_bytes(path.read_bytes() + footer)
    assert "the APEv2 tag says 1073741824 bytes" in read_tags(mp3).problems[0]
    assert read_tags(wav).problems == ["what is behind its last chunk is not archived: 32 bytes"]
