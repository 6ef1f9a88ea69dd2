"""Integers of the latents of a `LevelVae` that are not coefficients: their choice and their cost.

Levels, balance and width are coded as differences from the frame before, a course as differences from
the block before, each under adaptive counts in a context of integers that a reader knows before it. The
cost is the ideal length of an adaptive arithmetic code that knows nothing at a track's beginning; nothing
writes it yet.
Integers are chosen one after another at the least squared error (in steps) plus `THRIFT` times bits.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from earzip.network.config import LevelConfig

THRIFT = 0.1
"""Squared steps of error that a bit is worth."""
_ESCAPE = 9  # greater differences are coded as this and a number
_Floats = NDArray[np.float32]
_Integers = NDArray[np.int64]


class _Counts:
    """Adaptive counts of values −9 to 9 by context."""

    def __init__(self) -> None:
        self._tables: dict[tuple[int, ...], list[float]] = {}

    def table(self, context: tuple[int, ...]) -> list[float]:
        found = self._tables.get(context)
        if found is None:
            # A start that is narrow about 0, worth a dozen integers; its sum comes last.
            start = [6.0 * 0.45 ** abs(v) for v in range(-_ESCAPE, _ESCAPE + 1)]
            found = self._tables[context] = [*start, sum(start)]
        return found

    @staticmethod
    def bits(table: list[float], value: int) -> float:
        size = abs(value)
        if size >= _ESCAPE:
            index = 0 if value < 0 else 2 * _ESCAPE
            return math.log2(table[-1] / table[index]) + 2 * math.log2(size - _ESCAPE + 2)
        return math.log2(table[-1] / table[value + _ESCAPE])

    @staticmethod
    def learn(table: list[float], value: int) -> None:
        table[max(-_ESCAPE, min(_ESCAPE, value)) + _ESCAPE] += 1
        table[-1] += 1
        if table[-1] > 400:
            for i in range(len(table)):
                table[i] *= 0.5


def _choose(table: list[float], wanted: float, predicted: int, thrift: float) -> tuple[int, float]:
    """Return the integer for ``wanted``, coded as its difference from ``predicted``, and its bits."""
    nearest = math.floor(wanted + 0.5)
    toward = nearest + (1 if predicted > nearest else -1 if predicted < nearest else 0)
    best, least, paid = nearest, math.inf, 0.0
    for candidate in {nearest, toward, predicted if abs(predicted - wanted) < 1.6 else nearest}:
        bits = _Counts.bits(table, candidate - predicted)
        cost = (wanted - candidate) ** 2 + thrift * bits
        if cost < least:
            best, least, paid = candidate, cost, bits
    _Counts.learn(table, best - predicted)
    return best, paid


def _clip(value: int, most: int) -> int:
    return max(-most, min(most, value))


def choose_rest(
    rest: _Floats, steps: _Floats, config: LevelConfig, thrift: float = THRIFT
) -> tuple[_Integers, dict[str, float]]:
    """Return integers ``[D', F]`` for latents ``rest`` ``[D', F]``, and bits by kind.

    D' are the latents behind the coefficients, in the order of `LevelConfig.layout`; ``steps``: ``[D']``.
    """
    kinds = [kind for kind in config.layout if kind != "coefficients"]
    ends = np.cumsum([0, *(config.layout[kind] for kind in kinds)])
    of = {kind: slice(a, b) for kind, a, b in zip(kinds, ends, ends[1:], strict=False)}
    scaled = rest / steps[:, None]
    q = np.zeros(rest.shape, np.int64)
    bits: dict[str, float] = {}
    for kind in ("levels", "balance", "width"):
        q[of[kind]], bits[kind] = _tracked(scaled[of[kind]], thrift)
    is_attack = (scaled[of["course"]] != 0).any(0)
    q[of["halves"]], bits["halves"] = _halves(
        scaled[of["halves"]], q[of["levels"]], ~is_attack, config.n_levels, thrift
    )
    q[of["course"]], bits["course"] = _courses(
        scaled[of["course"]], is_attack, config.n_blocks, thrift
    )
    bits["course"] += _flag_bits(is_attack[None])
    for kind in ("tonal", "short"):
        q[of[kind]] = np.rint(scaled[of[kind]])
        bits[kind] = _flag_bits(scaled[of[kind]] > 0)
    return q, bits


def _tracked(scaled: _Floats, thrift: float) -> tuple[_Integers, float]:
    """Choose integers of bands ``[n, F]``, each coded from the frame before and the band below."""
    counts, total = _Counts(), 0.0
    q = np.zeros(scaled.shape, np.int64)
    n = len(scaled)
    before = [0] * n
    for t in range(scaled.shape[1]):
        now = [0] * n
        column = scaled[:, t].tolist()
        lower = 0
        for b in range(n):
            above = _clip(before[b + 1] - before[b], 1) if b < n - 1 else 0
            below = _clip(now[b - 1] - before[b], 1) if b else 0
            context = (_clip(lower, 2), above, below, int(t == 0))
            predicted = before[b] if t else (now[b - 1] if b else 0)
            now[b], bits = _choose(counts.table(context), column[b], predicted, thrift)
            total += bits
            lower = now[b] - before[b]
        q[:, t] = now
        before = now
    return q, total


def _halves(
    scaled: _Floats, levels: _Integers, told: NDArray[np.bool_], n: int, thrift: float
) -> tuple[_Integers, float]:
    counts, total = _Counts(), 0.0
    q = np.zeros(scaled.shape, np.int64)
    moved = np.diff(levels[:n], axis=1, prepend=levels[:n, :1], append=levels[:n, -1:])
    rising = np.clip(moved[:, :-1] + moved[:, 1:], -3, 3)  # over the frame: a frame's lookahead
    for t in np.flatnonzero(told):
        lower = 0
        for b in range(n):
            context = (_clip(lower, 2), int(rising[b, t]))
            q[b, t], bits = _choose(counts.table(context), float(scaled[b, t]), 0, thrift)
            lower = int(q[b, t])
            total += bits
    return q, total


def _courses(
    scaled: _Floats, told: NDArray[np.bool_], n_blocks: int, thrift: float
) -> tuple[_Integers, float]:
    counts, total = _Counts(), 0.0
    q = np.zeros(scaled.shape, np.int64)
    n_bands = len(scaled) // n_blocks
    for t in np.flatnonzero(told):
        before = [0] * n_bands
        for j in range(n_blocks):
            lower = 0
            for b in range(n_bands):
                i = j * n_bands + b
                context = (_clip(lower, 3), int(j == 0), int(b == 0))
                q[i, t], bits = _choose(
                    counts.table(context), float(scaled[i, t]), before[b], thrift
                )
                lower = int(q[i, t]) - before[b]
                before[b] = int(q[i, t])
                total += bits
    return q, total


def _flag_bits(flags: NDArray[np.bool_]) -> float:
    """Return the bits of flags ``[n, F]``, each coded from those below it and before it."""
    ones: dict[tuple[bool, bool], list[float]] = {}
    total = 0.0
    for b in range(len(flags)):
        for t in range(flags.shape[1]):
            context = (bool(b and flags[b - 1, t]), bool(t and flags[b, t - 1]))
            seen = ones.setdefault(context, [0.4, 0.4])
            value = int(flags[b, t])
            total += math.log2((seen[0] + seen[1]) / seen[value])
            seen[value] += 1
    return total
