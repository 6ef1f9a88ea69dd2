"""Measures that follow listeners: Zimtohrli, PEAQ's noise-to-mask ratio and 2f-model, tones and pre-echo.

Each compares an estimate with its original: float32 ``[2, T]``, 44.1 kHz, aligned to the sample and of
equal length. With expert listeners, over 240 items, the noise-to-mask ratio correlates by .89 and the
2f-model by .87, SI-SDR by .44 (ODAQ benchmark, arXiv 2504.00742). They need the extra ``eval``, and the
package zimtohrli of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from earzip.metrics.peaq import SAMPLE_RATE as PEAQ_RATE
from earzip.metrics.peaq import PeaqMeter
from earzip.metrics.pre_echo import PreEchoMeter
from earzip.metrics.tonality import SAMPLE_RATE, TonalityMeter
from earzip.metrics.zimtohrli import ZimtohrliMeter

Audio = NDArray[np.float32]


@dataclass(frozen=True)
class PerceptualMeasures:
    """What a listener may make of one track; None where a measure is not defined."""

    zimtohrli: float | None
    """Psychoacoustic distance, mean of both channels; 0 for equal sounds, lower is better."""
    two_f: float | None
    """2f-model, 0 to 100; higher is better."""
    nmr_db: float | None
    """Noise-to-mask ratio of PEAQ in dB; lower is better."""
    odg: float | None
    """Objective difference grade of basic PEAQ, −4 to 0; higher is better."""
    tonality_db: float | None
    """By how much flatter the most tonal parts of the spectrum became; 0 is as the original."""
    pre_echo_db: float | None
    """By how much more energy is before onsets, relative to them; 0 is as the original."""
    pre_echo_original_db: float | None
    """Energy before the onsets of the original, relative to them."""
    n_onsets: int
    """Onsets that these two are medians of."""


class PerceptualMeter:
    """Measures a track that arrives in blocks; it keeps about 40 kB per second.

    Raises UsageError if the package zimtohrli is missing.
    """

    def __init__(self) -> None:
        self._resamplers = [
            soxr.ResampleStream(SAMPLE_RATE, PEAQ_RATE, 2, dtype="float32", quality="VHQ")
            for _ in range(2)
        ]
        self._zimtohrli = ZimtohrliMeter()
        self._peaq = PeaqMeter()
        self._tonality = TonalityMeter()
        self._pre_echo = PreEchoMeter()

    def add(self, estimate: Audio, original: Audio) -> None:
        """Take in the next samples of both: float32 ``[2, T]``, 44.1 kHz.

        Raises ValueError for shapes that differ.
        """
        if estimate.shape != original.shape:
            raise ValueError(f"shapes differ: {estimate.shape} and {original.shape}")
        self._tonality.add(estimate, original)
        self._pre_echo.add(estimate, original)
        self._add_at_48k(estimate, original)

    def _add_at_48k(self, estimate: Audio, original: Audio, *, last: bool = False) -> None:
        pair = zip(self._resamplers, (estimate, original), strict=True)
        at_48k = [r.resample_chunk(np.ascontiguousarray(x.T), last=last).T for r, x in pair]
        self._peaq.add(*at_48k)
        self._zimtohrli.add(*at_48k)

    def measures(self) -> PerceptualMeasures:
        """Return the measures of all that was added; ends the stream."""
        nothing = np.zeros((2, 0), np.float32)
        self._add_at_48k(nothing, nothing, last=True)
        peaq, before = self._peaq.result(), self._pre_echo.result()
        return PerceptualMeasures(
            zimtohrli=self._zimtohrli.distance(),
            two_f=peaq.two_f if peaq else None,
            nmr_db=peaq.variables.total_nmr_db if peaq else None,
            odg=peaq.odg if peaq else None,
            tonality_db=_finite(self._tonality.excess_db()),
            pre_echo_db=_finite(before.excess_db) if before else None,
            pre_echo_original_db=_finite(before.original_db) if before else None,
            n_onsets=before.n_onsets if before else 0,
        )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def perceptual_measures(estimate: Audio, original: Audio) -> PerceptualMeasures:
    """Return all measures of ``estimate`` against ``original``, both float32 ``[2, T]``, 44.1 kHz.

    Raises ValueError for shapes that differ, and UsageError if the package zimtohrli is missing.
    """
    meter = PerceptualMeter()
    meter.add(estimate, original)
    return meter.measures()
