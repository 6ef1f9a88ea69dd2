"""Records of a header, one for each of its objects: encoder, model, quantizer, source, check.

SPEC.md, "Header", lists their fields under the names that they have in the JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from earzip.formats.canonical_json import JsonValue
from earzip.formats.checked import (
    HEX,
    LEFT_OUT,
    SHA256,
    WORD,
    Checked,
    Key,
    Range,
    Text,
    read,
    write,
)
from earzip.formats.geometry import (
    MAX_EXPONENT,
    MAX_EXPONENT_SPREAD,
    MAX_LATENTS,
    MAX_RATE,
)

_ASCII = re.compile(r"[ -~]+")
_INT64_MAX = 2**63 - 1


def storable_mtime_ns(mtime_ns: int) -> int | None:
    """Return ``mtime_ns`` if a header can hold it, else None: 64 bits reach from 1677 to 2262."""
    return mtime_ns if abs(mtime_ns) <= _INT64_MAX else None


_Facts = Annotated[str, Text(64, _ASCII)]
_Exponent = Annotated[int, Range(-MAX_EXPONENT, MAX_EXPONENT)]


@dataclass(frozen=True)
class EncoderRecord(Checked):
    """Which program wrote the archive, and what its arithmetic depends on."""

    name: _Facts
    version: _Facts
    torch: _Facts
    device: _Facts  # the type only: "cpu", "cuda"
    dtype: _Facts  # of the network's arithmetic: "float32", "bfloat16", "float16", "tf32"


@dataclass(frozen=True)
class ModelRecord(Checked):
    """The model whose decoder the archive needs."""

    name: Annotated[str, Text(64, WORD)]
    sha256: Annotated[str, SHA256]  # of weights and configuration
    n_latents: Annotated[int, Range(1, MAX_LATENTS), Key("latents")]  # D


@dataclass(frozen=True)
class SpelledQuantizer(Checked):
    """A `QuantizerRecord` in the JSON: ``steps`` are two hexadecimal digits each, above ``base``.

    That is half as long as a list once it is compressed.
    """

    quality: Annotated[str, Text(32, WORD)]
    base: _Exponent  # the smallest
    steps: Annotated[str, Text(2 * MAX_LATENTS, HEX)]


@dataclass(frozen=True)
class QuantizerRecord(Checked):
    """The preset's name and the step of each latent channel, 2 ** (exponent / 16)."""

    quality: Annotated[str, Text(32, WORD)]
    step_exponents: tuple[_Exponent, ...]  # length D, within 255 of each other

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.step_exponents:
            raise ValueError("steps is empty")
        spread = max(self.step_exponents) - min(self.step_exponents)
        if spread > MAX_EXPONENT_SPREAD:
            raise ValueError(f"steps differ by {spread}, the limit is {MAX_EXPONENT_SPREAD}")

    def to_json(self) -> dict[str, JsonValue]:
        """Return the JSON object of this record; the inverse of `from_json`."""
        base = min(self.step_exponents)
        steps = bytes(exponent - base for exponent in self.step_exponents).hex()
        return write(SpelledQuantizer(self.quality, base, steps))

    @classmethod
    def from_json(cls, value: JsonValue, where: str = "quantizer") -> QuantizerRecord:
        """Return the record that ``value`` spells. Raises `ValueError`."""
        spelled = read(SpelledQuantizer, value, where)
        try:
            return _quantizer(spelled)
        except ValueError as error:
            raise ValueError(f"{where}.{error}") from error


@lru_cache(maxsize=16)
def _quantizer(spelled: SpelledQuantizer) -> QuantizerRecord:
    """Return the record that is spelled so; ValueError for steps that are none.

    Cached: it has thousands of numbers, and all archives of a model and a preset have the same.
    """
    if len(spelled.steps) % 2:
        raise ValueError(f"steps has {len(spelled.steps)} digits, an odd number")
    above = bytes.fromhex(spelled.steps)
    if min(above) != 0:
        raise ValueError("base is not the smallest exponent")
    return QuantizerRecord(spelled.quality, tuple(spelled.base + offset for offset in above))


@dataclass(frozen=True)
class SourceRecord(Checked):
    """What the source file was: facts for the user, for ``--as-source`` and for skipping."""

    name: Annotated[str, Text(1024)]  # base name; "" if it had none (standard input)
    sha256: Annotated[str, SHA256]  # of the whole file
    n_bytes: Annotated[int, Range(0, _INT64_MAX), Key("bytes")]
    # Since 1970; None: not a file, or a time that 64 bits cannot hold.
    mtime_ns: Annotated[int | None, Range(-_INT64_MAX, _INT64_MAX), Key("mtime")]
    container: _Facts  # "FLAC", "WAV", "MP3"
    codec: _Facts  # "PCM_24", "VORBIS"
    sample_rate: Annotated[int, Range(1, MAX_RATE), Key("rate")]  # Hz
    channels: Annotated[int, Range(1, 1024)]
    bit_depth: Annotated[int | None, Range(1, 64), Key("bits")]
    is_float: Annotated[bool, Key("float")]
    lossless: bool
    n_frames: Annotated[int, Range(0, 2**50), Key("frames")]  # that could be decoded
    downmix: _Facts  # "stereo", "mono-duplicated", "itu-r-bs775-5.1"
    truncated: Annotated[str | None, Text(1024)]  # why the file is taken to be cut short
    # Digest of the decoded samples: tells other tags from other sound. None: of an older earzip.
    sound: Annotated[str | None, Text(32, HEX), LEFT_OUT] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if "/" in self.name or "\0" in self.name or self.name in (".", ".."):
            raise ValueError(f"name is {self.name!r}, not a file name")


MAX_CHECK = 10**7
_CHECK_UNITS = 10_000
_Measure = Annotated[int | None, Range(-MAX_CHECK, MAX_CHECK), LEFT_OUT]


@dataclass(frozen=True)
class CheckRecord(Checked):
    """How near the decoded archive came to its source, in units of 10^-4 of the measures' own.

    All None where measures are not defined: for digital silence and a track of a few samples.
    """

    si_sdr_db: _Measure = None
    mel: _Measure = None
    stft: _Measure = None
    icpc: _Measure = None  # of 1
    ccpc: _Measure = None  # of 1
    dbtp: _Measure = None  # true peak, dB

    def __post_init__(self) -> None:
        super().__post_init__()
        missing = [name for name, value in vars(self).items() if value is None]
        if 0 < len(missing) < len(vars(self)):
            raise ValueError(f"{missing[0]} is missing")

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
