"""What is read from MP4 and QuickTime: items, keys, user data and chapters."""

import shutil
import struct
import subprocess

import pytest
from mutagen.flac import FLAC

from earzip.formats.tag_payload import Chapter
from earzip.formats.tags.read import PARSERS, read_tags
from tests.formats.tags.tag_bytes import box
from tests.formats.tags.tag_files import BACK, FRONT, LYRICS, MUSICBRAINZ_ID, encoded, restored

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")


def test_mp4_is_read_as_mutagen_reads_it(files):
    tags = read_tags(files["m4a"])
    assert tags.family == "mp4"
    assert tags.fields == {
        "title": ["Ein Stück ☃"],
        "artist": ["Anna", "Bert"],
        "tracknumber": ["3"],
        "tracktotal": ["12"],
        "discnumber": ["1"],
        "disctotal": ["2"],
        "date": ["1999-05-01"],
        "bpm": ["120"],
        "compilation": ["1"],
        "lyrics": [LYRICS],
        "musicbrainz_trackid": [MUSICBRAINZ_ID],
        "replaygain_track_gain": ["-3.21 dB"],
        "eigenes": ["a", "b"],
    }
    assert [(p.type, p.mime, p.data) for p in tags.pictures] == [
        (3, "image/png", FRONT),
        (3, "image/jpeg", BACK),
    ]
    assert (tags.pictures[1].width, tags.pictures[1].height) == (48, 32)
    assert tags.raw_only == {"mp4-ilst": ["atom 'stik'"]}


@pytest.mark.parametrize("place", ["in udta", "in moov"])
def test_mp4_keys_give_items_their_names(files, tmp_path, place):
    source = tmp_path / "in.m4a"
    data = files["keys.m4a"].read_bytes()
    if place == "in moov":  # as phones have it: udta's header is moved to an atom of its own
        at = data.index(b"udta") - 4
        data = data[:at] + b"\0\0\0\x08free" + data[at + 8 :]
    source.write_bytes(data)
    tags = read_tags(source)
    assert tags.family == "mp4"
    assert tags.fields == {"title": ["Ein Stück ☃"], "artist": ["Anna"], "make": ["Telefon"]}
    (block,) = tags.raw_bytes("mp4-keys")
    assert b"mdtacom.apple.quicktime.make" in block
    assert b"Telefon" in block
    assert restored(source, tmp_path / "out.flac") == []


def test_values_of_mp4_keys_have_types():
    def item(number, type_, value):
        return box(struct.pack(">I", number), box(b"data", struct.pack(">II", type_, 0), value))

    names = [b"com.apple.quicktime.artwork", b"count", b"ratio", b"binary"]
    keys = b"".join(struct.pack(">I4s", 8 + len(name), b"mdta") + name for name in names)
    items = [
        item(1, 14, FRONT),
        item(2, 21, b"\xff\xfe"),
        item(3, 23, struct.pack(">f", 0.5)),
        item(4, 0xFF, b"\1\2"),
        item(5, 1, b"no key"),
    ]
    block = box(b"keys", bytes(4), struct.pack(">I", 4), keys) + box(b"ilst", *items)
    view = PARSERS["mp4-keys"](block)
    assert view.fields == {"count": ["-2"], "ratio": ["0.5"]}
    assert [picture.data for picture in view.pictures] == [FRONT]
    assert view.raw_only == ["key 'binary'", "item 5, which has no key,"]


def test_texts_in_quicktime_user_data_are_read(files):
    tags = read_tags(files["quicktime.m4a"])
    assert tags.fields == {"title": ["Ein Stück ☃"], "artist": ["Anna"], "date": ["1999-05-01"]}
    old = struct.pack(">HH", 4, 0) + b"caf\x8e" + struct.pack(">HH", 2, 0) + b"ok"
    view = PARSERS["mp4-udta"](box(b"\xa9nam", old) + box(b"SelO", b"\0") + bytes(4))
    assert view.fields == {"title": ["café", "ok"]}  # Mac Roman, where it is not UTF-8
    assert view.raw_only == ["atom 'SelO'"]


def test_texts_of_3gpp_are_read(tmp_path):
    source = tmp_path / "in.3gp"
    options = ["-c:a", "aac", "-metadata", "title=Ünï", "-metadata", "date=2001"]
    encoded(source, *options, "-metadata", "album=Samples", "-metadata", "track=3")
    assert read_tags(source).fields == {
        "title": ["Ünï"],
        "date": ["2001"],
        "album": ["Samples"],
        "tracknumber": ["3"],
    }


@pytest.mark.parametrize("options", [[], ["-movflags", "+faststart"]])
def test_mp4_chapters(tmp_path, options):
    metadata = tmp_path / "chapters.txt"
    metadata.write_text(
        ";FFMETADATA1\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=200\ntitle=Eins\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=200\nEND=500\ntitle=Zwei ☃\n"
    )
    plain = encoded(tmp_path / "plain.m4a")
    source = tmp_path / "in.m4b"
    run = ["ffmpeg", "-v", "error", "-i", plain, "-i", metadata, "-map_metadata", "1"]
    run += ["-map_chapters", "1", "-c", "copy", "-f", "mp4", *options, source]
    subprocess.run(run, check=True)
    tags = read_tags(source)
    assert [(c.start_ms, c.title) for c in tags.chapters] == [(0, "Eins"), (200, "Zwei ☃")]
    target = tmp_path / "out.flac"
    restored(source, target)
    assert FLAC(target).tags["chapter002"] == ["00:00:00.200"]
    assert FLAC(target).tags["chapter002name"] == ["Zwei ☃"]


def test_quicktime_chapter_track_is_read_without_the_nero_list(tmp_path):
    test_mp4_chapters(tmp_path, [])
    source = tmp_path / "in.m4b"
    source.write_bytes(source.read_bytes().replace(b"chpl", b"free"))
    assert read_tags(source).chapters == [
        Chapter(0, 200, "Eins"),
        Chapter(200, 500, "Zwei ☃"),
    ]
