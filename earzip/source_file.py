"""An archive to the source file itself, byte for byte, where that is what its exact copy holds."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from earzip.errors import ArchiveError, DamagedArchiveError, TargetError
from earzip.formats.archive import ArchiveReader
from earzip.formats.archive_header import Header
from earzip.formats.atomic import atomic_write
from earzip.options import Progress, RestoreOptions, RestoreResult
from earzip.restore_target import make_folder, require_replaceable

_BLOCK_BYTES = 1 << 20


def is_source_file_wanted(header: Header, options: RestoreOptions, target: Path) -> bool:
    """Return whether the source file is what is asked for, not its sound in a container.

    So it is for --as-source without a container, sample format or range; where ``target`` ends in .wav or
    .flac, only if the source's own name does too.
    """
    asks_for_sound = (options.container, options.bits, options.start_s, options.end_s) != 4 * (
        None,
    )
    if header.exact != "file" or not options.as_source or asks_for_sound:
        return False
    suffix = target.suffix.lower()
    return suffix not in (".wav", ".flac") or suffix == Path(header.source.name).suffix.lower()


def source_file_name(archive: str | os.PathLike[str], restored: str) -> str | None:
    """Return what the source file in an archive is to be called, None if the archive holds none.

    ``restored`` is the archive's name without .earz; it gets the source's extension if it lacks
    that. None also for what cannot be read as an archive: restoring it says why.
    """
    try:
        with ArchiveReader(archive) as reader:
            header = reader.header
    except ArchiveError:
        return None
    if header.exact != "file":
        return None
    suffix = Path(header.source.name).suffix
    return restored if restored.lower().endswith(suffix.lower()) else restored + suffix


def restore_source_file(
    reader: ArchiveReader, target: Path, options: RestoreOptions, on_progress: Progress | None
) -> RestoreResult:
    """Write the source file that ``reader`` holds to ``target``; return what was done.

    A target of the same bytes is left as it is; any other is refused without ``options.force``. Raises
    TargetError, and DamagedArchiveError even with ``options.keep_going``: half a file is not the source.
    """
    source = reader.header.source
    duration_s = source.n_frames / source.sample_rate
    if os.path.lexists(target):
        if _sha256(target) == source.sha256:
            return RestoreResult(
                "up_to_date", reader.path, target, duration_s, source.n_frames, exact=True
            )
        if not options.force:
            raise TargetError("exists and is not the source; --force replaces it", target)
        require_replaceable(target, reader.path, source)
    make_folder(target)
    digest = hashlib.sha256()
    try:
        copy = reader.exact_copy()
    except DamagedArchiveError as error:
        message = f"{error.message}; without --as-source its coded sound can be restored"
        raise DamagedArchiveError(message, reader.path) from error
    with copy, atomic_write(target, replace=options.force) as file:
        while block := copy.read(_BLOCK_BYTES):
            digest.update(block)
            file.write(block)
            if on_progress:
                on_progress(0)
        if digest.hexdigest() != source.sha256:
            raise DamagedArchiveError(
                f"exact copy: its SHA-256 is {digest.hexdigest()[:16]}…, the header says "
                f"{source.sha256[:16]}…",
                reader.path,
            )
        file.flush()
        if source.mtime_ns is not None:
            os.utime(file.fileno(), ns=(source.mtime_ns, source.mtime_ns))
    if on_progress:
        on_progress(duration_s)
    return RestoreResult(
        "written",
        reader.path,
        target,
        duration_s,
        source.n_frames,
        exact=True,
        wrong_length=reader.wrong_length,
    )


def _sha256(path: Path) -> str | None:
    try:
        if not path.is_file():  # opening a pipe would wait for its other end
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
