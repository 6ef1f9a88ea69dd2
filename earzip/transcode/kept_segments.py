"""Archives that take over the segments of another: of a source with other tags, or that was moved."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from earzip.errors import ArchiveError, DamagedArchiveError, TargetError
from earzip.formats.archive.header import Header
from earzip.formats.archive.layout import ArchiveSizes
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.records import SourceRecord, storable_mtime_ns
from earzip.formats.archive.writer import ArchiveWriter
from earzip.formats.atomic import make_folder, private_as
from earzip.formats.audio.source import open_source
from earzip.formats.names import portable_name
from earzip.formats.tags.model import TagSet
from earzip.options import CompressOptions
from earzip.results import Progress
from earzip.transcode.arranged_tags import arranged
from earzip.transcode.pictures import Storage
from earzip.transcode.replacing import to_replace_archive
from earzip.transcode.results import CompressResult
from earzip.transcode.saved_tags import write_with_tags
from earzip.transcode.source_state import require_unchanged, source_record, source_warnings
from earzip.transcode.source_tags import read_source_tags
from earzip.transcode.up_to_date import made_from_an_earlier_version, result_of


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
            raise made_from_an_earlier_version(source, target, options)
        tags = read_source_tags(source)
        require_no_loss(old, tags, source, options)
        arrangement = arranged(tags, Storage.wanted(options, old.header))
        header = arrangement.header(replace(old.header, source=record))
        if options.floor and header.check:
            options.floor.require(header.check.measures, "; the archive stays")
        mode = private_as(before)
        with ArchiveWriter(target, replace=True, mode=mode) as writer:
            _take_segments(writer, old, on_progress)
            sizes = write_with_tags(writer, header, arrangement.tags)
            require_unchanged(source, before)
            writer.commit(record.mtime_ns)
        warnings = (
            *tags.problems,
            *arrangement.warnings,
            *source_warnings(source, sound, before),
        )
    return result_of("retagged", source, target, header, sizes, options, warnings)


def is_same_sound(record: SourceRecord, other: SourceRecord) -> bool:
    """Return whether two sources have the same samples, at the same rate, for the same loudspeakers."""

    def sound_of(one: SourceRecord) -> tuple[object, ...]:
        return one.sound, one.sample_rate, one.channels, one.n_frames, one.downmix

    return record.sound is not None and sound_of(record) == sound_of(other)


def require_no_loss(
    old: ArchiveReader, tags: TagSet, source: Path, options: CompressOptions
) -> None:
    """Raise TargetError for ``tags`` that are damaged, or lack all that an archive has of a kind."""
    remedy = to_replace_archive(source, old.path, options)
    before = old.tags.payload if old.tags else {}
    kinds: Any = before.get("raw", [])
    had_id3v2 = any(block["kind"] == "id3v2" for block in kinds)
    lost = [
        what
        for what, is_lost in (
            ("tags", before.get("fields") and not tags.fields),
            ("pictures", before.get("pictures") and not tags.pictures),
            ("an ID3v2 tag", had_id3v2 and not tags.raw_bytes("id3v2")),
        )
        if is_lost
    ]
    if lost:
        message = f"has {' and '.join(lost)} that its source has lost; {remedy}"
        raise TargetError(message, old.path)
    if tags.is_damaged:
        problems = "; ".join(tags.problems)
        message = f"stays, because the tags of its source are damaged ({problems}); {remedy}"
        raise TargetError(message, old.path)


def require_other_tags_alone(
    new: Path, target: Path, tags: TagSet, source: Path, options: CompressOptions
) -> None:
    """Refuse to replace ``target`` by ``new`` if that has other sound, or ``tags`` are less than its own.

    Both are of ``source``. Raises TargetError.
    """
    with ArchiveReader(new) as archive, ArchiveReader(target) as old:
        if _sound_of(archive) != _sound_of(old):
            raise made_from_an_earlier_version(source, target, options)
        require_no_loss(old, tags, source, options)


def _sound_of(reader: ArchiveReader) -> tuple[object, ...]:
    header = reader.header
    coded = header.n_samples, header.gain_centibels, header.edges, header.quantizer
    return *coded, reader.segment_checksums()


def archive_of(found: Iterable[Path], sha256: str) -> Path | None:
    """Return the first archive in ``found`` of a source of these bytes, None if there is none."""
    for path in found:
        with suppress(ArchiveError), ArchiveReader(path) as reader:
            if reader.header.source.sha256 == sha256:
                return path
    return None


def taken_from(
    found: Path,
    source: Path,
    target: Path,
    before: os.stat_result,
    options: CompressOptions,
    on_progress: Progress | None = None,
) -> CompressResult:
    """Make the archive of ``source`` from ``found``, one of the same bytes under another name.

    ``before`` is the state of the source. Raises ArchiveError for one that is damaged, TargetError, and
    SourceError for a source that changes meanwhile.
    """
    name, mtime_ns = portable_name(source), storable_mtime_ns(before.st_mtime_ns)
    make_folder(target)
    writing = ArchiveWriter(target, replace=False, mode=private_as(before))
    with ArchiveReader(found) as old, writing as writer:
        record = replace(old.header.source, name=name, mtime_ns=mtime_ns)
        header = replace(old.header, source=record)
        _take_segments(writer, old, on_progress)
        header, sizes, warnings = _write_rest(writer, old, header, source, options, on_progress)
        require_unchanged(source, before)
        writer.commit(mtime_ns)
    return result_of("moved", source, target, header, sizes, options, warnings)


def with_other_pictures(
    source: Path,
    target: Path,
    before: os.stat_result,
    options: CompressOptions,
    on_progress: Progress | None = None,
) -> CompressResult:
    """Store the pictures of ``target``, an archive of the bytes of ``source``, as ``options`` say.

    All else stays; ``before`` is the state of the source. Raises as `taken_from`.
    """
    writing = ArchiveWriter(target, replace=True, mode=private_as(before))
    with ArchiveReader(target) as old, writing as writer:
        _take_segments(writer, old, on_progress)
        header, sizes, warnings = _write_rest(writer, old, old.header, source, options, on_progress)
        require_unchanged(source, before)
        writer.commit(old.header.source.mtime_ns)
    return result_of("repictured", source, target, header, sizes, options, warnings)


def _write_rest(
    writer: ArchiveWriter,
    old: ArchiveReader,
    header: Header,
    source: Path,
    options: CompressOptions,
    on_progress: Progress | None,
) -> tuple[Header, ArchiveSizes, tuple[str, ...]]:
    """Write the archive: tags and pictures of ``old``, or of ``source`` if they are to be others.

    Return its header, what its bytes are spent on, and warnings.
    """
    exact = old.exact_copy(on_progress) if header.exact else None
    storage = Storage.wanted(options, header)
    if storage == Storage.of_archive(header):
        with suppress(DamagedArchiveError):  # a picture beside it is not there: the source has it
            tags = old.tags
            payload, blocks = (tags.payload, tags.blocks) if tags else (None, ())
            sizes = writer.write(
                header, tags=payload, blocks=blocks, pictures=old.pictures(), exact=exact
            )
            return header, sizes, ()
    tags_now = read_source_tags(source)
    arrangement = arranged(tags_now, storage)
    header = arrangement.header(header)
    sizes = write_with_tags(writer, header, arrangement.tags, exact)
    return header, sizes, (*tags_now.problems, *arrangement.warnings)


def _take_segments(writer: ArchiveWriter, old: ArchiveReader, on_progress: Progress | None) -> None:
    for i in range(old.n_segments):
        writer.add_stored_segment(*old.stored_segment(i))
        if on_progress:
            on_progress(0)
