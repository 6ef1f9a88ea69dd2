"""An archive to the source file itself, byte for byte, where that is what its exact copy holds."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from earzip.errors import ArchiveError, DamagedArchiveError, SourceError, TargetError
from earzip.formats.archive.header import Header
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.records import SourceRecord
from earzip.formats.atomic import (
    atomic_write,
    is_taken,
    make_folder,
    private_as,
    set_mtime,
    sha256_of,
)
from earzip.formats.audio.flac_stream import Stream
from earzip.formats.audio.source import open_source
from earzip.formats.names import (
    AUDIO_EXTENSIONS,
    archive_name,
    container_suffix,
    sound_suffix,
    usual_suffix,
)
from earzip.formats.tags.provenance import read_provenance
from earzip.options import CONTAINER_OF_SUFFIX, RestoreOptions
from earzip.results import Progress
from earzip.transcode.results import RestoreResult

STREAM = Path("-")
"""Stands for the target in the results of what was sent as a stream."""
_BLOCK_BYTES = 1 << 20
_OURS = {".wav", ".flac"}  # extensions of sound that is restored as that of the source


def is_source_file_wanted(header: Header, options: RestoreOptions, target: Path) -> bool:
    """Return whether the source file itself is requested, not its sound in a container.

    So it is for --as-source without a container, sample format or range; where ``target`` has an
    extension of sound files, only if the source is of that kind, or was called so.
    """
    asks_for_sound = (options.container, options.bits, options.start_s, options.end_s) != 4 * (
        None,
    )
    if header.exact != "file" or not options.as_source or asks_for_sound:
        return False
    suffix = target.suffix.lower()
    own = {
        usual_suffix(sound_suffix(header.source.name)),
        usual_suffix(container_suffix(header.source.container)),
    }
    return suffix not in AUDIO_EXTENSIONS or usual_suffix(suffix) in own


def require_own_container(options: RestoreOptions, target: Path) -> None:
    """Refuse to write FLAC under the name of another kind of sound file. Raises TargetError."""
    suffix = target.suffix.lower()
    ours = _OURS if options.as_source else CONTAINER_OF_SUFFIX.keys()
    if options.container is None and suffix in AUDIO_EXTENSIONS - ours:
        raise TargetError(
            "would be FLAC: the archive has no copy of a source file of that kind; use a name "
            "ending in .flac or .wav, or a directory",
            target,
        )


def source_file_name(archive: str | os.PathLike[str], restored: str) -> str | None:
    """Return the name of the source file in an archive, None if the archive has none.

    ``restored`` is the archive's name without .earz; it gets the extension of the source's own name,
    or of its kind, if it lacks that, but none that no sound file has. None also for what cannot be
    read as an archive: restoring it says why.
    """
    try:
        with ArchiveReader(archive) as reader:
            header = reader.header
    except ArchiveError:
        return None
    if header.exact != "file":
        return None
    suffix = sound_suffix(header.source.name) or container_suffix(header.source.container)
    return restored if restored.lower().endswith(suffix) else restored + suffix


def restore_source_file(
    reader: ArchiveReader, target: Path, options: RestoreOptions, on_progress: Progress | None
) -> RestoreResult:
    """Write the source file that ``reader`` holds to ``target``; return what was done.

    A target of the same bytes is left as it is; any other is refused without ``options.force``. Raises
    TargetError, and DamagedArchiveError even with ``options.keep_going``: half a file is not the source.
    """
    source = reader.header.source
    duration_s = source.n_frames / source.sample_rate
    if is_taken(target):
        if os.path.isfile(target) and sha256_of(target, TargetError) == source.sha256:  # noqa: PTH113  # raises nothing
            return RestoreResult(
                "up_to_date", reader.path, target, duration_s, source.n_frames, exact=True
            )
        # First, so that nobody is told to use --force in vain. A file of earzip is not a source.
        if read_provenance(target, TargetError) is None:
            require_no_source(target, reader)
        if not options.force:
            raise TargetError(
                "already exists and is not the source; to replace it, restore this archive alone "
                "with --force",
                target,
            )
    make_folder(target)
    with (
        _source_file(reader, on_progress) as copy,
        atomic_write(target, replace=options.force, mode=private_as(reader.status)) as file,
    ):
        _copy_all(copy, file, reader.path, on_progress)
        file.flush()
        set_mtime(file.fileno(), source.mtime_ns, target)
    return _written(reader, target, on_progress)


def send_source_file(
    reader: ArchiveReader, stream: Stream, on_progress: Progress | None
) -> RestoreResult:
    """Send the source file that ``reader`` holds; return what was done. Raises DamagedArchiveError."""
    with _source_file(reader, on_progress) as copy:
        _copy_all(copy, stream, reader.path, on_progress)
    return _written(reader, STREAM, on_progress)


def _source_file(reader: ArchiveReader, on_progress: Progress | None) -> BinaryIO:
    try:
        return reader.exact_copy(on_progress)
    except DamagedArchiveError as error:
        message = f"{error.message}; --keep-going without --as-source restores the coded sound"
        raise DamagedArchiveError(message, reader.path) from error


def _copy_all(copy: BinaryIO, target: Stream, archive: Path, on_progress: Progress | None) -> None:
    while block := _read_block(copy, archive):
        target.write(block)
        if on_progress:
            on_progress(0)


def _written(reader: ArchiveReader, target: Path, on_progress: Progress | None) -> RestoreResult:
    source = reader.header.source
    duration_s = source.n_frames / source.sample_rate
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


def _read_block(copy: BinaryIO, archive: Path) -> bytes:
    try:
        return copy.read(_BLOCK_BYTES)
    except OSError as error:
        raise ArchiveError(f"cannot be read: {error.strerror or error}", archive) from error


def require_no_source(target: Path, reader: ArchiveReader) -> None:
    """Refuse to replace, even with ``force``, the archive itself, its source, and that of another.

    A name may be that of a restored file and of another source: ``song.mp3.flac`` comes of the archive
    of song.mp3. The archive of that other source is sought beside both. Raises TargetError.
    """
    _require_replaceable(target, reader.path, reader.header.source, "this archive")
    for folder in dict.fromkeys((target.parent, reader.path.parent)):
        other = folder / archive_name(target.name)
        if other == reader.path:
            continue
        with suppress(ArchiveError), ArchiveReader(other) as found:
            source = found.header.source
            _require_replaceable(target, other, source, str(other))


def _require_replaceable(target: Path, archive: Path, source: SourceRecord, whose: str) -> None:
    """Refuse to replace ``archive`` and its ``source``. Raises TargetError.

    People edit the tags of a source after it was archived, so sound of the source's own format, rate,
    channels and length that earzip has not written may be it.
    """
    try:
        if not target.is_file():
            return
        if target.samefile(archive):
            raise TargetError("is the archive itself and is never overwritten", target)
        status = target.stat()
    except OSError as error:
        raise TargetError(
            f"cannot be compared with the source: {error.strerror or error}", target
        ) from error
    if status.st_size == source.n_bytes and (
        status.st_mtime_ns == source.mtime_ns or sha256_of(target, TargetError) == source.sha256
    ):
        raise TargetError(
            f"is the source of {whose} and is never overwritten; name another place with -o",
            target,
        )
    if _is_sound_like(target, source):
        raise TargetError(
            f"may be the source of {whose} with other tags and is never overwritten; "
            "move it away, or name another place with -o",
            target,
        )


def _is_sound_like(path: Path, source: SourceRecord) -> bool:
    try:
        with open_source(path) as reader:
            facts = reader.facts
    except SourceError:
        return False
    same_kind = (facts.container, facts.sample_rate, facts.channels) == (
        source.container,
        source.sample_rate,
        source.channels,
    )
    return same_kind and facts.n_frames in (0, source.n_frames)
