"""What is read from each format, and in which order blocks count; MP4 has a file of its own."""

import shutil
import struct

import pytest
from mutagen.id3 import ID3, TALB, TIT2

from earzip.formats.tags.model import TagSet
from earzip.formats.tags.read import read_tags
from earzip.formats.tags.write import write_tags
from tests.formats.tags.tag_bytes import append_chunks, bext_chunk, chunk_of, info_chunk
from tests.formats.tags.tag_files import (
    BACK,
    FRONT,
    MAKERS,
    MUSICBRAINZ_ID,
    aiff_with,
    au_with,
    blank,
    restored,
    tagged_flac,
    tagged_id3,
)

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")


def test_apev2_is_read(files):
    tags = read_tags(files["ape.mp3"])
    assert tags.family == "apev2"
    assert tags.fields == {
        "title": ["Ein Stück ☃"],
        "artist": ["Anna", "Bert"],
        "tracknumber": ["3"],
        "tracktotal": ["12"],
        "date": ["1999"],
        "cuesheet": ["FILE x"],
        "replaygain_track_gain": ["-3.21 dB"],
    }
    assert [(p.type, p.mime, p.description, p.data) for p in tags.pictures] == [
        (3, "image/png", "front.png", FRONT)
    ]
    assert tags.raw_only == {"apev2": ["binary item 'Binary thing'"]}


def test_wma_is_read(files):
    tags = read_tags(files["wma"])
    assert tags.family == "asf"
    assert tags.fields == {
        "title": ["Ein Stück ☃"],
        "artist": ["Anna", "Bert"],
        "album": ["Samples"],
        "tracknumber": ["3"],
        "discnumber": ["1"],
        "disctotal": ["2"],
        "musicbrainz_trackid": [MUSICBRAINZ_ID],
        "compilation": ["1"],
    }
    assert [(p.type, p.mime, p.description, p.data) for p in tags.pictures] == [
        (3, "image/png", "vorn", FRONT)
    ]


def test_aiff_text_chunks_are_read(tmp_path):
    chunks = ((b"NAME", b"Titel"), (b"AUTH", b"Anna"), (b"ANNO", b"eins"))
    source = aiff_with(tmp_path / "in.aiff", *chunks)
    tags = read_tags(source)
    assert tags.family == "aiff"
    assert tags.fields == {"title": ["Titel"], "artist": ["Anna"], "comment": ["eins"]}
    assert restored(source, tmp_path / "out.flac") == []


def test_aiff_comments_are_read(tmp_path):
    texts = [(0, 0, b"eins"), (3_000_000_000, 7, "zwölf".encode("cp1252")), (0, 0, b"")]
    body = struct.pack(">H", len(texts))
    for time, marker, text in texts:
        body += struct.pack(">IHH", time, marker, len(text)) + text + bytes(len(text) % 2)
    source = aiff_with(tmp_path / "in.aiff", (b"COMT", body), (b"NAME", b"Titel"))
    tags = read_tags(source)
    assert tags.problems == []
    assert tags.fields == {"comment": ["eins", "zwölf"], "title": ["Titel"]}
    assert tags.raw_only == {"aiff-text": ["place of a comment (time 3000000000, marker 7)"]}
    assert body in tags.raw_bytes("aiff-text")[0]
    (loss,) = restored(source, tmp_path / "out.flac")
    assert "place of a comment (time 3000000000, marker 7) is not written" in loss


@pytest.mark.parametrize("body", [b"\xff\xff", b"\0\1" + bytes(6) + b"\xff\xff", b"\0\1ab"])
def test_aiff_comments_that_end_early_cost_no_title(tmp_path, body):
    tags = read_tags(aiff_with(tmp_path / "in.aiff", (b"COMT", body), (b"NAME", b"Titel")))
    assert tags.fields == {"title": ["Titel"]}
    assert tags.raw_only == {"aiff-text": ["rest of the comments, which end early,"]}


def test_no_aiff_text_is_cut_or_left_out(tmp_path):
    chunks = [(b"ANNO", b"a" * 100_000), *[(b"ANNO", b"%d" % i) for i in range(1_500)]]
    tags = read_tags(aiff_with(tmp_path / "in.aiff", *chunks))
    assert tags.problems == []
    assert tags.fields["comment"] == [text.decode() for _, text in chunks]


