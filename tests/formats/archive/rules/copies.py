"""Rules of the exact copy and of later versions broken."""

from __future__ import annotations

from collections.abc import Callable

from tests.formats.archive.rules.header import changed
from tests.formats.archive.rules.registry import EXACT, FILE, FLAC, Break, breaks
from tests.formats.archive.samples import Pieces


def with_copy(edit: Callable[[bytes], bytes]) -> Break:
    def make(pieces: Pieces) -> None:
        pieces.change_part(EXACT, edit(dict(pieces.parts)[EXACT]))

    return make


def field(first_bit: int, n_bits: int, change: Callable[[int], int]) -> Break:
    """Change a number of STREAMINFO, which begins at byte 8 of the copy."""

    def edit(copy: bytes) -> bytes:
        word = int.from_bytes(copy[8:42], "big")
        shift = 34 * 8 - first_bit - n_bits
        mask = (1 << n_bits) - 1
        value = change(word >> shift & mask) & mask
        return copy[:8] + (word & ~(mask << shift) | value << shift).to_bytes(34, "big") + copy[42:]

    return with_copy(edit)


for name, edit in {
    "cut by one": lambda copy: copy[:-1],
    "cut to half": lambda copy: copy[: len(copy) // 2],
    "a byte more": lambda copy: copy + b"\0",
    "first byte": lambda copy: b"?" + copy[1:],
    "last byte": lambda copy: copy[:-1] + bytes([copy[-1] ^ 1]),
    "one byte": lambda _copy: b"x",
    "zeros": lambda copy: bytes(len(copy)),
    "another file": lambda _copy: b"fLaC" * 1000,
}.items():
    breaks("Exact copy", f"file, {name}", with_copy(edit), FILE)
breaks("Exact copy", "file, bytes of the source", changed("source.bytes", 1), FILE)
breaks("Exact copy", "file, SHA-256 of the source", changed("source.sha256", "0" * 64), FILE)

for name, edit in {
    "one byte": lambda _copy: b"f",
    "magic alone": lambda _copy: b"fLaC",
    "cut in STREAMINFO": lambda copy: copy[:41],
    "other magic": lambda copy: b"OggS" + copy[4:],
    "ID3 before": lambda copy: b"ID3\4\0\0\0\0\0\0" + copy,
    "another block first": lambda copy: copy[:4] + bytes([copy[4] | 1]) + copy[5:],
    "STREAMINFO of 33 bytes": lambda copy: copy[:7] + b"\x21" + copy[8:],
    "STREAMINFO of 16 MiB": lambda copy: copy[:5] + b"\xff\xff\xff" + copy[8:],
    "zeros": lambda copy: bytes(len(copy)),
}.items():
    breaks("Exact copy", f"flac, {name}", with_copy(edit), FLAC)
for name, first, n_bits, change in (
    ("rate", 80, 20, lambda n: n + 1),
    ("rate of 0", 80, 20, lambda _: 0),
    ("channels", 100, 3, lambda n: n - 1),
    ("eight channels", 100, 3, lambda _: 7),
    ("bits", 103, 5, lambda _: 7),
    ("a sample more", 108, 36, lambda n: n + 1),
    ("a sample less", 108, 36, lambda n: n - 1),
    ("no samples", 108, 36, lambda _: 0),
    ("2^36 - 1 samples", 108, 36, lambda _: 2**36 - 1),
):
    breaks("Exact copy", f"flac, {name} in STREAMINFO", field(first, n_bits, change), FLAC)
for key, value in (
    ("source.channels", 1),
    ("source.channels", 8),
    ("source.bits", 25),
    ("source.bits", 32),
):
    breaks("Exact copy", f"flac, {key} {value}", changed(key, value), FLAC)
