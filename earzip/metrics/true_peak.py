"""The true peak of a stream, by four-fold band-limited oversampling (ITU-R BS.1770-5, annex 2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from earzip.metrics.windows import Window

_OVERSAMPLING = 4
_FLOOR = 1e-10


class TruePeaks:
    """The true peaks of an estimate and of its original, over both channels of each."""

    def __init__(self) -> None:
        self._peaks = torch.zeros(2)

    def add(self, window: Window, spectra: Tensor) -> None:
        """Take in a window, and ``spectra``, its FFTs with zeros behind it."""
        fft_size = 2 * (spectra.shape[1] - 1)
        oversampled = torch.fft.irfft(spectra, fft_size * _OVERSAMPLING) * _OVERSAMPLING
        core = oversampled[:, window.start * _OVERSAMPLING : window.stop * _OVERSAMPLING]
        if core.shape[1]:
            peaks = core.abs().amax(1).view(2, 2).amax(1)
            self._peaks = torch.maximum(self._peaks, peaks)

    @property
    def estimate_db(self) -> float:
        """The estimate's true peak in dBTP; −200 for digital silence."""
        return _decibels(float(self._peaks[0]))

    @property
    def original_db(self) -> float:
        """The original's true peak in dBTP; −200 for digital silence."""
        return _decibels(float(self._peaks[1]))


def _decibels(peak: float) -> float:
    return 20 * math.log10(max(peak, _FLOOR))
