"""The exact copy of a source in an archive: how it is made, and the proof that it is one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import numpy as np

from earzip.errors import SourceError, TargetError
from earzip.formats.archive import ArchiveReader
from earzip.formats.audio import SourceReader, open_source, open_source_file
from earzip.formats.exact_flac import exact_flac_bits, write_exact_flac
from earzip.formats.source_reader import SourceFacts
from earzip.lockstep import in_step
from earzip.options import Progress

_HASH_BYTES = 1 << 20


def exact_forms(facts: SourceFacts) -> tuple[str, ...]:
    """Return the forms of `earzip.formats.archive_header.EXACT_FORMS` to try, the best first."""
    return ("file",) if exact_flac_bits(facts) is None else ("flac", "file")


@contextmanager
def open_exact(form: str, source: Path, facts: SourceFacts, folder: Path) -> Iterator[BinaryIO]:
    """Give the exact copy of ``source`` in that form, to be read; a FLAC lies unnamed in ``folder``.

    Raises SourceError, and TargetError where the folder has no room.
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
            write_exact_flac(source, flac, bits)
            yield flac
    except OSError as error:
        raise TargetError(f"no exact copy can be made here: {error.strerror}", folder) from error


def is_exact(archive: Path, source: Path, on_progress: Progress) -> bool:
    """Return whether the exact copy in ``archive`` is one of ``source``, read from what was written.

    Of the file's own bytes, or of every sample, their rate, and the speakers they belong to.
    """
    with ArchiveReader(archive) as reader, reader.exact_copy() as copy:
        if reader.header.exact == "file":
            return copy_sha256(copy, on_progress) == reader.header.source.sha256
        with open_copy(reader, copy) as ours, open_source(source) as original:
            return _same_sound(ours, original, on_progress)


def copy_sha256(copy: BinaryIO, on_progress: Progress) -> str:
    """Return the SHA-256 of an exact copy, in hexadecimal."""
    digest = hashlib.sha256()
    copy.seek(0)
    while block := copy.read(_HASH_BYTES):
        digest.update(block)
        on_progress(0)
    return digest.hexdigest()


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
    for ours, theirs in in_step(first.blocks(), second.blocks()):
        if not np.array_equal(ours, theirs):
            return False
        on_progress(0)
    return first.n_frames_read == second.n_frames_read
