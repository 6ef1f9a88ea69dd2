from __future__ import annotations

import time
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earzip import native
from earzip.errors import DamagedArchiveError
from earzip.formats.archive.frames import MAX_FRAMES, compress_frames, decompress_frames
from earzip.formats.archive.layout import MAX_SEGMENT_BYTES
from earzip.formats.geometry import MAX_CONTEXT_FRAMES
from earzip.formats.symbols import context, packed
from earzip.formats.symbols.coding import pack, unpack
from earzip.formats.symbols.layout import CONTEXT, PACKED, Layout
from earzip.formats.symbols.packed import MAX_SYMBOL
from tests.formats.symbols.spec_symbols import read_symbols


def coefficients(seed: int, n: int, n_frames: int, spread: float = 1.0) -> np.ndarray:
    """Integers like a transform's: sounds that begin and end, over a floor that is mostly 0."""
    rng = np.random.default_rng(seed)
    level = np.full((n, n_frames), 0.05 * spread)
    for _ in range(1 + n * n_frames // 2000):
        channel, frame = rng.integers(n), rng.integers(n_frames)
        level[channel : channel + 30, frame : frame + 10] += spread * rng.uniform(0.3, 2)
    symbols = np.fix(rng.laplace(0, level))
    return np.clip(symbols, -MAX_SYMBOL, MAX_SYMBOL).astype(np.int32)


def silence_between_sounds(n: int, quiet: int, loudest: int) -> np.ndarray:
    """Integers for five frames, then for one after each stretch of ``quiet`` frames."""
    symbols = np.zeros((n, 5 + 3 * (quiet + 1)), np.int32)
    symbols[:, :5] = loudest
    symbols[[0, n // 2, n - 1], np.arange(4 + quiet + 1, symbols.shape[1], quiet + 1)] = -loudest
    return symbols


def frames_decoded(monkeypatch: pytest.MonkeyPatch, symbols: np.ndarray, layout: Layout) -> float:
    """Return for how many frames the classes of integers are looked up, in numpy."""
    monkeypatch.setattr(native, "LIBRARY", None)
    taken = []
    take = context.ClassStreams.take

    def counted(streams: context.ClassStreams, classes: np.ndarray) -> np.ndarray:
        taken.append(len(classes))
        return take(streams, classes)

    data = b"".join(pack(symbols, layout))
    monkeypatch.setattr(context.ClassStreams, "take", counted)
    np.testing.assert_array_equal(unpack(data, layout.coding, *symbols.shape), symbols)
    return sum(taken) / symbols.any(1).sum()


def raw(symbols: np.ndarray, n_sparse: int | None = None) -> bytes:
    return b"".join(pack(symbols, Layout(len(symbols) if n_sparse is None else n_sparse)))


def assert_comes_back(symbols: np.ndarray, n_sparse: int | None = None) -> None:
    pieces = pack(symbols, Layout(len(symbols) if n_sparse is None else n_sparse))
    assert 1 <= len(pieces) <= MAX_FRAMES
    assert all(pieces)
    again = unpack(b"".join(pieces), CONTEXT, *symbols.shape)
    assert again.dtype == np.int32
    np.testing.assert_array_equal(again, symbols)


@pytest.mark.parametrize("spread", [0.01, 0.5, 3.0, 200.0, 1e4])
@pytest.mark.parametrize("n_frames", [1, 2, 3, 64, 301])
@pytest.mark.parametrize(("n_latents", "n_sparse"), [(1, 1), (2, 2), (47, 47), (48, 41), (9, 1)])
def test_symbols_come_back(n_latents: int, n_sparse: int, n_frames: int, spread: float) -> None:
    assert_comes_back(coefficients(1, n_latents, n_frames, spread), n_sparse)


shapes = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
values = st.sampled_from([1, 1, 2, 3, 4, 14, 15, 16, 255, 256, 257, 510, 511, MAX_SYMBOL])


@st.composite
def segments(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Any integers, of any density, and how many of their channels are sparse."""
    n_latents, n_frames, n_sparse = draw(shapes)
    symbols = np.zeros((n_latents, n_frames), np.int32)
    n_places = symbols.size
    for place in draw(st.lists(st.integers(0, n_places - 1), max_size=n_places)):
        symbols.ravel()[place] = draw(values) * draw(st.sampled_from([-1, 1]))
    return symbols, min(n_sparse, n_latents)


@settings(max_examples=300, deadline=None)
@given(segments())
def test_any_symbols_come_back_and_a_reader_written_from_the_specification_agrees(
    segment: tuple[np.ndarray, int],
) -> None:
    symbols, n_sparse = segment
    assert_comes_back(symbols, n_sparse)
    assert read_symbols(raw(symbols, n_sparse), CONTEXT, *symbols.shape) == symbols.tolist()


@pytest.mark.parametrize("loudest", [1, 2, MAX_SYMBOL])
@pytest.mark.parametrize("quiet", [1, 2, 3, 4, 5, 18, 60, 90, 140])
def test_silence_between_sounds_comes_back_as_specified(quiet: int, loudest: int) -> None:
    symbols = silence_between_sounds(7, quiet, loudest)
    assert_comes_back(symbols)
    assert read_symbols(raw(symbols), CONTEXT, *symbols.shape) == symbols.tolist()


def test_silence_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    symbols = np.zeros((8, 4000), np.int32)
    symbols[3, [0, 1999, 3990]] = 1
    assert frames_decoded(monkeypatch, symbols, Layout(8)) < 200


@pytest.mark.parametrize(("n_latents", "n_sparse"), [(40, 40), (40, 33), (1, 1), (5, 2)])
@pytest.mark.parametrize("spread", [0.3, 2.0, 400.0])
def test_a_reader_written_from_the_specification_finds_the_same_classes(
    n_latents: int, n_sparse: int, spread: float
) -> None:
    symbols = coefficients(2, n_latents, 120, spread)
    assert read_symbols(raw(symbols, n_sparse), CONTEXT, *symbols.shape) == symbols.tolist()


@pytest.mark.parametrize("spread", [0.3, 2.0, 400.0])
def test_packed_symbols_are_as_specified_too(spread: float) -> None:
    symbols = coefficients(2, 40, 61, spread)
    assert read_symbols(b"".join(pack(symbols)), PACKED, 40, 61) == symbols.tolist()


@pytest.mark.parametrize("value", [MAX_SYMBOL, -MAX_SYMBOL, 15, 1])
def test_the_loudest_of_all_comes_back(value: int) -> None:
    assert_comes_back(np.full((7, 300), value, np.int32))


@pytest.mark.parametrize("distance", [1, 254, 255, 256, 257, 509, 510, 511, 1020, 4000])
def test_runs_of_any_length_come_back(distance: int) -> None:
    symbols = np.zeros((1, 4100), np.int32)
    symbols[0, ::distance] = -1
    symbols[0, 4095] = distance
    assert_comes_back(symbols)


@pytest.mark.parametrize("channel", range(6))
def test_a_single_integer_comes_back_from_any_place(channel: int) -> None:
    for frame in range(5):
        symbols = np.zeros((6, 5), np.int32)
        symbols[channel, frame] = -3
        assert_comes_back(symbols)
        assert_comes_back(symbols, 4)


def test_silence_takes_a_table_only() -> None:
    silence = np.zeros((224, 512), np.int32)
    assert [len(piece) for piece in pack(silence, Layout(224))] == [2 + 28 + 9 * 4 + 18 * 5]
    assert len(pack(silence, Layout(200))) == 2  # one for each coding
    assert_comes_back(silence)
    assert_comes_back(silence, 200)


def test_the_coding_follows_from_the_sparse_channels() -> None:
    assert (Layout(0).coding, Layout(1).coding) == (PACKED, CONTEXT)
    symbols = coefficients(3, 20, 30)
    assert pack(symbols, Layout(0)) == packed.pack(symbols)


def test_coefficients_take_fewer_bytes_than_packed() -> None:
    symbols = coefficients(4, 800, 256, 0.5)
    context, packed = (len(compress_frames(pack(symbols, Layout(n)))) for n in (800, 0))
    assert context < 0.9 * packed


@pytest.mark.parametrize("spread", [1, 5, 30, 150])
def test_noise_fits_into_a_segment(spread: float) -> None:
    """A segment may have two bytes an integer, before zstd."""
    noise = np.random.default_rng(5).normal(0, spread, (400, 256)).round().astype(np.int32)
    assert len(raw(noise)) < 2 * noise.size
    assert len(raw(np.ones_like(noise))) < 2 * noise.size


def test_pieces_share_frames_where_that_is_smaller() -> None:
    pieces = pack(coefficients(6, 400, 64), Layout(400))
    stored = compress_frames(pieces)
    assert decompress_frames(stored, max_bytes=1 << 20) == b"".join(pieces)
    assert len(stored) < sum(len(compress_frames([piece])) for piece in pieces)
    assert len(stored) <= len(compress_frames([b"".join(pieces)]))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 3), st.integers(0, 2000), st.integers(0, 255))
def test_changed_bytes_are_read_or_refused_as_specified(
    seed: int, position: int, value: int
) -> None:
    data = bytearray(raw(coefficients(seed, 16, 40, 2.0), 12))
    data[position % len(data)] = value
    try:
        expected = read_symbols(bytes(data), CONTEXT, 16, 40)
    except (AssertionError, IndexError):
        with pytest.raises(DamagedArchiveError):
            unpack(bytes(data), CONTEXT, 16, 40)
    else:
        assert unpack(bytes(data), CONTEXT, 16, 40).tolist() == expected


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.integers(1, 20), st.integers(1, 20))
def test_any_bytes_are_symbols_or_damage(data: bytes, n_latents: int, n_frames: int) -> None:
    try:
        symbols = unpack(data, CONTEXT, n_latents, n_frames)
    except DamagedArchiveError:
        return
    assert symbols.shape == (n_latents, n_frames)


@pytest.mark.parametrize("n_sparse", [10, 16])
def test_a_segment_cut_anywhere_is_refused(n_sparse: int) -> None:
    data = raw(coefficients(3, 16, 40, 2.0), n_sparse)
    for n_bytes in range(len(data)):
        with pytest.raises(DamagedArchiveError):
            unpack(data[:n_bytes], CONTEXT, 16, 40)


@pytest.mark.parametrize("n_sparse", [10, 16])
def test_trailing_bytes_are_refused(n_sparse: int) -> None:
    data = raw(coefficients(3, 16, 40, 2.0), n_sparse)
    with pytest.raises(DamagedArchiveError, match="1 bytes more"):
        unpack(data + b"\0", CONTEXT, 16, 40)


def made(
    body: bytes = b"",
    *,
    n_sparse: int = 8,
    sounding: bytes = b"\x03",
    counts: dict[int, int] | None = None,
    heads: dict[int, tuple[int, int]] | None = None,
) -> bytes:
    """Return a segment with a table of the given counts and heads, zero where nothing is given."""
    data = n_sparse.to_bytes(2, "little") + sounding
    data += b"".join((counts or {}).get(i, 0).to_bytes(4, "little") for i in range(9))
    for i in range(18):
        form, n_continued = (heads or {}).get(i, (0, 0))
        data += bytes([form]) + n_continued.to_bytes(4, "little")
    return data + body


# Segments of 8 channels and 4 frames, two channels sounding: 8 places.
REFUSED = {
    "more sparse channels than latents": (made(n_sparse=9), "codes 9 of 8 latents"),
    "2^32 − 1 integers": (made(counts={8: 2**32 - 1}), "4294967295 integers in 8 places"),
    "9 × (2^32 − 1) integers": (made(counts=dict.fromkeys(range(9), 2**32 - 1)), "in 8 places"),
    "one integer a place too many": (made(counts={0: 5, 8: 4}), "9 integers in 8 places"),
    "integers where nothing sounds": (
        made(sounding=b"\0", counts={0: 1}),
        "1 integers in 0 places",
    ),
    "form 2": (made(heads={17: (2, 0)}), "form 2 of a list"),
    "2^32 − 1 bytes of 255": (made(heads={0: (0, 2**32 - 1)}), "ends 4294967295 bytes short"),
    "a sum without an end": (made(b"\xff", heads={0: (0, 1)}), "not of 0 integers"),
    "a sum too few": (made(b"\xff\xff\1\0", counts={0: 2}), "not of 2 integers"),
    "a sum too many": (made(b"\0\0\0\0", counts={0: 1}, heads={0: (0, 1)}), "not of 1 integers"),
    "a sum too many in the excess": (
        made(b"\3\0\0\0", counts={0: 1}, heads={0: (1, 1)}),
        "not of 1 integers",
    ),
    "the last sum not ended": (
        made(b"\0\xff\0\0", counts={0: 1}, heads={0: (0, 1)}),
        "not of 1 integers",
    ),
    "a digit too many": (made(b"\4\0\0", counts={0: 1}, heads={0: (1, 0)}), "digits beyond"),
    "a sign too many": (made(b"\0\0\2", counts={0: 1}), "bits set beyond a list of 1"),
    "a run beyond the last place": (made(b"\x08\0\0", counts={0: 1}), "beyond its 8 places"),
    "runs beyond in two classes": (
        made(b"\3\4\0\0\0", counts={0: 1, 1: 1}),
        "beyond its 8 places",
    ),
    "a class that does not come": (made(b"\0\0\0", counts={8: 1}), "more integers than places"),
    "magnitude 32,768": (
        made(b"\0" + b"\xff" * 128 + b"\x7f\0", counts={0: 1}, heads={9: (0, 128)}),
        "beyond ±32767",
    ),
    "a run of 4 billion": (made(b"\xff" * 9, counts={0: 1}, heads={0: (0, 7)}), "not of 1"),
    "nothing": (b"", "ends 2 bytes short"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_writer_wrote_is_refused(name: str) -> None:
    data, message = REFUSED[name]
    with pytest.raises(DamagedArchiveError, match=message):
        unpack(data, CONTEXT, 8, 4)
    with pytest.raises((AssertionError, IndexError)):
        read_symbols(data, CONTEXT, 8, 4)


def test_what_another_writer_may_write_is_read() -> None:
    assert not unpack(made(sounding=b"\xff"), CONTEXT, 8, 4).any()  # channels that do not sound
    largest = made(b"\0" + b"\xff" * 128 + b"\x7e\1", counts={0: 1}, heads={9: (0, 128)})
    assert unpack(largest, CONTEXT, 8, 4)[0, 0] == -MAX_SYMBOL
    empty_quads = made(heads={0: (1, 0), 9: (1, 0)})
    assert not unpack(empty_quads, CONTEXT, 8, 4).any()
    with pytest.raises(DamagedArchiveError, match="bits set beyond a list of 7"):
        unpack(made(n_sparse=7, sounding=b"\x80"), CONTEXT, 8, 4)
    none_sparse = made(n_sparse=0, sounding=b"") + raw(np.ones((8, 4), np.int32), 0)
    assert unpack(none_sparse, CONTEXT, 8, 4).all()


def quads_of(n_integers: int, digits: int) -> bytes:
    return bytes([digits]) * (n_integers // 4)


N_LATENTS, N_FRAMES = 4096, 512  # the most that a segment holds
N_PLACES = N_LATENTS * N_FRAMES
FULL = {"n_sparse": N_LATENTS, "sounding": b"\xff" * (N_LATENTS // 8), "counts": {0: N_PLACES}}


@pytest.mark.parametrize(
    "data",
    [
        made(
            quads_of(2 * N_PLACES, 0) + bytes(N_PLACES // 8), heads={0: (1, 0), 9: (1, 0)}, **FULL
        ),
        made(quads_of(N_PLACES, 255) + bytes(3_000_000), heads={0: (1, 0), 9: (1, 0)}, **FULL),
        made(quads_of(N_PLACES, 0) + bytes(3_000_000), heads={0: (1, 0)}, **FULL),
        raw(np.full((N_LATENTS, N_FRAMES), -3, np.int32)),
    ],
    ids=["quads of 0", "quads of 3", "bytes", "as written"],
)
def test_the_largest_segments_take_bounded_memory_and_time(data: bytes) -> None:
    assert len(data) <= MAX_SEGMENT_BYTES
    written = raw(np.full((N_LATENTS, N_FRAMES), -3, np.int32))
    assert cpu_s(data, N_LATENTS, N_FRAMES) < 5 * cpu_s(written, N_LATENTS, N_FRAMES)
    tracemalloc.start()
    with suppress(DamagedArchiveError):
        unpack(data, CONTEXT, N_LATENTS, N_FRAMES)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120e6


def test_reading_takes_time_in_proportion_to_the_frames() -> None:
    n_latents = MAX_SEGMENT_BYTES // 2 // MAX_CONTEXT_FRAMES
    whole, half = (
        np.ones((n_latents, n), np.int32) for n in (MAX_CONTEXT_FRAMES, MAX_CONTEXT_FRAMES // 2)
    )
    data = raw(whole)
    np.testing.assert_array_equal(unpack(data, CONTEXT, *whole.shape), whole)
    assert cpu_s(data, *whole.shape) < 3 * cpu_s(
        raw(half), *half.shape
    )  # 4 if it went by the square


def cpu_s(data: bytes, n_latents: int, n_frames: int) -> float:
    """The least CPU time of three in which ``data`` is read or refused."""
    times = []
    for _ in range(3):
        began = time.process_time()
        with suppress(DamagedArchiveError):
            unpack(data, CONTEXT, n_latents, n_frames)
        times.append(time.process_time() - began)
    return min(times)
