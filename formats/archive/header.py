"""The header of an archive: what a decoder and a user must know about the sound in it.

SPEC.md, "Header", lists its fields one by one under the names that they have in the JSON (the ``key``
of a field here).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from earzip.arrays import Symbols
from earzip.errors import DamagedArchiveError, UnsupportedArchiveError
from earzip.formats.archive.layout import MAX_SEGMENT_BYTES
from earzip.formats.archive.records import (
    CheckRecord,
    EncoderRecord,
    ModelRecord,
    QuantizerRecord,
    SourceRecord,
    SpelledQuantizer,
)
from earzip.formats.archive.shared import SharedPicture, require_shared
from earzip.formats.canonical_json import JsonValue, dump_canonical, load_canonical
from earzip.formats.checked import (
    HEX,
    LEFT_OUT,
    Checked,
    Key,
    OneOf,
    Range,
    Text,
    keys_of,
    read,
    write,
)
from earzip.formats.geometry import (
    MAX_CONTEXT_FRAMES,
    Geometry,
    clock,
    max_segment_bytes,
    n_samples_at,
)
from earzip.formats.symbols.coding import unpack
from earzip.formats.symbols.layout import CONTEXT, LEVELS, PACKED, SYMBOL_CODINGS

MAX_SAMPLES = 2**36  # 18 days at 44.1 kHz
MAX_GAIN_CENTIBELS = 1200
MAX_EDGE = 2**24
MIN_EDGED_SAMPLES = 64  # the edges of a shorter track would overlap
_Edge = Annotated[int, Range(-MAX_EDGE, MAX_EDGE)]
Edges = tuple[_Edge, _Edge, _Edge, _Edge]  # left and right of the first sample, then of the last

DROPPED = "dropped"
_PICTURES = re.compile(rf"{DROPPED}|fit-[1-9][0-9]{{0,4}}")

EXACT_FORMS = ("file", "flac")
"""How a track that is kept exactly is stored: as the source's own bytes, or its samples as FLAC."""


