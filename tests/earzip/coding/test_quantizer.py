from __future__ import annotations

import numpy as np

from earzip.coding.quantizer import (
    dequantize,
    preset_exponents,
    preset_shares,
    quantize,
    step_sizes,
)
from earzip.formats.symbols.layout import Group, Layout, Told
from earzip.formats.symbols.packed import MAX_SYMBOL


def test_a_round_trip_is_within_half_a_step() -> None:
    rng = np.random.default_rng(0)
    exponents = rng.integers(-80, 40, 32).astype(np.int32)
    latents = rng.normal(0, 3, (32, 100)).astype(np.float32)
    error = np.abs(dequantize(quantize(latents, exponents), exponents) - latents)
    assert (error <= 0.5001 * step_sizes(exponents)[:, None]).all()


def test_a_dead_zone_only_lowers_magnitudes() -> None:
    latents = np.linspace(-4, 4, 1001, dtype=np.float32)[None]
    zero = np.zeros(1, np.int32)
    plain, dead = quantize(latents, zero), quantize(latents, zero, 0.3)
    assert (np.abs(dead) <= np.abs(plain)).all()
    assert (dead != plain).any()
    np.testing.assert_array_equal(dead, -quantize(-latents, zero, 0.3))


def test_steps_double_every_sixteen() -> None:
    steps = step_sizes(np.array([-16, 0, 16], np.int32))
    np.testing.assert_array_equal(steps, np.float32([0.5, 1, 2]))


def test_extremes_saturate() -> None:
    latents = np.array([[1e9, -1e9, 0.0]], np.float32)
    got = quantize(latents, np.zeros(1, np.int32))
    np.testing.assert_array_equal(got, [[MAX_SYMBOL, -MAX_SYMBOL, 0]])


def test_a_preset_moves_latents_behind_sparse_ones_half_as_far() -> None:
    np.testing.assert_array_equal(preset_shares(5, Layout(3)), np.float32([1, 1, 1, 0.5, 0.5]))
    exponents = preset_exponents([-3, 0, 7, -32], 24, None, Layout(2))
    np.testing.assert_array_equal(exponents, [21, 24, 19, -20])
    assert exponents.dtype == np.int32


def test_a_preset_moves_all_latents_alike_where_none_is_sparse() -> None:
    np.testing.assert_array_equal(preset_shares(3, Layout()), np.ones(3, np.float32))
    moved = preset_exponents([-3, 0, 7], -24, None, Layout())
    np.testing.assert_array_equal(moved, [-27, -24, -17])


def test_a_preset_may_say_how_far_others_move_and_moves_no_integers_by_nature() -> None:
    layout = Layout(2, (Group(Told.ALWAYS, 3),), n_exact=1)
    np.testing.assert_array_equal(preset_shares(5, layout), np.float32([1, 1, 0.5, 0.5, 0]))
    assert preset_exponents([0, 1, 2, 3, 4], 30, None, layout).tolist() == [30, 31, 17, 18, 4]
    assert preset_exponents([0, 1, 2, 3, 4], 30, -8, layout).tolist() == [30, 31, -6, -5, 4]
    assert preset_exponents([0, 1, 2, 3, 4], 30, 0, layout).tolist() == [30, 31, 2, 3, 4]
    assert preset_exponents([5, 6], 30, -8, Layout()).tolist() == [-3, -2]
