"""Rules of prefix, index and zstd frames broken."""

from __future__ import annotations

import struct
from collections.abc import Callable

import zstandard

from earzip.formats.archive.frames import DICTIONARY
from tests.formats.archive.hostile_frames import bomb, compress, with_content_size
from tests.formats.archive.rules.registry import (
    EXACT,
    FILE,
    PICTURE,
    SEGMENT,
    TAGS,
    Break,
    breaks,
)
from tests.formats.archive.samples import Pieces, checksum

# Prefix


def with_prefix(offset: int, value: bytes, *, sign: bool = True) -> Break:
    """Put bytes into the prefix, under a right checksum of its own."""

    def make(pieces: Pieces) -> bytes:
        data = bytearray(pieces.to_bytes())
        data[offset : offset + len(value)] = value
        if sign:
            data[44:52] = checksum(bytes(data[:44]))
        return bytes(data)

    return make


for i in range(8):
    breaks("Prefix", f"magic byte {i}", with_prefix(i, b"\x00", sign=False))
for version in (0, 2, 3, 255, 65_535):
    breaks("Prefix", f"major {version}", with_prefix(8, struct.pack("<H", version)))
for name, offset, form in (
    ("header size", 12, "<I"),
    ("file size", 16, "<Q"),
    ("index size", 24, "<I"),
):
    top = 2 ** (8 * struct.calcsize(form)) - 1
    for value in (0, 1, 12, 1 << 20, (1 << 20) + 1, (3 << 20) + 12, top):
        breaks("Prefix", f"{name} {value}", with_prefix(offset, struct.pack(form, value)))
for name, offset in (("header", 28), ("index", 36), ("prefix", 44)):
    for value in (bytes(8), b"\xff" * 8):
        breaks(
            "Prefix",
            f"{name} checksum {value[0]:02x}",
            with_prefix(offset, value, sign=offset < 44),
        )
for n in (0, 1, 8, 44, 51, 52):
    breaks("Prefix", f"file of {n} bytes", lambda pieces, n=n: pieces.to_bytes()[:n])
for n in (1, 2, 100):
    breaks("Layout", f"{n} bytes less", lambda pieces, n=n: pieces.to_bytes()[:-n])
    breaks("Layout", f"{n} bytes more", lambda pieces, n=n: pieces.to_bytes() + bytes(n))


# Index


def parts(change: Callable[[list[tuple[int, bytes]]], object]) -> Break:
    def make(pieces: Pieces) -> None:
        change(pieces.parts)

    return make


def with_entry(kind: int, n_bytes: int) -> Break:
    """Let the first entry of the index say another kind or size."""

    def make(pieces: Pieces) -> None:
        entries = [(k, len(stored), checksum(stored)) for k, stored in pieces.parts]
        entries[0] = (kind, n_bytes, entries[0][2])
        pieces.index = b"".join(struct.pack("<I8s", k << 28 | n, c) for k, n, c in entries)

    return make


def with_checksum(kind: int) -> Break:
    """Let the entry of the first part of ``kind`` have another checksum."""

    def make(pieces: Pieces) -> None:
        at = [k for k, _ in pieces.parts].index(kind)
        entries = [struct.pack("<I8s", k << 28 | len(s), checksum(s)) for k, s in pieces.parts]
        entries[at] = entries[at][:4] + bytes(8)
        pieces.index = b"".join(entries)

    return make


for kind in (0, *range(2, 16)):
    breaks("Index", f"first part of kind {kind}", with_entry(kind, 10))
for size in (0, 1, 2**28 - 1):
    breaks("Index", f"first part of {size} bytes", with_entry(SEGMENT, size))
breaks("Index", "kinds fall", parts(lambda p: p.reverse()))
breaks("Index", "no segments", parts(lambda p: p.__delitem__(slice(0, 5))))
breaks("Index", "one segment less", parts(lambda p: p.pop(0)))
breaks("Index", "one segment more", parts(lambda p: p.insert(0, p[0])))
breaks("Index", "no parts", parts(lambda p: p.clear()))
breaks("Index", "two tag parts", parts(lambda p: p.insert(5, p[5])))
breaks("Index", "three tag parts", parts(lambda p: p.__setitem__(slice(5, 5), [p[5], p[5]])))
breaks("Index", "pictures without tags", parts(lambda p: p.pop(5)))
breaks("Index", "tags of 0 bytes", lambda pieces: pieces.change_part(TAGS, b""))
breaks("Index", "segment of 0 bytes", lambda pieces: pieces.change_part(SEGMENT, b""))
breaks("Index", "piece of 0 bytes", lambda pieces: pieces.change_part(EXACT, b""), FILE)
breaks("Index", "piece of 16 MiB and 1", lambda p: p.change_part(EXACT, bytes(2**24 + 1)), FILE)
breaks("Index", "no piece of an exact copy", parts(lambda p: p.pop()), FILE)
breaks("Index", "a piece without exact", parts(lambda p: p.append((EXACT, b"abc"))))
breaks("Index", "a picture more", parts(lambda p: p.append((PICTURE, b"abc"))))
breaks("Index", "a picture less", parts(lambda p: p.pop()))
breaks("Index", "8,193 other parts", parts(lambda p: p.extend([(9, b"")] * 8193)))
for kind, of in ((SEGMENT, "segment"), (TAGS, "tags"), (PICTURE, "picture")):
    breaks("Index", f"checksum of {of}", with_checksum(kind))
