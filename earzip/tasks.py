"""What each command does with a file: a job in, a record out. Frozen, and pickled for other processes.

Each is an `earzip.batch.events.Task`. What loads numpy or torch is imported where it is used, so that
commands can be listed, and their help shown, without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from earzip.batch.events import Work
from earzip.batch.plan import Job, Selection
from earzip.errors import ModelNotFoundError, NoSoundError
from earzip.formats.names import (
    AUDIO_EXTENSIONS,
    FILM_EXTENSIONS,
    archive_name,
    is_archive_name,
    is_unread_sound_name,
    name_without_archive_suffix,
    restored_name,
)
from earzip.models.pool import CodecPool
from earzip.models.store import find_model, find_model_of_archive, verify_model
from earzip.options import CompressOptions, Container, RestoreOptions
from earzip.results import (
    UNREAD_SOUND,
    CompressResult,
    FileRecord,
    FileStatus,
    Progress,
    RestoreResult,
)
from earzip.runtime import Placement

if TYPE_CHECKING:
    from earzip.transcode.up_to_date import ArchiveSettings

LATENTS_SUFFIX = ".safetensors"
_MAX_NAMED = 5


class _AlwaysToDo:
    """A task whose jobs are never up to date."""

    def up_to_date(self, _job: Job) -> FileRecord | None:
        """Return None."""
        return None


@dataclass(frozen=True)
class CompressTask:
    """Archives the source of a job. Raises as `earzip.transcode.compress.compress_file` does."""

    options: CompressOptions
    name: ClassVar[str] = "compress"

    def up_to_date(self, job: Job) -> FileRecord | None:
        """Return the record of a job whose archive is there: `up_to_date.compressed_already`."""
        from earzip.transcode.up_to_date import compressed_already  # noqa: PLC0415

        if job.target is None or job.source_name is not None:
            return None
        result = compressed_already(job.source, job.target, self.options, settings=self._settings)
        return None if result is None else _compress_record(result)

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
                on_progress=on_progress,
            )
        except NoSoundError as error:
            if job.source.suffix.lower() not in FILM_EXTENSIONS:
                raise
            return FileRecord(FileStatus.SKIPPED, job.source, None, error.message)
        return _compress_record(result)

    @cached_property
    def _settings(self) -> ArchiveSettings:
        from earzip.transcode.up_to_date import ArchiveSettings  # noqa: PLC0415

        return ArchiveSettings.of(self.options)


@dataclass(frozen=True)
class RestoreTask:
    """Restores the archive of a job. Raises as `earzip.transcode.restore.restore_file` does."""

    options: RestoreOptions
    name: ClassVar[str] = "restore"

    def up_to_date(self, job: Job) -> FileRecord | None:
        """Return the record of a job whose result is there: `restore.restored_already`."""
        from earzip.transcode.restore import restored_already  # noqa: PLC0415

        if job.target is None:
            return None
        result = restored_already(job.source, job.target, self.options)
        return None if result is None else _restore_record(result)

    @contextmanager
    def opened(self, placement: Placement) -> Iterator[Work]:
        """Give the work. Raises as `CodecPool.checked` does."""
        with CodecPool(placement.runtime).checked() as codecs:
            yield partial(self._restore, codecs)

    def _restore(self, codecs: CodecPool, job: Job, on_progress: Progress) -> FileRecord:
        from earzip.transcode.restore import restore_file  # noqa: PLC0415

        assert job.target is not None
        result = restore_file(
            job.source, job.target, self.options, codecs=codecs, on_progress=on_progress
        )
        return _restore_record(result)


@dataclass(frozen=True)
class VerifyTask(_AlwaysToDo):
    """Checks an archive's bytes and structure; with ``decode`` also decodes all of its sound."""

    decode: bool = False
    name: ClassVar[str] = "verify"

    @contextmanager
    def opened(self, placement: Placement) -> Iterator[Work]:
        """Give the work. Raises as `CodecPool.checked` does, if it decodes."""
        if not self.decode:
            yield _check_structure
            return
        with CodecPool(placement.runtime).checked() as codecs:
            yield partial(_check_by_decoding, codecs)


@dataclass(frozen=True)
class InfoTask(_AlwaysToDo):
    """Reads what an archive says of itself."""

    name: ClassVar[str] = "info"

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


@dataclass(frozen=True)
class LatentsTask(_AlwaysToDo):
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


@dataclass(frozen=True)
class EvaluateTask(_AlwaysToDo):
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


def _model_path(name: str, sha256: str, archive: Path) -> str | None:
    """Return where the specification of an archive's model is, None if nowhere."""
    try:
        return str(find_model_of_archive(name, sha256, archive).path)
    except ModelNotFoundError:
        return None


def _check_structure(job: Job, on_progress: Progress) -> FileRecord:
    from earzip.transcode.inspect import verify_archive  # noqa: PLC0415

    result = verify_archive(job.source, on_part=lambda: on_progress(0))
    problems = [f"{damage.part}: {damage.message}" for damage in result.damages]
    record = _verify_record(job.source, problems, list(result.lost_segments))
    return _with_advice(record) if result.saves_rest else record


def _check_by_decoding(codecs: CodecPool, job: Job, on_progress: Progress) -> FileRecord:
    from earzip.transcode.sound import decode_check  # noqa: PLC0415

    record = _check_structure(job, on_progress)
    if record.status is not FileStatus.INTACT:
        return record
    problems = decode_check(job.source, codecs=codecs, on_progress=on_progress)
    record = _verify_record(job.source, problems, record.figures["lost_segments"])
    return _with_advice(record) if problems else record


def _with_advice(record: FileRecord) -> FileRecord:
    """Return the record of an archive of which damage costs only a part, with what to do."""
    from earzip.transcode.inspect import SAVES_REST  # noqa: PLC0415

    return replace(record, message=f"{record.message}; {SAVES_REST}")


def _verify_record(archive: Path, problems: list[str], lost_segments: object) -> FileRecord:
    n_more = len(problems) - _MAX_NAMED  # the records in JSON have all of them
    named = problems[:_MAX_NAMED] + ([f"and {n_more} more"] if n_more > 0 else [])
    return FileRecord(
        FileStatus.DAMAGED if problems else FileStatus.INTACT,
        archive,
        message="; ".join(named) or None,
        figures={"damages": problems, "lost_segments": lost_segments},
    )


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
            "source_checksums": result.source_checksums,
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
    if silences := result.silences:
        n_more = len(silences) - _MAX_NAMED
        named = [*silences[:_MAX_NAMED], *([f"and {n_more} more"] if n_more > 0 else [])]
        lost.append(f"silence in place of {', '.join(named)}")
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
        refuses=_why_not_compressed,
    )


def _why_not_compressed(name: str) -> str | None:
    """Return why a file of that name is no source, None if it may be one."""
    if is_archive_name(name):
        return "already an archive"
    return UNREAD_SOUND if is_unread_sound_name(name) else None


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


def archives_to_read() -> Selection:
    """Return the selection of archives that are read and nothing is written of."""
    return Selection(takes=is_archive_name, otherwise="not an archive")


def latents_to_extract() -> Selection:
    """Return the selection of archives, whose latents are written."""
    return Selection(
        takes=is_archive_name,
        otherwise="not an archive",
        target_name=lambda path: name_without_archive_suffix(path.name) + LATENTS_SUFFIX,
    )
