"""Writing WAV, RF64 and FLAC: every sample, saturation, dither, errors."""

import collections
import shutil
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earzip.errors import TargetError, UsageError
from earzip.formats.audio import write as write_module
from earzip.formats.audio.source import open_source
from earzip.formats.audio.write import AudioWriter
from tests.formats.audio.audio_files import needs_ffmpeg, needs_flac

KINDS = [("wav", 16), ("wav", 24), ("wav", "float"), ("flac", 16), ("flac", 24)]


def noise(n_samples, seed=0, level=0.3):
    rng = np.random.default_rng(seed)
    return (rng.uniform(-level, level, (2, n_samples))).astype(np.float32)


def write(
    path, sound, *, container="wav", bits=16, channels=2, dither=False, rate=44_100, step=999
):
    n_samples = sound.shape[1]
    with AudioWriter(
        path,
        container=container,
        sample_rate=rate,
        channels=channels,
        bits=bits,
        dither=dither,
        n_samples=n_samples,
    ) as writer:
        for start in range(0, n_samples, step):
            writer.write(sound[:, start : start + step])
    return writer


def read(path):
    data, rate = soundfile.read(path, dtype="float64", always_2d=True)
    return data.T, rate


@pytest.mark.smoke
@pytest.mark.parametrize(("container", "bits"), KINDS)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("n_samples", [1, 2, 4_567])
def test_what_is_written_is_read_back(tmp_path, container, bits, channels, n_samples):
    path = tmp_path / "out"
    sound = noise(n_samples)
    writer = write(path, sound, container=container, bits=bits, channels=channels, rate=48_000)

    expected = sound.astype(np.float64) if channels == 2 else sound.mean(axis=0, keepdims=True)
    got, rate = read(path)
    info = soundfile.info(path)
    assert rate == 48_000
    assert info.format == container.upper()
    assert info.subtype == ("FLOAT" if bits == "float" else f"PCM_{bits}")
    assert got.shape == (channels, n_samples)
    error = np.abs(got - expected).max()
    assert error <= (0 if bits == "float" else 0.5000001 / (1 << (bits - 1)))
    assert writer.n_overs == 0


@pytest.mark.parametrize(("container", "bits"), KINDS)
@pytest.mark.parametrize("channels", [1, 2])
def test_no_samples_make_a_valid_file(tmp_path, container, bits, channels):
    path = tmp_path / "out"
    write(path, noise(0), container=container, bits=bits, channels=channels, rate=96_000)
    with open_source(path) as source:
        assert list(source.blocks()) == []
        assert source.truncated is None
        facts = source.facts
    assert (facts.n_frames, facts.sample_rate, facts.channels) == (0, 96_000, channels)
    assert facts.bit_depth == (32 if bits == "float" else bits)


@needs_flac
@pytest.mark.parametrize("n_samples", [0, 1, 20_000])
@pytest.mark.parametrize("bits", [16, 24])
def test_flac_passes_the_reference_decoders_test(tmp_path, n_samples, bits):
    path = tmp_path / "out.flac"
    write(path, noise(n_samples), container="flac", bits=bits)
    subprocess.run(["flac", "--silent", "--test", path], check=True)


@needs_ffmpeg
@pytest.mark.parametrize("bits", [16, 24, "float"])
def test_wav_is_read_by_ffmpeg(tmp_path, bits):
    path = tmp_path / "out.wav"
    sound = noise(10_001)
    write(path, sound, bits=bits)
    command = ["ffmpeg", "-v", "error", "-i", path, "-f", "f32le", "-"]
    done = subprocess.run(command, check=True, capture_output=True)
    assert done.stderr == b""
    got = np.frombuffer(done.stdout, "<f4").reshape(-1, 2).T
    np.testing.assert_allclose(got, sound, atol=2.0**-15)


def test_24_bit_mono_of_odd_length_has_even_chunks(tmp_path):
    path = tmp_path / "out.wav"
    write(path, noise(3), bits=24, channels=1)
    data = path.read_bytes()
    assert len(data) == 44 + 9 + 1
    assert int.from_bytes(data[4:8], "little") == len(data) - 8


def test_sixteen_bit_samples_survive_unchanged(tmp_path):
    stored = np.random.default_rng(1).integers(-32768, 32768, (2, 30_000))
    sound = (stored / 32768).astype(np.float32)
    write(tmp_path / "out.flac", sound, container="flac", bits=16)
    got, _ = soundfile.read(tmp_path / "out.flac", dtype="int16")
    np.testing.assert_array_equal(got.T, stored)


