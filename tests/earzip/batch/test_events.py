"""What travels between machines comes back as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from earzip.batch.events import (
    Exited,
    Failed,
    Finished,
    Opened,
    Progressed,
    Started,
    event_from_bytes,
    event_to_bytes,
    jobs_from_json,
    jobs_to_json,
)
from earzip.batch.jobs import Job
from earzip.errors import ModelNotFoundError
from earzip.results import FileRecord, FileStatus

ODD = Path("ü/\udcff\n.flac")
RECORD = FileRecord(
    FileStatus.FAILED,
    ODD,
    Path("out/x.earz"),
    "is empty",
    ("one", "two"),
    {"duration_s": 1.5, "measures": {"mel": 0.1}, "below_floor": ["x"], "truncated": None},
    rank=3,
    elapsed_s=0.25,
    traceback="Traceback …",
)


@pytest.mark.parametrize(
    "event",
    [
        Started(3, 1),
        Progressed(2.5),
        Finished(7, RECORD),
        Finished(0, FileRecord(FileStatus.INTACT, ODD)),
        Exited(2),
        Exited(2, "was killed by SIGKILL"),
        Exited(2, "cannot use its device", "cuda:2"),
        Opened(1, "cuda:1", "NVIDIA H100 80GB HBM3"),
    ],
)
def test_events_come_back_as_they_were(event):
    data = event_to_bytes(event)
    json.loads(data)
    assert event_from_bytes(data) == event


def test_an_error_comes_back_with_its_text_and_exit_code():
    broke = event_from_bytes(
        event_to_bytes(Failed(ModelNotFoundError("is not there", "mine.json")))
    )
    assert isinstance(broke, Failed)
    assert str(broke.error) == "mine.json: is not there"
    assert broke.error.exit_code == 1


def test_jobs_come_back_as_they_were():
    jobs = [Job(ODD, Path("out") / ODD, 5), Job(Path("/a"), None, 2**40)]
    assert jobs_from_json(jobs_to_json(jobs)) == jobs
    assert jobs_from_json(jobs_to_json([])) == []
