"""Latents that say levels of bands to bytes and back: the symbol coding ``levels-1`` of SPEC.md.

Coefficients come first, as `sparse` codes them. The other latents form groups of bands. A level is told
by its difference from the frame before, the course of an attack by that from the block before. Each such
residual is mostly 0, and goes the way of the band below: so its class is that of the residual below,
from which it is told where that is large, and each class has a distribution of its own, given by three
numbers. All of it is whole numbers. Residuals of music take 28 % less than they would as `context-1`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earzip import native
from earzip.arrays import Symbols
from earzip.errors import DamagedArchiveError
from earzip.formats.symbols import context, rans, sparse
from earzip.formats.symbols.layout import MAX_LEVELS, Group, Layout, Told
from earzip.formats.symbols.packed import MAX_SYMBOL, PieceReader
from earzip.formats.symbols.residuals import (
    MAX_LANES,
    ResidualDecoder,
    Residuals,
    ResidualTables,
    n_lanes_for,
)

_Integers = NDArray[np.int64]
_Bools = NDArray[np.bool_]

_LARGE = 4  # of a residual: the one above is told from it
_CLASS_OF = np.array([-3, -2, -2, -1, 0, 1, 2, 2, 3]) + 3  # of the residual below, −4 to 4
_N_CLASSES = 7
_MAX_GROUPS = 16


class _Rows(NamedTuple):
    """The residuals of a group, a row for each channel, in the frames where they are told."""

    first_table: int
    first: int
    end: int
    """The channel behind the last."""
    n_bands: int
    """In each block: the first band of one has none below it, whose residual gives its class."""
    frames: _Integers

    def have_below(self) -> _Bools:
        """Return which rows follow that of the band below."""
        return np.arange(self.end - self.first) % self.n_bands > 0


def pack(symbols: Symbols, layout: Layout) -> list[bytes]:
    """Return the pieces of a segment, the inverse of `unpack`.

    ``symbols``: ``[D, F]`` within ±32767. The frames with an attack are those where a group of
    `Told.ATTACK` is not 0; there those of `Told.CALM` must be.
    """
    n_sparse, groups = layout.n_sparse, layout.groups
    rest = symbols[n_sparse:].astype(np.int64)
    assert len(rest) == layout.n_levels <= MAX_LEVELS
    is_attack = _attacks(rest, groups)
    residuals = _differences(rest, groups)
    rows = list(_rows(groups, is_attack))
    told = np.zeros(rest.shape, bool)
    for each in rows:
        told[each.first : each.end, each.frames] = True
    assert not rest[~told].any()
    coded = [_coded(each, residuals) for each in rows]
    tables = ResidualTables.of(coded, _N_CLASSES * len(groups))
    n_lanes = n_lanes_for(rest.shape[1])
    states, words = rans.encode([each.coded() for each in coded], tables, n_lanes)
    beyond = np.concatenate([np.zeros(0, np.int64), *(each.beyond() for each in coded)])
    excess = context.to_bytes(beyond)
    head = [
        bytes([len(groups)]),
        *(bytes([g.told]) + g.n_bands.to_bytes(2, "little") + bytes([g.n_blocks]) for g in groups),
        np.packbits(is_attack, bitorder="little").tobytes(),
        tables.to_bytes(),
        bytes([n_lanes]),
        states.astype("<u4").tobytes(),
        len(words).to_bytes(4, "little"),
        len(beyond).to_bytes(4, "little"),
        (len(excess) - len(beyond)).to_bytes(4, "little"),
    ]
    pieces = sparse.pack(symbols[:n_sparse])
    pieces += [b"".join(head), words.astype("<u2").tobytes(), excess.tobytes()]
    return [piece for piece in pieces if piece]


def unpack(reader: PieceReader, n_latents: int, n_frames: int) -> Symbols:
    """Return the symbols ``[n_latents, n_frames]`` of the joined pieces, the inverse of `pack`.

    Raises DamagedArchiveError for bytes that no writer writes.
    """
    coefficients = sparse.unpack(reader, n_latents, n_frames)
    n_rest = n_latents - len(coefficients)
    groups = _read_groups(reader, n_rest)
    is_attack = reader.bits(n_frames)
    rows = list(_rows(groups, is_attack))
    tables = ResidualTables.read(reader, _N_CLASSES * len(groups))
    n_lanes = reader.integer(1)
    least = n_lanes_for(n_frames)
    if not least <= n_lanes <= MAX_LANES:
        raise DamagedArchiveError(f"segment has {n_lanes} lanes, expected {least} to {MAX_LANES}")
    states = reader.take(4 * n_lanes).view("<u4").astype(np.uint64)
    n_words, n_beyond, n_continued = (reader.integer(4) for _ in range(3))
    words = reader.take(2 * n_words).view("<u2").astype(np.uint64)
    beyond = context.from_bytes(reader, n_beyond, n_continued)
    if beyond.max(initial=0) > 4 * MAX_SYMBOL:
        raise DamagedArchiveError(f"segment has a latent beyond ±{MAX_SYMBOL}")
    residuals = np.zeros((n_rest, n_frames), np.int64)
    decoder = ResidualDecoder(tables, states, words, beyond)
    if native.LIBRARY is not None:
        _take_natively(decoder, rows, residuals)
    else:
        for each in rows:
            _take(decoder, each, residuals)
    decoder.finish()
    rest = _sums(residuals, groups)
    if np.abs(rest).max(initial=0) > MAX_SYMBOL:
        raise DamagedArchiveError(f"segment has a latent beyond ±{MAX_SYMBOL}")
    if np.any(_attacks(rest, groups) != is_attack):
        raise DamagedArchiveError("segment names an attack that has no course")
    return np.concatenate([coefficients, rest.astype(np.int32)])


def _read_groups(reader: PieceReader, n_channels: int) -> list[Group]:
    n_groups = reader.integer(1)
    if n_groups > _MAX_GROUPS:
        raise DamagedArchiveError(f"segment has {n_groups} groups, expected at most {_MAX_GROUPS}")
    groups = []
    for _ in range(n_groups):
        told, n_bands, n_blocks = reader.integer(1), reader.integer(2), reader.integer(1)
        if (
            told > max(Told)
            or not n_bands
            or not n_blocks
            or (n_blocks > 1 and told != Told.ATTACK)
        ):
            raise DamagedArchiveError("segment has a malformed group of latents")
        groups.append(Group(Told(told), n_bands, n_blocks))
    if (n := sum(group.n_channels for group in groups)) != n_channels:
        raise DamagedArchiveError(f"segment has groups of {n} latents, expected {n_channels}")
    if n > MAX_LEVELS:
        raise DamagedArchiveError(f"segment has {n} levels a frame, expected at most {MAX_LEVELS}")
    return groups


def _channels(groups: Sequence[Group]) -> Iterator[tuple[Group, int, int]]:
    """Yield each group, its first channel and the one behind its last."""
    first = 0
    for group in groups:
        yield group, first, first + group.n_channels
        first += group.n_channels


def _attacks(rest: _Integers, groups: Sequence[Group]) -> _Bools:
    """Return in which frames a group that tells attacks is not 0."""
    is_attack = np.zeros(rest.shape[1], bool)
    for group, first, end in _channels(groups):
        if group.told == Told.ATTACK:
            is_attack |= rest[first:end].any(0)
    return is_attack


def _differences(rest: _Integers, groups: Sequence[Group]) -> _Integers:
    """Return residuals for the integers ``rest`` ``[n, F]``; the inverse of `_sums`."""
    residuals = rest.copy()
    for group, first, end in _channels(groups):
        if group.told == Told.ALWAYS:
            residuals[first:end, 1:] -= rest[first:end, :-1]
            residuals[first + 1 : end, 0] -= rest[first : end - 1, 0]
        elif group.told == Told.ATTACK:
            residuals[first + group.n_bands : end] -= rest[first : end - group.n_bands]
    return residuals


def _sums(residuals: _Integers, groups: Sequence[Group]) -> _Integers:
    rest = residuals.copy()
    for group, first, end in _channels(groups):
        if group.told == Told.ALWAYS:
            rest[first:end, 0] = np.cumsum(residuals[first:end, 0])
            rest[first:end] = np.cumsum(rest[first:end], 1)
        elif group.told == Told.ATTACK:
            blocks = residuals[first:end].reshape(group.n_blocks, group.n_bands, -1)
            rest[first:end] = np.cumsum(blocks, 0).reshape(end - first, -1)
    return rest


def _rows(groups: Sequence[Group], is_attack: _Bools) -> Iterator[_Rows]:
    """Yield what is coded, in the order of coding."""
    frames_of = {
        Told.ALWAYS: np.arange(len(is_attack)),
        Told.CALM: np.flatnonzero(~is_attack),
        Told.ATTACK: np.flatnonzero(is_attack),
    }
    for number, (group, first, end) in enumerate(_channels(groups)):
        frames = frames_of[group.told]
        if len(frames):
            yield _Rows(_N_CLASSES * number, first, end, group.n_bands, frames)


def _lean_and_tables(first_table: int, below: _Integers) -> tuple[_Integers, _Integers]:
    """Return from what residuals are told, and the number of each one's table.

    Both come of those of the band below, or zeros.
    """
    numbers = first_table + _CLASS_OF[np.clip(below, -_LARGE, _LARGE) + _LARGE]
    return np.where(np.abs(below) >= _LARGE, below, 0), numbers


def _take(decoder: ResidualDecoder, rows: _Rows, residuals: _Integers) -> None:
    """Write the residuals of ``rows`` into ``residuals`` ``[n, F]``."""
    below = none = np.zeros(len(rows.frames), np.int64)
    for channel, has_below in enumerate(rows.have_below(), rows.first):
        lean, numbers = _lean_and_tables(rows.first_table, below if has_below else none)
        below = lean + decoder.take(numbers)
        residuals[channel, rows.frames] = below


def _take_natively(decoder: ResidualDecoder, parts: list[_Rows], residuals: _Integers) -> None:
    """Write the residuals of all rows into ``residuals`` ``[n, F]``, which are 0."""
    frames = [np.zeros(0, np.int64)]
    facts = [np.zeros((0, 5), np.int64)]
    for rows in parts:
        channels = np.arange(rows.first, rows.end)
        where = sum(map(len, frames)), len(rows.frames)
        table, first, n = (np.full(len(channels), each) for each in (rows.first_table, *where))
        facts.append(np.stack([table, channels, rows.have_below(), first, n], 1))
        frames.append(rows.frames)
    decoder.take_rows(_CLASS_OF, np.concatenate(facts), np.concatenate(frames), residuals)


def _coded(rows: _Rows, residuals: _Integers) -> Residuals:
    """Return what says the residuals of ``rows``, a row for each."""
    own = residuals[rows.first : rows.end, rows.frames]
    below = np.zeros_like(own)
    below[1:] = own[:-1]
    below[~rows.have_below()] = 0
    lean, numbers = _lean_and_tables(rows.first_table, below)
    return Residuals(own - lean, numbers)
