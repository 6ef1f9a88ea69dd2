"""Loops of earzip.native and those of numpy give the same, bytes, integers and refusals."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earzip import native
from earzip.errors import DamagedArchiveError
from earzip.formats.geometry import MAX_CONTEXT_FRAMES
from earzip.formats.symbols import context, rans, sparse
from earzip.formats.symbols.coding import unpack
from earzip.formats.symbols.layout import Group, Layout, Told
from earzip.formats.symbols.packed import MAX_SYMBOL
from tests.formats.symbols.test_context import coefficients, silence_between_sounds
from tests.formats.symbols.test_levels import LAYOUTS, raw, sounding

pytestmark = pytest.mark.skipif(
    native.LIBRARY is None, reason="the loops in C are not compiled here"
)


def both(work: Callable[[], Any]) -> Any:
    """Return what ``work`` gives, or says where it refuses; it must be the same without the library."""
    outcomes = []
    for library in (native.LIBRARY, None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(native, "LIBRARY", library)
            try:
                outcomes.append(work())
            except DamagedArchiveError as error:
                outcomes.append(error.message)
    assert outcomes[0] == outcomes[1]
    return outcomes[0]


def assert_both_pack_and_unpack(symbols: np.ndarray, layout: Layout) -> bytes:
    data: bytes = both(lambda: raw(symbols, layout))
    assert both(lambda: unpack(data, layout.coding, *symbols.shape).tolist()) == symbols.tolist()
    return data


@pytest.mark.parametrize("spread", [0.01, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("n_frames", [1, 2, 5, 200])
@pytest.mark.parametrize("name", LAYOUTS)
def test_segments_are_the_same(name: str, n_frames: int, spread: float) -> None:
    layout = LAYOUTS[name]
    assert_both_pack_and_unpack(sounding(layout, n_frames, spread), layout)


def assert_both_code(symbols: np.ndarray) -> None:
    """By classes of `sparse`, and by those of `context`."""
    assert_both_pack_and_unpack(symbols, Layout(len(symbols)))
    assert_both_pack_and_unpack(np.vstack([symbols, 0 * symbols[:1]]), with_a_level(len(symbols)))


def with_a_level(n_sparse: int) -> Layout:
    return Layout(n_sparse, (Group(Told.ALWAYS, 1),))


@pytest.mark.parametrize("n_sparse", [1, 2, 3, 4, 5, 6, 7, 8, 41, 96, 513])
def test_coefficients_of_any_number_of_bins_are_the_same(n_sparse: int) -> None:
    assert_both_code(coefficients(1, n_sparse, 60, 2.0))
    loudest = np.full((n_sparse, 7), MAX_SYMBOL, np.int32)
    loudest[::2] *= -1
    assert_both_code(loudest)
    few_sound = coefficients(2, n_sparse, 60, 9.0)
    few_sound[np.random.default_rng(0).random(n_sparse) < 0.7] = 0
    assert_both_code(few_sound)


@pytest.mark.parametrize("quiet", [1, 2, 3, 4, 5, 60])
def test_silence_between_sounds_is_the_same(quiet: int) -> None:
    for loudest in (1, 20):
        assert_both_code(silence_between_sounds(7, quiet, loudest))
        assert_both_code(silence_between_sounds(7, quiet, loudest)[:, ::-1].copy())


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 9), st.integers(1, 12), st.data())
def test_any_coefficients_are_the_same(n_sparse: int, n_frames: int, data: st.DataObject) -> None:
    symbols = np.zeros((n_sparse, n_frames), np.int32)
    values = st.sampled_from([1, -1, 2, 7, -15, 16, MAX_SYMBOL, -MAX_SYMBOL])
    for place in data.draw(st.lists(st.integers(0, symbols.size - 1), max_size=symbols.size)):
        symbols.ravel()[place] = data.draw(values)
    assert_both_code(symbols)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 3), st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1)
)
def test_changed_bytes_are_read_or_refused_alike(seed: int, changes: list[tuple[int, int]]) -> None:
    layout = LAYOUTS["all kinds"] if seed % 2 else Layout(11)
    symbols = sounding(layout, 40, 2.0, seed)
    data = bytearray(raw(symbols, layout))
    for position, value in changes:
        data[position % len(data)] = value
    both(lambda: unpack(bytes(data), layout.coding, *symbols.shape).tolist())


def test_a_segment_cut_anywhere_is_refused_alike() -> None:
    layout = LAYOUTS["all kinds"]
    symbols = sounding(layout, 9)
    data = raw(symbols, layout)
    for n_bytes in range(len(data)):
        refusal = both(lambda n=n_bytes: unpack(data[:n], layout.coding, *symbols.shape))
        assert isinstance(refusal, str)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 9), st.integers(1, 9), st.data())
def test_runs_that_no_writer_wrote_are_read_or_refused_alike(
    seed: int, n_sparse: int, n_frames: int, data: st.DataObject
) -> None:
    """Any runs and values, far beyond the places there are or within them."""
    rng = np.random.default_rng(seed)
    scale = data.draw(st.sampled_from([1, 3, 30, 1 << 22]))
    counts = rng.integers(0, data.draw(st.sampled_from([1, 2, 9])) + 1, sparse.N_CLASSES)
    runs = [rng.integers(0, scale, n) for n in counts]
    values = rng.choice([-MAX_SYMBOL, -2, -1, 1, 2, MAX_SYMBOL], counts.sum()).astype(np.int32)
    is_sounding = rng.random(n_sparse) < 0.7
    is_sounding[rng.integers(n_sparse)] = True

    def filled() -> list[list[int]]:
        symbols = np.zeros((n_sparse, n_frames), np.int32)
        sparse._fill(symbols, runs, values, sparse._passes(is_sounding))
        return symbols.tolist()

    def filled_by_context() -> list[list[int]]:
        places = [np.cumsum(each + 1) - 1 for each in runs[: context.N_CLASSES]]
        n_values = sum(map(len, places))
        return context._filled(places, values[:n_values], n_sparse, n_frames).tolist()

    both(filled)
    both(filled_by_context)


def test_silence_costs_little() -> None:
    symbols = np.zeros((2048, MAX_CONTEXT_FRAMES), np.int32)
    symbols[3, [0, 500, 1023]] = 1
    runs = [np.zeros(0, np.int64)] * sparse.N_CLASSES

    def fill_s(is_silent: bool) -> float:
        """Return the time for three integers, or for one of each frame."""
        few = (
            symbols.copy()
            if is_silent
            else np.maximum(symbols, np.eye(*symbols.shape, dtype=np.int32))
        )
        passes = sparse._passes(np.ones(len(few), bool))
        counts, flat, values = sparse._runs_and_values(few, passes)
        runs[:] = np.split(flat, np.cumsum(counts)[:-1])
        times = []
        for _ in range(5):
            again = np.zeros_like(few)
            begin = time.process_time()
            sparse._fill(again, runs, values, passes)
            times.append(time.process_time() - begin)
            assert (again == few).all()
        return min(times)

    assert fill_s(is_silent=True) < 0.2 * fill_s(is_silent=False)


# --- rANS


def random_tables(rng: np.random.Generator) -> rans.Tables:
    """A few tables, some with symbols that never occur."""
    n_symbols = int(rng.integers(1, 300))
    tables = []
    for _ in range(rng.integers(1, 6)):
        ends = np.sort(rng.integers(0, 4097, n_symbols - 1))
        tables.append(np.diff(ends, prepend=0, append=4096))
    return rans.Tables(np.array(tables, np.int64))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 40), st.integers(1, 4))
def test_any_symbols_are_coded_alike_and_come_back(seed: int, n_lanes: int, n_parts: int) -> None:
    rng = np.random.default_rng(seed)
    tables = random_tables(rng)
    slots = tables.symbols()
    coded = []
    for _ in range(n_parts):
        numbers = rng.integers(0, len(slots), rng.integers(0, 200))
        coded.append(
            rans.Coded(
                slots[numbers, rng.integers(0, 4096, len(numbers))].astype(np.int64), numbers
            )
        )
    states, words = both(lambda: [x.tolist() for x in rans.encode(coded, tables, n_lanes)])

    def decoded() -> list[list[int]]:
        decoder = rans.Decoder(tables, np.array(states, np.uint64), np.array(words, np.uint64))
        symbols = [decoder.take(each.numbers).tolist() for each in coded]
        decoder.finish()
        return symbols

    assert both(decoded) == [each.symbols.tolist() for each in coded]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 40), st.integers(0, 300))
def test_any_states_and_words_are_read_or_refused_alike(
    seed: int, n_lanes: int, n_words: int
) -> None:
    rng = np.random.default_rng(seed)
    tables = random_tables(rng)
    least = rng.choice([0, 1 << 16, (1 << 32) - 2])
    states = rng.integers(least, 1 << 32, n_lanes, np.uint64)
    words = rng.integers(0, 1 << 16, n_words, np.uint64)
    parts = [rng.integers(0, len(tables.frequencies), n) for n in rng.integers(0, 200, 3)]

    def decoded() -> list[Any]:
        decoder = rans.Decoder(tables, states, words)
        taken = [decoder.take(numbers).tolist() for numbers in parts]
        return [*taken, decoder._states.tolist(), decoder._n_words]

    both(decoded)


@pytest.mark.parametrize("number", [-1, 1, 1 << 60, -(1 << 60)])
def test_a_table_that_there_is_not_is_refused(number: int) -> None:
    tables = rans.Tables(np.array([[4000, 96, 0]]))
    numbers, symbols = np.array([0, number]), np.zeros(2, np.int64)
    states = np.full(2, 1 << 16, np.uint64)
    with pytest.raises(IndexError):
        rans.Decoder(tables, states, np.zeros(9, np.uint64)).take(numbers)
    for wrong in ((symbols, numbers), (3 * numbers, symbols), (symbols + 2, symbols)):
        with pytest.raises(IndexError):
            rans.encode([rans.Coded(*wrong)], tables, 2)
