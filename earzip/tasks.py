"""The work on one file of a batch: a job done, and the record of what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from earzip.batch.plan import Job, Selection
from earzip.formats.names import (
    AUDIO_EXTENSIONS,
    archive_name,
    is_archive_name,
    name_without_archive_suffix,
    restored_name,
)
from earzip.models.pool import CodecPool
from earzip.models.store import find_model, verify_model
from earzip.options import CompressOptions, Container, RestoreOptions
from earzip.results import CompressResult, FileRecord, FileStatus, Progress, RestoreResult
from earzip.runtime import Placement
from earzip.transcode.compress import compress_file
from earzip.transcode.restore import restore_file, restored_already
from earzip.transcode.up_to_date import ArchiveSettings, compressed_already


@dataclass(frozen=True)
class CompressWork:
    """Archives the source of a job; an `earzip.batch.events.Work`.

    ``source_names`` are the names that archives give their sources, where it is not the file's own.
    Raises as `earzip.transcode.compress.compress_file` does.
    """

    options: CompressOptions
    codecs: CodecPool
    source_names: Mapping[Path, str] = field(default_factory=dict)

    def __call__(self, job: Job, on_progress: Progress) -> FileRecord:
        """Return the record of ``job``, which has a target."""
        assert job.target is not None
        result = compress_file(
            job.source,
            job.target,
            self.options,
            codecs=self.codecs,
            source_name=self.source_names.get(job.source),
            on_progress=on_progress,
        )
        return _compress_record(result)


@dataclass(frozen=True)
class RestoreWork:
    """Restores the archive of a job; an `earzip.batch.events.Work`.

    Raises as `earzip.transcode.restore.restore_file` does.
    """

    options: RestoreOptions
    codecs: CodecPool

    def __call__(self, job: Job, on_progress: Progress) -> FileRecord:
        """Return the record of ``job``, which has a target."""
        assert job.target is not None
        result = restore_file(
            job.source, job.target, self.options, codecs=self.codecs, on_progress=on_progress
        )
        return _restore_record(result)


@dataclass(frozen=True)
class OpenCompress:
    """Opens a `CompressWork`; an `earzip.batch.events.OpenWork`."""

    options: CompressOptions
    source_names: Mapping[Path, str] = field(default_factory=dict)

    @contextmanager
    def __call__(self, placement: Placement) -> Iterator[CompressWork]:
        """Give the work. Raises as `earzip.models.store.verify_model` and `Runtime.checked` do."""
        # What is wrong with the model is wrong with every file: said once, before them.
        verify_model(find_model(self.options.model))
        with CodecPool(placement.runtime.checked()) as codecs:
            yield CompressWork(self.options, codecs, self.source_names)

    def already(self, job: Job) -> FileRecord | None:
        """Return the record of a job that is done: `up_to_date.compressed_already`."""
        if job.target is None or job.source in self.source_names:
            return None
        result = compressed_already(job.source, job.target, self.options, settings=self._settings)
        return None if result is None else _compress_record(result)

    @cached_property
    def _settings(self) -> ArchiveSettings:
        return ArchiveSettings(find_model(self.options.model), self.options.quality)


@dataclass(frozen=True)
class OpenRestore:
    """Opens a `RestoreWork`; an `earzip.batch.events.OpenWork`."""

    options: RestoreOptions

    @contextmanager
    def __call__(self, placement: Placement) -> Iterator[RestoreWork]:
        """Give the work. Raises as `Runtime.checked` does."""
        with CodecPool(placement.runtime.checked()) as codecs:
            yield RestoreWork(self.options, codecs)

    def already(self, job: Job) -> FileRecord | None:
        """Return the record of a job that is done: `restore.restored_already`."""
        if job.target is None:
            return None
        result = restored_already(job.source, job.target, self.options)
        return None if result is None else _restore_record(result)


def _compress_record(result: CompressResult) -> FileRecord:
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
            "exact_bytes": result.exact_bytes,
            "kbps": round(result.kbps, 3),
            "truncated": result.truncated,
            "measures": result.measures,
            "below_floor": list(result.below_floor),
        },
    )


def _restore_record(result: RestoreResult) -> FileRecord:
    return FileRecord(
        FileStatus.INCOMPLETE if result.is_incomplete else FileStatus(result.status),
        result.archive,
        result.target,
        message=_damage(result),
        warnings=result.warnings,
        figures={
            "duration_s": result.duration_s,
            "n_samples": result.n_samples,
            "exact": result.exact,
            "n_overs": result.n_overs,
            "lost_exact": result.lost_exact,
            "lost_segments": list(result.lost_segments),
            "lost_pictures": list(result.lost_pictures),
            "lost_tags": result.lost_tags,
            "wrong_length": result.wrong_length,
            "tag_losses": list(result.tag_losses),
        },
    )


def _damage(result: RestoreResult) -> str | None:
    """Return what damage has cost in one sentence, or None."""
    lost = ["the exact copy, restored from the coded sound"] if result.lost_exact else []
    if n := len(result.lost_segments):
        lost.append(f"silence in place of {n} segment{'s' * (n != 1)}")
    if n := len(result.lost_pictures):
        lost.append(f"{n} picture{'s' * (n != 1)} lost")
    if result.lost_tags:
        lost.append("tags lost")
    if result.wrong_length:
        lost.append(result.wrong_length)
    return f"damaged: {', '.join(lost)}" if lost else None


def sources_to_compress() -> Selection:
    """Return the selection of sound files, to be archived."""
    return Selection(
        takes=lambda name: Path(name).suffix.lower() in AUDIO_EXTENSIONS,
        otherwise="not sound",
        target_name=lambda path: archive_name(path.name),
        refuses=lambda name: "already an archive" if is_archive_name(name) else None,
    )


def archives_to_restore(container: Container | None = "flac") -> Selection:
    """Return the selection of archives, to be restored.

    Without a ``container`` a result has the name of the source file, if that is in the archive;
    else it is FLAC.
    """
    return Selection(
        takes=is_archive_name,
        otherwise="not an archive",
        target_name=lambda path: _restored_name(path, container),
    )


def _restored_name(archive: Path, container: Container | None) -> str:
    """Return the name of the result: without a container that of the source file, if that is there."""
    if container is None:
        from earzip.transcode.source_file import source_file_name  # noqa: PLC0415  # loads numpy

        name = source_file_name(archive, name_without_archive_suffix(archive.name))
        if name is not None:
            return name
    return restored_name(archive.name, container or "flac")
