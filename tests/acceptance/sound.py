"""What readers that earzip does not use say of a sound file: ffprobe, ffmpeg, libsndfile."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

SAMPLE_RATE = 44_100

Samples = NDArray[np.float32]  # [T, 2]


@dataclass(frozen=True)
class Shape:
    """Rate in Hz, channels, and samples per channel."""

    sample_rate: int
    channels: int
    n_frames: int

    def n_samples_44k(self) -> int:
        """Return the length at 44.1 kHz, halves rounded up."""
        return (2 * self.n_frames * SAMPLE_RATE + self.sample_rate) // (2 * self.sample_rate)


def probe(path: Path, entries: str) -> dict[str, Any]:
    """Return what ffprobe shows of the first audio stream, or of the file."""
    command = ["ffprobe", "-v", "error", "-select_streams", "a:0", "-of", "json"]
    found: dict[str, Any] = json.loads(_output([*command, "-show_entries", entries, str(path)]))
    return found


def probe_stream(path: Path) -> dict[str, Any]:
    """Return what ffprobe shows of the first audio stream."""
    stream: dict[str, Any] = probe(path, "stream")["streams"][0]
    return stream


def sample_format(path: Path) -> dict[str, Any]:
    """Return the facts of samples that an archive must name."""
    stream = probe_stream(path)
    codec = stream["codec_name"]
    bits = int(stream.get("bits_per_raw_sample") or 0) or stream["bits_per_sample"]
    lossless = codec in ("flac", "alac", "wavpack") or codec.startswith("pcm_")
    return {
        "bit_depth": bits if lossless else None,
        "lossless": lossless,
        "is_float": codec.startswith("pcm_f"),
    }


def decoded_shape(path: Path) -> Shape:
    """Return the shape of what ffmpeg decodes from a file; it goes on where a file is cut.

    Of an MP4 file ffmpeg decodes the padding at the end too: there it is what the edit list says.
    """
    stream = probe_stream(path)
    channels = int(stream["channels"])
    command = ["ffmpeg", "-v", "quiet", "-i", str(path), "-map", "0:a:0", "-f", "f32le", "-"]
    n_frames = len(_output(command)) // (4 * channels)
    if path.suffix == ".m4a":
        n_frames = min(n_frames, int(stream["duration_ts"]))
    return Shape(int(stream["sample_rate"]), channels, n_frames)


def written_shapes(path: Path) -> tuple[Shape, Shape]:
    """Return the shape of a WAV or FLAC file as libsndfile and as ffprobe have it."""
    info, stream = soundfile.info(path), probe_stream(path)
    probed = Shape(int(stream["sample_rate"]), int(stream["channels"]), int(stream["duration_ts"]))
    return Shape(info.samplerate, info.channels, info.frames), probed


def decode(path: Path) -> Samples:
    """Return a file as ffmpeg decodes it, in stereo at 44.1 kHz."""
    # The pan filter copies mono at full level; ffmpeg's own up-mix would take 3 dB off.
    upmix = "pan=stereo|c0=c0|c1=c0," if probe_stream(path)["channels"] == 1 else ""
    filters = f"{upmix}aresample={SAMPLE_RATE}:resampler=soxr:precision=28"
    command = ["ffmpeg", "-v", "quiet", "-i", str(path), "-map", "0:a:0", "-af", filters]
    return np.frombuffer(_output([*command, "-ac", "2", "-f", "f32le", "-"]), "<f4").reshape(-1, 2)


def power(sound: Samples) -> float:
    """Return the sum of squares."""
    return float(np.sum(np.square(sound, dtype=np.float64)))


def as_long(a: Samples, b: Samples) -> tuple[Samples, Samples]:
    """Return both, cut to the shorter one's length."""
    n = min(len(a), len(b))
    return a[:n], b[:n]


def _output(command: list[str]) -> bytes:
    return subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout
