"""Checksums that a file has of its own sound: compared, and told of."""

import hashlib
import re
import struct

import numpy as np
import pytest
import soundfile

from earzip.errors import SourceError
from earzip.formats.audio.proof import WRONG_MD5, SampleDigest
from earzip.formats.audio.source import open_source, reopen_source
from tests.formats.audio.audio_files import (
    encode,
    music,
    needs_ffmpeg,
    needs_flac,
    packet_starts,
    read_source,
    run_encoder,
    write_wav,
)

N_FRAMES = 70_001


def flip(path, at):
    """Change a bit of the byte at ``at``; of what was ``at`` if that is bytes."""
    data = bytearray(path.read_bytes())
    data[data.index(at) if isinstance(at, bytes) else at] ^= 1
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_the_md5_of_a_flac_is_compared(tmp_path, subtype, channels):
    path = write_wav(tmp_path / "a.flac", music(N_FRAMES, channels), subtype=subtype)
    _, source = read_source(path)
    assert (source.checksums, source.notes) == ("right", ())
    _, source = read_source(flip(path, 26))  # the first byte of the MD5
    assert (source.checksums, source.notes) == ("wrong", (WRONG_MD5,))
    assert source.facts.n_frames == N_FRAMES
    data = path.read_bytes()
    path.write_bytes(data[:26] + bytes(16) + data[42:])
    assert read_source(path)[1].checksums is None


@needs_flac
@pytest.mark.parametrize("bits", [8, 12, 20, 32])
def test_the_md5_of_a_flac_of_any_depth_is_compared(tmp_path, bits):
    if bits == 32:
        pytest.importorskip("av")
    stored = np.random.default_rng(0).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), 30_000)
    width = -(-bits // 8)
    stored = stored << 8 * width - bits
    low_to_high = stored.astype("<i4").view(np.uint8).reshape(-1, 4)
    raw = (low_to_high[:, :1] ^ 0x80 if bits == 8 else low_to_high[:, :width]).tobytes()
    fmt = struct.pack("<HHIIHH", 0xFFFE, 2, 44_100, 88_200 * width, 2 * width, 8 * width)
    fmt += struct.pack("<HHI", 22, bits, 3) + bytes.fromhex("0100000000001000800000aa00389b71")
    chunks = (
        b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(raw)) + raw
    )
    wav = tmp_path / "a.wav"
    wav.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    run_encoder("flac", "--silent", wav, "-o", tmp_path / "a.flac", target=-1)
    assert read_source(tmp_path / "a.flac")[1].checksums == "right"
    assert read_source(flip(tmp_path / "a.flac", 26))[1].notes == (WRONG_MD5,)


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.oga", "a.mka", "a.mp4"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_the_md5_of_a_flac_in_another_container_is_compared(tmp_path, name, subtype):
    pytest.importorskip("av")
    wav = write_wav(tmp_path / "a.wav", music(N_FRAMES), subtype=subtype)
    flac = encode(wav, tmp_path / "a.flac")
    path = encode(flac, tmp_path / name, "-c:a", "copy", "-strict", "-2")
    assert read_source(path)[1].checksums == "right"
    if name == "a.oga":  # a page with another MD5 has another checksum too
        return
    _, source = read_source(flip(path, flac.read_bytes()[26:42]))
    assert (source.checksums, source.notes) == ("wrong", (WRONG_MD5,))


