"""The share of Opus's bits: a codec's rate over the rate at which Opus scores as well."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

JUDGED = ("si_sdr_db", "mel", "stft", "icpc", "ccpc")
"""The measures that count."""
HIGHER_IS_BETTER = {"si_sdr_db", "icpc", "ccpc", "two_f"}

Clamp = Literal["below", "above"] | None
"""Whether a score is worse than Opus's at the lowest rate, or better than at the highest."""


@dataclass(frozen=True)
class Point:
    """Rate and score of one clip, by one measure."""

    kbps: float
    score: float


@dataclass(frozen=True)
class Share:
    """Share of Opus's bits by one measure, over the clips of a tier."""

    share: float
    """Geometric mean over the clips; under 1 where fewer bits than Opus's do."""
    n_clips: int
    n_below: int
    """Clips worse than Opus's lowest rate: their true share is larger."""
    n_above: int
    """Clips better than Opus's highest rate: their true share is smaller."""


def opus_kbps(score: float, ladder: Sequence[Point], measure: str) -> tuple[float, Clamp]:
    """Rate at which Opus first reaches `score`, and whether that is beyond its ladder.

    log(kbps) is interpolated over the score, between the first rate that is as good and the one
    below it: where more bits make Opus worse, the fewer ones count. `ladder` is in any order.
    """
    sign = 1 if measure in HIGHER_IS_BETTER else -1
    points = sorted(ladder, key=lambda point: point.kbps)
    wanted = sign * score
    if wanted < sign * points[0].score:
        return points[0].kbps, "below"
    if wanted == sign * points[0].score:
        return points[0].kbps, None
    for low, high in pairwise(points):
        if wanted <= sign * high.score:
            # Every rate before `high` was too bad, so the scores differ.
            part = (score - low.score) / (high.score - low.score)
            return low.kbps * (high.kbps / low.kbps) ** part, None
    return points[-1].kbps, "above"


def share_of_opus(ours: Sequence[Point], ladders: Sequence[Sequence[Point]], measure: str) -> Share:
    """Share by `measure` of the clips `ours`, each with Opus's points on the same clip."""
    logs = []
    clamps = []
    for point, ladder in zip(ours, ladders, strict=True):
        kbps, clamp = opus_kbps(point.score, ladder, measure)
        logs.append(math.log(point.kbps / kbps))
        clamps.append(clamp)
    return Share(
        share=math.exp(math.fsum(logs) / len(logs)),
        n_clips=len(logs),
        n_below=clamps.count("below"),
        n_above=clamps.count("above"),
    )


def geometric_mean(values: Sequence[float]) -> float:
    """Geometric mean of positive numbers."""
    return math.exp(math.fsum(math.log(value) for value in values) / len(values))
