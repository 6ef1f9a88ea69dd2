"""The header of an archive: what a decoder and a user must know about the sound in it.

SPEC.md, "Header", lists its fields one by one under the names that they have in the JSON (the ``key``
of a field here).
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, TypeVar

from earzip.arrays import Symbols
from earzip.errors import DamagedArchiveError, UnsupportedArchiveError
from earzip.formats.archive.layout import MAX_SEGMENT_BYTES
from earzip.formats.canonical_json import JsonValue, dump_canonical, load_canonical
from earzip.formats.checked import (
    HEX,
    require_boolean,
    require_integer,
    require_member,
    require_members,
    require_sha256,
    require_text,
)
from earzip.formats.geometry import (
    MAX_CONTEXT_FRAMES,
    MAX_EXPONENT,
    MAX_EXPONENT_SPREAD,
    MAX_LATENTS,
    MAX_RATE,
    Geometry,
    max_segment_bytes,
    n_samples_at,
)
from earzip.formats.symbols.coding import CONTEXT, SYMBOL_CODINGS, unpack

_ASCII = re.compile(r"[ -~]+")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_INT64_MAX = 2**63 - 1


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
        require_integer("source.rate", self.sample_rate, 1, MAX_RATE)
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


MAX_SAMPLES = 2**36  # 18 days at 44.1 kHz
MAX_EDGE = 2**24
Edges = tuple[int, int, int, int]  # left and right of the first sample, then of the last

EXACT_FORMS = ("file", "flac")
"""How a track that is kept exactly is stored: as the source's own bytes, or its samples as FLAC."""

_Record = TypeVar("_Record")


@dataclass(frozen=True)
class Header:
    """Everything an archive says of its sound. Raises `ValueError` if it contradicts itself."""

    encoder: EncoderRecord
    model: ModelRecord
    geometry: Geometry
    quantizer: QuantizerRecord
    symbols: str  # one of `SYMBOL_CODINGS`
    gain_centibels: int = field(metadata={"key": "gain"})  # applied before encoding, 0.1 dB
    n_samples: int = field(metadata={"key": "samples"})  # at geometry.sample_rate
    edges: Edges  # errors of the first and the last sample, 2 ** -16
    source: SourceRecord
    settings: str  # the encoder's digest of its options, hexadecimal
    check: CheckRecord | None = field(
        default=None, metadata={"optional": True}
    )  # None: not checked
    exact: str | None = field(default=None, metadata={"optional": True})  # one of `EXACT_FORMS`

    def __post_init__(self) -> None:
        if self.symbols not in SYMBOL_CODINGS:
            raise ValueError(f"header field symbols is {self.symbols!r}")
        require_integer("gain", self.gain_centibels, -1200, 1200)
        require_integer("samples", self.n_samples, 0, MAX_SAMPLES)
        if len(self.edges) != 4:
            raise ValueError(f"header field edges has {len(self.edges)} numbers, expected 4")
        for error in self.edges:
            require_integer("edges", error, -MAX_EDGE, MAX_EDGE)
        require_text("settings", self.settings, 64, HEX)
        if self.exact not in (None, *EXACT_FORMS):
            raise ValueError(f"header field exact is {reprlib.repr(self.exact)}")
        n_latents, n_steps = self.model.n_latents, len(self.quantizer.step_exponents)
        if n_steps != n_latents:
            raise ValueError(f"header has {n_steps} steps for {n_latents} latents")
        if self.max_segment_bytes > MAX_SEGMENT_BYTES:
            raise ValueError(
                f"segments of {n_latents} latents and {self.geometry.core} frames may take "
                f"{self.max_segment_bytes} bytes, the limit is {MAX_SEGMENT_BYTES}"
            )
        if self.symbols == CONTEXT and self.geometry.core > MAX_CONTEXT_FRAMES:
            raise ValueError(
                f"segments of {self.geometry.core} frames are more than {CONTEXT} takes, "
                f"{MAX_CONTEXT_FRAMES}"
            )
        # Also bounds what a small file can make --as-source write.
        rate = self.geometry.sample_rate
        expected = n_samples_at(self.source.n_frames, self.source.sample_rate, rate)
        if self.n_samples != expected:
            raise ValueError(
                f"header has {self.n_samples} samples at {rate} Hz, but {self.source.n_frames} "
                f"frames at {self.source.sample_rate} Hz make {expected}"
            )

    @property
    def minor_version(self) -> int:
        """The oldest minor version of the format that has all that this header uses."""
        if self.check is not None or self.exact is not None:
            return 2
        return 1 if self.symbols == CONTEXT else 0

    @property
    def n_frames(self) -> int:
        """Frames of latents."""
        return self.geometry.n_frames(self.n_samples)

    @property
    def n_segments(self) -> int:
        """Segments: all of ``geometry.core`` frames but the last, which has the rest."""
        return self.geometry.n_segments(self.n_samples)

    @property
    def duration_s(self) -> float:
        """How long the sound is, in seconds."""
        return self.n_samples / self.geometry.sample_rate

    def unpack_segment(self, raw: bytes, number: int) -> Symbols:
        """Return the integers ``[D, F]`` of segment ``number``, whose decompressed bytes are ``raw``.

        Raises DamagedArchiveError where they are not what a writer could have written.
        """
        return unpack(raw, self.symbols, self.model.n_latents, self.segment_frames(number))

    @property
    def max_segment_bytes(self) -> int:
        """The most bytes that a segment may decompress to."""
        return max_segment_bytes(self.model.n_latents, self.geometry.core)

    def segment_frames(self, i: int) -> int:
        """Return how many frames segment ``i`` holds."""
        core = self.geometry.core
        return min(core, self.n_frames - i * core)

    def to_bytes(self) -> bytes:
        """Return the canonical JSON of this header; the inverse of `from_bytes`."""
        members = _to_json(self)
        members["quantizer"] = self.quantizer.to_json()
        members["edges"] = list(self.edges)
        if self.check is not None:
            members["check"] = self.check.to_json()
        return dump_canonical(members, sort_keys=True)

    @classmethod
    def from_bytes(cls, data: bytes) -> Header:
        """Return the header that the canonical JSON ``data`` spells.

        Fields that this version does not know are ignored, unless the header calls them critical.
        Raises `UnsupportedArchiveError` or `DamagedArchiveError`, without a path.
        """
        try:
            members = require_members("header", load_canonical(data, sort_keys=True))
            _refuse_unknown_critical(members)
            return _from_json(cls, "", members)
        except ValueError as error:
            raise DamagedArchiveError(f"header is not valid: {error}") from error


