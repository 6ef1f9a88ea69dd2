"""MP4 tags (m4a, m4b): the iTunes item list and chapters, found and parsed.

mutagen loads every atom of the file as an object and reads Nero chapters only; this walk looks at
the atoms that matter and bounds their number.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

from mutagen.id3 import TCON

from earzip.errors import TagError
from earzip.formats.containers.walk import MAX_PARTS
from earzip.formats.tag_payload import MAX_CHAPTERS, MAX_MS, Chapter
from earzip.formats.tags.large import take_block
from earzip.formats.tags.model import MAX_ENTRIES, BlockView, Found
from earzip.formats.tags.names import MP4_INTEGER_ATOMS, MP4_PAIR_ATOMS, MP4_TEXT_ATOMS, free_name
from earzip.formats.tags.picture import FRONT_COVER, measured_picture

_UTF8, _UTF16, _IMPLICIT = 1, 2, 0
_TEXT_ENCODINGS = {_UTF8: "utf-8", _IMPLICIT: "utf-8", _UTF16: "utf-16-be"}
_FREEFORM_NAMES = {"initialkey": "key", "fingerprint": "musicip_fingerprint"}
_NOT_IN_UDTA = (b"meta", b"chpl", b"free", b"skip")  # taken elsewhere, or empty
_MAX_TABLE = 1 << 20  # bytes of a chapter track's sample table
_MAX_TITLE = 1 << 16
_CHPL_UNIT = 10_000  # of 100 ns, in a millisecond

Atom = tuple[bytes, int, int]  # name, start and end of the contents


def find_mp4_tags(file: BinaryIO) -> Found:
    """Item lists, QuickTime tags and Nero chapters of an MP4 file, and those of its chapter track."""
    found = Found()
    walk = _Walk(file)
    moov = walk.find(0, walk.end, b"moov")
    if not moov:
        return found
    udta = walk.find(*moov, b"udta")
    for meta in (udta and walk.find(*udta, b"meta"), walk.find(*moov, b"meta")):
        if meta:
            _take_items(walk, found, _after_version(file, meta[0]), meta[1])
    if udta:
        if chpl := walk.find(*udta, b"chpl"):
            found.take(file, "mp4-chpl", chpl[0], chpl[1] - chpl[0])
        _take_atoms(walk, found, "mp4-udta", *udta, lambda name: name not in _NOT_IN_UDTA)
    try:
        found.chapters = _track_chapters(walk, *moov)
    except (TagError, struct.error) as error:
        found.problems.append(f"the chapter track is not archived: {error}")
    return found


def _take_items(walk: _Walk, found: Found, start: int, end: int) -> None:
    """Take an item list; where ``keys`` gives its items their names, both."""
    ilst = walk.find(start, end, b"ilst")
    if ilst and walk.find(start, end, b"keys"):
        _take_atoms(walk, found, "mp4-keys", start, end, lambda name: name in (b"keys", b"ilst"))
    elif ilst and ilst[0] < ilst[1]:
        take_block(found, walk.file, "mp4-ilst", ilst[0], ilst[1] - ilst[0])


def _take_atoms(
    walk: _Walk, found: Found, kind: str, start: int, end: int, wanted: Callable[[bytes], bool]
) -> None:
    """Take the wanted atoms of a range, with headers, as one block."""
    parts = []
    for name, first, last in walk.children(start, end):
        if wanted(name):
            data = found.read(walk.file, f"{name.decode('latin-1')} atom", first, last - first)
            parts += [struct.pack(">I4s", 8 + len(data), name), data] if data is not None else []
    if parts:
        found.blocks.append((kind, b"".join(parts)))


def _after_version(file: BinaryIO, start: int) -> int:
    """``meta`` has a version field in MP4 and none in QuickTime; its first atom is ``hdlr``."""
    file.seek(start + 4)
    return start if file.read(4) == b"hdlr" else start + 4


class _Walk:
    """Looks into a file's atoms, MAX_PARTS of them at most."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.end = file.seek(0, 2)
        self._left = MAX_PARTS

    def children(self, start: int, end: int) -> Iterator[Atom]:
        position = start
        while position + 8 <= end and self._left:
            self._left -= 1
            self.file.seek(position)
            header = self.file.read(16)
            size, name = int.from_bytes(header[:4], "big"), header[4:8]
            contents = position + 8
            if size == 1:
                size, contents = int.from_bytes(header[8:16], "big"), position + 16
            elif size == 0:
                size = end - position
            if size < contents - position:
                return
            yield name, contents, min(position + size, end)
            position += size

    def find(self, start: int, end: int, *path: bytes) -> tuple[int, int] | None:
        """Start and end of the contents of the first atom at ``path``."""
        for name, first, last in self.children(start, end):
            if name == path[0]:
                return self.find(first, last, *path[1:]) if path[1:] else (first, last)
        return None

    def read(self, start: int, end: int, limit: int) -> bytes:
        if end - start > limit:
            raise TagError(f"an atom has {end - start} bytes, more than {limit}")
        self.file.seek(start)
        return self.file.read(end - start)


