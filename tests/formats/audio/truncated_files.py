"""Whole files for tests of truncation, and where they are cut."""

from __future__ import annotations

import random

from tests.formats.audio.audio_files import RATE

N_FRAMES = 3 * RATE + 17


def places(path, start=0.05, count=12):
    """Byte counts to cut at: the middle, one byte short, and others spread over the file."""
    size = path.stat().st_size
    rng = random.Random(0)
    return [size // 2, size - 1, *(rng.randrange(int(start * size), size) for _ in range(count))]
