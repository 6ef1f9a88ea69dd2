"""What a file holds beside its sound and is not archived: named, whatever it is."""

import shutil
import struct
import subprocess

import pytest
from mutagen.apev2 import APEv2

from earzip.formats.audio.source import open_source
from earzip.formats.tags.read import read_tags
from tests.formats.tags.tag_bytes import append_chunks, info_chunk
from tests.formats.tags.tag_files import aiff_with, blank, encoded

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")

ID3V1 = b"TAG" + b"Behind".ljust(30, b"\0") + bytes(94) + b"\xff"


def chunk(name, data=b"data"):
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def length(path):
    with open_source(path) as reader:
        return sum(block.shape[1] for block in reader.blocks())


@pytest.mark.parametrize(
    "name",
    [b"DISP", b"acid", b"cue ", b"smpl", b"iXML", b"minf", b"regn", b"umid", b"MD5 ", b"abcd"],
)
def test_an_unknown_chunk_of_wav_is_named(tmp_path, name):
    source = append_chunks(blank(tmp_path / "in.wav"), chunk(name), info_chunk((b"INAM", b"a")))
    tags = read_tags(source)
    assert tags.problems == [f"these chunks were not archived: {name.decode().strip()}"]
    assert tags.fields == {"title": ["a"]}


def test_lists_are_named_by_their_type(tmp_path):
    labels = b"adtl" + chunk(b"labl", b"\1\0\0\0Verse 1\0")
    source = append_chunks(blank(tmp_path / "in.wav"), chunk(b"LIST", labels), chunk(b"\1\2\3\xff"))
    problem = "these chunks were not archived: LIST adtl, \\x01\\x02\\x03\\xff"
    assert read_tags(source).problems == [problem]


@pytest.mark.parametrize("name", [b"JUNK", b"junk", b"PAD ", b"FLLR", b"fact", b"PEAK", b"earz"])
def test_chunks_that_say_nothing_are_not_named(tmp_path, name):
    assert read_tags(append_chunks(blank(tmp_path / "in.wav"), chunk(name))).problems == []


@pytest.mark.parametrize("name", [b"INST", b"MIDI", b"APPL", b"AESD", b"MARK", b"bext", b"SAXL"])
def test_an_unknown_chunk_of_aiff_is_named(tmp_path, name):
    tags = read_tags(aiff_with(tmp_path / "in.aiff", (name, b"data"), (b"NAME", b"a")))
    assert tags.problems == [f"these chunks were not archived: {name.decode().strip()}"]
    assert tags.fields == {"title": ["a"]}


def test_many_chunks_are_not_all_named(tmp_path):
    source = append_chunks(blank(tmp_path / "in.wav"), *(chunk(b"x%03d" % i) for i in range(100)))
    (problem,) = read_tags(source).problems
    assert problem.endswith("x018, x019, 80 more")


def test_unknown_chunks_of_caf_and_w64_are_named(tmp_path):
    wav = blank(tmp_path / "in.wav")
    for name in ("in.caf", "in.w64"):
        command = ["ffmpeg", "-v", "error", "-i", wav, "-bitexact", "-map_metadata", "-1"]
        subprocess.run([*command, tmp_path / name], check=True)
    caf, w64 = tmp_path / "in.caf", tmp_path / "in.w64"
    data = caf.read_bytes()
    caf.write_bytes(data[:8] + b"mark" + struct.pack(">q", 4) + b"abcd" + data[8:])
    guid = b"acid" + bytes.fromhex("f3acd3118cd100c04f8edb8a")
    w64.write_bytes(w64.read_bytes() + guid + struct.pack("<Q", 32) + bytes(8))
    assert read_tags(caf).problems == ["these chunks were not archived: mark"]
    assert read_tags(w64).problems == ["these chunks were not archived: acid"]


@pytest.mark.parametrize("kind", ["info", "sound"])
def test_a_pad_byte_that_a_writer_forgot_costs_nothing(tmp_path, kind):
    source = tmp_path / "in.wav"
    info = info_chunk((b"INAM", b"The Title"), (b"IART", b"A"))
    if kind == "info":
        body = b"INFOINAM\x05\0\0\0TitleIART\x01\0\0\0AICMT\x02\0\0\0ok"
        append_chunks(blank(source), chunk(b"LIST", body))
        fields = {"title": ["Title"], "artist": ["A"], "comment": ["ok"]}
    else:
        subprocess.run(
            ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "aevalsrc=0:d=0.1:s=8000", "-t", "0.1",
             "-c:a", "pcm_u8", "-bitexact", source], check=True,
        )  # fmt: skip
        data = source.read_bytes()
        at = data.index(b"data")
        data = data[:at] + b"data" + struct.pack("<I", 799) + data[at + 8 : at + 8 + 799] + info
        source.write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])
        fields = {"title": ["The Title"], "artist": ["A"]}
    tags = read_tags(source)
    assert tags.fields == fields
    assert tags.problems == []


def tag_behind(tmp_path, kind):
    if kind == "id3v1":
        return ID3V1
    tags = APEv2()
    tags["Title"] = "Behind"
    (tmp_path / "only.ape").write_bytes(b"")
    tags.save(tmp_path / "only.ape")
    return (tmp_path / "only.ape").read_bytes()


@pytest.mark.parametrize("kind", ["id3v1", "apev2"])
@pytest.mark.parametrize("name", ["in.ogg", "in.opus", "in.m4a", "in.wma", "in.wav", "in.aiff"])
def test_tags_behind_a_container_are_read(tmp_path, name, kind):
    source = tmp_path / name
    encoded(source, *(["-c:a", "libvorbis"] if name == "in.ogg" else []))
    whole, tags = length(source), read_tags(source)
    assert tags.problems == []
    source.write_bytes(source.read_bytes() + tag_behind(tmp_path, kind))
    found = read_tags(source)
    assert found.problems == []
    assert found.fields == {**tags.fields, "title": ["Behind"]}
    assert found.raw[-1].kind == kind
    assert length(source) == whole


@pytest.mark.parametrize("name", ["in.ogg", "in.m4a", "in.wma", "in.caf"])
def test_bytes_behind_a_container_are_named(tmp_path, name):
    source = tmp_path / name
    encoded(source, *(["-c:a", "libvorbis"] if name == "in.ogg" else []))
    plain = source.read_bytes()
    source.write_bytes(plain + bytes(1000))
    assert read_tags(source).problems == []
    for behind, size in ((b"\xfewhatever else there may be" * 3, "81 bytes"), (b"\n", "1 byte")):
        source.write_bytes(plain + behind)
        assert read_tags(source).problems == [f"what is behind its end is not archived: {size}"]
