"""Compressed sound in the place of samples is refused by its name, and sound never is."""

import struct
import zlib

import numpy as np
import pytest
import soundfile

from earzip.errors import SourceError
from earzip.formats.audio.foreign import foreign_codec
from tests.formats.audio.audio_files import (
    RATE,
    encode,
    ffmpeg,
    music,
    needs_ffmpeg,
    read_source,
    write_wav,
)

CODECS = {
    "dts": (["-c:a", "dca", "-strict", "-2", "-b:a", "1411200", "-f", "dts"], "DTS"),
    "ac3": (["-c:a", "ac3", "-b:a", "192k", "-f", "ac3"], "AC-3"),
    "mp3": (["-c:a", "libmp3lame", "-b:a", "128k", "-id3v2_version", "0", "-f", "mp3"], "MPEG audio"),
    "mp3 with tags": (["-c:a", "libmp3lame", "-metadata", "title=x", "-f", "mp3"], "MPEG audio"),
    "mp2": (["-c:a", "mp2", "-b:a", "192k", "-f", "mp2"], "MPEG audio"),
    "flac": (["-c:a", "flac", "-f", "flac"], "FLAC"),
    "ogg": (["-c:a", "libvorbis", "-f", "ogg"], "Ogg"),
    "spdif": (["-c:a", "ac3", "-f", "spdif"], "S/PDIF"),
    "spdif of dts": (["-c:a", "dca", "-strict", "-2", "-b:a", "754500", "-f", "spdif"], "DTS"),
    "wavpack": (["-c:a", "wavpack", "-f", "wv"], "WavPack"),
    "tta": (["-c:a", "tta", "-f", "tta"], "TTA"),
}  # fmt: skip


@pytest.fixture(scope="module")
def streams(tmp_path_factory):
    """The bytes of each codec."""
    wav = write_wav(tmp_path_factory.mktemp("foreign") / "a.wav", music(2 * RATE))
    options = {name: codec[0] for name, codec in CODECS.items()}
    # 48 kHz fits both DTS and AC-3.
    return {
        name: ffmpeg("-i", wav, "-ar", "48000", *words, "-").stdout
        for name, words in options.items()
    }


