"""Phase coherence of a stream with its original, within channels (ICPC) and across them (CCPC).

Per STFT frame |Σ_f w·e^{jΔφ}| / Σ_f w, averaged over time weighted by Σ_f w. Within a channel
w = |X̂||X| and Δφ = arg X̂ − arg X; across channels w = |L̂||R̂| and Δφ = arg L̂R̂* − arg LR*.
"""

from __future__ import annotations

import torch
from torch import Tensor

from earzip.metrics.distances import MEL_SIZES
from earzip.metrics.windows import Window

_MIN_WEIGHT = 1e-6
_TINY = 1e-30


class PhaseCoherence:
    """Means over the FFT sizes of the mel distance, and for ICPC over channels.

    A channel of the original that is too quiet to have any weight has no phase to compare with, and is
    left out; where none remains, a coherence is 1.
    """

    def __init__(self) -> None:
        self._individual = {n_fft: _Sums(2) for n_fft in MEL_SIZES}
        self._cross = {n_fft: _Sums(1) for n_fft in MEL_SIZES}

    def add(self, window: Window) -> None:
        """Take in a window of both signals."""
        for n_fft in MEL_SIZES:
            hop = n_fft // 4
            hann = torch.hann_window(n_fft)
            spectra = torch.stft(window.audio, n_fft, hop, n_fft, hann, return_complex=True)
            spectra = window.frames(spectra, hop)
            magnitudes = torch.view_as_real(spectra).square().sum(-1).sqrt_()
            x, y = spectra[:2], spectra[2:]
            x_mag, y_mag = magnitudes[:2], magnitudes[2:]
            self._individual[n_fft].add(x * y.conj(), x_mag * y_mag, y_mag.square())
            cross_x, cross_y = x[:1] * x[1:].conj(), y[:1] * y[1:].conj()
            own = y_mag[:1] * y_mag[1:]
            phasor = cross_y.conj() / own.clamp(min=_TINY)
            self._cross[n_fft].add(cross_x * phasor, x_mag[:1] * x_mag[1:], own)

    @property
    def individual(self) -> float:
        """ICPC of all that was added, 0 to 1."""
        return sum(sums.coherence() for sums in self._individual.values()) / len(MEL_SIZES)

    @property
    def cross(self) -> float:
        """CCPC of all that was added, 0 to 1."""
        return sum(sums.coherence() for sums in self._cross.values()) / len(MEL_SIZES)


class _Sums:
    """Sums over frames, a number a channel."""

    def __init__(self, n_channels: int) -> None:
        self._coherent = torch.zeros(n_channels, dtype=torch.float64)
        self._weight = torch.zeros(n_channels, dtype=torch.float64)
        self._has_phase = torch.zeros(n_channels, dtype=torch.bool)

    def add(self, weighted: Tensor, weight: Tensor, own_weight: Tensor) -> None:
        """Add w·e^{jΔφ} and w, and note where the original has weight beside itself.

        All are ``[channels, bins, frames]``.
        """
        counts = weight > _MIN_WEIGHT
        # |Σ w·p| / Σ w, weighted by Σ w in the mean over time: the frame weights cancel.
        self._coherent += (weighted * counts).sum(1).abs().sum(1)
        self._weight += (weight * counts).sum((1, 2))
        self._has_phase |= own_weight.amax((1, 2)) > _MIN_WEIGHT

    def coherence(self) -> float:
        """Return the mean over channels."""
        if not self._has_phase.any():
            return 1.0
        by_channel = self._coherent / self._weight.clamp(min=_TINY)
        return min(float(by_channel[self._has_phase].mean()), 1.0)  # rounding may pass it
