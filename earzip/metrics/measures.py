"""The measures of a reconstruction that the εar-VAE is judged by (arXiv 2509.14912).

Every measure compares an estimate with its original: float32 ``[2, T]``, 44.1 kHz, aligned to the sample
and of equal length. They are taken from overlapping windows of a stream, and are those of the whole.
Compute them outside autocast: half precision changes the spectral distances. They need the extra
``eval``; see `earzip.metrics.require_eval`.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, fields

import torch
from torch import Tensor

from earzip.metrics.coherence import PhaseCoherence
from earzip.metrics.distances import STFT_SIZES, SpectralDistances, weighted
from earzip.metrics.distortion import SiSdr, si_sdr_db
from earzip.metrics.true_peak import TruePeaks
from earzip.metrics.windows import FFT_SIZE, Block, Window, Windows, as_sound

__all__ = [
    "MIN_SAMPLES",
    "Measures",
    "QualityMeter",
    "mean_measures",
    "measure",
    "si_sdr_db",
]

MIN_SAMPLES = max(STFT_SIZES) // 2 + 1
"""The shortest track with a frame of the largest FFT, whose ends are mirrored: 46 ms."""


@dataclass(frozen=True)
class Measures:
    """The six published measures of one track."""

    si_sdr_db: float
    """Scale-invariant signal-to-distortion ratio, within ±200; higher is better."""
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


class QualityMeter:
    """Measures a track that arrives in blocks, in memory that does not grow with its length.

    ``fft_size``: samples of a window of the stream and its margin, a power of 2.
    """

    def __init__(self, fft_size: int = FFT_SIZE) -> None:
        self._windows = Windows(fft_size)
        self._sums = _Sums(fft_size)
        self._n_samples = 0

    def add(self, estimate: Block, original: Block) -> None:
        """Take in the next samples of both: float32 ``[2, T]``, tensors or arrays.

        Raises ValueError for shapes that differ or are others.
        """
        x, y = as_sound(estimate), as_sound(original)
        if x.shape != y.shape:
            raise ValueError(f"lengths differ: {x.shape[1]} and {y.shape[1]} samples")
        self._n_samples += x.shape[1]
        for window in self._windows.add(x, y):
            self._sums.add(window)

    def measures(self) -> Measures | None:
        """Return the measures of all that was added, each a finite number; ends the stream.

        None for what they are not defined of: a track shorter than `MIN_SAMPLES`, an original of
        digital silence, and samples so large that their squares exceed float32.
        """
        if self._n_samples < MIN_SAMPLES:
            return None
        self._sums.add(self._windows.last())
        measures = self._sums.measures()
        is_defined = self._sums.has_sound and all(map(math.isfinite, astuple(measures)))
        return measures if is_defined else None


def measure(estimate: Block, original: Block) -> Measures:
    """Return all measures of ``estimate`` against ``original``, both float32 ``[2, T]``.

    Raises ValueError for lengths that differ, and where the measures are not defined; see
    `QualityMeter.measures`.
    """
    meter = QualityMeter()
    meter.add(estimate, original)
    measures = meter.measures()
    if measures is None:
        raise ValueError("the original is silent or too short, or samples are too large")
    return measures


def mean_measures(measures: list[Measures]) -> Measures:
    """Return the unweighted mean of each measure."""
    names = [field.name for field in fields(Measures)]
    return Measures(**{n: sum(getattr(m, n) for m in measures) / len(measures) for n in names})


class _Sums:
    """All that is added up from window to window."""

    def __init__(self, fft_size: int) -> None:
        self._fft_size = fft_size
        self._si_sdr = SiSdr()
        self._distances = SpectralDistances()
        self._coherence = PhaseCoherence()
        self._peaks = TruePeaks()

    @torch.no_grad()
    def add(self, window: Window) -> None:
        core: Tensor = window.audio[:, window.start : window.stop]
        self._si_sdr.add(core[:2], core[2:])
        spectra = torch.fft.rfft(window.audio, self._fft_size)
        self._peaks.add(window, spectra)
        filtered = weighted(spectra, window.audio.shape[1])
        self._distances.add(Window(filtered, window.start, window.stop, window.is_last))
        self._coherence.add(window)

    @property
    def has_sound(self) -> bool:
        return self._si_sdr.original_energy > 0

    def measures(self) -> Measures:
        return Measures(
            si_sdr_db=self._si_sdr.db,
            mel=self._distances.mel,
            stft=self._distances.stft,
            icpc=self._coherence.individual,
            ccpc=self._coherence.cross,
            dbtp=abs(self._peaks.estimate_db - self._peaks.original_db),
        )
