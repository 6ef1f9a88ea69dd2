"""The picture of a tone test: what a model adds to a sine, by quality and level."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from earzip.formats.atomic import atomic_path
from earzip.metrics.thd import TONE_HZ, in_band, residual, spectrum_dbfs, tone

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from earzip.evaluate.tones import ToneEvaluation

_LOWEST_DBFS, _HIGHEST_DBFS = -140, 5
_EDGES_HZ = np.geomspace(20, 20_000, 481)
_TICKS_HZ = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)

Signal = NDArray[np.float64]


def draw_tones(tones: Sequence[ToneEvaluation], path: Path, *, replace: bool) -> None:
    """Write the spectrum of each tone, its original and its residual as a PNG at ``path``.

    A row a quality, a column a level. Raises TargetError, unless ``replace`` for a file that is there.
    """
    # Figure without pyplot, which would need a screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    qualities = list(dict.fromkeys(each.quality for each in tones))
    levels = list(dict.fromkeys(each.level_dbfs for each in tones))
    figure = Figure(figsize=(6 * len(levels), 3 * len(qualities)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(qualities), len(levels), sharex=True, sharey=True, squeeze=False)
    for each in tones:
        panel = panels[qualities.index(each.quality), levels.index(each.level_dbfs)]
        _draw(panel, each)
    panels[0, 0].legend(loc="upper right", fontsize="small")
    figure.suptitle(f"A sine of {TONE_HZ} Hz through {tones[0].model}")
    figure.supxlabel("frequency in Hz")
    figure.supylabel("level in dBFS")
    with atomic_path(path, replace=replace) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _draw(panel: Axes, found: ToneEvaluation) -> None:
    filtered = in_band(found.restored)
    for audio, name, colour in (
        (tone(found.level_dbfs), "original", "0.5"),
        (filtered, "restored", "tab:blue"),
        (residual(filtered), "residual", "tab:red"),
    ):
        panel.semilogx(*_upper_edge(*spectrum_dbfs(audio)), color=colour, label=name, linewidth=1)
    level = f"{found.level_dbfs:.0f} dBFS, THD+N {found.thd_n.db:.1f} dB".replace("-", "−")
    panel.set_title(f"{found.quality}, {level} ({found.thd_n.percent:.2g} %)", fontsize="medium")
    panel.set_xticks(_TICKS_HZ, [f"{f // 1000} k" if f >= 1000 else str(f) for f in _TICKS_HZ])
    panel.set_xlim(*_EDGES_HZ[[0, -1]])
    panel.set_ylim(_LOWEST_DBFS, _HIGHEST_DBFS)
    panel.grid(alpha=0.3)


def _upper_edge(frequencies: Signal, levels: Signal) -> tuple[Signal, Signal]:
    """Return the highest level in each of the bands that have one: single bins would be a grey area."""
    band = np.searchsorted(_EDGES_HZ, frequencies)
    inside = (band > 0) & (band < len(_EDGES_HZ))
    starts = np.unique(band[inside], return_index=True)[1]
    return (
        np.add.reduceat(frequencies[inside], starts) / np.diff([*starts, inside.sum()]),
        np.maximum.reduceat(levels[inside], starts),
    )
