"""Pictures in Vorbis comments, as writers have put them there."""

import base64
import shutil

import pytest
from mutagen.flac import FLAC

from earzip.formats.tags.model import Found
from earzip.formats.tags.read import tag_set
from earzip.formats.tags.vorbis import join_comments
from earzip.formats.tags.write import write_tags
from tests.formats.tags.tag_files import BACK, FRONT, blank, flac_pictures

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")

STRUCTURE = flac_pictures()[0].write()
EXACT = base64.b64encode(STRUCTURE)
LINES = base64.encodebytes(STRUCTURE)
SPELLINGS = {
    "as specified": EXACT,
    "a zero byte behind": EXACT + b"\0",
    "a byte behind the picture": base64.b64encode(STRUCTURE + b"!"),
    "a character too many": EXACT.rstrip(b"=") + b"A" * (1 + -len(EXACT.rstrip(b"=")) % 4),
    "no equals signs": base64.b64encode(STRUCTURE + b"!!")[:-1].rstrip(b"="),
    "too many equals signs": EXACT.rstrip(b"=") + b"====",
    "lines": LINES,
    "lines of DOS": LINES.replace(b"\n", b"\r\n"),
    "the alphabet of URLs": base64.urlsafe_b64encode(STRUCTURE),
    "the alphabet of URLs, no equals signs": base64.urlsafe_b64encode(STRUCTURE).rstrip(b"="),
}


def read(*comments):
    block = join_comments(b"v", [b"TITLE=x", *comments])
    tags = tag_set(Found(blocks=[("ogg-comment", block)]))
    assert tags.raw_bytes("ogg-comment") == [block]
    return tags


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_picture_is_read_however_its_base64_is_written(tmp_path, spelling):
    tags = read(b"METADATA_BLOCK_PICTURE=" + SPELLINGS[spelling])
    assert tags.fields == {"title": ["x"]}
    (picture,) = tags.pictures
    assert (picture.type, picture.mime, picture.data) == (3, "image/png", FRONT)
    assert tags.problems == []
    assert write_tags(blank(tmp_path / "out.flac"), tags) == []
    file = FLAC(tmp_path / "out.flac")
    assert [each.data for each in file.pictures] == [FRONT]
    assert list(file.tags) == [("TITLE", "x")]


@pytest.mark.parametrize("data", [b"", b"AAAA", b"not base64 at all?", EXACT[:400]])
def test_a_picture_that_cannot_be_read_becomes_no_field(tmp_path, data):
    tags = read(b"METADATA_BLOCK_PICTURE=" + data)
    assert tags.fields == {"title": ["x"]}
    assert tags.raw_only == {"ogg-comment": ["picture that cannot be read"]}
    (loss,) = write_tags(blank(tmp_path / "out.flac"), tags)
    assert "picture that cannot be read" in loss
    assert list(FLAC(tmp_path / "out.flac").tags) == [("TITLE", "x")]


@pytest.mark.parametrize("spelling", ["exact", "no equals signs", "lines"])
def test_an_old_cover_is_a_picture_of_its_type(tmp_path, spelling):
    text = base64.b64encode(BACK)
    text = {"exact": text, "no equals signs": text.rstrip(b"="), "lines": base64.encodebytes(BACK)}
    tags = read(
        b"COVERART=" + text[spelling], b"COVERARTMIME=image/jpg",
        b"COVERART=" + base64.b64encode(FRONT), b"COVERARTMIME=image/png",
    )  # fmt: skip
    assert tags.fields == {"title": ["x"]}
    assert [(each.mime, each.data) for each in tags.pictures] == [
        ("image/jpg", BACK),
        ("image/png", FRONT),
    ]
    assert write_tags(blank(tmp_path / "out.flac"), tags) == []
    file = FLAC(tmp_path / "out.flac")
    assert [each.data for each in file.pictures] == [BACK, FRONT]
    assert list(file.tags) == [("TITLE", "x")]


def test_an_old_cover_that_names_a_file_is_a_field():
    tags = read(b"COVERART=cover.jpg", b"COVERARTMIME=image/jpeg")
    assert tags.fields == {
        "title": ["x"],
        "coverart": ["cover.jpg"],
        "coverartmime": ["image/jpeg"],
    }
