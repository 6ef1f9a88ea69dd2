from __future__ import annotations

from itertools import pairwise

import numpy as np

from earzip.coding.rate_distortion import round_coefficients


def sparse(seed: int = 0) -> np.ndarray:
    """Two partials among noise below a step, `[64, 30]`, mid and side."""
    scaled = np.random.default_rng(seed).normal(0, 0.35, (64, 30)).astype(np.float32)
    scaled[[10, 50]] += 3
    return scaled


def test_without_thrift_it_rounds_to_the_nearest() -> None:
    scaled = sparse()
    np.testing.assert_array_equal(
        round_coefficients(scaled, 0.0), np.sign(scaled) * np.floor(np.abs(scaled) + 0.5)
    )


def test_thrift_drops_lone_ones_and_keeps_those_among_others() -> None:
    scaled = np.zeros((64, 30), np.float32)
    scaled[5, 10] = 0.9  # alone
    scaled[40:44] = 2.0
    scaled[42, 15] = 0.9  # in company
    q = round_coefficients(scaled, 0.1)
    assert q[5, 10] == 0
    assert q[42, 15] == 1
    assert (q[40] == 2).all()


def test_more_thrift_leaves_fewer_and_never_larger_magnitudes() -> None:
    results = [np.abs(round_coefficients(sparse(), thrift)) for thrift in (0.0, 0.05, 0.1, 0.2)]
    for less, more in pairwise(results):
        assert (more <= less).all()
        assert more.sum() < less.sum()


def test_signs_are_kept_and_channels_are_not_neighbours() -> None:
    scaled = np.zeros((8, 5), np.float32)
    scaled[3, 2], scaled[4] = -0.9, -3.0  # the last of mid, the first of side
    q = round_coefficients(scaled, 0.1)
    assert q[3, 2] == 0
    assert (q[4] == -3).all()