@dataclass(frozen=True)
class Header(Checked):
    """Everything an archive says of its sound. Raises `ValueError` if it contradicts itself."""

    encoder: EncoderRecord
    model: ModelRecord
    geometry: Geometry
    quantizer: QuantizerRecord
    symbols: Annotated[str, OneOf(SYMBOL_CODINGS)]
    gain_centibels: Annotated[
        int, Range(-MAX_GAIN_CENTIBELS, MAX_GAIN_CENTIBELS), Key("gain")
    ]  # before encoding, 0.1 dB
    n_samples: Annotated[int, Range(0, MAX_SAMPLES), Key("samples")]  # at geometry.sample_rate
    edges: Edges  # errors of the first and the last sample, 2 ** -16
    source: SourceRecord
    settings: Annotated[str, Text(64, HEX)]  # the encoder's digest of its options
    check: Annotated[CheckRecord | None, LEFT_OUT] = None  # None: not checked
    exact: Annotated[str | None, OneOf(EXACT_FORMS), LEFT_OUT] = None
    # What became of the source's pictures; None: they are as it had them.
    pictures: Annotated[str | None, Text(16, _PICTURES), LEFT_OUT] = None
    # Those of the tags' pictures that are not parts; None: all are.
    shared: Annotated[tuple[SharedPicture, ...] | None, LEFT_OUT] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        n_latents, n_steps = self.model.n_latents, len(self.quantizer.step_exponents)
        if n_steps != n_latents:
            raise ValueError(f"header has {n_steps} steps for {n_latents} latents")
        if self.max_segment_bytes > MAX_SEGMENT_BYTES:
            raise ValueError(
                f"segments of {n_latents} latents and {self.geometry.core} frames may take "
                f"{self.max_segment_bytes} bytes, the limit is {MAX_SEGMENT_BYTES}"
            )
        if self.symbols != PACKED and self.geometry.core > MAX_CONTEXT_FRAMES:
            raise ValueError(
                f"segments have {self.geometry.core} frames, the limit of {self.symbols} is "
                f"{MAX_CONTEXT_FRAMES}"
            )
        if self.n_samples < MIN_EDGED_SAMPLES and any(self.edges):
            raise ValueError(
                f"edges are not 0 for {self.n_samples} samples; only {MIN_EDGED_SAMPLES} have any"
            )
        if self.exact == "flac":
            self._require_flac()
        if self.shared is not None:
            require_shared(self.shared)
        # Also bounds what a small file can make --as-source write.
        rate = self.geometry.sample_rate
        expected = n_samples_at(self.source.n_frames, self.source.sample_rate, rate)
        if self.n_samples != expected:
            raise ValueError(
                f"header has {self.n_samples} samples at {rate} Hz, but {self.source.n_frames} "
                f"frames at {self.source.sample_rate} Hz make {expected}"
            )

    def _require_flac(self) -> None:
        """Refuse an exact copy as FLAC of what FLAC cannot hold."""
        source = self.source
        if not source.lossless or source.is_float or source.bit_depth is None:
            raise ValueError("exact is flac for samples that are lossy, floats or of unknown bits")
        for what, value, high in (
            ("bits", source.bit_depth, 32),
            ("channels", source.channels, 8),
            ("frames", source.n_frames, 2**36 - 1),
        ):
            if not 1 <= value <= high:
                raise ValueError(f"exact is flac for {value} {what}, expected 1 to {high}")

    @property
    def minor_version(self) -> int:
        """The oldest minor version of the format that has all that this header uses."""
        if self.shared is not None or self.pictures is not None:
            return 5
        if self.source.sound is not None:
            return 4
        if self.symbols == LEVELS:
            return 3
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

        Raises DamagedArchiveError for bytes that no writer writes.
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

    def segment_name(self, i: int) -> str:
        """Return which stretch of the track segment ``i`` is, as people tell it: ``0:24–0:48``."""
        g = self.geometry
        decimals = 0 if g.core * g.hop >= g.sample_rate else 2
        samples = (n * g.core * g.hop - g.lead for n in (i, i + 1))
        seconds = (min(max(n, 0), self.n_samples) / g.sample_rate for n in samples)
        return "–".join(clock(each, decimals) for each in seconds)

    def to_bytes(self) -> bytes:
        """Return the canonical JSON of this header; the inverse of `from_bytes`."""
        members = write(self)
        if (
            self.shared is not None
        ):  # a reader that knows nothing of it would take the tags for damaged
            members["critical"] = ["shared"]
        return dump_canonical(members, sort_keys=True)

    @classmethod
    def from_bytes(cls, data: bytes) -> Header:
        """Return the header that the canonical JSON ``data`` spells.

        Fields that this version does not know are ignored, unless the header calls them critical.
        Raises `UnsupportedArchiveError` or `DamagedArchiveError`, without a path.
        """
        try:
            members = load_canonical(data, sort_keys=True)
            critical: JsonValue = None
            if isinstance(members, dict):
                _refuse_unknown_critical(members)
                critical = members.get("critical")
            header = read(cls, members)
            if header.shared and not (isinstance(critical, list) and "shared" in critical):
                raise ValueError("shared is not critical")
            return header
        except ValueError as error:
            raise DamagedArchiveError(f"header is not valid: {error}") from error


_RECORDS = {
    "encoder": EncoderRecord,
    "model": ModelRecord,
    "geometry": Geometry,
    "quantizer": SpelledQuantizer,
    "source": SourceRecord,
    "check": CheckRecord,
}
_KNOWN = frozenset(
    ["critical", *keys_of(Header)]
    + [f"{name}.{key}" for name, cls in _RECORDS.items() for key in keys_of(cls)]
)
"""The names that ``critical`` may list."""


def _refuse_unknown_critical(members: dict[str, JsonValue]) -> None:
    """Refuse what can only be read by a later version of this format."""
    critical = members.get("critical", ["critical"])
    if type(critical) is not list or not critical:
        raise ValueError("critical is not a list of names")
    for name in critical:
        if type(name) is not str or name not in Text(128):
            raise ValueError("critical is not a list of names")
        if name not in _KNOWN:
            raise UnsupportedArchiveError(
                f"header field {name!r} needs a newer earzip: "
                "it is critical and unknown to this version"
            )
    for key, what, ours in (
        ("symbols", "symbol coding", SYMBOL_CODINGS),
        ("exact", "form of the exact copy", EXACT_FORMS),
    ):
        value = members.get(key)
        if type(value) is str and value not in ours:
            raise UnsupportedArchiveError(
                f"{what} {value!r} needs a newer earzip: this version reads {', '.join(ours)}"
            )
