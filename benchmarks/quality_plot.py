"""The quality benchmark's picture: each codec's measures over its rate."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from PIL import Image

from benchmarks.quality_report import Row, Tier

DPI = 200
TICKS_KBPS = (6, 12, 24, 48, 96)
N_COLOURS = 96
"""Of the PNG: enough for its lines and their edges, and half of the bytes."""


@dataclass(frozen=True)
class Panel:
    """How a measure is drawn: better is higher, and what is near perfect is told apart."""

    measure: str
    title: str
    ticks: tuple[float, ...]
    is_distance: bool = True
    """Whether the axis is logarithmic and upside down."""
    is_coherence: bool = False
    """Whether it is a share of 1, of which what is missing is drawn as a distance, in percent."""

    def height(self, row: Row) -> float:
        """Return where a row stands on the axis."""
        value: float = getattr(row.means, self.measure)
        return 100 * (1 - value) if self.is_coherence else value

    def label(self, height: float) -> str:
        """Return what a tick is called."""
        return f"{100 - height if self.is_coherence else height:g}"


_DISTANCES = (10, 7, 5, 4, 3, 2, 1.5, 1, 0.7, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05)
_MISSING = (50, 30, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
PANELS = (
    Panel("si_sdr_db", "SI-SDR, dB", tuple(range(-10, 50, 5)), is_distance=False),
    Panel("mel", "Mel distance", _DISTANCES),
    Panel("stft", "STFT distance", _DISTANCES),
    Panel("icpc", "Phase coherence (ICPC), %", _MISSING, is_coherence=True),
    Panel("ccpc", "Stereo coherence (CCPC), %", _MISSING, is_coherence=True),
    Panel("dbtp", "Error of true peak, dB", _DISTANCES),
)


@dataclass(frozen=True)
class Curve:
    """The settings of a codec or model by rate, and how they are drawn."""

    label: str
    rows: list[Row]
    colour: str
    marker: str
    is_ours: bool


# Of Okabe and Ito's palette, which the colour-blind can tell apart.
_CODECS = {
    "opus": ("Opus", "#0072B2", "s"),
    "aac": ("AAC", "#009E73", "^"),
    "vorbis": ("Vorbis", "#E69F00", "D"),
    "mp3": ("MP3", "#CC79A7", "v"),
    "opus-av": ("Opus by PyAV", "#56B4E9", "p"),
    "he-aac": ("HE-AAC", "#F0E442", "h"),
}
_MODELS = (("#D55E00", "o"), ("#000000", "P"), ("#56B4E9", "X"), ("#888888", "*"))


def curves(rows: Sequence[Row]) -> list[Curve]:
    """Return earzip's models, in the order of the rows, and then the other codecs.

    A fifth model looks like the first.
    """
    by_rate = sorted(rows, key=lambda row: row.kbps)
    found = []
    models = dict.fromkeys(row.model for row in rows if row.codec == "earzip")
    for number, model in enumerate(models):
        ours = [row for row in by_rate if (row.codec, row.model) == ("earzip", model)]
        looks = _MODELS[number % len(_MODELS)]
        found.append(Curve(f"earzip {model}", ours, *looks, is_ours=True))
    for codec, (label, colour, marker) in _CODECS.items():
        if theirs := [row for row in by_rate if row.codec == codec]:
            found.append(Curve(label, theirs, colour, marker, is_ours=False))
    return found


def draw(tier: Tier) -> bytes:
    """Return a PNG of a tier's curves, a panel a measure: 1800 × 1280 pixels, twice what a page shows."""
    drawn = curves(tier.rows)
    with looks():
        figure = Figure(figsize=(9.0, 6.4), dpi=DPI, layout="constrained")
        axes = figure.subplots(2, 3, sharex=True)
        for panel, axis in zip(PANELS, axes.flat, strict=True):
            axis.set_title(panel.title, loc="left", fontweight="bold")
            _draw_panel(axis, panel, drawn)
            say_what_is_better(axis)
        _name_qualities(axes[0, 0], drawn)
        return finish(figure, axes)


