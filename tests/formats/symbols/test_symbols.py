from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from earzip.errors import DamagedArchiveError
from earzip.formats.symbols.coding import pack, unpack
from earzip.formats.symbols.layout import PACKED
from earzip.formats.symbols.packed import MAX_SYMBOL


def latents(seed: int, n_latents: int, n_frames: int, spread: float) -> np.ndarray:
    """Laplace-like integers whose spread falls from channel to channel, as real latents' does."""
    rng = np.random.default_rng(seed)
    scale = spread * np.geomspace(1, 0.01, n_latents)[:, None]
    return np.round(rng.laplace(0, scale, (n_latents, n_frames))).astype(np.int32)


@pytest.mark.parametrize("spread", [0.01, 0.5, 3.0, 200.0, 1e4])
@pytest.mark.parametrize("n_frames", [1, 2, 5, 64, 1023])
def test_symbols_come_back(spread: float, n_frames: int) -> None:
    symbols = np.clip(latents(1, 48, n_frames, spread), -MAX_SYMBOL, MAX_SYMBOL)
    np.testing.assert_array_equal(unpack(b"".join(pack(symbols)), PACKED, 48, n_frames), symbols)


def test_extremes_come_back() -> None:
    symbols = np.zeros((3, 7), np.int32)
    symbols[1, 6], symbols[2, 0] = MAX_SYMBOL, -MAX_SYMBOL
    np.testing.assert_array_equal(unpack(b"".join(pack(symbols)), PACKED, 3, 7), symbols)


def test_silence_takes_a_table_only() -> None:
    assert len(pack(np.zeros((224, 1024), np.int32))) == 1


def test_packing_beats_a_byte_a_symbol() -> None:
    symbols = latents(2, 224, 1024, 1.0)
    assert sum(map(len, pack(symbols))) < symbols.size / 2


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 400), st.integers(0, 255))
@example(seed=6403322, position=11, value=0)  # leaves a group without channels
def test_changed_bytes_never_crash(seed: int, position: int, value: int) -> None:
    data = bytearray(b"".join(pack(latents(seed % 7, 16, 40, 2.0))))
    data[position % len(data)] = value
    try:
        symbols = unpack(bytes(data), PACKED, 16, 40)
    except DamagedArchiveError:
        return
    assert symbols.shape == (16, 40)
    assert np.abs(symbols).max() <= MAX_SYMBOL


@pytest.mark.parametrize("n_bytes", [0, 1, 5, 30, -1])
def test_a_segment_cut_short_is_refused(n_bytes: int) -> None:
    data = b"".join(pack(latents(3, 16, 40, 2.0)))
    with pytest.raises(DamagedArchiveError, match="short"):
        unpack(data[:n_bytes], PACKED, 16, 40)


def test_trailing_bytes_are_refused() -> None:
    data = b"".join(pack(latents(3, 16, 40, 2.0)))
    with pytest.raises(DamagedArchiveError, match="1 bytes more"):
        unpack(data + b"\0", PACKED, 16, 40)


def test_a_huge_outlier_count_is_refused_before_it_is_allocated() -> None:
    data = bytes([0]) + bytes([255]) * 16 + (0xFFFFFFFF).to_bytes(4, "little")
    with pytest.raises(DamagedArchiveError, match="short"):
        unpack(data, PACKED, 16, 40)
