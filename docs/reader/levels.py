"""Reads the integers of segments whose symbol coding is `levels-1`.

Words in brackets are headings of SPEC.md, and paragraphs of its section levels-1.
"""

import numpy as np

CLASSES = [1, 2, 4, 7, 11, 16, 24, 36, 54, 80, 120]  # of sums of magnitudes
O = [65536, 55109, 46341, 38968]  # noqa: E741  # as SPEC.md names it
Z = [180, 305, 506, 810, 1235, 1763, 2333, 2861, 3286, 3590, 3791, 3916, 3991, 4035, 4061, 4064]
P = [136, 209, 318, 478, 702, 1004, 1382, 1819, 2277, 2714, 3092, 3394, 3618, 3778, 3887, 3960]
CLASS_OF = np.array([0, 1, 1, 2, 3, 4, 5, 5, 6])  # of the residuals −4 to 4


def read_levels(raw, n_channels, n_frames):
    """Return the integers [channels, frames] of [levels-1]."""
    coefficients = read_coefficients(raw, n_frames)
    levels = read_groups(raw, n_channels - len(coefficients), n_frames)
    return np.concatenate([coefficients, levels])


class Lanes:
    """States that give symbols in turn, by tables of frequencies that add up to 4096 [Levels]."""

    def __init__(self, tables, states, words):
        self.q = np.array(tables)
        self.h = np.cumsum(self.q, 1) - self.q
        self.symbols = np.array([np.repeat(np.arange(len(each)), each) for each in self.q])
        self.states, self.words = states.copy(), words

    def take(self, tables):
        """Return the next symbols, from 0, whose tables are so numbered; the first is of lane 0."""
        symbols = np.zeros(len(tables), np.int64)
        for at in range(0, len(tables), len(self.states)):
            table = tables[at : at + len(self.states)]
            state = self.states[: len(table)]
            slot = state % 4096
            symbol = self.symbols[table, slot]
            state = self.q[table, symbol] * (state // 4096) + slot - self.h[table, symbol]
            low = np.flatnonzero(state < 65536)
            taken, self.words = self.words[: len(low)], self.words[len(low) :]
            state[low] = 65536 * state[low] + taken
            self.states[: len(table)] = state
            symbols[at : at + len(table)] = symbol
        return symbols


def read_coefficients(raw, n_frames):
    """Return the integers [sparse channels, frames] of [Coefficients]."""
    n_sparse = int(raw.take(1, "<u2")[0])
    n_bins = -(-n_sparse // 2)
    sounds = np.zeros(2 * n_bins, bool)
    sounds[:n_sparse] = raw.bits(n_sparse)
    counts = raw.take(12, "<u4")
    lists = read_lists(raw, [*counts, *counts])
    negative = raw.bits(int(counts.sum()))
    streams = []  # of each class: all its integers, in order
    for runs, magnitudes in zip(lists[:12], lists[12:], strict=True):
        own, negative = negative[: len(runs)], negative[len(runs) :]
        streams.append(np.zeros(int(sounds.sum()) * n_frames, np.int32))
        streams[-1][np.cumsum(runs + 1) - 1] = (magnitudes + 1) * (1 - 2 * own.astype(np.int64))
    passes = []  # over each frame: channel, which is mid or side, and bins, even or odd ones
    for channel, of_channel in enumerate(sounds.reshape(2, n_bins)):
        bins = np.flatnonzero(of_channel)
        passes += [(channel, odd, bins[bins % 2 == odd]) for odd in (0, 1)]
    q, used = np.zeros((n_frames, 2, n_bins), np.int64), [0] * 12
    a = np.zeros((n_frames + 3, 2, n_bins + 4), np.int64)  # three frames before, two bins beside
    for f in range(n_frames):
        for channel, odd, bins in passes:
            i = bins + 2
            three, two, one, now = a[f : f + 4, channel]
            beside = one[i - 1] + one[i + 1]
            if odd:
                s = 7 * one[i] + beside + 2 * two[i] + three[i] + 10 * (now[i - 1] + now[i + 1])
            else:
                s = 9 * one[i] + 4 * beside + one[i - 2] + one[i + 2] + 2 * (two[i] + three[i])
            if channel == 1:
                mid = a[f + 3, 0]
                s += (mid[i - 1] + 2 * mid[i] + mid[i + 1]) // 2
            classes = np.digitize(s, CLASSES)
            for k in range(12):
                here = bins[classes == k]
                q[f, channel, here] = streams[k][used[k] : used[k] + len(here)]
                used[k] += len(here)
            now[i] = np.minimum(np.abs(q[f, channel, bins]), 15)
    return q.reshape(n_frames, -1)[:, :n_sparse].T


def read_lists(raw, counts):
    """Return lists of so many numbers each [Lists]."""
    heads = raw.take(3 * len(counts)).reshape(-1, 3).tolist()
    states = raw.take(int(raw.take(1, "<u2")[0]), "<u4")
    words = raw.take(int(raw.take(1, "<u4")[0]), "<u2")
    lanes = Lanes([token_table(*head) for head in heads], states, words)
    tokens = np.zeros(0, np.int64)
    if len(states):
        tokens = lanes.take(np.repeat(np.arange(len(counts)), counts))
    n_further = further_bits(tokens)
    bits = raw.bits(int(n_further.sum()))
    of_number = np.repeat(np.arange(len(tokens)), n_further)
    place = np.arange(len(bits)) - (np.cumsum(n_further) - n_further)[of_number]
    numbers = np.where(tokens < 8, tokens, 4 + tokens % 4) << n_further
    np.add.at(numbers, of_number, bits.astype(np.int64) << place)
    return np.split(numbers, np.cumsum(counts)[:-1])


def further_bits(tokens):
    """Return how many further bits numbers of these tokens have."""
    return np.where(tokens < 8, 0, tokens // 4 - 1)


def token_table(n_tokens, a, b):
    """Return the frequencies of 84 tokens, for the three numbers of a list's head."""
    o = 32 * O[a % 4] // 2 ** (a // 4)
    h, left, g = 65536 * o // (65536 + o), 4096, []
    for t in range(n_tokens - 1):
        if t in (1, 2, 4) or (t >= 8 and t % 4 == 0):
            h = h * (21 - b) // 16
        r = 65536 - min(h, 65000)
        for _ in range(int(further_bits(t))):
            r = r * r // 65536
        g.append(min(max(left - left * r // 65536, 1), left - (n_tokens - 1 - t)))
        left -= g[-1]
    return [*g, left, *[0] * (83 - len(g))]


def read_groups(raw, n_channels, n_frames):
    """Return the integers [channels, frames] of [Levels]."""
    n_groups = int(raw.take(1)[0])
    groups = [(raw.take(1)[0], raw.take(1, "<u2")[0], raw.take(1)[0]) for _ in range(n_groups)]
    is_attack = raw.bits(n_frames) == 1
    half_bytes = raw.take(-(-21 * n_groups // 2))
    numbers = np.stack([half_bytes % 16, half_bytes // 16], 1).ravel()[: 21 * n_groups]
    n_lanes = int(raw.take(1)[0])
    states = raw.take(n_lanes, "<u4")
    n_words, n_excesses, n_full = (int(n) for n in raw.take(3, "<u4"))
    words = raw.take(n_words, "<u2")
    lanes = Lanes([residual_table(*each) for each in numbers.reshape(-1, 3)], states, words)
    excesses = raw.sums(n_excesses, n_full)

    integers, first = np.zeros((n_channels, n_frames), np.int64), 0
    for group, (kind, n_bands, n_blocks) in enumerate(groups):
        frames = np.flatnonzero([np.ones(n_frames), ~is_attack, is_attack][kind])
        r = np.zeros((n_blocks * n_bands, n_frames), np.int64)
        for i in range(len(r)):
            below = r[i - 1, frames] * (i % n_bands > 0)
            x = lanes.take(7 * group + CLASS_OF[below.clip(-4, 4) + 4]) - 8
            large = np.flatnonzero(np.abs(x) == 8)
            taken, excesses = excesses[: len(large)], excesses[len(large) :]
            x[large] += np.sign(x[large]) * taken
            r[i, frames] = x + below * (np.abs(below) >= 4)
        if kind == 0:
            r[:, 0] = np.cumsum(r[:, 0])
            r = np.cumsum(r, 1)
        elif kind == 2:
            r = np.cumsum(r.reshape(n_blocks, n_bands, n_frames), 0).reshape(r.shape)
        integers[first : first + len(r)] = r
        first += len(r)
    return integers


def residual_table(z, p, d):
    """Return the frequencies of −8 to 8, for the three numbers of a table."""
    others = 4096 - Z[z]
    up = min(max(others * P[p] // 4096, 8), others - 8)
    sides = []
    for total in (others - up, up):
        t, g = total, []
        for m in range(1, 8):
            g.append(min(max(t * (16 - d) // 16, 1), t - (8 - m)))
            t -= g[-1]
        sides.append([*g, t])
    return [*reversed(sides[0]), Z[z], *sides[1]]
