"""What an archive says of its track: tags, and a few facts; a line of `earzip list`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from earzip.batch.events import Reads, Work
from earzip.batch.jobs import Job
from earzip.results import FileRecord, FileStatus, Progress, kbps
from earzip.runtime import Placement
from earzip.tasks.always import AlwaysToDo


@dataclass(frozen=True)
class Track:
    """The facts of an archive by which tracks are listed and found."""

    duration_s: float
    source_bytes: int
    archive_bytes: int
    picture_bytes: int
    shared_pictures: Mapping[str, int]
    """The size of each file beside the archive that holds a picture of it, by its path."""
    kbps: float
    """Of everything but the pictures."""
    quality: str
    model: str
    format: Sequence[str]
    """Container and codec of the source."""
    name: str
    """The source's; empty if it had none."""
    fields: Mapping[str, Sequence[str]]
    """All values of each tag, by its name in lower case."""


def read_track(path: Path) -> Track:
    """Return the facts of an archive; neither sound nor pictures are read. Raises `ArchiveError`."""
    from earzip.formats.archive.reader import ArchiveReader  # noqa: PLC0415  # loads numpy
    from earzip.transcode.pictures import shared_pictures_of  # noqa: PLC0415

    with ArchiveReader(path) as reader:
        header, sizes = reader.header, reader.sizes
        payload: Any = reader.tags.payload if reader.tags else {}
        return Track(
            duration_s=header.duration_s,
            source_bytes=header.source.n_bytes,
            archive_bytes=sizes.total,
            picture_bytes=sizes.pictures,
            shared_pictures=shared_pictures_of(header, path),
            kbps=round(kbps(sizes.total - sizes.pictures, header.duration_s), 3),
            quality=header.quantizer.quality,
            model=header.model.name,
            format=tuple(dict.fromkeys((header.source.container, header.source.codec))),
            name=header.source.name,
            fields=payload.get("fields", {}),
        )


@dataclass(frozen=True)
class ListTask(AlwaysToDo):
    """Reads the facts of the track in an archive."""

    name: ClassVar[str] = "list"
    reads: ClassVar[Reads] = Reads.FACTS

    @contextmanager
    def opened(self, _placement: Placement) -> Iterator[Work]:
        """Give the work."""
        yield _read


def _read(job: Job, _on_progress: Progress) -> FileRecord:
    return FileRecord(FileStatus.READ, job.source, figures=dict(vars(read_track(job.source))))
