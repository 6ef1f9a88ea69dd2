"""What an archive stores of tags: small, complete, and believed only after a check."""

import base64
import json
import shutil

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from earzip.errors import TagError
from earzip.formats.tag_payload import Chapter
from earzip.formats.tags.lyrics import lrc_from_sync, sync_from_lrc
from earzip.formats.tags.model import Picture, TagSet
from earzip.formats.tags.picture import decode_flac_picture, encode_flac_picture, image_dimensions
from earzip.formats.tags.raw import Base64Span, RawBlock, cut_pictures
from earzip.formats.tags.read import read_tags
from earzip.formats.tags.vorbis import join_comments, split_comments
from earzip.formats.tags.write import write_tags
from tests.formats.tags.tag_files import MAKERS, blank, png


def stored(tags):
    """Through JSON and back, as an archive does."""
    payload, blobs = tags.to_payload()
    pictures = [picture.data for picture in tags.pictures]
    return TagSet.from_payload(json.loads(json.dumps(payload)), blobs, pictures)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
@pytest.mark.parametrize("name", MAKERS)
def test_tags_come_back_from_their_payload(tmp_path, name):
    tags = read_tags(MAKERS[name](tmp_path / f"song.{name}"))
    assert stored(tags) == tags
    for suffix in ("wav", "flac"):
        direct = blank(tmp_path / f"direct.{suffix}")
        through = blank(tmp_path / f"through.{suffix}")
        assert write_tags(through, stored(tags)) == write_tags(direct, tags)
        assert through.read_bytes() == direct.read_bytes()


def test_typical_tags_take_a_few_hundred_bytes(tmp_path):
    comments = [
        f"{key}={value}".encode()
        for key, value in {
            "TITLE": "Gymnopédie No. 1",
            "ARTIST": "Erik Satie",
            "ALBUM": "Piano Works",
            "DATE": "1888",
            "TRACKNUMBER": "1",
            "TRACKTOTAL": "12",
            "GENRE": "Classical",
            "REPLAYGAIN_TRACK_GAIN": "+3.45 dB",
            "REPLAYGAIN_TRACK_PEAK": "0.567890",
            "MUSICBRAINZ_TRACKID": "7d8a0f2c-8f5e-4b1a-9c53-0a1b2c3d4e5f",
        }.items()
    ]
    body = join_comments(b"reference libFLAC 1.4.3 20230623", comments)
    data = blank(tmp_path / "song.flac").read_bytes()
    header = b"\x04" + len(body).to_bytes(3, "big")
    (tmp_path / "song.flac").write_bytes(data[:42] + header + body + data[42:])
    payload, blobs = read_tags(tmp_path / "song.flac").to_payload()
    text = json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
    assert len(zstandard.compress(text + b"".join(blobs), 19)) < 500


def test_empty_tags_are_one_word():
    assert TagSet().to_payload() == ({"family": "none"}, [])
    assert stored(TagSet()) == TagSet()


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAMES = TEXT.map(lambda text: text.translate({n: n + 32 for n in range(65, 91)}) or "unnamed")
PICTURES = st.builds(
    Picture,
    type=st.integers(0, 2**32 - 1),
    mime=TEXT,
    description=TEXT,
    data=st.binary(max_size=20),
    width=st.integers(0, 2**32 - 1),
    height=st.integers(0, 2**32 - 1),
)
CHAPTERS = st.builds(
    lambda start, length, title: Chapter(start, length and start + length, title),
    st.integers(0, 2**40),
    st.none() | st.integers(1, 2**40),
    TEXT,
)


@settings(deadline=None)
@given(
    st.builds(
        TagSet,
        fields=st.dictionaries(NAMES, st.lists(TEXT, min_size=1, max_size=3)),
        pictures=st.lists(PICTURES, max_size=3),
        chapters=st.lists(CHAPTERS, max_size=3),
        family=st.sampled_from(["none", "vorbis", "id3", "mp4"]),
    )
)
def test_any_tags_come_back_from_their_payload(tags):
    assert stored(tags) == tags


@settings(deadline=None)
@given(PICTURES)
def test_flac_picture_structure_is_its_own_inverse(picture):
    assert decode_flac_picture(encode_flac_picture(picture)) == picture


@settings(deadline=None)
@given(st.binary(max_size=20), st.lists(st.binary(max_size=20), max_size=5))
def test_comments_split_and_join(vendor, comments):
    block = join_comments(vendor, comments)
    back, spans = split_comments(block)
    assert (back, [block[a:b] for a, b in spans]) == (vendor, comments)


