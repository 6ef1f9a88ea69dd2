"""The FFT-based ear model of PEAQ: frames of sound as excitation of 109 critical bands.

After ITU-R BS.1387-2, annex 2, section 2.1, basic version; where its text leaves a choice, the reading
is that of P. Kabal, "An Examination and Interpretation of ITU-R BS.1387", McGill University, 2003.
Energies are those of a listener who hears a sine of full scale at 92 dB SPL: 1 is 0 dB SPL.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SAMPLE_RATE = 48_000
FRAME = 2048
HOP = FRAME // 2
FRAME_RATE = SAMPLE_RATE / HOP

_LISTENING_LEVEL_DB = 92.0
_CALIBRATION_HZ = 1019.5
_BAND_BARK = 0.25
_LOWEST_HZ, _HIGHEST_HZ = 80.0, 18_000.0
_LEAST_ENERGY = 1e-12
_SUMMATION = 0.4  # the power by which spread excitations add up
_LOWER_SLOPE_DB = 27.0  # a Bark


def _bark(hz: float) -> float:
    return float(7 * np.arcsinh(hz / 650))


def _hz(bark: Array) -> Array:
    hz: Array = 650 * np.sinh(bark / 7)
    return hz


def _band_edges_bark() -> Array:
    """Return the lower edges and the upper edge of the last band, which is narrower than the others."""
    first, last = _bark(_LOWEST_HZ), _bark(_HIGHEST_HZ)
    return np.append(np.arange(first, last, _BAND_BARK), last)


_EDGES = _band_edges_bark()
CENTRES_HZ = _hz((_EDGES[:-1] + _EDGES[1:]) / 2)
"""Centre frequencies of the bands."""
N_BANDS = len(CENTRES_HZ)
_INDEX = np.arange(N_BANDS)

INTERNAL_NOISE: Array = 10 ** (0.1456 * (CENTRES_HZ / 1000) ** -0.8)
"""Energy that the ear adds to each band."""
MASK_OFFSET: Array = 10 ** (-np.maximum(3.0, 0.25 * _BAND_BARK * _INDEX) / 10)
"""Energy of noise that is just masked in each band, over that of the excitation."""


def _grouping() -> Array:
    """Return by how much of each bin of the spectrum lies in each band: ``[FRAME / 2 + 1, N_BANDS]``."""
    width = SAMPLE_RATE / FRAME
    bins = np.arange(FRAME // 2 + 1)[:, None]
    edges = _hz(_EDGES)
    low = np.maximum((bins - 0.5) * width, edges[:-1])
    high = np.minimum((bins + 0.5) * width, edges[1:])
    return np.asarray(np.maximum(high - low, 0) / width, np.float64)


def _window() -> Array:
    """Return a Hann window that gives a full-scale sine the listening level."""
    distance = _CALIBRATION_HZ * FRAME / SAMPLE_RATE % 1
    distance = min(distance, 1 - distance) * (FRAME - 1) / FRAME  # of the sine from the nearest bin
    loss = np.sinc(distance) / (1 - distance**2)
    gain = 10 ** (_LISTENING_LEVEL_DB / 20) / (loss / 4 * (FRAME - 1))
    return np.asarray(gain * np.hanning(FRAME), np.float64)


def _outer_and_middle_ear() -> Array:
    """Return the weight of each bin's power."""
    khz = np.fft.rfftfreq(FRAME, 1 / SAMPLE_RATE)[1:] / 1000
    db = -2.184 * khz**-0.8 + 6.5 * np.exp(-0.6 * (khz - 3.3) ** 2) - 0.001 * khz**3.6
    return np.append(0.0, 10 ** (db / 10))


_GROUPING = _grouping()
_WINDOW = _window()
_EAR = _outer_and_middle_ear()
_LOWER = 10 ** (-_LOWER_SLOPE_DB / 10 * _BAND_BARK)
_UPPER = np.asarray(10 ** ((-2.4 - 23 / CENTRES_HZ) * _BAND_BARK), np.float64)
_TO_LOWER_BANDS = (1 - _LOWER ** (_INDEX + 1)) / (1 - _LOWER)


@dataclass(frozen=True)
class Heard:
    """Frames of an original and of a decoded sound, ``[…]``, as the ear takes them in."""

    spectra: Array
    """Powers of the bins, ``[2, …, FRAME / 2 + 1]``: original and decoded."""
    excitations: Array
    """Spread over frequency, ``[2, …, N_BANDS]``."""
    noise: Array
    """Energy of the difference of both magnitude spectra, ``[…, N_BANDS]``."""


def hear(frames: Array) -> Heard:
    """Return what the ear makes of ``frames``: float64 ``[2, …, FRAME]``, ±1, original and decoded."""
    spectra = np.fft.rfft(_WINDOW * frames)
    powers = spectra.real**2 + spectra.imag**2
    weighted = _EAR * powers
    magnitudes = np.sqrt(weighted)
    noise = _in_bands((magnitudes[0] - magnitudes[1]) ** 2)
    return Heard(powers, spread(_in_bands(weighted) + INTERNAL_NOISE), noise)


def _in_bands(powers: Array) -> Array:
    # As one matrix, because numpy multiplies a stack of small ones slowly.
    bands = powers.reshape(-1, powers.shape[-1]) @ _GROUPING
    return np.maximum(bands, _LEAST_ENERGY).reshape(*powers.shape[:-1], N_BANDS)


def spread(energies: Array) -> Array:
    """Return ``energies``, ``[…, N_BANDS]``, spread over the bands (equations 15 to 20).

    The slope upwards depends on the level of the band that it comes from; what the same slopes make of
    bands of 0 dB is divided out.
    """
    spread_out: Array = _unnormalised(energies) / _OF_0_DB
    return spread_out


def _unnormalised(energies: Array) -> Array:
    slopes = _UPPER * energies ** (0.2 * _BAND_BARK)
    to_upper_bands = (1 - slopes ** (N_BANDS - _INDEX)) / (1 - slopes)
    own = (energies / (_TO_LOWER_BANDS + to_upper_bands - 1)) ** _SUMMATION
    # Bands first, because what is added up lies together then.
    part, slopes = np.ascontiguousarray(own.T), np.ascontiguousarray((slopes**_SUMMATION).T)
    total = part.copy()
    lower = _LOWER**_SUMMATION
    for band in range(N_BANDS - 2, -1, -1):
        total[band] += lower * total[band + 1]
    for distance in range(1, N_BANDS):
        part = part[:-1] * slopes[:-distance]
        total[distance:] += part
    found: Array = (total ** (1 / _SUMMATION)).T
    return found


_OF_0_DB = _unnormalised(np.ones(N_BANDS))
