from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from earzip.metrics.loudness import Loudness, LoudnessMeter

pyloudnorm = pytest.importorskip("pyloudnorm")

RATE = 44_100
Audio = NDArray[np.float32]


def sine(*steps: tuple[float, float]) -> Audio:
    """A stereo sine of 1 kHz in steps of (dBFS, seconds)."""
    levels = np.concatenate([np.full(round(s * RATE), 10 ** (db / 20)) for db, s in steps])
    wave = levels * np.sin(2 * np.pi * 1000 / RATE * np.arange(len(levels)))
    return np.stack([wave, wave]).astype(np.float32)


def measured(audio: Audio, block: int = 100_000) -> Loudness:
    meter = LoudnessMeter()
    for start in range(0, audio.shape[1], block):
        meter.add(audio[:, start : start + block])
    return meter.loudness()


@pytest.mark.parametrize(
    ("steps", "lufs"),
    [
        ([(-23, 20)], -23),
        ([(-33, 20)], -33),
        ([(-36, 10), (-23, 60), (-36, 10)], -23),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23),
    ],
)
def test_loudness_passes_ebu_tech_3341(steps: list[tuple[float, float]], lufs: float) -> None:
    assert measured(sine(*steps)).lufs == pytest.approx(lufs, abs=0.1)


@pytest.mark.parametrize(
    ("levels", "lra"),
    [((-20, -30), 10), ((-20, -15), 5), ((-40, -20), 20), ((-50, -35, -20, -35, -50), 15)],
)
def test_range_passes_ebu_tech_3342(levels: tuple[float, ...], lra: float) -> None:
    assert measured(sine(*((level, 20) for level in levels))).lra == pytest.approx(lra, abs=1)


@pytest.mark.parametrize("n", [17_640, 66_150, 66_151, 70_000, 12 * RATE + 2205, 40 * RATE + 3001])
def test_loudness_is_pyloudnorms(n: int) -> None:
    random = np.random.default_rng(n)
    swell = 10 ** (-1 - np.abs(np.sin(np.arange(n) / RATE * 0.7)) - 2 * (np.arange(n) > n / 2))
    audio = (random.standard_normal((2, n)) * swell).astype(np.float32)
    theirs = pyloudnorm.Meter(RATE)
    data = audio.T.astype(np.float64)
    mine = measured(audio, 7001)
    assert mine.lufs == pytest.approx(theirs.integrated_loudness(data), abs=0.01)
    if n >= 1.5 * RATE:
        assert mine.lra == pytest.approx(theirs.loudness_range(data), abs=0.01)
    else:
        assert mine.lra is None


def test_blocks_of_any_length_give_the_same_loudness() -> None:
    audio = sine((-20, 3), (-30, 3.3))
    whole = measured(audio, audio.shape[1])
    for block in (439, 441, 50_000):
        got = measured(audio, block)
        assert got.lufs == pytest.approx(whole.lufs, abs=1e-9)
        assert got.lra == pytest.approx(whole.lra, abs=1e-9)


@pytest.mark.parametrize(
    "audio",
    [np.zeros((2, 0), np.float32), sine((-20, 0.399)), np.zeros((2, 9 * RATE), np.float32)],
    ids=["empty", "short", "silence"],
)
def test_what_has_no_loudness_is_none(audio: Audio) -> None:
    assert measured(audio) == Loudness(None, None)


def test_what_is_below_the_gate_has_no_loudness() -> None:
    assert measured(sine((-75, 9))) == Loudness(None, None)
    assert measured(sine((-65, 9))).lufs == pytest.approx(-65, abs=0.1)


def test_short_tracks_have_loudness_without_a_range() -> None:
    short = measured(sine((-20, 1.4)))
    assert short.lufs == pytest.approx(-20, abs=0.1)
    assert short.lra is None
