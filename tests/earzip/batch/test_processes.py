"""Several processes share a run; one that dies costs no more than the files in its in_flight."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from earzip.batch.events import Backend
from earzip.batch.jobs import Job, Plan
from earzip.batch.processes import ProcessBackend
from earzip.batch.run import run_batch
from earzip.batch.signals import StopSignal
from earzip.errors import UsageError
from earzip.results import FileRecord, FileStatus, Report
from earzip.runtime import Placement, Runtime
from tests.earzip.batch.backends import StandInTask, plan_of


def _run(
    plan: Plan,
    work: StandInTask | None = None,
    *,
    n_processes: int = 2,
    n_threads: int = 1,
    stop: StopSignal | None = None,
    **options: object,
) -> tuple[Report, dict[str, FileRecord]]:
    records: dict[str, FileRecord] = {}

    def on_record(record: FileRecord, _job: Job | None) -> None:
        assert record.source.name not in records
        records[record.source.name] = record

    def make_backend(_n_jobs: int) -> Backend:
        placements = [Placement(rank, Runtime("cpu", threads=1)) for rank in range(n_processes)]
        return ProcessBackend(work or StandInTask(), placements, n_threads)

    stop = stop or StopSignal()
    return run_batch(plan, make_backend, on_record, stop=stop, **options), records  # type: ignore[arg-type]


def _written(folder: Path) -> str:
    return "".join(sorted(path.name[0] for path in (folder / "out").iterdir()))


@pytest.mark.parametrize("n_threads", [1, 3])
def test_every_job_is_done_once_whoever_does_it(tmp_path, n_threads):
    names = "acdfghij"
    progress: list[float] = []
    report, records = _run(
        plan_of(tmp_path, names), n_threads=n_threads, on_progress=progress.append
    )
    assert set(records) == set(names)
    assert {record.status for record in records.values()} == {FileStatus.WRITTEN}
    assert {record.rank for record in records.values()} <= {0, 1}
    assert all(record.elapsed_s > 0 for record in records.values())
    assert _written(tmp_path) == names
    assert (report.exit_code, report.n_undone, report.n_processes) == (0, 0, 2)
    assert report.coded_s == sum(progress) == 8


def test_progress_costs_the_coordinator_few_messages(tmp_path):
    progress: list[float] = []
    _run(plan_of(tmp_path, "pa"), on_progress=progress.append)
    assert sum(progress) == 1_002
    assert len(progress) < 200


def test_no_more_processes_are_started_than_there_are_jobs(tmp_path):
    report, records = _run(plan_of(tmp_path, "a"), n_processes=3)
    assert (records["a"].rank, report.exit_code) == (0, 0)


def test_a_file_that_fails_and_a_bug_are_records_and_the_others_go_on(tmp_path):
    report, records = _run(plan_of(tmp_path, "abcde"))
    assert records["e"].message == "is empty"
    assert records["b"].traceback is not None
    assert "ZeroDivisionError" in records["b"].traceback
    assert _written(tmp_path) == "acd"
    assert report.exit_code == 1


def test_a_file_that_kills_two_processes_fails_once_all_others_are_done(tmp_path):
    report, records = _run(plan_of(tmp_path, "kacdf"))
    assert records["k"].status is FileStatus.FAILED
    assert records["k"].message == (
        "2 worker processes were lost while they worked on it, the last one was killed by SIGKILL; the "
        "file may be the reason; run again to retry"
    )
    assert [records[name].status for name in "acdf"] == [FileStatus.WRITTEN] * 4
    assert (report.exit_code, report.n_undone, report.died) == (3, 0, False)
    _run(plan_of(tmp_path, "acdf"))  # any later run clears what is left
    assert _written(tmp_path) == "acdf"


def test_a_run_whose_processes_are_all_killed_says_so(tmp_path):
    report, records = _run(plan_of(tmp_path, "kacd"), n_processes=1)
    assert (records, report.died, report.exit_code, report.n_undone) == ({}, True, 1, 4)
    report, records = _run(plan_of(tmp_path, "acd"), StandInTask("dies"))
    assert (records, report.died, report.exit_code, report.n_undone) == ({}, True, 1, 3)


def test_a_process_that_is_signalled_alone_leaves_the_rest_to_the_others(tmp_path):
    report, records = _run(plan_of(tmp_path, "tacdf"))
    assert {record.status for record in records.values()} == {FileStatus.WRITTEN}
    assert (report.exit_code, report.n_undone) == (0, 0)


def test_a_run_whose_processes_are_all_signalled_is_stopped(tmp_path):
    report, records = _run(plan_of(tmp_path, "tacdfghij"), n_processes=1)
    assert records["t"].status is FileStatus.WRITTEN
    assert report.counts[FileStatus.FAILED] == 0
    assert (report.stopped, report.exit_code) == (True, 75)
    assert report.n_undone == 9 - len(records) > 0


def test_what_keeps_all_processes_from_their_work_ends_the_run(tmp_path):
    with pytest.raises(UsageError, match="device 'cpu' cannot be used"):
        _run(plan_of(tmp_path, "acd"), StandInTask("usage"))


def test_too_many_failures_end_the_run(tmp_path):
    report, records = _run(plan_of(tmp_path, "ealcdfghij"), max_failures=1)
    assert records["e"].status is FileStatus.FAILED
    assert (report.gave_up, report.stopped, report.exit_code) == (True, False, 1)
    assert report.n_undone == 10 - len(records) > 0


@pytest.mark.parametrize(("grace_s", "finished"), [(0, False), (60, True)])
def test_a_stop_gives_files_in_hand_up_after_their_grace(tmp_path, grace_s, finished):
    names = "lacdfgh" if not finished else "acdfgh"
    stop = StopSignal(grace_s=grace_s)
    records: list[str] = []

    def request(record: FileRecord, _job: Job | None) -> None:
        records.append(record.source.name)
        stop.request()

    placements = [Placement(rank, Runtime("cpu", threads=1)) for rank in range(2)]
    report = run_batch(
        plan_of(tmp_path, names),
        lambda _n: ProcessBackend(StandInTask(), placements),
        request,
        stop=stop,
    )
    assert report.n_undone == len(names) - len(records) > 0
    assert (report.stopped, report.exit_code) == (True, 75)
    assert _written(tmp_path) == "".join(sorted(records))
    assert "l" not in records


def test_an_error_of_whoever_hears_the_records_ends_the_processes(tmp_path):
    def closed(_record: FileRecord, _job: Job | None) -> None:
        raise BrokenPipeError

    placements = [Placement(rank, Runtime("cpu", threads=1)) for rank in range(2)]
    backend = ProcessBackend(StandInTask(), placements)
    with pytest.raises(BrokenPipeError):
        run_batch(plan_of(tmp_path, "lacd"), lambda _n: backend, closed, stop=StopSignal())
    assert backend.is_done


def test_killed_at_once_is_killed_at_once(tmp_path):
    backend = ProcessBackend(
        StandInTask(), [Placement(rank, Runtime("cpu", threads=1)) for rank in range(2)]
    )
    threading.Timer(4.0, backend.kill).start()
    report = run_batch(
        plan_of(tmp_path, "l"), lambda _n: backend, lambda _r, _j: None, stop=StopSignal()
    )
    assert report.exit_code == 1
    assert not (tmp_path / "out" / "l.earz").exists()  # it would be, after half a minute
