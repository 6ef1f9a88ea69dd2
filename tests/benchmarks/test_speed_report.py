"""Figures of the speed benchmark: pairs, JSON, table and picture."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from PIL import Image

from benchmarks.processes import Usage
from benchmarks.speed_plot import draw
from benchmarks.speed_report import Report, Row, Stages


def _row(coder: str, *cpu_s: float, task: str = "compress", against: str | None = None) -> Row:
    runs = tuple(Usage(2 * s, s, 100.0 + s) for s in cpu_s)
    return Row(task, coder, "song.flac", 120.0, against, runs)


OURS = _row("earzip", 4.0, 3.0, 10.0, against="opus")
OPUS = _row("opus", 2.0, 1.0, 2.0)
REPORT = Report(
    machine={"cpu": "a CPU", "cores": 2},
    settings={"runs": 3},
    rows=(OURS, OPUS, _row("opus", 1.0, 1.0, 1.0, task="restore")),
    stages=(Stages("compress", "song.flac", {"start-up": 1.5, "network": 2.25}),),
)


def test_each_run_is_compared_with_the_run_of_its_round():
    assert REPORT.ratios(OURS) == [2.0, 3.0, 5.0]
    assert REPORT.ratios(OPUS) == []


def test_a_row_whose_pair_is_missing_or_ran_less_often_is_refused():
    with pytest.raises(ValueError, match="0 rows"):
        replace(REPORT, rows=(OURS,)).ratios(OURS)
    with pytest.raises(ValueError, match="shorter"):
        replace(REPORT, rows=(OURS, _row("opus", 2.0, 1.0))).ratios(OURS)


def test_real_time_is_sound_over_cpu_time_of_the_median_run():
    assert OURS.real_time == 30.0


def test_a_report_comes_back_from_its_json():
    assert Report.from_json(REPORT.to_json()) == REPORT


def test_the_table_has_medians_and_the_spread_of_pairs():
    lines = REPORT.to_markdown().splitlines()
    assert (
        "| compress | earzip | song.flac | 2 | 8.00 | 4.00 | 30 | 104 | 3.00 (2.00–5.00) × opus |"
        in lines
    )
    assert "| compress | opus | song.flac | 2 | 4.00 | 2.00 | 60 | 102 |  |" in lines
    assert "| compress | song.flac | 1.50 | 2.25 | 3.75 |" in lines


def test_the_picture_has_a_bar_for_each_coder():
    images = [Image.open(io.BytesIO(draw(rows))) for rows in (REPORT.rows, REPORT.rows[1:])]
    assert {image.size for image in images} == {(1800, 560)}
    assert images[0].convert("RGB").tobytes() != images[1].convert("RGB").tobytes()
