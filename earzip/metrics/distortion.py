"""Scale-invariant signal-to-distortion ratio of a stream (Le Roux et al., 2019)."""

from __future__ import annotations

import math

from torch import Tensor

LIMIT_DB = 200.0
"""What stands for an infinite ratio: beyond what float32 samples can reach."""


class SiSdr:
    """SI-SDR over both channels together, from sums in float64."""

    def __init__(self) -> None:
        self.original_energy = 0.0
        self._product = 0.0  # of error and original
        self._error_energy = 0.0

    def add(self, estimate: Tensor, original: Tensor) -> None:
        """Take in ``estimate`` and ``original``: float32 ``[2, T]``."""
        y = original.double().flatten()
        # The error rather than the estimate: the difference of large sums would lose a small one.
        error = estimate.double().flatten() - y
        self.original_energy += float(y @ y)
        self._product += float(error @ y)
        self._error_energy += float(error @ error)

    @property
    def db(self) -> float:
        """The ratio in dB, within ±200; −200 for an estimate that has nothing of its original."""
        if not self.original_energy:
            return -LIMIT_DB
        scale = 1 + self._product / self.original_energy
        target = scale**2 * self.original_energy
        noise = max(self._error_energy - self._product**2 / self.original_energy, 0.0)
        if not target:
            return -LIMIT_DB
        if not noise:
            return LIMIT_DB
        return min(max(10 * math.log10(target / noise), -LIMIT_DB), LIMIT_DB)


def si_sdr_db(estimate: Tensor, original: Tensor) -> float:
    """Return the SI-SDR in dB of ``estimate``, float32 ``[2, T]`` as ``original``, within ±200."""
    sums = SiSdr()
    sums.add(estimate, original)
    return sums.db
