"""Each job goes to one worker, and to another if that is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from earzip.batch.assignment import Assignment
from earzip.batch.events import Exited
from earzip.batch.jobs import Job
from earzip.results import FileStatus

KILLED = "was killed by SIGKILL"


@pytest.fixture
def assignment() -> Assignment:
    return Assignment([Job(Path(name), None, 1) for name in "abcd"])


def _name(assigned: tuple[int, Job] | None) -> str | None:
    return assigned[1].source.name if assigned else None


def test_jobs_of_a_lost_worker_go_out_once_more_and_one_at_a_time(assignment):
    assert [_name(assignment.take_new(rank)) for rank in (1, 1, 1, 0)] == [*"abcd"]
    assert assignment.lost(Exited(1, KILLED, index=0)) == []
    assert assignment.take_again(0) is None  # it has one
    assignment.finished(3)
    for name in "bca":  # last what the worker was lost with
        index, job = assignment.take_again(0)
        assert job.source.name == name
        assert assignment.take_again(0) is None
        assert not assignment.is_settled
        assignment.finished(index)
    assert assignment.is_settled


def test_without_a_cause_the_job_that_was_begun_last_is_suspected(assignment):
    for _ in range(4):
        assignment.take_new(1)
    assignment.lost(Exited(1, KILLED))
    assert [_name(assignment.take_again(rank)) for rank in (2, 3, 4, 5, 6)] == [*"abcd", None]


def test_a_job_that_two_workers_were_lost_with_has_failed(assignment):
    index, _ = assignment.take_new(1)
    assignment.lost(Exited(1, KILLED))
    assignment.take_again(2)
    (failed,) = assignment.lost(Exited(2, "sent no heartbeat for 30 s"))
    assert (failed.index, failed.record.status, failed.record.rank) == (index, FileStatus.FAILED, 2)
    assert "2 worker processes were lost" in failed.record.message
    assert "the last one sent no heartbeat for 30 s" in failed.record.message
    assert assignment.take_again(3) is None


def test_a_worker_that_was_taken_for_lost_may_finish_its_job(assignment):
    index, _ = assignment.take_new(1)
    assignment.lost(Exited(1, KILLED))
    assignment.finished(index)
    assert assignment.take_again(0) is None


def test_jobs_that_nobody_has_are_taken_back(assignment):
    assignment.began(0, rank=1)
    assignment.finished(0)
    assignment.began(1, rank=1)
    assignment.take_back_unowned()
    assignment.take_back_unowned()
    assert [_name(assignment.take_again(rank)) for rank in (2, 3, 4)] == ["c", "d", None]
