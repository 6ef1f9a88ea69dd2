"""The annotation of AU files (``.au``, ``.snd``), text between header and sound: found and parsed.

It is archived and read, never written.
"""

from __future__ import annotations

from typing import BinaryIO, Literal

from earzip.errors import TagError
from earzip.formats.tags.model import BlockView, Found, kind_name
from earzip.formats.tags.riff import note_rest, unmarked_text

# Magics, and the byte order of the numbers behind them.
AU_BYTE_ORDERS: dict[bytes, Literal["little", "big"]] = {b".snd": "big", b"dns.": "little"}
_HEADER_BYTES = 24
_KIND = "au-annotation"


def find_au_tags(file: BinaryIO) -> Found:
    """The annotation of an AU file; nothing where it is zeros or spaces, as writers leave it."""
    found = Found()
    file.seek(0)
    head = file.read(8)
    size = int.from_bytes(head[4:], AU_BYTE_ORDERS[head[:4]]) - _HEADER_BYTES
    data = found.read(file, kind_name(_KIND), _HEADER_BYTES, size) if size > 0 else None
    if data and data.strip(b"\0 "):
        found.blocks.append((_KIND, data))
    return found


def parse_au_annotation(block: bytes) -> BlockView:
    """An annotation in neutral terms. Raises TagError if it does not begin with text."""
    text = unmarked_text(block)
    if not text:
        raise TagError("it does not begin with text")
    view = BlockView()
    note_rest(view, "annotation", block)
    view.add("comment", text)
    return view
