"""Archives that take over the segments of another: of a source with other tags, or that was moved."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from earzip.errors import ArchiveError, TargetError
from earzip.formats.archive.header import Header, SourceRecord, storable_mtime_ns
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.writer import ArchiveWriter
from earzip.formats.atomic import make_folder, private_as
from earzip.formats.audio.source import open_source
from earzip.formats.names import portable_name
from earzip.formats.tags.read import read_tags
from earzip.options import CompressOptions
from earzip.results import CompressResult, Progress
from earzip.transcode.saved_tags import write_with_tags
from earzip.transcode.source_state import require_unchanged, source_record, source_warnings
from earzip.transcode.up_to_date import (
    ArchiveSettings,
    made_from_an_earlier_version,
    result_of,
    why_replace,
)


def with_new_tags(
    source: Path,
    target: Path,
    sha256: str,
    before: os.stat_result,
    options: CompressOptions,
    on_progress: Progress | None = None,
) -> CompressResult:
    """Give the whole archive ``target`` the tags that ``source`` has now; its segments stay.

    ``sha256`` and ``before`` are the source's, as it is now; the archive knows the digest of its sound.
    Raises TargetError if the source's sound is another now, SourceError if it cannot be read.
    """
    with open_source(source, options.truncated) as sound, ArchiveReader(target) as old:
        sound.keep_digest()
        for _ in sound.blocks():
            if on_progress:
                on_progress(0)
        record = source_record(source, sound, sha256, before)
        if not is_same_sound(record, old.header.source):
            raise made_from_an_earlier_version(target)
        tags = read_tags(source)
        if old.tags and old.tags.payload.get("fields") and not tags.fields:
            raise TargetError(
                "has tags that its source has lost; use --force to replace it", target
            )
        header = replace(old.header, source=record)
        mode = private_as(before)
        with ArchiveWriter(target, replace=True, mode=mode) as writer:
            _take_segments(writer, old, on_progress)
            sizes = write_with_tags(writer, header, tags)
            require_unchanged(source, before)
            writer.commit(record.mtime_ns)
        warnings = (*tags.problems, *source_warnings(source, sound, before))
    return result_of("retagged", source, target, header, sizes, options, warnings)


def is_same_sound(record: SourceRecord, other: SourceRecord) -> bool:
    """Return whether two sources have the same samples at the same rate."""
    digests = record.sound, other.sound
    rates = record.sample_rate, other.sample_rate
    return None not in digests and len({*digests}) == len({*rates}) == 1


def have_same_segments(one: Path, other: Path) -> bool:
    """Return whether two archives decode to the same sound. Raises ArchiveError."""
    with ArchiveReader(one) as first, ArchiveReader(other) as second:
        return _sound_of(first) == _sound_of(second)


def _sound_of(reader: ArchiveReader) -> tuple[object, ...]:
    header = reader.header
    coded = header.n_samples, header.gain_centibels, header.edges, header.quantizer
    return *coded, reader.segment_checksums()


def taken_from(
    found: Path,
    source: Path,
    target: Path,
    sha256: str,
    before: os.stat_result,
    settings: ArchiveSettings,
    options: CompressOptions,
    on_progress: Progress | None = None,
) -> CompressResult | None:
    """Make the archive of ``source`` from ``found``, one of the same bytes under another name.

    ``sha256`` and ``before`` are the source's. Returns None if ``found`` is not such an archive, is
    damaged, or was made with other settings than ``settings``. Raises TargetError, and SourceError for a
    source that changes meanwhile.
    """
    try:
        with ArchiveReader(found) as old:
            if old.header.source.sha256 != sha256 or why_replace(old.header, settings, options):
                return None
            return _copied(old, source, target, before, options, on_progress)
    except ArchiveError:
        return None


def _copied(
    old: ArchiveReader,
    source: Path,
    target: Path,
    before: os.stat_result,
    options: CompressOptions,
    on_progress: Progress | None,
) -> CompressResult:
    name, mtime_ns = portable_name(source), storable_mtime_ns(before.st_mtime_ns)
    record = replace(old.header.source, name=name, mtime_ns=mtime_ns)
    header: Header = replace(old.header, source=record)
    make_folder(target)
    with ArchiveWriter(target, replace=False, mode=private_as(before)) as writer:
        _take_segments(writer, old, on_progress)
        tags = old.tags
        sizes = writer.write(
            header,
            tags=tags.payload if tags else None,
            blocks=tags.blocks if tags else (),
            pictures=old.pictures(),
            exact=old.exact_copy(on_progress) if header.exact else None,
        )
        require_unchanged(source, before)
        writer.commit(mtime_ns)
    return result_of("moved", source, target, header, sizes, options)


def _take_segments(writer: ArchiveWriter, old: ArchiveReader, on_progress: Progress | None) -> None:
    for i in range(old.n_segments):
        writer.add_stored_segment(*old.stored_segment(i))
        if on_progress:
            on_progress(0)
