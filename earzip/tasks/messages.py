"""Lists in messages, which name some and count the rest."""

from __future__ import annotations

from collections.abc import Sequence

_MAX_NAMED = 5


def first_few(names: Sequence[str]) -> list[str]:
    """Return the first five of ``names``, and how many more there are if there are more."""
    n_more = len(names) - _MAX_NAMED
    return [*names[:_MAX_NAMED], *([f"and {n_more} more"] if n_more > 0 else [])]
