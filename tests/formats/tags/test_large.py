"""Blocks of more than 64 MiB: small fields are read, those that are too large are named."""

import struct
import subprocess
import tracemalloc

import pytest

from earzip.formats.tags import ogg
from earzip.formats.tags.model import MAX_TAG_BYTES
from earzip.formats.tags.read import read_tags
from earzip.formats.tags.vorbis import join_comments
from earzip.formats.tags.write import write_tags
from tests.formats.audio.audio_files import needs_flac
from tests.formats.tags.tag_bytes import box
from tests.formats.tags.tag_files import FRONT, blank

LARGE = 70_000_003
FIELDS = {"title": ["t"], "artist": ["a"]}


def synchsafe(number):
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def id3_frame(version, name, body, size=None, is_plain=False):
    size = len(body) if size is None else size
    if version == 2:
        return name + size.to_bytes(3, "big") + body
    plain = version == 3 or is_plain
    return name + (size.to_bytes(4, "big") if plain else synchsafe(size)) + bytes(2) + body


def id3_names(version):
    return (b"TT2", b"TP1", b"PIC") if version == 2 else (b"TIT2", b"TPE1", b"APIC")


def write_around(path, before, n_bytes, behind, end=b""):
    """Write a file with a hole of ``n_bytes`` in it, and make it ``end`` so."""
    with path.open("wb") as file:
        file.write(before)
        file.seek(n_bytes, 1)
        file.write(behind + end)
    return path


def id3_file(path, version, flags=0, extended=b"", *, is_plain=False, large=LARGE):
    """A tag of five pictures, too large together, between a title and an artist; 0xFF bytes follow it."""
    title, artist, picture = id3_names(version)
    n_each = large // 5 if version == 2 else large
    before = id3_frame(version, title, b"\0t", is_plain=is_plain)
    frames = [id3_frame(version, picture, b"", n_each, is_plain)] * (5 if version == 2 else 1)
    behind = id3_frame(version, artist, b"\0a", is_plain=is_plain)
    size = len(extended + before + behind) + sum(len(frame) + n_each for frame in frames)
    with path.open("wb") as file:
        file.write(b"ID3" + bytes([version, 0, flags]) + synchsafe(size) + extended + before)
        for frame in frames:
            file.write(frame)
            file.seek(n_each, 1)
        file.write(behind + (b"3DI" + bytes([4, 0, flags]) + synchsafe(size)) * (flags >> 4 & 1))
        file.write(b"\xff" * 9)
    return path


@pytest.mark.parametrize(
    ("version", "flags", "extended", "is_plain"),
    [
        (2, 0, b"", False),
        (3, 0, b"", False),
        (3, 0x40, bytes([0, 0, 0, 6]) + bytes(6), False),
        (4, 0, b"", False),
        (4, 0, b"", True),
        (4, 0x80, b"", False),
        (4, 0x50, bytes([0, 0, 0, 6, 1, 0]), False),
    ],
)
def test_an_id3_tag_that_is_too_large_gives_its_small_frames(
    tmp_path, version, flags, extended, is_plain
):
    path = id3_file(tmp_path / "in.mp3", version, flags, extended, is_plain=is_plain)
    tags = read_tags(path)
    assert tags.fields == FIELDS
    (problem,) = tags.problems
    n_bytes = LARGE // 5 + 6 if version == 2 else LARGE + 10
    name = id3_names(version)[2].decode()
    assert problem == (
        f"the ID3v2 tag is archived without field {name!r} of {n_bytes} bytes: "
        f"the limit is {MAX_TAG_BYTES} bytes of all tags"
    )
    (raw,) = tags.raw_bytes("id3v2")
    assert raw[:3] == b"ID3"
    assert raw[5] == flags & 0x80
    if version == 2:
        assert len(raw) > 4 * LARGE // 5
    else:
        assert len(raw) < 100
    assert write_tags(blank(tmp_path / "out.flac"), tags) == []
    assert read_tags(tmp_path / "out.flac").fields == FIELDS


def test_a_frame_that_is_left_out_is_not_read(tmp_path):
    path = id3_file(tmp_path / "in.mp3", 3, large=200_000_003)
    read_tags(path)  # what it imports counts too
    tracemalloc.start()
    try:
        assert read_tags(path).fields == FIELDS
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "damage",
    [
        {"flags": 0x80},  # sizes count what is there before unsynchronisation
        {"extended": b"\x01\x02\x03\x04 no frame"},
    ],
    ids=["unsynchronised", "no frames"],
)
def test_an_id3_tag_that_cannot_be_walked_is_left_out(tmp_path, damage):
    tags = read_tags(id3_file(tmp_path / "in.mp3", 3, **damage))
    assert tags.fields == {}
    assert tags.raw == []
    assert "the id3v2 block of 70000" in tags.problems[0]
    assert "is not archived: the limit is 67108864 bytes" in tags.problems[0]


