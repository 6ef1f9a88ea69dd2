"""Sparse integer latents to bytes and back: the symbol coding ``context-1`` of SPEC.md.

The coefficients of a transform are 0 for the most part, and the others stand together: along a partial in
time, and beside each other. So each integer is put into a class by the magnitudes around it that a reader
knows before it, and each class is coded by itself: how many zeros lie between its non-zero integers, their
magnitudes, their signs. All of it is whole numbers, so every reader finds the same classes. Latents that
are not of this kind follow as `packed-1`. On coefficients of music at 9 and 19 kbps this saves 12 % of what
that takes for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earzip.errors import DamagedArchiveError
from earzip.formats import packed_symbols
from earzip.formats.packed_symbols import MAX_SYMBOL, Symbols
from earzip.formats.piece_reader import PieceReader

# Weighted sums of magnitudes at which classes part, about 1.5 an octave.
_CLASS_EDGES = np.array([1, 3, 6, 12, 22, 36, 60, 120], np.int32)
_N_CLASSES = len(_CLASS_EDGES) + 1
_LARGEST = 15  # magnitudes count as at most this
_MEMORY_SHIFT = 4  # the running sum forgets a sixteenth a frame
_BYTES, _QUADS = 0, 1
_CONTINUED = 255

_Bytes = NDArray[np.uint8]
_Integers = NDArray[np.int32]


def pack(symbols: Symbols, n_sparse: int) -> list[bytes]:
    """Return the pieces of a segment, each to be compressed by itself; the inverse of `unpack`.

    ``symbols``: ``[D, F]`` within ±32767; the first ``n_sparse`` channels are coded by context.
    """
    sounding = symbols[:n_sparse].any(1)
    frames = np.ascontiguousarray(symbols[:n_sparse][sounding].T)
    ordered, classes = _even_then_odd(frames), _even_then_odd(_classes(frames))
    table = [n_sparse.to_bytes(2, "little"), np.packbits(sounding, bitorder="little").tobytes()]
    lists: list[bytes] = []
    signs = []
    for number in range(_N_CLASSES):
        members = ordered[classes == number]
        places = np.flatnonzero(members)
        values = members[places]
        table.append(len(places).to_bytes(4, "little"))
        if not len(places):
            continue
        signs.append(values < 0)
        for integers in (np.diff(places, prepend=-1) - 1, np.abs(values) - 1):
            form, pieces = _code_list(integers)
            table.append(bytes([form]))
            table += [len(piece).to_bytes(4, "little") for piece in pieces]
            lists += pieces
    if signs:
        lists.append(np.packbits(np.concatenate(signs), bitorder="little").tobytes())
    pieces = [b"".join(table), *(piece for piece in lists if piece)]
    if n_sparse < len(symbols):
        pieces += packed_symbols.pack(symbols[n_sparse:])
    return pieces


def unpack(reader: PieceReader, n_latents: int, n_frames: int) -> Symbols:
    """Return the symbols ``[n_latents, n_frames]`` of the joined pieces, the inverse of `pack`.

    Raises DamagedArchiveError where they are not what a writer could have written.
    """
    n_sparse = reader.integer(2)
    if n_sparse > n_latents:
        raise DamagedArchiveError(f"segment codes {n_sparse} of {n_latents} latents by context")
    bits = np.unpackbits(reader.take(-(-n_sparse // 8)), bitorder="little")
    if bits[n_sparse:].any():
        raise DamagedArchiveError("segment marks a channel that it does not have")
    sounding = bits[:n_sparse].astype(bool)
    n_most = int(sounding.sum()) * n_frames
    heads = [_read_head(reader, n_most) for _ in range(_N_CLASSES)]
    streams = [head.read(reader, n_most) for head in heads]
    n_signs = sum(head.n_values for head in heads)
    signs = np.unpackbits(reader.take(-(-n_signs // 8)), bitorder="little")
    if signs[n_signs:].any():
        raise DamagedArchiveError("segment has more signs than integers")
    for (places, magnitudes), negative in zip(
        streams, np.split(signs[:n_signs], np.cumsum([head.n_values for head in heads])), strict=False
    ):
        magnitudes[negative.astype(bool)] *= -1
    symbols = np.zeros((n_latents, n_frames), np.int32)
    symbols[:n_sparse][sounding] = _in_order(streams, int(sounding.sum()), n_frames).T
    if n_sparse < n_latents:
        symbols[n_sparse:] = packed_symbols.unpack(reader, n_latents - n_sparse, n_frames)
    return symbols


class _Neighbourhood:
    """The weighted sums of magnitudes around each channel, frame after frame."""

    def __init__(self, n_channels: int) -> None:
        # Two channels of zeros on each side: the neighbours of the outermost.
        self._first = np.zeros(n_channels + 4, np.int32)
        self._second = np.zeros(n_channels + 4, np.int32)
        self._memory = np.zeros(n_channels, np.int32)

    def before(self) -> _Integers:
        """Return the sums ``[n_channels]`` over the frames so far."""
        a, b = self._first, self._second
        sums = self._memory >> (_MEMORY_SHIFT + 1)
        sums += 8 * a[2:-2] + 4 * (a[1:-3] + a[3:-1]) + 2 * (a[:-4] + a[4:])
        sums += 4 * b[2:-2] + 2 * (b[1:-3] + b[3:-1])
        return sums

    def add(self, frame: _Integers) -> None:
        """Go on to the next frame, behind one of ``frame`` ``[n_channels]``."""
        a = np.pad(np.minimum(np.abs(frame), _LARGEST), 2)
        self._memory += 16 * (2 * a[2:-2] + a[1:-3] + a[3:-1]) - (self._memory >> _MEMORY_SHIFT)
        self._first, self._second = a, self._first


def _beside(frames: _Integers) -> _Integers:
    """Return for every second channel of ``[..., n]``, from the second, what its two neighbours add."""
    a = np.minimum(np.abs(frames[..., ::2]), _LARGEST)
    beside = a[..., : frames.shape[-1] // 2].copy()
    beside[..., : a.shape[-1] - 1] += a[..., 1:]
    beside *= 6
    return beside


def _class_of(sums: _Integers) -> NDArray[np.uint8]:
    return _CLASS_OF_SUM[np.minimum(sums, len(_CLASS_OF_SUM) - 1)]


_CLASS_OF_SUM = np.searchsorted(
    _CLASS_EDGES, np.arange(_CLASS_EDGES[-1] + 1, dtype=np.int32), side="right"
).astype(np.uint8)


def _classes(frames: _Integers) -> NDArray[np.uint8]:
    """Return the class of each integer of ``frames`` ``[F, n]``."""
    neighbourhood = _Neighbourhood(frames.shape[1])
    sums = np.empty_like(frames)
    for row, frame in zip(sums, frames, strict=True):
        row[:] = neighbourhood.before()
        neighbourhood.add(frame)
    sums[:, 1::2] += _beside(frames)
    return _class_of(sums)


def _even_then_odd(frames: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the values of ``frames`` ``[F, n]`` in the order of coding, one axis."""
    return np.concatenate([frames[:, ::2], frames[:, 1::2]], 1).ravel()


