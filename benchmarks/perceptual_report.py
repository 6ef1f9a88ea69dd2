"""The quality benchmark's report by measures that follow listeners: Markdown, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.opus_share import HIGHER_IS_BETTER, geometric_mean, opus_kbps
from benchmarks.quality_report import Row, Tier, describe, table

_OPUS = ("opus-av", "opus")
SHARED = {"zimtohrli": "Zimtohrli", "two_f": "2f", "nmr_db": "NMR"}
"""The measures by which the share of Opus's bits is told."""
_WORST_TENTH = 0.1


@dataclass(frozen=True)
class Reported:
    """A measure, and how it is told."""

    name: str
    title: str
    decimals: int


REPORTED = (
    Reported("zimtohrli", "Zimtohrli ↓", 4),
    Reported("two_f", "2f ↑", 1),
    Reported("nmr_db", "NMR dB ↓", 2),
    Reported("tonality_db", "tones dB ↓", 1),
    Reported("pre_echo_db", "pre-echo dB ↓", 1),
)


@dataclass(frozen=True)
class Spread:
    """A measure over the clips of a tier that have it."""

    mean: float
    worst_tenth: float
    """The 10th percentile, from the worst on."""
    worst: float
    worst_clip: str
    n_clips: int


@dataclass(frozen=True)
class ShareSpread:
    """Share of Opus's bits by one measure, over the clips of a tier that have it."""

    geometric_mean: float
    worst: float
    worst_clip: str
    n_clips: int
    n_below: int
    """Clips worse than Opus's lowest rate: their true share is larger."""
    n_above: int
    """Clips better than Opus's highest rate: their true share is smaller."""


def has_perceptual(row: Row) -> bool:
    """Return whether all clips of a row have perceptual measures."""
    return bool(row.results) and all(result.perceptual for result in row.results)


def spread(row: Row, clips: Sequence[str], measure: str) -> Spread | None:
    """Return a measure of a row over its `clips`; None if no clip has it."""
    values = [getattr(result.perceptual, measure) for result in row.results]
    known = [(value, clip) for value, clip in zip(values, clips, strict=True) if value is not None]
    if not known:
        return None
    sign = 1 if measure in HIGHER_IS_BETTER else -1
    scores = [value for value, _ in known]
    worst, clip = min(known, key=lambda one: sign * one[0])
    tenth = sign * float(np.quantile(sign * np.array(scores), _WORST_TENTH))
    return Spread(float(np.mean(scores)), tenth, worst, clip, len(known))


def share_spread(
    ours: Row, opus: Sequence[Row], clips: Sequence[str], measure: str
) -> ShareSpread | None:
    """Return the share of Opus's bits of a row; `opus` is the ladder on the same clips."""
    shares, names, clamps = [], [], []
    for number, clip in enumerate(clips):
        point = ours.results[number].point(measure)
        ladder = [row.results[number].point(measure) for row in opus]
        if any(each.score is None for each in (point, *ladder)):
            continue
        kbps, clamp = opus_kbps(point.score, ladder, measure)
        shares.append(point.kbps / kbps)
        names.append(clip)
        clamps.append(clamp)
    if not shares:
        return None
    worst = max(range(len(shares)), key=shares.__getitem__)
    return ShareSpread(
        geometric_mean=geometric_mean(shares),
        worst=shares[worst],
        worst_clip=names[worst],
        n_clips=len(shares),
        n_below=clamps.count("below"),
        n_above=clamps.count("above"),
    )


def to_markdown(tiers: Sequence[Tier]) -> str:
    """Return the sections for people; empty if no row has perceptual measures."""
    tiers = [tier for tier in tiers if any(map(has_perceptual, tier.rows))]
    if not tiers:
        return ""
    lines = [
        "## Perceptual measures",
        "",
        "Mean over the clips / the tenth part that is worst begins here / worst clip. Zimtohrli's "
        "distance, the 2f-model, noise-to-mask ratio, by how much tones became noise, by how much more "
        "comes before onsets: `earzip.metrics.perceptual`.",
        "",
    ]
    for tier in tiers:
        lines += [f"### {describe(tier)}", ""]
        titles = [each.title for each in REPORTED]
        rows = [
            [row.name, f"{row.kbps:.2f}", *(_cell(row, tier, each) for each in REPORTED)]
            for row in tier.rows
            if has_perceptual(row)
        ]
        lines += table(["codec", "kbps", *titles], rows)
    return "\n".join([*lines, *_share_section(tiers)])


def _cell(row: Row, tier: Tier, measure: Reported) -> str:
    found = spread(row, tier.clips, measure.name)
    if found is None:
        return "–"
    figures = (found.mean, found.worst_tenth, found.worst)
    return " / ".join(f"{figure:.{measure.decimals}f}" for figure in figures).replace("-", "−")


def _share_section(tiers: Sequence[Tier]) -> list[str]:
    lines = [
        "## Share of Opus's bits by perceptual measures",
        "",
        "Of the newest Opus that was measured: geometric mean over the clips, clips beyond its ladder in "
        "brackets; then the worst clip.",
        "",
    ]
    has_shares = False
    for tier in tiers:
        rows = []
        for row, found in _shares(tier):
            cells = [_share_cells(found[measure]) for measure in SHARED]
            rows.append([row.name, f"{row.kbps:.2f}", *(cell for pair in cells for cell in pair)])
        if rows:
            has_shares = True
            titles = [text for name in SHARED.values() for text in (name, "worst")]
            lines += [f"### {describe(tier)}", "", *table(["codec", "kbps", *titles], rows)]
    return lines if has_shares else []


def _shares(tier: Tier) -> list[tuple[Row, dict[str, ShareSpread | None]]]:
    """Return every row but Opus's own with its shares, where there are both: of the newest Opus."""
    heard = {codec: list(filter(has_perceptual, tier.of(codec))) for codec in _OPUS}
    opus = next((rows for rows in heard.values() if rows), None)
    if not opus:
        return []
    return [
        (row, {measure: share_spread(row, opus, tier.clips, measure) for measure in SHARED})
        for row in tier.rows
        if row.codec not in _OPUS and has_perceptual(row)
    ]


def _share_cells(found: ShareSpread | None) -> tuple[str, str]:
    if found is None:
        return "–", "–"
    beyond = [f"−{found.n_below}"] if found.n_below else []
    beyond += [f"+{found.n_above}"] if found.n_above else []
    clamped = f" ({', '.join(beyond)})" if beyond else ""
    return f"**{found.geometric_mean:.2f}**{clamped}", f"{found.worst:.2f} {found.worst_clip}"


def to_json(tiers: Sequence[Tier]) -> str:
    """Return the same for programs, with every clip's own figures."""
    return json.dumps({tier.name: _tier_json(tier) for tier in tiers}, indent=1) + "\n"


def _tier_json(tier: Tier) -> list[dict[str, Any]]:
    shares = {id(row): found for row, found in _shares(tier)}
    return [
        {
            "codec": row.codec,
            "model": row.model,
            "setting": row.setting,
            "version": row.version,
            "kbps": row.kbps,
            "measures": {
                each.name: _or_none(spread(row, tier.clips, each.name)) for each in REPORTED
            },
            "share_of_opus": {
                measure: _or_none(found) for measure, found in shares.get(id(row), {}).items()
            },
            "clips": {
                clip: {"kbps": result.kbps, **asdict(result.perceptual)}
                for clip, result in zip(tier.clips, row.results, strict=True)
                if result.perceptual
            },
        }
        for row in tier.rows
        if has_perceptual(row)
    ]


def _or_none(found: Spread | ShareSpread | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)
