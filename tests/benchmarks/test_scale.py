"""A dry run of the figures of a million tracks, with a hundred."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import scale


def test_every_file_goes_through_the_real_run_and_nothing_is_left(tmp_path, monkeypatch):
    out = tmp_path / "figures.json"
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(work))
    command = ["scale", "--files", "100", "--paced-files", "20", "--workers", "2"]
    command += [
        "--speed",
        "100000",
        "--parts",
        "local",
        "paced",
        "shard",
        "objects",
        "--out",
        str(out),
    ]
    monkeypatch.setattr(sys, "argv", command)
    scale.main()
    figures = json.loads(out.read_text())
    assert [figures[part]["n_records"] for part in ("local", "paced")] == [100, 20]
    assert 0 < figures["shard"]["n_records"] < 20
    assert 0 < figures["objects"]["n_records"] < 20
    assert list(figures["local"]["phases"]) == ["loaded", "planned", "settled", "worked", "ended"]
    assert 0 < figures["paced"]["share_at_work"] <= 1
    assert list(work.iterdir()) == []


def test_the_tracks_have_the_lengths_of_a_library(tmp_path):
    scale.make_tree(tmp_path, 2_000)
    sizes = [path.stat().st_size for path in tmp_path.rglob("*.flac")]
    assert len(sizes) == 2_000
    assert sum(sizes) / len(sizes) / 110_000 == pytest.approx(216, rel=0.05)
