"""What compressing, restoring and the like return about one file or shard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from earzip.results import kbps

Status = Literal["written", "up_to_date", "retagged", "repictured", "moved"]


@dataclass(frozen=True)
class CompressResult:
    """The result of compressing one source."""

    status: Status
    source: Path
    target: Path
    duration_s: float
    source_bytes: int
    archive_bytes: int
    picture_bytes: int
    shared_pictures: Mapping[str, int] = field(default_factory=dict)
    """The size of each file beside the archive that holds a picture of it, by its path."""
    exact_bytes: int = 0
    """Of the exact copy of the source; 0 without one."""
    measures: Mapping[str, float] | None = None
    """Of the coded sound against the source, by the names of `earzip.metrics.measures.Measures`; None if
    it was not checked, or has none."""
    below_floor: tuple[str, ...] = ()
    """The measures below the requested floor, in a few words each."""
    truncated: str | None = None
    """Why the source is taken to be cut short; it was archived as far as it decodes."""
    source_checksums: Literal["right", "wrong"] | None = None
    """Whether the checksums in the source fit its sound; None if it has none, or was not read."""
    warnings: tuple[str, ...] = ()

    @property
    def kbps(self) -> float:
        """Kilobits per second of everything but pictures; 0 for an empty track."""
        return kbps(self.archive_bytes - self.picture_bytes, self.duration_s)


@dataclass(frozen=True)
class RestoreResult:
    """The result of restoring one archive."""

    status: Status
    archive: Path
    target: Path
    duration_s: float
    n_samples: int
    """Frames of the restored file at its own rate."""
    n_overs: int = 0
    """Samples beyond full scale: saturated in integer output, kept in float."""
    exact: bool = False
    """Whether the sound is that of the exact copy of the source."""
    lost_exact: bool = False
    """The exact copy is damaged: the sound is the coded one."""
    lost_segments: tuple[int, ...] = ()
    """Damaged segments that the restored range is a part of: silence."""
    silences: tuple[str, ...] = ()
    """Which stretches of the track those are, for people."""
    lost_pictures: tuple[int, ...] = ()
    """Which of the source's pictures are damaged and left out."""
    missing_pictures: tuple[str, ...] = ()
    """Names of files with pictures that the archive shares, which are not beside it; left out too."""
    lost_tags: bool = False
    """All tags and pictures are left out: the archive's tag part is damaged."""
    wrong_length: str | None = None
    """What is wrong with the archive's length, if bytes were cut off or added."""
    tag_losses: tuple[str, ...] = ()
    """What the format of the restored file cannot carry."""
    tracks: tuple[Path, ...] = ()
    """The files in ``target``, a directory, if the archive was split."""
    warnings: tuple[str, ...] = ()

    @property
    def is_incomplete(self) -> bool:
        """Whether the archive is damaged, or lacks pictures, which has cost sound, tags or pictures."""
        lost = self.lost_segments or self.lost_pictures or self.lost_tags or self.lost_exact
        return bool(lost or self.missing_pictures or self.wrong_length)


@dataclass(frozen=True)
class LatentsResult:
    """The result of extracting the latents of one archive."""

    status: Status
    archive: Path
    target: Path
    n_latents: int
    n_frames: int


@dataclass(frozen=True)
class ShardResult:
    """The result of writing one shard of training data."""

    status: Status
    target: Path
    n_tracks: int
    n_frames: int
    duration_s: float
    shard_bytes: int
    left_out: tuple[str, ...] = ()
    """A sentence for each archive that is not in it because it is damaged."""


@dataclass(frozen=True)
class DecodeResult:
    """The result of decoding the latents in a file."""

    source: Path
    target: Path
    duration_s: float
    n_samples: int
    n_overs: int
    """Samples beyond full scale: saturated in integer output, kept in float."""
