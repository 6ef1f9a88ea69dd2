"""Tags made to crash, hang or exhaust their reader; and thousands damaged at random."""

import itertools
import os
import random
import struct
import sys
import zlib
from contextlib import contextmanager

import pytest
from mutagen.flac import FLAC

from earzip.errors import TagError
from earzip.formats.tags.model import Found, TagSet
from earzip.formats.tags.read import PARSERS, read_tags, tag_set
from earzip.formats.tags.write import write_tags
from tests.formats.tags.tag_bytes import box, id3_v2_2
from tests.formats.tags.tag_files import FRONT, blank

MAX_CALLS = 1_500_000  # a million frames, atoms or pages, all of them read, take several millions


@contextmanager
def bounded():
    """Check the number of calls and returns inside, of Python and of C: no machine is slow by them."""
    counter = itertools.count()
    sys.setprofile(lambda *_: next(counter))
    try:
        yield
    finally:
        sys.setprofile(None)
    assert next(counter) < MAX_CALLS


def synchsafe(number):
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def frame(name, body, version=4, flags=0):
    size = synchsafe(len(body)) if version == 4 else struct.pack(">I", len(body))
    return name + size + struct.pack(">H", flags) + body


def id3(version, frames, flags=0):
    return b"ID3" + bytes([version, 0, flags]) + synchsafe(len(frames)) + frames


def chapter(frames):
    return frame(b"CHAP", b"x\0" + bytes(16) + frames)


def nested(depth):
    frames = b""
    for _ in range(depth):
        frames = chapter(frames)
    return frames


BOMB = struct.pack(">I", 1000) + zlib.compress(bytes(64 << 20))
ID3_ATTACKS = {
    "compressed picture, 2.3": lambda: id3(3, frame(b"APIC", BOMB, 3, 0x0080)),
    "compressed picture, 2.4": lambda: id3(4, frame(b"APIC", BOMB, 4, 0x0009)),
    "compressed without length": lambda: id3(4, frame(b"APIC", BOMB[4:], 4, 0x0008)),
    "compressed in a chapter": lambda: id3(4, chapter(frame(b"APIC", BOMB, 4, 0x0009))),
    "a million empty frames": lambda: id3(4, frame(b"TIT2", b"") * 1_000_000),
    "a million values": lambda: id3(4, frame(b"TPE1", b"\3" + b"a\0" * 1_000_000)),
    "a million pairs": lambda: id3(4, frame(b"TIPL", b"\3" + b"a\0" * 1_000_000)),
    "megabytes of UTF-16": lambda: id3(4, frame(b"TPE1", b"\1\xff\xfe" + b"a\0" * 8_000_000)),
    "UTF-16 description": lambda: id3(
        4, frame(b"APIC", b"\1image/png\0\3\xff\xfe" + b"a\0" * 8_000_000)
    ),
    "counter of megabytes": lambda: id3(4, frame(b"PCNT", b"\xff" * (4 << 20))),
    "events": lambda: id3(4, frame(b"ETCO", b"\2" + bytes(8 << 20))),
    "false syncs": lambda: id3(3, b"\xff" * (32 << 20), 0x80),
    "nested chapters": lambda: id3(4, nested(1000)),
    "garbage padding": lambda: id3(4, (bytes(7) + b"\1xx\0") * 1_000_000),
    "an extended header of gigabytes": lambda: id3(3, b"\xff" * 100, 0x40),
}


TITLED_ATTACKS = {
    "a million small frames": lambda: id3(3, frame(b"TIT2", b"\0a", 3) * 1_000_000),
    "small frames, 2.2": lambda: id3_v2_2([(b"TT2", b"\0a")] * 300_000),
    "a title among bombs": lambda: id3(
        4, frame(b"APIC", BOMB, 4, 0x0009) + frame(b"TIT2", b"\3a") + frame(b"PCNT", bytes(4 << 20))
    ),
    "a title behind thousands": lambda: id3(
        3,
        frame(b"PRIV", b"a\0b", 3) * 19_000
        + frame(b"TIT2", b"\0a", 3)
        + frame(b"APIC", BOMB, 3, 0x80),
    ),
    "a title before a cut": lambda: id3(4, frame(b"TIT2", b"\3a") + frame(b"COMM", bytes(99)))[
        :-50
    ],
    "wrong flags": lambda: id3(4, frame(b"TIT2", b"\3a"), 0x0F),
}