def test_aiff_text_past_the_end_is_named(tmp_path):
    source = aiff_with(tmp_path / "in.aiff", (b"NAME", b"Titel"))
    source.write_bytes(source.read_bytes()[:-3])
    tags = read_tags(source)
    assert tags.problems == ["the NAME chunk says 5 bytes, has 3"]
    assert tags.fields == {"title": ["Tit"]}


@pytest.mark.parametrize("target", ["out.flac", "out.wav"])
def test_an_au_annotation_comes_back_as_a_comment(files, tmp_path, target):
    tags = read_tags(files["au"])
    assert tags.family == "au"
    assert tags.fields == {"comment": ["Glocken, außen"]}
    assert tags.raw_bytes("au-annotation") == ["Glocken, außen\0\0".encode()]
    assert restored(files["au"], tmp_path / target) == []
    assert read_tags(tmp_path / target).fields == tags.fields


@pytest.mark.parametrize("annotation", [b"", bytes(8), b"   \0"])
def test_an_au_annotation_that_says_nothing_is_no_tag(tmp_path, annotation):
    assert read_tags(au_with(tmp_path / "in.au", annotation)) == TagSet()


def test_an_au_annotation_is_read_in_both_byte_orders(tmp_path):
    data = au_with(tmp_path / "in.au", b"a note\0\0").read_bytes()
    numbers = struct.pack("<5I", *struct.unpack_from(">5I", data, 4))
    (tmp_path / "little.au").write_bytes(b"dns." + numbers + data[24:])
    assert read_tags(tmp_path / "little.au").fields == {"comment": ["a note"]}


def test_what_is_behind_the_text_of_an_au_annotation_is_named(tmp_path):
    source = au_with(tmp_path / "in.au", b"a note\0more")
    tags = read_tags(source)
    assert tags.fields == {"comment": ["a note"]}
    (loss,) = restored(source, tmp_path / "out.flac")
    assert loss.startswith("AU annotation: rest of 'annotation', behind a zero byte is not written")


def test_an_au_annotation_past_the_end_is_named(tmp_path):
    source = au_with(tmp_path / "in.au", b"a note\0\0")
    source.write_bytes(source.read_bytes()[:30])
    tags = read_tags(source)
    assert tags.problems == ["the AU annotation says 8 bytes, has 6"]
    assert tags.fields == {"comment": ["a note"]}


def test_id3_leads_whatever_the_order_of_chunks(tmp_path):
    tag = chunk_of(tagged_id3(tmp_path / "other.wav"), b"id3 ")
    info = info_chunk((b"INAM", b"not this\0"), (b"ISBJ", b"Thema\0"))
    id3 = b"id3 " + struct.pack("<I", len(tag)) + tag
    wav = append_chunks(blank(tmp_path / "in.wav"), info, id3)
    aiff = aiff_with(tmp_path / "in.aiff", (b"NAME", b"not this"), (b"ID3 ", tag))
    for source, kind in ((wav, "riff-info"), (aiff, "aiff-text")):
        tags = read_tags(source)
        assert tags.family == "id3"
        assert [block.kind for block in tags.raw] == ["id3v2", kind]
        assert tags.fields["title"] == ["Ein Stück ☃"]


def test_further_info_and_id3_chunks_are_read_behind_the_first(tmp_path):
    infos = [info_chunk((b"INAM", b"one\0")), info_chunk((b"INAM", b"two\0"), (b"IART", b"A\0"))]
    source = append_chunks(blank(tmp_path / "in.wav"), *infos)
    tags = read_tags(source)
    assert tags.fields == {"title": ["one"], "artist": ["A"]}
    assert len(tags.raw_bytes("riff-info")) == 2
    assert tags.problems == [
        "the RIFF INFO chunk disagrees with other tags about 'title': "
        "what it says is archived and not restored"
    ]
    losses = restored(source, tmp_path / "out.wav")
    assert losses == ["1 more RIFF INFO chunk of the source; it stays in the archive"]
    assert read_tags(tmp_path / "out.wav").fields == tags.fields

    tag = chunk_of(tagged_id3(tmp_path / "other.wav"), b"id3 ")
    source = aiff_with(tmp_path / "in.aiff", (b"ID3 ", tag), (b"ID3 ", tag))
    assert len(read_tags(source).raw_bytes("id3v2")) == 2


