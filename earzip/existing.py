"""What stands in the place of a new archive, and whether it is as good as that."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from earzip.archive_settings import ArchiveSettings
from earzip.errors import ArchiveError, DamagedArchiveError, TargetError
from earzip.formats.archive import ArchiveReader, verify_structure
from earzip.formats.archive_header import Header
from earzip.formats.archive_layout import ArchiveSizes
from earzip.formats.header_records import portable_name
from earzip.options import CompressOptions, CompressResult, Status


@dataclass(frozen=True)
class Existing:
    """What an archive that is there means for the one that is to be made."""

    result: CompressResult | None = None
    """That it does: it is up to date."""
    notes: tuple[str, ...] = ()
    """What is said of one that is replaced."""
    has_exact_copy: bool = False
    """The new one has one too, of its own source: what was promised is not taken back in silence."""


def look_at_target(
    source: Path, target: Path, sha256: str, settings: ArchiveSettings, options: CompressOptions
) -> Existing:
    """Return what stands at ``target``, next to nothing if ``options.force`` replaces another's.

    ``sha256`` is that of the source. Raises TargetError for a target that ``options.force`` is needed
    to replace, BelowFloorError for an archive below a floor that fails.
    """
    if not os.path.lexists(target):
        return Existing()
    try:
        header, sizes = _read_archive_of(source, target, sha256)
    except TargetError:
        if options.force:
            return Existing(has_exact_copy=_has_exact_copy(target))
        raise
    reason = _why_anew(target, header, settings, options)
    if reason is not None:
        return Existing(None, (f"replaced {reason}",), header.exact is not None)
    result = result_of("up_to_date", source, target, header, sizes, options)
    if options.floor and not header.exact:
        options.floor.require(result.measures, "; the archive that is there stays")
    return Existing(result)


def _has_exact_copy(target: Path) -> bool:
    """Return whether there is an archive with an exact copy, of whichever source."""
    try:
        with ArchiveReader(target) as reader:
            return reader.header.exact is not None
    except ArchiveError:
        return False


def _read_archive_of(source: Path, target: Path, sha256: str) -> tuple[Header, ArchiveSizes]:
    """Return what the archive at ``target`` says of itself; TargetError if it is not of ``source``."""
    try:
        with ArchiveReader(target) as reader:
            header, sizes = reader.header, reader.sizes
    except ArchiveError as error:
        what = "is not an archive of this source; --force replaces it"
        if isinstance(error, DamagedArchiveError):
            what = f"is damaged ({error.message}) and does not say of what; --force makes it anew"
        raise TargetError(f"exists and {what}", target) from error
    if header.source.sha256 == sha256:
        return header, sizes
    if header.source.name == portable_name(source):
        raise TargetError(
            "exists and is the archive of its source as that was before it changed; "
            "--force archives it anew",
            target,
        )
    raise TargetError(
        f"exists and is the archive of another file, {header.source.name!r} with SHA-256 "
        f"{header.source.sha256[:16]}…; --force replaces it",
        target,
    )


def _why_anew(
    target: Path, header: Header, settings: ArchiveSettings, options: CompressOptions
) -> str | None:
    """Return which archive it is that does not do, in words; None for one that does."""
    if header.settings != settings.digest or header.model.sha256 != settings.spec.sha256:
        changes = ", ".join(settings.changes_since(header))
        return f"the archive that was made with other settings: {changes}"
    if options.checks and header.check is None:
        return "the archive that was made without a check"
    floor = options.floor
    if floor and header.check and not header.exact and floor.wants_exact(header.check.measures):
        why = "is below the floor" if header.check.measures else "has no measures"
        return f"the archive, which {why} and has no exact copy"
    # A hundredth of the source, which was just hashed: rot must not pass for up to date.
    return "a damaged archive" if verify_structure(target) else None


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
        exact_bytes=sizes.exact,
        measures=measures,
        below_floor=options.floor.shortfalls(measures) if options.floor else (),
        truncated=header.source.truncated,
        warnings=warnings,
    )