def _track_chapters(walk: _Walk, start: int, end: int) -> list[Chapter]:
    """Chapters of the QuickTime text track that another track refers to as its chapters."""
    traks = [(first, last) for name, first, last in walk.children(start, end) if name == b"trak"]
    chapter_ids = set()
    for first, last in traks:
        if chap := walk.find(first, last, b"tref", b"chap"):
            data = walk.read(*chap, _MAX_TABLE)
            chapter_ids |= {data[i : i + 4] for i in range(0, len(data) - 3, 4)}
    for first, last in traks if chapter_ids else []:
        tkhd = walk.find(first, last, b"tkhd")
        header = walk.read(*tkhd, 256) if tkhd else b""
        track_id = header[20:24] if header[:1] == b"\1" else header[12:16]
        media = walk.find(first, last, b"mdia")
        if track_id in chapter_ids and media:
            return _text_samples(walk, *media)
    return []


def _text_samples(walk: _Walk, start: int, end: int) -> list[Chapter]:
    mdhd = walk.find(start, end, b"mdhd")
    header = walk.read(*mdhd, 256) if mdhd else b""
    field = header[20:24] if header[:1] == b"\1" else header[12:16]
    timescale = int.from_bytes(field, "big")
    stbl = walk.find(start, end, b"minf", b"stbl")
    if not timescale or not stbl:
        raise TagError("it has no timescale or sample table")
    tables = {name: walk.read(a, b, _MAX_TABLE) for name, a, b in walk.children(*stbl)}
    sizes = _sample_sizes(tables.get(b"stsz", b""))
    offsets = _sample_offsets(tables, sizes)
    chapters = []
    ticks = 0
    for offset, size, duration in zip(
        offsets, sizes, _durations(tables.get(b"stts", b"")), strict=False
    ):
        if offset > walk.end:
            raise TagError(f"a chapter's title is at byte {offset} of {walk.end}")
        walk.file.seek(offset)
        sample = walk.file.read(min(size, _MAX_TITLE))
        length = int.from_bytes(sample[:2], "big")
        text = sample[2 : 2 + length]
        encoding = "utf-16" if text[:2] in (b"\xfe\xff", b"\xff\xfe") else "utf-8"
        title = text.decode(encoding, "replace")
        begin, ticks = ticks * 1000 // timescale, ticks + duration
        end = ticks * 1000 // timescale
        if end > MAX_MS:
            raise TagError(f"a chapter ends at {end} ms, the limit is {MAX_MS}")
        chapters.append(Chapter(begin, end, title))
    return chapters


def _sample_sizes(stsz: bytes) -> list[int]:
    _, size, count = struct.unpack_from(">3I", stsz)
    if count > MAX_CHAPTERS:
        raise TagError(f"{count} chapters, more than {MAX_CHAPTERS}")
    return [size] * count if size else list(struct.unpack_from(f">{count}I", stsz, 12))


def _sample_offsets(tables: dict[bytes, bytes], sizes: list[int]) -> Iterator[int]:
    """File offset of each sample, from the chunk offsets and the samples in each chunk."""
    wide = b"co64" in tables
    chunk_table = tables.get(b"co64" if wide else b"stco", b"")
    (n_chunks,) = struct.unpack_from(">I", chunk_table, 4)
    chunks = struct.unpack_from(
        f">{min(n_chunks, len(sizes))}{'Q' if wide else 'I'}", chunk_table, 8
    )
    stsc = tables.get(b"stsc", b"")
    (n_runs,) = struct.unpack_from(">I", stsc, 4)
    runs = [struct.unpack_from(">2I", stsc, 8 + 12 * i) for i in range(min(n_runs, len(sizes)))]
    sample = run = 0
    for number, offset in enumerate(chunks, 1):
        while run + 1 < len(runs) and runs[run + 1][0] <= number:
            run += 1
        position = offset
        for _ in range(min(runs[run][1] if runs else 1, len(sizes) - sample)):
            yield position
            position += sizes[sample]
            sample += 1


def _durations(stts: bytes) -> Iterator[int]:
    (n_runs,) = struct.unpack_from(">I", stts, 4)
    for i in range(min(n_runs, MAX_CHAPTERS)):
        count, duration = struct.unpack_from(">2I", stts, 8 + 8 * i)
        for _ in range(min(count, MAX_CHAPTERS)):
            yield duration


