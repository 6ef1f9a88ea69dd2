"""Spectrogram and waveform of a track that streams by, in memory that does not grow with it."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from earzip.arrays import Audio
from earzip.formats.geometry import SAMPLE_RATE

N_FFT = 2048
FLOOR_DB = -100.0
"""Quieter is shown as this, so that a difference between two inaudible noises is none."""
TOP_DB = -10.0
DIFFERENCE_DB = 20.0
"""Levels that differ by more are shown as differing by this."""
TOP_HZ = SAMPLE_RATE / 2

_MAX_HOP, _MIN_HOP = 1024, 128

Decibels = NDArray[np.float32]


def mel_of_hz(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the frequencies on the mel scale (O'Shaughnessy, 1987)."""
    mel: NDArray[np.float64] = 2595 * np.log10(1 + hz / 700)
    return mel


def hz_of_mel(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the frequencies in Hz, the inverse of `mel_of_hz`."""
    hz: NDArray[np.float64] = 700 * (10 ** (mel / 2595) - 1)
    return hz


@cache
def _rows_of_bins(n_rows: int) -> NDArray[np.float32]:
    """Return ``[bins, rows]``: what part of each row, equal steps on the mel scale, a bin takes."""
    edges = hz_of_mel(np.linspace(0, mel_of_hz(np.array(TOP_HZ)), n_rows + 1))
    edges *= N_FFT / SAMPLE_RATE
    bins = np.arange(N_FFT // 2 + 1)[:, None]
    overlap = np.minimum(edges[1:], bins + 0.5) - np.maximum(edges[:-1], bins - 0.5)
    shares = np.clip(overlap, 0, None) / np.diff(edges)
    rows: NDArray[np.float32] = shares.astype(np.float32)
    return rows


class Spectrogram:
    """Mean power of a track of ``n_samples`` over ``n_columns`` of time and ``n_rows`` of mel.

    `add` the blocks, float32 ``[2, T]`` at 44.1 kHz, in order; then ask for `decibels`. The power
    is averaged over the channels and not their samples, which could cancel.
    """

    def __init__(self, n_samples: int, n_columns: int, n_rows: int) -> None:
        self._n_samples = n_samples
        self._hop = min(_MAX_HOP, max(_MIN_HOP, n_samples // n_columns))
        n_frames = -(-n_samples // self._hop)
        self._n_columns = min(n_columns, n_frames)
        self._n_frames = 0
        self._power = np.zeros((self._n_columns, n_rows))
        self._count = np.zeros(self._n_columns)
        self._window = np.hanning(N_FFT + 1)[:-1].astype(np.float32)
        # A frame is centred on its place in time.
        self._held: Audio = np.zeros((2, N_FFT // 2), np.float32)

    def add(self, block: Audio) -> None:
        """Take the next samples of the track."""
        held = np.concatenate([self._held, block], axis=1)
        n_frames = max(0, (held.shape[1] - N_FFT) // self._hop + 1)
        self._take(held, n_frames)
        self._held = held[:, n_frames * self._hop :]

    def decibels(self) -> Decibels:
        """Return ``[rows, columns]`` in dB, row 0 the lowest, 0 for a sine of full scale.

        At least `FLOOR_DB`. Ends the track; a track without samples has no columns.
        """
        rest = -(-self._n_samples // self._hop) - self._n_frames
        self._take(np.pad(self._held, ((0, 0), (0, N_FFT + rest * self._hop))), rest)
        power = self._power / np.maximum(self._count, 1)[:, None]
        power /= (float(self._window.sum()) / 2) ** 2
        decibels: Decibels = 10 * np.log10(np.maximum(power.T, 10 ** (FLOOR_DB / 10)))
        return decibels.astype(np.float32)

    def _take(self, samples: Audio, n_frames: int) -> None:
        """Add the power of the first ``n_frames`` frames of ``samples``, a few at a time."""
        for first in range(0, n_frames, _FRAMES_AT_ONCE):
            n = min(_FRAMES_AT_ONCE, n_frames - first)
            begin = first * self._hop
            cut = samples[:, begin : begin + (n - 1) * self._hop + N_FFT]
            frames = np.lib.stride_tricks.sliding_window_view(cut, N_FFT, axis=1)[:, :: self._hop]
            spectra = np.fft.rfft(frames * self._window)
            power = (np.abs(spectra) ** 2).mean(0) @ _rows_of_bins(self._power.shape[1])
            at = (self._n_frames + np.arange(n)) * self._hop * self._n_columns // self._n_samples
            np.add.at(self._power, at, power)
            np.add.at(self._count, at, 1)
            self._n_frames += n


_FRAMES_AT_ONCE = 64  # about 2 MB of spectra


class Waveform:
    """The largest magnitude in each of ``n_columns`` parts of a track of ``n_samples``."""

    def __init__(self, n_samples: int, n_columns: int) -> None:
        self._n_samples = n_samples
        self._peaks = np.zeros(min(n_columns, n_samples), np.float32)
        self._position = 0

    def add(self, block: Audio) -> None:
        """Take the next samples of the track, float32 ``[2, T]``."""
        n = block.shape[1]
        at = (self._position + np.arange(n)) * len(self._peaks) // self._n_samples
        np.maximum.at(self._peaks, at, np.abs(block).max(axis=0))
        self._position += n

    def peaks(self) -> bytes:
        """Return a byte a part, 255 for full scale and beyond."""
        return np.minimum(np.rint(255 * self._peaks), 255).astype(np.uint8).tobytes()
