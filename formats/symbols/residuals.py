"""Residuals of levels to symbols and back, and the tables that say how frequent each is.

A table is of a two-sided geometric distribution, which three numbers give.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earzip.errors import DamagedArchiveError
from earzip.formats.symbols import loops, rans
from earzip.formats.symbols.packed import PieceReader
from earzip.formats.symbols.rans import WHOLE, Integers, Words

REACH = 8
"""Residuals are coded within ±8; what they have beyond that follows apart."""
MAX_LANES = 32
_N_VALUES = 2 * REACH + 1
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


class Residuals(NamedTuple):
    """Residuals ``[n]`` or ``[rows, n]``, of any size, and by which table each is coded."""

    values: Integers
    numbers: Integers

    def coded(self) -> rans.Coded:
        """Return their symbols, from 0 for −8, and tables."""
        return rans.Coded(np.clip(self.values, -REACH, REACH) + REACH, self.numbers)

    def beyond(self) -> Integers:
        """Return what the residuals of ±8 and more have beyond that."""
        sizes = np.abs(self.values)
        return sizes[sizes >= REACH] - REACH


class ResidualTables(rans.Tables):
    """Frequencies of the residuals −8 to 8, none of them 0."""

    def __init__(self, numbers: NDArray[np.uint8]) -> None:
        """``numbers``: ``[tables, 3]``, each 0 to 15: zeros, positive ones, decay."""
        self._numbers = numbers
        frequencies = [_frequencies(*each) for each in numbers.tolist()]
        super().__init__(np.array(frequencies, np.int64).reshape(-1, _N_VALUES))

    @classmethod
    def of(cls, residuals: Sequence[Residuals], n_tables: int) -> ResidualTables:
        """Return the tables under which ``residuals`` take about the fewest bits."""
        counts = np.zeros((n_tables, _N_VALUES), np.int64)
        for each in residuals:
            coded = each.coded()
            at = coded.numbers * _N_VALUES + coded.symbols
            counts += np.bincount(at.ravel(), minlength=counts.size).reshape(counts.shape)
        return cls(np.array([_nearest(each) for each in counts], np.uint8))

    def to_bytes(self) -> bytes:
        """Return the numbers of all tables, a nibble each, the inverse of `read`."""
        nibbles = np.pad(self._numbers.ravel(), (0, self._numbers.size % 2))
        return (nibbles[::2] | nibbles[1::2] << 4).astype(np.uint8).tobytes()

    @classmethod
    def read(cls, reader: PieceReader, n_tables: int) -> ResidualTables:
        """Return the tables that come next."""
        n_numbers = 3 * n_tables
        packed = reader.take(-(-n_numbers // 2))
        nibbles = np.stack([packed & 15, packed >> 4], 1).ravel()
        if nibbles[n_numbers:].any():
            raise DamagedArchiveError("segment has numbers beyond its last table")
        return cls(nibbles[:n_numbers].reshape(-1, 3))


class ResidualDecoder:
    """Takes residuals from words and excesses."""

    def __init__(
        self, tables: ResidualTables, states: Words, words: Words, beyond: Integers
    ) -> None:
        self._decoder = rans.Decoder(tables, states, words)
        self._beyond, self._n_beyond = beyond, 0

    def take(self, numbers: Integers) -> Integers:
        """Return the next residuals, whose tables have these numbers."""
        values = self._decoder.take(numbers) - REACH
        at = np.flatnonzero(np.abs(values) == REACH)
        beyond = self._beyond[self._n_beyond : self._n_beyond + len(at)]
        if len(beyond) < len(at):
            raise DamagedArchiveError("segment has too few excesses of levels")
        values[at] += np.sign(values[at]) * beyond
        self._n_beyond += len(at)
        return values

    def take_rows(
        self, class_of: Integers, rows: Integers, frames: Integers, residuals: Integers
    ) -> None:
        """Write all there is of ``rows`` into ``residuals``, as `loops.levels_take` says."""
        n_words, self._n_beyond = loops.levels_take(
            self._decoder.lanes(), self._beyond, class_of, rows, frames, residuals
        )
        self._decoder.skip(n_words)

    def finish(self) -> None:
        """Raise DamagedArchiveError where words or excesses are left over."""
        self._decoder.finish()
        if self._n_beyond < len(self._beyond):
            raise DamagedArchiveError("segment has excesses of levels left over")


def n_lanes_for(n_frames: int) -> int:
    """Return how many states to code side by side, the fewest that a reader takes.

    Each costs four bytes and saves time: with one alone a hostile archive would keep a reader busy.
    """
    return max(1, min(MAX_LANES, -(-n_frames // _FRAMES_A_LANE)))


@cache  # of 4096
def _frequencies(zeros: int, positive: int, decay: int) -> tuple[int, ...]:
    """Return the frequencies of −8 to 8 that three numbers of a table stand for."""
    others = WHOLE - _ZEROS[zeros]
    of_positive = min(max(others * _POSITIVE[positive] >> 12, REACH), others - REACH)
    up, down = (_side(n, decay) for n in (of_positive, others - of_positive))
    return (*reversed(down), _ZEROS[zeros], *up)


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
    share_of_zeros = WHOLE * (zeros + 2) / (zeros + n_down + n_up + 4)
    share_of_up = WHOLE * (n_up + 2) / (n_up + n_down + 4)
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