def parse_mp4_chapters(block: bytes) -> BlockView:
    """Nero chapters (``chpl`` contents) in neutral terms. Raises TagError if there are none."""
    view = BlockView()
    # Version, flags, reserved, count. FFmpeg and its writers leave out the reserved in version 0.
    position = 5 if block[:1] == b"\0" and any(block[4:5]) else 9
    for _ in range(block[position - 1] if len(block) >= position else 0):
        start, length = struct.unpack(">QB", block[position : position + 9].ljust(9, b"\xff"))
        if position + 9 + length > len(block):
            view.stop("the chapter list ends early")
            break
        title = block[position + 9 : position + 9 + length].decode("utf-8", "replace")
        view.chapters.append(Chapter(start // _CHPL_UNIT, None, title))
        position += 9 + length
    return view


def parse_mp4_items(block: bytes) -> BlockView:
    """An iTunes item list (``ilst`` contents) in neutral terms.

    Raises TagError if not even one item can be read.
    """
    view = BlockView()
    for atom, parts in mp4_items(view, block):
        values = data_values(parts)
        if atom == b"----":
            _add_freeform(view, dict(parts), values)
            continue
        for type_, value in values:
            if not add_mp4_value(view, atom.decode("latin-1"), type_, value):
                view.raw_only.append(f"atom {atom.decode('latin-1')!r}")
    return view


def mp4_items(view: BlockView, block: bytes) -> Iterator[tuple[bytes, list[tuple[bytes, bytes]]]]:
    """Each item of a list, and its atoms. One that is malformed costs no other.

    Raises TagError if none is read into ``view``.
    """
    problem = None
    left = MAX_ENTRIES
    try:
        for name, item in mp4_atoms(block):
            try:
                parts = list(mp4_atoms(item, left))
            except TagError as error:
                problem = f"item {name.decode('latin-1')!r}: {error.message}"
                continue
            left -= len(parts)
            yield name, parts
    except TagError as error:
        problem = error.message
    if problem:
        view.stop(problem)


def data_values(parts: list[tuple[bytes, bytes]]) -> list[tuple[int, bytes]]:
    """Type and bytes of each value of an item."""
    return [
        (int.from_bytes(data[1:4], "big"), data[8:])
        for part, data in parts
        if part == b"data" and len(data) >= 8
    ]


def mp4_atoms(data: bytes, limit: int = MAX_ENTRIES) -> Iterator[tuple[bytes, bytes]]:
    """Name and contents of each atom. Raises TagError at the first of an impossible size."""
    position = 0
    count = 0
    while position + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, position)
        count += 1
        if count > limit:
            raise TagError(f"more than {MAX_ENTRIES} atoms")
        if size < 8 or position + size > len(data):
            raise TagError(f"atom {name.decode('latin-1')!r} says {size} bytes")
        yield name, data[position + 8 : position + size]
        position += size


def _add_freeform(
    view: BlockView, parts: dict[bytes, bytes], values: list[tuple[int, bytes]]
) -> None:
    name = parts.get(b"name", b"")[4:].decode("utf-8", "replace")
    for type_, value in values:
        text = mp4_text(type_, value)
        if text is None or not name:
            view.raw_only.append(f"freeform item {name[:80]!r}")
        else:
            view.add(_FREEFORM_NAMES.get(name.lower()) or free_name(name), text)


def mp4_text(type_: int, value: bytes) -> str | None:
    """The text of a value; None if it is none, or not in the encoding that it says."""
    try:
        return value.decode(_TEXT_ENCODINGS[type_])
    except (KeyError, UnicodeDecodeError):
        return None


def add_mp4_value(view: BlockView, atom: str, type_: int, value: bytes) -> bool:
    """Add one value of a known atom; False if it is unknown or not of its type."""
    if atom == "covr":
        view.pictures.append(measured_picture(FRONT_COVER, "", "", value))
    elif atom in MP4_PAIR_ATOMS and len(value) >= 6:
        pair = struct.unpack_from(">2H", value, 2)
        for name, number in zip(MP4_PAIR_ATOMS[atom], pair, strict=True):
            view.add(name, *([str(number)] if number else []))
    elif atom in MP4_INTEGER_ATOMS and 1 <= len(value) <= 8:
        view.add(MP4_INTEGER_ATOMS[atom], str(int.from_bytes(value, "big", signed=True)))
    elif atom == "gnre" and len(value) == 2 and 0 < value[1] <= len(TCON.GENRES) and not value[0]:
        view.add("genre", TCON.GENRES[value[1] - 1])
    elif atom in MP4_TEXT_ATOMS and (text := mp4_text(type_, value)) is not None:
        view.add(MP4_TEXT_ATOMS[atom], text)
    else:
        return False
    return True
