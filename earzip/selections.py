"""Which files of a folder compress and restore take, and what they call their results."""

from __future__ import annotations

from pathlib import Path

from earzip.batch.plan import Selection
from earzip.formats.names import (
    AUDIO_EXTENSIONS,
    archive_name,
    is_archive_name,
    name_without_archive_suffix,
    restored_name,
)
from earzip.options import Container


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
