"""The header of an archive: what a decoder and a user must know about the sound in it.

Each record checks its own fields when it is made, by whomever; SPEC.md, "Header", lists them one
by one under the names that they have in the JSON (the ``key`` of a field here).
"""

from __future__ import annotations

import os
import re
import reprlib
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from earzip.errors import DamagedArchiveError, UnsupportedArchiveError
from earzip.formats.archive_layout import MAX_SEGMENT_BYTES
from earzip.formats.canonical_json import JsonValue, dump_canonical, load_canonical
from earzip.formats.limits import (
    MAX_CONTEXT_FRAMES,
    MAX_EXPONENT,
    MAX_EXPONENT_SPREAD,
    MAX_LATENTS,
    max_segment_bytes,
)
from earzip.formats.symbols import CONTEXT, SYMBOL_CODINGS, Symbols, unpack

MAX_SAMPLES = 2**36  # 18 days at 44.1 kHz
MAX_EDGE = 2**24
Edges = tuple[int, int, int, int]  # left and right of the first sample, then of the last

_ASCII = re.compile(r"[ -~]+")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HEX = re.compile(r"[0-9a-f]+")
_INT64_MAX = 2**63 - 1

_Record = TypeVar("_Record")


def samples_at(n_frames: int, rate: int, new_rate: int) -> int:
    """Return how many samples at ``new_rate`` a sound of ``n_frames`` at ``rate`` takes.

    Half a sample is rounded up. Integers only: exact for every length.
    """
    return (2 * n_frames * new_rate + rate) // (2 * rate)


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
            _require_text(f"encoder.{key}", getattr(self, key), 64, _ASCII)


@dataclass(frozen=True)
class ModelRecord:
    """The model whose decoder the archive needs."""

    name: str
    sha256: str  # of weights and configuration, hexadecimal
    n_latents: int = field(metadata={"key": "latents"})  # D

    def __post_init__(self) -> None:
        _require_text("model.name", self.name, 64, _WORD)
        _require_sha256("model.sha256", self.sha256)
        _require_integer("model.latents", self.n_latents, 1, MAX_LATENTS)


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
        _require_integer("geometry.rate", self.sample_rate, 1, 768_000)
        _require_integer("geometry.hop", self.hop, 1, 65_536)
        _require_integer("geometry.lead", self.lead, 0, 2**20)
        _require_integer("geometry.core", self.core, 1, 65_536)
        _require_integer("geometry.encoder_context", self.encoder_context, 0, 65_536)
        _require_integer("geometry.decoder_context", self.decoder_context, 0, 65_536)


@dataclass(frozen=True)
class QuantizerRecord:
    """The preset's name and the step of each latent channel, 2 ** (exponent / 16).

    In the JSON the exponents are two hexadecimal digits each, above the smallest of them (the
    ``base``): that is half as long as a list once it is compressed.
    """

    quality: str
    step_exponents: tuple[int, ...]  # length D, within 255 of each other

    def __post_init__(self) -> None:
        _require_text("quantizer.quality", self.quality, 32, _WORD)
        if not self.step_exponents:
            raise ValueError("header field quantizer.steps is empty")
        for exponent in self.step_exponents:
            _require_integer("quantizer.steps", exponent, -MAX_EXPONENT, MAX_EXPONENT)
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
        members = _members("quantizer", value)
        quality, base, steps = (_member("quantizer", members, k) for k in _QUANTIZER_KEYS)
        _require_integer("quantizer.base", base, -MAX_EXPONENT, MAX_EXPONENT)
        _require_text("quantizer.steps", steps, 2 * MAX_LATENTS, _HEX)
        if len(steps) % 2:
            raise ValueError(f"header field quantizer.steps has {len(steps)} digits, an odd number")
        above = bytes.fromhex(steps)
        if min(above) != 0:
            raise ValueError("header field quantizer.base is not the smallest exponent")
        return cls(quality, tuple(base + offset for offset in above))


