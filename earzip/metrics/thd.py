"""Total harmonic distortion and noise of a tone, in the manner of AES17-2015 (6.3.1).

The root mean square of what the standard notch leaves of a 997 Hz sine, over that of all of it, both
from 20 Hz to 20 kHz. The notch has two poles and Q = 3, the narrowest that the standard allows
(5.2.8: 1.2 to 3), which takes 0.2 dB from the second harmonic and 0.1 from the third. Full scale is the
level of a sine whose peak is 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earzip.arrays import Audio
from earzip.formats.geometry import SAMPLE_RATE

TONE_HZ = 997
LEVELS_DBFS = (-1.0, -20.0)
SECONDS = 6
_SETTLING_S = 1  # at both ends: of filters, and of a codec that hears the tone begin
_BAND_HZ = (20, 20_000)
_NOTCH_Q = 3
_FLOOR_DB = -200.0

Signal = NDArray[np.float64]


@dataclass(frozen=True)
class ThdN:
    """What is measured of a tone."""

    db: float
    """Residual over total, in dB; at least −200."""
    level_dbfs: float
    """The level of all of it, of both channels in the mean."""

    @property
    def percent(self) -> float:
        """The same ratio in percent."""
        return 100 * 10 ** (self.db / 20)


def tone(level_dbfs: float) -> Audio:
    """Return six seconds of the tone, the same on both channels: float32 ``[2, T]``."""
    t = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    sine = 10 ** (level_dbfs / 20) * np.sin(2 * np.pi * TONE_HZ * t)
    return np.stack([sine, sine]).astype(np.float32)


def measure_thd_n(audio: Audio) -> ThdN:
    """Return the THD+N of ``audio``, a tone of 997 Hz and what became of it: float32 ``[2, T]``.

    The first and the last second are not heard, ValueError if nothing else is there. −200 dB for
    silence.
    """
    total = in_band(audio)
    if total.shape[1] <= 2 * _SETTLING_S * SAMPLE_RATE:
        raise ValueError(f"{audio.shape[1]} samples are too few, more than two seconds are needed")
    power, residual_power = _power(total), _power(residual(total))
    ratio = residual_power / power if power else 0.0
    return ThdN(db=_decibels(ratio), level_dbfs=_decibels(2 * power))


def in_band(audio: Audio | Signal) -> Signal:
    """Return ``audio``, ``[2, T]``, from 20 Hz to 20 kHz: flat within 0.02 dB, −60 dB at 20.5 kHz."""
    from scipy import signal  # noqa: PLC0415  # of the extra eval

    low, high = _BAND_HZ
    sections = [
        signal.butter(4, low / 2, "high", fs=SAMPLE_RATE, output="sos"),
        signal.ellip(9, 0.01, 80, high, fs=SAMPLE_RATE, output="sos"),
    ]
    return _filtered(np.concatenate(sections), audio)


def residual(audio: Audio | Signal) -> Signal:
    """Return what the standard notch leaves of ``audio``, ``[2, T]``."""
    from scipy import signal  # noqa: PLC0415  # of the extra eval

    return _filtered(signal.tf2sos(*signal.iirnotch(TONE_HZ, _NOTCH_Q, SAMPLE_RATE)), audio)


def spectrum_dbfs(audio: Audio | Signal) -> tuple[Signal, Signal]:
    """Return frequencies in Hz, and the level in dBFS that a sine in each of their bins would have.

    Mean power of both channels and of all frames of 0.37 s, without the first and last second.
    """
    n = 1 << 14
    window = np.blackman(n)
    frames = np.lib.stride_tricks.sliding_window_view(_settled(audio), n, axis=1)[:, :: n // 2]
    power = (np.abs(np.fft.rfft(frames * window)) ** 2).mean((0, 1)) * (2 / window.sum()) ** 2
    levels: Signal = 10 * np.log10(np.maximum(power, 10 ** (_FLOOR_DB / 10)))
    return np.linspace(0, SAMPLE_RATE / 2, n // 2 + 1), levels


def _filtered(sections: Any, audio: Audio | Signal) -> Signal:
    from scipy.signal import sosfilt  # noqa: PLC0415  # of the extra eval

    filtered: Signal = sosfilt(sections, audio.astype(np.float64))
    return filtered


def _settled(audio: Audio | Signal) -> Signal:
    settling = _SETTLING_S * SAMPLE_RATE
    return audio[:, settling:-settling].astype(np.float64)


def _power(audio: Signal) -> float:
    return float(np.mean(np.square(_settled(audio))))


def _decibels(power: float) -> float:
    return max(10 * math.log10(power), _FLOOR_DB) if power > 0 else _FLOOR_DB
