"""What the writer changes, leaves out, refuses, and where it leaves a file alone."""

import resource
import shutil
import struct

import pytest
import soundfile
from mutagen.flac import FLAC
from mutagen.wave import WAVE

from earzip.errors import SourceError, TagError, TargetError
from earzip.formats.tags.model import Picture, TagSet
from earzip.formats.tags.read import read_tags
from earzip.formats.tags.write import write_tags
from tests.cli.batch_runs import write_silence
from tests.formats.tags.tag_files import FRONT, blank, tagged_id3

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")


def test_rf64_is_read_and_written(tmp_path):
    tags = read_tags(tagged_id3(tmp_path / "in.wav"))
    target = tmp_path / "out.wav"
    soundfile.write(target, soundfile.read(blank(tmp_path / "x.wav"))[0], 44_100, format="RF64")
    assert target.read_bytes()[:4] == b"RF64"
    assert write_tags(target, tags) == []
    assert struct.unpack_from("<Q", target.read_bytes(), 20)[0] == target.stat().st_size - 8
    again = read_tags(target)
    assert again.raw_bytes("id3v2") == tags.raw_bytes("id3v2")
    assert soundfile.info(target).frames == 22_050


def test_wav_of_an_odd_length_gets_its_pad_byte(tmp_path):
    target = tmp_path / "out.wav"
    soundfile.write(target, soundfile.read(blank(tmp_path / "x.wav"))[0][:99, :1], 44_100, "PCM_U8")
    assert write_tags(target, TagSet(fields={"title": ["x"]})) == []
    assert WAVE(target).tags["TIT2"] == "x"
    assert soundfile.info(target).frames == 99


def test_odd_values_are_changed_as_little_as_possible_and_named(tmp_path):
    tags = TagSet(
        family="vorbis",
        fields={
            "date": ["circa 1970"],
            "tracknumber": ["3/12"],
            "totaldiscs": ["2"],
            "discnumber": ["1"],
            "empty": [""],
            "two": ["a\0b"],
            "unsyncedlyrics": ["la"],
        },
        pictures=[Picture(99, "image/png", "x", FRONT)],
    )
    losses = write_tags(blank(tmp_path / "out.wav"), tags)
    frames = WAVE(tmp_path / "out.wav").tags
    assert frames["TRCK"] == "3/12"
    assert frames["TPOS"] == "1/2"
    assert frames["TXXX:DATE"] == "circa 1970"
    assert frames["USLT::eng"] == "la"
    assert len(losses) == 3
    for what in (
        "cannot store the empty field 'empty'; it stays",
        "'two' is changed",
        "picture 1 (image/png, ",
    ):
        assert any(what in loss for loss in losses)


def test_field_names_that_vorbis_cannot_have_are_named(tmp_path):
    tags = TagSet(family="id3", fields={"größe": ["1"], "a=b": ["2"], "ok": ["3"]})
    losses = write_tags(blank(tmp_path / "out.flac"), tags)
    assert FLAC(tmp_path / "out.flac").tags.as_dict() == {"ok": ["3"]}
    assert len(losses) == 2


def test_picture_past_a_flac_blocks_size_is_named(tmp_path):
    large = Picture(3, "image/png", "", bytes(1 << 24))
    tags = TagSet(family="id3", pictures=[large, Picture(4, "image/png", "", FRONT)])
    (loss,) = write_tags(blank(tmp_path / "out.flac"), tags)
    assert "picture 1" in loss
    assert [p.data for p in FLAC(tmp_path / "out.flac").pictures] == [FRONT]


def test_comments_past_a_flac_blocks_size_are_named(tmp_path):
    tags = TagSet(family="id3", fields={"long": ["x" * (1 << 24)], "title": ["t"]})
    (loss,) = write_tags(blank(tmp_path / "out.flac"), tags)
    assert "'long'" in loss
    assert FLAC(tmp_path / "out.flac").tags.as_dict() == {"title": ["t"]}


def test_missing_files_and_other_formats_are_refused(tmp_path):
    with pytest.raises(SourceError, match=r"none\.mp3: its tags cannot be read"):
        read_tags(tmp_path / "none.mp3")
    with pytest.raises(TargetError, match=r"none\.wav: tags cannot be written"):
        write_tags(tmp_path / "none.wav", TagSet())
    text = tmp_path / "text.wav"
    text.write_text("not sound")
    with pytest.raises(TagError, match="not a WAV file"):
        write_tags(text, TagSet(fields={"title": ["x"]}))
    tagged = tagged_id3(tmp_path / "tagged.wav")
    with pytest.raises(TagError, match="tags already"):
        write_tags(tagged, TagSet(fields={"title": ["x"]}))


@pytest.mark.parametrize("name", ["out.wav", "out.flac"])
def test_a_full_disk_is_a_target_error(tmp_path, name):
    target = blank(tmp_path / name)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (target.stat().st_size + 100, limits[1]))
    try:
        with pytest.raises(TargetError, match=rf"{name}: tags cannot be written"):
            write_tags(target, TagSet(fields={"title": ["x" * 10_000]}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_wav_file_without_room_below_4_gib_is_left_alone(tmp_path):
    target = write_silence(tmp_path / "out.wav", (2**30 - 20) / 44_100)  # a hole
    with target.open("rb") as file:
        before = file.read(100)
    size = target.stat().st_size
    (loss,) = write_tags(target, TagSet(fields={"title": ["x" * 100]}))
    assert "with tags it would pass 4 GiB" in loss
    assert target.stat().st_size == size > 2**32 - 100
    with target.open("rb") as file:
        assert file.read(100) == before
