"""QuickTime tags in MP4 files, parsed: items with keys, and texts directly in ``udta``.

`mp4` finds them. Phones and cameras write the first, FFmpeg and QuickTime both, 3GPP recorders the
second.
"""

from __future__ import annotations

import struct

from earzip.errors import TagError
from earzip.formats.tags.model import BlockView
from earzip.formats.tags.mp4 import add_mp4_value, data_values, mp4_atoms, mp4_items, mp4_text
from earzip.formats.tags.names import MP4_TEXT_ATOMS, QUICKTIME_KEYS, QUICKTIME_TEXTS, free_name
from earzip.formats.tags.picture import FRONT_COVER, measured_picture

_PREFIX = "com.apple.quicktime."
_SIGNED, _UNSIGNED = (21, 65, 66, 67, 74), (22, 75, 76, 77, 78)
_FLOATS = {23: ">f", 24: ">d"}
_PICTURES = (13, 14, 27)  # JPEG, PNG, BMP
_ARTWORK = "artwork"
_UTF16_MARKS = (b"\xfe\xff", b"\xff\xfe")


def parse_mp4_keys(block: bytes) -> BlockView:
    """The atoms ``keys`` and ``ilst`` in neutral terms. Raises TagError if nothing can be read."""
    atoms = dict(mp4_atoms(block))
    keys = [name.decode("utf-8", "replace") for _, name in mp4_atoms(atoms.get(b"keys", b"")[8:])]
    view = BlockView()
    for item, parts in mp4_items(view, atoms.get(b"ilst", b"")):
        number = int.from_bytes(item, "big")
        if not 1 <= number <= len(keys):
            view.raw_only.append(f"item {number}, which has no key,")
            continue
        for type_, value in data_values(parts):
            if not _add_keyed(view, keys[number - 1].removeprefix(_PREFIX), type_, value):
                view.raw_only.append(f"key {keys[number - 1][:80]!r}")
    return view


def _add_keyed(view: BlockView, key: str, type_: int, value: bytes) -> bool:
    if type_ in _PICTURES or key == _ARTWORK:
        view.pictures.append(measured_picture(FRONT_COVER, "", "", value))
        return True
    text = mp4_text(type_, value)
    if type_ in _SIGNED + _UNSIGNED:
        text = str(int.from_bytes(value, "big", signed=type_ in _SIGNED))
    elif type_ in _FLOATS and len(value) == struct.calcsize(_FLOATS[type_]):
        text = f"{struct.unpack(_FLOATS[type_], value)[0]:.9g}"
    if text is None or not key:
        return False
    view.add(QUICKTIME_KEYS.get(key.lower()) or free_name(key), text)
    return True


def parse_mp4_udta(block: bytes) -> BlockView:
    """The texts of a ``udta`` atom in neutral terms. Raises TagError if nothing can be read."""
    view = BlockView()
    try:
        for name, contents in mp4_atoms(block):
            atom = name.decode("latin-1")
            if contents[4:8] == b"data":  # as in an item list
                values = data_values(list(mp4_atoms(contents)))
                done = [add_mp4_value(view, atom, *value) for value in values]
            elif atom.startswith("©"):
                done = [_add_texts(view, atom, contents)]
            else:
                done = [_add_3gpp(view, atom, contents)]
            if not done or not all(done):
                view.raw_only.append(f"atom {atom!r}")
    except TagError as error:
        view.stop(error.message)
    return view


def _add_texts(view: BlockView, atom: str, contents: bytes) -> bool:
    """Add texts that each have their size and language in front; False if they are of no known kind."""
    field = QUICKTIME_TEXTS.get(atom) or MP4_TEXT_ATOMS.get(atom)
    texts = []
    position = 0
    while position + 4 <= len(contents):
        size, _language = struct.unpack_from(">2H", contents, position)
        position += 4 + size
        if position > len(contents):
            return False
        texts.append(contents[position - size : position])
    if not field or not texts:
        return False
    view.add(field, *map(_udta_text, texts))
    return True


def _add_3gpp(view: BlockView, atom: str, contents: bytes) -> bool:
    """Add a text of 3GPP TS 26.244, or the year of its ``yrrc``; False for anything else."""
    field = QUICKTIME_TEXTS.get(atom)
    if not field or len(contents) < 6:
        return False
    if atom == "yrrc":
        view.add(field, str(int.from_bytes(contents[4:6], "big")))
        return len(contents) == 6
    text, _, rest = contents[6:].partition(b"\0")
    if contents[6:8] in _UTF16_MARKS:
        text, rest = contents[6 : 6 + (len(contents) - 6) // 2 * 2], b""
    if rest and atom == "albm":
        view.add("tracknumber", str(rest[0]))
        rest = rest[1:]
    view.add(field, _udta_text(text))
    return not rest


def _udta_text(text: bytes) -> str:
    """A text whose encoding follows from its language at best: UTF-8 if it is valid, else Mac Roman."""
    if text[:2] in _UTF16_MARKS:
        return text.decode("utf-16", "replace").rstrip("\0")
    try:
        return text.decode("utf-8").rstrip("\0")
    except UnicodeDecodeError:
        return text.decode("mac-roman")
