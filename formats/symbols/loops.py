"""Loops of earzip.native over symbols, typed. Only called where `earzip.native.LIBRARY` is not None."""

from __future__ import annotations

from ctypes import c_int64
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earzip import native
from earzip.arrays import Symbols
from earzip.errors import DamagedArchiveError

_INT64, _UINT64 = native.array_of(np.int64), native.array_of(np.uint64)
_INT32, _UINT16, _UINT8 = (native.array_of(each) for each in (np.int32, np.uint16, np.uint8))
_NO_SUCH_TABLE, _TOO_FEW_WORDS, _TOO_FEW_EXCESSES, _NO_MEMORY = -1, -2, -3, -4

_Bytes = NDArray[np.uint8]
_Integers = NDArray[np.int64]
_Words = NDArray[np.uint64]

_TABLES = _UINT16, _UINT64, _UINT64, c_int64, c_int64
_LANES = _UINT64, c_int64, _UINT64
_rans_take = native.loop("rans_take", _INT64, c_int64, *_TABLES, *_LANES, c_int64, c_int64, _INT64)
_levels_take = native.loop(
    "levels_take",
    *(*_TABLES, *_LANES, c_int64),
    *(_INT64, c_int64),
    _INT64,
    *(_INT64, _INT64, c_int64, _INT64),
    *(_INT64, c_int64),
)
_rans_encode = native.loop(
    "rans_encode",
    *(_INT64, _INT64, _INT64, c_int64),
    *(_UINT64, _UINT64, c_int64, c_int64),
    *(_UINT64, c_int64),
    _UINT64,
)
_SPARSE = _INT64, _INT64, c_int64, _UINT8, c_int64
_sparse_fill = native.loop("sparse_fill", *_SPARSE, _INT64, _INT64, _INT32, _INT32, c_int64)
_sparse_classes = native.loop("sparse_classes", *_SPARSE, _INT32, c_int64, _UINT8, _INT64, _INT32)


_context_fill = native.loop(
    "context_fill", _UINT8, c_int64, _INT64, _INT64, _INT32, _INT32, c_int64, c_int64
)


class Passes(NamedTuple):
    """What `sparse` codes of a frame, in its order, and how it puts it into classes."""

    bins: _Integers
    """Those that sound: even ones of mid, odd ones, then those of side."""
    sizes: _Integers
    """Of these four passes, how many bins."""
    n_bins: int
    class_of_sum: _Bytes
    """The last is that of all larger sums too."""

    def arguments(self) -> tuple[_Integers, _Integers, int, _Bytes, int]:
        """Return what functions of earzip.native take."""
        return self.bins, self.sizes, self.n_bins, self.class_of_sum, len(self.class_of_sum) - 1


class Lanes(NamedTuple):
    """States of a decoder, the words it takes, and the tables that say what they are."""

    slots: NDArray[np.uint16]
    """The symbol of each, ``[tables, 4096]``."""
    frequencies: _Words
    """``[tables, symbols]``."""
    starts: _Words
    states: _Words
    words: _Words

    def arguments(self) -> tuple[Any, ...]:
        """Return what functions of earzip.native take, up to the words."""
        assert self.slots.size == 4096 * len(self.frequencies)
        tables = self.slots, self.frequencies, self.starts, *self.frequencies.shape
        return *tables, self.states, len(self.states), self.words


def rans_take(numbers: _Integers, lanes: Lanes, first_word: int) -> tuple[_Integers, int]:
    """Return the next symbols, as `rans.Decoder.take` does, and which word comes next.

    States change. Raises DamagedArchiveError where there are too few words.
    """
    symbols = np.empty(len(numbers), np.int64)
    contiguous = np.ascontiguousarray(numbers)
    next_word = _rans_take(
        *(contiguous, len(numbers), *lanes.arguments()), first_word, len(lanes.words), symbols
    )
    _require(next_word)
    return symbols, next_word


