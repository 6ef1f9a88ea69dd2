"""Types that every floor speaks of: arrays of sound, latents and symbols, and progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float], None]
"""Called with the seconds of audio done since the last call."""
