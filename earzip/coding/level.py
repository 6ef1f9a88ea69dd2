"""The level of a track, to bring it to the models' working level.

A quantiser with fixed steps hears a quiet track as coarser than a loud one. So a track is amplified to
one reference level before it is encoded and attenuated by as much after decoding; the archive stores
the gain. The level is a root mean square over blocks of 400 ms with the two gates of ITU-R BS.1770
(absolute at −70 dBFS, relative at −10 dB), without its frequency weighting.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from earzip.arrays import Audio

REFERENCE_LEVEL_DB = -20.0
"""Level in dBFS RMS that the models work at."""
GAIN_RANGE_DB = (-120.0, 60.0)
"""Downwards all that an archive holds, which floats need that are scaled like 24-bit integers. Upwards
less: dither is no music, and not worth music's bits."""
_LOUDEST = np.float32(1e30)
"""Far below the end of float32: still finite after gain, resampling and mixing."""
_BLOCK = 17_640  # samples: 400 ms at 44.1 kHz
_ABSOLUTE_GATE = 10 ** (-70 / 10)
_RELATIVE_GATE = 10 ** (-10 / 10)


class LevelMeter:
    """Measures the gated level of audio that arrives in blocks; keeps 9,000 numbers an hour."""

    def __init__(self) -> None:
        self._powers: list[float] = []
        self._sum = 0.0
        self._count = 0

    def add(self, audio: NDArray[np.float32]) -> None:
        """Take in ``audio``: float32 ``[2, T]``, 44.1 kHz."""
        position = 0
        while position < audio.shape[1]:
            part = audio[:, position : position + _BLOCK - self._count]
            self._sum += float(np.sum(np.square(part, dtype=np.float64)))
            self._count += part.shape[1]
            position += part.shape[1]
            if self._count == _BLOCK:
                self._powers.append(self._sum / (2 * _BLOCK))
                self._sum, self._count = 0.0, 0

    def level_db(self) -> float:
        """Return the gated level in dBFS RMS; −inf for silence.

        What is left of a block at the end counts by its length.
        """
        powers, weights = np.array(self._powers), np.ones(len(self._powers))
        if self._count:
            powers = np.append(powers, self._sum / (2 * self._count))
            weights = np.append(weights, self._count / _BLOCK)
        is_loud = powers > _ABSOLUTE_GATE
        if not is_loud.any():  # all of it is below the gate: then that is the track
            is_loud = powers > 0
        if not is_loud.any():
            return -math.inf
        mean = np.average(powers[is_loud], weights=weights[is_loud])
        is_loud &= powers > mean * _RELATIVE_GATE
        return 10 * math.log10(float(np.average(powers[is_loud], weights=weights[is_loud])))


def measure_level_db(blocks: Iterable[Audio]) -> float:
    """Return the level of a whole track that comes in blocks ``[2, T]``, as `LevelMeter.level_db`."""
    meter = LevelMeter()
    for block in blocks:
        meter.add(block)
    return meter.level_db()


def gain_to_reference_db(level_db: float) -> float:
    """Return the gain in dB, in steps of 0.1 and within `GAIN_RANGE_DB`, to the reference level.

    0 for silence.
    """
    if not math.isfinite(level_db):
        return 0.0
    gain_db = REFERENCE_LEVEL_DB - level_db
    least, most = GAIN_RANGE_DB
    return round(10 * min(max(gain_db, least), most)) / 10


def without_gain(audio: Audio, gain_centibels: float) -> Audio:
    """Return decoded ``audio`` at the level that it had before a gain, in tenths of a decibel.

    What passes the end of float32 becomes infinite: see `is_sound`.
    """
    with np.errstate(over="ignore"):
        return audio * np.float32(10 ** (-gain_centibels / 200))


def is_sound(audio: Audio) -> bool:
    """Return whether no sample is infinite, NaN or so large that mixing could make it infinite."""
    return bool((np.abs(audio) < _LOUDEST).all())