_QUANTIZER_KEYS = ("quality", "base", "steps")


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
        _require_text("source.name", self.name, 1024)
        if "/" in self.name or "\0" in self.name or self.name in (".", ".."):
            raise ValueError(f"header field source.name is {self.name!r}, not the name of a file")
        _require_sha256("source.sha256", self.sha256)
        _require_integer("source.bytes", self.n_bytes, 0, _INT64_MAX)
        if self.mtime_ns is not None:
            _require_integer("source.mtime", self.mtime_ns, -_INT64_MAX, _INT64_MAX)
        for key in ("container", "codec", "downmix"):
            _require_text(f"source.{key}", getattr(self, key), 64, _ASCII)
        _require_integer("source.rate", self.sample_rate, 1, 768_000)
        _require_integer("source.channels", self.channels, 1, 1024)
        if self.bit_depth is not None:
            _require_integer("source.bits", self.bit_depth, 1, 64)
        _require_boolean("source.float", self.is_float)
        _require_boolean("source.lossless", self.lossless)
        _require_integer("source.frames", self.n_frames, 0, 2**50)
        if self.truncated is not None:
            _require_text("source.truncated", self.truncated, 1024)


@dataclass(frozen=True)
class Header:
    """Everything an archive says of its sound. Raises `ValueError` if it contradicts itself."""

    encoder: EncoderRecord
    model: ModelRecord
    geometry: GeometryRecord
    quantizer: QuantizerRecord
    symbols: str  # one of `SYMBOL_CODINGS`
    gain_centibels: int = field(metadata={"key": "gain"})  # applied before encoding, 0.1 dB
    n_samples: int = field(metadata={"key": "samples"})  # at geometry.sample_rate
    edges: Edges  # errors of the first and the last sample, 2 ** -16
    source: SourceRecord
    settings: str  # the encoder's digest of its options, hexadecimal

    def __post_init__(self) -> None:
        if self.symbols not in SYMBOL_CODINGS:
            raise ValueError(f"header field symbols is {self.symbols!r}")
        _require_integer("gain", self.gain_centibels, -1200, 1200)
        _require_integer("samples", self.n_samples, 0, MAX_SAMPLES)
        if len(self.edges) != 4:
            raise ValueError(f"header field edges has {len(self.edges)} numbers, expected 4")
        for error in self.edges:
            _require_integer("edges", error, -MAX_EDGE, MAX_EDGE)
        _require_text("settings", self.settings, 64, _HEX)
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
        expected = samples_at(self.source.n_frames, self.source.sample_rate, rate)
        if self.n_samples != expected:
            raise ValueError(
                f"header has {self.n_samples} samples at {rate} Hz, but {self.source.n_frames} "
                f"frames at {self.source.sample_rate} Hz make {expected}"
            )

    @property
    def minor_version(self) -> int:
        """The oldest minor version of the format that has all that this header uses."""
        return 1 if self.symbols == CONTEXT else 0

    @property
    def n_frames(self) -> int:
        """Frames of latents: lead, samples and lead again in hops, the last one filled up."""
        if not self.n_samples:
            return 0
        return -(-(self.n_samples + 2 * self.geometry.lead) // self.geometry.hop)

    @property
    def n_segments(self) -> int:
        """Segments: all of ``geometry.core`` frames but the last, which has the rest."""
        return -(-self.n_frames // self.geometry.core)

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
        return min(self.geometry.core, self.n_frames - i * self.geometry.core)

    def to_bytes(self) -> bytes:
        """Return the canonical JSON of this header; the inverse of `from_bytes`."""
        members = _to_json(self)
        members["quantizer"] = self.quantizer.to_json()
        members["edges"] = list(self.edges)
        return dump_canonical(members, sort_keys=True)

    @classmethod
    def from_bytes(cls, data: bytes) -> Header:
        """Return the header that the canonical JSON ``data`` spells.

        Fields that this version does not know are ignored, unless the header calls them critical.
        Raises `UnsupportedArchiveError` or `DamagedArchiveError`, without a path.
        """
        try:
            members = _members("header", load_canonical(data, sort_keys=True))
            _refuse_unknown_critical(members)
            return _from_json(cls, "", members)
        except ValueError as error:
            raise DamagedArchiveError(f"header is not valid: {error}") from error


_RECORDS: dict[str, Any] = {
    "encoder": EncoderRecord,
    "model": ModelRecord,
    "geometry": GeometryRecord,
    "source": SourceRecord,
}


def _refuse_unknown_critical(members: dict[str, JsonValue]) -> None:
    """Refuse what can only be read by a later version of this format."""
    critical = members.get("critical", ["critical"])
    if type(critical) is not list or not critical:
        raise ValueError("header field critical is not a list of names")
    known = {"critical", *_keys(Header).values()}
    known |= {f"{name}.{key}" for name, cls in _RECORDS.items() for key in _keys(cls).values()}
    known |= {f"quantizer.{key}" for key in _QUANTIZER_KEYS}
    for name in critical:
        _require_text("critical", name, 128)
        if name not in known:
            raise UnsupportedArchiveError(
                f"header field {name!r} needs a newer earzip: "
                "it is critical and unknown to this one"
            )
    symbols = members.get("symbols")
    if type(symbols) is str and symbols not in SYMBOL_CODINGS:
        raise UnsupportedArchiveError(
            f"symbol coding {symbols!r} needs a newer earzip: this one reads "
            f"{', '.join(SYMBOL_CODINGS)}"
        )


def _keys(cls: Any) -> dict[str, str]:
    """Return for each attribute of a record class its name in the JSON."""
    return {f.name: f.metadata.get("key", f.name) for f in fields(cls)}


def _to_json(record: Any) -> dict[str, JsonValue]:
    members: dict[str, JsonValue] = {}
    for name, key in _keys(type(record)).items():
        value = getattr(record, name)
        members[key] = _to_json(value) if name in _RECORDS else value
    return members


def _from_json(cls: type[_Record], where: str, value: JsonValue) -> _Record:
    members = _members(where, value)
    arguments: dict[str, Any] = {}
    for name, key in _keys(cls).items():
        member = _member(where, members, key)
        if name in _RECORDS:
            member = _from_json(_RECORDS[name], name, member)
        elif name == "quantizer":
            member = QuantizerRecord.from_json(member)
        elif name == "edges":
            if not isinstance(member, list):
                raise ValueError("header field edges is not a list")
            member = tuple(member)
        arguments[name] = member
    return cls(**arguments)


def _members(where: str, value: JsonValue) -> dict[str, JsonValue]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not a JSON object")
    return value


def _member(where: str, members: dict[str, JsonValue], key: str) -> Any:
    if key not in members:
        raise ValueError(f"header has no field {f'{where}.{key}'.lstrip('.')}")
    return members[key]


def _require_integer(key: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        found = reprlib.repr(value)
        raise ValueError(f"header field {key} is {found}, expected an integer {low} to {high}")


def _require_boolean(key: str, value: object) -> None:
    if type(value) is not bool:
        raise ValueError(f"header field {key} is {reprlib.repr(value)}, expected true or false")


def _require_text(
    key: str, value: object, max_bytes: int, pattern: re.Pattern[str] | None = None
) -> None:
    if type(value) is not str or len(value.encode("utf-8")) > max_bytes:
        raise ValueError(f"header field {key} is not text of at most {max_bytes} bytes")
    if pattern is not None and not pattern.fullmatch(value):
        found = reprlib.repr(value)
        raise ValueError(f"header field {key} is {found}, expected {pattern.pattern}")


def _require_sha256(key: str, value: object) -> None:
    _require_text(key, value, 64, _HEX)
    if len(str(value)) != 64:
        raise ValueError(f"header field {key} has {len(str(value))} digits, expected 64")
