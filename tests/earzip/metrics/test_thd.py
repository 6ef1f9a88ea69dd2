from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from earzip.formats.geometry import SAMPLE_RATE
from earzip.metrics.thd import TONE_HZ, measure_thd_n, spectrum_dbfs, tone

pytest.importorskip("scipy")

Audio = NDArray[np.float32]


def partial(frequency: float, dbfs: float) -> Audio:
    t = np.arange(tone(0).shape[1]) / SAMPLE_RATE
    sine = 10 ** (dbfs / 20) * np.sin(2 * np.pi * frequency * t + 0.7)
    return np.stack([sine, sine]).astype(np.float32)


def noise(dbfs: float) -> Audio:
    """White noise with the rms of a sine at ``dbfs``."""
    rms = 10 ** (dbfs / 20) / np.sqrt(2)
    return (rms * np.random.default_rng(0).standard_normal(tone(0).shape)).astype(np.float32)


@pytest.mark.parametrize("level", [0, -1, -20, -60])
def test_a_pure_tone_has_next_to_none(level: float) -> None:
    found = measure_thd_n(tone(level))
    assert found.db < -110
    assert found.level_dbfs == pytest.approx(level, abs=0.001)


@pytest.mark.parametrize("level", [-1, -20])
@pytest.mark.parametrize("db", [-20, -40, -80])
def test_a_third_harmonic_is_found_at_its_level(level: float, db: float) -> None:
    found = measure_thd_n(tone(level) + partial(3 * TONE_HZ, level + db))
    of_total = db - 10 * np.log10(1 + 10 ** (db / 10))
    assert found.db == pytest.approx(of_total, abs=0.1)
    assert found.percent == pytest.approx(100 * 10 ** (of_total / 20), rel=0.012)


def test_distortion_and_noise_add_up() -> None:
    found = measure_thd_n(tone(-1) + partial(3 * TONE_HZ, -41) + noise(-46))
    in_band = 10 ** (-45 / 10) * (20_000 - 20) / (SAMPLE_RATE / 2)
    assert found.db == pytest.approx(10 * np.log10(10 ** (-40 / 10) + in_band), abs=0.1)


def test_what_is_out_of_band_does_not_count() -> None:
    assert measure_thd_n(tone(-1) + partial(3, -41) + partial(21_000, -41)).db < -80
    for frequency in (30, 100, 10_000, 19_900):
        assert measure_thd_n(tone(-1) + partial(frequency, -41)).db == pytest.approx(-40, abs=0.1)


@pytest.mark.parametrize("side", [-1, 1])
def test_the_notch_has_the_width_of_the_standard(side: int) -> None:
    """Q, the centre over the distance of the frequencies that are 3 dB down, is 1.2 to 3."""

    def lost_at_the_edge(q: float) -> float:
        edge = TONE_HZ * (np.sqrt(1 + 1 / (4 * q**2)) + side / (2 * q))
        return -40 - measure_thd_n(tone(-1) + partial(edge, -41)).db

    assert lost_at_the_edge(3.1) > 3.01
    assert lost_at_the_edge(1.2) < 3.01


def test_noise_in_one_channel_counts_by_half() -> None:
    sound = tone(-1)
    sound[1] += noise(-41)[1]
    both = measure_thd_n(tone(-1) + noise(-41)).db
    assert measure_thd_n(sound).db == pytest.approx(both - 3.01, abs=0.05)


def test_the_beginning_and_the_end_are_not_heard() -> None:
    sound = tone(-1)
    sound[:, :20_000] = sound[:, -20_000:] = 0
    assert measure_thd_n(sound).db < -110


def test_silence_and_too_little() -> None:
    silent = measure_thd_n(0 * tone(-1))
    assert (silent.db, silent.level_dbfs) == (-200, -200)
    with pytest.raises(ValueError, match="88200 samples are too few"):
        measure_thd_n(tone(-1)[:, :88_200])


def test_the_spectrum_shows_levels_of_sines() -> None:
    frequencies, levels = spectrum_dbfs(tone(-1) + partial(5 * TONE_HZ, -61))
    near = np.abs(frequencies - TONE_HZ) < 20
    assert levels[near].max() == pytest.approx(-1, abs=1.2)  # between two bins
    assert levels[np.abs(frequencies - 5 * TONE_HZ) < 20].max() == pytest.approx(-61, abs=1.2)
    assert levels[frequencies > 10_000].max() < -120
