"""The sound of a source between two passes over it: kept if it is short, else read again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from earzip.arrays import Audio
from earzip.formats.audio.reader import SourceFacts, SourceReader
from earzip.formats.audio.resample import stereo_44k
from earzip.formats.audio.source import reopen_source
from earzip.formats.geometry import SAMPLE_RATE

MOST_BYTES = 96 << 20
"""Of a track that is kept: nine minutes of a CD, half as much of what does not come in 16 bits."""
_FULL_SCALE = 1 << 15  # of 16 bits


class KeptSound:
    """The sound of ``first`` in stereo at 44.1 kHz, for a first pass, and for a second one.

    Samples of 16 bits are kept as such. Reading them a second time gives the same floats.
    """

    def __init__(self, first: SourceReader) -> None:
        self._first = first
        self._is_16_bit = _is_16_bit(first.facts)
        self._kept: deque[NDArray[np.int16] | Audio] | None = deque()
        self._n_bytes = 0

    def first_pass(self) -> Iterator[Audio]:
        """Yield the blocks, float32 ``[2, T]``, as `stereo_44k` does."""
        for block in stereo_44k(self._first):
            self._keep(block)
            yield block

    @contextmanager
    def second_pass(self) -> Iterator[tuple[SourceReader, Iterator[Audio]]]:
        """Give the reader that has all findings once the blocks have been taken, and the blocks.

        Call it once, after the first pass. Raises as `reopen_source` and `stereo_44k`.
        """
        if self._kept is not None:
            yield self._first, self._taken(self._kept)
            return
        with reopen_source(self._first) as reader:
            yield reader, stereo_44k(reader)

    def _keep(self, block: Audio) -> None:
        if self._kept is None:
            return
        kept = _as_16_bit(block) if self._is_16_bit else block
        self._n_bytes += kept.nbytes
        self._kept.append(kept)
        if self._n_bytes > MOST_BYTES:
            self._kept = None

    @staticmethod
    def _taken(kept: deque[NDArray[np.int16] | Audio]) -> Iterator[Audio]:
        while kept:
            block = kept.popleft()
            samples: Audio = block.astype(np.float32, copy=False)
            yield samples * np.float32(1 / _FULL_SCALE) if block.dtype == np.int16 else samples


def _is_16_bit(facts: SourceFacts) -> bool:
    """Whether stereo at 44.1 kHz has the source's own samples, and these are of 16 bits or fewer."""
    is_integer = facts.lossless and not facts.is_float and facts.bit_depth is not None
    is_as_stored = facts.sample_rate == SAMPLE_RATE and facts.channels <= 2
    return is_integer and is_as_stored and (facts.bit_depth or 0) <= 16


def _as_16_bit(block: Audio) -> NDArray[np.int16] | Audio:
    """Return the block's samples as integers, or the block if they are none."""
    whole = (block * np.float32(_FULL_SCALE)).astype(np.int16)
    return whole if np.array_equal(whole * np.float32(1 / _FULL_SCALE), block) else block
