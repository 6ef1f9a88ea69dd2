"""Zimtohrli distance over the bit rate, a panel a tier: `python -m benchmarks.ear_plot`.

Draws what `benchmarks.trials` wrote: ``--tier NAME LADDER ROWS`` for each panel, Opus's rows and those of
models. A point is the mean over a tier's clips.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.quality_plot import DPI, TICKS_KBPS, finish, looks, say_what_is_better, set_rates

TICKS = (0.0002, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.014, 0.02)
_COLOURS = {"mini-2": ("#D55E00", "o"), "mini": ("#888888", "*"), "opus": ("#0072B2", "s")}
_LABELS = {"opus": "Opus 1.3.1"}
Points = dict[str, list[tuple[float, float]]]
"""kbps and distance of each setting, by run."""


class Tier(NamedTuple):
    """A panel."""

    name: str
    n_clips: int
    points: Points


def read_tier(name: str, ladder: Path, rows: Path) -> Tier:
    """Return the means of a tier; ValueError where a run lacks clips that Opus has."""
    found: dict[tuple[str, Any], list[dict[str, Any]]] = defaultdict(list)
    for path in (ladder, rows):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            found[row["run"], row["setting"]].append(row)
    counts = {len(each) for each in found.values()}
    if len(counts) != 1:
        raise ValueError(f"{name}: settings have {sorted(counts)} clips, expected the same of all")
    points: Points = defaultdict(list)
    for (run, _), each in found.items():
        points[run].append(
            (float(np.mean([r["kbps"] for r in each])), float(np.mean([r["d"] for r in each])))
        )
    return Tier(name, counts.pop(), {run: sorted(each) for run, each in points.items()})


def draw(tiers: list[Tier]) -> bytes:
    """Return a PNG of the curves of each tier, side by side: 1800 × 720 pixels."""
    with looks():
        figure = Figure(figsize=(9.0, 3.6), dpi=DPI, layout="constrained")
        axes = figure.subplots(1, len(tiers), sharex=True, sharey=True, squeeze=False)
        for axis, tier in zip(axes[0], tiers, strict=True):
            axis.set_title(f"{tier.name}: {tier.n_clips} clips", loc="left", fontweight="bold")
            _draw_panel(axis, tier.points)
            say_what_is_better(axis)
        axes[0, 0].set_ylabel("Zimtohrli distance")
        return finish(figure, axes)


def _draw_panel(axis: Axes, points: Points) -> None:
    set_rates(axis, (4, *TICKS_KBPS))
    axis.set_yscale("log")
    axis.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axis.set_yticks([], minor=True)
    axis.yaxis.set_inverted(True)
    axis.grid(color="#DDDDDD", linewidth=0.6)
    for run in sorted(points, key=lambda run: list(_COLOURS).index(run)):
        colour, marker = _COLOURS[run]
        is_ours = run != "opus"
        axis.plot(
            *zip(*points[run], strict=True),
            label=_LABELS.get(run, f"earzip {run}"),
            color=colour,
            marker=marker,
            linewidth=2.4 if is_ours else 1.3,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--tier",
        nargs=3,
        action="append",
        required=True,
        metavar=("NAME", "LADDER", "ROWS"),
    )
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    tiers = [read_tier(name, Path(ladder), Path(rows)) for name, ladder, rows in args.tier]
    args.out.write_bytes(draw(tiers))


if __name__ == "__main__":
    main()
