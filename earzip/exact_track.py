"""The sound of an archive's exact copy, as blocks of samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from earzip.errors import DamagedArchiveError, SourceError
from earzip.exact import open_copy
from earzip.formats.archive import ArchiveReader
from earzip.formats.audio import SourceReader, stereo_44k
from earzip.formats.downmix import downmix

Audio = NDArray[np.float32]


@dataclass
class ExactTrack:
    """Samples ``[start, end)`` of the exact copy, in stereo: at 44.1 kHz, or at the source's rate.

    ``copy`` is closed by `blocks`.
    """

    reader: ArchiveReader
    copy: BinaryIO
    start: int
    end: int
    at_source_rate: bool

    def blocks(self) -> Iterator[Audio]:
        """Yield the samples, float32 ``[2, T]``; unequal channels of a source stay as they are.

        Raises DamagedArchiveError where the copy is not the sound that the header tells of.
        """
        with self._blamed(), open_copy(self.reader, self.copy) as source:
            self._require_facts(source)
            position = 0
            for block in self._stereo(source):
                cut = block[:, max(0, self.start - position) : max(0, self.end - position)]
                position += block.shape[1]
                if cut.shape[1]:
                    yield cut
                if position > self._n_samples:
                    break
                if position >= self.end and not self._to_the_end:
                    return
            self._require_length(position)

    def _stereo(self, source: SourceReader) -> Iterable[Audio]:
        if self.at_source_rate:
            return (downmix(block, source.layout) for block in source.blocks())
        return stereo_44k(source)

    @property
    def _n_samples(self) -> int:
        header = self.reader.header
        return header.source.n_frames if self.at_source_rate else header.n_samples

    @property
    def _to_the_end(self) -> bool:
        return self.end == self._n_samples

    def _require_facts(self, source: SourceReader) -> None:
        told, found = self.reader.header.source, source.facts
        if (told.sample_rate, told.channels) != (found.sample_rate, found.channels):
            raise DamagedArchiveError(
                f"exact copy: has {found.channels} channels at {found.sample_rate} Hz, the header "
                f"says {told.channels} at {told.sample_rate} Hz",
                self.reader.path,
            )

    def _require_length(self, n_samples: int) -> None:
        if n_samples != self._n_samples:
            raise DamagedArchiveError(
                f"exact copy: {n_samples} samples decode, the header says {self._n_samples}",
                self.reader.path,
            )

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Let the archive be at fault for a copy that does not decode."""
        try:
            yield
        except SourceError as error:
            raise DamagedArchiveError(f"exact copy: {error.message}", self.reader.path) from error
