"""A dry run of the figures of a million tracks, with a hundred."""

from __future__ import annotations

import json
import sys
from argparse import Namespace

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


def test_shares_are_of_all_workers_and_of_the_time_between_plan_and_end(tmp_path, monkeypatch):
    phases = {
        "loaded": {"wall_s": 1.0, "cpu_s": 1.0},
        "planned": {"wall_s": 2.0, "cpu_s": 1.5},
        "settled": {"wall_s": 4.0, "cpu_s": 2.0},
        "worked": {"wall_s": 14.0, "cpu_s": 4.0},
        "ended": {"wall_s": 20.0, "cpu_s": 9.0},
    }
    measured = {"phases": phases, "n_records": 50, "busy_s": 30.0}
    monkeypatch.setattr(scale, "compress", lambda *_args, **_options: measured)
    figures = scale.paced(tmp_path, tmp_path, Namespace(paced_files=50, workers=4, speed=10.0))
    assert figures["share_at_work"] == 0.75  # 30 of 4 times 10 s
    assert figures["share_of_a_core"] == 0.2
    assert figures["files_a_second"] == 5
    assert (figures["plan_us_a_file"], figures["work_us_a_file"]) == (20_000, 40_000)


def test_the_tracks_have_the_lengths_of_a_library(tmp_path):
    scale.make_tree(tmp_path, 2_000)
    sizes = [path.stat().st_size for path in tmp_path.rglob("*.flac")]
    assert len(sizes) == 2_000
    assert sum(sizes) / len(sizes) / 110_000 == pytest.approx(216, rel=0.05)
