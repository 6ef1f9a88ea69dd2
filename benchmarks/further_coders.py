"""Further codecs of the quality benchmark: a newer Opus by PyAV, and HE-AAC by Fraunhofer's encoder."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from benchmarks.coders import decode_opus, read_sound, run
from benchmarks.data.pcm import SAMPLE_RATE, Samples

_OPUS_HZ = 48_000
_OPUS_FRAME = 960  # 20 ms, as opusenc has them
_HE_AAC, _HE_AAC_V2 = "5", "29"  # MPEG-4 audio object types
_LOWEST_HE_AAC_KBPS = 40  # below, parametric stereo sounds better
_OPUS_LIBRARY = re.compile(rb"libopus [0-9][0-9a-z.-]*")
_FDK_LIBRARY = re.compile(rb"fdkaac [0-9.]+, libfdk-aac [0-9.]+")


@dataclass(frozen=True)
class AvOpusCoder:
    """The libopus of PyAV at a bit rate (VBR, complexity 10, frames of 20 ms), decoded by opusdec.

    opusenc of Debian 12 has libopus 1.3.1 of 2019; its settings are these.
    """

    kbps: int

    codec = "opus-av"
    model = None

    @property
    def setting(self) -> str:
        """Kilobits a second."""
        return str(self.kbps)

    @property
    def version(self) -> str:
        """What PyAV and its libopus say of themselves."""
        return _av_opus_version()

    def code(self, wav: Path, folder: Path) -> tuple[int, Samples]:
        """See `Coder`."""
        coded = folder / "coded.opus"
        sound = read_sound(wav)
        _encode_opus(soxr.resample(sound, SAMPLE_RATE, _OPUS_HZ, "VHQ"), self.kbps, coded)
        decoded = decode_opus(coded, folder)
        # The last frame is padded, and resampled there and back may be a sample more or less.
        missing = max(len(sound) - len(decoded), 0)
        return coded.stat().st_size, np.pad(decoded, ((0, missing), (0, 0)))[: len(sound)]


def _encode_opus(sound: Samples, kbps: int, path: Path) -> None:
    """Write `sound`, float32 `[T, 2]` at 48 kHz, as an Ogg Opus file."""
    import av  # noqa: PLC0415  # of the extra av

    with av.open(str(path), "w", format="ogg") as container:
        stream: Any = container.add_stream("libopus", rate=_OPUS_HZ, layout="stereo")
        stream.bit_rate = 1000 * kbps
        for frame in _frames(sound):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _frames(sound: Samples) -> Iterator[Any]:
    import av  # noqa: PLC0415

    for start in range(0, len(sound), _OPUS_FRAME):
        block = np.ascontiguousarray(sound[start : start + _OPUS_FRAME]).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="flt", layout="stereo")
        frame.rate, frame.pts = _OPUS_HZ, start
        yield frame


@cache
def _av_opus_version() -> str:
    try:
        import av  # noqa: PLC0415
    except ImportError:
        return "not installed"
    # Ogg Opus files would name who encoded, but ffmpeg signs in its place: the wheel's library is asked.
    beside = Path(av.__file__).parents[1] / "av.libs"
    found = [_OPUS_LIBRARY.search(path.read_bytes()) for path in beside.glob("libopus-*")]
    library = found[0][0].decode() if found and found[0] else "libopus"
    return f"PyAV {av.__version__} ({library})"


@dataclass(frozen=True)
class HeAacCoder:
    """HE-AAC by fdkaac and libfdk-aac at a constant bit rate, with parametric stereo below 40 kbps.

    fdkaac is in Debian's contrib, libfdk-aac in its non-free. ffmpeg decodes.
    """

    kbps: int

    codec = "he-aac"
    model = None

    @property
    def setting(self) -> str:
        """Kilobits a second."""
        return str(self.kbps)

    @property
    def version(self) -> str:
        """What fdkaac and its library say of themselves."""
        return _fdk_version()

    def code(self, wav: Path, folder: Path) -> tuple[int, Samples]:
        """See `Coder`."""
        coded, decoded = folder / "coded.m4a", folder / "decoded.wav"
        _encode_he_aac(wav, self.kbps, coded)
        ffmpeg = ("ffmpeg", "-nostdin", "-v", "error", "-threads", "1")
        run(*ffmpeg, "-i", str(coded), "-c:a", "pcm_f32le", str(decoded))
        return coded.stat().st_size, read_sound(decoded)[: soundfile.info(wav).frames]


def _encode_he_aac(wav: Path, kbps: int, path: Path) -> None:
    profile = _HE_AAC if kbps >= _LOWEST_HE_AAC_KBPS else _HE_AAC_V2
    # With the delay of the decoder's band replication in the file, ffmpeg's sound begins where it should.
    options = ["--silent", "--include-sbr-delay", "--profile", profile]
    run("fdkaac", *options, "--bitrate", str(1000 * kbps), "-o", str(path), str(wav))


@cache
def _fdk_version() -> str:
    if shutil.which("fdkaac") is None or shutil.which("ffmpeg") is None:
        return "not installed"
    ffmpeg = subprocess.run(["ffmpeg", "-version"], check=True, capture_output=True, text=True)
    with tempfile.TemporaryDirectory(prefix="earzip-fdkaac-") as name:
        wav, coded = Path(name) / "silence.wav", Path(name) / "silence.m4a"
        soundfile.write(wav, np.zeros((SAMPLE_RATE, 2)), SAMPLE_RATE, "PCM_24")
        _encode_he_aac(wav, 64, coded)
        signed = _FDK_LIBRARY.search(coded.read_bytes())
    library = signed[0].decode() if signed else "fdkaac"
    return f"{library}, decoded by ffmpeg {ffmpeg.stdout.split()[2]}"
