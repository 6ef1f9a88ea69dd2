"""MPEG audio behind other bytes: found where the name promises it, and never by chance."""

import io
import random
import sys

import pytest

from earzip.errors import SourceError
from earzip.formats.audio.mpeg import find_mpeg_streams
from earzip.formats.audio.source import open_source
from tests.formats.audio.audio_files import encode, music, needs_ffmpeg, read_source, write_wav

FRAME = 384  # bytes, of 128 kbit/s at 48 kHz
JUNK = b"\x01 no frame begins in this \xff\xff\xff\xe0"
TAG = b"TAG".ljust(128, b"x")
ADTS = bytes.fromhex("fff15080043ffc")  # 33 bytes
AC3 = bytes.fromhex("0b7700000040")  # 128 bytes
EAC3 = bytes.fromhex("0b77003f0080")  # 128 bytes


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """MP3 frames without a header; the first one's sound begins in it, that of later ones before."""
    folder = tmp_path_factory.mktemp("frames")
    wav = write_wav(folder / "a.wav", music(66_667))
    plain = ("-write_xing", "0", "-id3v2_version", "0")
    return encode(wav, folder / "a.mp3", "-ar", "48000", "-b:a", "128k", *plain).read_bytes()


def codec_of(path, data):
    path.write_bytes(data)
    with open_source(path) as source:
        return source.facts.codec


def codec_or_refusal(path, data):
    try:
        return codec_of(path, data)
    except SourceError as error:
        return error.message


@needs_ffmpeg
@pytest.mark.parametrize("n_frames", [1, 2, 3])
@pytest.mark.parametrize("tag", [b"", TAG], ids=["", "tag"])
def test_a_short_mp3_behind_other_bytes_is_read(tmp_path, frames, n_frames, tag):
    data = 100 * JUNK + frames[: n_frames * FRAME]
    (tmp_path / "a.mp3").write_bytes(data + tag)
    _, source = read_source(tmp_path / "a.mp3")
    assert source.facts.codec == "MPEG_LAYER_III"
    assert source.facts.n_frames <= n_frames * 1_152
    assert source.truncated is None
    if n_frames < 3:
        with pytest.raises(SourceError, match="is not sound that libsndfile"):
            codec_of(tmp_path / "a.au", data)


@needs_ffmpeg
@pytest.mark.parametrize(
    "part",
    [
        lambda frames: frames[5 * FRAME : 6 * FRAME],  # its sound begins in a frame before
        lambda frames: frames[: FRAME - 1],
        lambda frames: frames[:FRAME] + b"\0",
        lambda frames: frames[: 2 * FRAME] + b"\0",
        lambda frames: frames[:FRAME] + b"\xff\xfb\x90\0\x11".ljust(417, b"\1"),
    ],
    ids=[
        "later frame",
        "cut frame",
        "frame and more",
        "two and more",
        "frame and one of another rate",
    ],
)
def test_a_frame_by_chance_makes_no_mp3(tmp_path, frames, part):
    with pytest.raises(SourceError, match="no MPEG audio within its first"):
        codec_of(tmp_path / "a.mp3", 100 * JUNK + part(frames))


@needs_ffmpeg
def test_a_frame_in_front_of_other_bytes_is_not_passed_over(tmp_path, frames):
    """Two frames up to the end are enough behind other bytes, not behind a frame."""
    data = frames[:FRAME] + 100 * JUNK + frames[FRAME : 3 * FRAME]
    lengths = []
    for name in ("a.mp3", "a.bin"):
        (tmp_path / name).write_bytes(data)
        lengths.append(read_source(tmp_path / name)[0].shape[1])
    assert lengths[0] == lengths[1]


def test_random_bytes_are_no_mp3():
    rng = random.Random(1)
    for _ in range(300):
        file = io.BytesIO(rng.randbytes(20_000))
        assert find_mpeg_streams(file, 20_000, is_expected=True) == []


@needs_ffmpeg
@pytest.mark.parametrize("head", [ADTS, ADTS[:3] + bytes(4), AC3, EAC3], ids=bytes.hex)
@pytest.mark.parametrize("name", ["a.mp3", "a.MPGA", "a.mpc"])
def test_other_bytes_may_begin_as_another_format_does(tmp_path, frames, head, name):
    data = head + bytes(500) + frames
    is_read = "MPEG_LAYER_III" in codec_or_refusal(tmp_path / name, data)
    assert is_read == (name != "a.mpc")


@needs_ffmpeg
@pytest.mark.parametrize(
    "other",
    [
        2 * ADTS.ljust(33, b"\0"),
        2 * AC3.ljust(128, b"\0"),
        2 * EAC3.ljust(128, b"\0"),
        *(
            magic + bytes(500)
            for magic in (b"MPCK", b"MP+\x07", b"fLaC", b"OggS", b"wvpk", b"MAC ")
        ),
    ],
    ids=lambda other: repr(other[:4]),
)
def test_sound_of_another_format_is_no_mp3_whatever_its_name(tmp_path, frames, other):
    assert "MPEG" not in codec_or_refusal(tmp_path / "a.mp3", other + frames)


@needs_ffmpeg
def test_a_lone_frame_of_aac_is_no_mp3(tmp_path, frames):
    """Not even if frames are in it: it ends where it says."""
    data = bytes.fromhex("fff15080") + (7 + 4 * FRAME << 13 | 0x1FFC).to_bytes(4, "big")[1:]
    assert "MPEG" not in codec_or_refusal(tmp_path / "a.mp3", data + frames[: 4 * FRAME])


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.mp3", "a.mp2", "a.au"])
def test_a_file_is_searched_as_far_as_its_name_says(tmp_path, frames, name):
    (tmp_path / name).write_bytes(b"\x01" * 1_000_000 + frames)
    if name == "a.au":
        with pytest.raises(SourceError, match="is not sound that libsndfile"):
            read_source(tmp_path / name)
        return
    got, source = read_source(tmp_path / name)
    assert source.truncated is None
    assert got.shape[1] > 66_667


@needs_ffmpeg
@pytest.mark.parametrize("has_av", [False, True])
def test_an_mp3_without_frames_is_told_what_was_expected(tmp_path, frames, has_av, monkeypatch):
    if has_av:
        pytest.importorskip("av")
    else:
        monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(SourceError) as told:
        codec_of(tmp_path / "a.mp3", b"\x01" * (1 << 20) + frames)
    assert told.value.message == (
        "is not sound: it has no MPEG audio within its first 1048576 bytes, tags not counted; "
        "expected 3 frames in a row, or frames up to its end"
    )
