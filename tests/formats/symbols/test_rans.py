from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earzip.errors import DamagedArchiveError
from earzip.formats.symbols import rans
from earzip.formats.symbols.packed import PieceReader
from earzip.formats.symbols.residuals import (
    ResidualDecoder,
    Residuals,
    ResidualTables,
    n_lanes_for,
)
from tests.formats.symbols.spec_symbols import frequencies

EVERY_TABLE = np.array(list(product(range(16), repeat=3)), np.uint8)


def geometric(seed: int, n: int, zeros: float, positive: float, decay: float) -> np.ndarray:
    """Values whose magnitudes fall by ``decay``."""
    rng = np.random.default_rng(seed)
    signs = np.where(rng.random(n) < positive, 1, -1)
    return np.where(rng.random(n) < zeros, 0, signs * rng.geometric(1 - decay, n)).astype(np.int64)


def ideal_bits(coded: list[Residuals], tables: ResidualTables) -> float:
    """What the values take under their tables."""
    shares = [tables.frequencies[each.numbers, each.coded().symbols] / 4096 for each in coded]
    return sum(float(-np.log2(share).sum()) for share in shares)


def decoded(coded: list[Residuals], tables: ResidualTables, n_lanes: int) -> list[list[int]]:
    states, words = rans.encode([each.coded() for each in coded], tables, n_lanes)
    assert words.max(initial=0) < 1 << 16
    assert states.max() < 1 << 32
    beyond = np.concatenate([each.beyond() for each in coded])
    decoder = ResidualDecoder(tables, states, words, beyond)
    values = [decoder.take(each.numbers).tolist() for each in coded]
    decoder.finish()
    return values


def test_frequencies_of_every_table_are_as_specified_and_make_a_whole() -> None:
    tables = ResidualTables(EVERY_TABLE)
    assert tables.frequencies.shape == (4096, 17)
    assert tables.frequencies.min() >= 1
    assert (tables.frequencies.sum(1) == 4096).all()
    assert tables.frequencies.tolist() == [frequencies(*each) for each in EVERY_TABLE.tolist()]
    assert (tables.starts[:, 0] == 0).all()
    np.testing.assert_array_equal(tables.starts[:, 1:], tables.frequencies.cumsum(1)[:, :-1])


def test_each_4096th_of_a_table_stands_for_the_value_that_it_belongs_to() -> None:
    tables = ResidualTables(EVERY_TABLE[::61])
    for symbols, counts in zip(tables.symbols(), tables.frequencies, strict=True):
        assert np.bincount(symbols).tolist() == counts.tolist()
        assert (np.diff(symbols) >= 0).all()
    assert ResidualTables(EVERY_TABLE[:0]).symbols().shape == (0, 4096)


@pytest.mark.parametrize("n_tables", [0, 1, 2, 7, 4096])
def test_tables_come_back(n_tables: int) -> None:
    tables = ResidualTables(EVERY_TABLE[-n_tables:] if n_tables else EVERY_TABLE[:0])
    data = tables.to_bytes()
    assert len(data) == math.ceil(1.5 * n_tables)
    reader = PieceReader(data)
    again = ResidualTables.read(reader, n_tables)
    reader.finish()
    np.testing.assert_array_equal(again.frequencies, tables.frequencies)


def test_a_number_beyond_the_last_table_is_refused() -> None:
    assert ResidualTables.read(PieceReader(b"\xff\x0f"), 1).frequencies.shape == (1, 17)
    with pytest.raises(DamagedArchiveError, match="numbers beyond its last table"):
        ResidualTables.read(PieceReader(b"\xff\x1f"), 1)


