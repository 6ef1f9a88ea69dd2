"""What of a job is an object in a store, and no file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)  # there may be a million
class Remote:
    """The URLs of a job, as they were when the stores were listed; None for what is a file."""

    source: str | None = None
    version: str = ""
    """Changes with the content of the source."""
    mtime_ns: int = 0
    """The source's time of modification."""
    target: str | None = None
    is_there: bool = False
    """Whether the target was listed."""
    found: tuple[str, ...] = ()
    """Archives elsewhere that may be of this source."""