@pytest.mark.parametrize("bits", [8, 16, 24])
@pytest.mark.parametrize("n_promised", [None, 5_000])
def test_a_digest_is_that_of_the_bytes(bits, n_promised):
    whole = np.random.default_rng(0).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (7_001, 2))
    stored = whole.astype("<i4").view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes()
    md5 = hashlib.md5(stored[: 2 * (n_promised or 7_001) * bits // 8]).digest()
    for expected, verdict in ((md5, "right"), (bytes(16), "wrong")):
        digest = SampleDigest(expected, bits, n_promised)
        for start in (0, 1_000, 6_500):
            end = {0: 1_000, 1_000: 6_500}.get(start)
            digest.add(np.float32(whole[start:end] / 2.0 ** (bits - 1)))
        assert digest.verdict == verdict


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_the_md5_of_a_wavpack_is_compared(tmp_path, subtype):
    pytest.importorskip("av")
    wav = write_wav(tmp_path / "a.wav", music(N_FRAMES), subtype=subtype)
    path = run_encoder("wavpack", "-q", "-m", wav, "-o", tmp_path / "a.wv", target=-1)
    assert read_source(path)[1].checksums == "right"
    stored = wav.read_bytes()
    n_bytes = N_FRAMES * 2 * {"PCM_16": 2, "PCM_24": 3}[subtype]
    md5 = hashlib.md5(stored[stored.index(b"data") + 8 :][:n_bytes]).digest()
    _, source = read_source(flip(path, md5))
    assert (source.checksums, source.notes) == ("wrong", (WRONG_MD5,))


@needs_ffmpeg
@pytest.mark.parametrize("codec", ["wavpack", "tta"])
def test_the_checksums_of_lossless_frames_are_compared(tmp_path, codec):
    pytest.importorskip("av")
    wav = write_wav(tmp_path / "a.wav", music(N_FRAMES))
    path = encode(wav, tmp_path / {"wavpack": "a.wv", "tta": "a.tta"}[codec], "-c:a", codec)
    assert read_source(path)[1].checksums == "right"
    assert read_source(flip(path, path.stat().st_size * 9 // 10))[1].checksums == "wrong"


@needs_ffmpeg
@pytest.mark.parametrize("codec", ["libvorbis", "libopus"])
def test_the_checksums_of_ogg_pages_are_compared(tmp_path, codec):
    wav = write_wav(tmp_path / "a.wav", music(N_FRAMES))
    path = encode(wav, tmp_path / "a.ogg", "-c:a", codec, "-page_duration", "200000")
    assert read_source(path)[1].checksums == "right"
    assert read_source(flip(path, path.stat().st_size // 2))[1].checksums == "wrong"


LAME = {
    "stereo": ["-b", "128", "-m", "s"],
    "joint": ["-V", "4", "-m", "j"],
    "mono": ["-b", "64", "-m", "m"],
    "low rate": ["--resample", "22.05", "-b", "48"],
    "lowest rate": ["--resample", "11.025", "-b", "24", "-m", "m"],
}


def frames_with_a_flipped_bit(path, starts, tmp_path):
    """The file with a bit flipped in what the checksums of three of its frames cover."""
    damaged = tmp_path / "damaged"
    data = bytearray(path.read_bytes())
    for start in (starts[5], starts[9], starts[-4]):
        data[start + 7] ^= 1
    damaged.write_bytes(data)
    return damaged


@needs_ffmpeg
@pytest.mark.parametrize("kind", LAME)
def test_the_checksums_of_mp3_frames_are_compared(tmp_path, kind):
    wav = write_wav(tmp_path / "a.wav", music(N_FRAMES))
    path = run_encoder("lame", "--quiet", "-p", *LAME[kind], wav, tmp_path / "a.mp3", target=-1)
    _, source = read_source(path)
    assert (source.checksums, source.notes) == ("right", ())
    _, source = read_source(frames_with_a_flipped_bit(path, packet_starts(path), tmp_path))
    assert source.checksums == "wrong"
    assert re.fullmatch(r"the checksum of 3 of its \d+ frames is wrong", source.notes[0])
    plain = run_encoder("lame", "--quiet", *LAME[kind], wav, tmp_path / "b.mp3", target=-1)
    assert read_source(plain)[1].checksums is None


TWOLAME = {
    "stereo": ["-b", "192", "-m", "stereo"],
    "joint": ["-b", "128", "-m", "joint"],
    "mono": ["-b", "64", "-m", "mono"],
    "few bits": ["-b", "64", "-m", "joint"],
    "many bits": ["-b", "384", "-m", "dual"],
}


@needs_ffmpeg
@pytest.mark.parametrize("kind", TWOLAME)
@pytest.mark.parametrize("rate", [32_000, 44_100, 48_000, 24_000])
def test_the_checksums_of_layer_2_are_compared(tmp_path, kind, rate):
    options = TWOLAME[kind]
    if rate == 24_000:
        options = [{"192": "96", "384": "160"}.get(option, option) for option in options]
    wav = write_wav(tmp_path / "a.wav", music(N_FRAMES, rate=rate), rate)
    path = run_encoder("twolame", "-p", *options, wav, tmp_path / "a.mp2", target=-1)
    _, source = read_source(path)
    assert (source.checksums, source.notes) == ("right", ())
    _, source = read_source(frames_with_a_flipped_bit(path, packet_starts(path), tmp_path))
    assert source.checksums == "wrong"


@pytest.mark.parametrize("name", ["a.flac", "a.wav", "a.ogg", "a.mp3"])
def test_what_was_found_out_is_known_when_the_file_is_opened_anew(tmp_path, name):
    path = tmp_path / name
    soundfile.write(path, music(N_FRAMES).T, 44_100)
    if name == "a.flac":
        flip(path, 26)
    path.write_bytes(b"ID3\3\0\0\0\0\0\x0a" + bytes(10) + path.read_bytes())
    with open_source(path) as first:
        whole = np.concatenate(list(first.blocks()), axis=1)
        with reopen_source(first) as second:
            again = np.concatenate(list(second.blocks()), axis=1)
    np.testing.assert_array_equal(again, whole)
    for fact in ("facts", "layout", "truncated", "notes", "checksums", "n_frames_read"):
        assert getattr(second, fact) == getattr(first, fact)
    assert first.checksums == {"a.flac": "wrong", "a.ogg": "right"}.get(name)


def test_a_file_without_checksums_says_nothing(tmp_path):
    assert read_source(write_wav(tmp_path / "a.wav", music(1_000)))[1].checksums is None


@needs_ffmpeg
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"rate": 44_100}, {"rate": 48_000}),
        ({"channels": 2}, {"channels": 1}),
        ({"subtype": "PCM_16"}, {"subtype": "PCM_24"}),
    ],
)
def test_a_flac_that_changes_is_refused(tmp_path, first, second):
    """Whatever its header promises: the frames of another file follow those of the first."""
    files = []
    for number, change in enumerate((first, second)):
        kind = {"rate": 44_100, "channels": 2, "subtype": "PCM_16"} | change
        wav = write_wav(
            tmp_path / f"{number}.wav",
            music(N_FRAMES, kind["channels"]),
            kind["rate"],
            kind["subtype"],
        )
        files.append(encode(wav, tmp_path / f"{number}.flac").read_bytes())
    frames = files[1][files[1].index(b"\xff\xf8") :]
    header_end = files[0].index(b"\xff\xf8")
    joined = tmp_path / "joined.flac"
    for n_promised in (0, N_FRAMES, 2 * N_FRAMES):
        header = bytearray(files[0][:header_end])
        header[22:26] = n_promised.to_bytes(4, "big")
        joined.write_bytes(bytes(header) + files[0][header_end:] + frames)
        with pytest.raises(
            SourceError, match=f"after {N_FRAMES} frames it changes from 44100 Hz, 2"
        ):
            read_source(joined)
