"""Processes that a launcher has started are one run, and its rank 0 keeps the record."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from earzip.batch.jobs import Plan
from earzip.batch.launched import LaunchedBackend
from earzip.batch.rendezvous import Launch, Rendezvous
from earzip.batch.run import run_batch
from earzip.batch.signals import StopSignal
from earzip.errors import EarzipError
from earzip.results import FileRecord, FileStatus, Report
from earzip.runtime import Placement, Runtime
from tests.earzip.batch.backends import ECC, NO_KERNEL, StandInTask, environment_of, plan_in_folders

ROOT = Path(__file__).parents[3]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found: int = free.getsockname()[1]
        return found


@pytest.fixture
def start(port, monkeypatch) -> Iterator[Start]:
    """Starts rank 1 of two, and makes this process rank 0."""
    for name, value in environment_of(0, 2, port).items():
        monkeypatch.setenv(name, value)
    started = []

    def start_other(opening: str = "", broken: tuple[int, ...] = ()) -> subprocess.Popen[str]:
        arguments = f"{opening!r}, {broken!r}"
        program = (
            f"from tests.earzip.batch.backends import run_worker_as; run_worker_as({arguments})"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, **environment_of(1, 2, port)},
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start_other
    for process in started:
        process.kill()
        process.communicate()


def _run(
    plan: Plan,
    on_record: Callable[[FileRecord], None],
    *,
    stop: StopSignal | None = None,
    n_threads: int = 1,
    timeout_s: float = 30.0,
    task: StandInTask | None = None,
) -> Report:
    launch = Launch.from_environment()
    assert launch
    with Rendezvous(launch) as rendezvous:
        backend = LaunchedBackend(
            rendezvous,
            task or StandInTask(),
            Placement(0, Runtime("cpu", threads=1), is_named=not (task and task.broken)),
            n_threads,
            timeout_s,
        )
        return run_batch(
            plan,
            lambda _n: backend,
            lambda record, _job: on_record(record),
            stop=stop or StopSignal(),
        )


@pytest.mark.parametrize("n_threads", [1, 3])
def test_all_jobs_are_done_once_whoever_does_them(start, tmp_path, n_threads):
    other = start()
    records = []
    report = _run(plan_in_folders(tmp_path, 40 * "acdfe"), records.append, n_threads=n_threads)
    assert other.wait(timeout=30) == 0
    assert len({record.source for record in records}) == len(records) == 200
    assert report.counts == {FileStatus.WRITTEN: 160, FileStatus.FAILED: 40}
    assert (report.exit_code, report.n_undone, report.n_processes) == (3, 0, 2)
    assert report.coded_s == 160


def test_others_go_home_when_there_is_nothing_to_do(start, tmp_path):
    other = start()
    records = []
    assert _run(Plan(), records.append).exit_code == 0
    assert records == []
    assert other.wait(timeout=30) == 0


def test_a_process_that_is_silent_for_long_is_taken_to_be_dead(start, tmp_path):
    start("dies")
    records = []
    report = _run(plan_in_folders(tmp_path, "acd"), records.append, timeout_s=3.0)
    assert [record.rank for record in records] == [0, 0, 0]
    assert report.exit_code == 0


def test_files_in_the_hands_of_a_dead_process_are_done_by_another(start, tmp_path):
    start()
    records = []
    report = _run(plan_in_folders(tmp_path, "xxac"), records.append, timeout_s=3.0)
    assert [(record.status, record.rank) for record in records] == [(FileStatus.WRITTEN, 0)] * 4
    (again,) = (record for record in records if record.warnings)
    assert (again.source.name, again) == ("x", records[-1])
    assert again.warnings == ("done again, since rank 1 was lost while it worked on it",)
    (lost,) = report.lost_processes
    assert (lost.rank, report.exit_code, report.n_undone) == (1, 0, 0)
    assert re.fullmatch(r"the worker process sent no heartbeat for \d+ s", str(lost))


@pytest.mark.parametrize("who", ["other", "this"])
def test_a_signal_to_one_stops_all(start, tmp_path, who):
    other = start()
    records = []
    signalled = other.pid if who == "other" else os.getpid()
    both_at_work = f"[ $(ls {tmp_path}/*/out/.l*.earzip-tmp | wc -l) = 2 ]"
    subprocess.Popen(["sh", "-c", f"until {both_at_work}; do sleep 0.1; done; kill {signalled}"])
    with StopSignal() as stop:
        report = _run(plan_in_folders(tmp_path, "llacdf"), records.append, stop=stop)
    assert (report.stopped, report.exit_code) == (True, 75)
    assert report.n_undone == 6 - len(records) >= 2
    other.wait(timeout=30)


def test_what_keeps_another_process_from_its_work_ends_the_run(start, tmp_path):
    start("usage")
    with pytest.raises(EarzipError, match="device 'cpu' cannot be used") as error:
        _run(plan_in_folders(tmp_path, "ll"), lambda _: None)
    assert error.value.exit_code == 2


def test_a_process_that_waits_for_the_others_can_be_ended(port):
    waiting = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from tests.earzip.batch.backends import run_worker_as; run_worker_as()",
        ],
        env={**os.environ, **environment_of(0, 2, port)},
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    while True:  # until it keeps the store
        assert waiting.poll() is None
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            break
        time.sleep(0.1)
    waiting.send_signal(signal.SIGTERM)
    try:
        assert waiting.wait(timeout=20) == -signal.SIGTERM
    finally:
        waiting.kill()
        waiting.wait()


def test_others_end_when_rank_0_is_gone(port, tmp_path):
    program = (
        "import sys, pathlib\n"
        "from tests.earzip.batch.backends import plan_in_folders\n"
        "from tests.earzip.batch.test_launched import _run\n"
        "_run(plan_in_folders(pathlib.Path(sys.argv[1]), 'll'), lambda _: None)"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path],
        env={**os.environ, **environment_of(0, 2, port)},
        cwd=ROOT,
    )
    other = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from tests.earzip.batch.backends import run_worker_as; run_worker_as()",
        ],
        env={**os.environ, **environment_of(1, 2, port)},
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    while len(list(tmp_path.glob("*/out/*.earzip-tmp"))) < 2:  # each has one in hand
        assert first.poll() is None
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.wait()
    _, errors = other.communicate(timeout=25)
    assert "RunEndedError: the launcher or the process of rank 0 has exited" in errors


@pytest.mark.parametrize("opening", ["", "gpu"])
@pytest.mark.parametrize("broken", [0, 1])
def test_a_process_without_its_gpu_leaves_its_files_to_the_others(start, tmp_path, opening, broken):
    start(opening, (broken,))
    records = []
    report = _run(
        plan_in_folders(tmp_path, 12 * "acdfh"),
        records.append,
        task=StandInTask(opening, (broken,)),
        n_threads=2,
    )
    assert report.counts == {FileStatus.WRITTEN: 60}
    assert {record.rank for record in records} == {1 - broken}
    assert (report.exit_code, report.died) == (0, False)
    (lost,) = report.lost_processes
    assert (lost.rank, lost.device) == (broken, "cpu")
    assert lost.cause == f"cannot use its device: {NO_KERNEL if opening else ECC}"


@pytest.mark.parametrize("opening", ["", "gpu"])
def test_a_run_in_which_no_gpu_is_left_has_not_done_its_files(start, tmp_path, opening):
    other = start(opening, (0, 1))
    records = []
    report = _run(
        plan_in_folders(tmp_path, 12 * "a"), records.append, task=StandInTask(opening, (0, 1))
    )
    assert (records, report.died, report.exit_code, report.n_undone) == ([], True, 1, 12)
    assert {lost.rank for lost in report.lost_processes} == {0, 1}
    assert other.wait(timeout=30) == 0


def test_a_job_that_nobody_has_is_assigned_again(start, tmp_path):
    """One that a process has taken from the counter, and died before it said so."""
    launch = Launch.from_environment()
    assert launch
    start()
    with Rendezvous(launch) as rendezvous:
        rendezvous.claim()
        backend = LaunchedBackend(rendezvous, StandInTask(), Placement(0, Runtime("cpu")))
        report = run_batch(
            plan_in_folders(tmp_path, "acd"),
            lambda _n: backend,
            lambda _r, _j: None,
            stop=StopSignal(),
        )
    assert (report.counts, report.exit_code) == ({FileStatus.WRITTEN: 3}, 0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Launch(1, 4, 1, 4)),
        ({"WORLD_SIZE": "1"}, None),
        ({"RANK": ""}, None),
        ({"MASTER_ADDR": ""}, None),
        ({"MASTER_PORT": "x"}, None),
    ],
)
def test_a_launch_is_seen_by_its_environment(changes, expected):
    assert Launch.from_environment({**environment_of(1, 4, 29500), **changes}) == expected
