"""What no writer wrote in `levels-1` is refused, within bounds of memory and work."""

from __future__ import annotations

import tracemalloc
from math import ceil

import numpy as np
import pytest

from earzip import native
from earzip.errors import DamagedArchiveError
from earzip.formats.archive.layout import MAX_SEGMENT_BYTES
from earzip.formats.geometry import MAX_CONTEXT_FRAMES
from earzip.formats.symbols import levels, rans, sparse
from earzip.formats.symbols.coding import unpack
from earzip.formats.symbols.layout import LEVELS, MAX_LEVELS, Group, Layout, Told
from tests.formats.symbols.spec_symbols import read_symbols
from tests.formats.symbols.test_context import coefficients
from tests.formats.symbols.test_levels import LAYOUT, assert_comes_back, raw, sounding

NONE_SPARSE = bytes(2 + 12 * 4 + 24 * 3 + 2 + 4)
MODERATE = b"\x77\x77\x77\x77\x77\x77\x77\x77\x77\x77\x07"  # seven tables
RESTING = (65_536).to_bytes(4, "little")


def made(
    body: bytes = b"",
    *,
    groups: list[tuple[int, int, int]] | None = None,
    attacks: bytes = b"\0",
    tables: bytes = MODERATE,
    n_lanes: int = 1,
    states: bytes = RESTING,
    counts: tuple[int, int, int] = (0, 0, 0),
) -> bytes:
    """Return a segment of no coefficients with such a head, by default one group of eight levels."""
    groups = [(0, 8, 1)] if groups is None else groups
    data = NONE_SPARSE + bytes([len(groups)])
    for told, n_bands, n_blocks in groups:
        data += bytes([told]) + n_bands.to_bytes(2, "little") + bytes([n_blocks])
    data += attacks + tables + bytes([n_lanes]) + states
    return data + b"".join(count.to_bytes(4, "little") for count in counts) + body


