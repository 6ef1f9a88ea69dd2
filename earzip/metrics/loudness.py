"""Integrated loudness (ITU-R BS.1770-4) and loudness range (EBU Tech 3342) of a stream.

Filters, gates and blocks are pyloudnorm's, and so are the results, within 0.01 LU. Loudness is that of
blocks of 400 ms every 100 ms, its range that of blocks of 3 s every 90 ms, with 1.5 s of silence after
the track's end.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earzip.formats.geometry import SAMPLE_RATE

_CELL = 441  # samples: the longest piece that blocks and their distances are made of
_CELLS_PER_S = 100
_SILENCE = 66_150  # samples
_ABSOLUTE_GATE = -70.0  # LUFS
_RELATIVE_GATE = -10.0  # LU, of loudness
_RANGE_GATE = -20.0  # LU, of its range
_PERCENTILES = (10, 95)

Powers = NDArray[np.float64]


@dataclass(frozen=True)
class Loudness:
    """The loudness of a track."""

    lufs: float | None
    """Integrated loudness; None for less than 400 ms and where nothing passes the gate of −70 LUFS."""
    lra: float | None
    """Loudness range in LU; None for less than 1.5 s and where nothing passes the gate."""


class LoudnessMeter:
    """Measures a track that arrives in blocks; keeps the powers of 76,000 blocks an hour."""

    def __init__(self) -> None:
        self._sections = _k_weighting()
        self._state = np.zeros((len(self._sections), 2, 2))
        self._rest: Powers = np.zeros(0)
        self._momentary = _Blocks(40, 10)
        self._short_term = _Blocks(300, 9)
        self._n_samples = 0

    def add(self, audio: NDArray[np.float32]) -> None:
        """Take in the next samples: float32 ``[2, T]``, 44.1 kHz."""
        from scipy.signal import sosfilt  # noqa: PLC0415  # of the extra eval

        if not audio.shape[1]:  # which sosfilt refuses
            return
        self._n_samples += audio.shape[1]
        samples, self._state = sosfilt(self._sections, audio.astype(np.float64), zi=self._state)
        powers = np.concatenate([self._rest, np.square(samples).sum(0)])
        n_cells = len(powers) // _CELL
        cells = powers[: n_cells * _CELL].reshape(n_cells, _CELL).mean(1)
        self._rest = powers[n_cells * _CELL :]
        self._momentary.add(cells)
        self._short_term.add(cells)

    def loudness(self) -> Loudness:
        """Return the loudness of all that was added; ends the stream."""
        n_samples = self._n_samples
        # A last block may pass the end by half its distance from the one before.
        self.add(np.zeros((2, _SILENCE + SAMPLE_RATE // 10), np.float32))
        return Loudness(
            lufs=_integrated(self._momentary.levels(n_samples)),
            lra=_range(self._short_term.levels(n_samples + _SILENCE)),
        )


def _k_weighting() -> NDArray[np.float64]:
    """Return pyloudnorm's K-weighting as second-order sections."""
    import pyloudnorm  # noqa: PLC0415  # of the extra eval

    filters = pyloudnorm.Meter(SAMPLE_RATE)._filters.values()
    return np.array([[*(each.passband_gain * each.b), *each.a] for each in filters])


class _Blocks:
    """Mean powers of overlapping blocks of ``length`` cells, one every ``distance``."""

    def __init__(self, length: int, distance: int) -> None:
        self._length, self._distance = length, distance
        self._powers = array("d")
        self._cells: Powers = np.zeros(0)

    def add(self, cells: Powers) -> None:
        self._cells = np.concatenate([self._cells, cells])
        if len(self._cells) < self._length:
            return
        blocks = np.lib.stride_tricks.sliding_window_view(self._cells, self._length)
        powers = blocks[:: self._distance].mean(1)
        self._powers.extend(powers)
        self._cells = self._cells[len(powers) * self._distance :].copy()

    def levels(self, n_samples: int) -> NDArray[np.float64]:
        """Return the levels in LUFS of the blocks of a track of that length that pass the first gate."""
        over = n_samples / _CELL - self._length
        n_blocks = 0 if over < 0 else round(over / self._distance) + 1
        with np.errstate(divide="ignore"):
            levels = -0.691 + 10 * np.log10(np.array(self._powers[:n_blocks]))
        passed: NDArray[np.float64] = levels[levels >= _ABSOLUTE_GATE]
        return passed


def _mean_level(levels: NDArray[np.float64]) -> float:
    return 10 * math.log10(np.mean(10 ** (levels / 10)))


def _integrated(levels: NDArray[np.float64]) -> float | None:
    if not len(levels):
        return None
    return _mean_level(levels[levels > _mean_level(levels) + _RELATIVE_GATE])


def _range(levels: NDArray[np.float64]) -> float | None:
    if not len(levels):
        return None
    levels = levels[levels >= _mean_level(levels) + _RANGE_GATE]
    low, high = np.percentile(levels, _PERCENTILES)
    return float(high - low)