@pytest.mark.parametrize(("container", "bits"), KINDS[:2] + KINDS[3:])
@pytest.mark.parametrize("dither", [False, True])
def test_overs_saturate_and_are_counted(tmp_path, container, bits, dither):
    sound = np.zeros((2, 8), np.float32)
    sound[0] = [1.0, 1.001, 2.0, 1e30, -1.0, -1.001, -2.0, -1e30]
    writer = write(tmp_path / "out", sound, container=container, bits=bits, dither=dither, step=3)
    got, _ = read(tmp_path / "out")
    top = 1 - 2.0 ** (1 - bits)
    slack = 2.0 ** (1 - bits) if dither else 0  # dither may pull 1.0 back inside
    np.testing.assert_allclose(got[0], [top] * 4 + [-1] * 4, atol=slack)
    np.testing.assert_array_equal(got[0, [2, 3, 6, 7]], [top, top, -1, -1])
    assert writer.n_overs == 6


def test_float_keeps_overs_and_counts_them(tmp_path):
    sound = np.array([[1.5, -3.0, 0.5], [1.0, -1.0, 7.0]], np.float32)
    writer = write(tmp_path / "out.wav", sound, bits="float")
    np.testing.assert_array_equal(read(tmp_path / "out.wav")[0], sound)
    assert writer.n_overs == 3


def test_mono_counts_the_overs_of_the_mean(tmp_path):
    sound = np.array([[2.0, 2.0], [-2.0, 1.0]], np.float32)
    writer = write(tmp_path / "out.wav", sound, channels=1, bits="float")
    np.testing.assert_array_equal(read(tmp_path / "out.wav")[0], [[0, 1.5]])
    assert writer.n_overs == 1


@pytest.mark.parametrize("container", ["wav", "flac"])
def test_dither_is_the_same_every_time_whatever_the_blocks(tmp_path, container):
    sound = noise(5_000)
    paths = [tmp_path / str(step) for step in (1, 777, 5_000)]
    for path, step in zip(paths, (1, 777, 5_000), strict=True):
        write(path, sound, container=container, dither=True, step=step)
    first, *others = [path.read_bytes() for path in paths]
    assert all(other == first for other in others)
    write(tmp_path / "plain", sound, container=container)
    assert (tmp_path / "plain").read_bytes() != first


def test_dither_is_triangular_and_makes_the_error_independent_of_the_signal(tmp_path):
    n_samples = 200_000
    for level_lsb in (0.0, 0.3, 0.5):
        sound = np.full((2, n_samples), level_lsb / 32768, np.float32)
        write(tmp_path / "out.wav", sound, dither=True, step=1 << 16)
        got = read(tmp_path / "out.wav")[0] * 32768
        error = got - level_lsb
        assert np.abs(error).max() <= 1.5
        assert abs(error.mean()) < 0.005
        # 1/6 of an LSB² of triangular noise and 1/12 of rounding, at every level.
        assert error.var() == pytest.approx(0.25, abs=0.005)
        assert abs(np.corrcoef(error)[0, 1]) < 0.01


def test_24_bit_and_float_take_no_dither(tmp_path):
    for bits in (24, "float"):
        write(tmp_path / "a", noise(500), bits=bits, dither=True)
        write(tmp_path / "b", noise(500), bits=bits, dither=False)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("bits", [16, 24, "float"])
def test_rf64_beyond_the_limit_of_wav(tmp_path, monkeypatch, bits):
    monkeypatch.setattr(write_module, "RF64_LIMIT", 10_000)
    path = tmp_path / "out.wav"
    sound = noise(5_001)
    write(path, sound, bits=bits)
    assert path.read_bytes()[:4] == b"RF64"
    assert soundfile.info(path).format == "RF64"
    np.testing.assert_allclose(read(path)[0], sound, atol=2.0**-15)
    with open_source(path) as source:
        assert sum(block.shape[1] for block in source.blocks()) == 5_001
        assert source.truncated is None
    if shutil.which("ffmpeg"):
        command = ["ffmpeg", "-v", "error", "-i", path, "-f", "f32le", "-"]
        done = subprocess.run(command, check=True, capture_output=True)
        assert len(done.stdout) == 5_001 * 8


def test_rf64_begins_before_32_bit_sizes_end():
    facts = {"sample_rate": 44_100, "channels": 2, "bits": 16, "is_float": False}
    n_frames = write_module.RF64_LIMIT // 4
    assert write_module.wav_header(n_frames=n_frames, **facts)[:4] == b"RIFF"
    assert write_module.wav_header(n_frames=n_frames + 1, **facts)[:4] == b"RF64"


def test_chunks_ahead_of_the_sound_count_in_the_size_of_the_whole():
    facts = {"sample_rate": 44_100, "channels": 2, "bits": 16, "is_float": False}
    n_frames, chunk = write_module.RF64_LIMIT // 4, b"LIST\4\0\0\0INFO"
    plain = write_module.wav_header(n_frames=n_frames, **facts)
    header = write_module.wav_header(n_frames=n_frames, ahead=chunk, **facts)
    assert header[8:] == plain[8:-8] + chunk + plain[-8:]
    assert int.from_bytes(header[4:8], "little") == len(header) - 8 + 4 * n_frames
    room = (1 << 32) - 4 * n_frames - len(plain)
    for n_bytes, form in ((room, b"RIFF"), (room + 8, b"RF64")):
        header = write_module.wav_header(n_frames=n_frames, ahead=bytes(n_bytes), **facts)
        assert header[:4] == form
    assert int.from_bytes(header[20:28], "little") == len(header) - 8 + 4 * n_frames


