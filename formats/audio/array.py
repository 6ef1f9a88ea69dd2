"""Sound that is in memory, as a source like those in files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from earzip.errors import SourceError
from earzip.formats.audio.downmix import DEFAULT_LAYOUTS
from earzip.formats.audio.reader import BLOCK_FRAMES, SourceFacts, SourceReader


class ArraySource(SourceReader):
    """Samples of any type of float, ``[C, T]``, ±1, at ``rate`` Hz, taken as float32.

    To an archive it is a file of them without a header, interleaved and little-endian, whose channels
    have the usual positions. Raises SourceError for rates and numbers of channels that no source has.
    """

    def __init__(self, samples: npt.NDArray[np.floating[Any]], rate: int) -> None:
        self._samples = samples
        channels, n_frames = samples.shape
        facts = SourceFacts("RAW", "FLOAT", rate, channels, 32, True, True, n_frames)
        super().__init__("", facts, None, DEFAULT_LAYOUTS.get(channels, ()))

    def again(self) -> ArraySource:
        """Return a reader of the same samples; what this one found out at its end is taken over."""
        reader = ArraySource(self._samples, self.facts.sample_rate)
        reader.take_findings_of(self)
        return reader

    @property
    def n_bytes(self) -> int:
        """The size of the file."""
        return 4 * self._samples.size

    def sha256(self) -> str:
        """Return the SHA-256 of the file."""
        digest = hashlib.sha256()
        for block in self._decode():
            digest.update(np.ascontiguousarray(block.T, "<f4").data)
        return digest.hexdigest()

    def close(self) -> None:
        """Do nothing: there is no file."""

    def _decode(self) -> Iterator[npt.NDArray[np.float32]]:
        for start in range(0, self._samples.shape[1], BLOCK_FRAMES):
            with np.errstate(over="ignore"):  # infinite ones are refused by `blocks`
                block = self._samples[:, start : start + BLOCK_FRAMES].astype(
                    np.float32, copy=False
                )
            yield block

    def _error(self, message: str) -> SourceError:
        return SourceError(message)
