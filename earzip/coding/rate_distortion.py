"""Coefficients to integers by rate and distortion: a lone 1 costs more bits than one among others.

The encoder's choice alone: readers dequantise any integers. `compress` does not use it yet;
`benchmarks.trials` does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Scaled = NDArray[np.float32]
Integers = NDArray[np.int32]

# Bits that a ±1 costs beyond a 0 by the weighted sum of the magnitudes around it, at sums that double
# from 1: measured once on music coded as `context-1`, and straight between.
_SUMS = np.array([0, 1, 2, 4, 8, 16, 32], np.float32)
_BITS_OF_ONE = np.array([9.5, 7.5, 6.0, 4.6, 3.2, 2.0, 1.2], np.float32)
_BITS_OF_MORE = 1.3
"""That a magnitude above 1 costs beyond the one below it."""


def round_coefficients(scaled: Scaled, thrift: float | Scaled, n_channels: int = 2) -> Integers:
    """Return integers ``[n, F]`` for coefficients ``scaled`` ``[n, F]`` to their steps.

    ``thrift``: squared steps of error that a bit is worth, one number or ``[n, F]``; 0 rounds to the
    nearest. ``n_channels``: parts of the first axis that are no neighbours of each other. A magnitude is
    rounded down where the error that adds, 2·part − 1 squared steps, is worth fewer bits than it saves.
    What is around is that of rounding with a fixed dead zone: two frames before, one behind, and two
    coefficients on each side.
    """
    size = np.abs(scaled)
    around = _around(np.floor(size + 0.4).clip(max=15), n_channels)
    saved = np.interp(around, _SUMS, _BITS_OF_ONE).astype(np.float32)
    whole = np.floor(size)
    least = 0.5 + 0.5 * thrift * np.where(whole == 0, saved, _BITS_OF_MORE)
    magnitude = whole + (size - whole >= least)
    # From 1.0 on a lone 1 may still not be worth its bits: an error of size² is added.
    is_one = magnitude == 1
    gain = size**2 - (size - 1) ** 2
    magnitude[is_one & (gain < thrift * saved)] = 0
    result: Integers = (np.sign(scaled) * magnitude).astype(np.int32)
    return result


def _around(magnitudes: Scaled, n_channels: int) -> Scaled:
    """Return weighted sums of the magnitudes about each of ``[n, F]``."""
    n, n_frames = magnitudes.shape
    padded = np.pad(magnitudes.reshape(n_channels, -1, n_frames), ((0, 0), (2, 2), (2, 1)))
    n //= n_channels

    def at(bin_: int, frame: int) -> Scaled:
        return padded[:, 2 + bin_ : 2 + bin_ + n, 2 + frame : 2 + frame + n_frames]

    sums = 2 * at(0, -1) + at(0, 1) + at(0, -2)
    sums = (
        sums + at(-1, -1) + at(1, -1) + 1.5 * (at(-1, 0) + at(1, 0)) + 0.5 * (at(-2, 0) + at(2, 0))
    )
    reshaped: Scaled = sums.reshape(magnitudes.shape)
    return reshaped
