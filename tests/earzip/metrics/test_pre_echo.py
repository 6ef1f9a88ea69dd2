from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from earzip.metrics.pre_echo import SAMPLE_RATE, PreEchoMeter, pre_echo

pytest.importorskip("scipy")

Array = NDArray[np.float64]

N = 4 * SAMPLE_RATE
ONSETS = range(SAMPLE_RATE // 4, N - SAMPLE_RATE // 4, SAMPLE_RATE // 2)
"""Seven strokes."""


def strokes(before_db: float, level: float = 0.1) -> Array:
    """Bursts of noise of 40 ms, each after 30 ms of noise so much softer."""
    noise = level * np.random.default_rng(0).standard_normal((2, N))
    gains = np.zeros(N)
    for onset in ONSETS:
        gains[onset - round(0.03 * SAMPLE_RATE) : onset] = 10 ** (before_db / 20)
        gains[onset : onset + round(0.04 * SAMPLE_RATE)] = 1
    return gains * noise


@pytest.mark.parametrize("before_db", [-15, -25, -40])
def test_energy_before_onsets_is_found_at_its_level(before_db: float) -> None:
    found = pre_echo(strokes(before_db), strokes(-70))
    assert found is not None
    assert found.n_onsets == len(ONSETS)
    assert found.original_db == -60
    assert found.estimate_db == pytest.approx(before_db, abs=1)
    assert found.excess_db == found.estimate_db - found.original_db


def test_the_same_sound_has_no_excess() -> None:
    found = pre_echo(strokes(-25), strokes(-25))
    assert found is not None
    assert found.original_db == pytest.approx(-25, abs=1)
    assert found.excess_db == 0


def test_a_change_of_level_changes_nothing() -> None:
    found = pre_echo(0.5 * strokes(-25), strokes(-25))
    assert found is not None
    assert found.excess_db == pytest.approx(0, abs=0.01)


def test_the_figure_is_a_median() -> None:
    x = strokes(-40)
    first = next(iter(ONSETS))
    x[:, first - 1000 : first] = strokes(-15)[:, first - 1000 : first]
    found = pre_echo(x, strokes(-40))
    assert found is not None
    assert found.excess_db == pytest.approx(0, abs=1)


def test_bass_before_an_onset_is_not_heard() -> None:
    t = np.arange(N) / SAMPLE_RATE
    bass = np.tile(0.05 * np.sin(2 * np.pi * 100 * t), (2, 1))
    found = pre_echo(strokes(-40) + bass, strokes(-40))
    assert found is not None
    assert found.excess_db == pytest.approx(0, abs=1)


def test_what_is_after_an_onset_is_not_before_it() -> None:
    x = strokes(-40)
    for onset in ONSETS:
        x[:, onset + 1000 : onset + 1700] *= 0.1
    found = pre_echo(x, strokes(-40))
    assert found is not None
    assert found.excess_db == pytest.approx(0, abs=0.5)


def test_soft_strokes_among_loud_ones_do_not_count() -> None:
    y = strokes(-70)
    y[:, N // 2 :] *= 10 ** (-40 / 20)
    found = pre_echo(y, y)
    assert found is not None
    assert found.n_onsets == sum(onset < N // 2 for onset in ONSETS)


def test_blocks_of_any_length_give_the_same() -> None:
    x, y = strokes(-20), strokes(-40)
    whole = pre_echo(x, y)
    assert whole is not None
    for size in (441, 4411, 70_001):
        meter = PreEchoMeter()
        for start in range(0, N, size):
            meter.add(x[:, start : start + size], y[:, start : start + size])
        found = meter.result()
        assert found is not None
        assert found.n_onsets == whole.n_onsets
        assert found.estimate_db == pytest.approx(whole.estimate_db)


@pytest.mark.parametrize(
    "y",
    [
        np.zeros((2, N)),
        np.zeros((2, 0)),
        np.ones((2, 500)),
        np.random.default_rng(0).standard_normal((2, N)),
    ],
    ids=["silence", "empty", "short", "steady"],
)
def test_a_sound_without_onsets_has_no_figure(y: Array) -> None:
    assert pre_echo(y, y) is None
