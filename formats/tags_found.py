"""Tag blocks as they are found in a file, read with every size checked first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import BinaryIO

from earzip.formats.tags_model import MAX_PICTURES, MAX_TAG_BYTES, Chapter


@dataclass
class Found:
    """The tag blocks of a file by precedence, as (kind, bytes), and what could not be taken."""

    blocks: list[tuple[str, bytes]] = field(default_factory=list)
    chapters: list[Chapter] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _n_bytes: int = 0

    def take(self, file: BinaryIO, kind: str, offset: int, size: int) -> None:
        """Read a block; one that is too large or runs past the end becomes a problem."""
        if self._n_bytes + size > MAX_TAG_BYTES or len(self.blocks) >= MAX_PICTURES:
            self.problems.append(
                f"the {kind} block of {size} bytes is not archived: "
                f"{MAX_TAG_BYTES} bytes in {MAX_PICTURES} blocks are the limit"
            )
            return
        file.seek(offset)
        data = file.read(size)
        if len(data) < size:
            self.problems.append(f"the {kind} block says {size} bytes, has {len(data)}")
        self._n_bytes += len(data)
        self.blocks.append((kind, data))
