from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# `benchmarks` is not part of the package, so it is found from the repository.
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.ear_plot import draw, read_tier


def write_rows(path: Path, run: str, settings: dict[object, tuple[float, float]], n: int) -> Path:
    """Write `n` clips of each setting, whose means are the kbps and distances given."""
    path.write_text(
        "".join(
            json.dumps(
                {
                    "clip": f"c{i}",
                    "run": run,
                    "setting": setting,
                    "kbps": kbps + i - (n - 1) / 2,
                    "d": d,
                }
            )
            + "\n"
            for setting, (kbps, d) in settings.items()
            for i in range(n)
        )
    )
    return path


@pytest.fixture
def ladder(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "opus", "opus", {10: (11, 0.01), 24: (27, 0.006)}, 3)


def test_a_point_is_the_mean_of_a_setting(ladder: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", "mini-2", {"medium": (5.5, 0.007), "low": (3, 0.01)}, 3)
    tier = read_tier("T6", ladder, rows)
    assert (tier.name, tier.n_clips) == ("T6", 3)
    expected = {"opus": [(11, 0.01), (27, 0.006)], "mini-2": [(3, 0.01), (5.5, 0.007)]}
    for run, points in expected.items():
        np.testing.assert_allclose(tier.points[run], points)


def test_a_run_without_some_of_the_clips_is_refused(ladder: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", "mini-2", {"medium": (5.5, 0.007)}, 2)
    with pytest.raises(ValueError, match=r"T6: settings have \[2, 3\] clips"):
        read_tier("T6", ladder, rows)


def test_a_picture_has_a_panel_a_tier(ladder: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", "mini-2", {"medium": (5.5, 0.007)}, 3)
    tier = read_tier("T6", ladder, rows)
    images = [Image.open(io.BytesIO(draw([tier] * n))) for n in (1, 2)]
    assert {image.size for image in images} == {(1800, 720)}
    assert images[0].convert("RGB").tobytes() != images[1].convert("RGB").tobytes()
