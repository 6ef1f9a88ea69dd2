"""The speed benchmark's picture: each coder's × real time on one core."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from benchmarks.quality_plot import DPI, looks, to_png
from benchmarks.speed_report import Row

_OURS, _OTHERS = "#D55E00", "#0072B2"
_TITLES = {"compress": "Compress", "restore": "Restore"}


def draw(rows: Sequence[Row]) -> bytes:
    """Return a PNG of bars, a panel a task: 1800 × 560 pixels. ``rows``: those of one file."""
    with looks():
        figure = Figure(figsize=(9.0, 2.8), dpi=DPI, layout="constrained")
        axes = figure.subplots(1, len(_TITLES), sharex=True)
        for axis, (task, title) in zip(axes, _TITLES.items(), strict=True):
            axis.set_title(title, loc="left", fontweight="bold")
            _draw_panel(axis, [row for row in rows if row.task == task])
        # Room for the figures beside the longest bars.
        axes[0].set_xlim(right=4 * max(row.real_time for row in rows))
        return to_png(figure)


def _draw_panel(axis: Axes, rows: Sequence[Row]) -> None:
    bars = axis.barh(
        [row.coder for row in rows],
        [row.real_time for row in rows],
        color=[_OURS if row.coder.startswith("earzip") else _OTHERS for row in rows],
    )
    axis.bar_label(bars, [f"{row.real_time:.3g} ×" for row in rows], padding=3)
    axis.set_xscale("log")
    axis.set_xlim(left=1)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_inverted(True)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("× real time on one core")
