"""Small integers to 16-bit words and back, in the bits that their tables of frequencies say.

Range asymmetric numeral systems (Duda, arXiv 1311.2540), with several states side by side; each state is
a whole number of 32 bits. A table is of a two-sided geometric distribution, which three numbers give.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earzip.errors import DamagedArchiveError
from earzip.formats.symbols.packed import PieceReader

REACH = 8
"""Values are coded within ±8; what they have beyond that follows apart."""
MAX_LANES = 32
_N_VALUES = 2 * REACH + 1
_WHOLE = 4096  # that frequencies of a table add up to
_TABLE_BITS, _WORD_BITS, _FULL_BITS = np.uint64(12), np.uint64(16), np.uint64(20)
_SLOT, _WORD = np.uint64(0xFFF), np.uint64(0xFFFF)
_LEAST_STATE = np.uint64(1 << 16)
_FRAMES_A_LANE = 32

# What the numbers of a table stand for, in 4096ths: the share of zeros, and that of positive residuals
# among the others. Even steps of log odds.
_ZEROS = (
    180,
    305,
    506,
    810,
    1235,
    1763,
    2333,
    2861,
    3286,
    3590,
    3791,
    3916,
    3991,
    4035,
    4061,
    4064,
)
_POSITIVE = (
    136,
    209,
    318,
    478,
    702,
    1004,
    1382,
    1819,
    2277,
    2714,
    3092,
    3394,
    3618,
    3778,
    3887,
    3960,
)
_DECAYS = 16  # each magnitude is so many sixteenths as frequent as the one below it

Integers = NDArray[np.int64]
Words = NDArray[np.uint64]


class Coded(NamedTuple):
    """Values ``[n]``, of any size, and by which table each is coded."""

    values: Integers
    numbers: Integers

    def symbols(self) -> Integers:
        """Return the places of the values in their tables."""
        return np.clip(self.values, -REACH, REACH) + REACH

    def beyond(self) -> Integers:
        """Return what the values of ±8 and more have beyond that."""
        sizes = np.abs(self.values)
        return sizes[sizes >= REACH] - REACH


class Tables:
    """Frequencies of the values −8 to 8, of 4096, none of them 0."""

    def __init__(self, numbers: NDArray[np.uint8]) -> None:
        """``numbers``: ``[tables, 3]``, each 0 to 15: zeros, positive ones, decay."""
        self._numbers = numbers
        frequencies = [_frequencies(*each) for each in numbers.tolist()]
        self.frequencies = np.array(frequencies, np.uint64).reshape(-1, _N_VALUES)
        self.starts = np.cumsum(self.frequencies, 1, dtype=np.uint64) - self.frequencies

    @classmethod
    def of(cls, coded: Sequence[Coded], n_tables: int) -> Tables:
        """Return the tables under which ``coded`` takes about the fewest bits."""
        counts = np.zeros((n_tables, _N_VALUES), np.int64)
        for each in coded:
            np.add.at(counts, (each.numbers, each.symbols()), 1)
        return cls(np.array([_nearest(each) for each in counts], np.uint8))

    def to_bytes(self) -> bytes:
        """Return the numbers of all tables, a nibble each, the inverse of `read`."""
        nibbles = np.pad(self._numbers.ravel(), (0, self._numbers.size % 2))
        return (nibbles[::2] | nibbles[1::2] << 4).astype(np.uint8).tobytes()

    @classmethod
    def read(cls, reader: PieceReader, n_tables: int) -> Tables:
        """Return the tables that come next."""
        n_numbers = 3 * n_tables
        packed = reader.take(-(-n_numbers // 2))
        nibbles = np.stack([packed & 15, packed >> 4], 1).ravel()
        if nibbles[n_numbers:].any():
            raise DamagedArchiveError("segment has numbers beyond its last table")
        return cls(nibbles[:n_numbers].reshape(-1, 3))

    def symbols(self) -> Integers:
        """Return which of the values, from 0, each 4096th of a table stands for: ``[tables, 4096]``."""
        values, counts = np.arange(_N_VALUES), self.frequencies.astype(np.int64)
        repeated = [np.repeat(values, each) for each in counts]
        return np.array(repeated, np.int64).reshape(-1, _WHOLE)


def _frequencies(zeros: int, positive: int, decay: int) -> list[int]:
    """Return the frequencies of −8 to 8 that three numbers of a table stand for."""
    others = _WHOLE - _ZEROS[zeros]
    of_positive = min(max(others * _POSITIVE[positive] >> 12, REACH), others - REACH)
    up, down = (_side(n, decay) for n in (of_positive, others - of_positive))
    return [*reversed(down), _ZEROS[zeros], *up]


def _side(total: int, decay: int) -> list[int]:
    """Return the frequencies of the magnitudes 1 to 8, which add up to ``total``, 8 or more."""
    frequencies = []
    for magnitude in range(1, REACH):
        most = total - (REACH - magnitude)  # one at least is left for each that follows
        frequencies.append(min(max(total * (_DECAYS - decay) // _DECAYS, 1), most))
        total -= frequencies[-1]
    return [*frequencies, total]


def _nearest(counts: Integers) -> tuple[int, int, int]:
    """Return the numbers of the table under which ``counts`` ``[17]`` of −8 to 8 take fewest bits."""
    down, zeros, up = counts[REACH - 1 :: -1], int(counts[REACH]), counts[REACH + 1 :]
    n_down, n_up = int(down.sum()), int(up.sum())
    # Starts with two of each, so that one residual alone makes no extreme table.
    share_of_zeros = _WHOLE * (zeros + 2) / (zeros + n_down + n_up + 4)
    share_of_up = _WHOLE * (n_up + 2) / (n_up + n_down + 4)
    # Of a geometric distribution: the share of those that go on to the next magnitude. At the last one
    # it is not known who would have.
    n_steps = int(((up + down) * np.arange(REACH)).sum())
    n_stops = int((up + down)[:-1].sum())
    going_on = _DECAYS * (n_steps + 0.5) / (n_steps + n_stops + 2)
    nearest = [
        int(np.argmin(np.abs(np.array(each) - share)))
        for each, share in ((_ZEROS, share_of_zeros), (_POSITIVE, share_of_up))
    ]
    return nearest[0], nearest[1], min(round(going_on), _DECAYS - 1)


def n_lanes_for(n_frames: int) -> int:
    """Return how many states to code side by side, the fewest that a reader takes.

    Each costs four bytes and saves time: with one alone a hostile archive would keep a reader busy.
    """
    return max(1, min(MAX_LANES, -(-n_frames // _FRAMES_A_LANE)))


def encode(coded: Sequence[Coded], tables: Tables, n_lanes: int) -> tuple[Words, Words]:
    """Return the states ``[lanes]`` that a reader begins with, and the words it takes."""
    states = np.full(n_lanes, _LEAST_STATE, np.uint64)
    taken: list[Words] = []
    # A reader takes what was written last first.
    for each in reversed(coded):
        at = each.numbers, each.symbols()
        frequencies, starts = tables.frequencies[at], tables.starts[at]
        for first in reversed(range(0, len(frequencies), n_lanes)):
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
    """Takes values from words, the inverse of `encode`."""

    def __init__(self, tables: Tables, states: Words, words: Words, beyond: Integers) -> None:
        if np.any(states < _LEAST_STATE):
            raise DamagedArchiveError("segment begins in a state that no writer leaves")
        # By table and slot together, on one axis: what is taken most often, in one look each.
        at = np.arange(len(tables.frequencies))[:, None], tables.symbols()
        self._symbols = at[1].ravel()
        self._frequencies = tables.frequencies[at].ravel()
        self._within = (np.arange(_WHOLE, dtype=np.uint64) - tables.starts[at]).ravel()
        self._states, self._words, self._beyond = states.copy(), words, beyond
        self._n_words = self._n_beyond = 0

    def take(self, numbers: Integers) -> Integers:
        """Return the next values, whose tables have these numbers."""
        symbols = np.empty(len(numbers), np.int64)
        first_slots = numbers.astype(np.uint64) << _TABLE_BITS
        for first in range(0, len(numbers), len(self._states)):
            slots = first_slots[first : first + len(self._states)]
            symbols[first : first + len(slots)] = self._step(slots)
        values = symbols - REACH
        at = np.flatnonzero(np.abs(values) == REACH)
        beyond = self._beyond[self._n_beyond : self._n_beyond + len(at)]
        if len(beyond) < len(at):
            raise DamagedArchiveError("segment has too few excesses of levels")
        values[at] += np.sign(values[at]) * beyond
        self._n_beyond += len(at)
        return values

    def _step(self, first_slots: Words) -> Integers:
        """Return the next value of each of the first lanes, whose tables begin at these slots."""
        state = self._states[: len(first_slots)]
        slot = (first_slots + (state & _SLOT)).view(np.int64)
        symbols: Integers = self._symbols[slot]
        state = self._frequencies[slot] * (state >> _TABLE_BITS) + self._within[slot]
        is_low = state < _LEAST_STATE
        n_low = int(np.count_nonzero(is_low))
        if n_low:
            words = self._words[self._n_words : self._n_words + n_low]
            self._n_words += n_low
            if self._n_words > len(self._words):
                raise DamagedArchiveError("segment has too few words of levels")
            state[is_low] = (state[is_low] << _WORD_BITS) | words
        self._states[: len(state)] = state
        return symbols

    def finish(self) -> None:
        """Raise DamagedArchiveError where words or excesses are left over."""
        if self._n_words < len(self._words) or np.any(self._states != _LEAST_STATE):
            raise DamagedArchiveError("segment's levels do not end where its words do")
        if self._n_beyond < len(self._beyond):
            raise DamagedArchiveError("segment has excesses of levels left over")
