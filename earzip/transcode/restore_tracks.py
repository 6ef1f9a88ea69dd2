"""One archive to a directory of tracks, as its cue sheet or chapters cut it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from earzip.errors import ArchiveError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.atomic import reap_stale
from earzip.models.pool import CodecPool
from earzip.options import CONTAINER_OF_SUFFIX, Container, RestoreOptions
from earzip.results import Progress
from earzip.transcode.restore import restore_piece, restored_already
from earzip.transcode.results import RestoreResult
from earzip.transcode.split import Piece, pieces_of

_SUFFIXES = {container: suffix for suffix, container in CONTAINER_OF_SUFFIX.items()}


def find_pieces(archive: str | os.PathLike[str]) -> list[Piece]:
    """Return the tracks of an archive, none if it is a single one. Raises ArchiveError."""
    with ArchiveReader(archive, salvage=True) as reader:
        return pieces_of(reader)


def restore_tracks(
    archive: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    options: RestoreOptions,
    *,
    codecs: CodecPool | None = None,
    on_progress: Progress | None = None,
) -> RestoreResult:
    """Restore the tracks of ``archive`` to files in ``folder``; return what was done.

    They are called ``01 Title.flac``, have their own tags and the archive's pictures, and join to all of
    its sound. Each is written as `earzip.transcode.restore.restore_file` writes a file, and raises as
    that does; tracks that are done then stay. ArchiveError for an archive that is a single track.
    """
    archive, folder = Path(archive), Path(folder)
    pieces = find_pieces(archive)
    if not pieces:
        raise ArchiveError("has neither a cue sheet nor chapters to split it by", archive)
    if folder.is_dir():
        reap_stale(folder)
    results = [
        restore_piece(archive, target, piece, asked, codecs=codecs, on_progress=on_progress)
        for piece, target, asked in _targets(pieces, folder, options)
    ]
    return _together(archive, folder, results)


def tracks_already(
    archive: str | os.PathLike[str], folder: str | os.PathLike[str], options: RestoreOptions
) -> RestoreResult | None:
    """Return what `restore_tracks` does if all tracks are up to date, else None. Raises nothing."""
    archive, folder = Path(archive), Path(folder)
    try:
        pieces = find_pieces(archive)
    except ArchiveError:
        return None
    results = []
    for piece, target, asked in _targets(pieces, folder, options):
        result = restored_already(archive, target, asked, piece)
        if result is None:
            return None
        results.append(result)
    return _together(archive, folder, results) if results else None


def _targets(
    pieces: list[Piece], folder: Path, options: RestoreOptions
) -> Iterable[tuple[Piece, Path, RestoreOptions]]:
    container: Container = options.container or "flac"
    for piece in pieces:
        asked = replace(options, container=container, start_s=piece.start_s, end_s=piece.end_s)
        yield piece, folder / piece.name(_SUFFIXES[container]), asked


def _together(archive: Path, folder: Path, results: list[RestoreResult]) -> RestoreResult:
    """Return the results of tracks as that of their archive; what several say is said once."""
    is_new = any(result.status == "written" for result in results)
    return RestoreResult(
        status="written" if is_new else "up_to_date",
        archive=archive,
        target=folder,
        duration_s=sum(result.duration_s for result in results),
        n_samples=sum(result.n_samples for result in results),
        n_overs=sum(result.n_overs for result in results),
        exact=all(result.exact for result in results),
        lost_exact=any(result.lost_exact for result in results),
        lost_segments=tuple(sorted({i for result in results for i in result.lost_segments})),
        silences=_once(silence for result in results for silence in result.silences),
        lost_pictures=max((result.lost_pictures for result in results), key=len),
        lost_tags=any(result.lost_tags for result in results),
        wrong_length=next((r.wrong_length for r in results if r.wrong_length), None),
        tag_losses=_once(loss for result in results for loss in result.tag_losses),
        tracks=tuple(result.target for result in results),
        warnings=_once(warning for result in results for warning in result.warnings),
    )


def _once(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