def levels_take(
    lanes: Lanes,
    excesses: _Integers,
    class_of: _Integers,
    rows: _Integers,
    frames: _Integers,
    residuals: _Integers,
) -> tuple[int, int]:
    """Write the residuals of ``rows`` of levels; return how many words and excesses that took.

    ``rows``: ``[rows, 5]``, of each its first table, its channel, whether the channel below gives its
    class, where its frames begin in ``frames``, how many they are; ``residuals`` ``[channels, F]`` are 0.
    Raises DamagedArchiveError where there are too few words or excesses.
    """
    taken = np.zeros(2, np.int64)
    result = _levels_take(
        *(*lanes.arguments(), len(lanes.words)),
        *(excesses, len(excesses)),
        taken,
        *(class_of, rows, len(rows), frames),
        *(residuals, residuals.shape[1]),
    )
    _require(result)
    return int(taken[0]), int(taken[1])


def rans_encode(
    symbols: _Integers,
    numbers: _Integers,
    lengths: _Integers,
    frequencies: _Words,
    starts: _Words,
    states: _Words,
) -> _Words:
    """Return the words of symbols in parts of these ``lengths``; ``states`` ``[lanes]`` change."""
    assert len(symbols) == len(numbers) == lengths.sum()
    words = np.empty(len(symbols), np.uint64)
    n_words = _rans_encode(
        *(symbols, numbers, lengths, len(lengths)),
        *(frequencies, starts, *frequencies.shape),
        *(states, len(states)),
        words,
    )
    _require(n_words)
    return words[len(words) - n_words :]


def _require(result: int) -> None:
    """Raise what a function of earzip.native returned, if that is no number from 0."""
    if result == _TOO_FEW_WORDS:
        raise DamagedArchiveError("segment has too few words")
    if result == _TOO_FEW_EXCESSES:
        raise DamagedArchiveError("segment has too few excesses of levels")
    if result == _NO_SUCH_TABLE:
        raise IndexError("a symbol is in no table")
    if result == _NO_MEMORY:
        raise MemoryError


def sparse_fill(
    passes: Passes, runs: list[_Integers], values: NDArray[np.int32], symbols: Symbols
) -> int:
    """Write integers into ``symbols`` ``[S, F]``, which are 0; return how many have no place there.

    ``values``: those that are not 0, class after class; ``runs``: the zeros of its class before each.
    """
    counts = np.array([len(each) for each in runs], np.int64)
    assert counts.sum() == len(values)
    joined = np.concatenate(runs)
    n_left = _sparse_fill(*passes.arguments(), counts, joined, values, symbols, symbols.shape[1])
    _require(n_left)
    return n_left


def context_fill(
    class_of_sum: _Bytes, runs: list[_Integers], values: NDArray[np.int32], symbols: Symbols
) -> int:
    """Do as `sparse_fill`, for `context`: all channels of ``symbols`` ``[n, F]`` sound."""
    counts = np.array([len(each) for each in runs], np.int64)
    assert counts.sum() == len(values)
    joined = np.concatenate(runs)
    n_left = _context_fill(
        *(class_of_sum, len(class_of_sum) - 1, counts, joined, values), symbols, *symbols.shape
    )
    _require(n_left)
    return n_left


def sparse_classes(passes: Passes, symbols: Symbols) -> tuple[_Bytes, _Integers, NDArray[np.int32]]:
    """Return the class of each integer, the zeros of that class before it, and the integer itself.

    They are all that are not 0 in ``symbols`` ``[S, F]``, in the order of coding.
    """
    n = int(np.count_nonzero(symbols))
    classes, runs, values = np.empty(n, np.uint8), np.empty(n, np.int64), np.empty(n, np.int32)
    n_found = _sparse_classes(*passes.arguments(), symbols, symbols.shape[1], classes, runs, values)
    _require(n_found)
    return classes, runs, values
