"""A GPU that fails costs no file while another is left."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from earzip.batch.devices import opened_at
from earzip.batch.events import Backend, Event, Opened, Work
from earzip.batch.jobs import Job, Plan
from earzip.batch.processes import ProcessBackend
from earzip.batch.run import run_batch
from earzip.batch.signals import StopSignal
from earzip.batch.threads import ThreadBackend, Workers
from earzip.errors import DeviceError, EarzipError
from earzip.results import FileRecord, FileStatus, LostProcess, Progress, Report
from earzip.runtime import Placement, Runtime
from tests.earzip.batch.backends import (
    ECC,
    NO_KERNEL,
    StandInTask,
    TaskOf,
    plan_in_folders,
    threads_of,
)


def _places(n: int, *, is_named: bool = False) -> list[Placement]:
    return [Placement(rank, Runtime("cpu", threads=1), is_named) for rank in range(n)]


def _run(
    plan: Plan, backend: Backend
) -> tuple[Report, list[FileRecord], list[Opened | LostProcess]]:
    records: list[FileRecord] = []
    processes: list[Opened | LostProcess] = []
    report = run_batch(
        plan,
        lambda _n: backend,
        lambda record, _job: records.append(record),
        stop=StopSignal(),
        on_process=processes.append,
    )
    return report, records, processes


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize(("opening", "cause"), [("", ECC), ("gpu", NO_KERNEL)])
def test_the_files_of_a_process_without_its_gpu_are_done_by_the_other(
    tmp_path, opening, cause, n_threads
):
    plan = plan_in_folders(tmp_path, 12 * "acdfh")
    backend = ProcessBackend(StandInTask(opening, broken=(1,)), _places(2), n_threads)
    report, records, processes = _run(plan, backend)
    assert report.counts == {FileStatus.WRITTEN: 60}
    assert {record.rank for record in records} == {0}
    assert (report.exit_code, report.died, report.n_undone) == (0, False, 0)
    lost = LostProcess(1, "cpu", f"cannot use its device: {cause}")
    assert report.lost_processes == [lost] == [p for p in processes if isinstance(p, LostProcess)]
    again = [record for record in records if record.warnings]
    assert len(again) <= n_threads
    assert not (opening and again)
    assert list(tmp_path.rglob(".*")) == []  # no temporary, no claim


def test_a_gpu_that_the_user_named_must_open(tmp_path):
    backend = ProcessBackend(StandInTask("gpu", broken=(1,)), _places(2, is_named=True))
    with pytest.raises(DeviceError, match="no kernel image"):
        _run(plan_in_folders(tmp_path, 12 * "l"), backend)


@pytest.mark.parametrize("opening", ["", "gpu"])
def test_files_that_no_process_is_left_for_are_not_done_and_have_not_failed(tmp_path, opening):
    plan = plan_in_folders(tmp_path, 60 * "a")
    backend = ProcessBackend(StandInTask(opening, broken=(0, 1)), _places(2))
    report, records, _ = _run(plan, backend)
    assert (records, report.n_undone, report.died, report.exit_code) == ([], 60, True, 1)
    assert {lost.rank for lost in report.lost_processes} == {0, 1}


def test_a_file_that_breaks_two_gpus_fails_once_all_others_are_done(tmp_path):
    """Also those that were in progress beside it, each time."""
    report, records, _ = _run(
        plan_in_folders(tmp_path, "u" + 20 * "a"),
        ProcessBackend(StandInTask(), _places(2), n_threads=4),
    )
    assert report.counts == {FileStatus.WRITTEN: 20, FileStatus.FAILED: 1}
    assert records[-1].source.name == "u"
    assert records[-1].message == (
        f"2 worker processes were lost while they worked on it, the last one cannot use its device: "
        f"{ECC}; the file may be the reason; run again to retry"
    )
    assert (report.exit_code, report.died) == (3, False)


def test_with_one_gpu_the_run_ends_with_its_first_error(tmp_path):
    backend = ThreadBackend(StandInTask(broken=(0,)), _places(1)[0], 3)
    report, records, _ = _run(plan_in_folders(tmp_path, 60 * "a"), backend)
    assert (records, report.n_undone, report.died, report.exit_code) == ([], 60, True, 1)
    assert report.lost_processes == [LostProcess(0, "cpu", f"cannot use its device: {ECC}")]
    assert list(tmp_path.rglob(".*")) == []


def test_what_the_one_gpu_says_on_opening_is_an_error_and_no_bug(tmp_path):
    backend = ThreadBackend(StandInTask("gpu", broken=(0,)), _places(1)[0])
    with pytest.raises(EarzipError, match="no kernel image"):
        _run(plan_in_folders(tmp_path, "a"), backend)


def test_threads_that_wait_for_a_lost_gpu_for_ever_are_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("earzip.batch.threads.ABANDON_S", 0.5)
    hang = threading.Event()

    def work(job: Job, _on_progress: Progress) -> FileRecord:
        if job.source.name == "g":
            raise DeviceError("no answer for 120 s")
        hang.wait(60)
        return FileRecord(FileStatus.WRITTEN, job.source, job.target)

    try:
        report, records, _ = _run(plan_in_folders(tmp_path, "lga"), threads_of(work, n_threads=2))
    finally:
        hang.set()
    assert (records, report.died, report.n_undone) == ([], True, 3)


def test_a_process_that_can_not_even_be_killed_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("earzip.batch.processes.ABANDON_S", 0.1)
    monkeypatch.setattr("earzip.batch.processes._DIE_S", 0.1)
    backend = ProcessBackend(StandInTask(broken=(1,)), _places(2))
    started: list[int] = []

    def start(jobs: Sequence[Job], stop: StopSignal) -> None:
        ProcessBackend.start(backend, jobs, stop)
        process = backend._workers[1].process
        started.append(process.pid or 0)
        # As one that waits for a driver: a kill, and the end of its Python, change nothing.
        monkeypatch.setattr(process, "join", lambda _timeout=None: None)
        monkeypatch.setattr(process, "is_alive", lambda: True)
        monkeypatch.setattr(process, "kill", lambda: None)
        monkeypatch.setattr(type(process), "exitcode", None)

    monkeypatch.setattr(backend, "start", start)
    report, _, _ = _run(plan_in_folders(tmp_path, 8 * "a"), backend)
    assert report.counts == {FileStatus.WRITTEN: 8}
    import multiprocessing  # noqa: PLC0415

    assert started[0] not in [child.pid for child in multiprocessing.active_children()]
    os.waitpid(started[0], 0)


def test_every_thread_works_on_its_gpu_from_its_beginning(tmp_path, torch_cuda):
    events: list[Event] = []
    devices: list[tuple[str, int | None]] = []
    jobs = iter(enumerate([Job(tmp_path / name, None, 1) for name in "abcdef"]))
    together = threading.Barrier(3)

    def work(job: Job, _on_progress: Progress) -> FileRecord:
        together.wait(10)
        devices.append((threading.current_thread().name, torch_cuda.current()))
        return FileRecord(FileStatus.READ, job.source)

    workers = Workers(
        work, lambda: next(jobs, None), events.append, StopSignal(), device="cuda:3", n_threads=3
    )
    workers.start()
    workers.join()
    assert {device for _, device in devices} == {3}
    assert {name for name, _ in devices} == {"track 0", "track 1", "track 2"}
    assert len(torch_cuda.calls) == 3


def test_the_gpu_is_set_before_anything_is_loaded(torch_cuda):
    seen: list[int | None] = []

    @contextmanager
    def open_work(_placement: Placement) -> Iterator[Work]:
        seen.append(torch_cuda.current())
        yield lambda job, _on_progress: FileRecord(FileStatus.READ, job.source)

    with ExitStack() as stack:
        opened_at(Placement(5, Runtime("cuda:3")), TaskOf(open_work), stack)
    assert seen == [3]
