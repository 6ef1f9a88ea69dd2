from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# `benchmarks` is not part of the package, so it is found from the repository.
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.data.pcm import SAMPLE_RATE
from benchmarks.quality_plot import PANELS, curves, draw, draw_by_tier
from benchmarks.quality_report import Row, Tier
from benchmarks.results import Result
from earzip.metrics.measures import Measures


def row(codec: str, setting: str, kbps: float, model: str | None = None) -> Row:
    """A clip of 20 s, better with more bits."""
    measures = Measures(
        si_sdr_db=kbps / 4,
        mel=10 / kbps,
        stft=20 / kbps,
        icpc=1 - 0.5 / kbps,
        ccpc=1 - 0.9 / kbps,
        dbtp=8 / kbps,
    )
    result = Result(round(kbps * 1000 / 8 * 20), 20 * SAMPLE_RATE, lag=0, measures=measures)
    return Row(codec, setting, "1", [result], model)


ROWS = [
    row("opus", "48", 48),
    row("opus", "12", 12),
    row("aac", "32", 32),
    row("vorbis", "64", 64),
    row("mp3", "96", 96),
    *(row("earzip", "medium", 11, model) for model in ("mini", "ear-vae-44k")),
]


def pixels_of(png: bytes) -> np.ndarray:
    assert png.startswith(b"\x89PNG")
    assert len(png) < 150_000
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"), np.int16)


def picture(rows: list[Row]) -> np.ndarray:
    return pixels_of(draw(Tier("all", 1, 20.0, rows)))


def near(pixels: np.ndarray, colour: str) -> np.ndarray:
    """Where a colour is, as far as a palette lets it."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return np.abs(pixels - wanted).max(-1) < 12


def test_a_curve_goes_by_rate_and_models_come_first() -> None:
    found = curves(ROWS)
    labels = ["earzip mini", "earzip ear-vae-44k", "Opus", "AAC", "Vorbis", "MP3"]
    assert [curve.label for curve in found] == labels
    assert [row.setting for row in found[2].rows] == ["12", "48"]
    for looks in ({curve.colour for curve in found}, {curve.marker for curve in found}):
        assert len(looks) == len(found)


def test_the_picture_is_wide_enough_white_and_shows_every_curve() -> None:
    pixels = picture(ROWS)
    assert pixels.shape == (1280, 1800, 3)
    assert (pixels[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
    for curve in curves(ROWS):
        found = near(pixels, curve.colour)
        n_panels = sum(
            found[y : y + 640, x : x + 600].any() for y in (0, 640) for x in (0, 600, 1200)
        )
        assert n_panels == len(PANELS), curve.label


def test_tiers_stand_side_by_side() -> None:
    tiers = [Tier(f"T{i + 1}", 1, 20.0, ROWS[i : i + 1]) for i in (0, 2, 3, 4)]
    pixels = pixels_of(draw_by_tier(tiers))
    assert pixels.shape == (2240, 1800, 3)
    below_legend = pixels[80:]
    columns = [(100, 530), (530, 950), (950, 1370), (1370, 1800)]
    for tier, (left, right) in zip(tiers, columns, strict=True):
        (curve,) = curves(tier.rows)
        x = np.flatnonzero(near(below_legend, curve.colour).any(0))
        assert left < x.min() <= x.max() < right, tier.name


def test_a_codec_that_is_not_there_is_not_in_the_picture() -> None:
    assert [curve.label for curve in curves(ROWS[:2])] == ["Opus"]
    assert (picture(ROWS) != picture(ROWS[:2])).any()


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.measure)
def test_ticks_are_called_by_the_measure(panel) -> None:
    found = row("opus", "20", 20)
    value = getattr(found.means, panel.measure)
    expected = 100 * value if panel.is_coherence else value
    assert float(panel.label(panel.height(found))) == pytest.approx(expected, rel=1e-4)
    assert panel.is_distance == (panel.measure != "si_sdr_db")
