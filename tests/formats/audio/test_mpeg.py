"""MP3s: where their sound begins and ends, and what is none."""

import io

import numpy as np
import pytest

from earzip.errors import SourceError
from earzip.formats.audio.mpeg import find_mpeg_streams
from earzip.formats.audio.source import open_source
from tests.formats.audio.audio_files import RATE, encode, needs_ffmpeg, read_source, write_wav


@needs_ffmpeg
@pytest.mark.parametrize("order", ["loud first", "quiet first"])
def test_mp3_without_xing_header_is_read_to_its_end(tmp_path, order):
    loud = 0.5 * np.random.default_rng(0).standard_normal((2, 2 * RATE)).astype(np.float32)
    quiet = np.zeros((2, 20 * RATE), np.float32)
    parts = [loud, quiet] if order == "loud first" else [quiet, loud]
    wav = write_wav(tmp_path / "a.wav", np.clip(np.concatenate(parts, axis=1), -1, 1))
    path = encode(wav, tmp_path / "a.mp3", "-q:a", "5", "-write_xing", "0")
    got, source = read_source(path)
    assert source.truncated is None
    assert 22 * RATE <= got.shape[1] < 22 * RATE + 4 * 1_152
    level = np.sqrt(np.square(got).mean(axis=0))
    where_loud = slice(RATE // 2, RATE) if order == "loud first" else slice(-RATE, -RATE // 2)
    assert level[where_loud].mean() > 0.1


@needs_ffmpeg
def test_an_mp3_in_a_wav_is_read_to_its_end(tmp_path, clip):
    got, source = read_source(encode(clip, tmp_path / "a.wav", "-c:a", "libmp3lame", "-q:a", "4"))
    assert source.facts.codec == "MPEG_LAYER_III"
    assert source.truncated is None
    assert 66_667 <= got.shape[1] < 66_667 + 4 * 1_152


@needs_ffmpeg
@pytest.mark.parametrize("n_frames", [1, 2, 3])
def test_frames_behind_other_bytes_are_no_chance_if_they_are_many(tmp_path, clip, n_frames):
    """Sound of another format has bytes that look like a frame or two: a Musepack file was read so."""
    plain = ("-write_xing", "0", "-id3v2_version", "0")
    mp3 = encode(clip, tmp_path / "a.mp3", "-ar", "48000", "-b:a", "128k", *plain)
    frames = mp3.read_bytes()[: n_frames * 384]
    behind = io.BytesIO(bytes(1) + b"\x01" * 5_000 + frames)
    assert bool(find_mpeg_streams(behind, 5_001 + len(frames))) == (n_frames == 3)
    assert find_mpeg_streams(io.BytesIO(frames), len(frames))


@needs_ffmpeg
@pytest.mark.parametrize(
    "head",
    [
        b"MPCK",
        b"wvpk",
        b"TTA1",
        b"MAC ",
        b"tBaK",
        b"\x0b\x77\0\0",
        b"\xff\xf1\x50\x80",
        b"\xff\xf9\x50\x80",
    ],
    ids=repr,
)
def test_sound_of_another_format_is_never_read_as_an_mp3(tmp_path, clip, head):
    path = tmp_path / "a.mpc"
    path.write_bytes(head + bytes(500) + encode(clip, tmp_path / "a.mp3").read_bytes())
    try:
        with open_source(path) as source:
            codec = source.facts.codec
    except SourceError:
        return
    assert not codec.startswith("MPEG")


@needs_ffmpeg
@pytest.mark.parametrize("n_bytes", [1, 2])
def test_bytes_between_frames_are_counted(tmp_path, clip, n_bytes):
    plain = ("-ar", "48000", "-b:a", "128k", "-write_xing", "0", "-id3v2_version", "0")
    frames = encode(clip, tmp_path / "a.mp3", *plain).read_bytes()
    path = tmp_path / "b.mp3"
    path.write_bytes(frames[: 5 * 384] + n_bytes * b"\1" + frames[5 * 384 :])
    size = "1 byte" if n_bytes == 1 else "2 bytes"
    assert read_source(path)[1].truncated == f"it has {size} of something else between its frames"
