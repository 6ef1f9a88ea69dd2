from __future__ import annotations

import json
from pathlib import Path

import pytest

from earzip.errors import ModelNotFoundError, TargetError, UsageError
from earzip.evaluate.tones import evaluate_tones
from earzip.evaluate.tones_plot import draw_tones
from tests.conftest import MODELS

pytest.importorskip("matplotlib")


def test_each_quality_is_measured_at_both_levels(tiny_model: str) -> None:
    found = list(evaluate_tones(tiny_model))
    assert [(each.quality, each.level_dbfs) for each in found] == [
        (quality, level) for quality in ("low", "medium", "high") for level in (-1, -20)
    ]
    assert all(-60 < each.thd_n.db < 0 for each in found)
    record = json.loads(json.dumps(found[0].to_json(), allow_nan=False))
    assert record["model"] == "tiny"
    assert record["frequency_hz"] == 997
    assert record["thd_n_percent"] == pytest.approx(100 * 10 ** (record["thd_n_db"] / 20))


def test_a_model_may_be_a_file_that_archives_would_not_find() -> None:
    first = next(evaluate_tones(str(MODELS / "tiny.json")))
    assert first.model == "tiny"
    with pytest.raises(ModelNotFoundError):
        next(evaluate_tones("tiny"))


def test_the_picture_is_a_png_and_replaces_nothing_unasked(tiny_model: str, tmp_path: Path) -> None:
    tones = list(evaluate_tones(tiny_model))[:2]
    path = tmp_path / "thd.png"
    draw_tones(tones, path, replace=False)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 10_000
    with pytest.raises(TargetError, match="exists"):
        draw_tones(tones, path, replace=False)
    draw_tones(tones, path, replace=True)
    assert [each.name for each in tmp_path.iterdir()] == ["thd.png"]


def test_the_packages_it_needs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earzip.metrics.find_spec", lambda _name: None)
    with pytest.raises(UsageError, match=r"pip install '\.\[eval\]'"):
        next(evaluate_tones("mini"))
