"""APEv2 tags of MP3, Monkey's Audio, WavPack and Musepack files, parsed.

`earzip.formats.containers.outer` finds them.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from earzip.errors import TagError
from earzip.formats.tags.model import MAX_ENTRIES, BlockView, Found
from earzip.formats.tags.names import APE_ITEMS, APE_PAIRS, split_pair
from earzip.formats.tags.picture import FRONT_COVER, measured_picture

_MAGIC = b"APETAGEX"
_FRAME = 32  # header and footer alike
_HAS_NO_FOOTER = 1 << 30
_TEXT, _BINARY, _LINK = 0, 1, 2
_COVER = "cover art ("
_COVER_TYPES = {
    "other": 0,
    "icon": 1,
    "other icon": 2,
    "front": 3,
    "back": 4,
    "leaflet": 5,
    "media": 6,
    "lead": 7,
    "artist": 8,
    "conductor": 9,
    "band": 10,
    "composer": 11,
    "lyricist": 12,
    "recording location": 13,
    "recording": 14,
    "performance": 15,
    "video": 16,
    "fish": 17,
    "illustration": 18,
    "band logotype": 19,
    "publisher logotype": 20,
}


def note_cut_ape_tag(file: BinaryIO, end: int, found: Found) -> None:
    """Note an APEv2 footer at ``end`` of the file whose tag does not fit before it."""
    if end < _FRAME:
        return
    file.seek(end - _FRAME)
    footer = file.read(_FRAME)
    if footer[:8] == _MAGIC:
        (size,) = struct.unpack_from("<I", footer, 12)
        found.problems.append(f"the APEv2 tag says {size} bytes, {end} are there")
        found.is_damaged = True


def parse_ape(block: bytes) -> BlockView:
    """An APEv2 tag in neutral terms. Raises TagError if not even one item can be read."""
    has_header = block[:8] == _MAGIC and len(block) >= _FRAME
    has_footer = block[-_FRAME:][:8] == _MAGIC and len(block) >= _FRAME * (1 + has_header)
    if has_header and not has_footer:  # as may be in front of a file
        has_footer = not struct.unpack_from("<I", block, 20)[0] & _HAS_NO_FOOTER
    position, end = _FRAME * has_header, len(block) - _FRAME * has_footer
    if end < position or not (has_header or has_footer):
        raise TagError("the APEv2 footer is missing")
    view = BlockView()
    (count,) = struct.unpack_from("<I", block, (end if has_footer else 0) + 16)
    for _ in range(min(count, MAX_ENTRIES)):
        if position == end:
            break  # some writers count wrongly
        key_end = block.find(b"\0", position + 8, min(end, position + 8 + 256))
        if key_end < 0:
            view.stop("an item's key has no end")
            return view
        size, flags = struct.unpack_from("<2I", block, position)
        value = block[key_end + 1 : key_end + 1 + size]
        if key_end + 1 + size > end:
            view.stop(f"an item says {size} bytes, has {end - key_end - 1}")
            return view
        key = block[position + 8 : key_end].decode("latin-1")
        _add_item(view, key, flags >> 1 & 3, value)
        position = key_end + 1 + size
    if count > MAX_ENTRIES and position < end:
        view.stop(f"{count} items, more than {MAX_ENTRIES}")
    return view


def _add_item(view: BlockView, key: str, kind: int, value: bytes) -> None:
    name = key.lower()
    text = value.decode("utf-8", "replace")
    if kind in (_TEXT, _LINK) and "\ufffd" in text and text.encode() != value:
        view.raw_only.append(f"the exact bytes of item {key[:80]!r}")
    if kind == _TEXT:
        values = text.split("\0")
        if name in APE_PAIRS:
            for each in values:
                for part_name, part in zip(APE_PAIRS[name], split_pair(each), strict=True):
                    view.add(part_name, *filter(None, [part]))
        else:
            view.add(APE_ITEMS.get(name, name), *values)
    elif kind == _BINARY and name.startswith(_COVER):
        file_name, separator, data = value.partition(b"\0")
        if not separator:
            file_name, data = b"", value
        type_ = _COVER_TYPES.get(name[len(_COVER) : -1], FRONT_COVER)
        description = file_name.decode("utf-8", "replace")
        view.pictures.append(measured_picture(type_, "", description, data))
    elif kind == _LINK:
        view.add(APE_ITEMS.get(name, name), text)
    else:
        view.raw_only.append(f"binary item {key[:80]!r}")
