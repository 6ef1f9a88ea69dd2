"""Rules of the symbol codings and of their work broken: segments made byte by byte.

A segment is made here from what SPEC.md says of its bytes, so that each number in it can be wrong.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import zstandard

from earzip.formats.symbols import sparse
from earzip.formats.symbols.packed import PieceReader
from tests.formats.archive.hostile_frames import compress
from tests.formats.archive.rules.registry import CONTEXT, LEVELS, PACKED, SEGMENT, Break, breaks
from tests.formats.archive.samples import Pieces

F = 64  # frames of the first segment, of each kind


def latents_of(pieces: Pieces) -> int:
    return int(json.loads(pieces.header)["model"]["latents"])


def raw_segment(pieces: Pieces) -> bytes:
    """Return the first segment, decompressed."""
    rest, raw = pieces.parts[0][1], b""
    while rest:
        decompressor = zstandard.ZstdDecompressor().decompressobj()
        raw += decompressor.decompress(rest)
        rest = decompressor.unused_data
    return raw


def made(make: Callable[[int], bytes]) -> Break:
    """Put a segment in place of the first; ``make`` is told how many latents there are."""
    return lambda pieces: pieces.change_part(SEGMENT, compress(make(latents_of(pieces))))


def edited(edit: Callable[[bytes], bytes]) -> Break:
    return lambda pieces: pieces.change_part(SEGMENT, compress(edit(raw_segment(pieces))))


for kind in (PACKED, CONTEXT, LEVELS):
    for n in (1, 2, 100):
        breaks("Symbols", f"{kind}, {n} bytes less", edited(lambda raw, n=n: raw[:-n]), kind)
        breaks("Symbols", f"{kind}, {n} bytes more", edited(lambda raw, n=n: raw + bytes(n)), kind)
    breaks("Symbols", f"{kind}, one byte", edited(lambda _raw: b"\0"), kind)
    breaks("Symbols", f"{kind}, zeros", edited(lambda raw: bytes(len(raw))), kind)
    breaks("Symbols", f"{kind}, ones", edited(lambda raw: b"\xff" * len(raw)), kind)

# packed-1


@dataclass
class Packed:
    """A segment in which the first channels are one group of packing 4, and zeros."""

    packings: Sequence[int] = (4,)
    groups: Sequence[int] = (0, 0)
    distances: Sequence[int] = ()
    excesses: Sequence[int] = ()
    digits: bytes = bytes([127]) * 2 * F
    n_groups: int | None = None
    n_outliers: int | None = None

    def make(self, latents: int) -> bytes:
        groups = bytes(self.groups) + b"\xff" * (latents - len(self.groups))
        n = len(self.distances) if self.n_outliers is None else self.n_outliers
        return b"".join(
            (
                bytes([len(self.packings) if self.n_groups is None else self.n_groups]),
                bytes(self.packings),
                groups,
                struct.pack("<I", n),
                struct.pack(f"<{len(self.distances)}I", *self.distances),
                struct.pack(f"<{len(self.excesses)}h", *self.excesses),
                self.digits,
            )
        )


def digits_of(packing: int, last: int) -> Packed:
    """Return a group of one channel of that packing, zeros but for its last byte."""
    base, n = ((3, 5), (5, 3), (7, 2), (15, 2), (255, 1))[packing]
    zero = sum(base // 2 * base**i for i in range(n))
    n_bytes = -(-F // n)
    return Packed((packing,), (0,), digits=bytes([zero] * (n_bytes - 1) + [last]))


PACKED_SEGMENTS: dict[str, Packed] = {
    "17 groups": Packed([4] * 17),
    "255 groups": Packed([4] * 255),
    "group more than packings": Packed(n_groups=2),
    "group less than packings": Packed(n_groups=0),
    **{f"packing {n}": Packed([n]) for n in (5, 6, 255)},
    **{f"channel of group {n}": Packed(groups=(0, n)) for n in (1, 2, 16, 254)},
    "outlier behind the last": Packed(distances=[52 * F], excesses=[1]),
    "outlier far behind": Packed(distances=[2**32 - 1], excesses=[1]),
    "outliers that add up to too far": Packed(distances=[100, 52 * F], excesses=[1, 1]),
    "two outliers in one place": Packed(distances=[5, 0], excesses=[1, 1]),
    "outliers in a wrapped place": Packed(distances=[5, 2**32 - 1], excesses=[1, 1]),
    "outlier in a silent channel": Packed(distances=[2 * F], excesses=[1]),
    "outlier in the last channel, silent": Packed(distances=[52 * F - 1], excesses=[1]),
    "an outlier of two in a silent channel": Packed(distances=[0, 3 * F], excesses=[1, 1]),
    "outlier in a silent channel, of 0": Packed(distances=[2 * F], excesses=[0]),
    "an outlier more": Packed(distances=[5], excesses=[1], n_outliers=2),
    "an outlier less": Packed(distances=[5], excesses=[1], n_outliers=0),
    "2^32 - 1 outliers": Packed(n_outliers=2**32 - 1),
    "an excess less": Packed(distances=[5, 5], excesses=[1]),
    "integer 32,768": Packed(
        distances=[0], excesses=[32_767], digits=bytes([128]) + bytes([127]) * (2 * F - 1)
    ),
    "integer -32,768": Packed(distances=[0], excesses=[-32_768]),
    "integer -32,895": Packed(
        distances=[0], excesses=[-32_768], digits=bytes([0]) + bytes([127]) * (2 * F - 1)
    ),
    "digit 255": Packed(digits=bytes([255]) + bytes([127]) * (2 * F - 1)),
    "last digit 255": Packed(digits=bytes([127]) * (2 * F - 1) + bytes([255])),
    "a digit less": Packed(digits=bytes([127]) * (2 * F - 1)),
    "a digit more": Packed(digits=bytes([127]) * (2 * F + 1)),
    "base 3, byte 243": digits_of(0, 243),
    "base 3, byte 255": digits_of(0, 255),
    "base 3, digit behind the end": digits_of(0, 121 + 81),
    "base 5, byte 125": digits_of(1, 125),
    "base 5, digit behind the end": digits_of(1, 62 + 25),
    "base 7, byte 49": digits_of(2, 49),
    "base 15, byte 225": digits_of(3, 225),
    "base 15, byte 255": digits_of(3, 255),
}
for name, segment in PACKED_SEGMENTS.items():
    breaks("packed-1", name, made(segment.make))


# context-1


def sums(numbers: Sequence[int]) -> bytes:
    return b"".join(b"\xff" * (number // 255) + bytes([number % 255]) for number in numbers)


@dataclass
class Coded:
    """A list in form 0, or in form 1 with its numbers below 3."""

    numbers: Sequence[int] = ()
    form: int = 0
    n_continued: int | None = None
    first: bytes | None = None
    excess: bytes = b""

    def head(self) -> bytes:
        n = sum(number // 255 for number in self.numbers)
        n = n if self.n_continued is None else self.n_continued
        return bytes([self.form]) + struct.pack("<I", n)

    def first_bytes(self) -> bytes:
        if self.first is not None:
            return self.first
        return sums(self.numbers)


@dataclass
class Sparse:
    """A segment of `context-1` in which all channels are sparse, and one sounds unless it is told."""

    sounding: Sequence[int] = (0,)
    counts: Sequence[int] = (1,)
    runs: Coded = field(default_factory=lambda: Coded([3]))
    beyond: Coded = field(default_factory=lambda: Coded([0]))
    signs: bytes = b"\0"
    rest: bytes = b""
    n_sparse: int | None = None
    sounding_bytes: bytes | None = None

    def make(self, latents: int) -> bytes:
        n_sparse = latents if self.n_sparse is None else self.n_sparse
        bits = np.zeros(-(-min(n_sparse, latents) // 8) * 8, np.uint8)
        bits[list(self.sounding)] = 1
        counts = [*self.counts, *[0] * (9 - len(self.counts))]
        lists = [self.runs, *[Coded()] * 8, self.beyond, *[Coded()] * 8]
        return b"".join(
            (
                struct.pack("<H", n_sparse),
                np.packbits(bits, bitorder="little").tobytes(),
                struct.pack("<9I", *counts),
                *(each.head() for each in lists),
                *(each.first_bytes() for each in lists),
                *(each.excess for each in lists),
                self.signs,
                self.rest,
            )
        )


CONTEXT_SEGMENTS: dict[str, Sparse] = {
    "more sparse channels than latents": Sparse(n_sparse=65_535),
    "form 2 of runs": Sparse(runs=Coded([3], form=2)),
    "form 255 of magnitudes": Sparse(beyond=Coded([0], form=255)),
    "a count more": Sparse(counts=(2,)),
    "a count less": Sparse(counts=(0,)),
    "count in another class": Sparse(counts=(0, 1)),
    "count 2^32 - 1": Sparse(counts=(2**32 - 1,)),
    "more integers than places": Sparse(
        counts=(F + 1,), runs=Coded([0] * (F + 1)), beyond=Coded([0] * (F + 1)), signs=bytes(9)
    ),
    "run behind the last place": Sparse(runs=Coded([F])),
    "run of 300": Sparse(runs=Coded([300])),
    "runs that add up to too far": Sparse(
        counts=(2,), runs=Coded([F // 2, F // 2]), beyond=Coded([0, 0])
    ),
    "integer in a class that has no place": Sparse(
        counts=(0,) * 8 + (0,), runs=Coded([3]), beyond=Coded([0])
    ),
    "silent channels only": Sparse(sounding=()),
    "a continued byte more": Sparse(runs=Coded([3], n_continued=1)),
    "a continued byte less": Sparse(beyond=Coded([300], n_continued=0)),
    "2^32 - 1 continued bytes": Sparse(runs=Coded([3], n_continued=2**32 - 1)),
    "continued byte at the end": Sparse(beyond=Coded([0], n_continued=1, first=b"\0\xff")),
    "continued byte in place of a number": Sparse(beyond=Coded([0], first=b"\xff")),
    "magnitude 32,768": Sparse(beyond=Coded([32_767])),
    "magnitude 40,000": Sparse(beyond=Coded([40_000])),
    "magnitude 1,000,000": Sparse(beyond=Coded([1_000_000])),
    "sign behind the last": Sparse(signs=b"\2"),
    "all signs behind the last": Sparse(signs=b"\xfe"),
    "no sign": Sparse(signs=b""),
    "a sign byte more": Sparse(signs=b"\0\0"),
    "form 1, number behind the last": Sparse(beyond=Coded(form=1, first=b"\x04")),
    "form 1, four numbers of one": Sparse(beyond=Coded(form=1, first=b"\x40")),
    "form 1, no byte": Sparse(beyond=Coded(form=1, first=b"", n_continued=0), signs=b""),
    "form 1, no excess of a 3": Sparse(beyond=Coded(form=1, first=b"\x03"), signs=b""),
    "form 1, excess without a 3": Sparse(beyond=Coded(form=1, first=b"\x02", excess=b"\0")),
    "form 1, continued excess at the end": Sparse(
        beyond=Coded(form=1, first=b"\x03", excess=b"\0\xff", n_continued=1)
    ),
    "form 1, magnitude 32,768": Sparse(
        beyond=Coded(form=1, first=b"\x03", excess=sums([32_764]), n_continued=32_764 // 255)
    ),
    "bytes of packed-1 behind": Sparse(rest=bytes(5)),
    "other channels missing": Sparse(n_sparse=8),
    "other channels of a group that is not there": Sparse(
        n_sparse=8, rest=b"\0" + b"\0" * 8 + bytes(4)
    ),
}
for name, coded in CONTEXT_SEGMENTS.items():
    breaks("context-1", name, made(coded.make), CONTEXT)


def _beyond_sounding(latents: int) -> bytes:
    """Return a segment of 1, 9 … sparse channels with a bit behind the last, if 8 do not divide them."""
    n_sparse = latents - 1 if latents % 8 == 0 else latents
    raw = bytearray(replace(Sparse(), n_sparse=n_sparse).make(latents))
    raw[2 + n_sparse // 8] |= 0x80
    return bytes(raw)


breaks("context-1", "a channel behind the last sounds", made(_beyond_sounding), CONTEXT)

# levels-1


@dataclass
class Places:
    """Where the numbers of a segment of `levels-1` stand."""

    heads: int
    lanes: int
    words: int  # how many follow
    groups: int
    attacks: int
    tables: int
    levels: int  # their lanes
    n_words: int

    @classmethod
    def of(cls, raw: bytes, latents: int) -> Places:
        n_sparse = int.from_bytes(raw[:2], "little")
        heads = 2 + -(-n_sparse // 8) + 4 * 12
        lanes = heads + 3 * 24
        reader = PieceReader(raw)
        sparse.unpack(reader, latents, F)
        groups = reader._position
        attacks = groups + 1 + 4 * raw[groups]
        tables = attacks + F // 8
        levels = tables + -(-21 * raw[groups] // 2)
        n_words = levels + 1 + 4 * raw[levels]
        words = lanes + 2 + 4 * int.from_bytes(raw[lanes : lanes + 2], "little")
        return cls(heads, lanes, words, groups, attacks, tables, levels, n_words)


def at(place: Callable[[Places], int], value: bytes) -> Break:
    """Overwrite bytes of the first segment."""

    def make(pieces: Pieces) -> None:
        raw = raw_segment(pieces)
        begin = place(Places.of(raw, latents_of(pieces)))
        pieces.change_part(SEGMENT, compress(raw[:begin] + value + raw[begin + len(value) :]))

    return make


def inserted(place: Callable[[Places], int], value: bytes, n_removed: int = 0) -> Break:
    def make(pieces: Pieces) -> None:
        raw = raw_segment(pieces)
        begin = place(Places.of(raw, latents_of(pieces)))
        pieces.change_part(SEGMENT, compress(raw[:begin] + value + raw[begin + n_removed :]))

    return make


def _levels(name: str, make: Break) -> None:
    breaks("levels-1", name, make, LEVELS)


_levels("65,535 sparse channels", at(lambda _: 0, b"\xff\xff"))
_levels("no sparse channels", at(lambda _: 0, b"\0\0"))
for i in range(12):
    _levels(f"2^32 - 1 integers of class {i}", at(lambda p, i=i: p.heads - 48 + 4 * i, b"\xff" * 4))
    _levels(f"no integers of class {i}", at(lambda p, i=i: p.heads - 48 + 4 * i, bytes(4)))
for i in (0, 11, 12, 23):
    for value in (85, 255):
        _levels(f"list {i}, {value} tokens", at(lambda p, i=i: p.heads + 3 * i, bytes([value])))
    for value in (64, 255):
        _levels(f"list {i}, A {value}", at(lambda p, i=i: p.heads + 3 * i + 1, bytes([value])))
    for value in (16, 255):
        _levels(f"list {i}, B {value}", at(lambda p, i=i: p.heads + 3 * i + 2, bytes([value])))
_levels("no tokens in a list of some", at(lambda p: p.heads, b"\0"))
_levels("no lanes of lists", at(lambda p: p.lanes, b"\0\0"))
_levels("65,535 lanes of lists", at(lambda p: p.lanes, b"\xff\xff"))
_levels("a lane of lists more", at(lambda p: p.lanes, b"\x02\0"))
for state in (0, 1, 65_535):
    _levels(f"state {state} of lists", at(lambda p: p.lanes + 2, struct.pack("<I", state)))
_levels("another state of lists", at(lambda p: p.lanes + 2, struct.pack("<I", 65_536)))
_levels("no words of lists", at(lambda p: p.words, bytes(4)))
_levels("2^32 - 1 words of lists", at(lambda p: p.words, b"\xff" * 4))
_levels("a word of lists more", inserted(lambda p: p.words + 4, b"\0\0"))
for value in (0, 17, 255):
    _levels(f"{value} groups", at(lambda p: p.groups, bytes([value])))
for value in (3, 255):
    _levels(f"group of kind {value}", at(lambda p: p.groups + 1, bytes([value])))
for value in (0, 1, 255, 65_535):
    _levels(f"group of {value} bands", at(lambda p: p.groups + 2, struct.pack("<H", value)))
for value in (0, 2, 255):
    _levels(f"group of {value} blocks", at(lambda p: p.groups + 4, bytes([value])))
_levels("a group of no bands more", at(lambda p: p.groups + 2, struct.pack("<H", 0)[:1] + b"\0"))
_levels("all frames with an attack", at(lambda p: p.attacks, b"\xff" * (F // 8)))
_levels("the first frame's attack is another", at(lambda p: p.attacks, b"\x01"))
for i in range(3):
    _levels(f"table byte {i}", at(lambda p, i=i: p.tables + i, b"\x5a"))
for value in (0, 1, 33, 255):
    _levels(f"{value} lanes of levels", at(lambda p: p.levels, bytes([value])))
for state in (0, 65_535):
    _levels(f"state {state} of levels", at(lambda p: p.levels + 1, struct.pack("<I", state)))
_levels("no words of levels", at(lambda p: p.n_words, bytes(4)))
_levels("2^32 - 1 words of levels", at(lambda p: p.n_words, b"\xff" * 4))
_levels("a word of levels more", inserted(lambda p: p.n_words + 12, b"\0\0"))
_levels("2^32 - 1 excesses", at(lambda p: p.n_words + 4, b"\xff" * 4))
_levels("100 excesses", at(lambda p: p.n_words + 4, struct.pack("<I", 100)))
_levels("2^32 - 1 bytes FF of excesses", at(lambda p: p.n_words + 8, b"\xff" * 4))
_levels("a byte FF of excesses more", at(lambda p: p.n_words + 8, struct.pack("<I", 77)))
