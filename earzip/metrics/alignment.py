"""By how many samples one track comes later than another, from their cross-correlation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from earzip.arrays import Audio

_Differences = NDArray[np.float64]

MAX_LAG = 5 * 44_100
"""The greatest lag that is looked for, in samples: 5 s."""
_FFT = 1 << 20
# As long as lets the other track's sound around a segment, at all lags, fit into a transform: 13.8 s.
_SEGMENT = _FFT - 2 * MAX_LAG
_N_SEGMENTS = 5  # with sound in both tracks: a minute says enough
_LEAST_CORRELATION = 0.1
_CHANCE = 5.0  # standard deviations of the correlation of unrelated noise, 1 / sqrt(samples)
_LEAST_SHARE = 0.1  # of either track's energy: a few samples correlate with anything
_AS_GOOD = 0.99
_ROUNDING = 1e-9
_ONE_PEAK = 44  # samples, 1 ms


@dataclass(frozen=True)
class Lag:
    """Where two tracks fit."""

    n_samples: int
    """By how many samples the first track comes later; negative: earlier."""
    rival: int | None
    """Another lag more than 1 ms away that fits as well, to 1 %; None if there is none."""


def find_lag(late: Iterable[Audio], reference: Iterable[Audio]) -> Lag | None:
    """Return by how much ``late`` comes later than ``reference``; None if no lag up to `MAX_LAG` fits.

    Both are blocks of a track from its beginning, float32 ``[2, T]``; about a minute with sound is read
    of them. The lag is that of the greatest absolute correlation, over what overlaps at each lag, so
    inverted polarity fits too; the smallest of equals. Tracks that are both silent have the lag 0.
    """
    x, y = _Track(late), _Track(reference)
    sums = _Sums()
    n_segments = 0
    for start in count(0, _SEGMENT):
        segment = y.window(start, start + _SEGMENT)
        around = x.window(start - MAX_LAG, start + _SEGMENT + MAX_LAG)
        if not (segment.shape[1] and around.shape[1]):
            break
        if segment.any() and around.any():
            sums.add(around, max(0, start - MAX_LAG) - (start - MAX_LAG), segment)
            n_segments += 1
            if n_segments == _N_SEGMENTS:
                break
    if not (x.has_sound or y.has_sound):
        return Lag(0, None)
    return _best(sums.correlation()) if n_segments else None


class _Track:
    """Differences of a track's neighbouring samples, because the bass has a blunt peak."""

    def __init__(self, blocks: Iterable[Audio]) -> None:
        self._blocks = iter(blocks)
        self._held: list[Audio] = []
        self._start = 0  # of what is held
        self._stop = 0
        self.has_sound = False

    def window(self, start: int, stop: int) -> _Differences:
        """Return float64 ``[2, T]`` of what the track has between; no later window begins earlier."""
        while self._stop < stop + 1 and (block := next(self._blocks, None)) is not None:
            self._held.append(block)
            self._stop += block.shape[1]
        if not self._held:
            return np.zeros((2, 0))
        audio = np.concatenate(self._held, -1)[:, max(0, start - self._start) :]
        self._start = self._stop - audio.shape[1]
        self._held = [audio]
        found = np.diff(audio[:, : max(0, stop + 1 - self._start)].astype(np.float64), axis=-1)
        self.has_sound = self.has_sound or bool(found.any())
        return found


class _Sums:
    """The products and energies of what overlaps at each lag from ``-MAX_LAG``, over segments."""

    def __init__(self) -> None:
        n = 2 * MAX_LAG + 1
        self._products = np.zeros(n)
        self._energies = np.zeros((2, n))
        self._n_samples = np.zeros(n)

    def add(self, around: _Differences, offset: int, segment: _Differences) -> None:
        """Add a segment of the reference and what the other has around it.

        ``around`` begins ``offset - MAX_LAG`` samples after the segment.
        """
        padded = np.zeros((2, _FFT))
        padded[:, offset : offset + around.shape[1]] = around
        spectrum = (np.fft.rfft(padded) * np.fft.rfft(segment, _FFT).conj()).sum(0)
        lags = np.arange(2 * MAX_LAG + 1)
        self._products += np.fft.irfft(spectrum, _FFT)[: len(lags)]
        # At each lag the segment meets the surroundings from ``first`` to ``last``.
        first = np.clip(lags - offset, 0, around.shape[1])
        last = np.clip(lags + segment.shape[1] - offset, 0, around.shape[1])
        self._n_samples += last - first
        shift = offset - lags
        self._energies[0] += _energy(around, first, last)
        self._energies[1] += _energy(segment, first + shift, last + shift)

    def correlation(self) -> NDArray[np.float64]:
        """Return its absolute value, 0 to 1, at each lag; 0 where it may be chance."""
        enough = self._energies >= _LEAST_SHARE * self._energies.max(1, keepdims=True)
        possible = enough.all(0) & (self._n_samples > 0)
        found = np.zeros(len(self._products))
        norm = np.sqrt(self._energies[:, possible].prod(0))
        found[possible] = np.abs(self._products[possible]) / norm
        chance = _CHANCE / np.sqrt(self._n_samples.clip(1))
        # Samples too few to say anything may still be equal.
        found[found < np.clip(chance, _LEAST_CORRELATION, _AS_GOOD)] = 0
        return found


def _energy(
    sound: _Differences, first: NDArray[np.int64], last: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the energy of ``sound`` between each ``first`` and ``last``, also beyond its ends."""
    running = np.concatenate([[0.0], np.square(sound).sum(0).cumsum()])
    n = sound.shape[1]
    energy: NDArray[np.float64] = running[last.clip(0, n)] - running[first.clip(0, n)]
    return energy


def _best(correlation: NDArray[np.float64]) -> Lag | None:
    highest = correlation.max()
    if not highest:
        return None
    equal = np.flatnonzero(correlation >= highest * (1 - _ROUNDING)) - MAX_LAG
    best = int(equal[np.argmin(np.abs(equal))])
    ends = np.pad(correlation, 1)
    others = np.where((correlation >= ends[:-2]) & (correlation >= ends[2:]), correlation, 0)
    others[max(0, best + MAX_LAG - _ONE_PEAK) : best + MAX_LAG + _ONE_PEAK + 1] = 0
    rival = int(np.argmax(others))
    return Lag(best, rival - MAX_LAG if others[rival] >= _AS_GOOD * highest else None)
