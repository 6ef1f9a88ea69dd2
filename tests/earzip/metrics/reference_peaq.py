"""Parts of PEAQ from their equations in ITU-R BS.1387-2, one band and one bin at a time."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RATE, SIZE = 48_000, 2048
N_BANDS = 109
_LOWEST = 7 * math.asinh(80 / 650)
_HIGHEST = 7 * math.asinh(18_000 / 650)


def edge_hz(band: int) -> float:
    return 650 * math.sinh(min(_LOWEST + band / 4, _HIGHEST) / 7)


def centre_hz(band: int) -> float:
    low, high = _LOWEST + band / 4, min(_LOWEST + (band + 1) / 4, _HIGHEST)
    return 650 * math.sinh((low + high) / 2 / 7)


def ear_db(hz: float) -> float:
    """What the outer and middle ear do to a sine (equation 7)."""
    khz = hz / 1000
    return -0.6 * 3.64 * khz**-0.8 + 6.5 * math.exp(-0.6 * (khz - 3.3) ** 2) - 1e-3 * khz**3.6


def in_bands(power: Array) -> Array:
    """The power of bins, ``[SIZE / 2 + 1]``, by the share of each that lies in a band."""
    width = RATE / SIZE
    bands = np.zeros(N_BANDS)
    for band in range(N_BANDS):
        for k in range(SIZE // 2 + 1):
            low = max((k - 0.5) * width, edge_hz(band))
            high = min((k + 0.5) * width, edge_hz(band + 1))
            bands[band] += max(high - low, 0) / width * power[k]
    return np.maximum(bands, 1e-12)


def internal_noise(band: int) -> float:
    return float(10 ** (0.4 * 0.364 * (centre_hz(band) / 1000) ** -0.8))


def mask_db(band: int) -> float:
    """By how much noise must be softer than the excitation to be masked (equation 25)."""
    return 3.0 if band / 4 <= 12 else band / 16


def spread(energies: Array) -> Array:
    return _spread(energies) / _spread(np.ones(N_BANDS))


def _spread(energies: Array) -> Array:
    """The sum over the bands from which energy spreads, to the power 0.4 (equations 15 to 18)."""
    total = np.zeros(N_BANDS)
    for source in range(N_BANDS):
        level = 10 * math.log10(energies[source])
        upwards = -24 - 230 / centre_hz(source) + 0.2 * level
        shape = np.zeros(N_BANDS)
        for band in range(N_BANDS):
            bark = (band - source) / 4
            shape[band] = 10 ** ((27 * bark if bark < 0 else upwards * bark) / 10)
        total += (energies[source] * shape / shape.sum()) ** 0.4
    return np.asarray(total ** (1 / 0.4))


def spectrum(frame: Array) -> Array:
    """Power of bins, where the greatest of a full-scale sine of 1019.5 Hz is 92 dB."""
    sine = np.sin(2 * np.pi * 1019.5 / RATE * np.arange(SIZE))
    window = np.hanning(SIZE)
    full, power = (np.abs(np.fft.rfft(window * sound)) ** 2 for sound in (sine, frame))
    return np.asarray(10**9.2 * power / full.max())


def steady_nmr_db(frame: Array, error: float) -> float:
    """NMR of a steady sound that the decoded one exceeds by ``error`` in amplitude, at every frequency.

    The error's energy is error² times the sound's, in all bands.
    """
    ear = [0.0, *(10 ** (ear_db(k * RATE / SIZE) / 10) for k in range(1, SIZE // 2 + 1))]
    bands = in_bands(np.array(ear) * spectrum(frame))
    noise = np.array([internal_noise(band) for band in range(N_BANDS)])
    offset = np.array([10 ** (mask_db(band) / 10) for band in range(N_BANDS)])
    return float(10 * np.log10(np.mean(error**2 * bands * offset / spread(bands + noise))))
