"""Lyrics3 tags (v1 and v2.00), which stand before the ID3v1 tag of an MP3 file, parsed."""

from __future__ import annotations

from earzip.errors import TagError
from earzip.formats.tags.lyrics import sync_from_lrc
from earzip.formats.tags.model import BlockView
from earzip.formats.tags.riff import note_rest, unmarked_text

_BEGIN = b"LYRICSBEGIN"
_END_1, _END_2 = b"LYRICSEND", b"LYRICS200"
_SIZE_BYTES = 6  # digits before the end of version 2
_LYRICS = "LYR"
_FIELDS = {"AUT": "lyricist", "EAL": "album", "EAR": "artist", "ETT": "title", "INF": "comment"}
_FLAGS = ("IND", "CRC")  # they say what follows from the others


def parse_lyrics3(block: bytes) -> BlockView:
    """A Lyrics3 tag in neutral terms. Raises TagError if nothing can be read."""
    view = BlockView()
    if not block.startswith(_BEGIN) or not block.endswith((_END_1, _END_2)):
        raise TagError("its beginning or end is missing")
    if block.endswith(_END_1):
        _add(view, _LYRICS, block[len(_BEGIN) : -len(_END_1)])
        return view
    position, end = len(_BEGIN), len(block) - len(_END_2) - _SIZE_BYTES
    while position < end:
        name = block[position : position + 3].decode("latin-1")
        digits = block[position + 3 : position + 8]
        size = int(digits) if digits.isdigit() else end
        position += 8 + size
        if position > end:
            view.stop(f"the {name!r} field does not end within the tag")
            break
        _add(view, name, block[position - size : position])
    return view


def _add(view: BlockView, name: str, value: bytes) -> None:
    if name in _FLAGS:
        return
    text = unmarked_text(value)
    note_rest(view, name, value)
    if name == _LYRICS:
        view.add("syncedlyrics" if sync_from_lrc(text) else "lyrics", text)
    elif name in _FIELDS:
        view.add(_FIELDS[name], text)
    else:
        view.raw_only.append(f"field {name!r}")
