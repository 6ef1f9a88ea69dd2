"""What the latents of a frame are, as far as the coding of their integers goes. Needs no numpy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

PACKED, CONTEXT, LEVELS = "packed-1", "context-1", "levels-1"
SYMBOL_CODINGS = (PACKED, CONTEXT, LEVELS)
MAX_LEVELS = 512
"""Channels of all groups together: a reader takes them one by one, and a hostile archive says many in few
bytes."""


class Told(IntEnum):
    """In which frames a group is told, and by which differences; in others it is 0."""

    ALWAYS = 0
    """By differences from the frame before."""
    CALM = 1
    """As it is, in frames without an attack."""
    ATTACK = 2
    """In frames with an attack, block after block, by differences from the block before."""


@dataclass(frozen=True)
class Group:
    """Channels of latents that are bands of one kind: ``n_blocks`` times ``n_bands``."""

    told: Told
    n_bands: int
    n_blocks: int = 1

    @property
    def n_channels(self) -> int:
        """How many channels of latents there are."""
        return self.n_bands * self.n_blocks


@dataclass(frozen=True)
class Layout:
    """The kinds of latents in a frame, in their order; those that it does not name come last."""

    n_sparse: int = 0
    """How many are coefficients of a transform, sparse once rounded."""
    groups: tuple[Group, ...] = ()
    """What the others are, where they are bands of levels: then all of them."""
    n_exact: int = 0
    """How many of the last are integers by nature, whose steps no preset moves."""

    @property
    def n_levels(self) -> int:
        """How many latents are levels of bands."""
        return sum(group.n_channels for group in self.groups)

    @property
    def coding(self) -> str:
        """The symbol coding, one of `SYMBOL_CODINGS`."""
        if self.groups:
            return LEVELS
        return CONTEXT if self.n_sparse else PACKED
