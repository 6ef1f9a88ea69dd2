"""How near restored files are to their originals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from earzip.batch.events import Work
from earzip.batch.jobs import Job
from earzip.models.pool import CodecPool
from earzip.results import FileRecord, FileStatus, Progress
from earzip.runtime import Placement
from earzip.tasks.always import AlwaysToDo


@dataclass(frozen=True)
class EvaluateTask(AlwaysToDo):
    """Measures a restored file against its original: two files, or those of two mirrored folders."""

    original: Path
    restored: Path
    align: bool = False
    perceptual: bool = False
    name: ClassVar[str] = "evaluate"

    @contextmanager
    def opened(self, placement: Placement) -> Iterator[Work]:
        """Give the work. Raises as `earzip.batch.pairing.pair` and `CodecPool.checked` do."""
        from earzip.batch.pairing import pair  # noqa: PLC0415

        # Each process pairs for itself: the names of a library are too many to send.
        originals = pair(self.original, self.restored).originals
        with CodecPool(placement.runtime).checked() as codecs:
            yield partial(self._evaluate, originals, codecs)

    def _evaluate(
        self, originals: dict[Path, Path], codecs: CodecPool, job: Job, on_progress: Progress
    ) -> FileRecord:
        from earzip.evaluate.files import evaluate_pair  # noqa: PLC0415

        found = evaluate_pair(
            originals[job.source],
            job.source,
            align=self.align,
            perceptual=self.perceptual,
            codecs=codecs,
            on_progress=on_progress,
        )
        return FileRecord(
            FileStatus.EVALUATED, job.source, warnings=found.warnings, figures=found.to_json()
        )
