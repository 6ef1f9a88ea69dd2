"""Running many files: one bad file never stops a run, a signal does, and nothing is half done."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from collections.abc import Callable, Sequence

import pytest

from earzip.batch.events import Event, Exited, Finished, Started, Work
from earzip.batch.jobs import Job
from earzip.batch.locks import claim
from earzip.batch.run import plan_only, run_batch
from earzip.batch.signals import Stop, StopSignal
from earzip.errors import DamagedArchiveError, LockedError, SourceError, TargetError
from earzip.results import FileRecord, FileStatus, Progress
from tests.earzip.batch.backends import plan_of
from tests.earzip.batch.plan_runs import files_below, run_plan, write_archive


def _failing(names: str, error: Callable[[Job], Exception]) -> Work:
    def work(job: Job, on_progress: Progress) -> FileRecord:
        if job.source.name in names:
            raise error(job)
        return write_archive(job, on_progress)

    return work


def test_every_job_is_done_and_counted(plan, tmp_path):
    report, records = run_plan(plan)
    assert [(name, status) for name, status, _ in records] == [
        (name, FileStatus.WRITTEN) for name in "abcd"
    ]
    assert files_below(tmp_path / "out") == ["a.earz", "b.earz", "c.earz", "d.earz"]
    assert (report.exit_code, report.coded_s, report.n_undone) == (0, 4.0, 0)
    assert report.totals["duration_s"] == 4.0


def test_a_file_that_fails_is_named_with_its_reason_and_the_others_go_on(plan):
    work = _failing("b", lambda job: SourceError("the file is empty", job.source))
    report, records = run_plan(plan, work)
    assert records[1] == ("b", FileStatus.FAILED, "the file is empty")
    assert [status for _, status, _ in records].count(FileStatus.WRITTEN) == 3
    assert report.exit_code == 3


def test_an_error_about_another_file_names_that_file(plan):
    _, records = run_plan(
        plan, _failing("a", lambda job: TargetError("already exists", job.target))
    )
    assert records[0][2] == f"{plan.jobs[0].target}: already exists"


def test_damage_met_while_restoring_is_a_failed_file(plan):
    report, _ = run_plan(plan, _failing("a", lambda job: DamagedArchiveError("bad", job.source)))
    assert report.exit_code == 3


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), RuntimeError("no reason")])
def test_a_bug_is_on_record_with_its_traceback_and_the_others_go_on(plan, error):
    report, records = run_plan(plan, _failing("c", lambda job: error))
    assert records[2] == (
        "c", FileStatus.FAILED, f"internal error: {type(error).__name__}: {error}",
    )  # fmt: skip
    assert report.problems[0].traceback is not None
    assert report.problems[0].traceback.startswith("Traceback ")
    assert (report.counts[FileStatus.WRITTEN], report.n_undone, report.exit_code) == (3, 0, 1)


_OF_SYSTEM = OSError(errno.EIO, "Input/output error")
_OF_A_FILE = OSError(errno.EIO, "Input/output error", "/x")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "needs more memory than there is"),
        (RuntimeError("can't start new thread"), "no thread can be started: a limit"),
        (_OF_SYSTEM, "cannot be read or written: Input/output error"),
        (_OF_A_FILE, "/x: cannot be read or written: Input/output error"),
    ],
)
def test_what_the_system_refuses_is_a_failed_file_and_no_bug(plan, error, message):
    report, records = run_plan(plan, _failing("c", lambda job: error))
    assert records[2][:2] == ("c", FileStatus.FAILED)
    assert str(records[2][2]).startswith(message)
    assert (report.exit_code, report.counts[FileStatus.WRITTEN]) == (3, 3)
    assert report.problems[0].traceback is None


def test_bugs_count_as_failures(plan):
    report, _ = run_plan(plan, _failing("abcd", lambda job: ValueError("bad")), max_failures=2)
    assert (report.gave_up, report.n_undone) == (True, 2)


def test_files_refused_by_the_plan_are_on_record_first(plan, tmp_path):
    plan.refuse(tmp_path / "x", "is not a regular file")
    report, records = run_plan(plan)
    assert records[0] == ("x", FileStatus.FAILED, "is not a regular file")
    assert (report.n_files, report.exit_code) == (5, 3)


@pytest.mark.parametrize(("max_failures", "n_done", "exit_code"), [(1, 1, 1), (2, 2, 1), (4, 4, 3)])
def test_too_many_failures_end_the_run(plan, max_failures, n_done, exit_code):
    work = _failing("abcd", lambda job: SourceError("bad", job.source))
    report, records = run_plan(plan, work, max_failures=max_failures)
    assert len(records) == n_done
    assert (report.exit_code, report.n_undone) == (exit_code, 4 - n_done)


def test_a_folder_that_cannot_be_made_fails_its_files_only(plan, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    plan.jobs.insert(0, Job(tmp_path / "x", tmp_path / "file" / "x.earz", 5))
    report, records = run_plan(plan)
    assert records[0][1] is FileStatus.FAILED
    assert "its directory cannot be created: " in records[0][2]
    assert (report.counts[FileStatus.WRITTEN], report.exit_code) == (4, 3)


def test_what_a_killed_run_has_left_is_removed_from_the_folders_of_targets(plan, tmp_path):
    stale = tmp_path / "out" / f".a.earz.{'0' * 16}.earzip-tmp"
    stale.parent.mkdir()
    stale.write_bytes(b"half")
    run_plan(plan)
    assert not stale.exists()


def test_what_a_dying_run_still_holds_at_the_beginning_is_removed_at_the_end(plan, tmp_path):
    stale = tmp_path / "out" / f".a.earz.{'0' * 16}.earzip-tmp"
    stale.parent.mkdir()
    with stale.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        def work(job: Job, on_progress: Progress) -> FileRecord:
            assert job.source.name != "a" or stale.exists()
            fcntl.flock(held, fcntl.LOCK_UN)
            return write_archive(job, on_progress)

        run_plan(plan, work)
    assert not stale.exists()


def test_a_locked_file_is_tried_again_after_the_others(plan):
    order: list[str] = []

    def work(job: Job, on_progress: Progress) -> FileRecord:
        order.append(job.source.name)
        if order == ["a"]:
            raise LockedError("another run is writing it", job.target)
        return write_archive(job, on_progress)

    report, _ = run_plan(plan, work)
    assert order == ["a", "b", "c", "d", "a"]
    assert (report.exit_code, report.counts[FileStatus.WRITTEN]) == (0, 4)


def test_a_file_that_stays_locked_is_on_record(plan):
    with_lock = plan.jobs[1].target
    with_lock.parent.mkdir()
    with claim(with_lock):
        report, records = run_plan(plan)
    assert records[-1][:2] == ("b", FileStatus.LOCKED)
    assert (report.exit_code, len(records)) == (75, 4)


# ---- signals


def _stopping(name: str) -> Work:
    def work(job: Job, on_progress: Progress) -> FileRecord:
        if job.source.name == name:
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(500):  # until the main thread has received it
                on_progress(0)
                time.sleep(0.01)
        return write_archive(job, on_progress)

    return work


def test_the_first_signal_abandons_the_file_in_hand_and_ends_the_run(plan, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal() as stop:
        report, records = run_plan(plan, _stopping("c"), stop=stop)
    assert [name for name, _, _ in records] == ["a", "b"]
    assert files_below(tmp_path / "out") == ["a.earz", "b.earz"]
    assert (report.stopped, report.n_undone, report.exit_code) == (True, 2, 75)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_stopped_run_can_be_run_again_to_the_end(plan, tmp_path):
    with StopSignal() as stop:
        run_plan(plan, _stopping("b"), stop=stop)
    assert run_plan(plan)[0].exit_code == 0
    assert files_below(tmp_path / "out") == ["a.earz", "b.earz", "c.earz", "d.earz"]


# ---- dry runs


def test_a_dry_run_writes_nothing(with_cover, tmp_path):
    records: list[FileRecord] = []
    report = plan_only(with_cover, lambda r, _job: records.append(r), stop=Stop(), copy_others=True)
    assert [(r.status, r.message) for r in records] == [(FileStatus.PLANNED, None)] * 5
    assert report.exit_code == 0
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_which_targets_exist(plan):
    run_plan(plan)
    records: list[FileRecord] = []
    plan_only(plan, lambda r, _job: records.append(r), stop=Stop())
    assert {r.message for r in records} == {"exists; will be kept if up to date"}


def test_a_dry_run_can_be_stopped(plan):
    stop = Stop()
    records: list[FileRecord] = []

    def planned(job: Job, on_progress: Progress) -> FileRecord:
        stop.request(0)
        on_progress(0)
        raise AssertionError(job)

    report = plan_only(plan, lambda r, _job: records.append(r), planned, stop=stop)
    assert report.stopped
    assert report.exit_code == 75
    assert report.n_undone == len(plan.jobs)


class _Told:
    """A backend of which ``events`` are told, and no more."""

    n_processes = 2

    def __init__(self, *events: Event) -> None:
        self._events = list(events)

    def start(self, jobs: Sequence[Job], stop: Stop) -> None:
        pass

    def receive(self, _timeout_s: float) -> Event:
        return self._events.pop(0)

    @property
    def is_done(self) -> bool:
        return not self._events

    def close(self) -> None:
        pass


def test_a_file_is_put_on_record_once_though_a_process_taken_for_dead_comes_back(plan):
    records: list[FileRecord] = []
    written = [FileRecord(FileStatus.WRITTEN, job.source, job.target) for job in plan.jobs]
    backend = _Told(
        Started(0, rank=1),
        Exited(1, "has not been received of for 30 s"),
        Finished(0, written[0]),
        Started(1, rank=1),
        *(Finished(i, written[i]) for i in (1, 2, 3)),
        Exited(0),
    )
    report = run_batch(
        plan, lambda _n: backend, lambda record, _job: records.append(record), stop=StopSignal()
    )
    assert [record.source.name for record in records] == ["a", "b", "c", "d"]
    assert (report.counts[FileStatus.WRITTEN], report.n_files, report.n_undone) == (4, 4, 0)
    assert str(report.lost_processes[0]) == "the worker process has not been received of for 30 s"


def test_figures_go_on_while_finished_files_are_passed_by(tmp_path):
    plan = plan_of(tmp_path, "abc")
    seen: list[int] = []
    run_batch(
        plan,
        lambda _n: pytest.fail("there is nothing to do"),
        lambda _record, _job: None,
        stop=StopSignal(),
        up_to_date=lambda job: FileRecord(FileStatus.UP_TO_DATE, job.source, job.target),
        on_tick=lambda report: seen.append(report.n_files),
    )
    assert seen == [0, 1, 2, 3]