@pytest.mark.parametrize(("name", "order"), [("in.wav", "<"), ("in.aiff", ">")])
def test_an_id3_chunk_that_is_too_large_gives_its_small_frames(tmp_path, name, order):
    tag = id3_file(tmp_path / "tag", 3)
    n_bytes = tag.stat().st_size
    path = blank(tmp_path / name)
    with path.open("r+b") as file, tag.open("rb") as source:
        file.seek(0, 2)
        file.write(b"ID3 " + struct.pack(f"{order}I", n_bytes))
        head = source.read(100)
        file.write(head)
        source.seek(n_bytes - 100)
        file.seek(n_bytes - 200, 1)
        file.write(source.read() + bytes(n_bytes % 2))
        size = file.tell() - 8
        file.seek(4)
        file.write(struct.pack(f"{order}I", size))
    tags = read_tags(path)
    assert tags.fields == FIELDS
    assert "without field 'APIC'" in tags.problems[0]


@pytest.mark.parametrize("has_header", [False, True])
def test_an_ape_tag_that_is_too_large_gives_its_small_items(tmp_path, has_header):
    def item(key, size, flags=0):
        return struct.pack("<2I", size, flags) + key + b"\0"

    before = item(b"Title", 1) + b"t" + item(b"Cover Art (Front)", LARGE, 2)
    behind = item(b"Artist", 1) + b"a"
    size = len(before + behind) + LARGE + 32
    numbers = struct.pack("<3I", 2000, size, 3)
    header = b"APETAGEX" + numbers + struct.pack("<I8x", 0xA0000000) if has_header else b""
    footer = b"APETAGEX" + numbers + struct.pack("<I8x", has_header << 31)
    path = write_around(tmp_path / "in.ape", b"MAC " + header + before, LARGE, behind, footer)
    tags = read_tags(path)
    assert tags.fields == FIELDS
    assert "APEv2 tag is archived without field 'Cover Art (Front)' of 700000" in tags.problems[0]
    assert len(tags.raw_bytes("apev2")[0]) < 100
    assert write_tags(blank(tmp_path / "out.flac"), tags) == []


def test_an_mp4_item_list_that_is_too_large_gives_its_small_items(tmp_path):
    def text(name, value):
        return box(name, box(b"data", struct.pack(">II", 1, 0), value))

    title, artist = text(b"\xa9nam", b"t"), text(b"\xa9ART", b"a")
    cover = struct.pack(">I4sI4sII", LARGE + 24, b"covr", LARGE + 16, b"data", 13, 0)
    n_more = len(title + artist + cover) + LARGE
    path = write_around(
        tmp_path / "in.m4a",
        box(b"ftyp", b"M4A ", bytes(4))
        + struct.pack(">I4s", n_more + 36, b"moov")
        + struct.pack(">I4s", n_more + 28, b"udta")
        + struct.pack(">I4sI", n_more + 20, b"meta", 0)
        + struct.pack(">I4s", n_more + 8, b"ilst")
        + title
        + cover,
        LARGE,
        artist,
    )
    tags = read_tags(path)
    assert tags.fields == FIELDS
    assert f"the MP4 tag is archived without field 'covr' of {LARGE + 24} " in tags.problems[0]


def test_pictures_do_not_take_the_room_of_comments(tmp_path):
    source = blank(tmp_path / "in.flac").read_bytes()
    comments = join_comments(b"", [b"TITLE=t", b"ARTIST=a"])
    n_each = 2**24 - 1
    path = tmp_path / "large.flac"
    with path.open("wb") as file:
        file.write(source[:4] + bytes([0]) + source[5:42])
        for _ in range(4):
            file.write(bytes([6]) + n_each.to_bytes(3, "big"))
            file.seek(n_each, 1)
        file.write(bytes([0x84]) + len(comments).to_bytes(3, "big") + comments)
    tags = read_tags(path)
    assert tags.fields == FIELDS
    assert f"the flac-picture block of {n_each} bytes is not archived" in tags.problems[0]


@needs_flac
def test_metadata_blocks_of_an_ogg_flac_are_read_as_far_as_there_is_room(tmp_path, monkeypatch):
    wav, picture = blank(tmp_path / "in.wav"), tmp_path / "in.png"
    picture.write_bytes(FRONT)
    path = tmp_path / "in.oga"
    pictures = [f"--picture=3||a{size}|1x1x24|{picture}" for size in (1, 2)]
    command = ["flac", "--silent", "--ogg", "--tag=TITLE=t", *pictures, "-o", path, wav]
    subprocess.run(command, check=True)
    assert len(read_tags(path).pictures) == 2
    monkeypatch.setattr(ogg, "MAX_TAG_BYTES", 2 * len(FRONT))
    tags = read_tags(path)
    assert tags.fields == {"title": ["t"]}
    assert len(tags.pictures) == 1
    assert tags.problems == [f"the metadata blocks beyond {2 * len(FRONT)} bytes are not archived"]
