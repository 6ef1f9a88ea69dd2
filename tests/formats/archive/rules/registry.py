"""Archives that each break one rule of SPEC.md, under right checksums.

`BREAKERS` names them. A breaker takes the pieces of a whole archive of its `kind` and changes them, or
returns the bytes of the file. Kinds: a symbol coding, with tags and pictures, or a form of exact copy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.formats.archive.samples import Pieces

PACKED, CONTEXT, LEVELS, FLAC, FILE, SHORT = (
    "packed-1",
    "context-1",
    "levels-1",
    "flac",
    "file",
    "short",
)
KINDS = (PACKED, CONTEXT, LEVELS, FLAC, FILE, SHORT)
SEGMENT, TAGS, PICTURE, EXACT = 1, 2, 3, 4

Break = Callable[[Pieces], bytes | None]


@dataclass(frozen=True)
class Breaker:
    """One archive that breaks the rule of that section."""

    section: str
    kind: str
    make: Break
    only_verify: bool
    """Whether it breaks what `restore` does not read."""


BREAKERS: dict[str, Breaker] = {}


def breaks(
    section: str, name: str, make: Break, kind: str = PACKED, *, only_verify: bool = False
) -> None:
    """Register an archive."""
    full = f"{section}: {name}"
    assert full not in BREAKERS, full
    BREAKERS[full] = Breaker(section, kind, make, only_verify)