MOST = 2**32 - 1
# Segments of 8 latents and 4 frames.
REFUSED = {
    "17 groups": (made(groups=[(0, 1, 1)] * 17), "17 groups, expected at most 16"),
    "told 3": (made(groups=[(3, 8, 1)]), "malformed group"),
    "no bands": (made(groups=[(0, 8, 1), (1, 0, 1)]), "malformed group"),
    "no blocks": (made(groups=[(2, 8, 0)]), "malformed group"),
    "blocks of levels": (made(groups=[(0, 4, 2)]), "malformed group"),
    "a level too few": (made(groups=[(0, 7, 1)]), "groups of 7 latents, expected 8"),
    "as many levels as can be said": (
        made(groups=[(2, 65_535, 255)] * 16),
        "groups of 267382800 latents, expected 8",
    ),
    "no groups": (made(groups=[]), "groups of 0 latents, expected 8"),
    "a bit beyond the frames": (made(attacks=b"\x10"), "bits set beyond a list of 4"),
    "a number beyond the tables": (made(tables=MODERATE[:-1] + b"\x17"), "beyond its last table"),
    "no lanes": (made(n_lanes=0, states=b""), "0 lanes, expected 1 to 32"),
    "33 lanes": (made(n_lanes=33, states=33 * RESTING), "33 lanes, expected 1 to 32"),
    "a state of 65,535": (made(states=b"\xff\xff\0\0"), "in a state that no writer leaves"),
    "2^32 − 1 words": (made(counts=(MOST, 0, 0)), "ends 8589934590 bytes short"),
    "2^32 − 1 excesses": (made(counts=(0, MOST, 0)), "ends 4294967295 bytes short"),
    "2^32 − 1 bytes of 255": (made(counts=(0, 0, MOST)), "ends 4294967295 bytes short"),
    "as much of all": (made(counts=(MOST, MOST, MOST)), "ends 8589934590 bytes short"),
    "an excess of 131,325": (
        made(515 * b"\xff" + b"\0", counts=(0, 1, 515)),
        "a latent beyond ±32767",
    ),
    "an excess without an end": (made(b"\xff", counts=(0, 0, 1)), "not of 0 integers"),
    "no words": (made(), "too few words"),
    "an attack without a course": (
        made(attacks=b"\1", groups=[(1, 8, 1)], states=32 * RESTING, n_lanes=32),
        "too few words|do not end|no course",
    ),
    "nothing": (b"", "ends 2 bytes short"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_writer_wrote_is_refused(name: str) -> None:
    data, message = REFUSED[name]
    tracemalloc.start()
    try:
        with pytest.raises(DamagedArchiveError, match=message):
            unpack(data, LEVELS, 8, 4)
        assert tracemalloc.get_traced_memory()[1] < 2e6
    finally:
        tracemalloc.stop()
    with pytest.raises((AssertionError, IndexError)):
        read_symbols(data, LEVELS, 8, 4)


def test_an_attack_that_a_foreign_writer_names_needs_a_course() -> None:
    layout = Layout(0, (Group(Told.ATTACK, 1), Group(Told.ALWAYS, 1)))
    data = bytearray(raw(np.array([[0, 0], [1, 1]], np.int32), layout))
    data[len(NONE_SPARSE) + 1 + 8] = 0b10
    with pytest.raises(DamagedArchiveError):
        unpack(bytes(data), LEVELS, 2, 2)
    no_attacks = Layout(0, (Group(Told.ALWAYS, 1),))
    data = bytearray(raw(np.zeros((1, 3), np.int32), no_attacks))
    data[len(NONE_SPARSE) + 1 + 4] = 0b100
    with pytest.raises(DamagedArchiveError, match="an attack that has no course"):
        unpack(bytes(data), LEVELS, 1, 3)


def test_fewer_lanes_than_one_for_32_frames_are_refused() -> None:
    symbols = sounding(LAYOUT, 64)
    data = bytearray(raw(symbols, LAYOUT))
    n_sparse_bytes = len(b"".join(sparse.pack(symbols[:6])))
    at = n_sparse_bytes + 1 + 4 * 3 + 8 + ceil(21 * 3 / 2)
    assert data[at] == 2
    data[at] = 1
    with pytest.raises(DamagedArchiveError, match="has 1 lanes, expected 2 to 32"):
        unpack(bytes(data), LEVELS, *symbols.shape)


def test_what_another_writer_may_write_is_read() -> None:
    """Here any number of lanes, and no groups at all."""
    layout = Layout(0, (Group(Told.ALWAYS, 3),))
    symbols = sounding(layout, 20)
    lanes = levels.n_lanes_for
    try:
        for n_lanes in (1, 7, 32):
            levels.n_lanes_for = lambda _n_frames, n=n_lanes: n
            data = raw(symbols, layout)
            levels.n_lanes_for = lanes
            assert unpack(data, LEVELS, *symbols.shape).tolist() == symbols.tolist()
            assert read_symbols(data, LEVELS, *symbols.shape) == symbols.tolist()
    finally:
        levels.n_lanes_for = lanes
    few = coefficients(0, 5, 4)
    data = b"".join(sparse.pack(few)) + made(groups=[], tables=b"")[len(NONE_SPARSE) :]
    assert unpack(data, LEVELS, 5, 4).tolist() == few.tolist()
    assert read_symbols(data, LEVELS, 5, 4) == few.tolist()


def test_more_levels_than_a_reader_takes_are_refused() -> None:
    most = np.zeros((MAX_LEVELS, 2), np.int32)
    assert_comes_back(most, Layout(0, (Group(Told.ALWAYS, MAX_LEVELS),)))
    data = made(groups=[(0, MAX_LEVELS, 1), (0, 1, 1)])
    with pytest.raises(DamagedArchiveError, match="has 513 levels a frame, expected at most 512"):
        unpack(data, LEVELS, MAX_LEVELS + 1, 2)


@pytest.mark.parametrize("n_frames", [32, MAX_CONTEXT_FRAMES])
def test_the_largest_segments_take_bounded_memory_and_steps(
    n_frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "LIBRARY", None)
    steps, step = [], rans.Decoder._step
    monkeypatch.setattr(rans.Decoder, "_step", lambda *a: steps.append(1) or step(*a))
    layout = Layout(0, (Group(Told.ALWAYS, MAX_LEVELS),))
    symbols = np.zeros((MAX_LEVELS, n_frames), np.int32)
    data = raw(symbols, layout)
    loud = raw(np.random.default_rng(0).integers(-300, 300, symbols.shape, np.int32), layout)
    assert len(loud) <= MAX_SEGMENT_BYTES
    for each in (data, loud):
        steps.clear()
        tracemalloc.start()
        try:
            unpack(each, LEVELS, *symbols.shape)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 60e6
        assert 0 < len(steps) <= 32 * MAX_LEVELS
