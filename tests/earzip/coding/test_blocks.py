from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from earzip.coding.blocks import zip_blocks

LENGTHS = st.lists(st.integers(0, 5), max_size=8)


def cut(sound: np.ndarray, lengths: list[int]) -> list[np.ndarray]:
    return np.split(sound, np.cumsum(lengths)[:-1], axis=1) if lengths else []


@given(LENGTHS, LENGTHS)
def test_blocks_belong_together_and_end_with_the_shorter_stream(
    first: list[int], second: list[int]
) -> None:
    sounds = [
        np.arange(2 * sum(lengths), dtype=np.float32).reshape(2, -1) for lengths in (first, second)
    ]
    pairs = list(zip_blocks(cut(sounds[0], first), cut(sounds[1], second)))
    assert all(a.shape == b.shape and a.shape[1] for a, b in pairs)
    n = min(sum(first), sum(second))
    for number, sound in enumerate(sounds):
        joined = [pair[number] for pair in pairs] or [np.zeros((2, 0), np.float32)]
        assert np.array_equal(np.concatenate(joined, axis=1), sound[:, :n])
