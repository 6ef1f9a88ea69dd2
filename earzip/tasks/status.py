"""How archives stand to their sources: what `compress` would do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from earzip.batch.events import Reads, Work
from earzip.options import CompressOptions
from earzip.runtime import Placement
from earzip.tasks.always import AlwaysToDo
from earzip.tasks.compress import planned_record


@dataclass(frozen=True)
class StatusTask(AlwaysToDo):
    """Compares sources with their archives, as `compress` with ``options`` would. Writes nothing."""

    options: CompressOptions
    name: ClassVar[str] = "compare"
    reads: ClassVar[Reads] = Reads.STATE

    @contextmanager
    def opened(self, placement: Placement) -> Iterator[Work]:  # noqa: ARG002
        """Give the work. Raises as `earzip.models.store.find_model`."""
        from earzip.transcode.archive_settings import ArchiveSettings  # noqa: PLC0415

        settings = ArchiveSettings.of(self.options)
        yield partial(planned_record, self.options, settings, names_damage=True)
