"""How long files take, of what can be told without opening them."""

from __future__ import annotations

from collections.abc import Iterable

from earzip.batch.plan import Job
from earzip.formats.names import ARCHIVE_SUFFIX


def longest_first(jobs: Iterable[Job]) -> list[Job]:
    """Return ``jobs``, longest first, so that several processes finish at about the same time.

    Durations are estimated from size and kind: opening every file would cost more.
    """
    return sorted(jobs, key=estimated_s, reverse=True)


def estimated_s(job: Job) -> float:
    """Return the estimated duration of a file in seconds, from its size and kind."""
    return job.n_bytes / _BYTES_A_SECOND.get(job.source.suffix.lower(), _LOSSY_BYTES_A_SECOND)


_LOSSY_BYTES_A_SECOND = 30_000  # 240 kbit/s, typical of libraries
_BYTES_A_SECOND = {
    **dict.fromkeys((".wav", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64"), 176_400),
    **dict.fromkeys((".flac", ".ape", ".wv"), 110_000),
    **dict.fromkeys((".dsf", ".dff"), 705_600),
    ARCHIVE_SUFFIX: 1_500,
}
