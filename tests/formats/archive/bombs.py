"""Small archives that ask for much memory or work, under right checksums.

`BOMBS` maps a name to what makes one of the pieces of a whole archive of its kind (`KINDS` of rules).
Some keep all rules: then they must be harmless.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from earzip.formats.symbols.coding import pack
from earzip.formats.symbols.layout import Group, Layout, Told
from tests.formats.archive.hostile_frames import bomb, compress, with_content_size
from tests.formats.archive.rules.registry import (
    CONTEXT,
    EXACT,
    FLAC,
    LEVELS,
    PACKED,
    PICTURE,
    SEGMENT,
    TAGS,
)
from tests.formats.archive.rules.symbols import Sparse, latents_of
from tests.formats.archive.rules.tags import put
from tests.formats.archive.samples import Pieces, canonical, tag_part

Make = Callable[[Pieces], object]
BOMBS: dict[str, tuple[str, Make]] = {}


def add(name: str, make: Make, kind: str = PACKED) -> None:
    assert name not in BOMBS
    BOMBS[name] = (kind, make)


# Zstd frames

add("header of 1 GiB of zeros", lambda p: setattr(p, "header_frame", bomb(1 << 30)))
add("header of 1 MiB of zeros", lambda p: setattr(p, "header_frame", bomb(1 << 20)))
add("header that says 2^60 bytes", lambda p: setattr(p, "header_frame", with_content_size(2**60)))
add("tags of 1 GiB of zeros", lambda p: p.change_part(TAGS, bomb(1 << 30)))
add("tags of 70 MiB of zeros", lambda p: p.change_part(TAGS, bomb(70 << 20)))
add("tags that say 2^60 bytes", lambda p: p.change_part(TAGS, with_content_size(2**60)))
add("segment of 1 GiB of zeros", lambda p: p.change_part(SEGMENT, bomb(1 << 30)))
add("segment that says 2^60 bytes", lambda p: p.change_part(SEGMENT, with_content_size(2**60)))
add("segment of zeros in 64 frames", lambda p: p.change_part(SEGMENT, compress(bytes(1100)) * 64))

# JSON


def header_of(text: bytes) -> Make:
    return lambda pieces: setattr(pieces, "header", text)


add("header of lists, 500,000 deep", header_of(b"[" * 500_000))
add("header of 340,000 lists", header_of(b"[" + b"[]," * 340_000 + b"[]]"))
add("header with a number of a million digits", header_of(b'{"a":' + b"9" * 1_000_000 + b"}"))
add("header of 100,000 keys", header_of(canonical({f"{i:04x}": 0 for i in range(100_000)})))


def tags_of(text: bytes, blocks: bytes = b"") -> Make:
    return lambda pieces: pieces.change_part(TAGS, compress(tag_part(text, blocks)))


add("tags of lists, 4 million deep", tags_of(b"[" * 4_000_000))
add("tags of 1.4 million lists", tags_of(b"[" + b"[]," * 1_398_000 + b"[]]"))
add("tags of 2 million zeros", tags_of(b"[" + b"0," * 2_097_000 + b"0]"))

# Lists of tags, as long as they may be


def payload(**members: Any) -> Make:
    """Put tags with these members and no pictures."""

    def make(pieces: Pieces) -> None:
        blocks = members.pop("blocks", [])
        pieces.parts = [part for part in pieces.parts if part[0] != PICTURE]
        put(pieces, {"family": "none", **members}, blocks=blocks, numbers=[])

    return make


add("20,000 values", payload(fields={"title": ["x" * 100] * 20_000}))
add("20,000 fields", payload(fields={f"a{i}": ["x"] for i in range(20_000)}))
add("a value of 4 MB", payload(fields={"title": ["x" * 4_100_000]}))
add("lyrics of 400,000 lines", payload(fields={"lyrics": ["[00:01]\n" * 400_000]}))
add("20,000 chapters", payload(chapters=[{"start_ms": 0, "title": "x"}] * 20_000))
add("10,000 chapters", payload(chapters=[{"start_ms": 9, "title": "x" * 100}] * 10_000))
add("20,000 names of blocks", payload(raw_only={"id3v2": ["x" * 100] * 20_000}))
add("a cue sheet of 200,000 lines", payload(fields={"cuesheet": ["INDEX 01 00:00:00\n" * 200_000]}))

# Raw blocks: large, or with much in them


def block(kind: str, data: bytes) -> Make:
    return payload(raw=[{"kind": kind}], blocks=[data])


def comments(n: int, said: int | None = None) -> bytes:
    text = b"A=b"
    said = n if said is None else said
    return struct.pack("<II", 0, said) + (struct.pack("<I", len(text)) + text) * n


def syncsafe(n: int) -> bytes:
    return bytes([n >> 21 & 127, n >> 14 & 127, n >> 7 & 127, n & 127])


def id3(frames: bytes) -> bytes:
    return b"ID3\4\0\0" + syncsafe(len(frames)) + frames


def id3_frame(name: bytes, body: bytes, flags: bytes = b"\0\0") -> bytes:
    return name + syncsafe(len(body)) + flags + body


_PACKED_PICTURE = zlib.compress(bytes(60 << 20), 9)

for _kind in ("flac-comment", "id3v2", "apev2", "mp4-ilst", "asf-objects", "of-the-future"):
    add(f"{_kind} of 65 MB of zeros", block(_kind, bytes(65_000_000)))
add("a million comments", block("flac-comment", comments(1_000_000)))
add("2^32 - 1 comments", block("ogg-comment", comments(10, 2**32 - 1)))
add("300,000 empty ID3 frames", block("id3v2", id3(id3_frame(b"TXXX", b"\0") * 300_000)))
add(
    "an ID3 frame that inflates to 60 MiB",
    block(
        "id3v2",
        id3(id3_frame(b"APIC", syncsafe(60 << 20) + _PACKED_PICTURE, b"\0\x09")),
    ),
)
add(
    "20 ID3 frames that inflate to 60 MiB each",
    block(
        "id3v2",
        id3(id3_frame(b"APIC", syncsafe(60 << 20) + _PACKED_PICTURE, b"\0\x09") * 20),
    ),
)
add("2,000 blocks of 32 kB", payload(raw=[{"kind": "id3v2"}] * 2000, blocks=[bytes(32_000)] * 2000))
add("2,000 empty blocks", payload(raw=[{"kind": "flac-comment"}] * 2000, blocks=[b""] * 2000))
add("nested MP4 atoms", block("mp4-ilst", struct.pack(">I4s", 16 << 20, b"\xa9nam") * 500_000))

# Pictures


def pictures(n: int, size: int, cuts: list[dict[str, Any]], kind: str, n_blocks: int = 1) -> Make:
    """Store one picture that the payload lists ``n`` times; blocks have these cuts."""

    def make(pieces: Pieces) -> None:
        pieces.parts = [part for part in pieces.parts if part[0] != PICTURE]
        pieces.parts.append((PICTURE, b"\xff" * size))
        raw = [{"kind": kind, **({"cuts": cuts} if cuts else {})}] * n_blocks
        listed = [{"type": 3, "mime": "image/png"}] * n
        members = {"family": "id3", "pictures": listed, "raw": raw}
        put(pieces, members, blocks=[b""] * n_blocks, numbers=[0] * n)

    return make


def cut(**members: Any) -> dict[str, Any]:
    return {"at": 0, "picture": 0, **members}


add("a picture of 130 kB listed 1,000 times", pictures(1000, 130_000, [], "id3v2"))
add("a picture of 140 kB listed 1,000 times", pictures(1000, 140_000, [], "id3v2"))
for _coding in ("unsync", "base64"):
    _cuts = [cut(coding=_coding)] * 1000
    add(f"1,000 cuts of 50 kB, {_coding}", pictures(1, 50_000, _cuts, "id3v2"))
    add(f"1,000 cuts of 1 MB, {_coding}", pictures(1, 1_000_000, _cuts, "id3v2"))
add("1,000 cuts of 65 kB", pictures(1, 65_000, [cut()] * 1000, "flac-comment"))
add("2,000 blocks of a cut of 32 kB", pictures(1, 32_000, [cut()], "apev2", 2000))
add("2,000 blocks of 60 cuts", pictures(1, 500, [cut()] * 60, "id3v2", 2000))
add("2,000 blocks of 1,000 cuts", pictures(1, 10, [cut()] * 1000, "id3v2", 2000))

# Segments that are next to no bytes


def shaped(pieces: Pieces, latents: int | None, core: int, hop: int, n_segments: int) -> None:
    """Let the header tell of so many segments of a model of that shape."""
    if latents is not None:
        pieces.change_header("model.latents", latents)
        pieces.change_header("quantizer.steps", "00" * latents)
        pieces.change_header("geometry.core", core)
        pieces.change_header("geometry.hop", hop)
    pieces.change_header("edges", [0, 0, 0, 0])
    lead = json.loads(pieces.header)["geometry"]["lead"]
    n_samples = n_segments * core * hop - 2 * lead
    pieces.change_header("samples", n_samples)
    pieces.change_header("source.frames", n_samples)


def hours(
    segment: Callable[[int], bytes],
    n_segments: int,
    *,
    latents: int | None = None,
    core: int = 64,
    hop: int = 256,
) -> Make:
    """Put ``n_segments`` equal segments in place of all parts."""

    def make(pieces: Pieces) -> None:
        shaped(pieces, latents, core, hop, n_segments)
        stored = compress(segment(latents_of(pieces)))
        pieces.parts = [(SEGMENT, stored)] * n_segments

    return make


def silent(latents: int) -> bytes:
    return b"\0" + b"\xff" * latents + bytes(4)


def zeros(latents: int) -> bytes:
    """Return a segment of `packed-1`, one group of all channels, 512 frames."""
    return b"\1\4" + bytes(latents) + bytes(4) + bytes([127]) * latents * 512


def constant(n_sparse: int, groups: tuple[Group, ...], n_frames: int, every: int = 1) -> bytes:
    """Return a segment of `levels-1` or, without groups, `context-1`, some of whose channels are 1."""
    n_levels = sum(group.n_channels for group in groups)
    symbols = np.zeros((n_sparse + n_levels, n_frames), np.int32)
    if n_sparse:
        symbols[:n_sparse:every, 0] = 1
    return b"".join(pack(symbols, Layout(n_sparse, groups)))


_ROWS = (Group(Told.ALWAYS, 512),)
_ROW = (Group(Told.ALWAYS, 1),)
add("silent segments", hours(silent, 100))
add("20 segments of 4 MiB of zeros", hours(zeros, 20, latents=4096, core=512))
add("one integer a segment", hours(Sparse().make, 50), CONTEXT)
add(
    "one integer a segment of 1,024 frames",
    hours(Sparse().make, 60, latents=2048, core=1024, hop=2048),
    CONTEXT,
)
add(
    "one integer a channel of 1,024 frames",
    hours(lambda _: constant(2048, (), 1024), 60, latents=2048, core=1024, hop=2048),
    CONTEXT,
)
add(
    "one integer a segment of levels",
    hours(lambda _: constant(2047, _ROW, 1024, 4096), 40, latents=2048, core=1024, hop=2048),
    LEVELS,
)
add(
    "one integer a channel of levels",
    hours(lambda _: constant(2047, _ROW, 1024), 40, latents=2048, core=1024, hop=2048),
    LEVELS,
)
add(
    "512 levels a frame",
    hours(lambda _: constant(0, _ROWS, 1024), 60, latents=512, core=1024, hop=2048),
    LEVELS,
)
add(
    "512 levels in segments of 32 frames",
    hours(lambda _: constant(0, _ROWS, 32), 50, latents=512, core=32, hop=2048),
    LEVELS,
)
add(
    "512 levels in segments of a frame",
    hours(lambda _: constant(0, _ROWS, 1), 300, latents=512, core=1, hop=2048),
    LEVELS,
)
add(
    "2^32 - 1 outliers",
    lambda p: p.change_part(SEGMENT, compress(b"\0" + b"\xff" * 56)),
)
add(
    "2^32 - 1 integers of a class",
    lambda p: p.change_part(SEGMENT, compress(Sparse(counts=(2**32 - 1,)).make(latents_of(p)))),
    CONTEXT,
)
add(
    "2^32 - 1 continued bytes",
    lambda p: p.change_part(SEGMENT, compress(bytes(28) + b"\xff" * 200)),
    CONTEXT,
)
add("levels of ones", lambda p: p.change_part(SEGMENT, compress(b"\0\0" + b"\xff" * 3000)), LEVELS)

# Others


def long_copy(pieces: Pieces) -> None:
    """Let the exact copy and the header tell of 27 hours of samples."""
    copy = bytearray(dict(pieces.parts)[EXACT])
    n_samples = 2**32 - 1
    word = int.from_bytes(copy[18:26], "big") >> 36 << 36 | n_samples
    copy[18:26] = word.to_bytes(8, "big")
    pieces.change_part(EXACT, bytes(copy))
    pieces.change_header("source.frames", n_samples)
    pieces.change_header("samples", n_samples)


add("an exact copy of 2^32 - 1 samples", long_copy, FLAC)


def many_pictures(pieces: Pieces) -> None:
    pieces.parts = [*pieces.parts, *[(PICTURE, b"")] * 262_000]


def many_later_parts(pieces: Pieces) -> None:
    pieces.parts = [*pieces.parts, *[(9, b"")] * 8180]


add("262,000 pictures of 0 bytes", many_pictures)
add("8,180 parts of a later kind", many_later_parts)
