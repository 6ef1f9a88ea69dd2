"""Everything that is wrong with the bytes of an archive."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from earzip.errors import (
    DamagedArchiveError,
    NotAnArchiveError,
)
from earzip.formats.archive.layout import (
    MAX_SEGMENT_BYTES,
    PartKind,
)
from earzip.formats.archive.reader import ArchiveFile, read_tags, require_parts, require_source


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong with a file: where, and what was found and expected."""

    part: str  # "prefix", "header", "index", "file", "0:24–0:48 (segment 2 of 3)", "picture 1", …
    message: str
    segment: int | None = None  # the number of the segment that is lost, if it is one


def verify_structure(
    path: str | os.PathLike[str], on_part: Callable[[], None] = lambda: None
) -> list[Damage]:
    """Return everything that is wrong with the bytes of an archive; nothing for a whole one.

    Reads and decompresses every part, but does not decode sound. Does not stop at the first damage,
    only where nothing can be found any more (prefix, index). ``on_part`` is called before each part is
    read, and may raise to end it. Raises `ArchiveError` for a file that cannot be read, and
    `UnsupportedArchiveError` for one that needs a newer earzip.
    """
    damages: list[Damage] = []

    @contextmanager
    def recorded(part: str, segment: int | None = None) -> Iterator[None]:
        try:
            with file.blamed():
                yield
        except (DamagedArchiveError, NotAnArchiveError) as error:
            damages.append(Damage(part, error.message, segment))

    prefix, header, index = None, None, None
    with ArchiveFile(path) as file:
        with recorded("prefix"):
            prefix = file.read_prefix()
        if prefix is None:
            return damages
        if wrong_length := file.wrong_length(prefix.file_bytes):
            damages.append(Damage("file", wrong_length))
        with recorded("header"):
            header = file.read_header(prefix)
        with recorded("index"):
            index = file.read_index(prefix)
        if index is None:
            return damages
        if header is not None:
            with recorded("index"):
                require_parts(index, header)
        max_segment_bytes = header.max_segment_bytes if header else MAX_SEGMENT_BYTES
        n_pictures = index.count_of(PartKind.PICTURE)
        copy_digest = hashlib.sha256()
        for i, part in enumerate(index):
            on_part()
            number = i - index.first_of(part.kind)
            match part.kind:
                case PartKind.SEGMENT:
                    name = header.segment_name(number) if header else f"segment {number + 1}"
                    with recorded(name, segment=number):
                        raw = file.read_frames(part, max_segment_bytes)
                        if header and number < header.n_segments:
                            header.unpack_segment(raw, number)
                case PartKind.TAGS:
                    with recorded("tags"):
                        read_tags(file, part, n_pictures)
                case PartKind.PICTURE:
                    with recorded(f"picture {number + 1}"):
                        file.read_part(part)
                case PartKind.EXACT:
                    with recorded(f"exact copy, piece {number + 1}"):
                        copy_digest.update(file.read_part(part))
                case _:
                    with recorded(f"part {i}"):
                        file.read_part(part)
        if header and not any(damage.part.startswith("exact copy") for damage in damages):
            with recorded("exact copy"):
                require_source(header, copy_digest.hexdigest())
    return damages