breaks("Index", "checksum of a piece", with_checksum(EXACT), FILE)


def _later_part(pieces: Pieces) -> bytes:
    pieces.parts.append((9, b"to come"))
    return pieces.to_bytes()[:-1] + b"?"


breaks("Index", "checksum of a part of a later kind", _later_part, only_verify=True)

# Zstd frames


def _prepared() -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(DICTIONARY, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def with_dictionary_id(frame: bytes, width: int) -> bytes:
    """Return ``frame`` with a dictionary ID of 0 in 1, 2 or 4 bytes."""
    flag = {1: 1, 2: 2, 4: 3}[width]
    single = frame[4] >> 5 & 1
    at = 5 if single else 6
    return frame[:4] + bytes([frame[4] | flag]) + frame[5:at] + bytes(width) + frame[at:]


def with_window(raw: bytes, log: int) -> bytes:
    """Return a frame of ``raw`` that needs a window of 2^log bytes."""
    blocks = b"".join(
        struct.pack("<I", len(raw[i : i + 65_536]) << 3 | (i + 65_536 >= len(raw)))[:3]
        + raw[i : i + 65_536]
        for i in range(0, len(raw), 65_536)
    )
    return b"\x28\xb5\x2f\xfd" + bytes([0x80, log - 10 << 3]) + struct.pack("<I", len(raw)) + blocks


def frames(raw: bytes, *, dictionary: bool, most: int) -> dict[str, bytes]:
    """Return wrong frames of ``raw`` by what is wrong with them."""
    good = compress(raw, dictionary=dictionary)
    return {
        "no magic": raw,
        "wrong magic": b"\x29" + good[1:],
        "skippable frame before": b"\x50\x2a\x4d\x18\4\0\0\0abcd" + good,
        "skippable frame behind": good + b"\x50\x2a\x4d\x18\4\0\0\0abcd",
        "junk behind": good + b"\0",
        "cut by one": good[:-1],
        "cut to its magic": good[:4],
        "cut to half": good[: len(good) // 2],
        "no content size": compress(raw, dictionary=dictionary, write_content_size=False),
        "zstd checksum": compress(raw, dictionary=dictionary, write_checksum=True),
        "dictionary ID of 1 byte": with_dictionary_id(good, 1),
        "dictionary ID of 2 bytes": with_dictionary_id(good, 2),
        "dictionary ID of 4 bytes": with_dictionary_id(good, 4),
        "reserved bit": good[:4] + bytes([good[4] | 8]) + good[5:],
        "unused bit": good[:4] + bytes([good[4] | 16]) + good[5:],
        "window of 16 MiB": with_window(raw, 24),
        "window of 1 TiB": with_window(raw, 40),
        "no bytes": compress(b""),
        "more bytes than it says": with_content_size(3),
        "fewer bytes than it says": with_content_size(5),
        "2^60 bytes": with_content_size(2**60),
        "a byte too many": bomb(most + (1 << 20) & ~0xFFFFF),
    }


_FRAMES = tuple(frames(b"x" * 100, dictionary=True, most=1 << 20))


def _bad_header(name: str) -> Break:
    def make(pieces: Pieces) -> None:
        pieces.header_frame = frames(pieces.header, dictionary=True, most=1 << 20)[name]

    return make


def _bad_tags(name: str) -> Break:
    def make(pieces: Pieces) -> None:
        raw = raw_tags(pieces)
        pieces.change_part(TAGS, frames(raw, dictionary=True, most=70 << 20)[name])

    return make


def _bad_segment(name: str) -> Break:
    def make(pieces: Pieces) -> None:
        raw = zstandard.ZstdDecompressor().decompress(pieces.parts[0][1])
        pieces.change_part(SEGMENT, frames(raw, dictionary=False, most=72_192)[name])

    return make


def raw_tags(pieces: Pieces) -> bytes:
    """Return the tag part, decompressed."""
    stored = dict(pieces.parts)[TAGS]
    return zstandard.ZstdDecompressor(dict_data=_prepared()).decompress(stored)


for name in _FRAMES:
    breaks("Zstd frames", f"header, {name}", _bad_header(name))
    breaks("Zstd frames", f"tags, {name}", _bad_tags(name))
    breaks("Zstd frames", f"segment, {name}", _bad_segment(name))


def _in_frames(n: int) -> Break:
    def make(pieces: Pieces) -> None:
        raw = zstandard.ZstdDecompressor().decompress(pieces.parts[0][1])
        pieces.change_part(SEGMENT, b"".join(compress(raw[i : i + 1]) for i in range(n)))

    return make


for n in (65, 100, 1000):
    breaks("Zstd frames", f"segment in {n} frames", _in_frames(n))
breaks("Zstd frames", "header in two", lambda p: setattr(p, "header_frame", compress(p.header) * 2))
