"""APEv2 tags of MP3, Monkey's Audio, WavPack and Musepack files, parsed.

`earzip.formats.containers.outer` finds them.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from earzip.errors import TagError
from earzip.formats.tags.model import MAX_VALUES, BlockView, Found
from earzip.formats.tags.names import APE_ITEMS, APE_PAIRS, split_pair
from earzip.formats.tags.picture import FRONT_COVER, measured_picture

_MAGIC = b"APETAGEX"
_FRAME = 32  # header and footer alike
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


def parse_ape(block: bytes) -> BlockView:
    """An APEv2 tag in neutral terms. Raises TagError if an item runs past the end."""
    if len(block) < _FRAME or block[-_FRAME:][:8] != _MAGIC:
        raise TagError("the APEv2 footer is missing")
    view = BlockView()
    position = _FRAME if block[:8] == _MAGIC and len(block) >= 2 * _FRAME else 0
    end = len(block) - _FRAME
    (count,) = struct.unpack_from("<I", block, end + 16)
    if count > MAX_VALUES:
        raise TagError(f"{count} items, more than {MAX_VALUES}")
    for _ in range(count):
        if position == end:
            break  # some writers count wrongly
        key_end = block.find(b"\0", position + 8, min(end, position + 8 + 256))
        if key_end < 0:
            raise TagError("an item's key has no end")
        size, flags = struct.unpack_from("<2I", block, position)
        value = block[key_end + 1 : key_end + 1 + size]
        if key_end + 1 + size > end:
            raise TagError(f"an item says {size} bytes, has {end - key_end - 1}")
        key = block[position + 8 : key_end].decode("latin-1")
        _add_item(view, key, flags >> 1 & 3, value)
        position = key_end + 1 + size
    if sum(map(len, view.fields.values())) > MAX_VALUES:
        raise TagError(f"more than {MAX_VALUES} values")
    return view


def _add_item(view: BlockView, key: str, kind: int, value: bytes) -> None:
    name = key.lower()
    if kind == _TEXT:
        values = value.decode("utf-8", "replace").split("\0")
        if name in APE_PAIRS:
            for text in values:
                for part_name, part in zip(APE_PAIRS[name], split_pair(text), strict=True):
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
        view.add(APE_ITEMS.get(name, name), value.decode("utf-8", "replace"))
    else:
        view.raw_only.append(f"binary item {key[:80]!r}")
