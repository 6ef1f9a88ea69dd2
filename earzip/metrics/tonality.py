"""Whether tones came back as tones: the flatness of the spectrum where the original is most tonal.

Flatness is the geometric over the arithmetic mean of the powers of a band (J. D. Johnston, "Transform
Coding of Audio Signals Using Perceptual Noise Criteria", IEEE JSAC 6(2), 1988): −2.5 dB for white noise,
far less for a band with few partials. Measures that go by differences of levels hardly tell a tone from
noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SAMPLE_RATE = 44_100
_FRAME, _HOP = 2048, 1024
_N_BANDS, _LOWEST_HZ, _HIGHEST_HZ = 8, 2000.0, 10_000.0
_SHARE = 0.25  # of the cells: the most tonal ones
_RANGE = 1e-6  # weaker cells than the band's strongest by more than 60 dB do not count
# Digital silence is as flat as can be, so a tone that is missing counts as one that became noise.
_FLOOR = 1e-10 * _FRAME

_EDGES = np.unique(
    np.rint(np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, _N_BANDS + 1) * _FRAME / SAMPLE_RATE).astype(int)
)
_WINDOW = np.hanning(_FRAME + 1)[:-1]


class TonalityMeter:
    """Measures a sound that arrives in blocks; it keeps about 8 kB per second."""

    def __init__(self, n_channels: int = 2) -> None:
        self._held = np.zeros((2, n_channels, 0))
        self._flatness: list[NDArray[np.float32]] = []
        self._level: list[NDArray[np.float32]] = []

    def add(self, estimate: NDArray[np.floating], original: NDArray[np.floating]) -> None:
        """Take in the next samples of both: ``[channels, T]``, ±1, 44.1 kHz."""
        self._held = np.concatenate([self._held, np.stack([estimate, original])], -1)
        n_frames = (self._held.shape[-1] - _FRAME) // _HOP + 1
        if n_frames < 1:
            return
        windows = np.lib.stride_tricks.sliding_window_view(self._held, _FRAME, -1)
        spectra = np.fft.rfft(_WINDOW * windows[..., ::_HOP, :][..., :n_frames, :])
        powers = spectra.real**2 + spectra.imag**2 + _FLOOR
        self._held = self._held[..., n_frames * _HOP :]
        bands = powers[..., : _EDGES[-1]]
        means = np.add.reduceat(bands, _EDGES[:-1], axis=-1) / np.diff(_EDGES)
        logs = np.add.reduceat(np.log10(bands), _EDGES[:-1], axis=-1) / np.diff(_EDGES)
        self._flatness.append((10 * (logs - np.log10(means))).astype(np.float32))
        self._level.append(means[1].astype(np.float32))

    def excess_db(self) -> float | None:
        """Return by how many dB the sound is flatter than its original, where that is most tonal.

        That is the mean over the least flat quarter of the original's cells, each a frame of 46 ms in one
        of eight bands of 2 to 10 kHz of a channel. 0: as tonal as the original; positive: tones became
        noise. None where no cell of the original has sound.
        """
        if not self._flatness:
            return None
        estimate, original = np.concatenate(self._flatness, axis=2)
        level = np.concatenate(self._level, axis=1)
        strongest = level.max(axis=(0, 1))
        counts = (level > _RANGE * strongest) & (level > 2 * _FLOOR)
        if not counts.any():
            return None
        flatness, difference = original[counts], (estimate - original)[counts]
        most_tonal = flatness <= np.quantile(flatness, _SHARE)
        return float(difference[most_tonal].mean(dtype=np.float64))


def tonality_excess_db(
    estimate: NDArray[np.floating], original: NDArray[np.floating]
) -> float | None:
    """Return `TonalityMeter.excess_db` of both sounds: ``[channels, T]``, ±1, 44.1 kHz."""
    meter = TonalityMeter(original.shape[0])
    meter.add(estimate, original)
    return meter.excess_db()
