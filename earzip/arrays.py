"""TODO."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float], None]
"""Called with the seconds of audio done since the last call."""
