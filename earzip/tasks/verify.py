"""Whether archives are intact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from earzip.batch.events import Work
from earzip.batch.jobs import Job
from earzip.models.pool import CodecPool
from earzip.results import FileRecord, FileStatus, Progress
from earzip.runtime import Placement
from earzip.tasks.always import AlwaysToDo
from earzip.tasks.messages import first_few

DAMAGED_PICTURES = "damaged_pictures"
"""The figure of a record that has the fault of each shared picture of an archive, by its path."""


def lacks_only_pictures(record: FileRecord) -> bool:
    """Return whether an archive is intact but for shared pictures, each of them a file of its own."""
    pictures, damages = (record.figures.get(name) for name in (DAMAGED_PICTURES, "damages"))
    return (
        isinstance(pictures, Mapping)
        and isinstance(damages, Sequence)
        and len(pictures) == len(damages)
    )


@dataclass(frozen=True)
class VerifyTask(AlwaysToDo):
    """Checks an archive's bytes and structure; with ``decode`` also decodes all of its sound."""

    decode: bool = False
    name: ClassVar[str] = "verify"

    @contextmanager
    def opened(self, placement: Placement) -> Iterator[Work]:
        """Give the work. Raises as `CodecPool.checked` does, if it decodes."""
        if not self.decode:
            yield _check
            return
        with CodecPool(placement.runtime).checked() as codecs:
            yield partial(_check_by_decoding, codecs)


def check_structure(job: Job, on_progress: Progress) -> tuple[FileRecord, bool]:
    """Return the record of an archive whose bytes are checked, and if damage costs a part only.

    Raises ArchiveError.
    """
    from earzip.formats.archive.shared import fault_of  # noqa: PLC0415  # loads numpy
    from earzip.transcode.inspect import verify_archive  # noqa: PLC0415

    result = verify_archive(job.source, on_part=lambda: on_progress(0))
    problems = [f"{damage.part}: {damage.message}" for damage in result.damages]
    record = _verify_record(job, problems, list(result.lost_segments))
    pictures = [damage.shared_file for damage in result.damages if damage.shared_file]
    if pictures:
        figure = {DAMAGED_PICTURES: {str(path): fault_of(path) for path in pictures}}
        record = replace(record, figures={**record.figures, **figure})
    return record, result.saves_rest


def _check(job: Job, on_progress: Progress) -> FileRecord:
    record, saves_rest = check_structure(job, on_progress)
    return _with_advice(record) if saves_rest else record


def _check_by_decoding(codecs: CodecPool, job: Job, on_progress: Progress) -> FileRecord:
    from earzip.transcode.decode_check import decode_check  # noqa: PLC0415

    record = _check(job, on_progress)
    if record.status is not FileStatus.INTACT:
        return record
    problems = decode_check(job.source, codecs=codecs, on_progress=on_progress)
    record = _verify_record(job, problems, record.figures["lost_segments"])
    return _with_advice(record) if problems else record


def _with_advice(record: FileRecord) -> FileRecord:
    """Return the record of an archive of which damage costs only a part, with what to do."""
    from earzip.transcode.inspect import SAVES_REST  # noqa: PLC0415

    return replace(record, message=f"{record.message}; {SAVES_REST}")


def _verify_record(job: Job, problems: list[str], lost_segments: object) -> FileRecord:
    return FileRecord(
        FileStatus.DAMAGED if problems else FileStatus.INTACT,
        job.source,
        message="; ".join(first_few(problems)) or None,  # the figures have all of them
        figures={
            "damages": problems,
            "lost_segments": lost_segments,
            "checked_bytes": job.n_bytes,
        },
    )
