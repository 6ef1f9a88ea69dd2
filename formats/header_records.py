"""The records of a header: each checks its own fields when it is made, by whomever.

SPEC.md, "Header", lists the fields one by one under the names that they have in the JSON (the ``key``
of a field here).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache

from earzip.formats.canonical_json import JsonValue
from earzip.formats.header_fields import (
    HEX,
    require_boolean,
    require_integer,
    require_member,
    require_members,
    require_sha256,
    require_text,
)
from earzip.formats.limits import MAX_EXPONENT, MAX_EXPONENT_SPREAD, MAX_LATENTS

_ASCII = re.compile(r"[ -~]+")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_INT64_MAX = 2**63 - 1


def portable_name(path: str | os.PathLike[str]) -> str:
    """Return the last part of ``path`` as text that UTF-8 can hold, U+FFFD for other bytes."""
    return os.fsencode(os.path.basename(path)).decode("utf-8", "replace")  # noqa: PTH119


@dataclass(frozen=True)
class EncoderRecord:
    """Which program wrote the archive, and what its arithmetic depends on."""

    name: str
    version: str
    torch: str
    device: str  # the type only: "cpu", "cuda"
    dtype: str  # of the network's arithmetic: "float32", "bfloat16", "float16"

    def __post_init__(self) -> None:
        for key in ("name", "version", "torch", "device", "dtype"):
            require_text(f"encoder.{key}", getattr(self, key), 64, _ASCII)


@dataclass(frozen=True)
class ModelRecord:
    """The model whose decoder the archive needs."""

    name: str
    sha256: str  # of weights and configuration, hexadecimal
    n_latents: int = field(metadata={"key": "latents"})  # D

    def __post_init__(self) -> None:
        require_text("model.name", self.name, 64, _WORD)
        require_sha256("model.sha256", self.sha256)
        require_integer("model.latents", self.n_latents, 1, MAX_LATENTS)


@dataclass(frozen=True)
class GeometryRecord:
    """How the track was cut into windows for the network; a segment holds a window's core."""

    sample_rate: int = field(metadata={"key": "rate"})  # Hz, of the sound that is coded
    hop: int  # samples a frame
    lead: int  # zero samples before the track
    core: int  # frames a window keeps, and frames in every segment but the last
    encoder_context: int  # frames on each side of the core
    decoder_context: int  # frames on each side of the core

    def __post_init__(self) -> None:
        require_integer("geometry.rate", self.sample_rate, 1, 768_000)
        require_integer("geometry.hop", self.hop, 1, 65_536)
        require_integer("geometry.lead", self.lead, 0, 2**20)
        require_integer("geometry.core", self.core, 1, 65_536)
        require_integer("geometry.encoder_context", self.encoder_context, 0, 65_536)
        require_integer("geometry.decoder_context", self.decoder_context, 0, 65_536)


@dataclass(frozen=True)
class QuantizerRecord:
    """The preset's name and the step of each latent channel, 2 ** (exponent / 16).

    In the JSON the exponents are two hexadecimal digits each, above the smallest of them (the
    ``base``): that is half as long as a list once it is compressed.
    """

    quality: str
    step_exponents: tuple[int, ...]  # length D, within 255 of each other

    def __post_init__(self) -> None:
        require_text("quantizer.quality", self.quality, 32, _WORD)
        if not self.step_exponents:
            raise ValueError("header field quantizer.steps is empty")
        for exponent in self.step_exponents:
            require_integer("quantizer.steps", exponent, -MAX_EXPONENT, MAX_EXPONENT)
        spread = max(self.step_exponents) - min(self.step_exponents)
        if spread > MAX_EXPONENT_SPREAD:
            raise ValueError(
                f"exponents in quantizer.steps differ by {spread}, the limit is {MAX_EXPONENT_SPREAD}"
            )

    def to_json(self) -> dict[str, JsonValue]:
        """Return the JSON object of this record; the inverse of `from_json`."""
        base = min(self.step_exponents)
        steps = bytes(exponent - base for exponent in self.step_exponents).hex()
        return {"quality": self.quality, "base": base, "steps": steps}

    @classmethod
    def from_json(cls, value: JsonValue) -> QuantizerRecord:
        """Return the record that ``value`` spells. Raises `ValueError`."""
        members = require_members("quantizer", value)
        quality, base, steps = (require_member("quantizer", members, k) for k in QUANTIZER_KEYS)
        require_integer("quantizer.base", base, -MAX_EXPONENT, MAX_EXPONENT)
        # What is remembered must be hashable, and True is not 1: types first.
        require_text("quantizer.quality", quality, 32)
        require_text("quantizer.steps", steps, 2 * MAX_LATENTS)
        return _quantizer(quality, base, steps)


