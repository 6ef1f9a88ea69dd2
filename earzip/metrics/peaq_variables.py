"""What PEAQ measures of each frame, before it is averaged to the model output variables.

After ITU-R BS.1387-2, annex 2, section 4, basic version, in the reading of Kabal (see
`earzip.metrics.peaq_ear`). All are by frame and channel, ``[frames, channels]``, where nothing else is
said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from earzip.metrics.peaq_ear import (
    FRAME,
    HOP,
    INTERNAL_NOISE,
    MASK_OFFSET,
    N_BANDS,
    Array,
    Heard,
)
from earzip.metrics.peaq_patterns import Patterns, loudness

_LAST_BIN = FRAME // 2
_ZERO_FROM_BIN = 921  # 21.6 kHz: what is above counts as noise
_LOWEST_BANDWIDTH = 346  # bins, 8.1 kHz
_N_LAGS = 256  # of the error's harmonic structure
_HANN = np.hanning(_N_LAGS) * np.sqrt(8 / 3) / _N_LAGS
_LEAST_ENERGY = 8000 / 32768**2  # of half a frame whose harmonic structure counts
_STEP_POLYNOMIAL = (9.01033e-11, 5.05622e-6, -0.00102438, 0.0550197, -0.198719)
_TINY = 1e-30


@dataclass(frozen=True)
class Variables:
    """What is measured of frames; NaN where a variable does not count a frame."""

    bandwidth_ref: Array
    bandwidth_test: Array
    nmr: Array
    """Mean over the bands of noise over what is just masked."""
    is_disturbed: Array
    """Whether a band's noise exceeds what is masked by more than 1.5 dB; 0 or 1."""
    mod_diff_1: Array
    mod_diff_2: Array
    mod_weight: Array
    noise_loudness: Array
    is_loud: Array
    """Whether both sounds are louder than 0.1 sone; 0 or 1."""
    ehs: Array
    detection: Array
    """Probability that a difference is heard, of both ears together: ``[frames, 1]``."""
    steps: Array
    """Steps above the threshold of detection, of both ears together: ``[frames, 1]``."""


def variables_of(frames: Array, heard: Heard, patterns: Patterns) -> Variables:
    """Return what is measured of ``frames``: float64 ``[2, frames, channels, FRAME]``."""
    bandwidth_ref, bandwidth_test = _bandwidths(heard.spectra)
    to_mask = heard.noise / (MASK_OFFSET * patterns.excitations[:, 0])
    mod_diff_1, mod_diff_2 = _modulation_differences(patterns.modulations)
    mean = patterns.mean_loudness[:, 0]
    detection, steps = _detection(patterns.excitations)
    loud = loudness(patterns.excitations) > 0.1
    return Variables(
        bandwidth_ref=bandwidth_ref,
        bandwidth_test=bandwidth_test,
        nmr=to_mask.mean(-1),
        is_disturbed=(to_mask.max(-1) > 10**0.15).astype(float),
        mod_diff_1=mod_diff_1,
        mod_diff_2=mod_diff_2,
        mod_weight=(mean / (mean + 100 * INTERNAL_NOISE**0.3)).sum(-1),
        noise_loudness=_noise_loudness(patterns),
        is_loud=(loud[:, 0] & loud[:, 1]).astype(float),
        ehs=_error_harmonic_structure(frames, heard.spectra),
        detection=detection,
        steps=steps,
    )


def _bandwidths(spectra: Array) -> tuple[Array, Array]:
    """Return both bandwidths in bins; NaN in frames where the original's is small (4.4)."""
    floor = spectra[1, ..., _ZERO_FROM_BIN:_LAST_BIN].max(-1, keepdims=True)
    bins = np.arange(1, _ZERO_FROM_BIN + 1)
    original, decoded = spectra[..., :_ZERO_FROM_BIN]
    ref = np.where(original > 10 * floor, bins, 0).max(-1)
    is_under = bins <= ref[..., None]
    test = np.where((decoded >= 10**0.5 * floor) & is_under, bins, 0).max(-1)
    counts = ref > _LOWEST_BANDWIDTH
    return np.where(counts, ref, np.nan), np.where(counts, test, np.nan)


def _modulation_differences(modulations: Array) -> tuple[Array, Array]:
    """Return both differences in percent: of the second, lost modulation weighs a tenth (4.2)."""
    ref, test = modulations[:, 0], modulations[:, 1]
    difference = np.abs(test - ref)
    first = difference / (1 + ref)
    second = np.where(test >= ref, 1, 0.1) * difference / (0.01 + ref)
    return 100 * first.mean(-1), 100 * second.mean(-1)


def _noise_loudness(patterns: Patterns) -> Array:
    """Return the partial loudness in sone of what the decoded sound adds (4.3)."""
    ref, test = patterns.adapted[:, 0], patterns.adapted[:, 1]
    weights = 0.15 * patterns.modulations + 0.5
    of_ref, of_test = weights[:, 0], weights[:, 1]
    beta = np.exp(-1.5 * (test - ref) / ref)
    added = np.maximum(of_test * test - of_ref * ref, 0)
    partial = (1 + added / (INTERNAL_NOISE + of_ref * ref * beta)) ** 0.23 - 1
    total: Array = 24 / N_BANDS * ((INTERNAL_NOISE / of_test) ** 0.23 * partial).sum(-1)
    return np.maximum(total, 0)


def _detection(excitations: Array) -> tuple[Array, Array]:
    """Return by frame the probability that a difference is heard, and by how many steps (4.7)."""
    db = 10 * np.log10(excitations)
    ref, test = db[:, 0], db[:, 1]
    error = ref - test
    level = 0.3 * np.maximum(ref, test) + 0.7 * test
    # Where nothing is heard, no difference is.
    audible = np.maximum(level, 1e-3)
    step = 5.95072 * (6.39468 / audible) ** 1.71332 + np.polyval(_STEP_POLYNOMIAL, audible)
    step = np.where(level > 0, step, 1e30)
    power = np.where(error > 0, 4, 6)
    probability = 1 - 0.5 ** (np.abs(error) / step) ** power
    steps = np.abs(np.trunc(error)) / step
    # In each band the ear that hears more counts.
    either = 1 - np.prod(1 - probability.max(1), -1)
    return either[:, None], steps.max(1).sum(-1)[:, None]


def _error_harmonic_structure(frames: Array, spectra: Array) -> Array:
    """Return the highest peak in the spectrum of the error's autocorrelation; NaN if silent (4.8).

    The error is the logarithm of the quotient of both spectra.
    """
    n_bins = 2 * _N_LAGS - 1
    error = np.diff(np.log(spectra[..., :n_bins] + _TINY), axis=0)[0]
    spectrum = np.fft.rfft(error, 2 * _N_LAGS)
    first = np.fft.rfft(error[..., :_N_LAGS], 2 * _N_LAGS)
    products = np.fft.irfft(first.conj() * spectrum)[..., :_N_LAGS]
    running = np.concatenate([np.zeros((*error.shape[:-1], 1)), np.square(error).cumsum(-1)], -1)
    energies = running[..., _N_LAGS:] - running[..., :-_N_LAGS]
    norm = energies[..., :1] * energies
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.where(norm > 0, products / np.sqrt(norm), 1)
    correlation -= correlation.mean(-1, keepdims=True)
    power = np.abs(np.fft.rfft(_HANN * correlation)) ** 2
    peaks = np.where(power[..., 1:] > power[..., :1], power[..., 1:], 0).max(-1)
    energy = np.square(frames[..., HOP:]).sum(-1)
    return np.where((energy >= _LEAST_ENERGY).any(0), peaks, np.nan)
