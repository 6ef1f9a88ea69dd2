"""The codecs that the quality benchmark compares: a WAV file in, its bytes and its sound out."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Protocol

import soundfile

import earzip
from benchmarks.data.pcm import SAMPLE_RATE, Samples
from earzip.model_spec import ModelSpec
from earzip.transcode import (
    CodecPool,
    CompressOptions,
    RestoreOptions,
    compress_file,
    restore_file,
)


class Coder(Protocol):
    """One codec at one setting."""

    @property
    def codec(self) -> str:
        """Its name."""

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
        coded, decoded = folder / "coded.opus", folder / "decoded.wav"
        _run("opusenc", "--bitrate", self.setting, str(wav), str(coded))
        # Float, because 16 bits would add opusdec's dither and its clipping to what is measured.
        _run("opusdec", "--rate", str(SAMPLE_RATE), "--float", str(coded), str(decoded))
        return coded.stat().st_size, _read(decoded)


@cache
def _opusenc_version() -> str:
    done = subprocess.run(["opusenc", "--version"], check=True, capture_output=True, text=True)
    return done.stdout.partition("\n")[0]


def _run(*command: str) -> None:
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
    def setting(self) -> str:
        """The quality."""
        return self.quality

    @cached_property
    def version(self) -> str:
        """Identity of the model, and of the steps that it leaves to its specification."""
        preset = self.spec.presets[self.quality]
        rounded = {"exponent": preset.exponent, "rounding": preset.rounding}
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
        return done.archive_bytes - done.picture_bytes, _read(restored)


@cache
def _codec_pool() -> CodecPool:
    return CodecPool(threads=1)


def _read(wav: Path) -> Samples:
    samples, rate = soundfile.read(wav, dtype="float32", always_2d=True)
    assert rate == SAMPLE_RATE, f"{wav}: {rate} Hz, asked for {SAMPLE_RATE}"
    read: Samples = samples
    return read