def _in_order(
    streams: list[tuple[_Integers, _Integers]], n_channels: int, n_frames: int
) -> _Integers:
    """Return the frames ``[F, n]`` whose classes have non-zero integers at places, by `_classes`."""
    lengths = np.array([places[-1] + 1 if len(places) else 0 for places, _ in streams])
    # Each class ends in a zero, which stands for all that follow.
    starts = np.concatenate([[0], np.cumsum(lengths + 1)])
    dense = np.zeros(starts[-1], np.int32)
    for start, (places, values) in zip(starts, streams, strict=False):
        dense[start + places] = values
    taken = np.zeros(len(streams), np.int64)

    def take(classes: NDArray[np.uint8]) -> _Integers:
        order = np.argsort(classes, kind="stable")
        counts = np.bincount(classes, minlength=len(streams))
        first = taken - np.cumsum(counts) + counts  # less the place of the class's first among `order`
        at = np.arange(len(classes)) + np.repeat(first, counts)
        at = np.minimum(at, np.repeat(lengths, counts)) + np.repeat(starts[:-1], counts)
        np.add(taken, counts, out=taken)
        values = np.empty(len(classes), np.int32)
        values[order] = dense[at]
        return values

    frames = np.zeros((n_frames, n_channels), np.int32)
    neighbourhood = _Neighbourhood(n_channels)
    for frame in frames:
        sums = neighbourhood.before()
        frame[::2] = take(_class_of(sums[::2]))
        frame[1::2] = take(_class_of(sums[1::2] + _beside(frame)))
        neighbourhood.add(frame)
    if np.any(taken < lengths):
        raise DamagedArchiveError("segment has more integers than places for them")
    return frames


