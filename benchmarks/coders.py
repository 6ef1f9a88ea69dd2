"""The codecs that the quality benchmark compares: a WAV file in, its bytes and its sound out."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Protocol

import soundfile

import earzip
from benchmarks.data.pcm import SAMPLE_RATE, Samples
from earzip.models.pool import CodecPool
from earzip.models.spec import ModelSpec
from earzip.options import CompressOptions, RestoreOptions
from earzip.runtime import Runtime
from earzip.transcode.compress import compress_file
from earzip.transcode.restore import restore_file


def name_of(codec: str, model: str | None, setting: str) -> str:
    """Return what reports call a codec at one setting."""
    return " ".join(filter(None, (codec, model, setting)))


class Coder(Protocol):
    """One codec at one setting."""

    @property
    def codec(self) -> str:
        """Its name."""

    @property
    def model(self) -> str | None:
        """Name of its model, of a codec that has some to choose from."""

    @property
    def setting(self) -> str:
        """Its rate or quality."""

    @property
    def version(self) -> str:
        """Whatever else its results depend on."""

    def code(self, wav: Path, folder: Path) -> tuple[int, Samples]:
        """Bytes of the coded file, and the decoded sound (float32 `[T, 2]`, 44.1 kHz).

        `folder` takes the files in between.
        """


@dataclass(frozen=True)
class OpusCoder:
    """opusenc with its defaults (VBR) at a bit rate, decoded at 44.1 kHz."""

    kbps: int

    codec = "opus"
    model = None

    @property
    def setting(self) -> str:
        """The number given to --bitrate."""
        return str(self.kbps)

    @property
    def version(self) -> str:
        """What opusenc says of itself and of libopus."""
        return _opusenc_version()

    def code(self, wav: Path, folder: Path) -> tuple[int, Samples]:
        """See `Coder`."""
        coded = folder / "coded.opus"
        run("opusenc", "--bitrate", self.setting, str(wav), str(coded))
        return coded.stat().st_size, decode_opus(coded, folder)


def decode_opus(coded: Path, folder: Path) -> Samples:
    """Return the sound of an Ogg Opus file, float32 `[T, 2]` at 44.1 kHz."""
    decoded = folder / "decoded.wav"
    # Float, because 16 bits would add opusdec's dither and its clipping to what is measured.
    run("opusdec", "--rate", str(SAMPLE_RATE), "--float", str(coded), str(decoded))
    return read_sound(decoded)


@cache
def _opusenc_version() -> str:
    done = subprocess.run(["opusenc", "--version"], check=True, capture_output=True, text=True)
    return done.stdout.partition("\n")[0]


@dataclass(frozen=True)
class FfmpegCoder:
    """AAC, Vorbis or MP3 at a bit rate, coded by ffmpeg with its defaults.

    Those are about constant rates for AAC, constant ones for MP3, and the quality of that nominal rate
    (VBR) for Vorbis. All keep 44.1 kHz.
    """

    codec: str
    kbps: int

    model = None

    @property
    def setting(self) -> str:
        """The number given to -b:a."""
        return str(self.kbps)

    @property
    def version(self) -> str:
        """What ffmpeg and the encoder's library say of themselves, and a decoder that is not ffmpeg."""
        encoder = _ffmpeg_version(_FFMPEG_ENCODERS[self.codec])
        decoder = (
            f", libsndfile {soundfile.__libsndfile_version__}" if self.codec == "vorbis" else ""
        )
        return encoder + decoder

    def code(self, wav: Path, folder: Path) -> tuple[int, Samples]:
        """See `Coder`."""
        encoder = _FFMPEG_ENCODERS[self.codec]
        coded, decoded = folder / f"coded.{_SUFFIXES[self.codec]}", folder / "decoded.wav"
        run(*_FFMPEG, "-i", str(wav), "-c:a", encoder, "-b:a", f"{self.kbps}k", str(coded))
        if self.codec == "vorbis":
            # By libsndfile, because ffmpeg 5 loses a last block of 256 samples.
            return coded.stat().st_size, read_sound(coded)
        # Float, because 16 bits would clip what is measured.
        run(*_FFMPEG, "-i", str(coded), "-c:a", "pcm_f32le", str(decoded))
        # Cut, because ffmpeg 5 decodes the last frame of an m4a to its end, and notes an end some samples
        # late in some MP3 files. Their beginnings are right.
        return coded.stat().st_size, read_sound(decoded)[: soundfile.info(wav).frames]


