"""The STFT and mel distances: auraloss's multi-resolution STFT losses over a stream.

A loss of one FFT size is the spectral convergence ‖|Y| − |X|‖ / ‖|Y|‖, over all bins, frames and
channels together, plus the mean of |log |X| − log |Y||. Window, floor of the magnitudes and mel bands
are those of auraloss's own `STFTLoss`, and the perceptual weighting is its `FIRFilter`; the sums are
taken window by window here.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor

from earzip.formats.geometry import SAMPLE_RATE
from earzip.metrics.windows import Window

STFT_SIZES = (4096, 2048, 1024, 512, 256, 128)
MEL_SIZES = (4096, 2048, 1024, 512)
_N_MELS = 64


@cache
def _loss(n_fft: int) -> Any:
    """Return auraloss's loss of one FFT size, with mel bands where the mel distance has that size."""
    import auraloss  # noqa: PLC0415  # of the extra eval

    mel = {"scale": "mel", "n_bins": _N_MELS} if n_fft in MEL_SIZES else {}
    return auraloss.freq.STFTLoss(n_fft, n_fft // 4, n_fft, sample_rate=SAMPLE_RATE, **mel)


@cache
def _weighting(fft_size: int) -> Tensor:
    """Return the spectrum of auraloss's A-weighting FIR, centred on sample 0."""
    import auraloss  # noqa: PLC0415  # of the extra eval

    taps = auraloss.perceptual.FIRFilter(filter_type="aw", fs=SAMPLE_RATE).fir.weight.data.flatten()
    impulse = torch.zeros(fft_size)
    impulse[: len(taps)] = taps.flip(0)  # a convolution of torch is a correlation
    response: Tensor = torch.fft.rfft(impulse.roll(-(len(taps) // 2)))
    return response


def weighted(spectra: Tensor, n_samples: int) -> Tensor:
    """Return the signals of ``spectra``, their FFTs, A-weighted: ``[…, n_samples]``.

    Like auraloss's filter it takes what is before and after a signal as zeros.
    """
    fft_size = 2 * (spectra.shape[-1] - 1)
    signals: Tensor = torch.fft.irfft(spectra * _weighting(fft_size), fft_size)
    return signals[..., :n_samples]


class SpectralDistances:
    """The STFT distance (FFT sizes 4096 to 128) and the mel distance (64 bands, 4096 to 512)."""

    def __init__(self) -> None:
        self._linear = {n_fft: _Sums() for n_fft in STFT_SIZES}
        self._mel = {n_fft: _Sums() for n_fft in MEL_SIZES}

    def add(self, window: Window) -> None:
        """Take in a window whose audio is A-weighted."""
        for n_fft in STFT_SIZES:
            loss = _loss(n_fft)
            # Not loss.stft, which spends two thirds of its time on phases that the loss ignores.
            spectra = torch.view_as_real(
                torch.stft(
                    window.audio, n_fft, loss.hop_size, n_fft, loss.window, return_complex=True
                )
            )
            power = window.frames(spectra.square().sum(-1), loss.hop_size)
            magnitudes = power.clamp_(min=loss.eps).sqrt_()
            self._linear[n_fft].add(magnitudes)
            if n_fft in MEL_SIZES:
                self._mel[n_fft].add(torch.matmul(loss.fb, magnitudes))

    @property
    def stft(self) -> float:
        """The STFT distance of all that was added; NaN for nothing."""
        return _mean(self._linear)

    @property
    def mel(self) -> float:
        """The mel distance of all that was added; NaN for nothing."""
        return _mean(self._mel)


class _Sums:
    """What one loss is made of."""

    def __init__(self) -> None:
        self._difference = self._original = self._log = 0.0
        self._count = 0

    def add(self, magnitudes: Tensor) -> None:
        x, y = magnitudes[:2], magnitudes[2:]
        self._difference += float((y - x).square_().sum())
        self._original += float(y.square().sum())
        logs = magnitudes.log()
        self._log += float((logs[:2] - logs[2:]).abs_().sum())
        self._count += y.numel()

    def loss(self) -> float:
        if not self._count:
            return math.nan
        return math.sqrt(self._difference / self._original) + self._log / self._count


def _mean(sums: dict[int, _Sums]) -> float:
    return sum(each.loss() for each in sums.values()) / len(sums)
