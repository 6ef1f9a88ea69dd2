"""What an archive says of its track, in the form in which the page shows it; no network, no torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.geometry import SAMPLE_RATE
from earzip.transcode.inspect import ArchiveInfo, read_info
from earzip.transcode.pictures import shared_pictures_of

_WAV_HEADER_BYTES = 44
_FRONT_COVER = 3
_MIN_BINS, _MAX_BINS = 8, 24
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_SHORTEST_RATED_S = 1.0  # below a second most of an archive is overhead


@dataclass(frozen=True)
class CoverKey:
    """Which stored picture is a track's cover; equal keys are the same image."""

    part: int
    """Number of the picture part, for `earzip.formats.archive.reader.ArchiveReader.picture`."""
    checksum: bytes
    n_bytes: int

    @property
    def image(self) -> tuple[bytes, int]:
        """What tells this image from others, whatever archive it is in."""
        return self.checksum, self.n_bytes


@dataclass(frozen=True)
class TrackFacts:
    """One track: its tags, sizes and origin. Text comes from tags and is not to be trusted."""

    path: Path
    tags: Mapping[str, tuple[str, ...]]
    """Vorbis-like lower-case names, every value."""
    duration_s: float
    kbps: float
    archive_bytes: int
    picture_bytes: int
    source: Mapping[str, Any]
    """The fields of `earzip.formats.archive.records.SourceRecord`."""
    model: str
    model_sha256: str
    quality: str
    """Of the coded sound; and that there is an exact copy beside it."""
    encoder: str
    """The program, its version and arithmetic in words."""
    gain_db: float
    check: Mapping[str, float] | None
    """Measures that were taken when the archive was made, by `QualityMeter`'s names."""
    exact_bytes: int
    """The size of the exact copy of the source that the archive holds; 0 for none."""
    cover: CoverKey | None
    shared_pictures: Mapping[str, int] = field(default_factory=dict)
    """The size of each file beside the archive that holds a picture of it, by its path."""

    @property
    def source_bytes(self) -> int:
        """The size of the source file, pictures and all."""
        n_bytes: int = self.source["n_bytes"]
        return n_bytes

    @property
    def wav_bytes(self) -> int:
        """The size that a WAV file of the track would have: 16 bit, 44.1 kHz, stereo."""
        return _WAV_HEADER_BYTES + 4 * round(self.duration_s * SAMPLE_RATE)

    def tag(self, name: str) -> str:
        """Return the values of one tag, joined; "" for none."""
        return ", ".join(self.tags.get(name, ()))


def read_facts(path: Path) -> TrackFacts:
    """Return the facts of the archive at ``path``. Raises as `inspect.read_info` does."""
    info = read_info(path)
    header = info.header
    encoder = header.encoder
    return TrackFacts(
        path=path,
        tags=_fields(info),
        duration_s=header.duration_s,
        kbps=info.kbps,
        archive_bytes=info.sizes.total,
        picture_bytes=info.sizes.pictures,
        shared_pictures=shared_pictures_of(header, path),
        source=dict(vars(header.source)),
        model=header.model.name,
        model_sha256=header.model.sha256,
        quality=header.quantizer.quality + (" + exact copy" if header.exact else ""),
        encoder=f"{encoder.name} {encoder.version}, torch {encoder.torch}, "
        f"{encoder.device} {encoder.dtype}",
        gain_db=header.gain_centibels / 10,
        check=header.check.measures if header.check else None,
        exact_bytes=info.sizes.exact,
        cover=_cover(path, info),
    )


def _fields(info: ArchiveInfo) -> dict[str, tuple[str, ...]]:
    """Return the neutral tags."""
    fields: Any = info.tags.payload.get("fields", {}) if info.tags else {}
    return {name: tuple(values) for name, values in fields.items()}


def _cover(path: Path, info: ArchiveInfo) -> CoverKey | None:
    """Return the front cover, or else the first picture."""
    if info.tags is None or not info.tags.pictures:
        return None
    described: Any = info.tags.payload["pictures"]
    types = [entry["type"] for entry in described]
    chosen = types.index(_FRONT_COVER) if _FRONT_COVER in types else 0
    part = info.tags.pictures[chosen]
    with ArchiveReader(path) as reader:
        return CoverKey(part, reader.picture_checksum(part), info.picture_bytes[chosen])


def library_totals(tracks: Sequence[TrackFacts]) -> dict[str, Any]:
    """Return the totals as a JSON-able dictionary; names carry their units, sizes are in bytes.

    ``kbps`` is all bits but those of pictures over all seconds. Ratios say how many times smaller
    the archives are: ``source_ratio`` than the source files, pictures in both; ``wav_ratio`` than
    16-bit 44.1 kHz stereo WAV, pictures in neither. They are None where there is nothing to divide.
    """
    duration_s = sum(track.duration_s for track in tracks)
    # A picture that several share counts once.
    shared = {path: n for track in tracks for path, n in track.shared_pictures.items()}
    bare_bytes = sum(track.archive_bytes - track.picture_bytes for track in tracks)
    archive_bytes = sum(track.archive_bytes for track in tracks) + sum(shared.values())
    source_bytes = sum(track.source_bytes for track in tracks)
    wav_bytes = sum(track.wav_bytes for track in tracks)
    lengths = [track.duration_s for track in tracks]
    return {
        "n_tracks": len(tracks),
        "duration_s": duration_s,
        "source_bytes": source_bytes,
        "archive_bytes": archive_bytes,
        "bare_bytes": bare_bytes,
        "exact_bytes": sum(track.exact_bytes for track in tracks),
        "wav_bytes": wav_bytes,
        "source_ratio": source_bytes / archive_bytes if archive_bytes else None,
        "wav_ratio": wav_bytes / bare_bytes if bare_bytes else None,
        "kbps": 8 * bare_bytes / duration_s / 1000 if duration_s else None,
        "shortest_s": min(lengths, default=None),
        "median_s": median(lengths) if lengths else None,
        "longest_s": max(lengths, default=None),
        "qualities": _counted(f"{track.model} {track.quality}" for track in tracks),
        "sources": _counted(str(track.source["container"]) for track in tracks),
        "histogram": rate_histogram(
            [track.kbps for track in tracks if track.duration_s >= _SHORTEST_RATED_S]
        ),
    }


def _counted(names: Iterable[str]) -> list[tuple[str, int]]:
    """Return each name with how often it comes, the most frequent first."""
    return sorted(Counter(names).items(), key=lambda item: (-item[1], item[0]))


def rate_histogram(kbps: Sequence[float]) -> dict[str, Any] | None:
    """Return how many rates are in each of at most 24 bins of a round width; None for no rates.

    ``counts[i]`` of them are in ``[first + i·step, first + (i + 1)·step)`` kbps. Rates beyond four
    times the median, of tracks that are hardly longer than their tags, are in the last bin, and
    ``open_end`` is true.
    """
    if not kbps:
        return None
    limit = 4 * median(kbps)
    highest = min(max(kbps), limit)
    lowest = min(kbps)
    most = min(_MAX_BINS, max(_MIN_BINS, round(2 * math.sqrt(len(kbps)))))
    step = next((s for s in _STEPS if (highest - lowest) / s < most - 1), _STEPS[-1])
    first = math.floor(lowest / step)
    n_bins = min(_MAX_BINS, math.floor(highest / step) - first + 1)
    counts = [0] * n_bins
    for rate in kbps:
        counts[min(n_bins - 1, math.floor(rate / step) - first)] += 1
    return {
        "first": first * step,
        "step": step,
        "counts": counts,
        "open_end": max(kbps) > limit,
    }
