from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

# `benchmarks` is not part of the package, so it is found from the repository.
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.behaviour_sources import LOUD_S, SWEEP_DB
from benchmarks.behaviours import (
    EDGES_HZ,
    SYNTHETIC,
    Behaviour,
    band_biases_db,
    band_power,
    bias_db,
    decibels,
    limited_figures,
    mono_figures,
    quiet_figures,
    silence_figures,
    sparse_figures,
    spectrum,
    sweep_figures,
    to_markdown,
)
from benchmarks.data.pcm import SAMPLE_RATE, Samples


@cache
def source(name: str) -> Samples:
    return SYNTHETIC[name][0]()


def sine(f_hz: float, amplitude: float, seconds: float = 1.0) -> Samples:
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    wave = amplitude * np.sin(2 * np.pi * f_hz * t)
    return np.stack([wave, wave], 1).astype(np.float32)


def noise(n_samples: int, amplitude: float) -> Samples:
    sound = amplitude * np.random.default_rng(0).standard_normal((n_samples, 2))
    return sound.astype(np.float32)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_sources_are_stereo_and_the_same_every_time(name: str) -> None:
    sound, figures = source(name), SYNTHETIC[name][1]
    assert sound.dtype == np.float32
    assert sound.shape[1] == 2
    assert 0.2 < np.abs(sound).max() < 1
    assert np.array_equal(sound, SYNTHETIC[name][0]())
    # What is compared with itself has no bias.
    found = {**band_biases_db(sound, sound), **figures(sound, sound)}
    assert all(value == 0 for key, value in found.items() if value is not None and "bias" in key)


class TestBands:
    def test_a_sine_of_full_scale_is_0_db_in_its_band_alone(self) -> None:
        power = spectrum(sine(1000, 1.0))
        levels = {
            low: decibels(band_power(power, low, high))
            for low, high in [(500, 2000), (5000, 10000)]
        }
        assert levels[500] == pytest.approx(0, abs=0.01)
        assert levels[5000].max() < -90

    def test_a_band_that_is_3_db_quieter_is_told_and_no_other(self) -> None:
        low, high = sine(200, 0.1), sine(7000, 0.1)
        found = band_biases_db(low + np.float32(10 ** (-3 / 20)) * high, low + high)
        assert found["5000_10000_hz"] == pytest.approx(-3, abs=0.01)
        assert found["100_500_hz"] == pytest.approx(0, abs=0.01)
        assert found["16000_20000_hz"] is None
        assert len(found) == len(EDGES_HZ) - 1

    def test_what_is_inaudible_counts_as_the_floor(self) -> None:
        original, restored = np.array([1e-5, 1e-12, 1e-10]), np.array([1e-12, 1e-11, 1e-8])
        assert bias_db(restored, original) == pytest.approx((-40 + 10) / 2)
        assert bias_db(original * 0, restored * 0) is None


class TestFigures:
    def test_noise_between_partials_is_seen(self) -> None:
        original = source("sparse")
        clean = sparse_figures(original * np.float32(0.5), original)
        assert clean["between_partials_bias_db"] == pytest.approx(-5.2, abs=1)
        noisy = sparse_figures(original + noise(len(original), 0.003), original)
        assert noisy["between_partials_bias_db"] > 3
        assert noisy["with_empty_bins_bias_db"] > 8

    def test_of_the_quiet_passage_only_it_is_looked_at(self) -> None:
        original = source("quiet")
        restored = original.copy()
        restored[: LOUD_S * SAMPLE_RATE] = 0
        assert quiet_figures(restored, original)["quiet_bias_db"] == 0
        restored[LOUD_S * SAMPLE_RATE :] *= np.float32(0.5)
        found = quiet_figures(restored, original)
        assert found["quiet_bias_db"] == pytest.approx(-6.02, abs=0.01)
        level = decibels(2 * np.square(original[LOUD_S * SAMPLE_RATE :], dtype=np.float64).mean())
        assert float(level) == pytest.approx(-40, abs=0.01)

    def test_the_side_is_told_under_the_mid(self) -> None:
        original = source("mono")
        found = mono_figures(original * np.array([1.0, 0.9], np.float32), original)
        assert found["side_over_mid_before_db"] == -200
        assert found["side_over_mid_after_db"] == pytest.approx(20 * np.log10(0.1 / 1.9), abs=0.01)

    def test_a_tone_above_the_limit_is_seen(self) -> None:
        original = source("limited")
        found = limited_figures(original + sine(18_000, 0.01, 10), original)
        assert found["above_16500_hz_before_dbfs"] < -120
        assert found["above_16500_hz_after_dbfs"] == pytest.approx(-40, abs=0.1)

    def test_the_peak_of_the_silence_leaves_its_edges_out(self) -> None:
        restored = source("silence").copy()
        restored[round(1.05 * SAMPLE_RATE)] = 0.5
        assert silence_figures(restored, source("silence")) == {"peak_dbfs": -200}
        restored[3 * SAMPLE_RATE] = -0.001
        assert silence_figures(restored, restored)["peak_dbfs"] == pytest.approx(-60)

    def test_the_sweep_is_followed_whatever_its_phase(self) -> None:
        original = source("sweep")
        clean = sweep_figures(-original, original)
        assert clean["tone_worst_error_db"] == pytest.approx(0, abs=1e-3)
        assert clean["all_else_over_tone_db"] < -120

    def test_a_hole_in_the_sweep_and_noise_beside_it_are_told_apart(self) -> None:
        original = source("sweep")
        restored = original + noise(len(original), 10 ** ((SWEEP_DB - 40) / 20) / np.sqrt(2))
        restored[8 * SAMPLE_RATE : 9 * SAMPLE_RATE] *= np.float32(0.5)
        found = sweep_figures(restored, original)
        assert found["tone_worst_error_db"] == pytest.approx(-6, abs=0.3)
        assert 1990 < found["at_hz"] < 3600
        assert found["all_else_over_tone_db"] == pytest.approx(-40, abs=0.5)


def test_a_row_says_what_a_source_is_about() -> None:
    biases = dict.fromkeys((f"{i}_hz" for i in range(7)), -1.26)
    one = Behaviour(
        8.5, 11.44, {**biases, "6_hz": None}, {"tone_worst_error_db": -3.0, "at_hz": 6341.2}
    )
    row = to_markdown("mini medium", {"sweep": one}).splitlines()[-1]
    assert row == (
        f"| sweep | 8.50 | 11.4 | {'−1.3 | ' * 6}– | tone worst error dB −3.0, at Hz 6341 |"
    )
