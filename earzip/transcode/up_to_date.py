"""Whether an archive that exists is up to date, and what may replace it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from earzip.errors import ArchiveError, DamagedArchiveError, TargetError
from earzip.formats.archive.header import Header
from earzip.formats.archive.layout import ArchiveSizes
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.records import SourceRecord
from earzip.formats.archive.verify import verify_structure
from earzip.formats.atomic import is_taken
from earzip.formats.names import portable_name
from earzip.options import CompressOptions
from earzip.results import Progress
from earzip.transcode.archive_settings import ArchiveSettings
from earzip.transcode.pictures import (
    Storage,
    has_damaged_pictures,
    shared_pictures_of,
    why_other_pictures,
)
from earzip.transcode.replacing import to_replace_archive
from earzip.transcode.results import CompressResult, Status

DAMAGED = "a damaged archive"
"""What `TargetState.replaces` says of one that was made with the same settings."""


@dataclass(frozen=True)
class TargetState:
    """What an existing archive means for the one about to be made."""

    result: CompressResult | None = None
    """Set if it is up to date: there is nothing to do."""
    replaces: str | None = None
    """The archive or file that is replaced, in words."""
    has_exact_copy: bool = False
    """The new one has one too, of its own source: what was promised is not taken back in silence."""
    other_pictures: str | None = None
    """Why it is to get its pictures again, in words; it is up to date but for them."""
    earlier: SourceRecord | None = None
    """The source of a whole archive, in an earlier version: it stays unless the sound is the same."""


def compressed_already(
    source: Path,
    target: Path,
    options: CompressOptions,
    *,
    settings: ArchiveSettings | None = None,
) -> CompressResult | None:
    """Return the result for a ``target`` that is plainly up to date, None for any other.

    It is if it names a source of this name, size and time of modification, which has not changed since
    the archive was written; was made with the same model and settings, has what ``options`` ask for, is
    as long as its index says, and the pictures that it shares are beside it. Neither the source nor the
    sound in the archive is read: what has rotted is only seen with ``options.verify_sources``, which
    makes this None. So does ``options.force``, with which nothing is up to date.

    ``settings`` are those of ``options``, for a caller with many files; None: they are looked up, which
    takes longer than all the rest. None is also for files that are odd or not there, and for an archive
    below a floor that fails: `earzip.transcode.compress.compress_file` reports them. Raises
    ModelNotFoundError or ModelDamagedError where ``settings`` are not given. Loads no torch.
    """
    settings = settings or ArchiveSettings.of(options)
    found = _plainly_of(source, target, options, settings)
    if found is None or _why_other_pictures(*found, target, options):
        return None
    result = result_of("up_to_date", source, target, *found, options)
    floor = options.floor
    fails = floor and floor.below == "fail" and result.below_floor and not found[0].exact
    return None if fails else result


def plain_reason_for_pictures(
    source: Path, target: Path, options: CompressOptions, settings: ArchiveSettings
) -> str | None:
    """Return in words why ``target`` is to get its pictures again; None if that is not all it lacks.

    Told as `compressed_already` tells what is up to date.
    """
    found = _plainly_of(source, target, options, settings)
    return _why_other_pictures(*found, target, options) if found else None


def _why_other_pictures(
    header: Header, sizes: ArchiveSizes, target: Path, options: CompressOptions
) -> str | None:
    return why_other_pictures(header, sizes, target, Storage.wanted(options, header))


def _plainly_of(
    source: Path, target: Path, options: CompressOptions, settings: ArchiveSettings
) -> tuple[Header, ArchiveSizes] | None:
    """Return what an archive says of itself that plainly is of ``source``, and made with ``settings``."""
    if options.verify_sources or options.force:
        return None
    try:
        status = source.stat()
        with ArchiveReader(target) as reader:
            header, sizes, archive_status = reader.header, reader.sizes, reader.status
    except (OSError, ArchiveError):
        return None
    if not _is_of(header.source, source, status) or _changed_since(status, archive_status):
        return None
    return None if why_replace(header, settings, options) is not None else (header, sizes)


def plain_reason_to_replace(
    source: Path, target: Path, options: CompressOptions, settings: ArchiveSettings
) -> str | None:
    """Return which archive ``target`` is to be replaced, in words, if that is told without its source.

    So it is of an archive of a source of this name, size and time that was made with other settings.
    None for any other. Raises TargetError for a higher quality, and ArchiveError.
    """
    with ArchiveReader(target) as reader:
        header, sizes, archive_status = reader.header, reader.sizes, reader.status
    try:
        status = source.stat()
    except OSError:
        return None
    if not _is_of(header.source, source, status) or _changed_since(status, archive_status):
        return None
    _require_no_lower(source, target, header, sizes, options, settings)
    return why_replace(header, settings, options)


def _require_no_lower(
    source: Path,
    target: Path,
    header: Header,
    sizes: ArchiveSizes,
    options: CompressOptions,
    settings: ArchiveSettings,
) -> None:
    if not options.force and (lower := settings.lower_than(header, sizes)):
        raise TargetError(f"is of {lower}; {to_replace_archive(source, target, options)}", target)


def _is_of(record: SourceRecord, source: Path, status: os.stat_result) -> bool:
    """Return whether ``record`` is of the file ``source``, as far as its name and ``status`` tell.

    The name tells tracks of one size and time apart, as tools make them that set times to the second
    or to a constant. It costs nothing where a tree was moved: it is the last part of the path.
    """
    named = (record.name, record.n_bytes, record.mtime_ns)
    return named == (portable_name(source), status.st_size, status.st_mtime_ns)


def _changed_since(source: os.stat_result, archive: os.stat_result) -> bool:
    """Return whether a source may have changed after ``archive`` was written, whatever its own time says.

    Programs can set a file's time of modification, but not its time of change: renaming another file
    to its name changes it too. A file system that keeps none shows the time of modification for it.
    """
    kept = source.st_ctime_ns != source.st_mtime_ns and archive.st_ctime_ns > archive.st_mtime_ns
    return kept and source.st_ctime_ns > archive.st_ctime_ns


def note_as_seen(target: Path, source: os.stat_result) -> None:
    """Let later runs see that the bytes of a changed source were found to be those of ``target``.

    The archive's time of change becomes now. Where that cannot be, its source is read again every time.
    """
    with suppress(OSError):
        status = target.stat()
        if _changed_since(source, status):
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def inspect_target(
    source: Path,
    target: Path,
    sha256: str,
    settings: ArchiveSettings,
    options: CompressOptions,
    on_progress: Progress | None = None,
) -> TargetState:
    """Return the state of ``target``, with a note if ``options.force`` replaces another's.

    With ``options.force`` nothing is up to date. ``sha256`` is that of the source; ``on_progress`` is
    called with 0 as the archive is read. Raises TargetError for a target that only ``options.force``
    replaces, and for a directory, BelowFloorError for an archive below a floor that fails.
    """
    if not is_taken(target):
        return TargetState()
    try:
        header, sizes = _read_archive_of(source, target, sha256, options)
    except TargetError:
        if options.force:
            return _replaced_by_force(source, target)
        raise
    reason = why_replace(header, settings, options)
    # A hundredth of the source, which was just hashed: damage must not pass as up to date.
    report = on_progress or (lambda _seconds: None)
    if reason is None and verify_structure(target, lambda: report(0), with_shared=False):
        reason = DAMAGED
    if header.source.sha256 != sha256:
        if options.force:
            return _replaced_by_force(source, target)
        _require_kept_sound(source, target, header, reason, options)
        return TargetState(earlier=header.source)
    _require_no_lower(source, target, header, sizes, options, settings)
    if reason is not None or options.force:
        return TargetState(None, reason, header.exact is not None)
    result = result_of("up_to_date", source, target, header, sizes, options)
    if options.floor and not header.exact:
        options.floor.require(result.measures, "; the existing archive stays")
    why = _why_other_pictures(header, sizes, target, options)
    if why is None and has_damaged_pictures(header, target):
        why = "a shared picture is damaged"
    return TargetState(None if why else result, other_pictures=why)


def _require_kept_sound(
    source: Path, target: Path, header: Header, reason: str | None, options: CompressOptions
) -> None:
    """Raise TargetError for an archive of an earlier version that only ``options.force`` replaces.

    ``reason``: which archive it is, if it does not do.
    """
    remedy = to_replace_archive(source, target, options)
    if reason == DAMAGED:
        message = f"is damaged, and made from an earlier version of this source; {remedy}"
        raise TargetError(message, target) from DamagedArchiveError(message)
    if reason is not None:
        raise made_from_an_earlier_version(source, target, options)
    if header.exact:
        message = f"has the exact copy of an earlier version of this source; {remedy}"
        raise TargetError(message, target)
    with suppress(OSError):
        status = source.stat()
        if _is_of(header.source, source, status) and not _changed_since(status, target.stat()):
            raise TargetError(
                "was made from other bytes than its source has, which nobody has written to since: "
                f"the source may be damaged; {remedy}",
                target,
            )


def _replaced_by_force(source: Path, target: Path) -> TargetState:
    """Return the state of what is not an archive of ``source``, and say what is lost with it."""
    try:
        with ArchiveReader(target) as reader:
            header = reader.header
    except DamagedArchiveError:
        return TargetState(replaces="an archive that was too damaged to tell its source")
    except ArchiveError:
        return TargetState(replaces="a file that was not an archive")
    whose = "an earlier version of this source"
    if header.source.name != portable_name(source):
        whose = f"another file, {header.source.name!r}"
    lost = ", and its exact copy" if header.exact else ""
    what = f"the archive of {whose}, of quality {header.quantizer.quality}{lost}"
    return TargetState(None, what, header.exact is not None)


def _read_archive_of(
    source: Path, target: Path, sha256: str, options: CompressOptions
) -> tuple[Header, ArchiveSizes]:
    """Return what the archive at ``target`` says of itself.

    TargetError if it is not of ``source`` as it is or was.
    """
    remedy = to_replace_archive(source, target, options)
    try:
        with ArchiveReader(target) as reader:
            header, sizes = reader.header, reader.sizes
    except ArchiveError as error:
        what = "is not an archive of this source"
        if isinstance(error, DamagedArchiveError):
            what = f"is too damaged ({error.message}) to tell its source"
        raise TargetError(f"already exists and {what}; {remedy}", target) from error
    if header.source.sha256 == sha256 or header.source.name == portable_name(source):
        return header, sizes
    raise TargetError(
        f"already exists and is the archive of another file, {header.source.name!r} with SHA-256 "
        f"{header.source.sha256[:16]}…; {remedy}",
        target,
    )


def made_from_an_earlier_version(
    source: Path, target: Path, options: CompressOptions
) -> TargetError:
    """Return the error of an archive of a source that sounds otherwise now."""
    remedy = to_replace_archive(source, target, options)
    return TargetError(
        f"already exists, made from an earlier version of this source; {remedy}", target
    )


def why_replace(header: Header, settings: ArchiveSettings, options: CompressOptions) -> str | None:
    """Return which archive does not do, in words; None for one that does if it is whole."""
    if header.settings != settings.digest or header.model.sha256 != settings.spec.sha256:
        changes = ", ".join(settings.changes_since(header))
        return f"the archive made with other settings: {changes}"
    if options.checks and header.check is None:
        return "the archive made without a check"
    floor = options.floor
    if floor and header.check and not header.exact and floor.wants_exact(header.check.measures):
        why = "is below the floor" if header.check.measures else "has no measures"
        return f"the archive, which {why} and has no exact copy"
    return None


def result_of(
    status: Status,
    source: Path,
    target: Path,
    header: Header,
    sizes: ArchiveSizes,
    options: CompressOptions,
    warnings: tuple[str, ...] = (),
) -> CompressResult:
    """Return the result for the archive that ``target`` is now."""
    measures = header.check.measures if header.check else None
    return CompressResult(
        status=status,
        source=source,
        target=target,
        duration_s=header.duration_s,
        source_bytes=header.source.n_bytes,
        archive_bytes=sizes.total,
        picture_bytes=sizes.pictures,
        shared_pictures=shared_pictures_of(header, target),
        exact_bytes=sizes.exact,
        measures=measures,
        below_floor=options.floor.shortfalls(measures) if options.floor else (),
        truncated=header.source.truncated,
        warnings=warnings,
    )