@pytest.mark.parametrize("name", TITLED_ATTACKS)
def test_a_frame_that_cannot_be_read_does_not_cost_the_title(name):
    tag = TITLED_ATTACKS[name]()
    with bounded():
        tags = tag_set(Found(blocks=[("id3v2", tag)]))
    assert tags.fields == {"title": ["a"]}
    (problem,) = tags.problems
    assert problem.startswith("the ID3v2 tag is read in part: ")
    assert tags.raw_bytes("id3v2") == [tag]
    assert tags.raw_only["id3v2"][-1] == "the rest, which cannot be read,"


@pytest.mark.parametrize("name", ID3_ATTACKS)
def test_id3_tags_built_to_exhaust_are_refused_and_kept_raw(name):
    tag = ID3_ATTACKS[name]()
    with bounded():
        tags = tag_set(Found(blocks=[("id3v2", tag)]))
    assert tags.fields == {}
    (problem,) = tags.problems
    assert "ID3v2 tag is malformed" in problem
    assert tags.raw_bytes("id3v2") == [tag]
    assert tags.raw_only == {"id3v2": ["everything (it is malformed)"]}


def test_a_large_honest_id3_tag_is_read():
    pictures = [random.Random(i).randbytes(300_000) for i in range(30)]
    frames = b"".join(frame(b"TXXX", b"\3key%d\0value" % i) for i in range(100))
    frames += b"".join(frame(b"APIC", b"\0image/png\0\3x\0" + data) for data in pictures)
    tags = tag_set(Found(blocks=[("id3v2", id3(4, frames))]))
    assert tags.problems == []
    assert len(tags.fields) == 100
    assert [picture.data for picture in tags.pictures] == pictures
    assert len(tags.raw[0].data) < 6000


def test_a_small_compressed_frame_is_read():
    body = b"\3" + "Größe ".encode() * 20
    for version, flags, size in ((3, 0x0080, struct.pack(">I", len(body))), (4, 0x0009, bytes(4))):
        tag = id3(version, frame(b"TIT2", size + zlib.compress(body), version, flags))
        assert PARSERS["id3v2"](tag).fields == {"title": ["Größe " * 20]}


