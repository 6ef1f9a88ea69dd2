from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from earzip.metrics.tonality import SAMPLE_RATE, TonalityMeter, tonality_excess_db

Array = NDArray[np.float64]

N = 3 * SAMPLE_RATE
# About 2.2, 2.7, 3.3, 4.0, 4.9, 6.0, 7.4 and 9.0 kHz: the middles of the eight bands.
MIDDLES_HZ = np.sqrt(np.geomspace(2000, 10_000, 9)[:-1] * np.geomspace(2000, 10_000, 9)[1:])
OF_NOISE_DB = -10 * np.euler_gamma / np.log(10)
"""Flatness of the spectrum of white noise in one frame: its bins are exponentially distributed."""


def noise(seed: int, level: float = 0.1) -> Array:
    return level * np.random.default_rng(seed).standard_normal((2, N))


def tones(level: float = 0.1) -> Array:
    t = np.arange(N) / SAMPLE_RATE
    return np.tile(level * np.sin(2 * np.pi * MIDDLES_HZ[:, None] * t).sum(0), (2, 1))


def least_flatness_db(sound: Array) -> float:
    """Mean of the two least flat of the eight bands of 2 to 10 kHz, of one frame, from the definition."""
    window = np.hanning(2049)[:-1]
    power = np.abs(np.fft.rfft(window * sound[0, 44_000 : 44_000 + 2048])) ** 2 + 2048e-10
    edges = np.rint(np.geomspace(2000, 10_000, 9) * 2048 / SAMPLE_RATE).astype(int)
    bands = [power[a:b] for a, b in pairwise(edges)]
    flatness = [10 * np.log10(np.exp(np.log(b).mean()) / b.mean()) for b in bands]
    return float(np.mean(sorted(flatness)[:2]))


def test_the_same_sound_is_as_tonal() -> None:
    assert tonality_excess_db(tones(), tones()) == 0


def test_a_change_of_level_changes_nothing() -> None:
    y = tones() + noise(0, 1e-3)
    assert tonality_excess_db(0.5 * y, y) == pytest.approx(0, abs=0.05)


def test_tones_that_became_noise_lose_all_their_tonality() -> None:
    y = tones() + noise(0, 1e-4)
    excess = tonality_excess_db(noise(1), y)
    assert excess is not None
    lost = OF_NOISE_DB - least_flatness_db(y)
    assert lost > 20
    assert excess == pytest.approx(lost, abs=1)


def test_noise_that_became_other_noise_loses_only_what_chance_gave() -> None:
    excess = tonality_excess_db(noise(1), noise(0))
    assert excess is not None
    # The least flat quarter of the cells of white noise, whose mean is −2.5 dB.
    assert 0.5 < excess < 1.5


def test_more_noise_among_tones_is_less_tonal() -> None:
    y = tones() + noise(0, 1e-4)
    found = [tonality_excess_db(y + noise(1, x), y) for x in (1e-4, 1e-3, 1e-2, 1e-1)]
    values = [each for each in found if each is not None]
    assert len(values) == 4
    assert values == sorted(values)
    assert values[0] > 1
    # Ten times the noise is 20 dB more in all bins but the tone's own few.
    assert values[2] - values[1] == pytest.approx(18, abs=3)


def test_noise_that_became_tones_is_negative() -> None:
    excess = tonality_excess_db(tones(), noise(0))
    assert excess is not None
    assert excess < -15


def test_a_tone_that_is_missing_counts_as_noise() -> None:
    excess = tonality_excess_db(0 * tones(), tones())
    assert excess is not None
    assert excess > 20


def test_what_is_below_2_khz_and_above_10_is_not_heard() -> None:
    t = np.arange(N) / SAMPLE_RATE
    others = np.tile(0.1 * (np.sin(2e3 * np.pi * t) + np.sin(24e3 * np.pi * t)), (2, 1))
    y = tones() + noise(0, 1e-3)
    assert tonality_excess_db(y + others, y) == pytest.approx(0, abs=0.1)


def test_blocks_of_any_length_give_the_same() -> None:
    y, x = tones() + noise(0, 1e-3), tones() + noise(1, 1e-2)
    whole = tonality_excess_db(x, y)
    for size in (1000, 2048, 70_001):
        meter = TonalityMeter()
        for start in range(0, N, size):
            meter.add(x[:, start : start + size], y[:, start : start + size])
        assert meter.excess_db() == pytest.approx(whole)


@pytest.mark.parametrize("y", [np.zeros((2, N)), np.zeros((2, 0)), tones()[:, :2047]])
def test_what_has_no_cells_has_no_figure(y: Array) -> None:
    assert tonality_excess_db(y, y) is None
