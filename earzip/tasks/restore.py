"""Archives into sound files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from earzip.batch.events import Reads, Work
from earzip.batch.jobs import Job
from earzip.batch.plan import Selection
from earzip.errors import ArchiveError, count
from earzip.formats.names import (
    further_restored_names,
    is_archive_name,
    is_shared_picture_name,
    name_without_archive_suffix,
    name_without_sound_suffix,
    restored_name,
)
from earzip.models.pool import CodecPool
from earzip.options import Container, RestoreOptions
from earzip.results import FileRecord, FileStatus, Progress
from earzip.runtime import Placement
from earzip.tasks.messages import first_few
from earzip.transcode.results import RestoreResult

if TYPE_CHECKING:
    from earzip.formats.audio.flac_stream import Stream


def archives_to_restore(container: Container | None = "flac", *, split: bool = False) -> Selection:
    """Return the selection of archives, to be restored.

    Without a ``container`` a result has the name of the source file, if that is in the archive;
    else it is FLAC. ``split``: the result of an archive of several tracks is a directory. Where two
    archives would have one name, one is called after its archive: `further_restored_names`.
    """

    def target_name(archive: Path) -> str:
        if split and _n_tracks(archive):
            return name_without_sound_suffix(name_without_archive_suffix(archive.name))
        return _restored_name(archive, container)

    return Selection(
        takes=is_archive_name,
        otherwise="not an archive",
        target_name=target_name,
        further_names=further_restored_names,
        passes_over=is_shared_picture_name,
    )


def _n_tracks(archive: Path) -> int | None:
    """Return how many tracks an archive is to be cut into, 0 for none; None if that cannot be told.

    Restoring it says why.
    """
    from earzip.transcode.restore_tracks import find_pieces  # noqa: PLC0415  # loads numpy

    try:
        return len(find_pieces(archive))
    except ArchiveError:
        return None


def _restored_name(archive: Path, container: Container | None) -> str:
    """Return the name of the result: without a container that of the source file, if that is there."""
    if container is None:
        from earzip.transcode.source_file import source_file_name  # noqa: PLC0415  # loads numpy

        name = source_file_name(archive, name_without_archive_suffix(archive.name))
        if name is not None:
            return name
    return restored_name(archive.name, container or "flac")


MakeStream = Callable[[Callable[[], None]], "Stream"]
"""Returns a stream that calls what it is given while it waits for its reader."""


@dataclass(frozen=True)
class RestoreTask:
    """Restores the archive of a job. Raises as `earzip.transcode.restore.restore_file` does."""

    options: RestoreOptions
    make_stream: MakeStream | None = None
    """Gives a stream for the result, in place of the job's target."""
    split: bool = False
    """Whether archives of several tracks become directories of files."""
    name: ClassVar[str] = "restore"

    @property
    def reads(self) -> Reads:
        """A part of each archive for a part of the sound, and a stream begins before all is there."""
        is_part = (self.options.start_s, self.options.end_s) != (None, None)
        return Reads.PARTS if is_part or self.make_stream else Reads.ALL

    def up_to_date(self, job: Job) -> FileRecord | None:
        """Return the record of a job whose result is there: `restore.restored_already`."""
        from earzip.transcode.restore import restored_already  # noqa: PLC0415

        if job.target is None:
            return None
        n_tracks = _n_tracks(job.source) if self.split else 0
        result = None
        if n_tracks:
            from earzip.transcode.restore_tracks import tracks_already  # noqa: PLC0415

            result = tracks_already(job.source, job.target, self.options)
        elif n_tracks is not None:
            result = restored_already(job.source, job.target, self.options)
        return None if result is None else _restore_record(result)

    def planned(self, job: Job, _on_progress: Progress) -> FileRecord | None:
        """Return the record of a job whose result is there, or is to be a directory of tracks."""
        done = self.up_to_date(job)
        n_tracks = _n_tracks(job.source) if self.split and done is None else None
        if not n_tracks:
            return done
        message = f"a directory of {count(n_tracks, 'track')}"
        return FileRecord(FileStatus.PLANNED, job.source, job.target, message)

    @contextmanager
    def opened(self, placement: Placement) -> Iterator[Work]:
        """Give the work. Raises as `CodecPool.checked` does."""
        with CodecPool(placement.runtime).checked() as codecs:
            yield partial(self._restore, codecs)

    def _restore(self, codecs: CodecPool, job: Job, on_progress: Progress) -> FileRecord:
        from earzip.transcode.restore import restore_file  # noqa: PLC0415
        from earzip.transcode.restore_stream import restore_to_stream  # noqa: PLC0415
        from earzip.transcode.restore_tracks import find_pieces, restore_tracks  # noqa: PLC0415

        if self.make_stream is not None:
            stream = self.make_stream(partial(on_progress, 0))
            return _restore_record(
                restore_to_stream(
                    job.source, stream, self.options, codecs=codecs, on_progress=on_progress
                )
            )
        assert job.target is not None
        is_split = self.split and bool(find_pieces(job.source))
        result = (restore_tracks if is_split else restore_file)(
            job.source, job.target, self.options, codecs=codecs, on_progress=on_progress
        )
        return _restore_record(result)


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
            "missing_pictures": list(result.missing_pictures),
            "lost_tags": result.lost_tags,
            "wrong_length": result.wrong_length,
            "tag_losses": list(result.tag_losses),
            "tracks": list(map(str, result.tracks)),
        },
    )


def _damage(result: RestoreResult) -> str | None:
    """Return what damage and missing pictures have cost in one sentence, or None."""
    lost = ["the exact copy, restored from the coded sound"] if result.lost_exact else []
    if silences := result.silences:
        lost.append(f"silence in place of {', '.join(first_few(silences))}")
    if n := len(result.lost_pictures):
        lost.append(f"{n} picture{'s' * (n != 1)} lost")
    if result.lost_tags:
        lost.append("tags lost")
    if result.wrong_length:
        lost.append(result.wrong_length)
    parts = [f"damaged: {', '.join(lost)}"] if lost else []
    if n := len(result.missing_pictures):  # the warnings name them
        parts.append(f"{count(n, 'shared picture')} missing")
    return "; ".join(parts) or None
