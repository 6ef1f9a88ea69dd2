from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from earzip.metrics.alignment import MAX_LAG, find_lag

Audio = NDArray[np.float32]


def noise(seed: int, n: int = 600_000) -> Audio:
    return np.random.default_rng(seed).standard_normal((2, n)).astype(np.float32) * 0.1


def blocks(x: Audio, y: Audio, size: int = 65_536) -> Iterator[tuple[Audio, Audio]]:
    for start in range(0, min(x.shape[1], y.shape[1]), size):
        n = min(size, x.shape[1] - start, y.shape[1] - start)
        yield x[:, start : start + n], y[:, start : start + n]


@pytest.mark.parametrize("lag", [0, 1, -1, 1105, -44_100, MAX_LAG, -MAX_LAG])
def test_the_lag_is_found_to_the_sample(lag: int) -> None:
    y = noise(0)
    x = np.roll(y, lag, axis=1) * 0.5 + 0.1 * noise(1)
    assert find_lag(blocks(x, y)) == lag


def test_bass_does_not_blur_the_lag() -> None:
    t = np.arange(600_000) / 44_100
    y = 0.02 * noise(0) + (0.5 * np.sin(2 * np.pi * 40 * t)).astype(np.float32)
    x = np.roll(y, 313, axis=1) + 0.005 * noise(1)
    assert find_lag(blocks(x, y)) == 313


def test_silence_at_the_beginning_is_passed_over() -> None:
    y = np.concatenate([np.zeros((2, 2_000_000), np.float32), noise(0)], axis=1)
    assert find_lag(blocks(np.roll(y, 77, axis=1), y)) == 77


def test_short_tracks_have_a_lag() -> None:
    y = noise(0, 3000)
    assert find_lag(blocks(y[:, 500:], y)) == -500


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (noise(0), noise(1)),
        (noise(0), np.zeros((2, 600_000), np.float32)),
        (noise(0, 0), noise(0, 0)),
        (noise(0, 1), noise(0, 1)),
    ],
    ids=["others", "silence", "empty", "one-sample"],
)
def test_tracks_with_nothing_in_common_have_none(x: Audio, y: Audio) -> None:
    assert find_lag(blocks(x, y)) is None


def test_no_more_than_a_minute_is_read() -> None:
    n_read = 0

    def endless() -> Iterator[tuple[Audio, Audio]]:
        nonlocal n_read
        while True:
            n_read += 1 << 19
            yield (noise(n_read, 1 << 19),) * 2

    assert find_lag(endless()) == 0
    assert n_read <= 61 * 44_100
