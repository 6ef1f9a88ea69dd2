"""The clips of the test tiers, as the quality benchmark codes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.data.pcm import SAMPLE_RATE, Samples

SHORTEST_S = 20.0
"""A container's headers weigh too much in a shorter file: shorter clips are joined."""


@dataclass(frozen=True)
class Clip:
    """What is coded and measured as one file: a clip of a tier, or several short ones joined."""

    tier: str
    name: str
    files: tuple[Path, ...]

    def load(self) -> Samples:
        """Return the sound, float32 `[T, 2]` at 44.1 kHz."""
        parts = []
        for file in self.files:
            samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
            assert rate == SAMPLE_RATE, f"{file}: {rate} Hz, tiers.py writes {SAMPLE_RATE}"
            parts.append(samples)
        return np.concatenate(parts)

    def wav(self, folder: Path) -> Path:
        """Return a WAV file of the clip: its own, or one of 24 bits written into `folder`."""
        if len(self.files) == 1:
            return self.files[0]
        joined = folder / f"{self.files[0].stem}.wav"
        soundfile.write(joined, self.load(), SAMPLE_RATE, subtype="PCM_24")
        return joined


def read_clips(root: Path, tiers: Sequence[str]) -> list[Clip]:
    """Return the clips of `tiers` in the order of `tiers.json`, those under 20 s joined."""
    folder = root / "tiers"
    listed = json.loads((folder / "tiers.json").read_text(encoding="utf-8"))
    clips = []
    for tier in tiers:
        entries = [entry for entry in listed if entry["tier"] == tier]
        for group in join([entry["seconds"] for entry in entries]):
            names = [entries[index]["name"] for index in group]
            files = tuple(folder / entries[index]["file"] for index in group)
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            clips.append(Clip(tier, names[0] + more, files))
    return clips


def join(durations_s: Sequence[float], shortest_s: float = SHORTEST_S) -> list[list[int]]:
    """Return the indices of the durations in each file: one long enough, or short ones in turn.

    Short ones left over at the end go to the last joined file; alone, they are too short a file.
    """
    groups: list[list[int]] = []
    joined: list[list[int]] = []
    pending: list[int] = []
    for index, duration_s in enumerate(durations_s):
        if duration_s >= shortest_s:
            groups.append([index])
            continue
        pending.append(index)
        if sum(durations_s[i] for i in pending) >= shortest_s:
            joined.append(pending)
            pending = []
    if pending and joined:
        joined[-1] += pending
    elif pending:
        joined.append(pending)
    return sorted(groups + joined)


def sound_sha256(sound: Samples) -> str:
    """Return the SHA-256 of the samples, whatever file they lie in."""
    return hashlib.sha256(np.ascontiguousarray(sound, "<f4").tobytes()).hexdigest()


def lag(decoded: Samples, original: Samples, span: int = 1 << 18) -> int:
    """Return by how many samples `decoded` comes late, from the cross-correlation of the middle.

    Both are float32 `[T, 2]`; `span` samples are compared, so lags up to half of that are found.
    """
    start = max(0, (len(original) - span) // 2)
    # Of differences, because the bass has a blunt peak, and Opus's high-pass at 3 Hz shifts it.
    x, y = (
        np.diff(sound[start : start + span].sum(1, dtype=np.float64))
        for sound in (decoded, original)
    )
    size = 2 * span
    product = np.fft.rfft(x, size) * np.fft.rfft(y, size).conj()
    best = int(np.argmax(np.fft.irfft(product, size)))
    return best if best < span else best - size
