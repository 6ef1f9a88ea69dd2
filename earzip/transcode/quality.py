"""Quality check of a new archive: decode it, compare with the source, enforce the floor."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from earzip.coding.blocks import zip_blocks
from earzip.errors import SourceError
from earzip.formats.archive.header import Header
from earzip.formats.archive.layout import ArchiveSizes
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.records import CheckRecord
from earzip.formats.archive.writer import ArchiveWriter
from earzip.formats.audio.reader import SourceFacts
from earzip.formats.audio.resample import stereo_44k
from earzip.formats.audio.source import open_source
from earzip.options import CompressOptions
from earzip.results import Progress
from earzip.transcode.exact import exact_forms, is_exact, open_exact
from earzip.transcode.sound import CodedSound

if TYPE_CHECKING:
    from earzip.coding.codec import Codec
    from earzip.metrics.measures import Measures

Write = Callable[..., ArchiveSizes]
"""`ArchiveWriter.write` with everything but the header and the exact copy filled in."""


CodeBetter = Callable[[Header], Header | None]
"""Codes the segments at the next quality above a header's; None where there is none."""


@dataclass(frozen=True)
class QualityCheck:
    """Completes the archive of ``source`` before it gets its name."""

    source: Path
    facts: SourceFacts
    codec: Codec
    options: CompressOptions
    keeps_exact_copy: bool
    """Whatever the floor says."""
    on_progress: Progress

    def finish(
        self, writer: ArchiveWriter, header: Header, write: Write, code_better: CodeBetter
    ) -> tuple[Header, ArchiveSizes]:
        """Write the archive once more, with its measures and an exact copy if it is due; return both.

        ``writer`` has written it already. Raises BelowFloorError where the floor fails.
        """
        wants_exact = self.keeps_exact_copy
        if self.options.checks:
            record = self._record(writer)
            while self._is_to_be_raised(record) and (better := code_better(header)):
                header = better
                write(header)
                record = self._record(writer)
            header = replace(header, check=record)
            # By the archive's own facts, so that a later run, which reads those, decides the same.
            floor = self.options.floor
            if floor and not wants_exact:
                floor.require(record.measures, "; no archive was written")
                wants_exact = floor.wants_exact(record.measures)
        if wants_exact:
            return self._write_exact(writer, header, write)
        return header, write(header)

    def _is_to_be_raised(self, record: CheckRecord) -> bool:
        floor = self.options.floor
        return (
            floor is not None and floor.below == "raise" and bool(floor.shortfalls(record.measures))
        )

    def _record(self, writer: ArchiveWriter) -> CheckRecord:
        measures = self._measures(writer.temporary)
        return CheckRecord.of(asdict(measures) if measures else None)

    def _measures(self, archive: Path) -> Measures | None:
        from earzip.coding.windows import use_one_thread  # noqa: PLC0415  # loads torch

        # The archive holds them: they must not round differently with the caller's number of threads.
        with ThreadPoolExecutor(1, initializer=use_one_thread) as thread:
            return thread.submit(self._measure, archive).result()

    def _measure(self, archive: Path) -> Measures | None:
        from earzip.metrics.measures import QualityMeter  # noqa: PLC0415  # of the extra eval

        meter, on_truncated = QualityMeter(), self.options.truncated
        with ArchiveReader(archive) as reader, open_source(self.source, on_truncated) as source:
            n_samples = reader.header.n_samples
            decoded = CodedSound(reader, self.codec, 0, n_samples, keep_going=False)
            for estimate, original in zip_blocks(decoded.blocks(), stereo_44k(source)):
                meter.add(estimate, original)
                self.on_progress(0)  # raises on a stop request; the seconds are counted already
        return meter.measures()

    def _write_exact(
        self, writer: ArchiveWriter, header: Header, write: Write
    ) -> tuple[Header, ArchiveSizes]:
        """Write the archive with an exact copy, and prove that from what was written."""
        on_truncated = self.options.truncated
        for form in exact_forms(self.facts):
            header = replace(header, exact=form)
            folder = writer.path.parent
            with open_exact(form, self.source, self.facts, folder, on_truncated) as copy:
                sizes = write(header, exact=copy)
            if is_exact(writer.temporary, self.source, self.on_progress, on_truncated):
                return header, sizes
        raise SourceError("changed while earzip read it", self.source)
