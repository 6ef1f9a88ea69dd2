from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

# `benchmarks` is not part of the package, so it is found from the repository.
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import further_coders
from benchmarks.clips import lag
from benchmarks.coders import Coder, FfmpegCoder, OpusCoder, name_of
from benchmarks.data.pcm import SAMPLE_RATE
from benchmarks.further_coders import AvOpusCoder, HeAacCoder
from tests.formats.audio.audio_files import music, needs_ffmpeg, needs_opusenc

needs_av = pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="needs PyAV")
needs_fdkaac = pytest.mark.skipif(shutil.which("fdkaac") is None, reason="needs fdkaac")

CODERS = [
    pytest.param(OpusCoder(96), marks=needs_opusenc, id="opus"),
    pytest.param(AvOpusCoder(96), marks=[needs_opusenc, needs_av], id="opus-av"),
    pytest.param(HeAacCoder(64), marks=[needs_ffmpeg, needs_fdkaac], id="he-aac"),
    *(
        pytest.param(FfmpegCoder(codec, kbps), marks=needs_ffmpeg, id=f"{codec}-{kbps}")
        for codec, kbps in (("aac", 24), ("aac", 96), ("vorbis", 45), ("mp3", 32), ("mp3", 96))
    ),
]


# ffmpeg 5 would lose the end of the Vorbis file of 44,100 samples, and make the MP3 of 49,540 too long.
@pytest.mark.parametrize("n_samples", [44_100, 49_540, 99_991])
@pytest.mark.parametrize("coder", CODERS)
def test_decoded_sound_is_aligned_and_of_the_same_length(
    coder: Coder, n_samples: int, tmp_path: Path
) -> None:
    original = music(n_samples).T
    wav = tmp_path / "original.wav"
    soundfile.write(wav, original, SAMPLE_RATE, "PCM_24")
    n_bytes, decoded = coder.code(wav, tmp_path)
    assert decoded.shape == original.shape
    assert decoded.dtype == np.float32
    assert lag(decoded, original) == 0
    # Not nearer, because headers are a good part of a second.
    kbps = n_bytes * 8 / 1000 / (n_samples / SAMPLE_RATE)
    assert float(coder.setting) / 2 < kbps < float(coder.setting) * 2


@pytest.mark.parametrize("coder", CODERS)
def test_a_file_that_is_no_sound_is_told(coder: Coder, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not sound", encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"text\.wav"):
        coder.code(tmp_path / "text.wav", tmp_path)


@needs_ffmpeg
@pytest.mark.parametrize(
    ("codec", "version"),
    [
        ("aac", r"ffmpeg \S+ aac"),
        ("vorbis", r"ffmpeg \S+ libvorbis \(Xiph\.Org libVorbis \w .*\), libsndfile \d.*"),
        ("mp3", r"ffmpeg \S+ libmp3lame \(LAME\d.*\)"),
    ],
)
def test_a_version_names_the_library_that_encodes(codec: str, version: str) -> None:
    assert re.fullmatch(version, FfmpegCoder(codec, 64).version)


@needs_av
def test_the_newer_opus_names_its_library() -> None:
    assert re.fullmatch(r"PyAV \S+ \(libopus.*\)", AvOpusCoder(24).version)


@needs_av
@needs_opusenc
def test_the_newer_opus_is_aligned_to_a_part_of_a_sample(tmp_path: Path) -> None:
    original = 0.1 * np.random.default_rng(0).standard_normal((3 * SAMPLE_RATE, 2))
    wav = tmp_path / "original.wav"
    soundfile.write(wav, original, SAMPLE_RATE, "PCM_24")
    _, decoded = AvOpusCoder(96).code(wav, tmp_path)
    # Above the high-pass of Opus, the phase between both grows with frequency by what one is late.
    x, y = (np.fft.rfft(sound.mean(1)) for sound in (decoded, original))
    cycles = np.arange(len(x)) / len(original)
    band = (cycles > 0.01) & (cycles < 0.1)
    cross = (x * y.conj())[band]
    phase = np.angle(cross) / (2 * np.pi)
    late = -(np.abs(cross) * phase * cycles[band]).sum() / (np.abs(cross) * cycles[band] ** 2).sum()
    assert abs(late) < 0.1


@pytest.mark.parametrize(("coder", "tool"), [(HeAacCoder(24), "fdkaac")])
def test_a_coder_that_is_not_installed_has_no_results(
    coder: HeAacCoder, tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    further_coders._fdk_version.cache_clear()
    monkeypatch.setattr("shutil.which", lambda name: None if name == tool else name)
    assert coder.version == "not installed"
    further_coders._fdk_version.cache_clear()


def test_a_name_has_the_model_of_a_codec_that_has_some() -> None:
    assert name_of("opus", None, "20") == "opus 20"
    assert name_of("earzip", "mini", "low") == "earzip mini low"
