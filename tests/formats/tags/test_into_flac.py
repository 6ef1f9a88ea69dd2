"""Vorbis comments, pictures and cue sheets in FLAC: as they were in FLAC and Ogg."""

import shutil
import struct

import pytest
import soundfile
from mutagen.flac import FLAC
from mutagen.oggflac import OggFLAC
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE

from earzip.formats.tags.read import read_tags
from earzip.formats.tags.write import write_tags
from tests.formats.tags.tag_files import VORBIS, blank, flac_pictures, flac_with_cue_sheet, restored

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")


def test_flac_to_flac_keeps_comments_in_order_with_case_and_duplicates(files, tmp_path):
    target = tmp_path / "out.flac"
    assert restored(files["flac"], target) == []
    assert list(FLAC(target).tags) == VORBIS
    assert [p.write() for p in FLAC(target).pictures] == [p.write() for p in flac_pictures()]


def test_flac_to_flac_leaves_the_sound_alone(files, tmp_path):
    target = tmp_path / "out.flac"
    restored(files["flac"], target)
    assert soundfile.read(target)[0].tobytes() == soundfile.read(files["flac"])[0].tobytes()


@pytest.mark.parametrize(("name", "class_"), [("ogg", OggVorbis), ("opus", OggOpus)])
def test_ogg_to_flac_turns_picture_comments_into_picture_blocks(files, tmp_path, name, class_):
    target = tmp_path / "out.flac"
    assert restored(files[name], target) == []
    source = [pair for pair in class_(files[name]).tags if pair[0] != "METADATA_BLOCK_PICTURE"]
    assert list(FLAC(target).tags) == source
    assert [p.write() for p in FLAC(target).pictures] == [p.write() for p in flac_pictures()]


def test_ogg_flac_to_flac_keeps_comments(files, tmp_path):
    target = tmp_path / "out.flac"
    assert restored(files["oga"], target) == []
    assert list(FLAC(target).tags) == list(OggFLAC(files["oga"]).tags)


def test_comments_that_are_not_utf8_or_have_no_key_stay_byte_for_byte(tmp_path):
    source = blank(tmp_path / "in.flac")
    comments = [b"TITLE=caf\xe9", b"no equals sign", b"=no key", b"K\xc3\xa4se=x", b"EMPTY="]
    body = struct.pack("<I", 1) + b"v" + struct.pack("<I", len(comments))
    body += b"".join(struct.pack("<I", len(comment)) + comment for comment in comments)
    data = source.read_bytes()
    source.write_bytes(data[:42] + b"\x04" + struct.pack(">I", len(body))[1:] + body + data[42:])
    target = tmp_path / "out.flac"
    restored(source, target)
    assert list(FLAC(target).tags) == list(FLAC(source).tags)
    for comment in comments:
        assert struct.pack("<I", len(comment)) + comment in target.read_bytes()


def test_flac_cue_sheet_block_stays_as_it_is(tmp_path):
    source = flac_with_cue_sheet(tmp_path / "in.flac")
    target = tmp_path / "out.flac"
    assert restored(source, target) == []
    assert FLAC(target).cuesheet == FLAC(source).cuesheet
    assert "cuesheet" not in FLAC(target).tags


def test_flac_cue_sheet_block_moves_to_another_sample_rate(tmp_path):
    source = flac_with_cue_sheet(tmp_path / "in.flac", rate=48_000)
    tags = read_tags(source)
    target = tmp_path / "out.flac"
    total = round(FLAC(source).info.total_samples * 44_100 / 48_000)
    soundfile.write(target, soundfile.read(source)[0][:total], 44_100)
    assert write_tags(target, tags) == []
    sheet = FLAC(target).cuesheet
    assert [track.start_offset for track in sheet.tracks] == [0, 10805, total]


def test_flac_cue_sheet_of_another_length_becomes_a_comment(tmp_path):
    source = flac_with_cue_sheet(tmp_path / "in.flac")
    target = tmp_path / "out.flac"
    losses = restored(source, target, seconds=0.2)
    assert any("cue sheet block" in loss for loss in losses)
    assert FLAC(target).cuesheet is None
    assert "TRACK 02 AUDIO" in FLAC(target).tags["cuesheet"][0]


def test_cue_sheet_block_reaches_wav_as_text(tmp_path):
    source = flac_with_cue_sheet(tmp_path / "in.flac")
    target = tmp_path / "out.wav"
    assert restored(source, target) == []
    text = str(WAVE(target).tags["TXXX:CUESHEET"])
    assert "CATALOG 1234567890123" in text
    assert "ISRC ABCDE1234567\r\n    INDEX 01 00:00:20" in text


def test_channel_mask_of_another_number_of_channels_is_left_out(tmp_path):
    source = blank(tmp_path / "in.flac")
    file = FLAC(source)
    file.tags["WAVEFORMATEXTENSIBLE_CHANNEL_MASK"] = "0x003F"
    file.save()
    target = tmp_path / "out.flac"
    assert any("channel_mask" in loss for loss in restored(source, target))
    assert "waveformatextensible_channel_mask" not in FLAC(target).tags


def test_flac_picture_with_a_trailing_byte_is_restored_with_it(tmp_path):
    source = blank(tmp_path / "in.flac")
    body = flac_pictures()[0].write() + b"!"
    data = source.read_bytes()
    source.write_bytes(data[:42] + b"\x06" + struct.pack(">I", len(body))[1:] + body + data[42:])
    restored(source, tmp_path / "out.flac")
    assert body in (tmp_path / "out.flac").read_bytes()
