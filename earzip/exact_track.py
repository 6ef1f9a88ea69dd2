"""The sound of an archive's exact copy, as blocks of samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from earzip.errors import ArchiveError, DamagedArchiveError, SourceError
from earzip.exact import open_copy
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.audio.downmix import downmix
from earzip.formats.audio.reader import SourceReader
from earzip.formats.audio.resample import stereo_44k

Audio = NDArray[np.float32]

_DECODER_SLACK = 8192
"""Samples by which decoders of a lossy file disagree at the most: some frames of its padding."""


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
