from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from earzip.metrics.perceptual import PerceptualMeasures, PerceptualMeter, perceptual_measures
from earzip.metrics.tonality import SAMPLE_RATE
from tests.formats.audio.audio_files import needs_opusenc

pytest.importorskip("zimtohrli")
pytest.importorskip("scipy")

Audio = NDArray[np.float32]

N = 4 * SAMPLE_RATE


def strings(seed: int) -> Audio:
    """Chords of bowed notes: many partials with vibrato, and a breath of noise."""
    random = np.random.default_rng(seed)
    t = np.arange(N) / SAMPLE_RATE
    sound = 0.002 * random.standard_normal((2, N))
    for midi in random.choice(np.arange(48, 84), 5, replace=False):
        hz = 440 * 2 ** ((midi - 69) / 12)
        vibrato = 0.3 / 5.5 * np.sin(2 * np.pi * 5.5 * t + random.uniform(0, 6))
        pan = random.uniform(0.2, 0.8)
        for k in range(1, int(12_000 / hz)):
            partial = np.sin(2 * np.pi * k * hz * (t + vibrato / 60) + random.uniform(0, 6)) / k
            sound += 0.05 * np.stack([pan * partial, (1 - pan) * partial])
    return sound.astype(np.float32)


def drums(seed: int) -> Audio:
    """Strokes of decaying noise and of a falling tone, eight a second."""
    random = np.random.default_rng(seed)
    sound = np.zeros((2, N))
    t = np.arange(SAMPLE_RATE // 8) / SAMPLE_RATE
    for start in range(0, N - len(t) + 1, len(t)):
        snare = random.standard_normal((2, len(t))) * np.exp(-t * random.uniform(20, 150))
        drum = np.sin(2 * np.pi * (60 * t + 8 * (1 - np.exp(-t * 30)))) * np.exp(-t * 15)
        sound[:, start : start + len(t)] += 0.15 * snare + 0.3 * drum
    return sound.astype(np.float32)


def plucked(seed: int) -> Audio:
    """A melody of decaying notes over another."""
    random = np.random.default_rng(seed)
    sound = np.zeros((2, N))
    for start in range(0, N - SAMPLE_RATE, SAMPLE_RATE // 6):
        t = np.arange(SAMPLE_RATE) / SAMPLE_RATE
        hz = 220 * 2 ** (random.integers(0, 24) / 12)
        pan = random.uniform(0.2, 0.8)
        for k in range(1, int(14_000 / hz)):
            partial = np.sin(2 * np.pi * k * hz * t) * np.exp(-t * (3 + k)) / k**0.7
            sound[:, start : start + len(t)] += 0.1 * np.stack([pan * partial, (1 - pan) * partial])
    return sound.astype(np.float32)


def through_opus(sound: Audio, kbps: int, folder: Path) -> Audio:
    wav, coded, decoded = folder / "a.wav", folder / "a.opus", folder / "b.wav"
    soundfile.write(wav, sound.T, SAMPLE_RATE, "PCM_24")
    encode = ["opusenc", "--quiet", "--bitrate", str(kbps), str(wav), str(coded)]
    decode = ["opusdec", "--quiet", "--float", "--rate", "44100", str(coded), str(decoded)]
    for command in (encode, decode):
        subprocess.run(command, check=True, capture_output=True)
    found: Audio = soundfile.read(decoded, dtype="float32")[0].T
    return found


@needs_opusenc
@pytest.mark.parametrize("make", [strings, drums, plucked])
def test_the_judges_rise_with_the_rates_of_opus(
    make: Callable[[int], Audio], tmp_path: Path
) -> None:
    y = make(0)
    rates = (12, 24, 48, 96)
    found = [perceptual_measures(through_opus(y, kbps, tmp_path), y) for kbps in rates]
    for name, best_first in (("zimtohrli", False), ("two_f", True), ("nmr_db", False)):
        values = [getattr(measures, name) for measures in found]
        assert values == sorted(values, reverse=not best_first), name
    assert found[-1].zimtohrli < 0.3 * found[0].zimtohrli
    assert found[-1].two_f > found[0].two_f + 25
    assert found[-1].nmr_db < found[0].nmr_db - 5
    assert found[-1].tonality_db < found[0].tonality_db + 0.1


@needs_opusenc
def test_tones_of_opus_become_noise_at_low_rates(tmp_path: Path) -> None:
    y = strings(0)
    low, high = (perceptual_measures(through_opus(y, kbps, tmp_path), y) for kbps in (12, 96))
    assert low.tonality_db is not None
    assert high.tonality_db is not None
    assert low.tonality_db > high.tonality_db + 2


def test_the_same_sound_is_perfect() -> None:
    found = perceptual_measures(drums(0), drums(0))
    assert found.zimtohrli == found.tonality_db == found.pre_echo_db == 0
    assert found.two_f == 100
    assert found.nmr_db is not None
    assert found.nmr_db < -100
    assert found.odg is not None
    assert found.odg > 0
    assert found.n_onsets > 20


def test_echo_before_drums_is_found_and_nothing_else_is_blamed() -> None:
    y = drums(0)
    early = np.roll(y, -round(0.008 * SAMPLE_RATE), axis=1) * 0.2
    found = perceptual_measures(y + early.astype(np.float32), y)
    assert found.pre_echo_db is not None
    assert found.pre_echo_db > 10


def test_blocks_of_any_length_give_the_same() -> None:
    y = plucked(0)
    x = y + (0.003 * np.random.default_rng(0).standard_normal(y.shape)).astype(np.float32)
    whole = asdict(perceptual_measures(x, y))
    meter = PerceptualMeter()
    for start in range(0, N, 30_001):
        meter.add(x[:, start : start + 30_001], y[:, start : start + 30_001])
    assert asdict(meter.measures()) == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize("n", [0, 100])
def test_what_is_not_defined_is_none(n: int) -> None:
    nothing = np.zeros((2, n), np.float32)
    found = perceptual_measures(nothing, nothing)
    assert found == PerceptualMeasures(None, None, None, None, None, None, None, 0)
    json.dumps(asdict(found), allow_nan=False)


def test_silence_has_no_figures_but_a_distance() -> None:
    silence = np.zeros((2, N), np.float32)
    found = perceptual_measures(silence, silence)
    assert found == PerceptualMeasures(0, None, None, None, None, None, None, 0)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("position", [0, N // 2])
def test_what_is_not_finite_leaves_no_figure_that_is_not(position: int) -> None:
    x = drums(0)
    x[0, position] = np.nan
    json.dumps(asdict(perceptual_measures(x, drums(0))), allow_nan=False)
    json.dumps(asdict(perceptual_measures(drums(0), x)), allow_nan=False)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        perceptual_measures(drums(0), drums(0)[:, 1:])
