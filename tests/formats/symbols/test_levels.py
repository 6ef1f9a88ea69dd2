from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earzip.errors import DamagedArchiveError
from earzip.formats.archive.frames import MAX_FRAMES, compress_frames
from earzip.formats.symbols import context, levels
from earzip.formats.symbols.coding import pack, unpack
from earzip.formats.symbols.layout import LEVELS, Group, Layout, Told
from earzip.formats.symbols.packed import MAX_SYMBOL
from earzip.formats.symbols.residuals import ResidualTables
from tests.formats.symbols.spec_symbols import read_symbols
from tests.formats.symbols.test_context import coefficients

ALL_KINDS = (Group(Told.ALWAYS, 5), Group(Told.CALM, 3), Group(Told.ATTACK, 2, 4))
LAYOUT = Layout(6, ALL_KINDS)


def sounding(
    layout: Layout, n_frames: int, spread: float = 1.0, seed: int = 0, share: float = 0.3
) -> np.ndarray:
    """Integers like those of a network with levels: levels wander, ``share`` of frames are attacks."""
    rng = np.random.default_rng(seed)
    is_attack = rng.random(n_frames) < share
    rows = [np.zeros((0, n_frames), np.int32)]
    if layout.n_sparse:
        rows.append(coefficients(seed, layout.n_sparse, n_frames, spread))
    for group in layout.groups:
        moves = np.fix(rng.laplace(0, 0.5 * spread, (group.n_channels, n_frames)))
        if group.told == Told.ALWAYS:
            rows.append(moves.cumsum(1) + moves.cumsum(0)[:, :1])
        elif group.told == Told.CALM:
            rows.append(moves * ~is_attack)
        else:
            blocks = moves.reshape(group.n_blocks, group.n_bands, -1).cumsum(0)
            rows.append(blocks.reshape(moves.shape) * is_attack)
    symbols = np.clip(np.concatenate(rows), -MAX_SYMBOL, MAX_SYMBOL).astype(np.int32)
    return with_attacks_told(symbols, layout)


def with_attacks_told(symbols: np.ndarray, layout: Layout) -> np.ndarray:
    """Return ``symbols`` with zeros where attacks make them so."""
    rest = symbols[layout.n_sparse :].astype(np.int64)
    is_attack = levels._attacks(rest, layout.groups)
    for group, first, end in levels._channels(layout.groups):
        if group.told == Told.CALM:
            rest[first:end, is_attack] = 0
    return np.concatenate([symbols[: layout.n_sparse], rest.astype(np.int32)])


def raw(symbols: np.ndarray, layout: Layout) -> bytes:
    return b"".join(pack(symbols, layout))


def assert_comes_back(symbols: np.ndarray, layout: Layout) -> None:
    pieces = pack(symbols, layout)
    assert 1 <= len(pieces) <= MAX_FRAMES
    assert all(pieces)
    again = unpack(b"".join(pieces), LEVELS, *symbols.shape)
    assert again.dtype == np.int32
    np.testing.assert_array_equal(again, symbols)


LAYOUTS = {
    "all kinds": LAYOUT,
    "no coefficients": Layout(0, ALL_KINDS),
    "levels only": Layout(2, (Group(Told.ALWAYS, 4),)),
    "one of each": Layout(1, (Group(Told.ATTACK, 1), Group(Told.CALM, 1), Group(Told.ALWAYS, 1))),
    "sixteen groups": Layout(3, tuple(Group(Told(i % 3), 1 + i % 2) for i in range(16))),
    "as in a network": Layout(
        40,
        (
            *(Group(Told.ALWAYS, n) for n in (26, 26, 13)),
            Group(Told.CALM, 26),
            Group(Told.ATTACK, 5, 16),
            *(Group(Told.ALWAYS, n) for n in (13, 1)),
        ),
    ),
}


