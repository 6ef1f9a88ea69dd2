"""Lists of integers from 0 to words and back, for `sparse`: each under a table that two numbers give.

An integer is a token and, from 8 on, some bits: four tokens an octave. The table of a list says how
likely it is to stop at an integer once it has come so far, and by how much that changes an octave.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from earzip.errors import DamagedArchiveError
from earzip.formats.symbols import rans
from earzip.formats.symbols.packed import PieceReader
from earzip.formats.symbols.rans import WHOLE, Integers

MAX_INTEGER = (1 << 22) - 1
"""The largest integer of a list."""
_PLAIN = 8  # integers below are tokens of their own
_N_TOKENS = _PLAIN + 4 * 19
_ODDS = (65_536, 55_109, 46_341, 38_968)  # 2^(−j / 4), in 65536ths
_N_STOPS, _N_CHANGES = 64, 16
_SURE = 65_000  # of 65536: no integer is surer to be the last
_NUMBERS_A_LANE = 2048
HEAD_BYTES = 3

_Bytes = NDArray[np.uint8]


def write_lists(lists: Sequence[Integers]) -> list[bytes]:
    """Return the pieces that say ``lists``: heads and states, words, further bits.

    Their integers are 0 to `MAX_INTEGER`. The inverse of `read_lists`, which is told how long they are.
    """
    tokens = [_token(integers) for integers in lists]
    heads = [_head(each) for each in tokens]
    coded = [rans.Coded(each, np.full(len(each), number)) for number, each in enumerate(tokens)]
    n_lanes = _least_lanes(sum(map(len, lists)))
    one = rans.Coded(*(np.concatenate(each).astype(np.int64) for each in zip(*coded, strict=True)))
    states, words = rans.encode([one], _tables(heads), n_lanes)
    table = [
        np.array(heads, np.uint8).tobytes(),
        n_lanes.to_bytes(2, "little"),
        states.astype("<u4").tobytes(),
        len(words).to_bytes(4, "little"),
    ]
    return [b"".join(table), words.astype("<u2").tobytes(), _bits_of(np.concatenate(lists))]


def read_lists(reader: PieceReader, lengths: Sequence[int]) -> list[Integers]:
    """Return the next lists, of these lengths.

    Raises DamagedArchiveError for bytes that no writer writes.
    """
    heads = reader.take(HEAD_BYTES * len(lengths)).reshape(-1, HEAD_BYTES).tolist()
    for (n_tokens, stop, change), length in zip(heads, lengths, strict=True):
        is_right = bool(n_tokens) == bool(length) and n_tokens <= _N_TOKENS
        if not (is_right and stop < _N_STOPS and change < _N_CHANGES):
            raise DamagedArchiveError("segment has a malformed head of a list")
    n_lanes = require_lanes(reader.integer(2), sum(lengths))
    states = reader.take(4 * n_lanes).view("<u4").astype(np.uint64)
    words = reader.take(2 * reader.integer(4)).view("<u2").astype(np.uint64)
    tokens = np.zeros(0, np.int64)
    if n_lanes:
        decoder = rans.Decoder(_tables(heads), states, words)
        tokens = decoder.take(np.repeat(np.arange(len(lengths)), lengths))
        decoder.finish()
    elif len(words):
        raise DamagedArchiveError("segment has words of empty lists")
    integers = _with_bits(tokens, reader)
    return np.split(integers, np.cumsum(lengths)[:-1])


def require_lanes(n_lanes: int, n_integers: int) -> int:
    """Return ``n_lanes``; DamagedArchiveError unless so many states may say lists of ``n_integers``."""
    least = _least_lanes(n_integers)
    if n_lanes < least or (n_lanes and not least):
        raise DamagedArchiveError(f"segment has {n_lanes} lanes, expected {least} or more")
    return n_lanes


def _least_lanes(n_integers: int) -> int:
    """Return how many states a reader takes at least: with fewer it would be busy for long."""
    return -(-n_integers // _NUMBERS_A_LANE)


def _octave(integers: Integers) -> Integers:
    """Return ⌊log₂⌋ of integers, 0 for 0."""
    result: Integers = np.frexp(np.maximum(integers, 1).astype(np.float64))[1].astype(np.int64) - 1
    return result


def _token(integers: Integers) -> Integers:
    octave = _octave(integers)
    quarter = integers >> np.maximum(octave - 2, 0) & 3
    return np.where(integers < _PLAIN, integers, _PLAIN + 4 * (octave - 3) + quarter)


def _n_bits(tokens: Integers) -> Integers:
    """Return how many bits follow each token."""
    return np.maximum((tokens - _PLAIN) // 4 + 1, 0)


def _bits_of(integers: Integers) -> bytes:
    """Return the bits that follow the tokens of ``integers``, the lowest first."""
    n_bits = _n_bits(_token(integers))
    of_each = np.repeat(np.arange(len(integers)), n_bits)
    place = np.arange(len(of_each)) - (np.cumsum(n_bits) - n_bits)[of_each]
    bits = integers[of_each] >> place & 1
    return np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()


def _with_bits(tokens: Integers, reader: PieceReader) -> Integers:
    """Return the integers of ``tokens``, with the bits that come next; the inverse of `_bits_of`."""
    n_bits = _n_bits(tokens)
    bits = reader.bits(int(n_bits.sum()))
    of_each = np.repeat(np.arange(len(tokens)), n_bits)
    place = np.arange(len(of_each)) - (np.cumsum(n_bits) - n_bits)[of_each]
    high = np.where(tokens < _PLAIN, tokens, 4 + (tokens - _PLAIN) % 4) << n_bits
    low = np.zeros(len(tokens), np.int64)
    np.add.at(low, of_each, bits.astype(np.int64) << place)
    integers: Integers = high + low
    return integers


@lru_cache(maxsize=4096)  # of 86,000 that a file may name
def _frequencies(n_tokens: int, stop: int, change: int) -> tuple[int, ...]:
    """Return the frequencies of a table: ``n_tokens`` that are not 0, then zeros.

    Whole numbers throughout, so that every machine has the same.
    """
    odds = 32 * _ODDS[stop % 4] >> stop // 4
    stopping = (65_536 * odds) // (65_536 + odds)
    left, frequencies = WHOLE, []
    for token in range(n_tokens - 1):
        if token in (1, 2, 4) or (token >= _PLAIN and token % 4 == 0):
            stopping = stopping * (21 - change) >> 4
        going_on = 65_536 - min(stopping, _SURE)
        for _ in range(max((token - _PLAIN) // 4 + 1, 0)):
            going_on = going_on * going_on >> 16
        stopped = left - (left * going_on >> 16)
        frequencies.append(min(max(stopped, 1), left - (n_tokens - 1 - token)))
        left -= frequencies[-1]
    frequencies.append(left)
    return (*frequencies, *[0] * (_N_TOKENS - n_tokens))


def _tables(heads: Sequence[Sequence[int]]) -> rans.Tables:
    """Return the tables of lists; one without tokens is never used."""
    return rans.Tables(
        np.array([_frequencies(max(n, 1), stop, change) for n, stop, change in heads], np.int64)
    )


def _frequencies_of_all() -> Integers:
    """Return `_frequencies` of every table of all tokens, ``[stops · changes, tokens]``, at once."""
    stop, change = np.divmod(np.arange(_N_STOPS * _N_CHANGES), _N_CHANGES)
    odds = 32 * np.array(_ODDS)[stop % 4] >> stop // 4
    stopping = (65_536 * odds) // (65_536 + odds)
    left = np.full(len(stop), WHOLE)
    frequencies = np.empty((len(stop), _N_TOKENS), np.int64)
    for token in range(_N_TOKENS - 1):
        if token in (1, 2, 4) or (token >= _PLAIN and token % 4 == 0):
            stopping = stopping * (21 - change) >> 4
        going_on = 65_536 - np.minimum(stopping, _SURE)
        for _ in range(max((token - _PLAIN) // 4 + 1, 0)):
            going_on = going_on * going_on >> 16
        stopped = left - (left * going_on >> 16)
        frequencies[:, token] = np.clip(stopped, 1, left - (_N_TOKENS - 1 - token))
        left -= frequencies[:, token]
    frequencies[:, -1] = left
    return frequencies


@cache
def _costs() -> NDArray[np.float64]:
    """Return the bits of each token under each table of all tokens: ``[stops · changes, tokens]``."""
    costs: NDArray[np.float64] = -np.log2(_frequencies_of_all() / WHOLE)
    return costs


def _head(tokens: Integers) -> tuple[int, int, int]:
    """Return how many tokens there are, and the two numbers that cost about the fewest bits."""
    if not len(tokens):
        return 0, 0, 0
    counts = np.bincount(tokens, minlength=_N_TOKENS)
    best = int(np.argmin(_costs() @ counts))
    return int(tokens.max()) + 1, best // _N_CHANGES, best % _N_CHANGES
