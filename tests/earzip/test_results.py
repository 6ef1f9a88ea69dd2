"""The counts and the exit code of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from earzip.results import FileRecord, FileStatus, Report


def _record(status: FileStatus, **figures: object) -> FileRecord:
    return FileRecord(status, Path("a.flac"), figures=figures)


def test_a_bug_is_more_severe_than_everything_else():
    report = Report(stopped=True)
    report.add(FileRecord(FileStatus.FAILED, Path("a"), message="internal error", traceback="…"))
    assert report.exit_code == 1


@pytest.mark.parametrize(
    ("statuses", "stopped", "gave_up", "expected"),
    [
        ([], False, False, 0),
        (
            ["written", "up_to_date", "skipped", "copied", "intact", "read", "planned"],
            False,
            False,
            0,
        ),
        (["written", "failed"], False, False, 3),
        (["incomplete"], False, False, 3),
        (["failed", "damaged", "failed"], False, False, 4),
        (["damaged", "locked"], False, False, 75),
        (["damaged"], True, False, 75),
        ([], True, False, 75),
        (["locked", "failed"], True, True, 1),
    ],
)
def test_the_most_severe_outcome_is_the_exit_code(statuses, stopped, gave_up, expected):
    report = Report(stopped=stopped, gave_up=gave_up)
    for status in statuses:
        report.add(_record(FileStatus(status)))
    assert report.exit_code == expected


def test_figures_with_the_same_name_are_added_up():
    report = Report()
    report.add(_record(FileStatus.WRITTEN, duration_s=1.5, source_bytes=100, kbps=12.0))
    report.add(_record(FileStatus.UP_TO_DATE, duration_s=2.0, source_bytes=50, truncated=None))
    assert report.totals == {
        "duration_s": 3.5, "source_bytes": 150, "archive_bytes": 0, "picture_bytes": 0,
        "exact_bytes": 0, "to_encode_s": 0, "to_encode_bytes": 0, "checked_bytes": 0,
            "recovery_bytes": 0,
    }  # fmt: skip


def test_measures_are_averaged_over_the_files_that_have_them():
    report = Report()
    assert "means" not in report.to_json()
    loudness = {"lufs_original": -20.0, "lra_original": None}
    first = {"measures": {"si_sdr_db": 10.0, "mel": 0.5}, "loudness": loudness}
    report.add(_record(FileStatus.EVALUATED, **first))
    report.add(_record(FileStatus.EVALUATED, measures={"si_sdr_db": 20.0, "mel": 0.25}))
    report.add(_record(FileStatus.EVALUATED, measures=None, loudness=loudness))
    report.add(_record(FileStatus.FAILED))
    assert report.to_json()["means"] == {
        "measures": {"si_sdr_db": 15.0, "mel": 0.375},
        "loudness": {"lufs_original": -20.0},
    }


def test_only_problems_keep_their_records():
    report = Report()
    report.add(_record(FileStatus.WRITTEN))
    report.add(_record(FileStatus.FAILED))
    assert [record.status for record in report.problems] == [FileStatus.FAILED]
    assert report.n_files == 2


def test_records_and_summary_are_json():
    record = FileRecord(
        FileStatus.FAILED, Path("a\udcff.flac"), Path("o/a.earz"), "is empty", ("w",), {"x": [1]}
    )
    assert json.loads(json.dumps(record.to_json())) == {
        "type": "file",
        "status": "failed",
        "source": "a\udcff.flac",
        "target": "o/a.earz",
        "message": "is empty",
        "warnings": ["w"],
        "rank": 0,
        "elapsed_s": 0.0,
        "x": [1],
    }
    report = Report()
    report.add(record)
    summary = json.loads(json.dumps(report.to_json()))
    assert summary["type"] == "summary"
    assert (summary["files"], summary["failed"], summary["written"]) == (1, 1, 0)
    assert (summary["warnings"], summary["exit_code"]) == (1, 3)


def test_what_is_the_same_to_the_bit_or_silent_is_in_no_mean():
    report = Report()
    for si_sdr_db, mel in ((12.0, 0.5), (200.0, 0.0), (-200.0, 9.0), (8.0, 0.7)):
        figures = {"si_sdr_db": si_sdr_db, "mel": mel}
        report.add(_record(FileStatus.EVALUATED, measures=figures))
    assert report.means == {"measures": {"si_sdr_db": 10.0, "mel": pytest.approx(0.6)}}
