"""Tags of a source that an archive may not hold: what is too much is named, and no archive has it."""

from __future__ import annotations

from base64 import b64encode

import pytest

from earzip.formats.tag_payload import MAX_CUTS, read_payload
from earzip.formats.tags import merge, read
from earzip.formats.tags.model import Found, Picture, TagSet
from earzip.formats.tags.picture import encode_flac_picture
from earzip.formats.tags.read import tag_set
from earzip.formats.tags.vorbis import join_comments
from tests.formats.tags.tag_files import png


def require_storable(tags: TagSet) -> None:
    payload, blobs = tags.to_payload()
    read_payload(payload, [len(each) for each in blobs], [len(p.data) for p in tags.pictures])


def comments(*pictures: bytes) -> bytes:
    """Return a comment block with these pictures in base64."""
    texts = [
        b"METADATA_BLOCK_PICTURE="
        + b64encode(encode_flac_picture(Picture(3, "image/png", "", data)))
        for data in pictures
    ]
    return join_comments(b"", [b"TITLE=x", *texts])


def test_blocks_beyond_the_limit_are_named_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MAX_BLOCK_BYTES", 1000)
    blocks = [("flac-comment", comments()), ("ogg-comment", comments(png(9, 9, 0) * 50))]
    blocks.append(("flac-comment", join_comments(b"", [b"ARTIST=y"])))
    tags = tag_set(Found(blocks))
    assert tags.fields == {"title": ["x"], "artist": ["y"]}
    assert [block.kind for block in tags.raw] == ["flac-comment"] * 2
    (problem,) = tags.problems
    assert problem.startswith("the Vorbis comment of ")
    assert problem.endswith(" is not archived: the limit is 1000 bytes in 2000 blocks")
    require_storable(tags)


def test_more_blocks_than_an_archive_holds_are_left_out() -> None:
    tags = tag_set(Found([("flac-comment", comments())] * 2001))
    assert len(tags.raw) == 2000
    assert "the limit is 68157440 bytes in 2000 blocks" in tags.problems[0]
    require_storable(tags)


def test_pictures_beyond_the_limit_stay_in_their_block(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [png(9, 9, shade) + bytes(500) for shade in range(4)]
    n_bytes = sum(map(len, pictures))
    monkeypatch.setattr(merge, "MAX_PICTURE_BYTES", n_bytes - 1)
    block = comments(*pictures)
    tags = tag_set(Found([("flac-comment", block)]))
    assert [picture.data for picture in tags.pictures] == pictures[:3]
    assert tags.raw_bytes("flac-comment") == [block]
    assert tags.raw_only["flac-comment"] == [f"1 of its pictures, which pass {n_bytes - 1} bytes,"]
    require_storable(tags)
    monkeypatch.setattr(merge, "MAX_PICTURE_BYTES", n_bytes)
    assert len(tag_set(Found([("flac-comment", block)])).pictures) == 4


def test_a_picture_that_stands_in_a_block_too_often_stays_there() -> None:
    picture = png(9, 9, 0) + bytes(100)
    block = comments(*[picture] * (MAX_CUTS + 500))
    tags = tag_set(Found([("flac-comment", block)] * 12))
    assert [len(each.cuts) for each in tags.raw] == [MAX_CUTS] * 10 + [0] * 2
    assert tags.raw_bytes("flac-comment") == [block] * 12
    require_storable(tags)
