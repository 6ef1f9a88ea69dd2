"""Symbols to 16-bit words and back, in the bits that tables of frequencies say.

Range asymmetric numeral systems (Duda, arXiv 1311.2540), with several states side by side; each state is
a whole number of 32 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earzip import native
from earzip.errors import DamagedArchiveError
from earzip.formats.symbols import loops

WHOLE = 4096
"""That frequencies of a table add up to."""
_TABLE_BITS, _WORD_BITS, _FULL_BITS = np.uint64(12), np.uint64(16), np.uint64(20)
_SLOT, _WORD = np.uint64(0xFFF), np.uint64(0xFFFF)
_LEAST_STATE = np.uint64(1 << 16)

Integers = NDArray[np.int64]
Words = NDArray[np.uint64]


class Coded(NamedTuple):
    """Symbols ``[n]`` from 0, or several rows ``[rows, n]``, and by which table each is coded.

    The first of a row is coded by the first lane.
    """

    symbols: Integers
    numbers: Integers


class Tables:
    """Frequencies of symbols, ``[tables, symbols]``: those of a table add up to `WHOLE`."""

    def __init__(self, frequencies: Integers) -> None:
        self.frequencies = np.ascontiguousarray(frequencies, np.uint64)
        self.starts = np.cumsum(self.frequencies, 1, dtype=np.uint64) - self.frequencies

    def symbols(self) -> NDArray[np.uint16]:
        """Return which symbol each 4096th of a table stands for: ``[tables, 4096]``."""
        n_tables, n_symbols = self.frequencies.shape
        values = np.tile(np.arange(n_symbols, dtype=np.uint16), n_tables)
        counts = self.frequencies.ravel().astype(np.int64)
        return np.repeat(values, counts).reshape(n_tables, WHOLE)


def encode(coded: Sequence[Coded], tables: Tables, n_lanes: int) -> tuple[Words, Words]:
    """Return the states ``[lanes]`` that a reader begins with, and the words it takes."""
    states = np.full(n_lanes, _LEAST_STATE, np.uint64)
    if native.LIBRARY is not None:
        none = np.zeros(0, np.int64)
        symbols = np.concatenate([none, *(each.symbols.ravel() for each in coded)])
        numbers = np.concatenate([none, *(each.numbers.ravel() for each in coded)])
        shapes = [np.atleast_2d(each.symbols).shape for each in coded]
        lengths = np.concatenate([none, *(np.full(rows, n) for rows, n in shapes)])
        return states, loops.rans_encode(
            symbols, numbers, lengths, tables.frequencies, tables.starts, states
        )
    taken: list[Words] = []
    # A reader takes what was written last first.
    rows = [row for each in coded for row in zip(*map(np.atleast_2d, each), strict=True)]
    for symbols, numbers in reversed(rows):
        at = numbers, symbols
        frequencies, starts = tables.frequencies[at], tables.starts[at]
        for first in reversed(range(0, len(frequencies), n_lanes or 1)):
            frequency, start = (x[first : first + n_lanes] for x in (frequencies, starts))
            state = states[: len(frequency)]
            is_full = state >= frequency << _FULL_BITS
            if is_full.any():
                taken.append(state[is_full] & _WORD)
                state = np.where(is_full, state >> _WORD_BITS, state)
            quotient, remainder = np.divmod(state, frequency)
            states[: len(frequency)] = (quotient << _TABLE_BITS) + remainder + start
    return states, np.concatenate([np.zeros(0, np.uint64), *reversed(taken)])


class Decoder:
    """Takes symbols from words, the inverse of `encode`."""

    def __init__(self, tables: Tables, states: Words, words: Words) -> None:
        if np.any(states < _LEAST_STATE):
            raise DamagedArchiveError("segment begins in a state that no writer leaves")
        self._tables, self._slots = tables, tables.symbols()
        self._states, self._words = states.copy(), words
        self._n_words = 0

    def take(self, numbers: Integers) -> Integers:
        """Return the next symbols, whose tables have these numbers."""
        if native.LIBRARY is not None:
            symbols, self._n_words = loops.rans_take(numbers, self.lanes(), self._n_words)
            return symbols
        symbols = np.empty(len(numbers), np.int64)
        first_slots = numbers.astype(np.uint64) << _TABLE_BITS
        for first in range(0, len(numbers), len(self._states)):
            slots = first_slots[first : first + len(self._states)]
            symbols[first : first + len(slots)] = self._step(slots)
        return symbols

    def lanes(self) -> loops.Lanes:
        """Return the decoder as `loops` takes it."""
        tables = self._tables
        return loops.Lanes(
            self._slots, tables.frequencies, tables.starts, self._states, self._words
        )

    def skip(self, n_words: int) -> None:
        """Go on behind so many words, which `loops` took."""
        self._n_words += n_words

    @cached_property
    def _by_slot(self) -> tuple[Integers, Words, Words]:
        """The symbol of each slot, its frequency, and how far into it the slot is."""
        at = np.arange(len(self._slots))[:, None], self._slots
        within = np.arange(WHOLE, dtype=np.uint64) - self._tables.starts[at]
        frequencies = self._tables.frequencies[at]
        return self._slots.ravel().astype(np.int64), frequencies.ravel(), within.ravel()

    def _step(self, first_slots: Words) -> Integers:
        """Return the next symbol of each of the first lanes, whose tables begin at these slots."""
        state = self._states[: len(first_slots)]
        slot = (first_slots + (state & _SLOT)).view(np.int64)
        symbols, frequencies, within = self._by_slot
        state = frequencies[slot] * (state >> _TABLE_BITS) + within[slot]
        is_low = state < _LEAST_STATE
        n_low = int(np.count_nonzero(is_low))
        if n_low:
            words = self._words[self._n_words : self._n_words + n_low]
            self._n_words += n_low
            if self._n_words > len(self._words):
                raise DamagedArchiveError("segment has too few words")
            state[is_low] = (state[is_low] << _WORD_BITS) | words
        self._states[: len(state)] = state
        return symbols[slot]

    def finish(self) -> None:
        """Raise DamagedArchiveError where words are left over."""
        if self._n_words < len(self._words) or np.any(self._states != _LEAST_STATE):
            raise DamagedArchiveError("segment's symbols do not end where its words do")
