"""Runs on a Ray cluster of two workers, and what goes without Ray."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import soundfile

from earzip.batch.events import Task, Work
from earzip.batch.jobs import Job, Plan
from earzip.batch.plan import plan_batch
from earzip.batch.ray_backend import RayBackend, connected
from earzip.batch.run import run_batch
from earzip.batch.signals import StopSignal
from earzip.batch.threads import ThreadBackend
from earzip.errors import EarzipError, UsageError
from earzip.options import CompressOptions
from earzip.results import FileRecord, FileStatus, Progress, Report
from earzip.runtime import Placement, Runtime
from earzip.tasks import CompressTask, sources_to_compress
from tests import ray_settings
from tests.conftest import tones
from tests.earzip.batch.backends import TaskOf, wait_for

ROOT = Path(__file__).parents[3]
TINY = CompressOptions(model="tiny")
CPU = Runtime("cpu")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of this machine alone, which is told of two GPUs."""
    ray = pytest.importorskip("ray")
    # A short name: the paths of sockets have an end, at 107 bytes.
    with (
        tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        ray_settings.set_up(patch)
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        connected = ray.init(
            num_cpus=2,
            num_gpus=2,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=80 << 20,
            _temp_dir=folder,
        )
        yield connected.address_info["address"]
        ray.shutdown()


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Twelve sounds of different lengths, and a file that is none."""
    folder = tmp_path / "library"
    folder.mkdir()
    for i in range(12):
        audio = tones(30_000 + 10_000 * i, seed=i)
        soundfile.write(folder / f"{i:02}.flac", audio.T, 44_100)
    (folder / "text.flac").write_text("no music")
    return folder


def records_of(
    plan: Plan, task: Task, *, on_ray: bool = True, **options: object
) -> tuple[Report, dict[str, FileRecord]]:
    """Run ``plan``; return the report, and the records by the names of their sources."""
    records: dict[str, FileRecord] = {}

    def on_record(record: FileRecord, _job: Job | None) -> None:
        records[record.source.name] = record

    with StopSignal() as stop:
        report = run_batch(
            plan,
            lambda n: (
                RayBackend(task, n, **options)  # type: ignore[arg-type]
                if on_ray
                else ThreadBackend(task, Placement(0, Runtime("cpu")))
            ),
            on_record,
            stop=stop,
        )
    return report, records


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_two_actors_make_the_archives_of_one_process(
    cluster: str, library: Path, tmp_path: Path, tiny_model: str
) -> None:
    def plan(name: str) -> Plan:
        return plan_batch([library], sources_to_compress(), tmp_path / name)

    plain, plain_records = records_of(plan("plain"), CompressTask(TINY), on_ray=False)
    report, records = records_of(plan("ray"), CompressTask(TINY), runtime=CPU)
    assert contents(tmp_path / "ray") == contents(tmp_path / "plain")
    assert len(contents(tmp_path / "ray")) == 12
    assert records.keys() == plain_records.keys()
    assert {record.rank for record in records.values()} <= {0, 1}
    bad = records["text.flac"]
    assert (bad.status, bad.message) == (FileStatus.FAILED, plain_records["text.flac"].message)
    assert (report.exit_code, report.counts) == (3, plain.counts)
    assert report.coded_s == pytest.approx(plain.coded_s)

    report, records = records_of(plan("ray"), CompressTask(TINY), runtime=CPU)
    assert report.counts == {FileStatus.UP_TO_DATE: 12, FileStatus.FAILED: 1}
    assert report.coded_s == 0
    assert contents(tmp_path / "ray") == contents(tmp_path / "plain")


def test_paths_are_recorded_as_they_were_planned(
    cluster: str, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    odd = os.fsdecode(b"\xff.flac")
    (library / "00.flac").rename(library / odd)
    plan = plan_batch([Path("library", odd)], sources_to_compress(), Path("out"))
    _, records = records_of(plan, CompressTask(TINY), runtime=CPU)
    record = records[odd]
    assert (record.source, record.target) == (Path("library", odd), Path("out", f"{odd}.earz"))
    assert (tmp_path / "out" / f"{odd}.earz").exists()


def jobs(folder: Path, *names: str) -> Plan:
    return Plan([Job(folder / name, folder / "out" / name, 1) for name in names])


def test_a_file_that_kills_its_process_is_tried_again_and_given_up(
    cluster: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"

    @contextmanager
    def open_work(placement: Placement) -> Iterator[Work]:
        def work(job: Job, _on_progress: Progress) -> FileRecord:
            with log.open("a") as file:
                file.write(f"{job.source.name}\n")
            tries = log.read_text().split().count(job.source.name)
            if job.source.name == "deadly" or (job.source.name == "unlucky" and tries == 1):
                os.kill(os.getpid(), signal.SIGKILL)
            return FileRecord(FileStatus.WRITTEN, job.source, job.target)

        yield work

    plan = jobs(tmp_path, "one", "unlucky", "two", "deadly", "three")
    report, records = records_of(plan, TaskOf(open_work), runtime=CPU)
    statuses = {name: record.status.value for name, record in records.items()}
    assert statuses == {
        "one": "written",
        "unlucky": "written",
        "two": "written",
        "deadly": "failed",
        "three": "written",
    }
    assert records["deadly"].message == (
        "3 worker processes were lost while they worked on it, the last one has exited; the file may be "
        "the reason; run again to retry"
    )
    assert report.exit_code == 3
    tried = log.read_text().split()
    assert (tried.count("deadly"), tried.count("unlucky"), tried.count("one")) == (3, 2, 1)


def test_every_actor_has_a_gpu_of_its_own(cluster: str, tmp_path: Path) -> None:
    @contextmanager
    def open_work(placement: Placement) -> Iterator[Work]:
        def work(job: Job, _on_progress: Progress) -> FileRecord:
            (tmp_path / f"begun.{placement.rank}").touch()
            wait_for(tmp_path / f"begun.{rank}" for rank in (0, 1))  # both have something to do
            figures = {
                "device": placement.runtime.device,
                "gpu": os.environ["CUDA_VISIBLE_DEVICES"],
            }
            return FileRecord(FileStatus.WRITTEN, job.source, job.target, figures=figures)

        yield work

    _, records = records_of(jobs(tmp_path, *map(str, range(8))), TaskOf(open_work))
    assert {record.figures["device"] for record in records.values()} == {"cuda"}
    gpu_of_rank = {record.rank: record.figures["gpu"] for record in records.values()}
    assert sorted(gpu_of_rank.values()) == ["0", "1"]
    assert all(record.figures["gpu"] == gpu_of_rank[record.rank] for record in records.values())


@pytest.mark.parametrize("opening", [False, True])
def test_an_actor_without_its_gpu_leaves_its_files_to_the_others(
    cluster: str, tmp_path: Path, opening: bool
) -> None:
    @contextmanager
    def open_work(placement: Placement) -> Iterator[Work]:
        is_broken = os.environ["CUDA_VISIBLE_DEVICES"] == "0"
        if is_broken and opening:
            raise RuntimeError(
                "CUDA error: no kernel image is available for execution on the device"
            )

        def work(job: Job, _on_progress: Progress) -> FileRecord:
            if is_broken:
                (tmp_path / "begun").touch()
                raise RuntimeError("CUDA error: uncorrectable ECC error encountered\nadvice")
            if not opening:  # or all could be done before the broken one begins
                wait_for([tmp_path / "begun"])
            return FileRecord(FileStatus.WRITTEN, job.source, job.target)

        yield work

    report, records = records_of(jobs(tmp_path, *map(str, range(60))), TaskOf(open_work))
    assert report.counts == {FileStatus.WRITTEN: 60}
    assert (report.exit_code, report.died) == (0, False)
    (lost,) = report.lost_processes
    assert str(lost) == (
        "the worker process on cuda cannot use its device: CUDA error: "
        + (
            "no kernel image is available for execution on the device"
            if opening
            else "uncorrectable ECC error encountered"
        )
    )
    assert {record.rank for record in records.values()} == {1 - lost.rank}


def test_files_are_not_done_and_have_not_failed_where_every_gpu_fails(
    cluster: str, tmp_path: Path
) -> None:
    @contextmanager
    def open_work(_placement: Placement) -> Iterator[Work]:
        raise UsageError("device 'cuda' cannot be used")
        yield

    report, records = records_of(jobs(tmp_path, *"abcd"), TaskOf(open_work))
    assert (records, report.n_undone, report.died, report.exit_code) == ({}, 4, True, 1)
    assert len(report.lost_processes) == 2


def test_a_stop_abandons_what_is_in_hand_and_begins_no_more(cluster: str, tmp_path: Path) -> None:
    @contextmanager
    def open_work(placement: Placement) -> Iterator[Work]:
        def work(job: Job, on_progress: Progress) -> FileRecord:
            while job.source.name != "quick":
                on_progress(0.0)
                time.sleep(0.01)
            return FileRecord(FileStatus.WRITTEN, job.source, job.target)

        yield work

    plan = jobs(tmp_path, "quick", "endless", "endless too", "endless as well")
    found: list[FileRecord] = []

    def on_record(record: FileRecord, _job: Job | None) -> None:
        found.append(record)
        stop.request(0.5)

    with StopSignal() as stop:
        report = run_batch(
            plan, lambda n: RayBackend(TaskOf(open_work), n, CPU), on_record, stop=stop
        )
    assert [record.source.name for record in found] == ["quick"]
    assert (report.stopped, report.n_undone, report.exit_code) == (True, 3, 75)


def test_a_model_that_is_not_there_ends_the_run(cluster: str, library: Path) -> None:
    plan = plan_batch([library], sources_to_compress())
    with pytest.raises(EarzipError, match="nowhere") as caught:
        records_of(plan, CompressTask(CompressOptions(model="nowhere")), runtime=CPU)
    assert caught.value.exit_code == 1


def test_a_device_that_ray_does_not_assign_is_a_usage_error(cluster: str) -> None:
    with pytest.raises(
        UsageError, match="device is 'cuda:1', expected one of auto, cpu, cuda: Ray"
    ):
        RayBackend(CompressTask(TINY), 1, Runtime("cuda:1"))


def test_two_actors_share_a_gpu(cluster: str, tmp_path: Path) -> None:
    @contextmanager
    def open_work(placement: Placement) -> Iterator[Work]:
        def work(job: Job, _on_progress: Progress) -> FileRecord:
            (tmp_path / f"begun.{placement.rank}").touch()
            wait_for(tmp_path / f"begun.{rank}" for rank in range(4))
            figures = {"gpu": os.environ["CUDA_VISIBLE_DEVICES"]}
            return FileRecord(FileStatus.WRITTEN, job.source, job.target, figures=figures)

        yield work

    plan = jobs(tmp_path, *map(str, range(16)))
    report, records = records_of(plan, TaskOf(open_work), gpus=0.5)
    gpu_of_rank = {record.rank: record.figures["gpu"] for record in records.values()}
    assert sorted(gpu_of_rank.values()) == ["0", "0", "1", "1"]
    assert report.n_processes == 4


# ---- without Ray


def test_without_the_extra_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        UsageError, match=r"extra ray; in the clone of earzip: pip install '\.\[ray\]'"
    ):
        connected().__enter__()


def test_ray_is_loaded_by_crews_alone() -> None:
    code = (
        "import sys, earzip.batch.ray_backend, earzip.cli.main, earzip.tasks\n"
        "sys.exit(bool({'ray', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
