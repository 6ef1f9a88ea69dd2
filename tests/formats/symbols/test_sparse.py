from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earzip import native
from earzip.errors import DamagedArchiveError
from earzip.formats.archive.frames import compress_frames
from earzip.formats.geometry import MAX_CONTEXT_FRAMES
from earzip.formats.symbols import context, lists, rans, sparse
from earzip.formats.symbols.layout import Group, Layout, Told
from earzip.formats.symbols.packed import MAX_SYMBOL, PieceReader
from tests.formats.symbols.spec_symbols import (
    Bytes,
    read_coded_lists,
    read_coefficients,
    token_frequencies,
)
from tests.formats.symbols.test_context import (
    coefficients,
    frames_decoded,
    silence_between_sounds,
)

MOST = lists.MAX_INTEGER


def unpacked(data: bytes, n_latents: int, n_frames: int) -> np.ndarray:
    reader = PieceReader(data)
    symbols = sparse.unpack(reader, n_latents, n_frames)
    reader.finish()
    return symbols


def assert_comes_back_as_specified(symbols: np.ndarray) -> bytes:
    data = b"".join(sparse.pack(symbols))
    again = unpacked(data, len(symbols), symbols.shape[1])
    assert again.dtype == np.int32
    np.testing.assert_array_equal(again, symbols)
    specified = Bytes(data)
    assert read_coefficients(specified, *symbols.shape) == symbols.tolist()
    assert not specified.rest
    return data


@pytest.mark.parametrize("n_frames", [1, 2, 3, 4, 33])
@pytest.mark.parametrize("n_sparse", [1, 2, 3, 4, 5, 41, 96])
def test_coefficients_come_back_as_specified(n_sparse: int, n_frames: int) -> None:
    for spread in (0.1, 1.0, 30.0, 1e4):
        assert_comes_back_as_specified(coefficients(1, n_sparse, n_frames, spread))


@pytest.mark.parametrize("n_sparse", [0, 1, 8])
def test_silence_takes_a_head_without_lanes(n_sparse: int) -> None:
    data = assert_comes_back_as_specified(np.zeros((n_sparse, 5), np.int32))
    assert len(data) == 2 + -(-n_sparse // 8) + 12 * 4 + 24 * 3 + 2 + 4


@pytest.mark.parametrize("loudest", [1, 2, MAX_SYMBOL])
@pytest.mark.parametrize("quiet", [1, 2, 3, 4, 5, 18, 60])
def test_silence_between_sounds_comes_back_as_specified(quiet: int, loudest: int) -> None:
    assert_comes_back_as_specified(silence_between_sounds(7, quiet, loudest))


def test_silence_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    symbols = np.zeros((9, 4000), np.int32)
    symbols[3, [0, 1999, 3990]] = 1
    layout = Layout(8, (Group(Told.ALWAYS, 1),))
    assert frames_decoded(monkeypatch, symbols, layout) < 20


@pytest.mark.parametrize("n_frames", [1, 7, 300])
def test_the_loudest_of_all_comes_back(n_frames: int) -> None:
    symbols = np.full((6, n_frames), MAX_SYMBOL, np.int32)
    symbols[::2] *= -1
    assert_comes_back_as_specified(symbols)


values = st.sampled_from([1, 1, 1, 2, 3, 7, 8, 9, 10, 15, 16, 17, 255, 4096, MAX_SYMBOL])


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_any_coefficients_come_back_as_specified(
    n_sparse: int, n_frames: int, data: st.DataObject
) -> None:
    symbols = np.zeros((n_sparse, n_frames), np.int32)
    places = st.lists(st.integers(0, symbols.size - 1), max_size=symbols.size)
    for place in data.draw(places):
        symbols.ravel()[place] = data.draw(values) * data.draw(st.sampled_from([-1, 1]))
    assert_comes_back_as_specified(symbols)


def test_coefficients_take_less_than_by_context() -> None:
    symbols = coefficients(3, 400, 500)
    by_context = len(compress_frames(context.pack(symbols, 400)))
    assert len(compress_frames(sparse.pack(symbols))) < 0.95 * by_context


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 3), st.integers(0, 2000), st.integers(0, 255))
def test_changed_bytes_are_read_or_refused_as_specified(
    seed: int, position: int, value: int
) -> None:
    symbols = coefficients(seed, 12, 9, 2.0)
    data = bytearray(b"".join(sparse.pack(symbols)))
    data[position % len(data)] = value
    try:
        specified = Bytes(bytes(data))
        expected = read_coefficients(specified, *symbols.shape)
        assert not specified.rest
        assert max(abs(x) for row in expected for x in row) <= MAX_SYMBOL
    except (AssertionError, IndexError):
        with pytest.raises(DamagedArchiveError):
            unpacked(bytes(data), *symbols.shape)
    else:
        assert unpacked(bytes(data), *symbols.shape).tolist() == expected


