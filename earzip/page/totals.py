"""What the tracks of a page come to: sums, ratios, and how rates and lengths are spread."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from earzip.page.facts import TrackFacts

_MIN_BINS, _MAX_BINS = 8, 24
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_SHORTEST_RATED_S = 1.0  # below a second most of an archive is overhead


def library_totals(tracks: Sequence[TrackFacts]) -> dict[str, Any]:
    """Return the totals as a JSON-able dictionary; names carry their units, sizes are in bytes.

    ``kbps`` is all bits but those of pictures over all seconds. Ratios say how many times smaller
    the archives are: ``source_ratio`` than the source files, pictures in both; ``wav_ratio`` than
    16-bit 44.1 kHz stereo WAV, pictures in neither. They are None where there is nothing to divide.
    """
    duration_s = sum(track.duration_s for track in tracks)
    archive_bytes = sum(track.archive_bytes for track in tracks)
    picture_bytes = sum(track.picture_bytes for track in tracks)
    source_bytes = sum(track.source_bytes for track in tracks)
    wav_bytes = sum(track.wav_bytes for track in tracks)
    bare_bytes = archive_bytes - picture_bytes
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
