"""The exact copy of a source in an archive: how it is made and checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import numpy as np

from earzip.coding.blocks import zip_blocks
from earzip.errors import DamagedArchiveError, SourceError, TargetError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.atomic import sha256_of
from earzip.formats.audio.exact_flac import exact_flac_bits, write_exact_flac
from earzip.formats.audio.reader import OnTruncated, SourceFacts, SourceReader
from earzip.formats.audio.source import open_source, open_source_file
from earzip.results import Progress


def exact_forms(facts: SourceFacts) -> tuple[str, ...]:
    """Return the forms of `earzip.formats.archive.header.EXACT_FORMS` to try, the best first."""
    return ("file",) if exact_flac_bits(facts) is None else ("flac", "file")


@contextmanager
def open_exact(
    form: str,
    source: Path,
    facts: SourceFacts,
    folder: Path,
    on_truncated: OnTruncated = None,
) -> Iterator[BinaryIO]:
    """Open the exact copy of ``source`` in that form; a FLAC is an unnamed file in ``folder``.

    ``on_truncated``: see `SourceReader`. Raises SourceError, and TargetError where the folder has no
    room.
    """
    if form == "file":
        try:
            file = source.open("rb")
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror}", source) from error
        with file:
            yield file
        return
    bits = exact_flac_bits(facts)
    assert bits is not None
    try:
        with TemporaryFile(dir=folder) as flac:
            with open_source(source, on_truncated) as reader:
                rate, channels = reader.facts.sample_rate, reader.facts.channels
                write_exact_flac(flac, reader.blocks(), rate, channels, bits)
            yield flac
    except OSError as error:
        raise TargetError(f"cannot store an exact copy here: {error.strerror}", folder) from error


def is_exact(
    archive: Path, source: Path, on_progress: Progress, on_truncated: OnTruncated = None
) -> bool:
    """Return whether the exact copy in ``archive`` is one of ``source``, read from what was written.

    Of the file's own bytes, or of every sample, their rate, and the speakers they belong to.
    """
    with ArchiveReader(archive) as reader:
        try:
            copy = reader.exact_copy()
        except DamagedArchiveError:  # one of the file's bytes, which are others now
            return False
        if reader.header.exact == "file":
            copy.close()
            return True
        with open_copy(reader, copy) as ours, open_source(source, on_truncated) as original:
            same = _same_sound(ours, original, on_progress)
        # A file may change and keep its size and time: the bytes read must be the bytes hashed.
        return same and sha256_of(source) == reader.header.source.sha256


def open_copy(reader: ArchiveReader, copy: BinaryIO) -> SourceReader:
    """Return the sound of an archive's exact copy; closing it closes ``copy``. Raises SourceError."""
    return open_source_file(copy, reader.sizes.exact, str(reader.path))


def _same_sound(first: SourceReader, second: SourceReader, on_progress: Progress) -> bool:
    same_kind = all(
        mine == other
        for mine, other in (
            (first.facts.sample_rate, second.facts.sample_rate),
            (first.layout, second.layout),
        )
    )
    if not same_kind:
        return False
    for ours, theirs in zip_blocks(first.blocks(), second.blocks()):
        if not np.array_equal(ours, theirs):
            return False
        on_progress(0)
    return first.n_frames_read == second.n_frames_read
