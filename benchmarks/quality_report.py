"""The quality benchmark's report: tables in Markdown, and the same figures as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

from benchmarks.coders import name_of
from benchmarks.opus_share import (
    HIGHER_IS_BETTER,
    JUDGED,
    Share,
    geometric_mean,
    share_of_opus,
)
from benchmarks.results import Result, pooled_kbps
from earzip.metrics.measures import Measures, mean_measures

AIM_QUALITY = "medium"
AIM_OPUS = "20"
"""The quality that is to be as good as Opus, and Opus's --bitrate."""

_TITLES = {
    "si_sdr_db": "SI-SDR dB ↑",
    "mel": "mel ↓",
    "stft": "STFT ↓",
    "icpc": "ICPC % ↑",
    "ccpc": "CCPC % ↑",
    "dbtp": "dBTP ↓",
}


@dataclass(frozen=True)
class Row:
    """A codec at one setting on all clips of a tier, in the same order for every row."""

    codec: str
    setting: str
    version: str
    results: list[Result]
    model: str | None = None

    @property
    def name(self) -> str:
        """Codec, model and setting."""
        return name_of(self.codec, self.model, self.setting)

    @property
    def kbps(self) -> float:
        """Bytes of all clips over their duration."""
        return pooled_kbps(self.results)

    @property
    def means(self) -> Measures:
        """Unweighted mean over the clips."""
        return mean_measures([result.measures for result in self.results])

    @property
    def treble_db(self) -> float | None:
        """Unweighted mean over the clips of the treble's error; None if one has none."""
        errors = [r.treble_db for r in self.results if r.treble_db is not None]
        return mean(errors) if len(errors) == len(self.results) else None


@dataclass(frozen=True)
class Tier:
    """What is known of a tier."""

    name: str
    n_clips: int
    seconds: float
    rows: list[Row]
    clips: tuple[str, ...] = ()
    """Names of the clips, in the order of the rows' results."""

    def of(self, codec: str) -> list[Row]:
        """Rows of a codec."""
        return [row for row in self.rows if row.codec == codec]

    def aims(self) -> list[tuple[Row, Row]]:
        """Each model at the quality that is to be as good as Opus, and that Opus; if complete."""
        return [
            (ours, opus)
            for ours in self.of("earzip")
            for opus in self.of("opus")
            if (ours.setting, opus.setting) == (AIM_QUALITY, AIM_OPUS)
        ]


@dataclass(frozen=True)
class Shortfall:
    """How a measure of earzip compares with Opus's."""

    earzip: float
    opus: float
    gain: float
    """By how much earzip is better; negative where it falls short."""
    n_clips_short: int


def shares(ours: Row, opus: Sequence[Row]) -> dict[str, Share]:
    """Share of Opus's bits by each judged measure; `opus` is the ladder on the same clips."""
    found = {}
    for measure in JUDGED:
        ladders = [
            [result.point(measure) for result in results]
            for results in zip(*(row.results for row in opus), strict=True)
        ]
        points = [result.point(measure) for result in ours.results]
        found[measure] = share_of_opus(points, ladders, measure)
    return found


def shortfalls(ours: Row, opus: Row) -> dict[str, Shortfall]:
    """Comparison by each judged measure of two rows over the same clips."""
    found = {}
    for measure in JUDGED:
        sign = 1 if measure in HIGHER_IS_BETTER else -1
        pairs = [
            (a.point(measure).score, b.point(measure).score)
            for a, b in zip(ours.results, opus.results, strict=True)
        ]
        mean_ours, mean_opus = getattr(ours.means, measure), getattr(opus.means, measure)
        found[measure] = Shortfall(
            earzip=mean_ours,
            opus=mean_opus,
            gain=sign * (mean_ours - mean_opus),
            n_clips_short=sum(sign * a < sign * b for a, b in pairs),
        )
    return found


def to_markdown(tiers: Sequence[Tier]) -> str:
    """Return the report for people."""
    versions = dict.fromkeys(
        f"- {row.name if row.model else row.codec}: {row.version}"
        for tier in tiers
        for row in tier.rows
    )
    lines = ["# Quality and rate", "", *versions, ""]
    lines += _rates_section(tiers)
    if any(tier.of("earzip") and tier.of("opus") for tier in tiers):
        lines += _share_section(tiers)
        lines += _shortfall_section(tiers)
    return "\n".join(lines)


def _rates_section(tiers: Sequence[Tier]) -> list[str]:
    lines = [
        "## Rates and measures",
        "",
        "kbps: all bytes of a tier's files (but pictures) over its duration. Measures: mean over "
        "the clips; clips under 20 s are joined for every codec. 10–20 kHz: mean absolute error of log "
        "magnitude there (floor −90 dBFS), both channels; training minimises its like.",
        "",
    ]
    for tier in tiers:
        lines += [f"### {describe(tier)}", ""]
        lines += table(
            ["codec", "kbps", *_TITLES.values(), "10–20 kHz dB ↓"],
            [
                [
                    row.name,
                    f"{row.kbps:.2f}",
                    *(_figure(m, getattr(row.means, m)) for m in _TITLES),
                    "–" if row.treble_db is None else f"{row.treble_db:.2f}",
                ]
                for row in tier.rows
            ],
        )
    late = [
        f"{row.name} in {tier.name}: {sum(result.lag != 0 for result in row.results)} clips"
        for tier in tiers
        for row in tier.rows
        if any(result.lag for result in row.results)
    ]
    stated = f", but for {'; '.join(late)}" if late else " for every clip and setting"
    return [*lines, f"Lag of the decoded sound by cross-correlation: 0 samples{stated}.", ""]