@pytest.mark.parametrize("n_frames", [1, 2, 32, 33, 300])
@pytest.mark.parametrize("name", LAYOUTS)
def test_symbols_come_back(name: str, n_frames: int) -> None:
    layout = LAYOUTS[name]
    assert layout.coding == LEVELS
    for spread in (0.01, 1.0, 30.0, 1e4):
        assert_comes_back(sounding(layout, n_frames, spread), layout)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_symbols_come_back_and_are_as_specified_whatever_share_of_frames_are_attacks(
    share: float,
) -> None:
    symbols = sounding(LAYOUT, 70, 3.0, share=share)
    assert_comes_back(symbols, LAYOUT)
    assert read_symbols(raw(symbols, LAYOUT), LEVELS, *symbols.shape) == symbols.tolist()


values = st.sampled_from([1, 1, 2, 3, 4, 5, 7, 8, 9, 254, 263, 264, 511, MAX_SYMBOL])


@st.composite
def segments(draw: st.DrawFn) -> tuple[np.ndarray, Layout]:
    """Any integers, of any density, in any groups."""
    groups = []
    for told in draw(st.lists(st.sampled_from(Told), min_size=1, max_size=5)):
        n_blocks = draw(st.integers(1, 3)) if told == Told.ATTACK else 1
        groups.append(Group(told, draw(st.integers(1, 4)), n_blocks))
    layout = Layout(draw(st.integers(0, 4)), tuple(groups))
    n_frames = draw(st.one_of(st.integers(1, 6), st.integers(30, 40)))
    symbols = np.zeros((layout.n_sparse + layout.n_levels, n_frames), np.int32)
    places = st.integers(0, symbols.size - 1)
    for place in draw(st.lists(places, max_size=min(symbols.size, 60))):
        symbols.ravel()[place] = draw(values) * draw(st.sampled_from([-1, 1]))
    return with_attacks_told(symbols, layout), layout


@settings(max_examples=150, deadline=None)
@given(segments())
def test_any_symbols_come_back_and_a_reader_written_from_the_specification_agrees(
    segment: tuple[np.ndarray, Layout],
) -> None:
    symbols, layout = segment
    assert_comes_back(symbols, layout)
    assert read_symbols(raw(symbols, layout), LEVELS, *symbols.shape) == symbols.tolist()


@pytest.mark.parametrize("sign", [1, -1])
def test_the_loudest_of_all_comes_back(sign: int) -> None:
    symbols = np.full((6 + LAYOUT.n_levels, 60), sign * MAX_SYMBOL, np.int32)
    symbols[:, ::3] *= -1
    symbols[6:11:2] *= -1  # differences of ±65,534, each told from one of the other sign below
    symbols[-8:, 30:] = 0
    symbols = with_attacks_told(symbols, LAYOUT)
    assert_comes_back(symbols, LAYOUT)
    assert read_symbols(raw(symbols, LAYOUT), LEVELS, *symbols.shape) == symbols.tolist()


def test_silence_takes_a_head_only() -> None:
    silence = np.zeros((46 + 185 - 6, 512), np.int32)
    layout = LAYOUTS["as in a network"]
    n_bytes = len(raw(silence, layout))
    sparse = 2 + 40 // 8 + 12 * 4 + 24 * 3 + 2 + 4
    head = 1 + 4 * 7 + 512 // 8 + ceil(21 * 7 / 2) + 1 + 16 * 4 + 3 * 4
    assert sparse + head <= n_bytes < sparse + head + 200
    assert len(compress_frames(pack(silence, layout))) < 350
    assert_comes_back(silence, layout)


def test_levels_take_what_their_tables_say() -> None:
    """Within 3 % and 200 bytes for tables and states; and less than they would take by context."""
    layout = Layout(0, LAYOUTS["as in a network"].groups)
    symbols = sounding(layout, 512, share=0.1)
    rest = symbols.astype(np.int64)
    residuals = levels._differences(rest, layout.groups)
    rows = levels._rows(layout.groups, levels._attacks(rest, layout.groups))
    coded = [levels._coded(row, residuals) for row in rows]
    tables = ResidualTables.of(coded, 7 * len(layout.groups))
    shares = [tables.frequencies[each.numbers, each.coded().symbols] / 4096 for each in coded]
    ideal = sum(float(-np.log2(share).sum()) for share in shares) / 8
    ideal += sum(len(context.to_bytes(each.beyond())) for each in coded)
    stored = len(compress_frames(pack(symbols, layout)))
    assert stored < 1.03 * ideal + 200
    assert stored < len(compress_frames(pack(symbols, Layout(len(symbols)))))