@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=8), min_size=1, max_size=6),
    st.lists(st.integers(0, 3), max_size=6),
    st.booleans(),
)
def test_any_raw_block_is_joined_to_what_it_was(filling, order, unsync):
    """Pictures may be missing, repeated, overlapping or standing in any order."""
    pictures = [bytes([0xFF, i, 0xE0, 0xFF, 0]) * 15 for i in range(3)] + [b"\xff\0" * 40]
    shown = [pictures[i].replace(b"\xff", b"\xff\0") if unsync else pictures[i] for i in order]
    block = b"".join(a + b for a, b in zip(filling, [*shown, *[b""] * 6], strict=False))
    raw = cut_pictures("id3v2", block, pictures)
    assert raw.join(pictures) == block


@pytest.mark.parametrize("head", range(4))
def test_base64_picture_is_cut_out_whatever_its_alignment(head):
    picture = png(9, 9, head)
    text = base64.b64encode(b"h" * head + picture)
    block = b"before" + text + b"after" + text
    spans = [
        Base64Span(start, start + len(text), b"h" * head, picture)
        for start in (6, 6 + len(text) + 5)
    ]
    raw = cut_pictures("ogg-comment", block, [b"other", picture], spans)
    assert raw.data == b"before" + b"h" * head + b"after" + b"h" * head
    assert raw.join([b"other", picture]) == block


def test_image_headers_give_dimensions():
    assert image_dimensions(png(7, 5, 0)) == (7, 5, 24, 0)
    gif = b"GIF89a" + (300).to_bytes(2, "little") + (200).to_bytes(2, "little") + b"\xf7\0\0"
    assert image_dimensions(gif) == (300, 200, 8, 256)
    jpeg = b"\xff\xd8\xff\xe0\0\x04ab\xff\xc2\0\x11\x08\x01\x02\x03\x04\x03" + bytes(9)
    assert image_dimensions(jpeg) == (0x304, 0x102, 24, 0)
    for junk in (
        b"",
        b"\xff\xd8",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        jpeg[:12],
        b"\xff\xd8" + b"\xff" * 99,
    ):
        assert image_dimensions(junk) == (0, 0, 0, 0)


def test_lyrics_timed_by_word():
    entries = [("One ", 100), ("two", 200), ("\nthree ", 61_000), ("four", 3_600_123)]
    text = "[00:00.100]One <00:00.200>two\n[01:01.000]three <60:00.123>four"
    assert lrc_from_sync(entries) == text
    assert sync_from_lrc(text) == entries


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.text("abc d", max_size=5), st.integers(0, 9_999 * 60_000)), min_size=1)
)
def test_lyrics_timed_by_line_come_back(entries):
    assert sync_from_lrc(lrc_from_sync(entries)) == entries


@pytest.mark.parametrize("text", ["", "plain", "[00:01]ok\nnot timed", "[ar:Anna]\n[00:01.00]la"])
def test_lyrics_that_are_not_timed_throughout_stay_text(text):
    assert sync_from_lrc(text) is None


GOOD = {
    "family": "id3",
    "fields": {"title": ["x"]},
    "pictures": [{"type": 3, "mime": "image/png", "width": 5}],
    "chapters": [{"start_ms": 0, "end_ms": 10, "title": "x"}],
    "raw": [{"kind": "id3v2", "cuts": [{"at": 2, "picture": 0}]}],
    "raw_only": {"id3v2": ["PRIV:x frame"]},
}


def changed(path, value):
    payload = json.loads(json.dumps(GOOD))
    *parents, last = path
    target = payload
    for key in parents:
        target = target[key]
    if value is KeyError:
        del target[last]
    else:
        target[last] = value
    return payload


