"""ID3 tags and INFO chunks in WAV: byte for byte as they were."""

import shutil
import struct

import pytest
import soundfile
from mutagen.id3 import ID3, TIT2

from earzip.formats.tags.model import Picture
from earzip.formats.tags.read import read_tags
from tests.formats.tags.tag_bytes import append_chunks, chunk_of, id3_v2_2, info_chunk
from tests.formats.tags.tag_files import FRONT, blank, encoded, id3_of, restored, tagged_id3

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("suffix", [".mp3", ".aiff", ".wav"])
def test_id3_reaches_wav_byte_for_byte(tmp_path, suffix, version):
    source = tagged_id3(tmp_path / f"in{suffix}", version)
    target = tmp_path / "out.wav"
    assert restored(source, target) == []
    assert id3_of(target) == id3_of(source)
    assert len(id3_of(target)) >= 20
    (block,) = read_tags(source).raw_bytes("id3v2")
    assert chunk_of(target, b"id3 ") == block


def test_id3_v2_2_reaches_wav_byte_for_byte(tmp_path):
    picture = b"\0PNG\x03cover\0" + FRONT
    tag = id3_v2_2([(b"TT2", b"\0Title"), (b"TP1", b"\0Anna\0Bert"), (b"PIC", picture)])
    source = encoded(tmp_path / "in.mp3", "-id3v2_version", "0")
    source.write_bytes(tag + source.read_bytes())
    target = tmp_path / "out.wav"
    assert restored(source, target) == []
    assert chunk_of(target, b"id3 ") == tag
    assert id3_of(target) == id3_of(source)
    assert read_tags(source).pictures == [
        Picture(3, "image/png", "cover", FRONT, width=40, height=30, depth=24)
    ]


@pytest.mark.parametrize("version", [3, 4])
def test_unsynchronised_id3_reaches_wav_and_its_pictures_are_cut_out(tmp_path, version):
    plain = tagged_id3(tmp_path / "plain.mp3", version).read_bytes()
    size = sum(byte << shift for byte, shift in zip(plain[6:10], (21, 14, 7, 0), strict=True))
    frames = plain[10 : 10 + size]
    frames = (unsynchronised if version == 3 else each_frame_unsynchronised)(frames)
    sizes = bytes(len(frames) >> shift & 0x7F for shift in (21, 14, 7, 0))
    source = tmp_path / "in.mp3"
    source.write_bytes(plain[:5] + b"\x80" + sizes + frames + plain[10 + size :])
    assert id3_of(source) == id3_of(tmp_path / "plain.mp3")
    tags = read_tags(source)
    (block,) = tags.raw
    assert [cut.coding for cut in block.cuts] == ["unsync", "unsync"]
    assert len(block.data) < 4000
    assert tags.raw_bytes("id3v2") == [source.read_bytes()[: 10 + len(frames)]]
    target = tmp_path / "out.wav"
    assert restored(source, target) == []
    assert id3_of(target) == id3_of(source)


def unsynchronised(data):
    out = bytearray()
    for i, byte in enumerate(data):
        out.append(byte)
        follower = data[i + 1] if i + 1 < len(data) else 0
        if byte == 0xFF and (follower == 0 or follower >= 0xE0):
            out.append(0)
    return bytes(out)


def each_frame_unsynchronised(data):
    out = b""
    position = 0
    while data[position : position + 4].strip(b"\0"):
        size = sum(
            byte << shift
            for byte, shift in zip(data[position + 4 : position + 8], (21, 14, 7, 0), strict=True)
        )
        body = unsynchronised(data[position + 10 : position + 10 + size])
        sizes = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
        out += data[position : position + 4] + sizes + b"\0\x02" + body
        position += 10 + size
    return out


def id3v1(title=b"Old title", comment=b"bought in 1998", genre=17):
    fields = (b"TAG", title, b"Anna", b"Samples", b"1998", comment[:28], 0, 3, genre)
    return struct.pack("<3s30s30s30s4s28sBBB", *fields)


def test_id3v1_alone_reaches_wav(tmp_path):
    source = encoded(tmp_path / "in.mp3", "-id3v2_version", "0")
    source.write_bytes(source.read_bytes() + id3v1())
    target = tmp_path / "out.wav"
    assert restored(source, target) == []
    assert id3_of(target) == id3_of(source)
    tags = read_tags(source)
    assert tags.fields["title"] == ["Old title"]
    assert tags.fields["genre"] == ["Rock"]
    assert tags.raw_bytes("id3v1") == [id3v1()]


@pytest.mark.parametrize("version", [3, 4])
def test_id3v1_adds_what_id3v2_lacks(tmp_path, version):
    source = encoded(tmp_path / "in.mp3")
    tags = ID3()
    tags.add(TIT2(encoding=3, text="New title"))
    tags.save(source, v1=0, v2_version=version)
    source.write_bytes(source.read_bytes() + id3v1())
    target = tmp_path / "out.wav"
    (loss,) = restored(source, target)
    assert loss.startswith("ID3v1 tag: other 'title' ('Old title') is not written")
    assert id3_of(target) == id3_of(source)
    assert read_tags(source).fields["title"] == ["New title"]
    assert read_tags(source).fields["comment"] == ["bought in 1998"]


def test_id3v1_that_says_nothing_new_leaves_the_id3v2_bytes_alone(tmp_path):
    source = encoded(tmp_path / "in.mp3")
    tags = ID3(tagged_id3(tmp_path / "full.mp3"))
    tags.save(source, v1=0)
    source.write_bytes(source.read_bytes() + id3v1("Ein Stück ?".encode("latin-1"), b""))
    target = tmp_path / "out.wav"
    (loss,) = restored(source, target)
    assert loss.startswith("ID3v1 tag: other 'date' ('1998') is not written")
    assert [chunk_of(target, b"id3 ")] == read_tags(source).raw_bytes("id3v2")


def test_wav_info_chunk_stays_as_it_is(tmp_path):
    info = info_chunk(
        (b"INAM", b"Ein St\xfcck\0"), (b"IART", b"Anna\0"), (b"ITRK", b"3/12\0"), (b"IXYZ", b"?\0")
    )
    source = append_chunks(blank(tmp_path / "in.wav"), info)
    target = tmp_path / "out.wav"
    assert restored(source, target) == []
    assert chunk_of(target, b"LIST") == chunk_of(source, b"LIST")
    assert chunk_of(target, b"id3 ") is None
    assert read_tags(source).fields == {
        "title": ["Ein Stück"],
        "artist": ["Anna"],
        "tracknumber": ["3"],
        "tracktotal": ["12"],
        "riff_ixyz": ["?"],
    }
    assert soundfile.read(target)[0].tobytes() == soundfile.read(source)[0].tobytes()


def test_wav_with_id3_and_info_keeps_both(tmp_path):
    source = append_chunks(tagged_id3(tmp_path / "in.wav"), info_chunk((b"ISBJ", b"Thema\0")))
    target = tmp_path / "out.wav"
    assert restored(source, target) == []
    assert id3_of(target) == id3_of(source)
    assert chunk_of(target, b"LIST") == chunk_of(source, b"LIST")
    assert read_tags(source).fields["subject"] == ["Thema"]
