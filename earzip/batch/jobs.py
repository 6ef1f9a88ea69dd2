"""The jobs of a run, the files that it leaves out, and how long a job may take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from earzip.batch.remote import Remote
from earzip.formats.names import ARCHIVE_SUFFIX
from earzip.results import FileRecord, FileStatus


@dataclass(frozen=True, slots=True)  # there may be a million
class Job:
    """One file to work on. ``target`` is None for commands that write nothing."""

    source: Path
    target: Path | None
    n_bytes: int
    source_name: str | None = None
    """The source's name if its file has another: standard input is a temporary file."""
    found: tuple[Path, ...] = ()
    """Archives elsewhere that may be of this source, if it was moved."""
    remote: Remote | None = None
    """What of it is in a store: `source`, `target` and `found` only stand in for that."""


@dataclass(frozen=True)
class OtherFile:
    """A file that the command skips, and why; ``target``: where a copy would go."""

    source: Path
    target: Path | None
    reason: str


@dataclass
class Plan:
    """A run: the jobs in order, the other files, and refused files."""

    jobs: list[Job] = field(default_factory=list)
    other_files: list[OtherFile] = field(default_factory=list)
    refused: list[FileRecord] = field(default_factory=list)
    beforehand: list[FileRecord] = field(default_factory=list)
    """What was done before the jobs begin, or in a dry run would be."""

    def refuse(self, source: Path, message: str, target: Path | None = None) -> None:
        """Record ``source`` as failed."""
        self.refused.append(FileRecord(FileStatus.FAILED, source, target, message))


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
