"""Reading every format: the samples, the facts and the lengths."""

import io
import struct
import subprocess
import zlib
from pathlib import Path

import mutagen.mp4
import numpy as np
import pytest
import soundfile

from earzip.errors import SourceError
from earzip.formats.audio.sndfile import SndfileSource
from earzip.formats.audio.source import open_source
from earzip.formats.containers.walk import flac_blocks
from earzip.formats.names import AUDIO_EXTENSIONS
from tests.formats.audio.audio_files import (
    RATE,
    delay,
    encode,
    ffmpeg,
    music,
    needs_ffmpeg,
    needs_flac,
    needs_opusenc,
    read_source,
    write_wav,
)

PCM = {
    "PCM_U8": (8, 2.0**-8),
    "PCM_16": (16, 2.0**-16),
    "PCM_24": (24, 2.0**-24),
    "PCM_32": (32, 2.0**-25),
    "FLOAT": (32, 0.0),
    "DOUBLE": (64, 0.0),
}


@pytest.mark.parametrize("subtype", PCM)
@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (44_100, 2), (48_000, 2), (96_000, 6)])
def test_wav_samples_and_facts(tmp_path, subtype, rate, channels):
    sound = music(70_001, channels, rate)
    path = write_wav(tmp_path / "a.wav", sound, rate, subtype)
    got, source = read_source(path)
    bits, tolerance = PCM[subtype]
    np.testing.assert_allclose(got, sound, atol=tolerance * 1.01)
    facts = source.facts
    assert (facts.container, facts.codec) == ("WAV", subtype)
    assert (facts.sample_rate, facts.channels, facts.n_frames) == (rate, channels, 70_001)
    assert (facts.bit_depth, facts.is_float) == (bits, subtype in ("FLOAT", "DOUBLE"))
    assert facts.lossless
    assert source.truncated is None
    assert source.n_frames_read == 70_001


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["a.flac", "a.aiff", "a.caf", "a.w64", "a.rf64", "a.au"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_lossless_containers_give_the_same_samples(tmp_path, name, subtype):
    sound = music(66_000)
    path = write_wav(tmp_path / name, sound, subtype=subtype)
    got, source = read_source(path)
    np.testing.assert_allclose(got, sound, atol=PCM[subtype][1] * 1.01)
    container = {"a.rf64": "RF64"}.get(name, name[2:].upper())
    assert source.facts.container == container
    assert source.facts.codec == ("FLAC" if name == "a.flac" else subtype)
    assert source.facts.bit_depth == PCM[subtype][0]
    assert source.facts.lossless
    assert source.truncated is None


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "options", "container", "codec"),
    [
        ("a.mp3", ["-b:a", "192k"], "MP3", "MPEG_LAYER_III"),
        ("v.mp3", ["-q:a", "2"], "MP3", "MPEG_LAYER_III"),
        ("a.ogg", ["-c:a", "libvorbis", "-q:a", "7"], "OGG", "VORBIS"),
        ("a.m4a", ["-c:a", "aac", "-b:a", "192k"], "MP4", "AAC"),
        ("fast.m4a", ["-c:a", "aac", "-b:a", "192k", "-movflags", "faststart"], "MP4", "AAC"),
    ],
)
def test_lossy_files_are_gapless(tmp_path, clip, *, name, options, container, codec):
    reference, _ = read_source(clip)
    got, source = read_source(encode(clip, tmp_path / name, *options))
    assert got.shape == reference.shape
    for channel in (0, 1):
        assert delay(reference[channel], got[channel]) == 0
    error = np.square(got - reference).sum() / np.square(reference).sum()
    assert error < 0.05
    facts = source.facts
    assert (facts.container, facts.codec, facts.lossless) == (container, codec, False)
    assert (facts.bit_depth, facts.is_float, facts.n_frames) == (None, False, 66_667)
    assert source.truncated is None


@needs_opusenc
@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_opus_is_gapless(tmp_path, rate):
    n_frames = rate + 77
    path = write_wav(tmp_path / "a.wav", music(n_frames, 1, rate), rate)
    command = ["opusenc", "--quiet", "--bitrate", "96", path, tmp_path / "a.opus"]
    subprocess.run(command, check=True)
    got, source = read_source(tmp_path / "a.opus")
    own_rate = source.facts.sample_rate
    assert got.shape == (1, round(n_frames * own_rate / rate))
    assert (source.facts.container, source.facts.codec) == ("OGG", "OPUS")
    reference, _ = soundfile.read(path)
    if own_rate == rate:
        assert abs(delay(reference, got[0])) <= 1
    assert source.truncated is None


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "options", "container", "codec", "lossless"),
    [
        ("a.aac", ["-c:a", "aac"], "ADTS", "AAC", False),
        ("a.wma", ["-c:a", "wmav2"], "ASF", "WMAV2", False),
        ("alac.m4a", ["-c:a", "alac"], "MP4", "ALAC", True),
        ("a.wv", ["-c:a", "wavpack"], "WAVPACK", "WAVPACK", True),
        ("a.tta", ["-c:a", "tta"], "TTA", "TTA", True),
        ("a.oga", ["-c:a", "flac"], "OGG", "FLAC", True),
        ("a.mka", ["-c:a", "flac"], "MATROSKA", "FLAC", True),
    ],
)
def test_what_libsndfile_cannot_read_pyav_does(
    tmp_path, clip, *, name, options, container, codec, lossless
):
    pytest.importorskip("av")
    reference, _ = read_source(clip)
    got, source = read_source(encode(clip, tmp_path / name, *options))
    facts = source.facts
    assert (facts.container, facts.codec, facts.lossless) == (container, codec, lossless)
    assert (facts.sample_rate, facts.channels) == (RATE, 2)
    assert source.truncated is None
    if lossless:
        np.testing.assert_array_equal(got, reference)
        assert facts.bit_depth == 16
    else:  # no length in these containers: the encoder's padding at both ends stays
        assert 0 <= got.shape[1] - reference.shape[1] + 1_500 < 5_000
    assert facts.n_frames == got.shape[1]