VORBIS_HEAD = struct.pack("<I", 0)
MALFORMED = {
    "flac-comment": [
        b"",
        b"\xff\xff\xff\xff",
        VORBIS_HEAD,
        VORBIS_HEAD + b"\xff\xff\xff\xff",
        VORBIS_HEAD + struct.pack("<I", 2_000_000) + bytes(8_000_000),
        VORBIS_HEAD + struct.pack("<II", 1, 0xFFFFFFFF),
    ],
    "ogg-comment": [b"OpusTags", b"\x03vorbis\xff\xff\xff\x7f"],
    "flac-picture": [b"", struct.pack(">II", 3, 0xFFFFFFFF), bytes(28) + b"\xff\xff\xff\xff"],
    "flac-cuesheet": [b"", bytes(34), bytes(18) + b"\x10" * 16 + bytes(395) + b"\xff"],
    "id3v2": [
        b"",
        b"ID3",
        b"ID3\x04\0\0\x7f\x7f\x7f\x7f",
        b"ID3\x09\0\0\0\0\0\0",
        b"ID3\4\0\0\xff\0\0\0",
    ],
    "id3v1": [b"", b"TAG", bytes(128)],
    "apev2": [
        b"",
        b"APETAGEX",
        b"a" * 100_000 + b"APETAGEX" + struct.pack("<IIII", 2000, 32, 1, 0) + bytes(8),
        b"APETAGEX" + struct.pack("<IIII", 2000, 32, 2**32 - 1, 0) + bytes(8),
        b"\xff\xff\xff\xff\0\0\0\0key\0"
        + b"APETAGEX"
        + struct.pack("<IIII", 2000, 32, 1, 0)
        + bytes(8),
    ],
    "mp4-ilst": [
        b"\0\0\0\x01abcd",
        b"\xff\xff\xff\xffabcd",
        struct.pack(">I4s", 8, b"abcd") * 1_000_000,
        struct.pack(">I4s", 8 + 16_000_000, b"\xa9nam")
        + struct.pack(">I4sII", 16, b"data", 1, 0) * 1_000_000,
    ],
    "mp4-keys": [
        b"\0\0\0\x01keys",
        box(b"ilst", box(b"\0\0\0\1", b"\xff" * 8)),
        box(b"keys", bytes(8)) + box(b"ilst", b"\0\0\0\1" * 2),
    ],
    "mp4-udta": [b"\0\0\0\x01abcd", b"\xff" * 8],
    "mp4-chpl": [bytes(8) + b"\xff", bytes(8) + b"\2" + bytes(8) + b"\xff"],
    "asf-objects": [b"x", bytes(24), bytes(16) + b"\xff" * 8],
    "riff-info": [b"", b"INFOINAM\xff\xff\xff\xff", b"INFX"],
    "lyrics3": [b"", b"LYRICSBEGIN", b"LYRICSBEGINLYR99999a000020LYRICS200"],
    "riff-bext": [b"", b"abcd", bytes(601)],
    "au-annotation": [b"", b"\0", b"\0text", bytes(100_000)],
    "aiff-text": [
        b"NAME\xff\xff\xff\xff",
        b"NAME\0\0\0\0" * 40_001,
        b"COMT\0\1\0\0" + bytes(1 << 16) + b"COMT\0\x0f\xff\xff" + bytes(1 << 20),
    ],
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_blocks_are_tag_errors_and_kept_raw(kind):
    for block in MALFORMED[kind]:
        with pytest.raises(TagError):
            PARSERS[kind](block)
        with bounded():
            tags = tag_set(Found(blocks=[(kind, block)]))
        assert len(tags.problems) == 1
        assert tags.raw_bytes(kind) == [block]


def test_malformed_tags_are_named_on_restoring(tmp_path):
    tags = tag_set(Found(blocks=[("id3v2", b"ID3"), ("flac-comment", b"")]))
    for name in ("out.wav", "out.flac"):
        losses = write_tags(blank(tmp_path / name), tags)
        assert sum("everything (it is malformed)" in loss for loss in losses) == 2


def chapter_track(stsz, stco, stsc=(1, 1), stts=(2, 1000)):
    tables = [
        box(b"stsz", bytes(4), struct.pack(">II", *stsz)),
        box(b"stco", bytes(4), struct.pack(">II", *stco)),
        box(b"stsc", bytes(4), struct.pack(">IIII", 1, *stsc, 1)),
        box(b"stts", bytes(4), struct.pack(">III", 1, *stts)),
    ]
    mdhd = box(b"mdhd", bytes(12), struct.pack(">I", 1000), bytes(8))
    media = box(b"mdia", mdhd, box(b"minf", box(b"stbl", *tables)))
    text = box(b"trak", box(b"tkhd", bytes(12), struct.pack(">I", 2)), media)
    sound = box(b"trak", box(b"tref", box(b"chap", struct.pack(">I", 2))))
    return box(b"ftyp", b"M4A ") + box(b"moov", sound, text)


FILES = {
    "atoms by the million": lambda: box(b"ftyp") + box(b"moov", box(b"free") * 1_000_000),
    "atoms in atoms": lambda: box(b"ftyp") + b"\0\0\0\x08moov" * 500_000,
    "an atom of 2^64 bytes": lambda: box(b"ftyp") + b"\0\0\0\x01moov" + b"\xff" * 8 + bytes(100),
    "chapters by the million": lambda: chapter_track((0, 10_000_000), (1, 0)),
    "one size for all chapters": lambda: chapter_track(
        (4, 9_999), (1, 0), (1, 9_999), (2**32 - 1, 1)
    ),
    "chapters behind the end": lambda: chapter_track((4, 2), (1, 2**32 - 1)),
    "chapters that last for ever": lambda: chapter_track(
        (4, 9_999), (1, 0), (1, 9_999), (9_999, 2**32 - 1)
    ),
    "chunks by the million": lambda: b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 1_000_000,
    "a chunk of 2^64 bytes": lambda: (
        b"RF64\xff\xff\xff\xffWAVEds64"
        + struct.pack("<I", 28)
        + b"\xff" * 28
        + b"data\xff\xff\xff\xff" * 2
    ),
    "an ID3 chunk of gigabytes": lambda: b"RIFF\0\0\0\0WAVEid3 \xff\xff\xff\xffID3",
    "text chunks by the million": lambda: b"FORM\0\0\0\0AIFF" + b"NAME\0\0\0\0" * 1_000_000,
    "pages by the million": lambda: (b"OggS\0\x02" + bytes(21)) * 1_000_000,
    "a packet without end": lambda: b"".join(
        b"OggS\0"
        + (b"\x02" if i == 0 else b"\0")
        + bytes(20)
        + b"\xff"
        + b"\xff" * 255
        + b"OpusHead".ljust(65025, b"\0")
        for i in range(1100)
    ),
    "FLAC blocks by the million": lambda: b"fLaC" + b"\x06\0\0\0" * 1_000_000,
    "a FLAC block past the end": lambda: b"fLaC\x84\xff\xff\xff" + bytes(100),
    "an APEv2 tag before the file": lambda: (
        b"APETAGEX" + struct.pack("<IIII", 2000, 2**32 - 1, 1, 0) + bytes(8)
    ),
    "an ID3 tag past the end": lambda: b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(1000),
    "ASF objects by the million": lambda: (
        bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
        + struct.pack("<QI", 2**63, 1)
        + b"\1\2"
        + (bytes(16) + struct.pack("<Q", 24)) * 500_000
    ),
    "an ASF object of 2^64 bytes": lambda: (
        bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + b"\xff" * 8 + bytes(22) + b"\xff" * 8
    ),
    "an annotation of gigabytes": lambda: b".snd\xff\xff\xff\xff" + bytes(100),
    "nothing": lambda: b"",
    "one byte": lambda: b"I",
    "the word ID3": lambda: b"ID3",
    "zeros": lambda: bytes(10_000),
}


def write_sparse(path, data):
    """Write ``data`` with holes in place of whole blocks of zeros: 70 MB of them take 10 of disk."""
    size = 4096
    with path.open("wb") as file:
        for at in range(0, len(data), size):
            block = data[at : at + size]
            if block == bytes(len(block)):
                file.seek(len(block), os.SEEK_CUR)
            else:
                file.write(block)
        file.truncate(len(data))


@pytest.mark.parametrize("name", FILES)
def test_hostile_files_are_read_as_having_no_tags(tmp_path, name):
    path = tmp_path / "hostile"
    write_sparse(path, FILES[name]())
    with bounded():
        tags = read_tags(path)
        payload, blobs = tags.to_payload()
    assert TagSet.from_payload(payload, blobs, [picture.data for picture in tags.pictures]) == tags
    assert tags.pictures == []
    assert set(tags.fields) <= {"title"}
    assert len(tags.problems) < 30


def test_more_text_than_an_archive_holds_stays_in_the_raw_block(tmp_path):
    source = blank(tmp_path / "in.flac")
    file = FLAC(source)
    file.tags["log"] = "ä" * 1_000_000
    file.tags["title"] = "x"
    file.save()
    tags = read_tags(source)
    assert tags.fields == {"title": ["x"]}
    assert tags.raw_only == {"flac-comment": ["field 'log' of 2000003 bytes"]}
    assert write_tags(blank(tmp_path / "out.flac"), tags) == []
    assert FLAC(tmp_path / "out.flac").tags == file.tags
    (loss,) = write_tags(blank(tmp_path / "out.wav"), tags)
    assert "field 'log'" in loss


def test_a_tag_of_more_than_64_mib_is_not_taken(tmp_path):
    source = tmp_path / "in.mp3"
    with source.open("wb") as file:
        file.write(b"ID3\x03\0\0" + synchsafe(200 << 20))
        file.truncate(210 << 20)
    tags = read_tags(source)
    assert tags.raw == []
    assert "not archived" in tags.problems[0]


def test_pictures_beside_a_malformed_frame_are_cut_out_of_its_raw_bytes():
    tag = id3(4, frame(b"APIC", b"\0image/png\0\3x\0" + FRONT) + nested(10))
    tags = tag_set(Found(blocks=[("id3v2", tag)]))
    assert [picture.data for picture in tags.pictures] == [FRONT]
    assert FRONT not in tags.raw[0].data
    assert tags.raw_bytes("id3v2") == [tag]
