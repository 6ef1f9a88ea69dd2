"""A source file as an archive records it: its bytes, its times, what was found out about its sound."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from earzip.errors import SourceError
from earzip.formats.archive.records import SourceRecord, storable_mtime_ns
from earzip.formats.archive.stand_in import fill_whole
from earzip.formats.audio.reader import SourceReader
from earzip.formats.names import portable_name
from earzip.formats.tags.provenance import read_provenance
from earzip.results import Progress

_HASH_BLOCK_BYTES = 1 << 20


def hash_source(source: Path, on_progress: Progress | None) -> tuple[str, os.stat_result]:
    """Return the SHA-256 of a file and its state before it was read.

    ``on_progress`` is called with 0, and may raise to end it. Raises SourceError.
    """
    try:
        fill_whole(source)
        with source.open("rb") as file:
            before = os.fstat(file.fileno())
            digest = hashlib.sha256()
            while block := file.read(_HASH_BLOCK_BYTES):
                if file.tell() > before.st_size:  # a file that keeps growing would never end
                    raise _changed(source)
                digest.update(block)
                if on_progress:
                    on_progress(0)  # raises on a stop request while a file is hashed
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}", source) from error
    return digest.hexdigest(), before


def require_unchanged(source: Path, before: os.stat_result) -> None:
    """Refuse a source that is not what it was: another file, or of another size or other times.

    Who changes a file cannot set the time of change, as one can that of modification. Raises SourceError.
    """
    try:
        after = source.stat()
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}", source) from error
    if _identity(after) != _identity(before):
        raise _changed(source)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def _changed(source: Path) -> SourceError:
    return SourceError("changed while earzip read it", source)


def source_record(
    source: Path,
    reader: SourceReader,
    sha256: str,
    before: os.stat_result,
    piped_name: str | None = None,
) -> SourceRecord:
    """Return the record of a source that ``reader`` has read to its end.

    ``piped_name``: the name of one that came through a pipe and has no time of its own.
    """
    if piped_name is not None:
        return record_of(reader, piped_name, sha256, before.st_size, None)
    mtime_ns = storable_mtime_ns(before.st_mtime_ns)
    return record_of(reader, portable_name(source), sha256, before.st_size, mtime_ns)


def record_of(
    reader: SourceReader, name: str, sha256: str, n_bytes: int, mtime_ns: int | None
) -> SourceRecord:
    """Return the record of sound that ``reader`` has read to its end, and of the file it came in."""
    facts = reader.facts
    return SourceRecord(
        name=name,
        sha256=sha256,
        n_bytes=n_bytes,
        mtime_ns=mtime_ns,
        container=facts.container,
        codec=facts.codec,
        sample_rate=facts.sample_rate,
        channels=facts.channels,
        bit_depth=facts.bit_depth,
        is_float=facts.is_float,
        lossless=facts.lossless,
        n_frames=facts.n_frames,
        downmix=reader.downmix,
        truncated=reader.truncated,
        sound=reader.digest,
    )


def source_warnings(
    source: Path, reader: SourceReader, before: os.stat_result, *, is_piped: bool = False
) -> list[str]:
    """Return what of a source that ``reader`` has read to its end the user should know."""
    warnings = [*reader.notes]
    if not reader.n_frames_read:
        warnings.append("it has no samples; the archive is empty")
    elif reader.facts.channels > 2:
        warnings.append(
            f"{reader.facts.channels} channels were mixed down to stereo ({reader.downmix})"
        )
    if read_provenance(source) is not None:
        warnings.append("was restored by earzip: archiving it again loses more")
    if not is_piped and storable_mtime_ns(before.st_mtime_ns) is None:
        warnings.append(
            "its time of modification lies after the year 2262 or before 1678 and was not archived"
        )
    return warnings
