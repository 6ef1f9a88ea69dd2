from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

# `benchmarks` is not part of the package, so it is found from the repository.
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.clips import lag
from benchmarks.coders import Coder, FfmpegCoder, OpusCoder, name_of
from benchmarks.data.pcm import SAMPLE_RATE
from tests.formats.audio.audio_files import music, needs_ffmpeg, needs_opusenc

CODERS = [
    pytest.param(OpusCoder(96), marks=needs_opusenc, id="opus"),
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


def test_a_name_has_the_model_of_a_codec_that_has_some() -> None:
    assert name_of("opus", None, "20") == "opus 20"
    assert name_of("earzip", "mini", "low") == "earzip mini low"
