"""The published measures from their definitions, in numpy and float64, on whole signals."""

from __future__ import annotations

import librosa
import numpy as np
import scipy.signal
from numpy.typing import NDArray

RATE = 44_100
STFT_SIZES = (4096, 2048, 1024, 512, 256, 128)
MEL_SIZES = STFT_SIZES[:4]

Array = NDArray[np.float64]


def spectra(audio: Array, n_fft: int) -> NDArray[np.complex128]:
    """``[channels, frames, bins]``: Hann windows centred on multiples of a quarter of their length."""
    padded = np.pad(audio, ((0, 0), (n_fft // 2, n_fft // 2)), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft, axis=1)[:, :: n_fft // 4]
    return np.fft.rfft(frames * scipy.signal.windows.hann(n_fft, sym=False))


def a_weighted(audio: Array) -> Array:
    """A-weighting (IEC 61672) as auraloss takes it: a digital filter, fitted by 101 taps."""
    poles = (
        -2 * np.pi * np.array([20.598997, 20.598997, 12194.217, 12194.217, 107.65265, 737.86223])
    )
    gain = (2 * np.pi * 12194.217) ** 2 * 10 ** (1.9997 / 20)
    z, p, k = scipy.signal.bilinear_zpk(np.zeros(4), poles, gain, RATE)
    frequencies, response = scipy.signal.freqz_zpk(z, p, k, worN=512, fs=RATE)
    taps = scipy.signal.firls(101, frequencies, np.abs(response), fs=RATE)
    return np.array([np.convolve(channel, taps, "same") for channel in audio])


def spectral_distance(x: Array, y: Array, sizes: tuple[int, ...], *, mel: bool) -> float:
    x, y = a_weighted(x), a_weighted(y)
    losses = []
    for n_fft in sizes:
        a, b = (np.sqrt(np.maximum(np.abs(spectra(s, n_fft)) ** 2, 1e-8)) for s in (x, y))
        if mel:
            bands = librosa.filters.mel(sr=RATE, n_fft=n_fft, n_mels=64).T.astype(np.float64)
            a, b = a @ bands, b @ bands
        convergence = np.sqrt(np.sum((b - a) ** 2) / np.sum(b**2))
        losses.append(convergence + np.mean(np.abs(np.log(a) - np.log(b))))
    return float(np.mean(losses))


def coherence(difference: Array, weight: Array) -> float:
    """The mean over frames, weighted by their weights, of ``[frames, bins]``."""
    weight = np.where(weight > 1e-6, weight, 0)
    by_frame = np.abs(np.sum(weight * np.exp(1j * difference), axis=1))
    return float(np.sum(by_frame) / np.sum(weight))


def icpc(x: Array, y: Array) -> float:
    values = []
    for n_fft in MEL_SIZES:
        for a, b in zip(spectra(x, n_fft), spectra(y, n_fft), strict=True):
            values.append(coherence(np.angle(a) - np.angle(b), np.abs(a) * np.abs(b)))
    return float(np.mean(values))


def ccpc(x: Array, y: Array) -> float:
    values = []
    for n_fft in MEL_SIZES:
        a, b = spectra(x, n_fft), spectra(y, n_fft)
        difference = np.angle(a[0]) - np.angle(a[1]) - np.angle(b[0]) + np.angle(b[1])
        values.append(coherence(difference, np.abs(a[0]) * np.abs(a[1])))
    return float(np.mean(values))


def si_sdr_db(x: Array, y: Array) -> float:
    target = np.vdot(y, x) / np.vdot(y, y) * y
    return float(10 * np.log10(np.sum(target**2) / np.sum((x - target) ** 2)))


def true_peak_db(x: Array) -> float:
    return float(20 * np.log10(np.max(np.abs(scipy.signal.resample_poly(x, 4, 1, axis=1)))))