def in_samples(data, target, width=2, lead=b""):
    """A file at ``target`` that has ``data`` for its samples, little-endian as in a WAV file."""
    data = lead + data
    data = data[: len(data) // (2 * width) * 2 * width]
    subtype = {1: "PCM_U8" if target.suffix == ".wav" else "PCM_S8", 2: "PCM_16", 3: "PCM_24"}[
        width
    ]
    if width == 1:
        whole = (np.frombuffer(data, np.uint8).astype(np.int32) - 128) << 24
    else:
        low = np.zeros((len(data) // width, 4), np.uint8)
        low[:, 4 - width :] = np.frombuffer(data, np.uint8).reshape(-1, width)
        whole = low.view("<i4")[:, 0]
    soundfile.write(target, whole.reshape(-1, 2), RATE, subtype=subtype)
    return target


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff", "a.w64", "a.caf", "a.rf64", "a.au"])
@pytest.mark.parametrize("codec", CODECS)
def test_compressed_sound_under_a_header_of_pcm_is_refused(tmp_path, streams, name, codec):
    path = in_samples(streams[codec], tmp_path / name)
    with pytest.raises(SourceError, match=f"its samples are those of .*{CODECS[codec][1]}"):
        read_source(path)


@needs_ffmpeg
@pytest.mark.parametrize("codec", ["dts", "spdif", "mp3", "ac3"])
@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("lead", [0, 4_096, 200_000, 2_000_000])
def test_silence_before_it_hides_nothing(tmp_path, streams, codec, width, lead):
    silence = (b"\x80" if width == 1 else b"\0") * (lead // (2 * width) * 2 * width)
    with pytest.raises(SourceError, match="its samples are those of"):
        read_source(in_samples(streams[codec], tmp_path / "a.wav", width, silence))


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_sixteen_bits_in_samples_of_24_are_looked_at(tmp_path, streams, name):
    path = in_samples(streams["dts"], tmp_path / "short.wav")
    stored, rate = soundfile.read(path, dtype="int32")
    soundfile.write(tmp_path / name, stored, rate, subtype="PCM_24")
    with pytest.raises(SourceError, match="its samples are those of DTS"):
        read_source(tmp_path / name)


def in_fourteen_bits(words):
    """16-bit words of DTS as a CD has them: 14 bits in each, the sign repeated."""
    bits = "".join(f"{word:016b}" for word in words)
    values = (int(bits[at : at + 14], 2) for at in range(0, len(bits) // 14 * 14, 14))
    return b"".join(struct.pack("<h", value - (1 << 14) * (value >> 13)) for value in values)


@needs_ffmpeg
def test_dts_in_fourteen_bits_is_refused(tmp_path, streams):
    words = np.frombuffer(streams["dts"][:60_000], ">u2")
    path = in_samples(in_fourteen_bits(words.tolist()), tmp_path / "a.wav")
    with pytest.raises(SourceError, match="its samples are those of DTS"):
        read_source(path)


@needs_ffmpeg
def test_alac_and_wavpack_of_them_are_refused_too(tmp_path, streams):
    pytest.importorskip("av")
    wav = in_samples(streams["dts"], tmp_path / "a.wav")
    raw = ["-f", "s16le", "-ar", "44100", "-ac", "2", "-i", tmp_path / "a.raw"]
    (tmp_path / "a.raw").write_bytes(wav.read_bytes()[44:])
    for name, codec in (("a.m4a", "alac"), ("a.wv", "wavpack")):
        ffmpeg(*raw, "-c:a", codec, tmp_path / name)
        with pytest.raises(SourceError, match="its samples are those of DTS"):
            read_source(tmp_path / name)


def chords(n_frames):
    return music(n_frames)


def square(n_frames):
    """Constant stretches, as of old games."""
    return np.where(np.arange(n_frames) // 50 % 2, 0.3, -0.3) * np.ones((2, 1))


def steps(n_frames):
    """Each value for a while: every pair of bytes stands at many distances."""
    return (np.arange(n_frames) // 37 * 0.0007 % 2 - 1) * np.ones((2, 1))


def quiet(n_frames):
    return 2e-4 * music(n_frames)


def noise(n_frames):
    return np.random.default_rng(3).uniform(-1, 1, (2, n_frames))


@pytest.mark.parametrize("sound", [chords, square, steps, quiet, noise])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24"])
def test_sound_is_no_other_codec(tmp_path, sound, subtype):
    path = write_wav(tmp_path / "a.wav", sound(4 * RATE).astype(np.float32), subtype=subtype)
    assert read_source(path)[0].shape == (2, 4 * RATE)


def test_constant_samples_with_the_bytes_of_a_header_are_sound(tmp_path):
    """MPEG frames would follow each other at any distance."""
    for word in (0x9064FBFF, 0x50B0FAFF, 0x770B, 0x24240B77):
        samples = np.full(50_000, word, "<u4").tobytes()
        assert foreign_codec(samples) is None
        path = in_samples(samples, tmp_path / "a.wav")
        assert read_source(path)[0].shape == (2, 50_000)


def test_bytes_of_a_generator_are_no_codec():
    for seed in range(40):
        data = np.random.default_rng(seed).bytes(300_000)
        assert foreign_codec(data) is None, zlib.crc32(data)


def test_wavpack_3_under_a_header_of_wav_is_refused(tmp_path):
    """Version 3 put its header before the blocks and left the WAV header first."""
    block = b"wvpk" + struct.pack("<I2H", 28, 3, 0) + bytes(20)
    noise_bytes = np.random.default_rng(0).bytes(60_000)
    path = in_samples(block + noise_bytes, tmp_path / "a.wav")
    with pytest.raises(SourceError, match="its samples are those of WavPack"):
        read_source(path)


def test_a_wav_in_a_wav_is_refused(tmp_path):
    wav = write_wav(tmp_path / "in.wav", music(20_000))
    with pytest.raises(SourceError, match="its samples are those of another WAV file"):
        read_source(in_samples(wav.read_bytes(), tmp_path / "a.wav"))


@needs_ffmpeg
def test_a_wav_that_names_its_codec_is_read(tmp_path):
    wav = write_wav(tmp_path / "in.wav", music(2 * RATE))
    got, source = read_source(encode(wav, tmp_path / "a.wav", "-c:a", "libmp3lame"))
    assert source.facts.codec == "MPEG_LAYER_III"
    assert got.shape[1] >= 2 * RATE
