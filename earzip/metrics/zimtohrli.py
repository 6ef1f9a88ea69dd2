"""The psychoacoustic distance Zimtohrli (https://github.com/google/zimtohrli), of its own package.

It hears one channel at 48 kHz, hardly minds the level, and knows nothing of the stereo image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earzip.metrics import require_zimtohrli

SAMPLE_RATE = 48_000
SHORTEST = SAMPLE_RATE // 4
"""The fewest samples of a distance: about 0.05 s crash the package's library."""
_PART = 10 * SAMPLE_RATE  # its time grows with the square of a length; the distance hardly changes


def mos(distance: float) -> float:
    """Return the mean opinion score that Zimtohrli expects of a distance: 5 for 0, 1 for the greatest.

    Raises UsageError if the package is missing.
    """
    require_zimtohrli()
    import zimtohrli  # noqa: PLC0415  # of the extra eval

    return float(zimtohrli.mos_from_zimtohrli(distance))


class ZimtohrliMeter:
    """Measures a sound that arrives in blocks, in parts of 10 s and a last one of up to 11.

    Raises UsageError if the package is missing.
    """

    def __init__(self, n_channels: int = 2) -> None:
        require_zimtohrli()
        import zimtohrli  # noqa: PLC0415  # of the extra eval

        self._judge = zimtohrli.Pyohrli()
        self._held = np.zeros((2, n_channels, 0), np.float32)
        self._sum = 0.0
        self._n_samples = 0
        self._is_finite = True

    def add(self, estimate: NDArray[np.floating], original: NDArray[np.floating]) -> None:
        """Take in the next samples of both: ``[channels, T]``, ±1, 48 kHz.

        Raises ValueError for shapes that differ.
        """
        if estimate.shape != original.shape:
            raise ValueError(f"shapes differ: {estimate.shape} and {original.shape}")
        both = np.stack([estimate, original]).astype(np.float32)
        self._is_finite = self._is_finite and bool(np.isfinite(both).all())
        self._held = np.concatenate([self._held, both], -1)
        while self._held.shape[-1] > _PART + SAMPLE_RATE:
            self._measure(_PART)

    def distance(self) -> float | None:
        """Return the distance of all that was added, 0 for equal sounds; ends the stream.

        It is the mean over the channels and, by length, the parts. None for less than `SHORTEST`, and
        for samples that are not finite.
        """
        if self._held.shape[-1] >= SHORTEST:
            self._measure(self._held.shape[-1])
        return self._sum / self._n_samples if self._n_samples and self._is_finite else None

    def _measure(self, n_samples: int) -> None:
        part, self._held = self._held[..., :n_samples], self._held[..., n_samples:]
        if self._is_finite:
            pairs = zip(*np.ascontiguousarray(part), strict=True)
            by_channel = [self._judge.distance(estimate, original) for estimate, original in pairs]
            self._sum += n_samples * float(np.mean(by_channel))
            self._n_samples += n_samples


def zimtohrli_distance(estimate: NDArray[np.floating], original: NDArray[np.floating]) -> float:
    """Return Zimtohrli's distance of ``estimate`` from ``original``: ``[channels, T]``, ±1, 48 kHz.

    Raises ValueError for shapes that differ, less than `SHORTEST` and samples that are not finite, and
    UsageError if the package is missing.
    """
    meter = ZimtohrliMeter(original.shape[0])
    meter.add(estimate, original)
    distance = meter.distance()
    if distance is None:
        raise ValueError(f"fewer than {SHORTEST} samples, or some that are not finite")
    return distance