def draw_by_tier(tiers: Sequence[Tier]) -> bytes:
    """Return a PNG of the curves of tiers side by side, a row a measure: 1800 × 2240 pixels."""
    with looks():
        figure = Figure(figsize=(9.0, 11.2), dpi=DPI, layout="constrained")
        axes = figure.subplots(len(PANELS), len(tiers), sharex=True, sharey="row", squeeze=False)
        for column, tier in zip(axes.T, tiers, strict=True):
            column[0].set_title(f"{tier.name}: {tier.n_clips} clips", fontweight="bold")
            drawn = curves(tier.rows)
            for panel, axis in zip(PANELS, column, strict=True):
                _draw_panel(axis, panel, drawn)
        for panel, axis in zip(PANELS, axes[:, 0], strict=True):
            axis.set_ylabel(panel.title.replace(" (", "\n("), fontweight="bold")
            say_what_is_better(axis)
        return finish(figure, axes)


def looks() -> AbstractContextManager[None]:
    """Return the context in which all figures are drawn."""
    return mpl.rc_context(
        {
            "font.size": 9,
            "axes.titlesize": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.facecolor": "white",
        }
    )


def _draw_panel(axis: Axes, panel: Panel, drawn: Sequence[Curve]) -> None:
    set_rates(axis, TICKS_KBPS)
    if panel.is_distance:
        axis.set_yscale("log")
        axis.yaxis.set_inverted(True)
    axis.yaxis.set_major_locator(FixedLocator(panel.ticks))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda height, _: panel.label(height)))
    for one in (axis.xaxis, axis.yaxis):
        one.set_minor_locator(NullLocator())
    axis.grid(color="#DDDDDD", linewidth=0.6)
    for curve in drawn:
        axis.plot(
            [row.kbps for row in curve.rows],
            [panel.height(row) for row in curve.rows],
            label=curve.label,
            color=curve.colour,
            marker=curve.marker,
            linewidth=2.4 if curve.is_ours else 1.3,
            markersize=6.5 if curve.is_ours else 4.5,
            zorder=3 if curve.is_ours else 2,
        )


def set_rates(axis: Axes, ticks: Sequence[float]) -> None:
    """Give an axis of kbps its scale and ``ticks``."""
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(ticks))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda kbps, _: f"{kbps:g}"))
    axis.xaxis.set_minor_locator(NullLocator())


def say_what_is_better(axis: Axes) -> None:
    """Write into the corner which way is better."""
    axis.text(
        0.02,
        0.97,
        "↖ better",
        transform=axis.transAxes,
        va="top",
        color="#666666",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )


def _name_qualities(axis: Axes, drawn: Sequence[Curve]) -> None:
    """Write `low`, `medium` and `high` beside the points of the first model."""
    for curve in [curve for curve in drawn if curve.is_ours][:1]:
        for row in curve.rows:
            axis.annotate(
                row.setting,
                (row.kbps, PANELS[0].height(row)),
                xytext=(6, -9),
                textcoords="offset points",
                color=curve.colour,
            )


def finish(figure: Figure, axes: npt.NDArray[Any]) -> bytes:
    """Return the PNG of a figure after its legend and its rates are added."""
    for axis in axes[-1]:
        axis.set_xlabel("kbps")
    # A codec may lack in one tier.
    by_label = {
        label: handle
        for axis in axes.flat
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        by_label.values(),
        by_label.keys(),
        loc="outside upper center",
        ncols=8,
        frameon=False,
        fontsize=10,
    )
    return to_png(figure)


def to_png(figure: Figure) -> bytes:
    """Return a figure as a PNG of `N_COLOURS` colours."""
    drawn, image = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    with Image.open(drawn) as full:
        full.convert("RGB").quantize(N_COLOURS).save(image, format="PNG", optimize=True)
    return image.getvalue()
