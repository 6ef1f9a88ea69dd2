"""Sound files into archives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from earzip.batch.events import Reads, Work
from earzip.batch.jobs import Job, estimated_s
from earzip.batch.plan import Selection
from earzip.errors import NoSoundError
from earzip.formats.names import (
    AUDIO_EXTENSIONS,
    FILM_EXTENSIONS,
    archive_name,
    is_archive_name,
    is_shared_picture_name,
    is_unread_sound_name,
)
from earzip.models.pool import CodecPool
from earzip.models.store import find_model, verify_model
from earzip.options import CompressOptions
from earzip.results import UNREAD_SOUND, FileRecord, FileStatus, Progress
from earzip.runtime import Placement
from earzip.transcode.results import CompressResult

if TYPE_CHECKING:
    from earzip.transcode.archive_settings import ArchiveSettings


_MEANINGS = {
    "new": "new",
    "moved": "moved",
    "retagged": "tags have changed",
    "changed": "the sound has changed",
    "replaced": "replaces",
}


def sources_to_compress() -> Selection:
    """Return the selection of sound files, to be archived."""
    return Selection(
        takes=lambda name: Path(name).suffix.lower() in AUDIO_EXTENSIONS,
        otherwise="not sound",
        target_name=lambda path: archive_name(path.name),
        refuses=_why_not_compressed,
        heeds_ignore_files=True,
    )


def require_scaling() -> None:
    """Raise `UsageError` unless pictures can be scaled."""
    from earzip.transcode.scaled_pictures import require_pillow  # noqa: PLC0415  # loads numpy

    require_pillow()


def _why_not_compressed(name: str) -> str | None:
    """Return why a file of that name is no source, None if it may be one."""
    if is_archive_name(name):
        return "already an archive"
    if name.lower().endswith(".cue"):
        return "a cue sheet, which goes into the tags of its sound if they have none"
    if is_shared_picture_name(name):
        return "a picture that archives share"
    return UNREAD_SOUND if is_unread_sound_name(name) else None


@dataclass(frozen=True)
class CompressTask:
    """Archives the source of a job. Raises as `earzip.transcode.compress.compress_file` does."""

    options: CompressOptions
    prunes: bool = False
    """Whether the archives of sources that were moved go to the trash after the run."""
    name: ClassVar[str] = "compress"
    reads: ClassVar[Reads] = Reads.ALL

    def up_to_date(self, job: Job) -> FileRecord | None:
        """Return the record of a job whose archive is there: `up_to_date.compressed_already`."""
        from earzip.transcode.up_to_date import compressed_already  # noqa: PLC0415

        if job.target is None or job.source_name is not None:
            return None
        result = compressed_already(job.source, job.target, self.options, settings=self._settings)
        return None if result is None else compress_record(result)

    def planned(self, job: Job, on_progress: Progress) -> FileRecord | None:
        """Return what would be done with a job; None where its source comes through a pipe."""
        if job.target is None or job.source_name is not None:
            return None
        return planned_record(self.options, self._settings, job, on_progress, prunes=self.prunes)

    @contextmanager
    def opened(self, placement: Placement) -> Iterator[Work]:
        """Give the work. Raises as `earzip.models.store.verify_model` and `CodecPool.checked` do."""
        # An error of the model concerns every file: reported once, before them.
        verify_model(find_model(self.options.model))
        with CodecPool(placement.runtime).checked() as codecs:
            yield partial(self._compress, codecs)

    def _compress(self, codecs: CodecPool, job: Job, on_progress: Progress) -> FileRecord:
        from earzip.transcode.compress import compress_file  # noqa: PLC0415

        assert job.target is not None
        try:
            result = compress_file(
                job.source,
                job.target,
                self.options,
                codecs=codecs,
                source_name=job.source_name,
                found=job.found,
                on_progress=on_progress,
            )
        except NoSoundError as error:
            if job.source.suffix.lower() not in FILM_EXTENSIONS:
                raise
            return FileRecord(FileStatus.SKIPPED, job.source, None, error.message)
        return compress_record(result)

    @cached_property
    def _settings(self) -> ArchiveSettings:
        from earzip.transcode.archive_settings import ArchiveSettings  # noqa: PLC0415

        return ArchiveSettings.of(self.options)


def compress_record(result: CompressResult) -> FileRecord:
    """Return the record of a source and its archive."""
    cut_short: tuple[str, ...] = ()
    if result.truncated:
        cut_short = (f"cut short, archived as far as it decodes: {result.truncated}",)
    shortfalls = ", ".join(result.below_floor)
    low = (f"below the floor: {shortfalls}",) if shortfalls and not result.exact_bytes else ()
    return FileRecord(
        FileStatus(result.status),
        result.source,
        result.target,
        warnings=result.warnings + cut_short + low,
        figures={
            "duration_s": result.duration_s,
            "source_bytes": result.source_bytes,
            "archive_bytes": result.archive_bytes,
            "picture_bytes": result.picture_bytes,
            "shared_pictures": dict(result.shared_pictures),
            "exact_bytes": result.exact_bytes,
            "kbps": round(result.kbps, 3),
            "truncated": result.truncated,
            "source_checksums": result.source_checksums,
            "measures": result.measures,
            "below_floor": list(result.below_floor),
        },
    )


def planned_record(
    options: CompressOptions,
    settings: ArchiveSettings,
    job: Job,
    on_progress: Progress,
    *,
    names_damage: bool = False,
    prunes: bool = False,
) -> FileRecord:
    """Return the record of what `compress` would do with a job.

    A damaged archive is one that it replaces, or fails over; with ``names_damage`` it is damaged. With
    ``prunes`` the archive of a source that was moved goes to the trash.
    """
    from earzip.transcode.replacing import to_replace_archive  # noqa: PLC0415
    from earzip.transcode.state import standing_of  # noqa: PLC0415
    from earzip.transcode.up_to_date import DAMAGED  # noqa: PLC0415

    assert job.target is not None
    standing = standing_of(
        job.source,
        job.target,
        options,
        settings,
        found=job.found,
        on_progress=on_progress,
    )
    if standing.result:
        return compress_record(standing.result)
    meaning = _MEANINGS.get(standing.state)
    message = " ".join(filter(None, (meaning, standing.message)))
    if standing.state == "changed":
        message += f"; {to_replace_archive(job.source, job.target, options)}"
    if standing.state == "moved":
        message += ", which goes to the trash" if prunes else ", which stays until --prune"
    status = FileStatus.PLANNED
    if standing.state in ("changed", "refused", "damaged"):
        status = FileStatus.FAILED
    if names_damage and (standing.state == "damaged" or standing.message == DAMAGED):
        status = FileStatus.DAMAGED
    figures: dict[str, object] = {"state": standing.state}
    if standing.state in ("new", "replaced"):
        seconds = estimated_s(job)
        kbps = options.bitrate_kbps or settings.preset.kbps or 0
        figures |= {
            "to_encode_s": round(seconds, 1),
            "to_encode_bytes": round(125 * kbps * seconds),
        }
    return FileRecord(status, job.source, job.target, message, figures=figures)
