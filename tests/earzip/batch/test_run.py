"""Running many files: one bad file never stops a run, a signal does, and nothing is half done."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from earzip.batch.events import Event, Exited, Finished, Started, Work
from earzip.batch.locks import claim
from earzip.batch.plan import Job, OtherFile, Plan
from earzip.batch.run import plan_only, run_batch
from earzip.batch.signals import Stop, StopSignal
from earzip.errors import DamagedArchiveError, LockedError, SourceError, TargetError
from earzip.formats.atomic import atomic_write
from earzip.results import FileRecord, FileStatus, Progress, Report
from tests.earzip.batch.backends import plan_of, threads_of


def _job(folder: Path, name: str) -> Job:
    return Job(folder / name, folder / "out" / f"{name}.earz", 5)


def _write(job: Job, on_progress: Progress) -> FileRecord:
    """Stand in for compress_file."""
    assert job.target is not None
    with atomic_write(job.target) as file:
        file.write(b"half")
        on_progress(1.0)
        file.write(b"whole")
    return FileRecord(FileStatus.WRITTEN, job.source, job.target, figures={"duration_s": 1.0})


def _run(
    plan: Plan, work: Work = _write, **options: object
) -> tuple[Report, list[tuple[str, FileStatus, str | None]]]:
    records: list[FileRecord] = []
    stop = options.pop("stop", None) or StopSignal()
    backend = threads_of(work)
    report = run_batch(
        plan, lambda _n: backend, lambda r, _job: records.append(r), stop=stop, **options
    )  # type: ignore[arg-type]
    return report, [(r.source.name, r.status, r.message) for r in records]


def _files_below(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(jobs=[_job(tmp_path, name) for name in ("a", "b", "c", "d")])


def _failing(names: str, error: Callable[[Job], Exception]) -> Work:
    def work(job: Job, on_progress: Progress) -> FileRecord:
        if job.source.name in names:
            raise error(job)
        return _write(job, on_progress)

    return work


def test_every_job_is_done_and_counted(plan, tmp_path):
    report, records = _run(plan)
    assert [(name, status) for name, status, _ in records] == [
        (name, FileStatus.WRITTEN) for name in "abcd"
    ]
    assert _files_below(tmp_path / "out") == ["a.earz", "b.earz", "c.earz", "d.earz"]
    assert (report.exit_code, report.coded_s, report.n_undone) == (0, 4.0, 0)
    assert report.totals["duration_s"] == 4.0


def test_a_file_that_fails_is_named_with_its_reason_and_the_others_go_on(plan):
    work = _failing("b", lambda job: SourceError("the file is empty", job.source))
    report, records = _run(plan, work)
    assert records[1] == ("b", FileStatus.FAILED, "the file is empty")
    assert [status for _, status, _ in records].count(FileStatus.WRITTEN) == 3
    assert report.exit_code == 3


def test_an_error_about_another_file_names_that_file(plan):
    _, records = _run(plan, _failing("a", lambda job: TargetError("already exists", job.target)))
    assert records[0][2] == f"{plan.jobs[0].target}: already exists"


def test_damage_met_while_restoring_is_a_failed_file(plan):
    report, _ = _run(plan, _failing("a", lambda job: DamagedArchiveError("bad", job.source)))
    assert report.exit_code == 3


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), RuntimeError("no reason")])
def test_a_bug_is_on_record_with_its_traceback_and_the_others_go_on(plan, error):
    report, records = _run(plan, _failing("c", lambda job: error))
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
    report, records = _run(plan, _failing("c", lambda job: error))
    assert records[2][:2] == ("c", FileStatus.FAILED)
    assert str(records[2][2]).startswith(message)
    assert (report.exit_code, report.counts[FileStatus.WRITTEN]) == (3, 3)
    assert report.problems[0].traceback is None


def test_bugs_count_as_failures(plan):
    report, _ = _run(plan, _failing("abcd", lambda job: ValueError("bad")), max_failures=2)
    assert (report.gave_up, report.n_undone) == (True, 2)


def test_files_refused_by_the_plan_are_on_record_first(plan, tmp_path):
    plan.refuse(tmp_path / "x", "is not a regular file")
    report, records = _run(plan)
    assert records[0] == ("x", FileStatus.FAILED, "is not a regular file")
    assert (report.n_files, report.exit_code) == (5, 3)


@pytest.mark.parametrize(("max_failures", "n_done", "exit_code"), [(1, 1, 1), (2, 2, 1), (4, 4, 3)])
def test_too_many_failures_end_the_run(plan, max_failures, n_done, exit_code):
    work = _failing("abcd", lambda job: SourceError("bad", job.source))
    report, records = _run(plan, work, max_failures=max_failures)
    assert len(records) == n_done
    assert (report.exit_code, report.n_undone) == (exit_code, 4 - n_done)


def test_a_folder_that_cannot_be_made_fails_its_files_only(plan, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    plan.jobs.insert(0, Job(tmp_path / "x", tmp_path / "file" / "x.earz", 5))
    report, records = _run(plan)
    assert records[0][1] is FileStatus.FAILED
    assert "its directory cannot be created: " in records[0][2]
    assert (report.counts[FileStatus.WRITTEN], report.exit_code) == (4, 3)


def test_what_a_killed_run_has_left_is_removed_from_the_folders_of_targets(plan, tmp_path):
    stale = tmp_path / "out" / f".a.earz.{'0' * 16}.earzip-tmp"
    stale.parent.mkdir()
    stale.write_bytes(b"half")
    _run(plan)
    assert not stale.exists()


def test_what_a_dying_run_still_holds_at_the_beginning_is_removed_at_the_end(plan, tmp_path):
    stale = tmp_path / "out" / f".a.earz.{'0' * 16}.earzip-tmp"
    stale.parent.mkdir()
    with stale.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        def work(job: Job, on_progress: Progress) -> FileRecord:
            assert job.source.name != "a" or stale.exists()
            fcntl.flock(held, fcntl.LOCK_UN)
            return _write(job, on_progress)

        _run(plan, work)
    assert not stale.exists()


def test_what_a_killed_run_has_left_of_a_copy_is_removed(plan, tmp_path):
    picture = tmp_path / "booklet.pdf"
    picture.write_bytes(b"picture")
    target = tmp_path / "scans" / "booklet.pdf"
    plan.other_files.append(OtherFile(picture, target, "not sound"))
    stale = target.with_name(f".booklet.pdf.{'0' * 16}.earzip-tmp")
    stale.parent.mkdir()
    stale.write_bytes(b"half")
    _run(plan, copy_others=True)
    assert [path.name for path in target.parent.iterdir()] == ["booklet.pdf"]


def test_a_locked_file_is_tried_again_after_the_others(plan):
    order: list[str] = []

    def work(job: Job, on_progress: Progress) -> FileRecord:
        order.append(job.source.name)
        if order == ["a"]:
            raise LockedError("another run is writing it", job.target)
        return _write(job, on_progress)

    report, _ = _run(plan, work)
    assert order == ["a", "b", "c", "d", "a"]
    assert (report.exit_code, report.counts[FileStatus.WRITTEN]) == (0, 4)


def test_a_file_that_stays_locked_is_on_record(plan):
    with_lock = plan.jobs[1].target
    with_lock.parent.mkdir()
    with claim(with_lock):
        report, records = _run(plan)
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
        return _write(job, on_progress)

    return work


def test_the_first_signal_abandons_the_file_in_hand_and_ends_the_run(plan, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal() as stop:
        report, records = _run(plan, _stopping("c"), stop=stop)
    assert [name for name, _, _ in records] == ["a", "b"]
    assert _files_below(tmp_path / "out") == ["a.earz", "b.earz"]
    assert (report.stopped, report.n_undone, report.exit_code) == (True, 2, 75)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_stopped_run_can_be_run_again_to_the_end(plan, tmp_path):
    with StopSignal() as stop:
        _run(plan, _stopping("b"), stop=stop)
    assert _run(plan)[0].exit_code == 0
    assert _files_below(tmp_path / "out") == ["a.earz", "b.earz", "c.earz", "d.earz"]


# ---- other_files


@pytest.fixture
def with_cover(plan: Plan, tmp_path: Path) -> Plan:
    cover = tmp_path / "cover.jpg"
    cover.write_bytes(b"picture")
    os.utime(cover, (1_000_000_000, 1_000_000_000))
    plan.other_files.append(OtherFile(cover, tmp_path / "out" / "cover.jpg", "not sound"))
    return plan


def test_bystanders_are_listed(with_cover, tmp_path):
    report, records = _run(with_cover)
    assert records[-1] == ("cover.jpg", FileStatus.SKIPPED, "not sound")
    assert report.exit_code == 0
    assert not (tmp_path / "out" / "cover.jpg").exists()


def test_copied_bystanders_keep_their_bytes_and_times(with_cover, tmp_path):
    _, records = _run(with_cover, copy_others=True)
    copy = tmp_path / "out" / "cover.jpg"
    assert records[-1][1] is FileStatus.COPIED
    assert (copy.read_bytes(), copy.stat().st_mtime) == (b"picture", 1_000_000_000)
    _, records = _run(with_cover, copy_others=True)
    assert records[-1][1] is FileStatus.UP_TO_DATE


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o1777, 0o600, 0o644])
def test_a_copy_is_as_private_as_its_source_and_can_not_be_run(with_cover, tmp_path, mode):
    (tmp_path / "cover.jpg").chmod(mode)
    before = os.umask(0o022)
    try:
        _run(with_cover, copy_others=True)
    finally:
        os.umask(before)
    copied = (tmp_path / "out" / "cover.jpg").stat().st_mode & 0o7777
    assert copied == mode & 0o644


def test_a_copy_of_a_file_that_changes_meanwhile_is_a_failed_file(
    with_cover, tmp_path, monkeypatch
):
    cover = tmp_path / "cover.jpg"
    real = os.utime

    def utime(*arguments: object, **options: object) -> None:
        real(*arguments, **options)  # type: ignore[arg-type, call-overload]
        cover.write_bytes(b"another picture")

    monkeypatch.setattr(os, "utime", utime)
    report, records = _run(with_cover, copy_others=True)
    assert records[-1] == ("cover.jpg", FileStatus.FAILED, "changed while it was copied")
    assert (report.exit_code, (tmp_path / "out" / "cover.jpg").exists()) == (3, False)


def test_a_signal_ends_a_long_copy(with_cover, tmp_path):
    class Asked(StopSignal):
        def check(self) -> None:
            self.request(0)
            super().check()

    report, records = _run(Plan([], with_cover.other_files), copy_others=True, stop=Asked())
    assert (records, report.exit_code) == ([], 75)
    assert _files_below(tmp_path / "out") == []


def test_a_copy_that_another_machine_has_made_meanwhile_is_up_to_date(
    with_cover, tmp_path, monkeypatch
):
    copy = tmp_path / "out" / "cover.jpg"
    real = os.utime

    def utime(*arguments: object, **options: object) -> None:
        copy.write_bytes(b"picture")
        real(*arguments, **options)  # type: ignore[arg-type, call-overload]

    monkeypatch.setattr(os, "utime", utime)
    _, records = _run(with_cover, copy_others=True)
    assert records[-1] == ("cover.jpg", FileStatus.UP_TO_DATE, None)


def test_a_copy_never_replaces_another_file_unless_forced(with_cover, tmp_path):
    copy = tmp_path / "out" / "cover.jpg"
    copy.parent.mkdir()
    copy.write_bytes(b"another")
    report, records = _run(with_cover, copy_others=True)
    assert records[-1] == ("cover.jpg", FileStatus.FAILED, f"{copy}: already exists")
    assert (report.exit_code, copy.read_bytes()) == (3, b"another")
    _run(with_cover, copy_others=True, force=True)
    assert copy.read_bytes() == b"picture"


def test_a_bystander_that_cannot_be_read_is_a_failed_file(plan, tmp_path):
    plan.other_files.append(OtherFile(tmp_path / "gone", tmp_path / "out" / "gone", "not sound"))
    _, records = _run(plan, copy_others=True)
    assert records[-1] == (
        "gone", FileStatus.FAILED, "cannot copy: No such file or directory",
    )  # fmt: skip
    assert not (tmp_path / "out" / "gone").exists()


def test_a_dry_run_writes_nothing(with_cover, tmp_path):
    records: list[FileRecord] = []
    report = plan_only(with_cover, lambda r, _job: records.append(r), stop=Stop(), copy_others=True)
    assert [(r.status, r.message) for r in records] == [(FileStatus.PLANNED, None)] * 5
    assert report.exit_code == 0
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_which_targets_exist(plan):
    _run(plan)
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
