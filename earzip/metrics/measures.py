"""The measures of a reconstruction that the εar-VAE is judged by (arXiv 2509.14912).

Every measure takes an estimate and its original: float32 ``[2, T]``, 44.1 kHz, aligned to the sample and
of equal length. Compute them outside autocast: half precision changes the spectral distances.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import torch
from torch import Tensor

SAMPLE_RATE = 44_100
_STFT_SIZES = (4096, 2048, 1024, 512, 256, 128)
_MEL_SIZES = (4096, 2048, 1024, 512)
_N_MELS = 64
_MIN_WEIGHT = 1e-6
_TRUE_PEAK_OVERSAMPLING = 4


@dataclass(frozen=True)
class Measures:
    """The six published measures of one track."""

    si_sdr_db: float
    """Scale-invariant signal-to-distortion ratio; higher is better."""
    mel: float
    """Multi-resolution mel distance; lower is better."""
    stft: float
    """Multi-resolution STFT distance; lower is better."""
    icpc: float
    """Individual channel phase coherence, 0 to 1; higher is better."""
    ccpc: float
    """Cross channel phase coherence, 0 to 1; higher is better."""
    dbtp: float
    """Absolute difference of true peaks in dB; lower is better."""


def measure(estimate: Tensor, original: Tensor) -> Measures:
    """Return all measures of ``estimate`` against ``original``, both float32 ``[2, T]``."""
    if estimate.shape != original.shape:
        raise ValueError(f"lengths differ: {tuple(estimate.shape)} and {tuple(original.shape)}")
    with torch.no_grad():
        return Measures(
            si_sdr_db=si_sdr_db(estimate, original),
            mel=mel_distance(estimate, original),
            stft=stft_distance(estimate, original),
            icpc=individual_phase_coherence(estimate, original),
            ccpc=cross_phase_coherence(estimate, original),
            dbtp=abs(true_peak_db(estimate) - true_peak_db(original)),
        )


def mean_measures(measures: list[Measures]) -> Measures:
    """Return the unweighted mean of each measure."""
    names = [field.name for field in fields(Measures)]
    return Measures(**{n: sum(getattr(m, n) for m in measures) / len(measures) for n in names})


def si_sdr_db(estimate: Tensor, original: Tensor) -> float:
    """Scale-invariant SDR in dB over both channels together (Le Roux et al., 2019)."""
    x, y = estimate.double().flatten(), original.double().flatten()
    target = (x @ y) / (y @ y).clamp(min=1e-20) * y
    noise = x - target
    return float(
        10 * torch.log10((target @ target).clamp(min=1e-20) / (noise @ noise).clamp(min=1e-20))
    )


@lru_cache(maxsize=2)
def _auraloss(sizes: tuple[int, ...], mel: bool) -> torch.nn.Module:
    # The published definition is this library's loss, so it is computed by it.
    import auraloss  # noqa: PLC0415  # of the extra eval

    options = {"scale": "mel", "n_bins": _N_MELS} if mel else {}
    loss: torch.nn.Module = auraloss.freq.MultiResolutionSTFTLoss(
        fft_sizes=list(sizes),
        hop_sizes=[n // 4 for n in sizes],
        win_lengths=list(sizes),
        sample_rate=SAMPLE_RATE,
        **options,
    )
    return loss


@lru_cache(maxsize=1)
def _perceptual_weighting() -> torch.nn.Module:
    import auraloss  # noqa: PLC0415  # of the extra eval

    weighting: torch.nn.Module = auraloss.perceptual.FIRFilter(filter_type="aw", fs=SAMPLE_RATE)
    return weighting


def _distance(estimate: Tensor, original: Tensor, sizes: tuple[int, ...], mel: bool) -> float:
    # Its option perceptual_weighting would filter both signals again for every FFT size.
    x, y = _perceptual_weighting()(estimate[:, None], original[:, None])
    return float(_auraloss(sizes, mel)(x.transpose(0, 1), y.transpose(0, 1)))


def stft_distance(estimate: Tensor, original: Tensor) -> float:
    """Multi-resolution STFT distance, FFT sizes 4096 to 128, perceptually weighted."""
    return _distance(estimate, original, _STFT_SIZES, mel=False)


def mel_distance(estimate: Tensor, original: Tensor) -> float:
    """Multi-resolution distance over 64 mel bands, FFT sizes 4096 to 512, perceptually weighted."""
    return _distance(estimate, original, _MEL_SIZES, mel=True)


def _spectra(audio: Tensor, n_fft: int) -> Tensor:
    window = torch.hann_window(n_fft, device=audio.device)
    return torch.stft(audio, n_fft, n_fft // 4, n_fft, window, return_complex=True)


def _coherence(phasor: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over time of |Σ_f w·phasor| / Σ_f w, for ``[..., bins, frames]``."""
    weight = torch.where(weight > _MIN_WEIGHT, weight, 0)
    by_frame = weight.sum(-2)
    # |Σ w·p| / Σ w, weighted by Σ w in the mean over time: the frame weights cancel.
    return (phasor * weight).sum(-2).abs().sum(-1) / by_frame.sum(-1).clamp(min=1e-20)


def individual_phase_coherence(estimate: Tensor, original: Tensor) -> float:
    """ICPC: coherence of each channel's phase with the original's, mean of channels and FFT sizes."""
    values = []
    for n_fft in _MEL_SIZES:
        x, y = _spectra(estimate, n_fft), _spectra(original, n_fft)
        product = x * y.conj()
        weight = product.abs()
        values.append(_coherence(product / weight.clamp(min=1e-20), weight).mean())
    return float(torch.stack(values).mean())


def cross_phase_coherence(estimate: Tensor, original: Tensor) -> float:
    """CCPC: coherence of the inter-channel phase with the original's, mean of FFT sizes."""
    values = []
    for n_fft in _MEL_SIZES:
        x, y = _spectra(estimate, n_fft), _spectra(original, n_fft)
        cross_x, cross_y = x[0] * x[1].conj(), y[0] * y[1].conj()
        weight = cross_x.abs()
        product = cross_x * cross_y.conj()
        values.append(_coherence(product / product.abs().clamp(min=1e-20), weight))
    return float(torch.stack(values).mean())


def true_peak_db(audio: Tensor) -> float:
    """True peak in dBTP, by four-fold band-limited oversampling (ITU-R BS.1770-5, annex 2).

    −200 for digital silence.
    """
    n = audio.shape[-1]
    padded = torch.nn.functional.pad(audio, (0, _next_fast_length(n) - n))
    spectrum = torch.fft.rfft(padded)
    size = padded.shape[-1] * _TRUE_PEAK_OVERSAMPLING
    oversampled = torch.fft.irfft(spectrum, size) * _TRUE_PEAK_OVERSAMPLING
    return float(20 * torch.log10(oversampled.abs().max().clamp(min=1e-10)))


def _next_fast_length(n: int) -> int:
    """The next power of two: an FFT of a prime length would take minutes."""
    return 1 << max(n - 1, 1).bit_length()