SMALL = bytes.fromhex(
    "0200 01"  # coefficients: how many, which of them sound
    "01000000 00000000 01000000 00000000"  # non-zero integers of class 0, 1, …, 11
    "00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000"
    "021400 000000 010000 000000 000000 000000 000000 000000 000000 000000 000000 000000"  # runs
    "010000 000000 021400 000000 000000 000000 000000 000000 000000 000000 000000 000000"
    "0100 00180400 00000000"  # lanes of the lists, their states, how many words
    "02"  # signs
    "03 00020001 01010001 02010002"  # groups
    "04"  # frames with an attack
    "7554477554788553d87554477554477552477554477554477544d77554477504"  # tables
    "01 819f0600"  # lanes, their states
    "02000000 02000000 00000000"  # how many words and excesses, and how many of their bytes are 255
    "3cfa360f0906"
)


def test_bytes_of_a_small_segment() -> None:
    """For other writers and readers to compare with."""
    layout = Layout(2, (Group(Told.ALWAYS, 2), Group(Told.CALM, 1), Group(Told.ATTACK, 1, 2)))
    symbols = np.array(
        [
            [0, 1, 0, -2],
            [0, 0, 0, 0],
            [3, 3, 4, 4],
            [20, 20, 21, 19],
            [1, 0, 0, -1],
            [0, 0, 5, 0],
            [0, 0, -9, 0],
        ],
        np.int32,
    )
    data = raw(symbols, layout)
    assert data == SMALL
    assert read_symbols(data, LEVELS, 7, 4) == symbols.tolist()
    np.testing.assert_array_equal(unpack(data, LEVELS, 7, 4), symbols)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 3), st.integers(0, 2000), st.integers(0, 255))
def test_changed_bytes_are_read_or_refused_as_specified(
    seed: int, position: int, value: int
) -> None:
    symbols = sounding(LAYOUT, 40, 2.0, seed)
    data = bytearray(raw(symbols, LAYOUT))
    data[position % len(data)] = value
    try:
        expected = read_symbols(bytes(data), LEVELS, *symbols.shape)
    except (AssertionError, IndexError):
        with pytest.raises(DamagedArchiveError):
            unpack(bytes(data), LEVELS, *symbols.shape)
    else:
        assert unpack(bytes(data), LEVELS, *symbols.shape).tolist() == expected


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_flipped_bit_is_damage_or_other_symbols(name: str) -> None:
    layout = LAYOUTS[name]
    symbols = sounding(layout, 20)
    data = raw(symbols, layout)
    rng = np.random.default_rng(0)
    for position in rng.integers(0, 8 * len(data), 120).tolist():
        changed = bytearray(data)
        changed[position // 8] ^= 1 << position % 8
        try:
            read = unpack(bytes(changed), LEVELS, *symbols.shape)
        except DamagedArchiveError:
            continue
        assert read.shape == symbols.shape
        assert np.abs(read).max() <= MAX_SYMBOL


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.integers(1, 20), st.integers(1, 40))
def test_any_bytes_are_symbols_or_damage(data: bytes, n_latents: int, n_frames: int) -> None:
    nothing_sparse = raw(np.zeros((1, 1), np.int32), Layout(0, (Group(Told.ALWAYS, 1),)))[:128]
    for begun in (data, nothing_sparse + data):
        try:
            symbols = unpack(begun, LEVELS, n_latents, n_frames)
        except DamagedArchiveError:
            continue
        assert symbols.shape == (n_latents, n_frames)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_segment_cut_anywhere_is_refused(name: str) -> None:
    layout = LAYOUTS[name]
    symbols = sounding(layout, 20)
    data = raw(symbols, layout)
    for n_bytes in range(len(data)):
        with pytest.raises(DamagedArchiveError):
            unpack(data[:n_bytes], LEVELS, *symbols.shape)


def test_trailing_bytes_are_refused() -> None:
    symbols = sounding(LAYOUT, 20)
    with pytest.raises(DamagedArchiveError, match="1 bytes more"):
        unpack(raw(symbols, LAYOUT) + b"\0", LEVELS, *symbols.shape)
