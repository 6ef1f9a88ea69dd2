"""Blocks of which one entry is malformed or too large: the others are read, the block is kept."""

import struct

import pytest

from earzip.formats.tags.model import Found
from earzip.formats.tags.read import read_tags, tag_set
from earzip.formats.tags.vorbis import join_comments
from earzip.formats.tags.write import write_tags
from tests.formats.tags.tag_bytes import box, info_chunk
from tests.formats.tags.tag_files import FRONT, blank

TITLE, MANY = {"title": ["t"]}, 20_001


def ape(*items, tail=b""):
    data = b"".join(
        struct.pack("<2I", len(value), flags) + key + b"\0" + value for key, value, flags in items
    )
    data += tail
    count = len(items) + bool(tail)
    return data + b"APETAGEX" + struct.pack("<4I8x", 2000, len(data) + 32, count, 0)


def mp4(name, *values):
    return box(name, *(box(b"data", struct.pack(">II", 1, 0), value) for value in values))


def asf(*attributes, cut=0):
    body = struct.pack("<H", len(attributes))
    for attribute in attributes:
        name, value = (text.encode("utf-16-le") + b"\0\0" for text in attribute)
        body += struct.pack("<H", len(name)) + name + struct.pack("<2H", 0, len(value)) + value
    body = body[: len(body) - cut]
    guid = bytes.fromhex("40a4d0d207e3d21197f000a0c95ea850")
    return guid + struct.pack("<Q", 24 + len(body)) + body


def info(*entries):
    return info_chunk(*entries)[8:]


MALFORMED = {
    "flac-comment": join_comments(b"", [b"TITLE=t", b"ARTIST=a"])[:-1],
    "ogg-comment": b"OpusTags" + join_comments(b"", [b"TITLE=t", b"ARTIST=a"])[:-9],
    "apev2": ape((b"Title", b"t", 0), tail=struct.pack("<2I", 99, 0) + b"Artist\0a"),
    "mp4-ilst": mp4(b"\xa9nam", b"t") + struct.pack(">I4s", 99, b"\xa9ART"),
    "asf-objects": asf(("Title", "t"), ("Author", "a"), cut=3),
    "riff-info": info((b"INAM", b"t"), (b"IART", b"artist"))[:-3],
    "aiff-text": b"NAME\0\0\0\1t\0AUTH\0\0\0\x09a",
    "mp4-udta": box(b"titl", bytes(4) + b"\x55\xc4t\0") + struct.pack(">I4s", 99, b"perf"),
    "mp4-keys": box(b"keys", bytes(8), struct.pack(">I", 13) + b"mdtatitle")
    + box(b"ilst", mp4(b"\0\0\0\1", b"t"), struct.pack(">I4s", 99, b"\0\0\0\1")),
}
OVERSIZED = {
    "flac-comment": join_comments(b"", [*[b"ARTIST=a"] * MANY, b"TITLE=t"]),
    "apev2": ape((b"Artist", b"\0".join([b"a"] * MANY), 0), (b"Title", b"t", 0)),
    "mp4-ilst": mp4(b"\xa9ART", *[b"a"] * MANY) + mp4(b"\xa9nam", b"t"),
    "asf-objects": asf(*[("Author", "a")] * MANY, ("Title", "t")),
    "riff-info": info(*[(b"IART", b"a")] * MANY, (b"INAM", b"t")),
    "aiff-text": b"AUTH\0\0\0\1a\0" * MANY + b"NAME\0\0\0\1t\0",
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_what_precedes_a_malformed_entry_is_read(tmp_path, kind):
    tags = tag_set(Found(blocks=[(kind, MALFORMED[kind])]))
    assert tags.fields == TITLE
    (problem,) = tags.problems
    assert "is read in part: " in problem
    assert tags.raw_bytes(kind) == [MALFORMED[kind]]
    for target in ("out.flac", "out.wav"):
        losses = write_tags(blank(tmp_path / target), tags)
        assert any("the rest, which cannot be read, is not written" in loss for loss in losses)
        again = read_tags(tmp_path / target)
        assert again.fields == TITLE
        assert again.problems == []


@pytest.mark.parametrize("kind", OVERSIZED)
def test_a_field_of_too_many_values_is_left_to_its_block(tmp_path, kind):
    tags = tag_set(Found(blocks=[(kind, OVERSIZED[kind])]))
    assert tags.fields == TITLE
    assert tags.raw_only == {kind: ["field 'artist' of 20001 values"]}
    assert tags.raw_bytes(kind) == [OVERSIZED[kind]]
    losses = write_tags(blank(tmp_path / "out.flac"), tags)
    assert losses == [] if kind == "flac-comment" else "field 'artist' of 20001" in losses[0]


def test_a_malformed_item_of_mp4_costs_itself_alone():
    bad = box(b"\xa9ART", struct.pack(">I4s", 99, b"data"))
    tags = tag_set(Found(blocks=[("mp4-ilst", bad + mp4(b"\xa9nam", b"t"))]))
    assert tags.fields == TITLE
    assert "item '©ART': atom 'data' says 99 bytes" in tags.problems[0]


def test_more_pictures_than_an_archive_holds_stay_in_their_block():
    covers = [(b"Cover Art (Front)", b"f\0" + FRONT + b"%d" % i, 2) for i in range(1_002)]
    block = ape((b"Title", b"t", 0), *covers)
    tags = tag_set(Found(blocks=[("apev2", block)]))
    assert tags.fields == TITLE
    assert len(tags.pictures) == 1_000
    assert tags.raw_only == {"apev2": ["2 of its pictures"]}
    assert tags.raw_bytes("apev2") == [block]


@pytest.mark.parametrize(
    ("kind", "block", "name"),
    [
        ("flac-comment", join_comments(b"", [b"TITLE=caf\xe9"]), "comment 'title'"),
        ("apev2", ape((b"Title", b"caf\xe9", 0)), "item 'Title'"),
        ("riff-info", info((b"INAM", b"caf\x81")), "'INAM'"),
    ],
)
def test_a_value_in_another_encoding_is_named_where_its_bytes_are_lost(tmp_path, kind, block, name):
    tags = tag_set(Found(blocks=[(kind, block)]))
    assert tags.raw_only == {kind: [f"the exact bytes of {name}"]}
    written = {"flac-comment": "out.flac", "riff-info": "out.wav"}.get(kind)
    for target in ("out.flac", "out.wav"):
        losses = write_tags(blank(tmp_path / target), tags)
        assert any(f"the exact bytes of {name}" in loss for loss in losses) == (target != written)


def test_text_behind_a_zero_byte_is_named():
    tags = tag_set(Found(blocks=[("riff-info", info((b"ICMT", b"a\0b\0"), (b"INAM", b"c\0\0\0")))]))
    assert tags.fields == {"comment": ["a"], "title": ["c"]}
    assert tags.raw_only == {"riff-info": ["rest of 'ICMT', behind a zero byte"]}