def test_the_good_payload_is_good():
    tags = TagSet.from_payload(GOOD, [b"abcd"], [b"picture"])
    assert tags.raw_bytes("id3v2") == [b"abpicturecd"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["family"], ""),
        (["family"], "x" * 65),
        (["family"], None),
        (["family"], ["id3"]),
        (["family"], KeyError),
        (["fields"], []),
        (["fields", "title"], "x"),
        (["fields", "title"], []),
        (["fields", "title"], [1]),
        (["fields", "title"], ["\ud800"]),
        (["fields", "\udfff"], ["x"]),
        (["fields", ""], ["x"]),
        (["fields", "title"], ["x"] * 20_001),
        (["pictures"], []),
        (["pictures"], {}),
        (["pictures", 0], None),
        (["pictures", 0, "type"], -1),
        (["pictures", 0, "type"], 2**32),
        (["pictures", 0, "type"], True),
        (["pictures", 0, "type"], 3.0),
        (["pictures", 0, "type"], KeyError),
        (["pictures", 0, "mime"], 1),
        (["pictures", 0, "height"], "5"),
        (["chapters"], [{}]),
        (["chapters", 0, "start_ms"], -1),
        (["chapters", 0, "start_ms"], 11),
        (["chapters", 0, "end_ms"], 2**60),
        (["chapters", 0, "title"], None),
        (["chapters"], [{"start_ms": 0, "title": ""}] * 10_001),
        (["raw"], []),
        (["raw", 0, "kind"], ""),
        (["raw", 0, "kind"], "x" * 65),
        (["raw", 0, "kind"], "\ud800"),
        (["raw", 0, "kind"], {}),
        (["raw", 0, "cuts", 0, "at"], 5),
        (["raw", 0, "cuts", 0, "at"], -1),
        (["raw", 0, "cuts", 0, "picture"], 1),
        (["raw", 0, "cuts", 0, "picture"], -1),
        (["raw", 0, "cuts", 0, "coding"], "rot13"),
        (["raw", 0, "cuts", 0, "coding"], []),
        (["raw", 0, "cuts", 0, "head"], 1),
        (["raw", 0, "cuts", 0, "head"], 3),
        (["raw", 0, "cuts"], [{"at": 3, "picture": 0}, {"at": 2, "picture": 0}]),
        (["fields"], {}),
        (["fields", "Title"], ["x"]),
        (["chapters"], []),
        (["raw_only"], {}),
        (["pictures", 0, "width"], 0),
        (["pictures", 0, "description"], ""),
        (["raw", 0, "cuts"], []),
        (["raw", 0, "cuts"], [{"at": 0, "picture": 0}] * 1001),
        (["raw", 0, "cuts", 0, "coding"], "plain"),
        (["raw", 0, "cuts", 0, "head"], 0),
        (["raw_only", ""], ["x"]),
        (["raw_only", "x" * 65], ["x"]),
        (["raw_only", "other"], []),
        (["raw_only", "other"], ["x"] * 20_000),
        (["raw_only", "id3v2"], "x"),
    ],
)
def test_malformed_payloads_are_refused(path, value):
    with pytest.raises(TagError):
        TagSet.from_payload(changed(path, value), [b"abcd"], [b"picture"])


@pytest.mark.parametrize("payload", [None, [], "x", 1, {}])
def test_what_is_no_payload_is_refused(payload):
    with pytest.raises(TagError):
        TagSet.from_payload(payload, [], [])


@pytest.mark.parametrize(
    "path", [[], ["pictures", 0], ["chapters", 0], ["raw", 0], ["raw", 0, "cuts", 0]]
)
def test_keys_of_a_later_version_are_ignored_in_every_object(path):
    tags = TagSet.from_payload(changed([*path, "new"], [1]), [b"abcd"], [b"picture"])
    assert tags == TagSet.from_payload(GOOD, [b"abcd"], [b"picture"])
    assert tags.problems == []


def test_families_and_kinds_of_a_later_version_are_kept_and_named_in_one_sentence():
    payload = changed(["family"], "caf")
    payload["raw"][0]["kind"] = "caf-info"
    payload["raw_only"] = {"caf-info": ["key x"], "caf-uuid": ["box y"]}
    tags = TagSet.from_payload(payload, [b"abcd"], [b"picture"])
    assert tags.family == "none"
    assert (tags.fields, len(tags.pictures), len(tags.chapters)) == ({"title": ["x"]}, 1, 1)
    assert tags.raw_bytes("caf-info") == [b"abpicturecd"]
    assert tags.raw_only == payload["raw_only"]
    (problem,) = tags.problems
    assert "'caf', 'caf-info', 'caf-uuid'; they stay in the archive" in problem


def test_many_unknown_kinds_are_counted():
    payload = changed(["raw_only"], {f"new-{i}": ["x"] for i in range(9)})
    (problem,) = TagSet.from_payload(payload, [b"abcd"], [b"picture"]).problems
    assert "'new-4', 4 more;" in problem


def test_unknown_kinds_are_named_as_losses(tmp_path):
    tags = TagSet(fields={"title": ["x"]}, raw_only={"caf-info": ["key x"]})
    for name in ("out.wav", "out.flac"):
        (loss,) = write_tags(blank(tmp_path / name), tags)
        assert loss.startswith("block of kind 'caf-info': key x ")


def test_blobs_and_pictures_must_match_the_payload():
    for blobs, pictures in (([], [b"p"]), ([b"abcd"] * 2, [b"p"]), ([b"abcd"], [])):
        with pytest.raises(TagError):
            TagSet.from_payload(GOOD, blobs, pictures)


def test_a_picture_repeated_into_gigabytes_is_refused():
    payload = changed(["raw", 0, "cuts"], [{"at": 0, "picture": 0}] * 1000)
    with pytest.raises(TagError, match="raw tag blocks take"):
        TagSet.from_payload(payload, [b"abcd"], [bytes(1 << 20)])


def test_raw_blocks_are_plain_data():
    assert RawBlock("id3v2", b"abc").join([]) == b"abc"
