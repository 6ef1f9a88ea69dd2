"""Tasks that do every job they are given."""

from __future__ import annotations

from typing import ClassVar

from earzip.batch.events import Reads
from earzip.batch.jobs import Job
from earzip.results import FileRecord, Progress


class AlwaysToDo:
    """A task whose jobs are never up to date."""

    reads: ClassVar[Reads] = Reads.ALL

    def up_to_date(self, _job: Job) -> FileRecord | None:
        """Return None."""
        return None

    def planned(self, _job: Job, _on_progress: Progress) -> FileRecord | None:
        """Return None."""
        return None
