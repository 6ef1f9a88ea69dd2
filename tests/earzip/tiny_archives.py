"""Archives of the tiny model, and damage to them."""

from __future__ import annotations

from pathlib import Path

from earzip.formats.archive import ArchiveReader
from earzip.transcode import CompressOptions

TINY = CompressOptions(model="tiny")


def damage_segment(archive: Path, i: int) -> None:
    with ArchiveReader(archive) as reader:
        sizes = [len(reader._file.read_part(reader._index[j])) for j in range(reader.n_segments)]
        offset = reader._index[i].offset
    data = bytearray(archive.read_bytes())
    data[offset + sizes[i] // 2] ^= 0x10
    archive.write_bytes(data)
