"""The tag part of an archive: the neutral view, the raw tag blocks, which pictures belong to it.

One frame holds them all, so that values which stand in both views cost their bytes once. The neutral
view is checked by `earzip.formats.tag_payload`, in what is read and in what is written;
`earzip.formats.tags` makes tags of it. The pictures themselves are parts of their own, stored as they
are.
"""

from __future__ import annotations

import reprlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from earzip.errors import DamagedArchiveError, TagError
from earzip.formats.canonical_json import JsonValue, dump_canonical, load_canonical
from earzip.formats.tag_payload import MAX_BLOCKS, MAX_PICTURES, read_payload

MAX_TAG_JSON_BYTES = 4 << 20
_JSON_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class TagPart:
    """The content of a tag part."""

    payload: dict[str, JsonValue]  # the neutral view
    blocks: tuple[bytes, ...]  # the source's raw tag blocks
    pictures: tuple[int, ...]  # for each picture of the payload, the picture part that holds it


def pack_tag_part(part: TagPart, picture_bytes: Sequence[int]) -> bytes:
    """Return the bytes of ``part`` before compression; the inverse of `unpack_tag_part`.

    Raises `TagError` for what no archive may hold.
    """
    _require_payload(part, picture_bytes)
    # Only the payload keeps the order of its keys; around it they are sorted.
    members: dict[str, JsonValue] = {
        "blocks": [len(block) for block in part.blocks],
        "payload": part.payload,
        "pictures": list(part.pictures),
    }
    try:
        text = dump_canonical(members, sort_keys=False)
    except UnicodeError as error:
        raise TagError("tags hold text that is not Unicode") from error
    _require_at_most(len(text), MAX_TAG_JSON_BYTES, "bytes of tags as JSON")
    return b"".join((_JSON_LENGTH.pack(len(text)), text, *part.blocks))


def unpack_tag_part(raw: bytes, picture_bytes: Sequence[int]) -> TagPart:
    """Return the tag part that ``raw``, already decompressed, holds.

    ``picture_bytes``: the sizes of the archive's picture parts. Raises `DamagedArchiveError`, without
    a path, where it is not valid or its pictures are not these.
    """
    try:
        begin = _JSON_LENGTH.size
        if len(raw) < begin:
            raise ValueError(f"{len(raw)} bytes, expected at least {begin}")
        (n_json,) = _JSON_LENGTH.unpack(raw[:begin])
        if n_json > min(MAX_TAG_JSON_BYTES, len(raw) - begin):
            raise ValueError(f"JSON has {n_json} bytes, {len(raw) - begin} are there")
        members = load_canonical(raw[begin : begin + n_json], sort_keys=False)
        if not isinstance(members, dict) or list(members) != ["blocks", "payload", "pictures"]:
            raise ValueError("JSON is not an object of blocks, payload and pictures")
        payload = members["payload"]
        if not isinstance(payload, dict):
            raise ValueError("payload is not a JSON object")
        blocks = _split(raw, begin + n_json, _integers(members["blocks"], MAX_BLOCKS, "blocks"))
        pictures = _integers(members["pictures"], MAX_PICTURES, "pictures")
        if set(pictures) != set(range(len(picture_bytes))):
            raise ValueError(f"pictures do not refer to each of the {len(picture_bytes)} stored")
        part = TagPart(payload, blocks, pictures)
        _require_payload(part, picture_bytes)
    except ValueError as error:
        raise DamagedArchiveError(f"tags are not valid: {error}") from error
    except TagError as error:
        raise DamagedArchiveError(f"tags are not valid: {error.message}") from error
    return part


def _require_payload(part: TagPart, picture_bytes: Sequence[int]) -> None:
    """Raise `TagError` unless the neutral view is one of these blocks and pictures."""
    read_payload(
        part.payload,
        [len(block) for block in part.blocks],
        [picture_bytes[number] for number in part.pictures],
    )


def _split(raw: bytes, begin: int, lengths: tuple[int, ...]) -> tuple[bytes, ...]:
    blocks = []
    for length in lengths:
        if length > len(raw) - begin:
            raise ValueError(f"block has {length} bytes, {len(raw) - begin} are there")
        blocks.append(raw[begin : begin + length])
        begin += length
    if begin != len(raw):
        raise ValueError(f"{len(raw) - begin} bytes after the last block")
    return tuple(blocks)


def _integers(value: JsonValue, limit: int, what: str) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > limit:
        raise ValueError(f"{what} is not a list of at most {limit}")
    integers = []
    for member in value:
        if type(member) is not int or member < 0:
            raise ValueError(f"{what} has {reprlib.repr(member)}, expected a whole number")
        integers.append(member)
    return tuple(integers)


def _require_at_most(found: int, limit: int, what: str) -> None:
    if found > limit:
        raise TagError(f"{found} {what}, the limit is {limit}")
