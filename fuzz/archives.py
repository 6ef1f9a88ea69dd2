"""Archives for fuzzing: small ones of each coding, and wrong ones under right checksums."""

from __future__ import annotations

import json
import random
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import zstandard

from earzip.errors import ArchiveError
from earzip.formats.archive.frames import compress_frame, decompress_frame
from earzip.formats.archive.shared import SharedPicture
from earzip.formats.symbols.layout import CONTEXT, LEVELS, PACKED
from fuzz.mutation import damaged
from tests.formats.archive.samples import (
    BLOCKS,
    COVER,
    PICTURES,
    TAGS,
    Pieces,
    canonical,
    sample_header,
    write_sample,
)

_VALUES: tuple[Any, ...] = (
    0, 1, -1, 2, 255, 65_535, 65_536, 65_537, 2**20, 2**31, 2**36, 2**50, 2**63 - 1, -(2**63), None, True,
    "", "a", "/", "..", "\0", "é" * 600, "0" * 64, [], {}, [[]], [0, 0, 0, 0], "packed-1", "context-1",
    "levels-1", "file", "flac", "dropped", "fit-600", ["shared"],
)  # fmt: skip
_MAX_RAW = 1 << 20


def archives(folder: Path) -> Iterator[bytes]:
    """Yield archives of some kilobytes: of each coding, empty, of several parts, and golden ones."""
    path = folder / "sample.earz"
    content = {"tags": TAGS, "blocks": BLOCKS, "pictures": PICTURES}
    for symbols in (PACKED, CONTEXT, LEVELS):
        for shape in ({"n_samples": 8192}, {"n_samples": 20_000, "n_latents": 12, "core": 7}):
            write_sample(path, sample_header(**shape, symbols=symbols), **content)
            yield path.read_bytes()
    write_sample(path, sample_header(0))
    yield path.read_bytes()
    shared = replace(sample_header(), shared=(SharedPicture.of(COVER),))
    write_sample(path, shared, **content)  # and the picture beside what is read
    yield path.read_bytes()
    for golden in sorted((Path(__file__).parents[1] / "tests/data/golden").glob("*.earz")):
        yield golden.read_bytes()


def damaged_archive(data: bytes, rng: random.Random) -> bytes:
    """Return an archive with damaged bytes; mostly with right checksums, so that more of it is read."""
    if rng.randrange(4) == 0:
        return damaged(data, rng)
    pieces = _taken_apart(data)
    if pieces is None:
        return damaged(data, rng)
    for _ in range(1 + int(rng.expovariate(1))):
        rng.choice((_change_header, _change_header, _change_part, _change_raw, _change_list))(
            pieces, rng
        )
    return pieces.to_bytes()


def _taken_apart(data: bytes) -> Pieces | None:
    with tempfile.NamedTemporaryFile(suffix=".earz") as file:
        Path(file.name).write_bytes(data)
        try:
            pieces = Pieces.of(Path(file.name))
        except (ArchiveError, struct.error):
            return None
    pieces.minor = 3
    return pieces


def _change_header(pieces: Pieces, rng: random.Random) -> None:
    if rng.randrange(4) == 0:
        pieces.header = damaged(pieces.header, rng)
        return
    try:
        members = json.loads(pieces.header)
    except (ValueError, RecursionError):
        return
    if not isinstance(members, dict):
        return
    inner = members
    key = rng.choice([*members, "new"])
    records = members.get(key)
    if isinstance(records, list) and records:
        records = rng.choice(records)
    if isinstance(records, dict) and records:
        inner = records
        key = rng.choice([*inner, "new"])
    match rng.randrange(4):
        case 0:
            inner.pop(key, None)
        case 1 if isinstance(inner.get(key), int):
            inner[key] += rng.choice((-1, 1, 1000))
        case _:
            inner[key] = rng.choice(_VALUES)
    try:
        pieces.header = canonical(members)
    except UnicodeEncodeError:
        return


def _change_part(pieces: Pieces, rng: random.Random) -> None:
    if pieces.parts:
        at = rng.randrange(len(pieces.parts))
        kind, stored = pieces.parts[at]
        pieces.parts[at] = kind, damaged(stored, rng)


def _change_raw(pieces: Pieces, rng: random.Random) -> None:
    """Change a segment or the tags before compression."""
    packed = [i for i, (kind, _) in enumerate(pieces.parts) if kind in (1, 2)]
    if not packed:
        return
    at = rng.choice(packed)
    kind, stored = pieces.parts[at]
    is_tags = kind == 2
    try:
        raw = decompress_frame(stored, max_bytes=_MAX_RAW, dictionary=is_tags)
    except (ArchiveError, zstandard.ZstdError):
        return
    raw = damaged(raw, rng) or b"\0"
    pieces.parts[at] = kind, compress_frame(raw, dictionary=is_tags)


def _change_list(pieces: Pieces, rng: random.Random) -> None:
    """Repeat, remove or exchange parts, or call one another kind."""
    if not pieces.parts:
        return
    at, other = rng.randrange(len(pieces.parts)), rng.randrange(len(pieces.parts))
    match rng.randrange(4):
        case 0:
            pieces.parts.insert(at, pieces.parts[other])
        case 1:
            del pieces.parts[at]
        case 2:
            pieces.parts[at], pieces.parts[other] = pieces.parts[other], pieces.parts[at]
        case _:
            pieces.parts[at] = rng.randrange(16), pieces.parts[at][1]