def _share_section(tiers: Sequence[Tier]) -> list[str]:
    lines = [
        "## Share of Opus's bits",
        "",
        "Rate of each clip over the rate at which Opus scores as well on it (log rate interpolated "
        "over the score); geometric mean over the clips. In brackets the clips beyond Opus's "
        "ladder, taken at its end: − worse than its lowest rate, + better than its highest.",
        "",
    ]
    for tier in tiers:
        opus = tier.of("opus")
        if not opus or not tier.of("earzip"):
            continue
        ladder = ", ".join(sorted((row.setting for row in opus), key=int))
        lines += [f"### {describe(tier)}; Opus at {ladder}", ""]
        rows = []
        for row in tier.of("earzip"):
            found = shares(row, opus)
            overall = geometric_mean([share.share for share in found.values()])
            cells = [_share_figure(share) for share in found.values()]
            rows.append([row.name, f"{row.kbps:.2f}", *cells, f"**{overall:.2f}**"])
        titles = [_TITLES[measure].split()[0] for measure in JUDGED]
        lines += table(["codec", "kbps", *titles, "geometric mean"], rows)
    return lines


def _shortfall_section(tiers: Sequence[Tier]) -> list[str]:
    lines = [
        f"## earzip {AIM_QUALITY} beside Opus --bitrate {AIM_OPUS}",
        "",
        "Mean of earzip, in brackets by how much it is better (+) or worse (−) and on how many "
        "clips it is worse; bold where it falls short.",
        "",
    ]
    rows = []
    for tier in tiers:
        for ours, opus in tier.aims():
            found = shortfalls(ours, opus)
            short = [_TITLES[measure].split()[0] for measure in found if found[measure].gain < 0]
            cells = [_shortfall_figure(measure, found[measure]) for measure in found]
            names = [f"{tier.name} ({tier.n_clips})", str(ours.model)]
            rates = [f"{ours.kbps:.2f}", f"{opus.kbps:.2f}"]
            rows.append([*names, *rates, *cells, ", ".join(short) or "none"])
    titles = ["tier (clips)", "model", "kbps", "Opus kbps", *(_TITLES[m] for m in JUDGED)]
    return lines + table([*titles, "falls short in"], rows)


def describe(tier: Tier) -> str:
    """Return what a tier is headed by."""
    return f"{tier.name}: {tier.n_clips} clips, {tier.seconds / 60:.1f} min"


def _figure(measure: str, value: float, sign: str = "") -> str:
    if measure in ("icpc", "ccpc"):
        return f"{100 * value:{sign}.2f}"
    return f"{value:{sign}.{2 if measure in ('si_sdr_db', 'dbtp') else 3}f}"


def _share_figure(share: Share) -> str:
    beyond = [f"−{share.n_below}"] if share.n_below else []
    beyond += [f"+{share.n_above}"] if share.n_above else []
    return f"{share.share:.2f}" + (f" ({', '.join(beyond)})" if beyond else "")


def _shortfall_figure(measure: str, found: Shortfall) -> str:
    gain = _figure(measure, found.gain, "+").replace("-", "−")
    text = f"{_figure(measure, found.earzip)} ({gain}; {found.n_clips_short})"
    return f"**{text}**" if found.gain < 0 else text


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, with an empty one after it."""
    rule = ["---", *["---:"] * (len(titles) - 1)]
    return [*(f"| {' | '.join(cells)} |" for cells in [titles, rule, *rows]), ""]


def to_json(tiers: Sequence[Tier]) -> str:
    """Return the report for programs."""
    return json.dumps({tier.name: _tier_json(tier) for tier in tiers}, indent=1) + "\n"


def _tier_json(tier: Tier) -> dict[str, Any]:
    opus = tier.of("opus")
    found: dict[str, Any] = {
        "n_clips": tier.n_clips,
        "seconds": round(tier.seconds, 3),
        "settings": [
            {
                "codec": row.codec,
                "model": row.model,
                "setting": row.setting,
                "version": row.version,
                "kbps": row.kbps,
                "n_clips_with_lag": sum(result.lag != 0 for result in row.results),
                **asdict(row.means),
                "treble_db": row.treble_db,
            }
            for row in tier.rows
        ],
    }
    if opus and tier.of("earzip"):
        by_model: dict[str | None, dict[str, Any]] = {}
        for row in tier.of("earzip"):
            by_measure = shares(row, opus)
            by_model.setdefault(row.model, {})[row.setting] = {
                "opus_bitrates": sorted(int(row.setting) for row in opus),
                "geometric_mean": geometric_mean([s.share for s in by_measure.values()]),
                **{measure: asdict(share) for measure, share in by_measure.items()},
            }
        found["share_of_opus"] = by_model
    if tier.aims():
        found[f"{AIM_QUALITY}_beside_opus_{AIM_OPUS}"] = {
            ours.model: {m: asdict(short) for m, short in shortfalls(ours, aim).items()}
            for ours, aim in tier.aims()
        }
    return found
