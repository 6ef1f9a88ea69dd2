"""Loops of native.c over symbols, typed. Only called where `earzip.native.LIBRARY` is not None."""

from __future__ import annotations

from ctypes import c_int64
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earzip import native
from earzip.arrays import Symbols
from earzip.errors import DamagedArchiveError

_INT64, _UINT64 = native.array_of(np.int64), native.array_of(np.uint64)
_INT32, _UINT16, _UINT8 = (native.array_of(each) for each in (np.int32, np.uint16, np.uint8))
_NO_SUCH_TABLE, _TOO_FEW_WORDS, _NO_MEMORY = -1, -2, -1

_Bytes = NDArray[np.uint8]
_Integers = NDArray[np.int64]
_Words = NDArray[np.uint64]

_rans_take = native.loop(
    "rans_take",
    *(_INT64, c_int64),
    *(_UINT16, _UINT64, _UINT64, c_int64, c_int64),
    *(_UINT64, c_int64),
    *(_UINT64, c_int64, c_int64),
    _INT64,
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
        """Return what functions of native.c take."""
        return self.bins, self.sizes, self.n_bins, self.class_of_sum, len(self.class_of_sum) - 1


def rans_take(
    numbers: _Integers,
    slots: NDArray[np.uint16],
    frequencies: _Words,
    starts: _Words,
    states: _Words,
    words: _Words,
    first_word: int,
) -> tuple[_Integers, int]:
    """Return the next symbols, as `rans.Decoder.take` does, and which word comes next.

    ``slots``: the symbol of each, ``[tables, 4096]``; ``frequencies`` and ``starts``: ``[tables,
    symbols]``; ``states`` ``[lanes]`` change. Raises DamagedArchiveError where there are too few words.
    """
    symbols = np.empty(len(numbers), np.int64)
    assert slots.size == 4096 * len(frequencies)
    next_word = _rans_take(
        *(np.ascontiguousarray(numbers), len(numbers)),
        *(slots, frequencies, starts, *frequencies.shape),
        *(states, len(states)),
        *(words, first_word, len(words)),
        symbols,
    )
    if next_word == _TOO_FEW_WORDS:
        raise DamagedArchiveError("segment has too few words")
    _require_table(next_word)
    return symbols, next_word


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
    _require_table(n_words)
    return words[len(words) - n_words :]


def _require_table(result: int) -> None:
    if result == _NO_SUCH_TABLE:
        raise IndexError("a symbol is in no table")


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
    if n_left == _NO_MEMORY:
        raise MemoryError
    return n_left


def sparse_classes(passes: Passes, symbols: Symbols) -> tuple[_Bytes, _Integers, NDArray[np.int32]]:
    """Return the class of each integer, the zeros of that class before it, and the integer itself.

    They are all that are not 0 in ``symbols`` ``[S, F]``, in the order of coding.
    """
    n = int(np.count_nonzero(symbols))
    classes, runs, values = np.empty(n, np.uint8), np.empty(n, np.int64), np.empty(n, np.int32)
    n_found = _sparse_classes(*passes.arguments(), symbols, symbols.shape[1], classes, runs, values)
    if n_found == _NO_MEMORY:
        raise MemoryError
    return classes, runs, values
