"""How far the level of the treble is off."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.data.pcm import SAMPLE_RATE

TREBLE_HZ = (10_000, 20_000)
N_FFT = 2048
FLOOR = N_FFT / 4 * 10 ** (-90 / 20)  # −90 dBFS: a sine of full scale has N_FFT / 4


def treble_error_db(estimate: Tensor, original: Tensor) -> float:
    """Mean absolute difference of log magnitude from 10 to 20 kHz, in dB; audio ``[2, T]``.

    Quieter than −90 dBFS is as good as silent.
    """
    return float((_treble_db(estimate) - _treble_db(original)).abs().mean())


def _treble_db(audio: Tensor) -> Tensor:
    """Magnitude in dB of each bin of the treble, ``[2, bins, frames]``."""
    window = torch.hann_window(N_FFT)
    spectrum = torch.stft(audio, N_FFT, window=window, return_complex=True).abs()
    first, last = (f_hz * N_FFT // SAMPLE_RATE + 1 for f_hz in TREBLE_HZ)
    return 20 * torch.log10(spectrum[:, first:last].clamp(min=FLOOR))
