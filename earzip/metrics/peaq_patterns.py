"""What PEAQ makes of excitations over time: forward masking, adapted levels, modulation, loudness.

After ITU-R BS.1387-2, annex 2, sections 2.1.8 to 3.3, in the reading of Kabal (see
`earzip.metrics.peaq_ear`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from earzip.metrics.peaq_ear import CENTRES_HZ, FRAME_RATE, N_BANDS, Array

_LOUDNESS_POWER = 0.23
_THRESHOLD: Array = 10 ** (0.364 * (CENTRES_HZ / 1000) ** -0.8)
_LOUDNESS_INDEX: Array = 10 ** (
    (-2 - 2.05 * np.arctan(CENTRES_HZ / 4000) - 0.75 * np.arctan((CENTRES_HZ / 1600) ** 2)) / 10
)
_LOUDNESS_SCALE: Array = 1.07664 * (_THRESHOLD / (1e4 * _LOUDNESS_INDEX)) ** _LOUDNESS_POWER
_MODULATION_POWER = 0.3
_BANDS_BELOW, _BANDS_ABOVE = 3, 4  # that a band's adaptation is averaged with


@dataclass(frozen=True)
class Patterns:
    """What each frame is heard as; all ``[frames, 2, channels, N_BANDS]``: original and decoded."""

    excitations: Array
    """With forward masking."""
    adapted: Array
    """The same, brought to one level and one colour, as far as these change slowly."""
    modulations: Array
    """How fast the envelope of each band changes, over its mean."""
    mean_loudness: Array
    """Smoothed loudness of each band, unscaled."""


class PatternMeter:
    """Follows a stream of excitations; what it remembers are smoothed patterns of one frame."""

    def __init__(self, n_channels: int) -> None:
        shape = (2, n_channels, N_BANDS)
        masking, adaptation = _decay(0.030), _decay(0.050)
        self._masking = _Smoother(masking, shape)
        self._level = _Smoother(adaptation, shape)
        # The two correlations are sums, not means; only their quotient counts.
        self._correlation = _Smoother(adaptation, (n_channels, N_BANDS))
        self._energy = _Smoother(adaptation, (n_channels, N_BANDS))
        self._pattern = _Smoother(adaptation, shape)
        self._change = _Smoother(adaptation, shape)
        self._loudness = _Smoother(adaptation, shape)
        self._last = np.zeros((1, *shape))

    def add(self, excitations: Array) -> Patterns:
        """Return the patterns of further ``excitations``, ``[frames, 2, channels, N_BANDS]``."""
        masked = np.maximum(self._masking.add(excitations), excitations)
        loudness = excitations**_MODULATION_POWER
        before = np.concatenate([self._last, loudness])[:-1]
        self._last = loudness[-1:]
        change = self._change.add(FRAME_RATE * np.abs(loudness - before))
        mean = self._loudness.add(loudness)
        return Patterns(masked, self._adapted(masked), change / (1 + mean / 0.3), mean)

    def _adapted(self, masked: Array) -> Array:
        """Return patterns whose slow differences of level, of all and by band, are made up for."""
        level = self._level.add(masked)
        both = np.sqrt(level[:, 0] * level[:, 1]).sum(-1, keepdims=True)
        quotient = (both / level[:, 1].sum(-1, keepdims=True)) ** 2  # of the levels of all bands
        # The louder sound is turned down.
        levelled = np.stack(
            [masked[:, 0] / np.maximum(quotient, 1), masked[:, 1] * np.minimum(quotient, 1)], 1
        )
        correlation = self._correlation.add(levelled[:, 0] * levelled[:, 1])
        energy = self._energy.add(levelled[:, 0] ** 2)
        ratio = correlation / energy
        ratios = np.stack([np.minimum(ratio, 1), np.minimum(1 / ratio, 1)], 1)
        adapted: Array = levelled * self._pattern.add(_over_bands(ratios))
        return adapted


class _Smoother:
    """First-order low-passes over frames, one a band."""

    def __init__(self, decay: Array, shape: tuple[int, ...]) -> None:
        self._decay = decay
        self._state = np.zeros(shape)

    def add(self, values: Array) -> Array:
        """Return smoothed ``values``, ``[frames, …, N_BANDS]``."""
        smoothed = (1 - self._decay) * values
        state = self._state
        for frame in smoothed:
            frame += self._decay * state  # noqa: PLW2901  # in place: a frame is a view
            state = frame
        self._state = state.copy()
        return smoothed


def _decay(slowest_s: float) -> Array:
    """Return what a frame leaves of the one before: time constants of 8 ms, and longer below."""
    seconds = 0.008 + 100 / CENTRES_HZ * (slowest_s - 0.008)
    decay: Array = np.exp(-1 / (FRAME_RATE * seconds))
    return decay


def _over_bands(ratios: Array) -> Array:
    """Return the mean of each band and its neighbours."""
    sums = np.concatenate([np.zeros((*ratios.shape[:-1], 1)), ratios.cumsum(-1)], -1)
    band = np.arange(N_BANDS)
    first = np.maximum(band - _BANDS_BELOW, 0)
    last = np.minimum(band + _BANDS_ABOVE + 1, N_BANDS)
    mean: Array = (sums[..., last] - sums[..., first]) / (last - first)
    return mean


def loudness(excitations: Array) -> Array:
    """Return the loudness in sone of ``excitations``, ``[…, N_BANDS]``: ``[…]`` (equations 58 to 61)."""
    relative = 1 - _LOUDNESS_INDEX + _LOUDNESS_INDEX * excitations / _THRESHOLD
    specific = _LOUDNESS_SCALE * (relative**_LOUDNESS_POWER - 1)
    total: Array = 24 / N_BANDS * np.maximum(specific, 0).sum(-1)
    return total