def test_a_segment_cut_anywhere_is_refused() -> None:
    symbols = coefficients(0, 20, 9)
    data = b"".join(sparse.pack(symbols))
    for n_bytes in range(len(data)):
        with pytest.raises(DamagedArchiveError):
            unpacked(data[:n_bytes], *symbols.shape)


# --- lists


def coded(*integers: list[int]) -> bytes:
    return b"".join(lists.write_lists([np.array(each, np.int64) for each in integers]))


EDGES = [0, 1, 7, 8, 9, 10, 15, 16, 19, 20, 31, 32, 1000, 4095, 4096, MOST - 1, MOST]


@pytest.mark.parametrize(
    "integers",
    [([],), ([], [0]), (EDGES,), (EDGES[::-1], [], [3] * 5000), ([0] * 2049, [MOST])],
)
def test_lists_come_back_as_specified(integers: tuple[list[int], ...]) -> None:
    data = coded(*integers)
    counts = [len(each) for each in integers]
    reader, specified = PieceReader(data), Bytes(data)
    assert [each.tolist() for each in lists.read_lists(reader, counts)] == list(integers)
    reader.finish()
    assert read_coded_lists(specified, counts) == list(integers)
    assert not specified.rest


def test_the_frequencies_of_every_table_are_as_specified_and_make_a_whole() -> None:
    for n_tokens in (1, 2, 5, 8, 30, 84):
        for stop in range(64):
            for change in range(16):
                table = lists._frequencies(n_tokens, stop, change)
                assert len(table) == 84
                assert min(table[:n_tokens]) >= 1
                assert sum(table) == sum(table[:n_tokens]) == 4096
                assert list(table[:n_tokens]) == token_frequencies(n_tokens, stop, change)


def test_the_tables_that_a_writer_chooses_from_are_those_of_a_reader() -> None:
    one_by_one = [
        lists._frequencies(84, stop, change) for stop in range(64) for change in range(16)
    ]
    assert lists._frequencies_of_all().tolist() == [list(each) for each in one_by_one]


@pytest.mark.parametrize("stop", [0.02, 0.3, 0.9])
def test_a_list_takes_about_its_entropy(stop: float) -> None:
    integers = np.random.default_rng(0).geometric(stop, 20_000) - 1
    least = -np.log2(stop) / 1 - (1 - stop) / stop * np.log2(1 - stop)
    n_bits = 8 * len(coded(integers.tolist()))
    assert n_bits < 1.03 * least * len(integers) + 32 * 10 + 100


@pytest.mark.parametrize(
    ("data", "counts", "message"),
    [
        (bytes([1, 0, 0]), [0], "malformed head"),
        (bytes([0, 0, 0]), [1], "malformed head"),
        (bytes([85, 0, 0]), [1], "malformed head"),
        (bytes([1, 64, 0]), [1], "malformed head"),
        (bytes([1, 0, 16]), [1], "malformed head"),
        (bytes([0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0]), [0], "1 lanes, expected 0"),
        (bytes([0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 9]), [0], "words of empty lists"),
        (bytes([1, 0, 0, 0, 0, 0, 0, 0, 0]), [1], "0 lanes, expected 1 or more"),
        (bytes([1, 0, 0, 1, 0]) + b"\xff\xff\0\0" + bytes(4), [1], "a state that no writer leaves"),
        (bytes([1, 0, 0, 1, 0]) + b"\0\0\1\0" + b"\xff\xff\xff\xff", [1], "bytes short"),
        (bytes([1, 0, 0, 1, 0]) + b"\1\0\1\0" + bytes(4), [1], "do not end where"),
    ],
)
def test_what_no_writer_wrote_is_refused(data: bytes, counts: list[int], message: str) -> None:
    with pytest.raises(DamagedArchiveError, match=message):
        lists.read_lists(PieceReader(data), counts)
    with pytest.raises((AssertionError, IndexError)):
        read_coded_lists(Bytes(data), counts)


def test_fewer_lanes_than_one_for_2048_numbers_are_refused() -> None:
    data = bytearray(coded([0] * 2049))
    assert data[3:5] == b"\2\0"
    data[3] = 1
    with pytest.raises(DamagedArchiveError, match="1 lanes, expected 2 or more"):
        lists.read_lists(PieceReader(bytes(data)), [2049])


def test_numbers_that_cost_nothing_take_bounded_memory_and_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All ones: each table has but one token, so states and words say nothing."""
    monkeypatch.setattr(native, "LIBRARY", None)
    steps, step = [], rans.Decoder._step
    monkeypatch.setattr(rans.Decoder, "_step", lambda *a: steps.append(1) or step(*a))
    symbols = np.ones((1024, MAX_CONTEXT_FRAMES), np.int32)
    data = b"".join(sparse.pack(symbols))
    assert len(compress_frames([data])) < 10_000
    tracemalloc.start()
    try:
        assert (unpacked(data, *symbols.shape) == 1).all()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200e6
    assert len(steps) <= 2 * 2048
