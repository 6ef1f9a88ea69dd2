"""Results of coding clips, kept as JSON lines so that a run goes on where the last one stopped."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.data.pcm import SAMPLE_RATE
from benchmarks.opus_share import Point
from earzip.metrics.measures import Measures
from earzip.metrics.perceptual import PerceptualMeasures


@dataclass(frozen=True)
class Key:
    """What a result belongs to."""

    codec: str
    setting: str
    version: str
    """Version of the codec, and the model's SHA-256."""
    clip: str
    """SHA-256 of the original's samples."""


@dataclass(frozen=True)
class Result:
    """One clip coded at one setting."""

    n_bytes: int
    n_samples: int
    lag: int
    """Samples by which the decoded sound comes late: anything but 0 spoils the measures."""
    measures: Measures
    perceptual: PerceptualMeasures | None = None
    """None where they were not taken."""
    treble_db: float | None = None
    """See `treble_error_db`; None in results from before it was taken."""

    @property
    def kbps(self) -> float:
        """All bytes over the clip's duration."""
        return pooled_kbps([self])

    def point(self, measure: str) -> Point:
        """Rate and score by `measure`, one of either kind."""
        of = self.measures if hasattr(self.measures, measure) else self.perceptual
        return Point(self.kbps, getattr(of, measure))


class Coded(Protocol):
    """Anything that was coded: its size and its length."""

    @property
    def n_bytes(self) -> int:
        """All bytes of the file."""

    @property
    def n_samples(self) -> int:
        """Samples a channel."""


def pooled_kbps(coded: Sequence[Coded]) -> float:
    """Return the bytes of all over the duration of all."""
    seconds = sum(one.n_samples for one in coded) / SAMPLE_RATE
    return sum(one.n_bytes for one in coded) * 8 / seconds / 1000


def _result_of(fields: dict[str, Any]) -> Result:
    """Return a result of its JSON object; ValueError, KeyError or TypeError if it is none."""
    perceptual = fields.pop("perceptual", None)
    measures = Measures(**fields.pop("measures"))
    heard = PerceptualMeasures(**perceptual) if perceptual else None
    return Result(**fields, measures=measures, perceptual=heard)


class ResultCache:
    """A file of results, read once and appended to. Several processes may append to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: dict[Key, Result] = {}
        self._torn = False
        self._read()

    def _read(self) -> None:
        if not self.path.exists():
            return
        text = self.path.read_text(encoding="utf-8")
        # A line that a crash cut short must not swallow the next one.
        self._torn = bool(text) and not text.endswith("\n")
        for number, line in enumerate(text.splitlines(), 1):
            try:
                fields = json.loads(line)
                result = _result_of(fields["result"])
                key = Key(**fields["key"])
            except (ValueError, KeyError, TypeError) as error:
                print(f"{self.path}:{number}: left out: {error!r}", file=sys.stderr)
                continue
            self.results[key] = result

    def add(self, key: Key, result: Result, name: str) -> None:
        """Keep a result; `name` is for people who read the file."""
        self.results[key] = result
        line = json.dumps({"name": name, "key": asdict(key), "result": asdict(result)})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            # One write, so that lines of two processes do not mix.
            os.write(file, f"{chr(10) if self._torn else ''}{line}\n".encode())
        finally:
            os.close(file)
        self._torn = False
