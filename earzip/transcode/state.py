"""How an archive stands to its source, found out without writing anything."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from earzip.errors import ArchiveError, DamagedArchiveError, EarzipError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.audio.source import open_source
from earzip.options import CompressOptions
from earzip.results import Progress
from earzip.transcode.archive_settings import ArchiveSettings
from earzip.transcode.kept_segments import archive_of, is_same_sound, require_no_loss
from earzip.transcode.results import CompressResult
from earzip.transcode.source_state import hash_source, source_record
from earzip.transcode.source_tags import read_source_tags
from earzip.transcode.up_to_date import (
    TargetState,
    compressed_already,
    inspect_target,
    plain_reason_for_pictures,
    plain_reason_to_replace,
)

State = Literal[
    "up_to_date",
    "new",
    "moved",
    "retagged",
    "pictures",
    "changed",
    "replaced",
    "damaged",
    "refused",
]
"""What `earzip compress` does: nothing; encodes; takes over the archive of a source that was moved;
writes new tags into the archive; stores its pictures otherwise, or again; refuses, because the sound is
another now; encodes in place of a damaged archive or one of other settings; refuses because the archive
is damaged; for another reason."""


@dataclass(frozen=True)
class Standing:
    """The state of one archive, and a few words on it."""

    state: State
    message: str | None = None
    result: CompressResult | None = None
    """Of an archive that is up to date."""


def standing_of(
    source: Path,
    target: Path,
    options: CompressOptions,
    settings: ArchiveSettings,
    *,
    found: Sequence[Path] = (),
    on_progress: Progress | None = None,
) -> Standing:
    """Return how the archive ``target`` stands to ``source``.

    Of an archive that is plainly up to date, or made with other settings, only the header is read,
    otherwise both files. ``found``: archives elsewhere that may be of the same bytes. ``on_progress``
    is called with 0, and may raise to end it. Errors of either file become a state.
    """
    try:
        done = compressed_already(source, target, options, settings=settings)
        if done:
            return Standing("up_to_date", result=done)
        if os.path.lexists(target):
            return _of_archive(source, target, options, settings, on_progress)
        if not found:
            return Standing("new")
        sha256 = hash_source(source, on_progress)[0]
        moved = archive_of(found, sha256)
        if moved:
            existing = inspect_target(source, moved, sha256, settings, options, on_progress)
            if existing.result or existing.other_pictures:
                return Standing("moved", f"from {moved}")
        return Standing("new")
    except EarzipError as error:
        is_damage = isinstance(error.__cause__, DamagedArchiveError)
        message = str(error) if error.path != str(source) else error.message
        return Standing("damaged" if is_damage else "refused", message)


def _of_archive(
    source: Path,
    target: Path,
    options: CompressOptions,
    settings: ArchiveSettings,
    on_progress: Progress | None,
) -> Standing:
    with suppress(ArchiveError):  # described below
        if reason := plain_reason_to_replace(source, target, options, settings):
            return Standing("replaced", reason)
    if reason := plain_reason_for_pictures(source, target, options, settings):
        return Standing("pictures", reason)
    sha256, before = hash_source(source, on_progress)
    existing = inspect_target(source, target, sha256, settings, options, on_progress)
    if existing.earlier is None:
        return _of_same_bytes(existing)
    if existing.earlier.sound is None:
        return Standing("changed", "(or its tags alone: the archive is too old to tell)")
    with open_source(source, options.truncated) as reader:
        reader.keep_digest()
        for _ in reader.blocks():
            if on_progress:
                on_progress(0)
        record = source_record(source, reader, sha256, before)
    if not is_same_sound(record, existing.earlier):
        return Standing("changed")
    with ArchiveReader(target) as old:
        require_no_loss(old, read_source_tags(source), source, options)
    return Standing("retagged")


def _of_same_bytes(existing: TargetState) -> Standing:
    if existing.result:
        return Standing("up_to_date", result=existing.result)
    if existing.other_pictures:
        return Standing("pictures", existing.other_pictures)
    return Standing("replaced", existing.replaces or "an archive that is up to date")