@lru_cache(maxsize=16)
def _quantizer(quality: str, base: int, steps: str) -> QuantizerRecord:
    """Return the record of these fields; ValueError for steps that are none.

    Remembered: it has thousands of numbers, and all archives of a model and a preset have the same.
    """
    require_text("quantizer.steps", steps, 2 * MAX_LATENTS, HEX)
    if len(steps) % 2:
        raise ValueError(f"header field quantizer.steps has {len(steps)} digits, an odd number")
    above = bytes.fromhex(steps)
    if min(above) != 0:
        raise ValueError("header field quantizer.base is not the smallest exponent")
    return QuantizerRecord(quality, tuple(base + offset for offset in above))


QUANTIZER_KEYS = ("quality", "base", "steps")


@dataclass(frozen=True)
class SourceRecord:
    """What the source file was: facts for the user, for ``--as-source`` and for skipping."""

    name: str  # base name; "" if it had none (standard input)
    sha256: str  # of the whole file, hexadecimal
    n_bytes: int = field(metadata={"key": "bytes"})
    mtime_ns: int | None = field(metadata={"key": "mtime"})  # since 1970; None: not a file
    container: str  # "FLAC", "WAV", "MP3"
    codec: str  # "PCM_24", "VORBIS"
    sample_rate: int = field(metadata={"key": "rate"})  # Hz
    channels: int
    bit_depth: int | None = field(metadata={"key": "bits"})
    is_float: bool = field(metadata={"key": "float"})
    lossless: bool
    n_frames: int = field(metadata={"key": "frames"})  # that could be decoded
    downmix: str  # "stereo", "mono-duplicated", "itu-r-bs775-5.1"
    truncated: str | None  # why the file is taken to be cut short

    def __post_init__(self) -> None:
        require_text("source.name", self.name, 1024)
        if "/" in self.name or "\0" in self.name or self.name in (".", ".."):
            raise ValueError(f"header field source.name is {self.name!r}, not the name of a file")
        require_sha256("source.sha256", self.sha256)
        require_integer("source.bytes", self.n_bytes, 0, _INT64_MAX)
        if self.mtime_ns is not None:
            require_integer("source.mtime", self.mtime_ns, -_INT64_MAX, _INT64_MAX)
        for key in ("container", "codec", "downmix"):
            require_text(f"source.{key}", getattr(self, key), 64, _ASCII)
        require_integer("source.rate", self.sample_rate, 1, 768_000)
        require_integer("source.channels", self.channels, 1, 1024)
        if self.bit_depth is not None:
            require_integer("source.bits", self.bit_depth, 1, 64)
        require_boolean("source.float", self.is_float)
        require_boolean("source.lossless", self.lossless)
        require_integer("source.frames", self.n_frames, 0, 2**50)
        if self.truncated is not None:
            require_text("source.truncated", self.truncated, 1024)


@dataclass(frozen=True)
class CheckRecord:
    """How near the decoded archive came to its source, in units of 10^-4 of the measures' own.

    All None where measures are not defined: for digital silence and a track of a few samples.
    """

    si_sdr_db: int | None = None
    mel: int | None = None
    stft: int | None = None
    icpc: int | None = None  # of 1
    ccpc: int | None = None  # of 1
    dbtp: int | None = None  # true peak, dB

    def __post_init__(self) -> None:
        values = vars(self)
        if all(value is None for value in values.values()):
            return
        for name, value in values.items():
            require_integer(f"check.{name}", value, -MAX_CHECK, MAX_CHECK)

    @property
    def measures(self) -> dict[str, float] | None:
        """The measures in their own units, by their names here; the inverse of `of`."""
        if self.mel is None:
            return None
        return {name: value / _CHECK_UNITS for name, value in vars(self).items()}

    @classmethod
    def of(cls, measures: Mapping[str, float] | None) -> CheckRecord:
        """Return the record of measures in their own units, cut off at ±`MAX_CHECK` of its units."""
        units = {name: round(_CHECK_UNITS * value) for name, value in (measures or {}).items()}
        return cls(**{name: min(max(v, -MAX_CHECK), MAX_CHECK) for name, v in units.items()})

    def to_json(self) -> dict[str, JsonValue]:
        """Return the JSON object of this record, empty without measures; the inverse of `from_json`."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @classmethod
    def from_json(cls, value: JsonValue) -> CheckRecord:
        """Return the record that ``value`` spells. Raises `ValueError`."""
        members = require_members("check", value)
        names = [each.name for each in fields(cls)]
        if not any(name in members for name in names):
            return cls()
        return cls(**{name: require_member("check", members, name) for name in names})


MAX_CHECK = 10**7
_CHECK_UNITS = 10_000
