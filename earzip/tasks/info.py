"""What archives say of themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from earzip.batch.events import Reads, Work
from earzip.batch.jobs import Job
from earzip.errors import ModelNotFoundError
from earzip.models.store import find_model_of_archive
from earzip.results import FileRecord, FileStatus, Progress
from earzip.runtime import Placement
from earzip.tasks.always import AlwaysToDo


@dataclass(frozen=True)
class InfoTask(AlwaysToDo):
    """Reads what an archive says of itself."""

    name: ClassVar[str] = "info"
    reads: ClassVar[Reads] = Reads.FACTS

    @contextmanager
    def opened(self, _placement: Placement) -> Iterator[Work]:
        """Give the work."""
        yield partial(self._read, {})

    def _read(
        self, found: dict[tuple[Path, str], str | None], job: Job, _on_progress: Progress
    ) -> FileRecord:
        from earzip.transcode.inspect import read_info  # noqa: PLC0415

        info = read_info(job.source)
        archive, model = info.to_json(), info.header.model
        key = job.source.parent, model.sha256  # looked for once a folder
        if key not in found:
            found[key] = _model_path(model.name, model.sha256, job.source)
        archive["model"]["path"] = found[key]
        return FileRecord(FileStatus.READ, job.source, figures={"archive": archive})


def _model_path(name: str, sha256: str, archive: Path) -> str | None:
    """Return where the specification of an archive's model is, None if nowhere."""
    try:
        return str(find_model_of_archive(name, sha256, archive).path)
    except ModelNotFoundError:
        return None
