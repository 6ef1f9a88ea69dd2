"""Archives into files of their latents."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from earzip.batch.events import Work
from earzip.batch.plan import Job, Selection
from earzip.formats.names import is_archive_name, name_without_archive_suffix
from earzip.results import FileRecord, FileStatus, Progress
from earzip.runtime import Placement
from earzip.tasks.always import AlwaysToDo

LATENTS_SUFFIX = ".safetensors"


def latents_to_extract() -> Selection:
    """Return the selection of archives, whose latents are written."""
    return Selection(
        takes=is_archive_name,
        otherwise="not an archive",
        target_name=lambda path: name_without_archive_suffix(path.name) + LATENTS_SUFFIX,
    )


@dataclass(frozen=True)
class LatentsTask(AlwaysToDo):
    """Writes the latents of an archive."""

    force: bool = False
    name: ClassVar[str] = "latents"

    @contextmanager
    def opened(self, _placement: Placement) -> Iterator[Work]:
        """Give the work."""
        yield self._extract

    def _extract(self, job: Job, _on_progress: Progress) -> FileRecord:
        from earzip.transcode.latents import extract_latents  # noqa: PLC0415

        assert job.target is not None
        result = extract_latents(job.source, job.target, force=self.force)
        figures = {"n_latents": result.n_latents, "n_frames": result.n_frames}
        return FileRecord(FileStatus(result.status), result.archive, result.target, figures=figures)
