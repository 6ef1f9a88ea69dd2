from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from earzip import native
from earzip.coding.rate_distortion import (
    _BITS_OF_CHANGE,
    _WORTH_OF_BIT,
    _cheapest_paths,
    quantize_levels,
    round_coefficients,
)
from earzip.formats.symbols.packed import MAX_SYMBOL
from earzip.network.config import LevelConfig
from earzip.network.levels import fine_edges

SMALL = LevelConfig(n_bins=100, hop=512, trunk_hop=256, fine_hop=256, short_hop=128)


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


def of_steps_of_1(n_frames: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Latents of 0 throughout, and exponents of steps of 1."""
    return np.zeros((SMALL.n_latents, n_frames), np.float32), np.zeros(SMALL.n_latents, np.int32)


def rest(latents: np.ndarray, kind: str) -> np.ndarray:
    """The latents of a kind behind the coefficients, to be read or written."""
    return latents[SMALL.n_coefficients :][SMALL.rest_slice(kind)]


def test_latents_of_0_are_integers_of_0() -> None:
    latents, exponents = of_steps_of_1()
    q = quantize_levels(latents, exponents, SMALL, 0.1)
    assert q.dtype == np.int32
    assert q.shape == latents.shape
    assert not q.any()


def cost(path: tuple[float, ...], wanted: np.ndarray, *, begins_at_0: bool) -> float:
    """Squared error and worth of the bits of a path of integers."""
    error = sum((integer - value) ** 2 for integer, value in zip(path, wanted, strict=True))
    changes = np.abs(np.diff(path, prepend=0))[0 if begins_at_0 else 1 :].astype(int)
    return float(error + _WORTH_OF_BIT * _BITS_OF_CHANGE[np.minimum(changes, 9)].sum())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["levels", "balance", "width"])
def test_levels_take_the_best_of_all_paths(kind: str, seed: int) -> None:
    latents, exponents = of_steps_of_1(5)
    wanted = rest(latents, kind)[0]
    wanted[:] = np.random.default_rng(seed).normal(0, 2, 5)
    q = rest(quantize_levels(latents, exponents, SMALL, 0.0), kind)[0]
    paths = product(*([near - 1, near, near + 1] for near in np.rint(wanted)))
    least = min(cost(path, wanted, begins_at_0=False) for path in paths)
    assert cost(tuple(q), wanted, begins_at_0=False) == pytest.approx(least)


@pytest.mark.parametrize("kind", ["levels", "balance", "width"])
def test_levels_stay_where_the_sound_trembles_and_follow_where_it_goes(kind: str) -> None:
    latents, exponents = of_steps_of_1(8)
    rest(latents, kind)[:] = [3.4, 3.6, 3.5, 3.4, 3.6, 7.2, 7.4, 7.6]
    q = rest(quantize_levels(latents, exponents, SMALL, 0.0), kind)
    assert len(np.unique(q[:, :5])) == 1
    assert (np.abs(q[:, 5:] - 7.4) < 1).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_course_takes_the_best_path_through_a_frame_from_rest(seed: int) -> None:
    latents, exponents = of_steps_of_1(2)
    blocks = rest(latents, "course").reshape(SMALL.n_blocks, -1, 2)
    assert len(blocks) == 4
    blocks[:, 0, 1] = np.random.default_rng(seed).normal(0, 3, 4)
    wanted = blocks[:, 0, 1].copy()
    q = rest(quantize_levels(latents, exponents, SMALL, 0.0), "course").reshape(blocks.shape)
    paths = product(*([near - 1, near, near + 1] for near in np.rint(wanted)))
    least = min(cost(path, wanted, begins_at_0=True) for path in paths)
    assert cost(tuple(q[:, 0, 1]), wanted, begins_at_0=True) == pytest.approx(least)
    q[:, 0, 1] = 0
    assert not q.any()


def test_halves_rest_at_0() -> None:
    latents, exponents = of_steps_of_1(5)
    rest(latents, "halves")[:] = [0.6, 0.63, -0.61, -0.9, 1.4]
    q = rest(quantize_levels(latents, exponents, SMALL, 0.0), "halves")
    assert (q == [0, 1, 0, -1, 1]).all()


@pytest.mark.parametrize("exponent", [-64, 0, 64])
def test_flags_that_are_set_stay_set_at_any_step(exponent: int) -> None:
    latents, exponents = of_steps_of_1(2)
    exponents[:] = exponent
    for kind in ("tonal", "short"):
        rest(latents, kind)[:, 1] = 8.0
    q = quantize_levels(latents, exponents, SMALL, 0.0)
    for kind in ("tonal", "short"):
        assert not rest(q, kind)[:, 0].any()
        assert (rest(q, kind)[:, 1] >= 1).all()
        assert (rest(q, kind)[:, 1] * 2 ** (exponent / 16) >= 8 * 0.9).all()


def test_places_of_onsets_are_kept_to_the_integer() -> None:
    latents, exponents = of_steps_of_1(4)
    for kind in ("onset_block", "onset_part", "contrast"):
        rest(latents, kind)[:] = [0, 1, 2, 3]
    q = quantize_levels(latents, exponents, SMALL, 0.1)
    for kind in ("onset_block", "onset_part", "contrast"):
        assert rest(q, kind).tolist() == [[0, 1, 2, 3]]


def test_where_the_sound_is_tonal_no_coefficient_is_dropped_for_its_bits() -> None:
    latents, exponents = of_steps_of_1(3)
    latents[: SMALL.n_coefficients] = 0.9
    latents[: SMALL.n_coefficients : 7] = 0.2  # so that none has much company
    latents[1 : SMALL.n_coefficients : 7] = 0.2
    rest(latents, "tonal")[:1, 1] = 8.0  # of the lowest pair of bands, in frame 1
    low, high = fine_edges(SMALL.hop)[:3:2]
    is_tonal = np.zeros((2, SMALL.n_bins, 3), bool)
    is_tonal[:, low:high, 1] = True
    q = quantize_levels(latents, exponents, SMALL, 10.0)[: SMALL.n_coefficients]
    nearest = np.rint(latents[: SMALL.n_coefficients])
    tonal = is_tonal.reshape(q.shape)
    np.testing.assert_array_equal(q[tonal], nearest[tonal])
    assert nearest[~tonal].any()
    assert not q[~tonal].any()


def test_what_is_beyond_an_archive_saturates() -> None:
    latents, exponents = of_steps_of_1(2)
    latents[:] = 1e9
    latents[:, 1] = -1e9
    q = quantize_levels(latents, exponents, SMALL, 0.1)
    n_signed = SMALL.n_coefficients + SMALL.rest_slice("contrast").start
    assert (q[:n_signed, 0] == MAX_SYMBOL).all()
    assert (q[:n_signed, 1] == -MAX_SYMBOL).all()
    assert np.abs(q).max() == MAX_SYMBOL


def paths_by_both(scaled: np.ndarray, **begins: bool) -> np.ndarray:
    """Return the integers for levels, the same in C and in numpy."""
    in_c = _cheapest_paths(scaled, **begins)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "LIBRARY", None)
        in_numpy = _cheapest_paths(scaled, **begins)
    np.testing.assert_array_equal(in_c, in_numpy)
    assert in_c.dtype == in_numpy.dtype == np.int32
    return in_c


@pytest.mark.skipif(native.LIBRARY is None, reason="the loops in C are not compiled here")
@pytest.mark.parametrize("begins_at_0", [False, True])
@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0, 5.0, 100.0, 1e6, 1e9])
def test_paths_in_c_are_the_same(spread: float, begins_at_0: bool) -> None:
    rng = np.random.default_rng(0)
    for n_frames in (1, 2, 3, 200):
        scaled = rng.laplace(0, spread, (30, n_frames)).cumsum(1).astype(np.float32)
        scaled = scaled.clip(-2e9, 2e9)  # what an int32 holds
        # Ties between paths: all halves and quarters.
        tied = np.round(4 * scaled) / 4
        for each in (scaled, tied, tied.T, scaled[::2, ::-1]):
            paths_by_both(each, begins_at_0=begins_at_0)


@pytest.mark.skipif(native.LIBRARY is None, reason="the loops in C are not compiled here")
def test_paths_through_ties_only_are_the_same() -> None:
    steps = np.array(list(product([0.0, 0.5, 1.0, 1.5], repeat=6)), np.float32)
    for scaled in (steps, steps - 1, 11 * steps):
        assert paths_by_both(scaled).any()