@st.composite
def coded_values(draw: st.DrawFn) -> tuple[list[Residuals], ResidualTables, int]:
    numbers = draw(st.lists(st.integers(0, 4095), min_size=1, max_size=4))
    tables = ResidualTables(EVERY_TABLE[numbers])
    value = st.one_of(st.integers(-9, 9), st.integers(-131_068, 131_068), st.just(0))
    table = st.integers(0, len(numbers) - 1)
    coded = []
    for pairs in draw(st.lists(st.lists(st.tuples(value, table), max_size=40), max_size=4)):
        array = np.array(pairs, np.int64).reshape(-1, 2)
        coded.append(Residuals(array[:, 0], array[:, 1]))
    coded.append(Residuals(np.zeros(1, np.int64), np.zeros(1, np.int64)))
    return coded, tables, draw(st.sampled_from([1, 2, 3, 31, 32]))


@settings(max_examples=200, deadline=None)
@given(coded_values())
def test_values_come_back_under_any_tables(
    made: tuple[list[Residuals], ResidualTables, int],
) -> None:
    coded, tables, n_lanes = made
    assert decoded(coded, tables, n_lanes) == [each.values.tolist() for each in coded]


@pytest.mark.parametrize("n_lanes", [1, 32])
@pytest.mark.parametrize(
    ("zeros", "positive", "decay"),
    [(0.05, 0.5, 0.9), (0.3, 0.5, 0.5), (0.6, 0.8, 0.3), (0.9, 0.1, 0.1), (1.0, 0.5, 0.5)],
)
def test_values_take_what_their_tables_say_and_tables_what_there_is(
    zeros: float, positive: float, decay: float, n_lanes: int
) -> None:
    """But that no table says that all are 0."""
    values = geometric(0, 10_000, zeros, positive, decay)
    coded = [Residuals(part, np.zeros(len(part), np.int64)) for part in np.split(values, 40)]
    tables = ResidualTables.of(coded, 1)
    assert decoded(coded, tables, n_lanes) == [each.values.tolist() for each in coded]
    states, words = rans.encode([each.coded() for each in coded], tables, n_lanes)
    n_bits, ideal = 32 * len(states) + 16 * len(words), ideal_bits(coded, tables)
    assert n_bits < 1.002 * ideal + 32 * n_lanes
    counts = np.bincount(np.clip(values, -8, 8) + 8)
    counts = counts[counts > 0]
    least = -(counts * np.log2(counts / counts.sum())).sum()
    assert ideal < max(1.03 * least, 0.012 * len(values))


def test_tables_of_no_values_are_moderate() -> None:
    tables = ResidualTables.of([], 2)
    assert tables.frequencies.shape == (2, 17)
    assert tables.frequencies[0, 8] == pytest.approx(2048, rel=0.2)


def test_lanes_are_the_fewest_that_a_reader_takes() -> None:
    n_frames = [1, 32, 33, 64, 65, 512, 1023, 1024]
    assert [n_lanes_for(n) for n in n_frames] == [1, 1, 2, 2, 3, 16, 32, 32]


def test_what_no_writer_leaves_is_refused() -> None:
    coded = [Residuals(np.array([9, -3, 0, 1] * 9), np.zeros(36, np.int64))]
    tables = ResidualTables.of(coded, 1)
    states, words = rans.encode([each.coded() for each in coded], tables, 2)
    beyond = coded[0].beyond()

    def decode(**changes: np.ndarray) -> None:
        parts = {"states": states, "words": words, "beyond": beyond} | changes
        decoder = ResidualDecoder(tables, **parts)
        decoder.take(coded[0].numbers)
        decoder.finish()

    decode()
    for changes, message in (
        ({"states": np.array([65_535, 65_536], np.uint64)}, "a state that no writer leaves"),
        ({"words": words[:-1]}, "too few words"),
        ({"words": np.append(words, np.uint64(0))}, "do not end where its words do"),
        ({"states": states + np.uint64(1 << 17)}, "too few words|do not end where"),
        ({"beyond": beyond[:-1]}, "too few excesses"),
        ({"beyond": np.append(beyond, 0)}, "excesses of levels left over"),
    ):
        with pytest.raises(DamagedArchiveError, match=message):
            decode(**changes)
