"""Neutral tags -> the item list of an MP4 file, through mutagen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mutagen import MutagenError
from mutagen.mp4 import MP4, AtomDataType, MP4Cover, MP4FreeForm

from earzip.errors import TargetError
from earzip.formats.tags.model import Picture, TagView
from earzip.formats.tags.names import (
    MP4_INTEGER_ATOMS,
    MP4_PAIR_ATOMS,
    MP4_TEXT_ATOMS,
    SPOKEN_NAMES,
    SYNONYMS,
    split_pair,
)
from earzip.formats.tags.picture import FRONT_COVER

_OWNER = "com.apple.iTunes"
_TEXT_ATOMS = {name: atom for atom, name in MP4_TEXT_ATOMS.items()}
_INTEGER_ATOMS = {name: atom for atom, name in MP4_INTEGER_ATOMS.items()}
_FLAGS = ("cpil", "pcst", "pgap")
_SPOKEN = {name: spoken for spoken, name in SPOKEN_NAMES.items()}
_COVERS = {
    "image/jpeg": MP4Cover.FORMAT_JPEG,
    "image/png": MP4Cover.FORMAT_PNG,
    "image/bmp": AtomDataType.BMP,
    "image/gif": AtomDataType.GIF,
}
_MAX_PART = 2**16 - 1
_MAX_INTEGER = 2**31 - 1


def write_mp4_items(path: Path, view: TagView) -> None:
    """Write the item list of an MP4 file; what no item can hold is left out.

    Raises TargetError if the file cannot be written.
    """
    try:
        file = MP4(path)
        if file.tags is None:
            file.add_tags()
        assert file.tags is not None
        file.tags.clear()  # FFmpeg says there who it is
        file.tags.update(_items(view))
        file.save()
    except (MutagenError, OSError) as error:
        raise TargetError(f"tags cannot be written: {error}", path) from error


def _items(view: TagView) -> dict[str, list[Any]]:
    """The items by mutagen's names."""
    fields = {}
    for name, values in view.fields.items():
        better = SYNONYMS.get(name, name)
        fields[name if better in view.fields else better] = values
    items: dict[str, list[Any]] = {}
    for atom, (number, total) in MP4_PAIR_ATOMS.items():
        pair = _pair(fields.get(number, []), fields.get(total, []))
        if pair:
            items[atom] = [pair]
            fields.pop(number, None)
            fields.pop(total, None)
    for name, values in fields.items():
        key, made = _item(name, values)
        items[key] = made
    if covers := _covers(view.pictures):
        items["covr"] = covers
    return items


def _pair(numbers: list[str], totals: list[str]) -> tuple[int, int] | None:
    """Number and total as integers, 0 for one that is absent; None if they are not just that."""
    if len(numbers) > 1 or len(totals) > 1 or not (numbers or totals):
        return None
    if numbers and not totals:
        numbers, totals = ([text] if text else [] for text in split_pair(numbers[0]))
    pair = []
    for values in (numbers, totals):
        text = values[0] if values else "0"
        if not (text.isascii() and text.isdecimal()):  # "A1" is kept as it is, in a freeform item
            return None
        pair.append(int(text))
    return (pair[0], pair[1]) if max(pair) <= _MAX_PART else None


def _item(name: str, values: list[str]) -> tuple[str, list[Any]]:
    if name in _INTEGER_ATOMS and (numbers := _integers(values)) is not None:
        atom = _INTEGER_ATOMS[name]
        return atom, [bool(number) for number in numbers] if atom in _FLAGS else numbers
    if name in _TEXT_ATOMS:
        return _TEXT_ATOMS[name], values
    spoken = _SPOKEN.get(name, name.upper())
    return f"----:{_OWNER}:{spoken}", [MP4FreeForm(value.encode()) for value in values]


def _integers(values: list[str]) -> list[int] | None:
    if not all(value.isascii() and value.isdecimal() for value in values):
        return None
    numbers = [int(value) for value in values]
    exact = [str(number) for number in numbers] == values
    return numbers if exact and max(numbers) <= _MAX_INTEGER else None


def _covers(pictures: list[Picture]) -> list[MP4Cover]:
    """The images that an item list can hold, front covers first: players show the first."""
    ordered = sorted(pictures, key=lambda picture: picture.type != FRONT_COVER)
    return [
        MP4Cover(picture.data, _COVERS[picture.mime])
        for picture in ordered
        if picture.mime in _COVERS
    ]
