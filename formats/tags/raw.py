"""Raw tag blocks with their pictures cut out: ``cut_pictures`` and ``RawBlock.join`` are inverse.

A picture is often most of a tag, and the archive stores it once, by its hash. The raw block keeps
what is left and, for each cut, how the picture was stored: as it is, unsynchronised (ID3 puts a
zero behind some 0xFF bytes) or in base64 together with the bytes before it (Vorbis comments).
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from earzip.formats.tag_payload import MAX_CUTS, Cut

_SMALLEST_CUT = 64  # a shorter picture costs less in place than its cut's description
_MAX_MISSES = 8  # compressed ID3 frames hide pictures; searching a large tag for each is slow
_FALSE_SYNC = re.compile(rb"\xff(?=[\x00\xe0-\xff])")


@dataclass(frozen=True, slots=True)
class RawBlock:
    """A tag block as the source had it, less the pictures of ``cuts``."""

    kind: str
    data: bytes = field(repr=False)
    cuts: tuple[Cut, ...] = ()

    def join(self, pictures: Sequence[bytes]) -> bytes:
        """The source's bytes again."""
        parts = []
        position = 0
        for cut in self.cuts:
            parts.append(self.data[position : cut.offset])
            position = cut.offset + cut.head
            parts.append(
                _encode(cut.coding, self.data[cut.offset : position], pictures[cut.picture])
            )
        parts.append(self.data[position:])
        return b"".join(parts)


def _encode(coding: str, head: bytes, picture: bytes) -> bytes:
    if coding == "base64":
        return b64encode(head + picture)
    return _FALSE_SYNC.sub(b"\xff\x00", picture) if coding == "unsync" else picture


@dataclass(frozen=True, slots=True)
class Base64Span:
    """A base64 text in a block: its place, the decoded bytes before the picture, the picture.

    ``mime`` is for a picture that has no head to say so.
    """

    start: int
    end: int
    head: bytes
    picture: bytes
    mime: str = ""


def cut_pictures(
    kind: str, block: bytes, pictures: Sequence[bytes], base64_spans: Iterable[Base64Span] = ()
) -> RawBlock:
    """The block without its pictures; ``join`` restores ``block`` exactly."""
    spans = [
        (span.start, span.end, pictures.index(span.picture), "base64", span.head)
        for span in base64_spans
        if span.picture in pictures
        and b64encode(span.head + span.picture) == block[span.start : span.end]
    ]
    if not spans:
        spans = _find_spans(block, pictures)
    parts = []
    cuts = []
    position = length = 0
    for start, end, picture, coding, head in sorted(spans)[:MAX_CUTS]:  # the others stay in place
        parts += [block[position:start], head]
        length += start - position
        cuts.append(Cut(length, picture, coding, len(head)))
        length += len(head)
        position = end
    parts.append(block[position:])
    return RawBlock(kind, b"".join(parts), tuple(cuts))


def _find_spans(block: bytes, pictures: Sequence[bytes]) -> list[tuple[int, int, int, str, bytes]]:
    spans: list[tuple[int, int, int, str, bytes]] = []
    misses = 0
    for index, picture in enumerate(pictures):
        if len(picture) < _SMALLEST_CUT or misses == _MAX_MISSES:
            continue
        for coding in ("plain", "unsync"):
            needle = _encode(coding, b"", picture)
            # Pictures usually come in the order of the block; the second search is for the exception.
            start = block.find(needle, spans[-1][1] if spans else 0)
            start = block.find(needle) if start < 0 else start
            end = start + len(needle)
            if start >= 0 and all(end <= span[0] or start >= span[1] for span in spans):
                spans.append((start, end, index, coding, b""))
                break
        else:
            misses += 1
    return spans