@pytest.mark.slow
def test_a_real_file_past_4_gib_is_read_to_its_last_sample(tmp_path):
    if shutil.disk_usage(tmp_path).free < 6 << 30:
        pytest.skip("needs 6 GiB of disk")
    path = tmp_path / "long.wav"
    block = noise(1 << 20)
    n_blocks = 1_025  # of 4 MiB
    with AudioWriter(
        path,
        container="wav",
        sample_rate=44_100,
        channels=2,
        bits=16,
        dither=False,
        n_samples=n_blocks << 20,
    ) as writer:
        for _ in range(n_blocks):
            writer.write(block)
    assert path.stat().st_size > 1 << 32
    with open_source(path) as source:
        (last,) = collections.deque(source.blocks(), maxlen=1)
        assert source.truncated is None
        assert source.facts.n_frames == n_blocks << 20
    np.testing.assert_allclose(last, block[:, -last.shape[1] :], atol=2.0**-15)


def test_float_flac_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="FLAC cannot store float samples"):
        write(tmp_path / "out.flac", noise(1), container="flac", bits="float")
    assert not (tmp_path / "out.flac").exists()


def test_flac_above_its_highest_rate_is_a_usage_error(tmp_path):
    write(tmp_path / "fits.flac", noise(10), container="flac", rate=655_350)
    with pytest.raises(UsageError, match="768000 Hz"):
        write(tmp_path / "out.flac", noise(1), container="flac", rate=768_000)


@pytest.mark.parametrize("rate", [65_536, 100_001, 655_345])
def test_flac_at_a_high_rate_that_is_no_multiple_of_ten_is_a_usage_error(tmp_path, rate):
    write(tmp_path / "fits.flac", noise(10), container="flac", rate=rate // 10 * 10)
    with pytest.raises(UsageError, match=f"{rate} Hz"):
        write(tmp_path / "out.flac", noise(10), container="flac", rate=rate)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("container", ["wav", "flac"])
@pytest.mark.parametrize("n_samples", [0, 1, 300_000])
def test_a_full_disk_is_a_target_error(container, n_samples, capfd):
    with pytest.raises(TargetError, match=r"^/dev/full: No space left on device$"):
        write("/dev/full", noise(n_samples), container=container, bits=16, step=1 << 16)
    assert capfd.readouterr().err == ""


def test_a_missing_folder_is_a_target_error(tmp_path):
    with pytest.raises(TargetError, match="No such file or directory"):
        write(tmp_path / "none" / "out.wav", noise(1))


@pytest.mark.parametrize("container", ["wav", "flac"])
def test_a_wrong_number_of_samples_is_our_bug(tmp_path, container):
    facts = {"sample_rate": 44_100, "channels": 2, "bits": 16, "dither": False}
    writer = AudioWriter(tmp_path / "out", container=container, n_samples=10, **facts)
    with pytest.raises(AssertionError, match="3 of 10 samples were not written"), writer:
        writer.write(noise(7))
    writer = AudioWriter(tmp_path / "out", container=container, n_samples=10, **facts)
    with pytest.raises(AssertionError, match="more than 10 samples"), writer:
        writer.write(noise(11))


def test_an_exception_inside_is_not_hidden_by_missing_samples(tmp_path):
    facts = {"sample_rate": 44_100, "channels": 2, "bits": 16, "dither": False}
    writer = AudioWriter(tmp_path / "out", container="flac", n_samples=10, **facts)
    with pytest.raises(TypeError), writer:
        writer.write(*[noise(7)] * 2)


def test_any_file_name_can_be_written(tmp_path):
    for name in ("ünïcödé ☃.wav", "new\nline.wav", "-dash.flac", "odd\udcff\udce4.flac"):
        container = name.rpartition(".")[2]
        write(tmp_path / name, noise(100), container=container)
        with open_source(tmp_path / name) as source:
            assert sum(block.shape[1] for block in source.blocks()) == 100


@pytest.mark.parametrize("bits", [16, 24])
def test_a_long_block_is_converted_in_parts(tmp_path, bits):
    block = np.zeros((2, 1 << 20), np.float32)
    with AudioWriter(
        tmp_path / "a.wav",
        container="wav",
        sample_rate=44_100,
        channels=2,
        bits=bits,
        dither=True,
        n_samples=block.shape[1],
    ) as writer:
        tracemalloc.start()
        writer.write(block)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < block.nbytes / 2
