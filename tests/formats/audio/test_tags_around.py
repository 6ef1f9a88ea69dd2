"""Tags in front of the sound and behind it: they change nothing of it."""

import mutagen.apev2
import mutagen.id3
import numpy as np
import pytest

from earzip.errors import SourceError
from earzip.formats.audio.source import open_source
from tests.formats.audio.audio_files import encode, needs_ffmpeg, read_source


@needs_ffmpeg
@pytest.mark.parametrize("xing", ["1", "0"])
def test_tags_around_an_mp3_change_nothing(tmp_path, clip, xing, capfd):
    plain = encode(clip, tmp_path / "a.mp3", "-write_xing", xing, "-id3v2_version", "0")
    reference, _ = read_source(plain)
    tagged = tmp_path / "tagged.mp3"
    tagged.write_bytes(bytes(3_000) + plain.read_bytes())  # zeros after the tag, as some leave
    tags = mutagen.id3.ID3()
    picture = 40 * encode(clip, tmp_path / "b.mp3", "-id3v2_version", "0").read_bytes()
    tags.add(mutagen.id3.APIC(mime="image/jpeg", type=3, data=picture))
    tags.save(tagged, v1=2)
    ape = mutagen.apev2.APEv2()
    ape["Cover Art (Front)"] = mutagen.apev2.APEValue(picture, mutagen.apev2.BINARY)
    ape.save(tagged)
    got, source = read_source(tagged)
    np.testing.assert_array_equal(got, reference)
    assert source.truncated is None
    assert capfd.readouterr().err == ""  # mpg123 would complain there


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.flac", "a.wav", "a.aiff", "a.wv", "a.tta", "a.aac", "a.mp2"])
def test_tags_around_any_file_change_nothing(tmp_path, clip, name):
    if name in ("a.wv", "a.tta", "a.aac"):
        pytest.importorskip("av")
    plain = encode(clip, tmp_path / name)
    reference, _ = read_source(plain)
    before = b"ID3\3\0\0\0\0" + bytes([20_000 >> 7 & 0x7F, 20_000 & 0x7F])
    before += bytes(20_000 & 0x3FFF)
    tagged = tmp_path / "tagged"
    tagged.write_bytes(before + plain.read_bytes())
    ape = mutagen.apev2.APEv2()
    ape["Title"] = "x" * 3_000
    ape.save(tagged)
    tagged.write_bytes(tagged.read_bytes() + b"TAG".ljust(128, b"x"))
    got, source = read_source(tagged)
    np.testing.assert_array_equal(got, reference)
    assert source.truncated is None


def test_a_file_of_tags_alone_is_refused(tmp_path):
    path = tmp_path / "a.mp3"
    mutagen.id3.ID3().save(path, v1=2)
    with pytest.raises(SourceError, match="it has nothing but tags"):
        open_source(path)


def test_a_file_that_ends_in_its_first_tag_is_refused(tmp_path):
    path = tmp_path / "a.mp3"
    path.write_bytes(b"ID3\3\0\0\0\0\1\0" + bytes(99))
    with pytest.raises(SourceError, match="it has nothing but tags"):
        open_source(path)
