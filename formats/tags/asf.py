"""ASF tags (WMA): the header objects that hold them, found and parsed."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO
from uuid import UUID

from earzip.errors import TagError
from earzip.formats.containers.walk import ASF_OBJECT_HEADER, asf_objects
from earzip.formats.tags.model import MAX_ENTRIES, MAX_TAG_BYTES, BlockView, Found
from earzip.formats.tags.names import ASF_ATTRIBUTES, ASF_PAIRS, free_name, split_pair
from earzip.formats.tags.picture import measured_picture

HEADER_GUID = UUID("75B22630-668E-11CF-A6D9-00AA0062CE6C").bytes_le
_EXTENSION = UUID("5FBF03B5-A92E-11CF-8EE3-00C00C205365").bytes_le
_DESCRIPTION = UUID("75B22633-668E-11CF-A6D9-00AA0062CE6C").bytes_le
_EXTENDED = UUID("D2D0A440-E307-11D2-97F0-00A0C95EA850").bytes_le
_METADATA = UUID("C5F8CBEA-5BAF-4877-8467-AA8C44FA4CCA").bytes_le
_LIBRARY = UUID("44231C94-9498-49D1-A141-1D134E457054").bytes_le
_TAG_OBJECTS = (_DESCRIPTION, _EXTENDED, _METADATA, _LIBRARY)
_DESCRIPTION_NAMES = ("title", "artist", "copyright", "comment", "rating")
_UNICODE, _BYTES, _BOOL, _DWORD, _QWORD, _WORD = range(6)


def find_asf_tags(file: BinaryIO) -> Found:
    """The content description and metadata objects of an ASF file, one behind the other."""
    found = Found()
    file_end = file.seek(0, 2)
    file.seek(16)
    end = min(file_end, int.from_bytes(file.read(8), "little"))
    objects: list[bytes] = []
    _take_objects(file, 30, end, objects, found)
    if objects:
        found.blocks.append(("asf-objects", b"".join(objects)))
    return found


def _take_objects(file: BinaryIO, start: int, end: int, objects: list[bytes], found: Found) -> None:
    try:
        for guid, position, size in asf_objects(file, start, end):
            if guid in _TAG_OBJECTS:
                if sum(map(len, objects)) + size > MAX_TAG_BYTES:
                    found.problems.append(f"an ASF header object of {size} bytes is not archived")
                else:
                    file.seek(position)
                    objects.append(file.read(size))
            elif guid == _EXTENSION and start == 30:
                inner = position + ASF_OBJECT_HEADER + 22
                _take_objects(file, inner, position + size, objects, found)
    except ValueError as error:
        found.problems.append(str(error))


def parse_asf(block: bytes) -> BlockView:
    """ASF tag objects in neutral terms. Raises TagError if not even one attribute can be read."""
    view = BlockView()
    n_values = 0
    problem = None
    # A further value of a field is in a later kind of object, wherever that is in the file.
    objects: list[tuple[bytes, bytes]] = []
    try:
        for part in _objects(block):
            objects.append(part)
    except TagError as error:
        problem = error.message
    except ValueError as error:
        problem = str(error)
    for guid, body in sorted(objects, key=lambda part: _TAG_OBJECTS.index(part[0])):
        try:
            for name, type_, value in _attributes(guid, body):
                n_values += 1
                if n_values > MAX_ENTRIES:
                    raise TagError(f"more than {MAX_ENTRIES} values")
                _add_attribute(view, name, type_, value)
        except TagError as error:
            problem = error.message
        except (struct.error, IndexError, ValueError):
            problem = "a header object ends early"
    if problem:
        view.stop(problem)
    return view


def _objects(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    end = 0
    for guid, position, size in asf_objects(BytesIO(block), 0, len(block)):
        if guid not in _TAG_OBJECTS:
            raise TagError("a header object holds no tags")
        end = position + size
        yield guid, block[position + ASF_OBJECT_HEADER : end]
    if end != len(block):
        raise TagError("a header object ends early")


def _attributes(guid: bytes, body: bytes) -> Iterator[tuple[str, int, bytes]]:
    """Name, type and bytes of each attribute of one object."""
    if guid == _DESCRIPTION:
        position = 10
        lengths = struct.unpack_from("<5H", body)
        for name, length in zip(_DESCRIPTION_NAMES, lengths, strict=True):
            yield name, _UNICODE, body[position : position + length]
            position += length
        return
    (count,) = struct.unpack_from("<H", body)
    position = 2
    for _ in range(count):
        if guid == _EXTENDED:
            (name_length,) = struct.unpack_from("<H", body, position)
            name_start = position + 2
            type_, length = struct.unpack_from("<2H", body, name_start + name_length)
            value_start = name_start + name_length + 4
        else:
            _, _, name_length, type_, length = struct.unpack_from("<4HI", body, position)
            name_start = position + 12
            value_start = name_start + name_length
        value = body[value_start : value_start + length]
        if len(value) < length:
            raise TagError(f"an attribute says {length} bytes, has {len(value)}")
        yield _unicode(body[name_start : name_start + name_length]), type_, value
        position = value_start + length


def _unicode(data: bytes) -> str:
    return data[: len(data) // 2 * 2].decode("utf-16-le", "replace").rstrip("\0")


def _add_attribute(view: BlockView, name: str, type_: int, value: bytes) -> None:
    lower = name.lower()
    if type_ == _BYTES and lower == "wm/picture" and len(value) >= 9:
        kind, size = struct.unpack_from("<BI", value)
        mime, description = _terminated(value, 5)
        data = value[max(0, len(value) - size) :]
        view.pictures.append(measured_picture(kind, mime, description, data))
        return
    if type_ == _UNICODE:
        text = _unicode(value)
    elif type_ in (_BOOL, _DWORD, _QWORD, _WORD):
        text = str(int.from_bytes(value, "little"))
    else:
        view.raw_only.append(f"attribute {name[:80]!r}")
        return
    if not text:
        return
    if lower in ASF_PAIRS:
        for part_name, part in zip(ASF_PAIRS[lower], split_pair(text), strict=True):
            view.add(part_name, *filter(None, [part]))
    else:
        view.add(ASF_ATTRIBUTES.get(lower) or free_name(name), text)


def _terminated(data: bytes, position: int) -> tuple[str, str]:
    """Two zero-terminated UTF-16 texts from ``position`` on."""
    texts = data[position : position + 4096].decode("utf-16-le", "replace").split("\0", 2)
    return texts[0], texts[1] if len(texts) > 1 else ""