_FFMPEG = ("ffmpeg", "-nostdin", "-v", "error", "-threads", "1")
_FFMPEG_ENCODERS = {"aac": "aac", "vorbis": "libvorbis", "mp3": "libmp3lame"}
_SUFFIXES = {"aac": "m4a", "vorbis": "ogg", "mp3": "mp3"}
_LIBRARY = re.compile(rb"LAME[0-9.]+|Xiph\.Org libVorbis [ -~]+")
"""How libraries sign what they encode; ffmpeg's own options tell nothing of their versions."""


@cache
def _ffmpeg_version(encoder: str) -> str:
    done = subprocess.run(["ffmpeg", "-version"], check=True, capture_output=True, text=True)
    version = done.stdout.split()[2]
    silence = ["-f", "lavfi", "-t", "1", "-i", "anullsrc=sample_rate=44100"]
    # Matroska, because Ogg as ffmpeg writes it has ffmpeg's signature in place of the library's.
    signed = subprocess.run(
        [*_FFMPEG, *silence, "-c:a", encoder, "-f", "matroska", "pipe:"],
        check=True,
        capture_output=True,
    )
    library = _LIBRARY.search(signed.stdout)
    return f"ffmpeg {version} {encoder}" + (f" ({library[0].decode()})" if library else "")


def run(*command: str) -> None:
    """Run a command. Raises RuntimeError with what it said if it fails."""
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace")
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{said}")


@dataclass(frozen=True)
class EarzipCoder:
    """earzip at one of its qualities, restored to a float WAV file."""

    spec: ModelSpec
    quality: str

    codec = "earzip"

    @property
    def model(self) -> str:
        """Its name."""
        return self.spec.name

    @property
    def setting(self) -> str:
        """The quality."""
        return self.quality

    @cached_property
    def version(self) -> str:
        """Identity of the model, and of the steps that it leaves to its specification."""
        preset = self.spec.presets[self.quality]
        rounded = {"exponent": preset.exponent, "rounding": preset.rounding}
        if preset.others is not None:
            rounded |= {"others": preset.others, "thrift": preset.thrift or 0}
        steps = json.dumps([self.spec.step_exponents, rounded]).encode()
        digest = hashlib.sha256(steps).hexdigest()[:16]
        return f"{earzip.__version__} {self.spec.name} {self.spec.sha256} steps {digest}"

    def code(self, wav: Path, folder: Path) -> tuple[int, Samples]:
        """See `Coder`. The bytes are all of the archive but its pictures."""
        archive, restored = folder / f"{wav.name}.earz", folder / "restored.wav"
        encoding = CompressOptions(model=str(self.spec.path), quality=self.quality)
        done = compress_file(wav, archive, encoding, codecs=_codec_pool())
        decoding = RestoreOptions(container="wav", bits="float")
        restore_file(archive, restored, decoding, codecs=_codec_pool())
        return done.archive_bytes - done.picture_bytes, read_sound(restored)


@cache
def _codec_pool() -> CodecPool:
    return CodecPool(Runtime("cpu", threads=1))


def read_sound(wav: Path) -> Samples:
    """Return the sound of a file at 44.1 kHz, float32 `[T, channels]`."""
    samples, rate = soundfile.read(wav, dtype="float32", always_2d=True)
    assert rate == SAMPLE_RATE, f"{wav}: {rate} Hz, asked for {SAMPLE_RATE}"
    read: Samples = samples
    return read
