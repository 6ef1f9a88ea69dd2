"""The header of an archive: what a decoder and a user must know about the sound in it.

SPEC.md, "Header", lists its fields one by one under the names that they have in the JSON (the ``key``
of a field here).
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from earzip.errors import DamagedArchiveError, UnsupportedArchiveError
from earzip.formats.archive_layout import MAX_SEGMENT_BYTES
from earzip.formats.canonical_json import JsonValue, dump_canonical, load_canonical
from earzip.formats.header_fields import (
    HEX,
    require_integer,
    require_member,
    require_members,
    require_text,
)
from earzip.formats.header_records import (
    QUANTIZER_KEYS,
    CheckRecord,
    EncoderRecord,
    GeometryRecord,
    ModelRecord,
    QuantizerRecord,
    SourceRecord,
)
from earzip.formats.limits import MAX_CONTEXT_FRAMES, max_segment_bytes
from earzip.formats.symbols.coding import CONTEXT, SYMBOL_CODINGS, Symbols, unpack

MAX_SAMPLES = 2**36  # 18 days at 44.1 kHz
MAX_EDGE = 2**24
Edges = tuple[int, int, int, int]  # left and right of the first sample, then of the last

EXACT_FORMS = ("file", "flac")
"""How a track that is kept exactly is stored: as the source's own bytes, or its samples as FLAC."""

_Record = TypeVar("_Record")


def samples_at(n_frames: int, rate: int, new_rate: int) -> int:
    """Return how many samples at ``new_rate`` a sound of ``n_frames`` at ``rate`` takes.

    Half a sample is rounded up. Integers only: exact for every length.
    """
    return (2 * n_frames * new_rate + rate) // (2 * rate)


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
        expected = samples_at(self.source.n_frames, self.source.sample_rate, rate)
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
    "geometry": GeometryRecord,
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
