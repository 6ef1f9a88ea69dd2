from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from earzip.metrics.alignment import MAX_LAG, Lag, find_lag
from tests.conftest import tones

Audio = NDArray[np.float32]


def noise(seed: int, n: int = 600_000) -> Audio:
    return np.random.default_rng(seed).standard_normal((2, n)).astype(np.float32) * 0.1


def blocks(x: Audio, size: int = 50_000) -> Iterator[Audio]:
    for start in range(0, x.shape[1], size):
        yield x[:, start : start + size]


def lag_of(x: Audio, y: Audio) -> Lag | None:
    return find_lag(blocks(x), blocks(y, 65_536))


def later(y: Audio, lag: int) -> Audio:
    """Begin with other sound, or later in ``y``."""
    return np.concatenate([noise(9, lag), y], axis=1) if lag > 0 else y[:, -lag:]


@pytest.mark.parametrize("lag", [0, 1, -1, 1105, -44_100, MAX_LAG, -MAX_LAG])
def test_the_lag_is_found_to_the_sample(lag: int) -> None:
    y = noise(0)
    x = later(y, lag) * 0.5
    assert lag_of(x + 0.1 * noise(1, x.shape[1]), y) == Lag(lag, None)


def test_inverted_polarity_fits() -> None:
    y = noise(0)
    assert lag_of(-later(y, 1105), y) == Lag(1105, None)


@pytest.mark.parametrize("lag_s", [0, 1.5, -1.5, 2, -2, 3.1, -3.1, 4.5, -4.5])
def test_a_loop_does_not_draw_the_lag_to_zero(lag_s: float) -> None:
    n = 20 * 44_100
    loop = np.tile(noise(0, 2 * 44_100), 10)
    lag = round(lag_s * 44_100)
    found = lag_of(later(loop + 0.1 * noise(1, n), lag), loop + 0.1 * noise(1, n))
    assert found is not None
    assert found.n_samples == lag


def test_a_loop_alone_has_a_rival_whole_turns_away() -> None:
    loop = np.tile(noise(0, 2 * 44_100), 10)
    found = lag_of(loop, loop)
    assert found is not None
    assert found.n_samples == 0
    assert found.rival
    assert found.rival % (2 * 44_100) == 0


def test_no_sample_of_one_track_is_lost_where_segments_meet() -> None:
    # The second half decides: a sample lost before it would be a part of its lag.
    y = noise(0, 3_000_000)
    y[:, :1_500_000] *= 0.01
    assert lag_of(later(y, -777), y) == Lag(-777, None)


def test_bass_does_not_blur_the_lag() -> None:
    t = np.arange(600_000) / 44_100
    y = 0.02 * noise(0) + (0.5 * np.sin(2 * np.pi * 40 * t)).astype(np.float32)
    assert lag_of(np.roll(y, 313, axis=1) + 0.005 * noise(1), y) == Lag(313, None)


@pytest.mark.parametrize("lag", [77, -MAX_LAG])
def test_silence_at_the_beginning_is_passed_over(lag: int) -> None:
    y = np.concatenate([np.zeros((2, 2_000_000), np.float32), noise(0)], axis=1)
    assert lag_of(np.roll(y, lag, axis=1), y) == Lag(lag, None)


def test_short_tracks_have_a_lag() -> None:
    y = noise(0, 3000)
    assert lag_of(y[:, 500:], y) == Lag(-500, None)


def test_a_beginning_that_was_cut_off_a_short_track_is_found() -> None:
    y = tones(4 * 44_100)
    found = lag_of(y[:, 30_000:], y)
    assert found is not None
    assert found.n_samples == -30_000


@pytest.mark.parametrize("lag", [MAX_LAG, -MAX_LAG])
def test_a_short_track_may_begin_after_the_end_of_the_other(lag: int) -> None:
    y = noise(0, 4 * 44_100)
    x = np.pad(y, ((0, 0), (MAX_LAG, 0)))
    assert (lag_of(x, y) if lag > 0 else lag_of(y, x)) == Lag(lag, None)


@pytest.mark.parametrize("n", [0, 1, 2, 10])
def test_the_shortest_tracks_fit_themselves(n: int) -> None:
    found = lag_of(noise(0, n), noise(0, n))
    assert found is not None
    assert found.n_samples == 0


def test_tracks_that_are_both_silent_have_none_but_zero() -> None:
    silent = np.zeros((2, 700_000), np.float32)
    assert lag_of(silent, silent[:, :9]) == Lag(0, None)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (noise(0), noise(1)),
        (noise(0, 3000), noise(1, 3000)),
        (noise(0, 100_000), noise(1)),
        (noise(0), np.zeros((2, 600_000), np.float32)),
        (np.zeros((2, 600_000), np.float32), noise(0)),
        (noise(0, 1), noise(1, 3000)),
    ],
    ids=["others", "short", "one-short", "silent-reference", "silent", "one-sample"],
)
def test_tracks_with_nothing_in_common_have_none(x: Audio, y: Audio) -> None:
    assert lag_of(x, y) is None


def test_no_more_than_about_a_minute_is_read() -> None:
    n_read = [0, 0]

    def endless(which: int) -> Iterator[Audio]:
        while True:
            n_read[which] += 1 << 19
            yield noise(n_read[which], 1 << 19)

    assert find_lag(endless(0), endless(1)) == Lag(0, None)
    assert max(n_read) <= 90 * 44_100