_RECORDS: dict[str, Any] = {
    "encoder": EncoderRecord,
    "model": ModelRecord,
    "geometry": Geometry,
    "source": SourceRecord,
}
# Of each class, looked up once: a batch reads headers by the thousand.
_KEYS: Mapping[Any, Mapping[str, str]] = {
    cls: {f.name: f.metadata.get("key", f.name) for f in fields(cls)}
    for cls in (Header, *_RECORDS.values())
}
"""For each attribute of a record class its name in the JSON."""
_OPTIONAL: Mapping[Any, frozenset[str]] = {
    cls: frozenset(f.name for f in fields(cls) if f.metadata.get("optional")) for cls in _KEYS
}
"""The attributes of a record class that the JSON lacks where they are None."""
_KNOWN = frozenset(
    {
        "critical",
        *_KEYS[Header].values(),
        *(f"{name}.{key}" for name, cls in _RECORDS.items() for key in _KEYS[cls].values()),
        *(f"quantizer.{key}" for key in QUANTIZER_KEYS),
        *(f"check.{each.name}" for each in fields(CheckRecord)),
    }
)
"""The names that ``critical`` may list."""


def _refuse_unknown_critical(members: dict[str, JsonValue]) -> None:
    """Refuse what can only be read by a later version of this format."""
    critical = members.get("critical", ["critical"])
    if type(critical) is not list or not critical:
        raise ValueError("header field critical is not a list of names")
    for name in critical:
        require_text("critical", name, 128)
        if name not in _KNOWN:
            raise UnsupportedArchiveError(
                f"header field {name!r} needs a newer earzip: "
                "it is critical and unknown to this one"
            )
    for key, what, ours in (
        ("symbols", "symbol coding", SYMBOL_CODINGS),
        ("exact", "form of the exact copy", EXACT_FORMS),
    ):
        value = members.get(key)
        if type(value) is str and value not in ours:
            raise UnsupportedArchiveError(
                f"{what} {value!r} needs a newer earzip: this one reads {', '.join(ours)}"
            )


def _to_json(record: Any) -> dict[str, JsonValue]:
    members: dict[str, JsonValue] = {}
    optional = _OPTIONAL[type(record)]
    for name, key in _KEYS[type(record)].items():
        value = getattr(record, name)
        if value is not None or name not in optional:
            members[key] = _to_json(value) if name in _RECORDS else value
    return members


def _from_json(cls: type[_Record], where: str, value: JsonValue) -> _Record:
    members = require_members(where, value)
    arguments: dict[str, Any] = {}
    optional = _OPTIONAL[cls]
    for name, key in _KEYS[cls].items():
        if name in optional and key not in members:
            continue
        member = require_member(where, members, key)
        if name in optional and member is None:
            raise ValueError(f"header field {key} is null, expected none at all")
        if name in _RECORDS:
            member = _from_json(_RECORDS[name], name, member)
        elif name == "quantizer":
            member = QuantizerRecord.from_json(member)
        elif name == "check":
            member = CheckRecord.from_json(member)
        elif name == "edges":
            if not isinstance(member, list):
                raise ValueError("header field edges is not a list")
            member = tuple(member)
        arguments[name] = member
    return cls(**arguments)