def test_broadcast_wav_chunk_is_read(files, tmp_path):
    tags = read_tags(files["bext.wav"])
    assert tags.family == "riff-bext"
    assert tags.fields == {
        "description": ["Glocken, außen"],
        "originator": ["Anna"],
        "originator_reference": ["DEABC0001"],
        "date": ["1999-05-01"],
        "origination_time": ["12:34:56"],
        "coding_history": ["A=PCM,F=44100,W=16,M=stereo"],
    }
    names = ["time reference 158760000", "UMID", "loudness"]
    assert tags.raw_only == {"riff-bext": names}
    assert tags.raw_bytes("riff-bext") == [chunk_of(files["bext.wav"], b"bext")]
    target = tmp_path / "out.wav"
    losses = restored(files["bext.wav"], target)
    assert [any(name in loss for loss in losses) for name in names] == [True] * 3
    assert chunk_of(target, b"bext") is None  # its time reference would count other samples
    assert read_tags(target).fields["date"] == ["1999-05-01"]


def test_broadcast_wav_chunk_before_id3_and_info_comes_last(tmp_path):
    info = info_chunk((b"ICRD", b"1970\0"))
    source = append_chunks(blank(tmp_path / "in.wav"), bext_chunk(), info)
    id3 = chunk_of(tagged_id3(tmp_path / "other.wav"), b"id3 ")
    append_chunks(source, b"id3 " + struct.pack("<I", len(id3)) + id3)
    tags = read_tags(source)
    assert tags.family == "id3"
    assert [block.kind for block in tags.raw] == ["id3v2", "riff-info", "riff-bext"]
    assert tags.fields["date"] == ["1999-05-01"]
    assert tags.fields["title"] == ["Ein Stück ☃"]
    assert tags.fields["description"] == ["Glocken, außen"]


def test_flac_behind_an_id3_tag_keeps_both(tmp_path):
    source = tagged_flac(tmp_path / "in.flac")
    other = ID3()
    other.add(TALB(encoding=3, text="not this"))
    other.add(TIT2(encoding=3, text="nor this"))
    other.save(tmp_path / "only.id3")
    tag = (tmp_path / "only.id3").read_bytes()
    source.write_bytes(tag + source.read_bytes())
    tags = read_tags(source)
    assert tags.family == "vorbis"
    assert tags.fields["album"] == ["Samples"]
    assert tags.raw_bytes("id3v2") == [tag]


@pytest.mark.parametrize("name", MAKERS)
def test_raw_blocks_come_back_byte_for_byte_without_pictures_in_them(files, name):
    tags = read_tags(files[name])
    content = files[name].read_bytes()
    for block in tags.raw:
        (joined,) = tags.raw_bytes(block.kind)
        assert FRONT not in block.data
        assert BACK not in block.data
        if name not in ("ogg", "opus", "wma"):  # split over pages, gathered from several objects
            assert joined in content
    if name not in ("oga", "flac"):  # whose pictures are blocks of their own
        assert sum(len(block.cuts) for block in tags.raw) == len(tags.pictures)
    assert sum(len(block.data) for block in tags.raw) < 5000


def test_untagged_files_have_no_tags_and_get_none(tmp_path):
    for suffix in (".wav", ".flac", ".aiff"):
        tags = read_tags(blank(tmp_path / f"in{suffix}"))
        assert tags.fields == {}
        assert tags.pictures == tags.chapters == tags.problems == []
    target = blank(tmp_path / "out.wav")
    before = target.read_bytes()
    assert write_tags(target, TagSet()) == []
    assert target.read_bytes() == before


def test_recording_chunks_that_are_not_archived_are_named(tmp_path):
    source = append_chunks(blank(tmp_path / "in.wav"), b"iXML" + struct.pack("<I", 4) + b"abcd")
    assert read_tags(source).problems == ["these chunks were not archived: iXML"]
