"""The exact copy of a source in an archive: how it is made, and the proof that it is one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import numpy as np

from earzip.arrays import Audio
from earzip.coding.blocks import in_step
from earzip.errors import ArchiveError, DamagedArchiveError, SourceError, TargetError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.audio.downmix import downmix
from earzip.formats.audio.exact_flac import exact_flac_bits, write_exact_flac
from earzip.formats.audio.reader import SourceFacts, SourceReader
from earzip.formats.audio.resample import stereo_44k
from earzip.formats.audio.source import open_source, open_source_file
from earzip.results import Progress

_DECODER_SLACK = 8192
"""Samples by which decoders of a lossy file disagree at the most: some frames of its padding."""


def exact_forms(facts: SourceFacts) -> tuple[str, ...]:
    """Return the forms of `earzip.formats.archive.header.EXACT_FORMS` to try, the best first."""
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
            with open_source(source) as reader:
                rate, channels = reader.facts.sample_rate, reader.facts.channels
                write_exact_flac(flac, reader.blocks(), rate, channels, bits)
            yield flac
    except OSError as error:
        raise TargetError(f"no exact copy can be made here: {error.strerror}", folder) from error


def is_exact(archive: Path, source: Path, on_progress: Progress) -> bool:
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
        with open_copy(reader, copy) as ours, open_source(source) as original:
            same = _same_sound(ours, original, on_progress)
        # A file may change and keep its size and time: what was read must be what was hashed.
        return same and _sha256(source) == reader.header.source.sha256


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}", path) from error


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


@dataclass
class ExactTrack:
    """Samples ``[start, end)`` of the exact copy, in stereo: at 44.1 kHz, or at the source's rate.

    ``copy`` is closed by whichever of `blocks` and `channel_blocks` is used.
    """

    reader: ArchiveReader
    copy: BinaryIO
    start: int
    end: int
    at_source_rate: bool

    def blocks(self) -> Iterator[Audio]:
        """Yield the samples, float32 ``[2, T]``.

        Raises DamagedArchiveError where the copy is not the sound that the header tells of, ArchiveError
        where it is the source file and nothing that is installed decodes that.
        """
        with self._opened() as source:
            blocks = stereo_44k(source)
            if self.at_source_rate:
                blocks = (downmix(block, source.layout) for block in source.blocks())
            position = 0
            for block in self._of_length(blocks, 2):
                cut = block[:, max(0, self.start - position) : max(0, self.end - position)]
                position += block.shape[1]
                if cut.shape[1]:
                    yield cut
                if position >= self.end and self.end < self._n_samples:
                    return

    def channel_blocks(self) -> Iterator[Audio]:
        """Yield all samples of all channels at the source's rate, ``[C, T]``; raises as `blocks`."""
        with self._opened() as source:
            yield from self._of_length(source.blocks(), source.facts.channels)

    def _of_length(self, blocks: Iterable[Audio], channels: int) -> Iterator[Audio]:
        """Yield as many samples as the header says.

        That a copy of the source file is one is known from its SHA-256, so where another decoder finds
        a few samples more or fewer in it, they are cut off, or silence is added.
        """
        n_left, n_found = self._n_samples, 0
        slack = _DECODER_SLACK if self._is_source_file else 0
        for block in blocks:
            n_found += block.shape[1]
            if n_found > self._n_samples + slack:
                break
            yield block[:, :n_left]
            n_left -= min(n_left, block.shape[1])
        if abs(n_found - self._n_samples) > slack:
            raise self._error(f"{n_found} samples decode, the header says {self._n_samples}")
        yield np.zeros((channels, n_left), np.float32)

    @property
    def _is_source_file(self) -> bool:
        return self.reader.header.exact == "file"

    @property
    def _n_samples(self) -> int:
        header = self.reader.header
        return header.source.n_frames if self.at_source_rate else header.n_samples

    @contextmanager
    def _opened(self) -> Iterator[SourceReader]:
        """Give the copy as sound; the archive is at fault where it does not decode."""
        try:
            with open_copy(self.reader, self.copy) as source:
                told, found = self.reader.header.source, source.facts
                if (told.sample_rate, told.channels) != (found.sample_rate, found.channels):
                    raise self._error(
                        f"has {found.channels} channels at {found.sample_rate} Hz, the header says "
                        f"{told.channels} at {told.sample_rate} Hz"
                    )
                yield source
        except SourceError as error:
            if not self._is_source_file:
                raise self._error(error.message) from error
            raise ArchiveError(
                f"its exact copy, the source file, cannot be decoded here: {error.message}",
                self.reader.path,
            ) from error

    def _error(self, message: str) -> DamagedArchiveError:
        return DamagedArchiveError(f"exact copy: {message}", self.reader.path)
