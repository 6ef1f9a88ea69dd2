"""What SPEC.md says of symbols, in plain loops: a reader by someone who never saw earzip's."""

from __future__ import annotations

Columns = list[list[int]]  # an integer for each channel and frame


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.rest = data

    def take(self, n: int) -> bytes:
        assert len(self.rest) >= n
        taken, self.rest = self.rest[:n], self.rest[n:]
        return taken

    def number(self, n: int) -> int:
        return int.from_bytes(self.take(n), "little")

    def bits(self, n: int) -> list[int]:
        packed = self.take((n + 7) // 8)
        bits = [packed[i // 8] >> (i % 8) & 1 for i in range(8 * len(packed))]
        assert not any(bits[n:])
        return bits[:n]

    def half_bytes(self, n: int) -> list[int]:
        packed = self.take((n + 1) // 2)
        numbers = [half for byte in packed for half in (byte % 16, byte // 16)]
        assert not any(numbers[n:])
        return numbers[:n]


def read_symbols(raw: bytes, coding: str, latents: int, frames: int) -> Columns:
    """Return the integers of a segment; AssertionError for what must not be."""
    data = Bytes(raw)
    read = {"packed-1": read_packed, "context-1": read_context, "levels-1": read_levels}[coding]
    channels = read(data, latents, frames)
    assert not data.rest
    assert all(-32_767 <= integer <= 32_767 for channel in channels for integer in channel)
    return channels


def read_packed(data: Bytes, latents: int, frames: int) -> Columns:
    n_groups = data.number(1)
    assert n_groups <= 16
    packings = [[(3, 5), (5, 3), (7, 2), (15, 2), (255, 1)][i] for i in data.take(n_groups)]
    groups = data.take(latents)
    assert all(group < n_groups or group == 255 for group in groups)
    n_outliers = data.number(4)
    distances = [data.number(4) for _ in range(n_outliers)]
    excesses = [int.from_bytes(data.take(2), "little", signed=True) for _ in range(n_outliers)]
    channels = [[0] * frames for _ in range(latents)]
    for group, (base, n_digits) in enumerate(packings):
        for channel in range(latents):
            if groups[channel] != group:
                continue
            digits: list[int] = []
            for byte in data.take((frames + n_digits - 1) // n_digits):
                assert byte < base**n_digits
                digits += [byte // base**i % base for i in range(n_digits)]
            integers = [digit - base // 2 for digit in digits]
            assert not any(integers[frames:])
            channels[channel] = integers[:frames]
    place = 0
    assert all(distances[1:])
    for distance, excess in zip(distances, excesses, strict=True):
        place += distance
        assert groups[place // frames] != 255
        channels[place // frames][place % frames] += excess
    return channels


def read_context(data: Bytes, latents: int, frames: int) -> Columns:
    sparse = data.number(2)
    assert sparse <= latents
    sounding = [i for i, bit in enumerate(data.bits(sparse)) if bit]
    counts = [data.number(4) for _ in range(9)]
    assert sum(counts) <= len(sounding) * frames
    heads = [(data.number(1), data.number(4)) for _ in range(18)]
    lists = read_lists(data, counts + counts, heads)
    runs, magnitudes = lists[:9], lists[9:]
    negative = iter(data.bits(sum(counts)))
    streams = []
    for k in range(9):
        stream: list[int] = []
        for run, magnitude in zip(runs[k], magnitudes[k], strict=True):
            stream += [0] * run + [-(magnitude + 1) if next(negative) else magnitude + 1]
        streams.append(stream)
    sounds = [[0] * frames for _ in sounding]
    memory = [0] * len(sounding)
    for f in range(frames):
        for i in [*range(0, len(sounding), 2), *range(1, len(sounding), 2)]:
            stream = streams[class_of(sounds, memory, i, f)]
            sounds[i][f] = stream.pop(0) if stream else 0
        memory = [
            m
            - m // 16
            + 16 * (near(sounds, i - 1, f) + 2 * near(sounds, i, f) + near(sounds, i + 1, f))
            for i, m in enumerate(memory)
        ]
    assert not any(streams)
    channels = [[0] * frames for _ in range(sparse)]
    for channel, integers in zip(sounding, sounds, strict=True):
        channels[channel] = integers
    if sparse < latents:
        channels += read_packed(data, latents - sparse, frames)
    return channels


def read_lists(data: Bytes, counts: list[int], heads: list[tuple[int, int]]) -> Columns:
    lists = []
    for n, (form, c) in zip(counts, heads, strict=True):
        if form == 0:
            lists.append(read_sums(data, n, c))
        else:
            assert form == 1
            packed = data.take((n + 3) // 4)
            digits = [packed[i // 4] >> (2 * (i % 4)) & 3 for i in range(4 * len(packed))]
            assert not any(digits[n:])
            lists.append(digits[:n])
    for numbers, (form, c) in zip(lists, heads, strict=True):
        if form == 1:
            at = [i for i, number in enumerate(numbers) if number == 3]
            for i, beyond in zip(at, read_sums(data, len(at), c), strict=True):
                numbers[i] += beyond
    return lists


def read_sums(data: Bytes, n: int, c: int) -> list[int]:
    sums, total = [], 0
    coded = data.take(n + c)
    for byte in coded:
        total += byte
        if byte < 255:
            sums.append(total)
            total = 0
    assert len(sums) == n
    assert not coded.endswith(b"\xff")
    return sums


def near(sounds: Columns, i: int, f: int) -> int:
    """a(i, f) of SPEC.md."""
    if f < 0 or not 0 <= i < len(sounds):
        return 0
    return min(abs(sounds[i][f]), 15)


def class_of(sounds: Columns, memory: list[int], i: int, f: int) -> int:
    s = memory[i] // 32
    for offset, weight in ((-2, 2), (-1, 4), (0, 8), (1, 4), (2, 2)):
        s += weight * near(sounds, i + offset, f - 1)
    for offset, weight in ((-1, 2), (0, 4), (1, 2)):
        s += weight * near(sounds, i + offset, f - 2)
    if i % 2:
        s += 6 * (near(sounds, i - 1, f) + near(sounds, i + 1, f))
    return sum(edge <= s for edge in (1, 3, 6, 12, 22, 36, 60, 120))


Z = (180, 305, 506, 810, 1235, 1763, 2333, 2861, 3286, 3590, 3791, 3916, 3991, 4035, 4061, 4064)
P = (136, 209, 318, 478, 702, 1004, 1382, 1819, 2277, 2714, 3092, 3394, 3618, 3778, 3887, 3960)


def read_coefficients(data: Bytes, latents: int, frames: int) -> Columns:
    sparse = data.number(2)
    assert sparse <= latents
    sounds = data.bits(sparse)
    counts = [data.number(4) for _ in range(12)]
    assert sum(counts) <= sum(sounds) * frames
    lists = read_coded_lists(data, counts + counts)
    negative = iter(data.bits(sum(counts)))
    streams = []
    for runs, magnitudes in zip(lists[:12], lists[12:], strict=True):
        stream: list[int] = []
        for run, magnitude in zip(runs, magnitudes, strict=True):
            stream += [0] * run + [-(magnitude + 1) if next(negative) else magnitude + 1]
        streams.append(stream)
    channels = [[0] * frames for _ in range(sparse)]
    n_mid = (sparse + 1) // 2
    mid, side = channels[:n_mid], channels[n_mid:]
    sounding = {True: sounds[:n_mid], False: sounds[n_mid:]}
    for f in range(frames):
        for is_mid, own in ((True, mid), (False, side)):
            for i in [*range(0, len(own), 2), *range(1, len(own), 2)]:
                if sounding[is_mid][i]:
                    stream = streams[coefficient_class(own, None if is_mid else mid, i, f)]
                    own[i][f] = stream.pop(0) if stream else 0
    assert not any(streams)
    return channels


def coefficient_class(own: Columns, mid: Columns | None, i: int, f: int) -> int:
    def a(bin_: int, frame: int) -> int:
        return near(own, bin_, frame)

    beside = a(i - 1, f - 1) + a(i + 1, f - 1)
    if i % 2 == 0:
        s = 9 * a(i, f - 1) + 4 * beside + a(i - 2, f - 1) + a(i + 2, f - 1)
        s += 2 * a(i, f - 2) + 2 * a(i, f - 3)
    else:
        s = 7 * a(i, f - 1) + beside + 2 * a(i, f - 2) + a(i, f - 3)
        s += 10 * (a(i - 1, f) + a(i + 1, f))
    if mid is not None:
        s += (near(mid, i - 1, f) + 2 * near(mid, i, f) + near(mid, i + 1, f)) // 2
    return sum(edge <= s for edge in (1, 2, 4, 7, 11, 16, 24, 36, 54, 80, 120))


def read_coded_lists(data: Bytes, counts: list[int]) -> Columns:
    tables = []
    for n in counts:
        n_tokens, a, b = data.take(3)
        assert n_tokens <= 84
        assert a < 64
        assert b < 16
        assert (n_tokens == 0) == (n == 0)
        tables.append(token_frequencies(n_tokens, a, b))
    n_lanes, n = data.number(2), sum(counts)
    assert n_lanes >= (n + 2047) // 2048
    assert n or not n_lanes
    states = [data.number(4) for _ in range(n_lanes)]
    assert all(state >= 65_536 for state in states)
    words = [data.number(2) for _ in range(data.number(4))]
    tokens, k = [], 0
    for count, table in zip(counts, tables, strict=True):
        for _ in range(count):
            s = states[k % n_lanes]
            t, h = 0, 0
            while s % 4096 >= h + table[t]:
                h += table[t]
                t += 1
            s = table[t] * (s // 4096) + s % 4096 - h
            states[k % n_lanes] = s if s >= 65_536 else 65_536 * s + words.pop(0)
            tokens.append(t)
            k += 1
    assert not words
    assert set(states) <= {65_536}
    further = iter(data.bits(sum(n_further(t) for t in tokens)))
    numbers = []
    for t in tokens:
        high = t if t < 8 else (4 + (t - 8) % 4) * 2 ** n_further(t)
        numbers.append(high + sum(next(further) * 2**i for i in range(n_further(t))))
    lists = []
    for count in counts:
        lists.append(numbers[:count])
        numbers = numbers[count:]
    return lists


def n_further(token: int) -> int:
    return 0 if token < 8 else (token - 8) // 4 + 1


def token_frequencies(n_tokens: int, a: int, b: int) -> list[int]:
    o = 32 * (65_536, 55_109, 46_341, 38_968)[a % 4] // 2 ** (a // 4)
    h, left, table = 65_536 * o // (65_536 + o), 4096, []
    for t in range(n_tokens - 1):
        if t in (1, 2, 4) or (t >= 8 and t % 4 == 0):
            h = h * (21 - b) // 16
        r = 65_536 - min(h, 65_000)
        for _ in range(n_further(t)):
            r = r * r // 65_536
        table.append(min(max(left - left * r // 65_536, 1), left - (n_tokens - 1 - t)))
        left -= table[-1]
    return [*table, left]


class Lanes:
    def __init__(self, data: Bytes, frames: int) -> None:
        self.n = data.number(1)
        assert (frames + 31) // 32 <= self.n <= 32
        self.states = [data.number(4) for _ in range(self.n)]
        assert min(self.states) >= 65_536
        n_words, n_excesses, n_full = (data.number(4) for _ in range(3))
        words = data.take(2 * n_words)
        self.words = [words[i] + 256 * words[i + 1] for i in range(0, 2 * n_words, 2)]
        self.excesses = read_sums(data, n_excesses, n_full)

    def take(self, lane: int, table: list[int]) -> int:
        s = self.states[lane]
        y, h = -8, 0
        while s % 4096 >= h + table[y + 8]:
            h += table[y + 8]
            y += 1
        s = table[y + 8] * (s // 4096) + s % 4096 - h
        self.states[lane] = s if s >= 65_536 else 65_536 * s + self.words.pop(0)
        if abs(y) < 8:
            return y
        return (8 + self.excesses.pop(0)) * (1 if y > 0 else -1)

    def finish(self) -> None:
        assert set(self.states) == {65_536}
        assert not self.words
        assert not self.excesses


def read_levels(data: Bytes, latents: int, frames: int) -> Columns:
    channels = read_coefficients(data, latents, frames)
    first = sparse = len(channels)
    n_groups = data.number(1)
    assert n_groups <= 16
    groups = [(data.number(1), data.number(2), data.number(1)) for _ in range(n_groups)]
    assert all(told <= 2 and bands and blocks for told, bands, blocks in groups)
    assert all(blocks == 1 for told, _, blocks in groups if told != 2)
    assert sum(bands * blocks for _, bands, blocks in groups) == latents - sparse <= 512
    attacks = data.bits(frames)
    numbers = data.half_bytes(21 * n_groups)
    tables = [frequencies(*numbers[i : i + 3]) for i in range(0, len(numbers), 3)]
    lanes = Lanes(data, frames)
    channels += [[0] * frames for _ in range(latents - sparse)]
    moving = set()
    for g, (told, bands, blocks) in enumerate(groups):
        at = [f for f in range(frames) if told == 0 or attacks[f] == told - 1]
        below: list[int] = []
        for i in range(first, first + bands * blocks):
            band = (i - first) % bands
            residuals = []
            for k, f in enumerate(at):
                b = below[k] if band else 0
                x = lanes.take(k % lanes.n, tables[7 * g + class_of_residual(b)])
                residuals.append(x + b if abs(b) >= 4 else x)
                if told == 0 and f > 0:
                    before = channels[i][f - 1]
                elif told == 0:
                    before = channels[i - 1][0] if band else 0
                else:
                    before = channels[i - bands][f] if i - first >= bands else 0
                channels[i][f] = residuals[-1] + before
                if told == 2 and channels[i][f]:
                    moving.add(f)
            below = residuals
        first += bands * blocks
    lanes.finish()
    assert attacks == [f in moving for f in range(frames)]
    return channels


def frequencies(z: int, p: int, d: int) -> list[int]:
    others = 4096 - Z[z]
    up = min(max(others * P[p] // 4096, 8), others - 8)
    sides = []
    for total in (others - up, up):
        side, t = [], total
        for m in range(1, 8):
            side.append(min(max(t * (16 - d) // 16, 1), t - (8 - m)))
            t -= side[-1]
        sides.append([*side, t])
    return [*reversed(sides[0]), Z[z], *sides[1]]


def class_of_residual(b: int) -> int:
    return sum(b >= least for least in (-3, -1, 0, 1, 2, 4))
