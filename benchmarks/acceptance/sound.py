"""What readers that earzip does not use say of a sound file: ffprobe, ffmpeg, libsndfile."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.data.pcm import SAMPLE_RATE, Samples, decode, gated_rms_db
from earzip.formats.audio.resample import stereo_44k
from earzip.formats.audio.source import open_source

_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Shape:
    """Rate in Hz, channels, and samples per channel."""

    sample_rate: int
    channels: int
    n_frames: int

    def n_samples_44k(self) -> int:
        """Return the length at 44.1 kHz, halves rounded up."""
        return (2 * self.n_frames * SAMPLE_RATE + self.sample_rate) // (2 * self.sample_rate)


def decoded_shape(path: Path) -> Shape:
    """Return the shape of what ffmpeg decodes from a file; it goes on where a file is cut.

    Of an MP4 file ffmpeg decodes the padding at the end too: there it is what the edit list says.
    """
    stream = _probe(path)
    samples = _output(
        ["ffmpeg", "-v", "quiet", "-i", str(path), "-map", "0:a:0", "-f", "f32le", "-"]
    )
    channels = int(stream["channels"])
    n_frames = len(samples) // (_FLOAT_BYTES * channels)
    if path.suffix == ".m4a":
        n_frames = min(n_frames, int(stream["duration_ts"]))
    return Shape(int(stream["sample_rate"]), channels, n_frames)


def written_shapes(path: Path) -> tuple[Shape, Shape]:
    """Return the shape of a WAV or FLAC file as libsndfile and as ffprobe have it."""
    info, stream = soundfile.info(path), _probe(path)
    probed = Shape(int(stream["sample_rate"]), int(stream["channels"]), int(stream["duration_ts"]))
    return Shape(info.samplerate, info.channels, info.frames), probed


def _probe(path: Path) -> dict[str, Any]:
    command = ["ffprobe", "-v", "error", "-select_streams", "a:0", "-of", "json"]
    command += ["-show_entries", "stream=sample_rate,channels,duration_ts", str(path)]
    stream: dict[str, Any] = json.loads(_output(command))["streams"][0]
    return stream


def subtype(path: Path) -> str:
    """Return the sample format of a WAV or FLAC file, as libsndfile calls it."""
    text: str = soundfile.info(path).subtype
    return text


def _output(command: list[str]) -> bytes:
    return subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout


@dataclass(frozen=True)
class Likeness:
    """How like its source a restored sound is."""

    correlation: float
    level_db: float
    """By how much it is louder."""


def likeness(restored: Path, source: Path) -> Likeness:
    """Compare two files as ffmpeg decodes them, at 44.1 kHz in stereo, sample by sample."""
    got, wanted = _as_long(decode(restored), decode(source))
    product = np.sum(got * wanted, dtype=np.float64)
    powers = [np.sum(np.square(sound, dtype=np.float64)) for sound in (got, wanted)]
    level_db = gated_rms_db(got) - gated_rms_db(wanted)
    return Likeness(float(product / np.sqrt(powers[0] * powers[1])), level_db)


def reading_snr_db(path: Path) -> float:
    """Return how exactly earzip reads what ffmpeg reads, both at 44.1 kHz in stereo."""
    with open_source(path) as reader:
        read = np.concatenate(list(stereo_44k(reader)), 1).T
    got, wanted = _as_long(read, decode(path))
    noise = np.sum(np.square(got - wanted, dtype=np.float64))
    return float(10 * np.log10(np.sum(np.square(wanted, dtype=np.float64)) / max(noise, 1e-20)))


def _as_long(a: Samples, b: Samples) -> tuple[Samples, Samples]:
    n = min(len(a), len(b))
    return a[:n], b[:n]