def _code_list(integers: NDArray[np.int64]) -> tuple[int, list[bytes]]:
    """Return the form that codes ``integers`` ≥ 0 in fewer bytes by entropy, and its pieces.

    Bytes: each integer as a sum, of which 255 is never the last. Quads: four digits of 0 to 3 a byte, the
    earliest lowest; for each 3 the integer less 3 follows in a second piece, as bytes.
    """
    plain = _to_bytes(integers)
    digits = np.pad(np.minimum(integers, 3), (0, -len(integers) % 4)).reshape(-1, 4)
    quads = (digits << np.array([0, 2, 4, 6])).sum(1).astype(np.uint8)
    excess = _to_bytes(integers[integers >= 3] - 3)
    if _entropy_bits(plain) <= _entropy_bits(quads) + _entropy_bits(excess):
        return _BYTES, [plain.tobytes()]
    return _QUADS, [quads.tobytes(), excess.tobytes()]


def _to_bytes(integers: NDArray[np.int64]) -> _Bytes:
    continued = integers // _CONTINUED
    coded = np.full(int(continued.sum()) + len(integers), _CONTINUED, np.uint8)
    coded[np.cumsum(continued + 1) - 1] = integers % _CONTINUED
    return coded


def _from_bytes(coded: _Bytes, n_integers: int) -> NDArray[np.int64]:
    ends = np.flatnonzero(coded != _CONTINUED)
    if len(ends) != n_integers or (len(coded) and coded[-1] == _CONTINUED):
        raise DamagedArchiveError(f"segment has a list of {len(ends)} numbers, not {n_integers}")
    continued = np.diff(ends, prepend=-1) - 1
    return _CONTINUED * continued + coded[ends]


def _entropy_bits(coded: _Bytes) -> float:
    counts = np.bincount(coded)
    counts = counts[counts > 0]
    return float(-np.sum(counts * np.log2(counts / max(len(coded), 1))))


@dataclass(frozen=True)
class _Head:
    """What the table says of a class: its non-zero integers, and form and sizes of its two lists."""

    n_values: int
    lists: tuple[tuple[int, list[int]], ...]

    def read(self, reader: PieceReader, n_most: int) -> tuple[_Integers, _Integers]:
        """Return places and magnitudes of the integers."""
        if not self.n_values:
            return np.zeros(0, np.int32), np.zeros(0, np.int32)
        runs, beyond_one = (self._read_list(reader, *one) for one in self.lists)
        places = np.cumsum(runs + 1) - 1
        if places[-1] >= n_most:
            raise DamagedArchiveError("segment has an integer beyond its last frame")
        if beyond_one.max() >= MAX_SYMBOL:
            raise DamagedArchiveError(f"segment has a latent beyond ±{MAX_SYMBOL}")
        return places.astype(np.int32), (beyond_one + 1).astype(np.int32)

    def _read_list(self, reader: PieceReader, form: int, sizes: list[int]) -> NDArray[np.int64]:
        if form == _BYTES:
            return _from_bytes(reader.take(sizes[0]), self.n_values)
        if sizes[0] != -(-self.n_values // 4):
            raise DamagedArchiveError(f"segment has {sizes[0]} bytes of digits")
        quads = reader.take(sizes[0])
        digits = ((quads[:, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3).ravel()
        if digits[self.n_values :].any():
            raise DamagedArchiveError("segment has digits beyond its last integer")
        integers = digits[: self.n_values].astype(np.int64)
        is_long = integers == 3  # noqa: PLR2004  # the largest digit
        integers[is_long] += _from_bytes(reader.take(sizes[1]), int(is_long.sum()))
        return integers


def _read_head(reader: PieceReader, n_most: int) -> _Head:
    n_values = reader.integer(4)
    if n_values > n_most:
        raise DamagedArchiveError(f"segment has {n_values} integers in {n_most} places")
    return _Head(n_values, tuple(_read_forms(reader)) if n_values else ())


def _read_forms(reader: PieceReader) -> Iterator[tuple[int, list[int]]]:
    for _ in range(2):
        form = reader.integer(1)
        if form > _QUADS:
            raise DamagedArchiveError(f"segment names form {form} of a list, the last is {_QUADS}")
        yield form, [reader.integer(4) for _ in range(form + 1)]
