from __future__ import annotations

import math

import numpy as np
import pytest

from earzip.coding.level import LevelMeter, gain_to_reference_db


def level_of(*blocks: np.ndarray) -> float:
    meter = LevelMeter()
    for block in blocks:
        meter.add(block.astype(np.float32))
    return meter.level_db()


def sine(n: int, amplitude: float) -> np.ndarray:
    return np.tile(amplitude * np.sin(2 * np.pi * 1000 * np.arange(n) / 44_100), (2, 1))


def test_level_of_a_sine_is_its_rms() -> None:
    assert level_of(sine(88_200, 0.1)) == pytest.approx(-23.01, abs=0.01)


def test_silence_around_music_does_not_count() -> None:
    silence = np.zeros((2, 176_400))
    assert level_of(silence, sine(176_400, 0.1), silence) == pytest.approx(-23.01, abs=0.01)


def test_level_does_not_depend_on_blocks() -> None:
    audio = np.random.default_rng(0).normal(0, 0.1, (2, 100_000))
    pieces = np.array_split(audio, 17, axis=1)
    assert level_of(*pieces) == pytest.approx(level_of(audio), abs=1e-6)


def test_short_and_silent_audio() -> None:
    assert level_of(sine(441, 0.1)) == pytest.approx(-23.01, abs=0.05)
    assert level_of(np.zeros((2, 44_100))) == -math.inf
    assert level_of() == -math.inf


def test_what_is_left_of_a_block_counts_by_its_length() -> None:
    hiss = np.random.default_rng(0).normal(0, 1e-5, (2, 17_640))
    assert level_of(hiss, sine(15_000, 0.1)) == pytest.approx(-23.01, abs=0.05)
    two = level_of(sine(17_640, 0.1), sine(8_820, 0.2))
    assert two == pytest.approx(-23.01 + 10 * np.log10((1 + 4 * 0.5) / 1.5), abs=0.01)


def test_a_track_below_the_gate_has_a_level() -> None:
    assert level_of(sine(88_200, 1e-4)) == pytest.approx(-83.01, abs=0.01)


def test_gain_is_bounded_and_in_tenths() -> None:
    assert gain_to_reference_db(-math.inf) == 0
    assert gain_to_reference_db(-23.456) == 3.5
    assert gain_to_reference_db(-199) == 60
    assert gain_to_reference_db(150) == -120