def ape_of_silence(n_frames, per_frame=73_728):
    """Return a Monkey's Audio 3.99 file of stereo silence (there is no free encoder for more)."""
    n_blocks = -(-n_frames // per_frame)
    both_channels_silent = 3
    crc = zlib.crc32(bytes(4 * per_frame)) >> 1 | 1 << 31  # the top bit says that flags follow
    body = struct.pack("<2I", crc, both_channels_silent) + bytes(24)
    fixed = struct.pack("<4s2H7I16s", b"MAC ", 3990, 0, 52, 24, 4 * n_blocks, 0, 0, 0, 0, b"")
    last = n_frames - (n_blocks - 1) * per_frame
    header = struct.pack("<2H3I2HI", 2000, 32, per_frame, last, n_blocks, 16, 2, RATE)
    start = len(fixed) + len(header) + 4 * n_blocks
    table = struct.pack(f"<{n_blocks}I", *(start + i * len(body) for i in range(n_blocks)))
    return fixed + header + table + body * n_blocks


def test_ape_is_read_by_pyav(tmp_path):
    pytest.importorskip("av")
    path = tmp_path / "a.ape"
    path.write_bytes(ape_of_silence(73_728))
    got, source = read_source(path)
    assert (source.facts.container, source.facts.codec) == ("APE", "APE")
    assert (source.facts.bit_depth, source.facts.lossless) == (16, True)
    np.testing.assert_array_equal(got, np.zeros((2, 73_728), np.float32))
    assert source.truncated is None


@needs_ffmpeg
def test_24_bit_alac_and_32_bit_float_wavpack_keep_their_depth(tmp_path):
    pytest.importorskip("av")
    sound = music(30_000)
    wav = write_wav(tmp_path / "a.wav", sound, subtype="PCM_24")
    got, source = read_source(encode(wav, tmp_path / "a.m4a", "-c:a", "alac"))
    assert (source.facts.bit_depth, source.facts.is_float) == (24, False)
    np.testing.assert_allclose(got, sound, atol=2.0**-23)
    wav = write_wav(tmp_path / "f.wav", sound * 4, subtype="FLOAT")
    got, source = read_source(encode(wav, tmp_path / "f.wv", "-sample_fmt", "fltp"))
    assert (source.facts.bit_depth, source.facts.is_float) == (32, True)
    np.testing.assert_array_equal(got, sound * 4)


@needs_ffmpeg
def test_itunes_length_is_honoured_where_there_is_no_edit_list(tmp_path, clip):
    pytest.importorskip("av")
    path = encode(clip, tmp_path / "a.m4a", "-c:a", "aac", "-b:a", "192k", "-use_editlist", "0")
    tags = mutagen.mp4.MP4(path)
    padding = -(66_667 + 1_024) % 1_024
    value = f" 00000000 {1024:08X} {padding:08X} {66_667:016X} 00000000 00000000"
    tags["----:com.apple.iTunes:iTunSMPB"] = [mutagen.mp4.MP4FreeForm(value.encode())]
    tags.save()
    reference, _ = read_source(clip)
    got, source = read_source(path)
    assert got.shape == reference.shape
    assert delay(reference[0], got[0]) == 0
    assert source.truncated is None


@needs_ffmpeg
def test_alac_in_caf_is_whole(tmp_path, clip):
    pytest.importorskip("av")
    got, source = read_source(encode(clip, tmp_path / "a.caf", "-c:a", "alac"))
    np.testing.assert_array_equal(got, read_source(clip)[0])
    assert source.truncated is None
    assert (source.facts.codec, source.facts.bit_depth) == ("ALAC", 16)


@needs_ffmpeg
def test_flac_that_does_not_know_its_length(tmp_path, clip):
    done = ffmpeg("-i", clip, "-f", "flac", "-")
    path = tmp_path / "stream.flac"
    path.write_bytes(done.stdout)
    with open_source(path) as source:
        assert source.facts.n_frames == 0
    got, source = read_source(path)
    np.testing.assert_array_equal(got, read_source(clip)[0])
    assert source.facts.n_frames == 66_667
    assert source.truncated is None


@needs_flac
def test_32_bit_flac_is_read_by_pyav(tmp_path):
    pytest.importorskip("av")
    stored = np.random.default_rng(0).integers(-(2**31), 2**31, 30_000).astype("<i4")
    command = "flac --silent --force-raw-format --endian=little --sign=signed --channels=1 --bps=32"
    command += " --sample-rate=44100 - -o"
    subprocess.run([*command.split(), tmp_path / "a.flac"], check=True, input=stored.tobytes())
    got, source = read_source(tmp_path / "a.flac")
    np.testing.assert_allclose(got[0], stored / 2**31, atol=2.0**-24)
    assert (source.facts.container, source.facts.bit_depth) == ("FLAC", 32)


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.flac", "a.w64", "a.rf64", "a.caf"])
def test_one_sample(tmp_path, name):
    path = write_wav(tmp_path / name, np.full((2, 1), 0.5, np.float32))
    got, source = read_source(path)
    np.testing.assert_array_equal(got, np.full((2, 1), 0.5))
    assert source.truncated is None


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.w64", "a.rf64"])
def test_no_samples(tmp_path, name):
    path = write_wav(tmp_path / name, np.zeros((2, 0), np.float32))
    got, source = read_source(path)
    assert got.shape == (2, 0)
    assert source.facts.n_frames == 0
    assert source.truncated is None


@needs_opusenc
@needs_ffmpeg
def test_no_samples_in_opus_and_flac(tmp_path):
    wav = write_wav(tmp_path / "a.wav", np.zeros((2, 0), np.float32))
    subprocess.run(["opusenc", "--quiet", wav, tmp_path / "a.opus"], check=True)
    encode(wav, tmp_path / "a.flac")
    for name in ("a.opus", "a.flac"):
        got, source = read_source(tmp_path / name)
        assert got.shape == (2, 0)
        assert source.truncated is None


@needs_ffmpeg
def test_a_wav_from_a_pipe_is_whole(tmp_path, clip):
    for muxer in ("wav", "aiff", "au"):
        done = ffmpeg(
            "-i", clip, "-f", muxer, "-c:a", "pcm_s16le" if muxer[0] == "w" else "pcm_s16be", "-"
        )
        path = tmp_path / muxer
        path.write_bytes(done.stdout)
        got, source = read_source(path)
        np.testing.assert_array_equal(got, read_source(clip)[0])
        assert source.truncated is None, muxer


def test_the_name_does_not_matter(tmp_path):
    for name in ("a.mp3", "b.raw", "c.m4a", "d"):
        wav = write_wav(tmp_path / name, music(1_000), format="WAV")
        assert read_source(wav)[1].facts.container == "WAV"


@pytest.mark.smoke
def test_any_file_name_can_be_read(tmp_path):
    plain = write_wav(tmp_path / "a.wav", music(1_000))
    for name in ("ünïcödé ☃.wav", "new\nline.wav", "-dash.wav", "odd\udcff\udce4.wav", "a\\b.wav"):
        path = tmp_path / name
        path.write_bytes(plain.read_bytes())
        assert read_source(path)[1].facts.n_frames == 1_000
        assert read_source(str(path))[1].facts.n_frames == 1_000


def test_a_source_is_read_once(tmp_path):
    with open_source(write_wav(tmp_path / "a.wav", music(100))) as source:
        list(source.blocks())
        with pytest.raises(AssertionError):
            list(source.blocks())


def test_no_file_stays_open(tmp_path, clip):
    (tmp_path / "text.flac").write_text("text")
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    for _ in range(3):
        read_source(clip)
        with pytest.raises(SourceError):
            open_source(tmp_path / "text.flac")
    assert len(list(descriptors.iterdir())) == before


def test_extensions_are_lower_case_with_a_dot():
    assert {".flac", ".mp3", ".m4a", ".ape", ".wma", ".opus"} <= AUDIO_EXTENSIONS
    assert all(ext == ext.lower() and ext.startswith(".") for ext in AUDIO_EXTENSIONS)


def test_a_flac_of_a_million_comments_is_read_as_fast_as_any(tmp_path):
    """libFLAC refuses it, and FFmpeg takes the square of their number."""
    sound = music(RATE)
    plain = write_wav(tmp_path / "plain.flac", sound)
    data = plain.read_bytes()
    frames = data[max(start + n for _, start, n in flac_blocks(io.BytesIO(data), 4)) :]
    comment = struct.pack("<I", 3) + b"A=1"
    comments = struct.pack("<II", 0, 1_000_000) + comment * 1_000_000
    full = tmp_path / "full.flac"
    block = b"\x84" + len(comments).to_bytes(3, "big") + comments
    full.write_bytes(data[:4] + b"\0" + data[5:42] + block + frames)
    with open_source(full) as source:
        assert isinstance(source, SndfileSource)
        got = np.concatenate(list(source.blocks()), 1)
    np.testing.assert_array_equal(got, read_source(plain)[0])
    assert source.checksums == "right"
