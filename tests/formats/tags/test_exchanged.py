"""Pictures left out or exchanged: all other tags stay, in the blocks of the source where they can."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mutagen.id3
import pytest

from earzip.formats.tags.exchanged import exchange_pictures
from earzip.formats.tags.model import Picture, TagSet
from earzip.formats.tags.read import read_tags
from earzip.formats.tags.write import write_tags
from tests.formats.tags.tag_files import BACK, FRONT, MAKERS, blank, png

SMALL = png(8, 6, 3)
KEPT = {"flac-comment", "id3v2", "mp4-ilst", "ogg-comment"}
"""Kinds of blocks that are kept without their pictures."""


@pytest.fixture(params=["flac", "ogg", "opus", "mp3", "wav", "aiff", "m4a", "ape.mp3", "wma"])
def tags(request: pytest.FixtureRequest, tmp_path: Path) -> TagSet:
    """The tags of a file of each format that holds pictures."""
    found = read_tags(MAKERS[request.param](tmp_path / f"tagged.{request.param}"))
    assert found.pictures
    return found


def images_in(tags: TagSet) -> list[bytes]:
    blocks = [block.join([picture.data for picture in tags.pictures]) for block in tags.raw]
    return [image for image in (FRONT, BACK) for block in blocks if image in block]


def exchanged_by(tags: TagSet) -> list[Picture | None]:
    return [replace(picture, data=SMALL, mime="image/png") for picture in tags.pictures]


def test_what_is_left_out_is_in_no_block_and_all_else_is(tags: TagSet) -> None:
    bare, lost = exchange_pictures(tags, [None] * len(tags.pictures))
    assert bare.pictures == []
    assert images_in(bare) == []
    assert (bare.fields, bare.chapters, bare.family) == (tags.fields, tags.chapters, tags.family)
    before = {block.kind for block in tags.raw}
    after = {block.kind for block in bare.raw}
    gone = {block.kind for block in tags.raw if block.cuts} - after - {"flac-picture"}
    assert before - after <= gone | {"flac-picture"}
    assert not gone & KEPT
    assert len(lost) == len(gone)
    assert bare.raw_only == {kind: n for kind, n in tags.raw_only.items() if kind not in gone}
    for kind in gone:  # what only the block said is named
        assert all(name in "".join(lost) for name in tags.raw_only.get(kind, [])[:1])
    # It is what an archive can hold.
    payload, blocks = bare.to_payload()
    assert TagSet.from_payload(payload, blocks, []) == bare


@pytest.mark.parametrize("suffix", ["flac", "wav"])
def test_exchanged_pictures_are_restored_with_all_else(
    suffix: str, tags: TagSet, tmp_path: Path
) -> None:
    new, _ = exchange_pictures(tags, exchanged_by(tags))
    assert images_in(new) == []
    write_tags(blank(tmp_path / f"old.{suffix}"), tags)
    write_tags(blank(tmp_path / f"new.{suffix}"), new)
    before, after = (read_tags(tmp_path / f"{name}.{suffix}") for name in ("old", "new"))
    assert [picture.data for picture in after.pictures] == [SMALL] * len(before.pictures)
    assert after.fields == before.fields
    assert after.chapters == before.chapters


def test_one_of_two_pictures(tmp_path: Path) -> None:
    tags = read_tags(MAKERS["mp3"](tmp_path / "tagged.mp3"))
    assert len(tags.pictures) == 2
    new, lost = exchange_pictures(tags, [None, tags.pictures[1]])
    assert lost == []
    assert new.pictures == [tags.pictures[1]]
    write_tags(blank(tmp_path / "out.wav"), new)
    assert read_tags(tmp_path / "out.wav").pictures == [tags.pictures[1]]


def test_the_frames_of_an_id3_tag_are_those_of_the_source(tmp_path: Path) -> None:
    path = MAKERS["mp3"](tmp_path / "tagged.mp3")
    bare, _ = exchange_pictures(read_tags(path), [None, None])
    (block,) = (block for block in bare.raw if block.kind == "id3v2")
    (tmp_path / "tag").write_bytes(block.data + bytes(128))
    before, after = mutagen.id3.ID3(path), mutagen.id3.ID3(tmp_path / "tag")
    expected = {key: str(frame) for key, frame in before.items() if not key.startswith("APIC")}
    assert {key: str(frame) for key, frame in after.items()} == expected


def test_what_is_not_exchanged_stays_as_it_is(tags: TagSet) -> None:
    assert exchange_pictures(tags, tags.pictures) == (tags, [])
