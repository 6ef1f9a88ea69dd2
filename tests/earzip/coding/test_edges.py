from __future__ import annotations

import numpy as np
import pytest

from earzip.coding.edges import RAMP_SAMPLES, TrackEnds, edge_errors, mend_edges


def test_mended_edges_are_the_original_and_the_rest_is_as_decoded() -> None:
    rng = np.random.default_rng(0)
    original = rng.uniform(-1, 1, (2, 500)).astype(np.float32)
    decoded = rng.uniform(-1, 1, (2, 500)).astype(np.float32)
    edges = edge_errors(original[:, [0, -1]], decoded[:, [0, -1]], 500)
    mended = mend_edges(decoded, 0, 500, edges)
    np.testing.assert_allclose(mended[:, [0, -1]], original[:, [0, -1]], atol=2**-16)
    inside = slice(RAMP_SAMPLES, -RAMP_SAMPLES)
    np.testing.assert_array_equal(mended[:, inside], decoded[:, inside])
    # The ramp falls from the edge: half of the error is taken back in its middle.
    middle = RAMP_SAMPLES // 2
    error = (original - decoded)[:, 0]
    np.testing.assert_allclose((mended - decoded)[:, middle], error / 2, atol=1e-4)


@pytest.mark.parametrize("size", [1, 7, 31, 33, 500])
def test_blocks_are_mended_as_the_whole(size: int) -> None:
    audio = np.random.default_rng(1).uniform(-1, 1, (2, 100)).astype(np.float32)
    edges = (1000, -2000, 3000, -4000)
    whole = mend_edges(audio, 0, 100, edges)
    blocks = [mend_edges(audio[:, i : i + size], i, 100, edges) for i in range(0, 100, size)]
    np.testing.assert_array_equal(np.concatenate(blocks, 1), whole)


def test_what_is_given_stays_as_it_is() -> None:
    audio = np.zeros((2, 100), np.float32)
    assert mend_edges(audio, 0, 100, (1, 1, 1, 1)).any()
    assert not audio.any()


@pytest.mark.parametrize("n_samples", [1, 2, 2 * RAMP_SAMPLES - 1])
def test_a_track_without_room_for_two_ramps_is_left_alone(n_samples: int) -> None:
    assert edge_errors(np.ones((2, 2)), np.zeros((2, 2)), n_samples) == (0, 0, 0, 0)  # type: ignore[arg-type]
    assert edge_errors(np.ones((2, 2)), np.zeros((2, 2)), 64) == 4 * (65_536,)  # type: ignore[arg-type]


def test_errors_beyond_all_measure_are_bounded() -> None:
    huge = np.full((2, 2), 1e9, np.float32)
    assert edge_errors(huge, -huge, 1000) == 4 * (2**24,)
    assert edge_errors(huge, np.full((2, 2), np.nan, np.float32), 1000) == (0, 0, 0, 0)


@pytest.mark.parametrize("size", [1, 3, 10, 64])
def test_ends_do_not_depend_on_blocks(size: int) -> None:
    audio = np.random.default_rng(0).uniform(-1, 1, (2, 50)).astype(np.float32)
    symbols = np.arange(150, dtype=np.int32).reshape(3, 50)
    ends = TrackEnds(3, 12)
    for i in range(0, 50, size):
        ends.add_samples(audio[:, i : i + size])
        ends.add_samples(audio[:, :0])
        ends.add_symbols(symbols[:, i : i + size])
    np.testing.assert_array_equal(ends.samples, audio[:, [0, -1]])
    np.testing.assert_array_equal(ends.first, symbols[:, :12])
    np.testing.assert_array_equal(ends.last, symbols[:, -12:])
